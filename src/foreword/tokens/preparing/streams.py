"""Streams: the bytes of a corpus's file, hashed as they are read, unpacked, decoded, and held to what it is.

    FileSource ── open_raw ──▶ HashedReader ── unpacked ──▶ FileStream ── decoded ──▶ text, a chunk at a time

Not for: documents (``documents``), or finding files (``corpus``). Costs: hashing at about 1.5 GB/s; 1 MiB in memory.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from foreword._base import compression
from foreword._base.files import explained
from foreword.errors import FileError, ForewordError, FormatError, MissingPackageError, TextDecodeError
from foreword.tokens.preparing.kinds import FORMATS, HEAD, signature, wide_encoding

__all__ = [
    "CHUNK",
    "FileSource",
    "decoded",
    "is_wide",
    "refuse_other_kind",
    "sha256_of",
    "undecodable",
    "unpacked",
]

CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class FileSource:
    """A file on this machine, or behind a URL where ``remote`` holds its fsspec file system."""

    name: str  # below the corpus folder, with "/"; the file's own name where the corpus is one file
    path: str
    size: int | None  # None where a server does not say it
    format: str  # a value of FORMATS
    compression: str | None
    remote: Any = None
    given: bool = False  # the caller named the format
    listed: bool = False  # found in a folder, not named
    stamp: str | None = None  # changes whenever the file does, as far as its system says

    def open_raw(self) -> IO[bytes]:
        """The bytes of the file as they are stored."""
        with explained("read the corpus", self.path):
            if self.remote is None:
                return open(self.path, "rb", buffering=0)
            with reached(self.path):
                return cast("IO[bytes]", _RemoteFile(self.remote.open(self.path, "rb"), self.path))


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn what fsspec and its protocols raise inside the block into errors of ours; an OSError stays one."""
    try:
        yield
    except (ForewordError, OSError):
        raise
    except ImportError as cause:  # fsspec says which package the protocol needs
        raise MissingPackageError(
            "the URL needs a package that is not installed", got=str(cause), fix="install it with pip"
        ) from cause
    except Exception as cause:
        unknown = "credential" in f"{type(cause).__name__} {cause}".lower()
        raise FileError(
            "can't read the corpus: its server broke off, or refused",
            got=f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else 'no reason given'}",
            where=url,
            fix="set the credentials of its protocol in the environment"
            if unknown
            else "run the same command again; if it was interrupted, it resumes",
        ) from cause


class _RemoteFile(io.RawIOBase):
    """A file of fsspec, whose errors are ours."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def read(self, size: int = -1) -> bytes:
        with reached(self._url):
            return bytes(self._file.read(size))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with reached(self._url):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(Exception):  # what it says of a transfer that broke off has been said
                self._file.close()
        super().close()


class HashedReader(io.RawIOBase):
    """A file's stored bytes, with the SHA-256 of all that was read."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._hash = raw, hashlib.sha256()
        self.bytes, self._ended = 0, False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes (CHUNK where it is negative), fewer at the end; none after it."""
        if self._ended:
            return b""
        data = self._raw.read(CHUNK if size < 0 else size) or b""
        self._ended = not data and size != 0
        self._hash.update(data)
        self.bytes += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def so_far(self) -> str:
        """The SHA-256 of what has been read."""
        return self._hash.copy().hexdigest()

    def digest(self) -> str:
        """The SHA-256 of the whole file; reads what is left of it."""
        while self.read(CHUNK):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        self._raw.close()
        super().close()


def sha256_of(source: FileSource, *, first: int | None = None) -> str:
    """The SHA-256 of a source's stored bytes, or of the ``first`` so many of them."""
    with explained("read the corpus", source.path), contextlib.closing(HashedReader(source.open_raw())) as file:
        if first is None:
            return file.digest()
        while file.bytes < first and file.read(min(CHUNK, first - file.bytes)):
            pass
        return file.so_far()


@contextlib.contextmanager
def unpacked(source: FileSource, raw: HashedReader) -> Iterator[IO[bytes]]:
    """The bytes of ``raw`` as ``source.compression`` packed them.

    Raises (in the block, while reading):
        FormatError: the packed data is damaged or cut short; FileError: it can't be read.
    """
    stream = cast("IO[bytes]", raw)
    with explained("read the corpus", source.path):
        if source.compression is not None:
            stream = cast("IO[bytes]", compression.Unpacked(stream, source.compression, source.path))
        yield stream
        if source.compression is not None and not raw.bytes:
            raise FormatError(
                f"the {source.compression} file is damaged or cut short",
                got="an empty file",
                where=source.path,
                fix="get the file again",
            )


