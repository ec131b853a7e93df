"""Downloads: a URL → a file that is there whole, and is the right one, or not there at all.

    .NAME.download        the bytes so far; what a killed process leaves, and the next one goes on from
    .NAME.download.json   which version of the file they belong to
    .NAME.lock            one download at a time, whoever asks
    NAME                  the file, put in place once its length and checksum have been checked

A broken transfer goes on where it broke (``Range``), where the server can tell that the file is still the same
(``If-Range`` with the ETag or the date), or a checksum can. What may pass is tried again, after the time the server
asks for (``Retry-After``), else after twice the last pause.

Not for: which URLs are fetched, and by what (``_urls``); unpacking, or knowing what the bytes mean. Nothing that was
downloaded is ever run. Costs: one connection; the checksum reads the file once more, 0.5–2 GB/s.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from foreword._base.files import atomic_write, explained, lock, output_path
from foreword._base.progress import progress
from foreword._base.system import sync_file
from foreword._base.urls import checked, mirrored, offline, opener, shown
from foreword._base.words import counted
from foreword.errors import ArgumentError, DownloadError, FileError, ForewordError

__all__ = ["PATIENCE", "Patience", "fetch"]

_PIECE = 1 << 20
_PROGRESS = 1 << 20  # a try that brought this much that was not there before does not count as a failure
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and for what.

    Attributes:
        silence: seconds without a byte after which a connection counts as broken.
        tries: how many in a row may fail.
        pause: seconds before the second try; each further pause is twice as long.
        longest: the longest pause; a server that asks for a longer one is taken at its word, and not asked again.
    """

    silence: float = 30.0
    tries: int = 5
    pause: float = 1.0
    longest: float = 120.0


PATIENCE = Patience()


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    checksum: str | None = None,
    size: int | None = None,
    patience: Patience = PATIENCE,
) -> Path:
    """The file ``path``, fetched from ``url`` if it isn't there yet. One process fetches; others wait for it.

    Args:
        url: http, https or file.
        path: where to put it. A file that is there is taken as it is, whatever the URL.
        checksum: what the file must be, as "sha256:…", "sha1:…" or "md5:…" in hex digits.
        size: its length in bytes.
        patience: how long to wait, and for what.

    Returns:
        ``path``.

    Raises:
        DownloadError: it can't be had, or is not what it must be; tells why, and what to do.
        FileError: it can't be written. What has come so far stays, and the next call goes on from there.
    """
    target = output_path(path)
    url = checked(url)
    if target.is_file():
        return target
    with explained("make the folder", target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target.with_name(f".{target.name}.lock")):
        if not target.is_file():
            _Download(mirrored(url), target, checksum, size).run(patience)
    return target


class _TemporaryError(Exception):
    """A try that failed, while the next may not: what went wrong, and how long the server asks to wait."""

    def __init__(self, why: str, *, status: int | None = None, after: float | None = None) -> None:
        super().__init__(why)
        self.status, self.after = status, after


@dataclass(frozen=True, slots=True)
class _Version:
    """Which version of which file the bytes so far belong to.

    Attributes:
        url: a hash of the URL, which may hold secrets.
        etag, date: what the server knows the version by: a strong ETag, the Last-Modified.
        total: its length.
    """

    url: str
    etag: str | None
    date: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """What If-Range is told."""
        return self.etag or self.date

    def differs(self, now: _Version) -> bool:
        """Whether ``now`` is told apart from this one by anything that both know."""
        pairs = ((self.url, now.url), (self.etag, now.etag), (self.date, now.date), (self.total, now.total))
        return any(a != b for a, b in pairs if a is not None and b is not None)