class FileStream(io.RawIOBase):
    """An unpacked stream that gives full reads, looks ahead, and tells how many stored bytes they took."""

    def __init__(self, stream: IO[bytes], raw: HashedReader, advance: Callable[[int], object]) -> None:
        self._stream, self._raw, self._advance, self._last = stream, raw, advance, 0
        self._ahead, self._ended = b"", False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # type: ignore[override, unused-ignore]
        missing = size if size >= 0 else 1 << 62
        parts: list[bytes] = []
        if self._ahead:
            parts.append(self._ahead[:missing])
            self._ahead = self._ahead[missing:]
            missing -= len(parts[0])
        while missing and not self._ended:
            data = self._stream.read(min(missing, 4 * CHUNK))
            self._ended = not data
            parts.append(data)
            missing -= len(data)
        self._advance(self._raw.bytes - self._last)
        self._last = self._raw.bytes
        return parts[0] if len(parts) == 1 or (len(parts) == 2 and not parts[1]) else b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def head(self) -> bytes:
        """The next HEAD bytes, fewer at the end; they are still there to be read."""
        return self.ahead(HEAD)

    def ahead(self, size: int) -> bytes:
        """As ``head``, of so many bytes."""
        if len(self._ahead) < size:
            self._ahead = self.read(max(size, CHUNK))
        return self._ahead[:size]

    def line(self, limit: int) -> bytes:
        """The next line, at most ``limit`` bytes of it; it is still there to be read."""
        data, searched = self.read(HEAD), 0
        while len(data) < limit and b"\n" not in data[searched:] and (more := self.read(len(data))):
            searched = len(data)
            data += more
        self._ahead = data + self._ahead
        return data[: data.find(b"\n") + 1 or limit]


def is_wide(encoding: str) -> bool:
    """Whether an encoding's line end is not the byte 10 alone (UTF-16, UTF-32)."""
    return "\n".encode(encoding) != b"\n" and codecs.lookup(encoding).name != "utf-8-sig"


def refuse_other_kind(head: bytes, source: FileSource, encoding: str) -> None:
    """Refuse a file of text, JSON, csv whose first bytes say that it is something else.

    Raises:
        FormatError: it is binary, or JSON of another kind than its name says.
        TextDecodeError: it is text in units of two or four bytes, and ``encoding`` is not.
    """
    kind = signature(head)
    if kind is not None:
        raise _other_kind(source, kind)
    wide = wide_encoding(head)
    if is_wide(encoding):
        name = codecs.lookup(encoding).name
        if head and name in ("utf-16", "utf-32") and wide != name:
            wrong = UnicodeDecodeError(name, head, 0, 1, "no byte-order mark")
            raise undecodable(wrong, encoding, source.path, "byte 0", advice=wide or "utf-8")
    elif wide is not None:
        place = next((i for i, byte in enumerate(head) if byte == 0 or byte > 0x7F), 0)
        wrong = UnicodeDecodeError(encoding, head, place, place + 1, f"the file is in {wide.upper()}")
        raise undecodable(wrong, encoding, source.path, f"byte {place:,}", advice=wide)
    elif b"\0" in head and not source.given:
        raise FormatError(
            f"the file is binary, not {source.format}",
            got=f"a zero byte at byte {head.index(0):,}",
            where=source.path,
            fix=f"leave it out, or, if it is {source.format} all the same, say so: --format {source.format}",
        )
    if source.format == "jsonl" and head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        raise FormatError(
            "the file is a JSON array, not a record a line",
            got=repr(head[:40])[1:],
            where=source.path,
            fix="name it .json, or say so: --format json",
        )


def _other_kind(source: FileSource, kind: str) -> FormatError:
    suffix = next((suffix for suffix, name in {**compression.SUFFIXES, **FORMATS}.items() if name == kind), None)
    packed = f"inside {source.compression}, " if source.compression else ""
    if kind in compression.SUFFIXES.values():
        fix = "unpack it first" if source.compression else f"name it so: {os.path.basename(source.name)}{suffix}"  # noqa: PTH119
    elif kind == "parquet":
        fix = "unpack it first" if source.compression else "name it .parquet, or say so: --format parquet"
    elif "archive" in kind:
        fix = "unpack it into a folder, and prepare that"
    else:
        fix = "leave it out, or convert it to text"
    return FormatError(
        f"the file is not {source.format}{'' if source.given else ', as its name says'}",
        got=f"{packed}the first bytes of {kind}",
        where=source.path,
        fix=fix,
    )


def decoded(stream: FileStream, encoding: str, where: str, *, chunk: int = CHUNK) -> Iterator[str]:
    """The text of a stream, a chunk at a time, without a byte-order mark of UTF-8.

    Raises (while iterating):
        TextDecodeError: says the byte.
    """
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    while True:
        data = stream.read(chunk)
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as cause:
            raise undecodable(cause, encoding, where, f"byte {offset - len(pending) + cause.start:,}") from cause
        if text:
            yield text
        if not data:
            return
        offset += len(data)


def undecodable(
    cause: UnicodeDecodeError, encoding: str, where: str, place: str, *, advice: str = "latin-1"
) -> TextDecodeError:
    """The error for bytes that are not ``encoding``; ``advice`` is the encoding to try."""
    return TextDecodeError(
        f"not {encoding} text",
        cause=cause,
        got=f"the byte 0x{cause.object[cause.start]:02x} ({cause.reason})",
        where=f"{where}, {place}",
        fix=f"convert the file to UTF-8, or name its encoding: --encoding {advice}",
    )