class _Download:
    """One file on its way; used under its lock, so nobody else writes its parts."""

    def __init__(self, url: str, target: Path, checksum: str | None, size: int | None) -> None:
        self.url, self.target, self.checksum, self.size = url, target, checksum, size
        self.shown = shown(url)
        self.partial = target.with_name(f".{target.name}.download")
        self.notes = target.with_name(f".{target.name}.download.json")
        self.pieced = False  # whether the bytes came by more than one connection

    def run(self, patience: Patience) -> None:
        """Fetch, check, put in place."""
        failures, most = 0, self.done
        while True:
            try:
                self._go_on(patience.silence)
                self._check()
                break
            except _TemporaryError as trouble:
                failures = 1 if self.done >= most + _PROGRESS else failures + 1
                most = max(most, self.done)
                self._wait(trouble, failures, patience)
        with explained("put the download in place", self.target):
            sync_file(self.partial)
            os.replace(self.partial, self.target)
            self.notes.unlink(missing_ok=True)

    # The bytes so far.

    @property
    def done(self) -> int:
        """How many bytes there are."""
        try:
            return self.partial.stat().st_size
        except FileNotFoundError:
            return 0

    def _noted(self) -> _Version | None:
        """The version that the bytes so far belong to, where that is known."""
        try:
            version = _Version(**json.loads(self.notes.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        fits = version.url == _hashed(self.url) and (version.total is None or self.done <= version.total)
        return version if fits else None

    def _start(self, version: _Version) -> None:
        """An empty partial file, with its notes, and room for it on the disk."""
        self._discard()
        with explained("write the download", self.partial):
            free = shutil.disk_usage(self.target.parent).free
            if version.total is not None and version.total > free:
                raise FileError(
                    "no room for the download",
                    got=f"{free / 1e6:,.0f} MB free",
                    expected=f"{version.total / 1e6:,.0f} MB",
                    where=self.target.parent,
                    fix="free some space, or set FOREWORD_HOME to a folder on another disk",
                )
            self.partial.touch()
        with atomic_write(self.notes) as file:
            file.write(json.dumps(asdict(version)).encode())

    def _discard(self) -> None:
        with explained("start the download afresh", self.partial):
            self.notes.unlink(missing_ok=True)
            self.partial.unlink(missing_ok=True)
        self.pieced = False

    # One try.

    def _go_on(self, silence: float) -> None:
        """Get what is missing, by one connection."""
        noted = self._noted()
        if noted is not None and self.done == noted.total:
            self.pieced = True
            return  # a process was killed between the last byte and the check
        if noted is None or not (noted.validator or self.checksum):
            noted = None
            self._discard()
        self.pieced = self.done > 0
        if urlsplit(self.url).scheme == "file":
            self._copy()
        else:
            self._transfer(noted, silence)
        noted = self._noted()
        if noted is not None and noted.total is not None and self.done < noted.total:
            raise _TemporaryError(f"the connection broke off {counted(noted.total - self.done, 'byte')} before the end")

    def _copy(self) -> None:
        parts = urlsplit(self.url)
        if parts.netloc not in ("", "localhost"):
            raise ArgumentError("a file:// URL names a file of this machine", got=self.shown, fix="file:///PATH")
        source = Path(urllib.request.url2pathname(parts.path))
        with explained("copy the file", source), open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if self.size not in (None, size):
                raise self._wrong(counted(size, "byte"), counted(self.size, "byte"))
            self._start(_Version(_hashed(self.url), None, None, size))
            self._write(file.read, size)

    def _transfer(self, noted: _Version | None, silence: float) -> None:
        if offline():
            raise DownloadError(
                "the file is not on this machine, and FOREWORD_OFFLINE forbids fetching it",
                where=self.shown,
                fix=f"unset FOREWORD_OFFLINE, or put the file there: {self.target}",
            )
        headers = {"User-Agent": "foreword", "Accept-Encoding": "identity"}
        if noted is not None and self.done:
            headers["Range"] = f"bytes={self.done}-"
            if noted.validator:
                headers["If-Range"] = noted.validator
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 (the opener knows http and https only)
        with self._clear_errors(), opener().open(request, timeout=silence) as answer:
            if answer.status == 206 and noted is not None:
                self._write(answer.read1, self._part(answer.headers, noted))
            else:
                self._write(answer.read1, self._whole(answer))

    def _part(self, headers: Message, noted: _Version) -> int:
        """The server sends the rest: how many bytes."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers["Content-Range"] or "")
        start, end, total = (_number(part) for part in found.groups()) if found else (None, None, None)
        if start != self.done or end is None or noted.differs(self._version(headers, total)):
            self._discard()
            raise _TemporaryError("the file on the server changed between two parts of the transfer")
        return end + 1 - start

    def _whole(self, answer: Any) -> int | None:
        """The server sends the file from its start: how many bytes; None where the end will tell."""
        headers, length = answer.headers, _number(answer.headers["Content-Length"])
        if answer.status != 200:
            raise DownloadError("the server's answer is not the file", got=f"status {answer.status}", where=self.shown)
        if not self.checksum and headers.get_content_type() == "text/html":
            raise DownloadError("the server sent a web page, not a file", where=self.shown, fix="check the URL")
        if length is None and not answer.chunked and not self.checksum and self.size is None:
            raise DownloadError(
                "the server doesn't tell how long the file is, so that a part could pass for the whole",
                where=self.shown,
                fix="fetch it by other means, and load it by its path",
            )
        if length is not None and self.size not in (None, length):
            raise self._wrong(counted(length, "byte"), counted(self.size, "byte"))
        self._start(self._version(headers, self.size if length is None else length))
        return length

    def _version(self, headers: Message, total: int | None) -> _Version:
        etag = headers["ETag"]
        strong = etag if etag and etag.startswith('"') else None  # W/"…" does not promise the same bytes
        return _Version(_hashed(self.url), strong, headers["Last-Modified"], total)

    def _write(self, read: Callable[[int], bytes], length: int | None) -> None:
        """Append ``length`` bytes of what ``read`` gives, or all of it, as far as it goes."""
        done = self.done
        end = None if length is None else done + length
        with (
            explained("write the download", self.partial),
            open(self.partial, "ab", buffering=0) as file,
            progress(f"fetching {self.target.name}", end) as bar,
        ):
            bar.advance(done)
            while piece := self._read(read, _PIECE if end is None else min(_PIECE, end - done)):
                done += len(piece)
                if self.size is not None and done > self.size:
                    raise self._wrong(f"more than {counted(self.size, 'byte')}", counted(self.size, "byte"))
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
                bar.advance(len(piece))

    def _read(self, read: Callable[[int], bytes], count: int) -> bytes:
        with self._clear_errors():
            return read(count) if count else b""

    # What the server says, and what to do about it.

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn what urllib raises into passing trouble, or one clear error."""
        try:
            yield
        except (ForewordError, _TemporaryError):
            raise
        except urllib.error.HTTPError as answer:
            with answer:
                raise self._refused(answer) from None
        except (ValueError, http.client.InvalidURL) as cause:
            raise DownloadError("the server points to no URL", got=str(cause), where=self.shown) from None
        except (OSError, http.client.HTTPException) as cause:
            reason = cause.reason if isinstance(cause, urllib.error.URLError) else cause
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise DownloadError(
                    "the server can't prove who it is",
                    got=reason.verify_message,
                    where=self.shown,
                    fix="check the clock and the URL; behind a company's proxy, name its certificates in SSL_CERT_FILE",
                ) from None
            if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
                raise DownloadError(
                    "there is no such server", got=urlsplit(self.url).hostname, fix="check the URL and the network"
                ) from None
            raise _TemporaryError(_words(reason)) from cause

    def _refused(self, answer: urllib.error.HTTPError) -> Exception:
        """What an answer with an error status means."""
        reason = f"status {answer.code} {answer.reason}".rstrip()
        if answer.code == 416:
            self._discard()
            return _TemporaryError("the file on the server changed, and is shorter now", status=416)
        if answer.code in _TEMPORARY:
            return _TemporaryError(reason, status=answer.code, after=_seconds(answer.headers["Retry-After"]))
        problem, fix = _REFUSALS.get(answer.code, ("the server doesn't give the file", "check the URL"))
        if mirror := os.environ.get("FOREWORD_MIRROR"):
            fix += f", or FOREWORD_MIRROR ({mirror})"
        error = DownloadError(problem, got=reason, where=self.shown, fix=fix)
        error.status = answer.code
        return error

    def _check(self) -> None:
        """See that the file is what it must be; discard it if not.

        Raises:
            DownloadError: it is another file.
            _TemporaryError: it is none, but was pieced together, so that another try may do better.
        """
        got, expected = counted(self.done, "byte"), counted(self.done if self.size is None else self.size, "byte")
        if got == expected and self.checksum is not None:
            kind, _, digest = self.checksum.lower().partition(":")
            with explained("read the download", self.partial), open(self.partial, "rb") as file:
                got, expected = hashlib.file_digest(file, kind).hexdigest(), digest
        if got != expected:
            pieced = self.pieced
            self._discard()
            raise _TemporaryError("the parts don't make the right file") if pieced else self._wrong(got, expected)

    def _wrong(self, got: str, expected: str) -> DownloadError:
        return DownloadError(
            "the file at this URL is not the one it should be",
            got=got,
            expected=expected,
            where=self.shown,
            fix="try later, or take it from elsewhere: FOREWORD_MIRROR",
        )

    def _wait(self, trouble: _TemporaryError, failures: int, patience: Patience) -> None:
        """Pause before the next try, or give up."""
        retry_after = trouble.after or 0.0
        if failures < patience.tries and retry_after <= patience.longest:
            time.sleep(max(retry_after, min(patience.pause * 2 ** (failures - 1), patience.longest)))
            return
        kept = f"; {self.done:,} bytes are kept, and the next call goes on from there" if self.done else ""
        error = DownloadError(
            "the download failed",
            got=str(trouble),
            where=self.shown,
            fix=(f"ask again in {retry_after:,.0f} s" if retry_after else "check the network, and ask again") + kept,
        )
        error.status = trouble.status
        raise error from trouble


_REFUSALS = {
    401: ("the server wants to know who asks", "fetch the file by other means, and load it by its path"),
    403: ("the server refuses to give the file", "fetch the file by other means, and load it by its path"),
    404: ("there is no such file on the server", "check the URL"),
    410: ("the file is no longer on the server", "look for it elsewhere"),
}


def _hashed(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _seconds(retry_after: str | None) -> float | None:
    """The header Retry-After, seconds or a date, as seconds from now.

    >>> _seconds("7"), _seconds("soon"), _seconds("Thu, 01 Jan 1970 00:00:00 GMT")
    (7.0, None, 0.0)
    """
    seconds = _number(retry_after)
    if seconds is not None:
        return float(seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after or "").timestamp() - time.time())
    except ValueError:
        return None


def _words(reason: object) -> str:
    """What went wrong with a connection, in words."""
    if isinstance(reason, TimeoutError):
        return "the server fell silent"
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection broke off before the end"
    return str(reason) or type(reason).__name__
