"""Folders behind URLs: parts of objects read, files put there, with patience, and no secret in what is said of it.

fsspec reaches them, and a package of its own for most protocols (s3fs, gcsfs, adlfs, huggingface_hub); credentials come
from the environment, as these packages read it, or from ``storage_options``. A request that fails for a while (500,
503, a connection that breaks, a server that falls silent) is repeated.

Not for: names that are fetched whole into the cache (``download``). Costs: importing fsspec, 0.1 s and more.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from foreword._base import system
from foreword._base.urls import offline, shown
from foreword.errors import (
    ArgumentError,
    ArgumentTypeError,
    DownloadError,
    ForewordError,
    MissingFileError,
    MissingPackageError,
)

__all__ = ["RemoteFolder", "whole_url"]

TRIES = 6
PAUSE = 0.1  # seconds before the second try, twice as many before each one after it
_ROOM = 1 << 20  # bytes of an answer that may wait to be read
SECONDS = 60.0  # that a server may be silent over a part of an object

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "hf": "huggingface_hub",
}
# Errors that come again, by the name of their class: those of boto are no OSErrors.
_FINAL = {"NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound"}
_FINAL_STATUS = {400, 401, 403, 405, 407, 416, 501}
_SECRETS = re.compile(r"(?<=://)[^/@\s]+@|\?[^\s'\"<>)]*")

# Protocols whose options are known by name; others hand them on to libraries of their own.
_STRICT = frozenset({"s3", "s3a", "hf", "memory", "file", "local"})
# Options that fsspec takes for every file system.
_COMMON = frozenset({"use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache"})

T_ = TypeVar("T_")


class _RedirectedError(Exception):
    """An answer over HTTP that names another place."""


class _StatusError(Exception):
    """An answer over HTTP that is none."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status


class RemoteFolder:
    """The folder at ``url``.

    Args:
        url: of a protocol that fsspec knows; a query goes with every name in the folder, and is shown nowhere.
        options: for its file system, as fsspec takes them.

    Attributes:
        shown: the URL as it may be shown.

    Raises:
        ArgumentError: fsspec knows no such protocol; the URL names no bucket or folder, or has a password in it; an
            option that its file system does not know.
        ArgumentTypeError: options that are no mapping.
        MissingPackageError: fsspec, or the package of the protocol, is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        url = whole_url(url)
        self.shown = _without_password(url)
        self._base, mark, self._query = url.partition("?") if url.startswith("http") else (url, "", "")
        self._query = mark + self._query
        self._base = self._base.rstrip("/")
        self.options = _checked(options, self._base, self.shown)
        self._opened: tuple[int, Any, str] | None = None
        self._opening = system.guard()
        self._plain = not self.options and self._base.startswith(("http:", "https:"))
        self._files()

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self._base + self._query, self.options)

    def folder(self, name: str) -> RemoteFolder:
        """The folder ``name`` in it; the folder itself where the name is empty."""
        return RemoteFolder(f"{self._base}/{name}{self._query}", self.options) if name else self

    def place(self, name: str) -> str:
        """Where ``name`` is, for messages."""
        return f"{self.shown.rstrip('/')}/{name}"

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The object ``name``, or its bytes from ``start`` to ``stop``: fewer where it ends before.

        Raises:
            MissingFileError: there is none.
            DownloadError: it can't be had.
        """
        return self._patiently("read the object", name, lambda files, path: _read(files, path, start, stop))

    def read_into(self, name: str, start: int, memory: memoryview) -> int:
        """Put the bytes of the object ``name`` from ``start`` on into ``memory``.

        Over HTTP without options they are received there; else they are read and copied.

        Returns:
            How many there were: fewer than there is room for where the object ends before.

        Raises:
            MissingFileError: there is none.
            DownloadError: it can't be had.
        """

        def fill(files: Any, path: str) -> int:
            if self._plain and not (files.kwargs or files.client_kwargs):
                try:
                    return _receive(files, path, start, memory)
                except _RedirectedError:
                    self._plain = False
            data = _read(files, path, start, start + len(memory))[: len(memory)]
            memory[: len(data)] = data
            return len(data)

        return self._patiently("read the object", name, fill)

    def size(self, name: str) -> int | None:
        """How many bytes the object ``name`` has; None where the server does not say.

        Raises:
            MissingFileError: there is none; DownloadError: the server can't be asked.
        """

        def ask(files: Any, path: str) -> int | None:
            files.invalidate_cache()
            size = files.info(path).get("size")
            return None if size is None else int(size)

        return self._patiently("look at the object", name, ask)

    def names(self) -> list[str]:
        """What a listing shows of the folder: names of objects right in it. New ones may be missing."""

        def listed(files: Any, path: str) -> list[str]:
            files.invalidate_cache()
            try:
                return [str(found).rstrip("/").rpartition("/")[2] for found in files.ls(path.rstrip("/"), detail=False)]
            except FileNotFoundError:
                return []

        return self._patiently("list the folder", "", listed)

    def put(self, file: Path, name: str) -> None:
        """Write the object ``name``; a large one in several parts. On an object store it appears whole.

        Raises:
            DownloadError: it can't be written.
        """
        self._patiently("write the object", name, lambda files, path: files.put_file(os.fspath(file), path))

    def remove(self, name: str) -> None:
        """Delete the object ``name``, if it is there."""

        def delete(files: Any, path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                files.rm_file(path)

        self._patiently("delete the object", name, delete)

    def _files(self) -> tuple[Any, str]:
        """The file system, and the folder's path in it; another one in a forked child."""
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            return opened[1:]
        try:
            import fsspec  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise MissingPackageError("URLs need the package fsspec", fix="pip install fsspec") from None
        with self._opening:
            try:
                makes = {"auto_mkdir": True} if self._base.startswith(("file://", "local://")) else {}
                files, path = fsspec.core.url_to_fs(self._base, **{**makes, **self.options})
            except ValueError as cause:
                raise ArgumentError(
                    "a URL that fsspec does not know", got=self._hidden(str(cause)), where=self.shown
                ) from None
            except ImportError as cause:
                package = _PACKAGES.get(self._base.partition(":")[0])
                raise MissingPackageError(
                    "the URL needs a package that is not installed",
                    got=self._hidden(str(cause)),
                    fix=f"pip install {package}" if package else "install it with pip",
                ) from None
            except Exception as cause:  # credentials that can't be used, for one
                raise self._failed("reach the folder", "", cause) from None
            self._opened = (os.getpid(), files, path.rstrip("/"))
        return self._opened[1:]

    def _patiently(self, doing: str, name: str, request: Callable[[Any, str], T_]) -> T_:
        """What ``request`` gives, which is made several times if need be."""
        if offline() and not self._base.startswith(("file:", "local:", "memory:")):
            raise DownloadError(f"can't {doing}: FOREWORD_OFFLINE is set", where=self.place(name), fix="unset it")
        files, base = self._files()
        path = f"{base}/{name}{self._query}"
        for tried in range(1, TRIES + 1):
            try:
                return request(files, path)
            except ForewordError:
                raise
            except FileNotFoundError:
                raise MissingFileError(
                    f"can't {doing}: there is none", where=self.place(name), fix="check the URL"
                ) from None
            except Exception as cause:
                if _is_final(cause) or self._is_misuse(cause) or tried == TRIES:
                    # Not ``from cause``: a traceback would show what it says, URLs with signatures among it.
                    raise self._failed(doing, name, cause) from None
            time.sleep(PAUSE * 2 ** (tried - 1))
        raise AssertionError

    def _is_misuse(self, cause: Exception) -> bool:
        """Whether the options are such as Python's libraries can't use; no network raises that."""
        return bool(self.options) and isinstance(cause, TypeError | AttributeError)

    def _failed(self, doing: str, name: str, cause: Exception) -> ForewordError:
        if self._is_misuse(cause):
            return ArgumentError(
                f"can't {doing}: its file system can't use the storage_options",
                got=f"{type(cause).__name__} {self._hidden(next(iter(str(cause).splitlines()), ''))[:200]}".rstrip(),
                where=self.place(name),
                fix=f"look at the types of {', '.join(sorted(self.options))}",
            )
        refused = isinstance(cause, PermissionError) or getattr(cause, "status", None) in (401, 403)
        credentials = refused or type(cause).__name__ in _FINAL
        said = next(iter(str(cause).splitlines()), "")
        error = DownloadError(
            f"can't {doing}: the server refuses" if credentials else f"can't {doing}",
            got=("" if isinstance(cause, _StatusError) else f"{type(cause).__name__} ") + self._hidden(said)[:200],
            where=self.place(name),
            fix="set the credentials of its protocol in the environment, or give storage_options"
            if credentials
            else "check the network, and run it again",
        )
        error.errno = getattr(cause, "errno", None)
        error.status = getattr(cause, "status", None)
        return error

    def _hidden(self, text: str) -> str:
        """The text without what may be secret: values of options, keys of the environment, queries of URLs."""
        secrets = [*_texts(self.options), *(os.environ.get(name, "") for name in _secret_variables())]
        for secret in sorted(filter(lambda value: len(value) > 3, secrets), key=len, reverse=True):
            text = text.replace(secret, "…")
        return _SECRETS.sub("", text)


def _read(files: Any, path: str, start: int | None, stop: int | None) -> bytes:
    if start is not None and start == stop:
        return b""
    if not getattr(files, "async_impl", False):
        return bytes(files.cat_file(path, start=start, end=stop))
    from fsspec.asyn import sync  # type: ignore[import-untyped, unused-ignore]

    if "http" in files.protocol:
        return bytes(sync(files.loop, _read_http, files, path, start, stop, timeout=SECONDS))
    return bytes(sync(files.loop, files._cat_file, path, start=start, end=stop, timeout=SECONDS))


async def _read_http(files: Any, url: str, start: int | None, stop: int | None) -> bytes:
    """Some bytes over HTTP: fsspec's own would read an object whole where a server knows no ranges."""
    options = dict(files.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    if start is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
    session = await files.set_session()
    # Without room for a whole block aiohttp stops and starts the connection for every 64 KiB.
    async with session.get(files.encode_url(url), headers=headers, **{"read_bufsize": _ROOM, **options}) as answer:
        if not _has_bytes(answer.status, answer.reason or "", ranged=start is not None):
            return b""
        data: bytes = await answer.read()
        return data


def _receive(files: Any, url: str, start: int, memory: memoryview) -> int:
    """Some bytes over HTTP, received where they belong."""
    from foreword._base import plain_http

    with plain_http.answer(files.encode_url(url), start, start + len(memory), SECONDS) as answer:
        if 300 <= answer.status < 400:
            raise _RedirectedError
        return plain_http.receive(answer, memory) if _has_bytes(answer.status, answer.reason, ranged=True) else 0


def _has_bytes(status: int, reason: str, *, ranged: bool) -> bool:
    """Whether an answer has bytes of the object, going by its status; not where the object ends before them."""
    if status == 404:
        raise FileNotFoundError
    if status not in (200, 206, 416):
        raise _StatusError(status, reason)
    if ranged and status == 200:
        raise _StatusError(501, "the server gives whole objects only, no ranges of bytes")
    return status != 416


def _is_final(cause: Exception) -> bool:
    """Whether the same request would fail again."""
    if isinstance(cause, PermissionError | NotImplementedError | IsADirectoryError) or type(cause).__name__ in _FINAL:
        return True
    return getattr(cause, "status", None) in _FINAL_STATUS


def _without_password(url: str) -> str:
    """The URL as it may be shown.

    Raises:
        ArgumentError: there is a name or password in it.
    """
    place = urlsplit(url).netloc
    name, at, _ = place.rpartition("@")
    if at and (":" in name or url.startswith("http")):
        raise ArgumentError(
            "a URL with a name or password in it is not used",
            got=f"a URL of {place.rpartition('@')[2]}",
            fix="set the credentials of its protocol in the environment, or give storage_options",
        )
    return shown(url)


def whole_url(url: str) -> str:
    """The URL, its protocol in small letters.

    Raises:
        ArgumentError: it names no place: no bucket, host or folder.

    >>> whole_url("S3://bucket/Store")
    's3://bucket/Store'
    """
    protocol, mark, rest = url.partition("://")
    protocol = protocol.lower()
    place = rest.partition("?")[0]
    if not place.strip("/") or (protocol in _PACKAGES and place.startswith("/")):
        first = {"http": "HOST", "https": "HOST", "hf": "OWNER/REPO"}.get(protocol, "BUCKET")
        raise ArgumentError(
            "a URL that names no place",
            got=f"{protocol}{mark}{place}",
            expected=f"{protocol}://{first}/FOLDER" if protocol in _PACKAGES else f"{protocol}:///FOLDER",
        )
    return f"{protocol}{mark}{rest}"


def _checked(options: Mapping[str, Any] | None, url: str, where: str) -> dict[str, Any]:
    """The options, by names that the file system knows, where these are known: it would find out late, or never.

    Raises:
        ArgumentTypeError: they are no mapping of names.
        ArgumentError: an unknown one; says its name, and no value.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ArgumentTypeError(
            "storage_options are a mapping of names to values", got=type(options).__name__, expected='{"key": …}'
        )
    known = _known_options(url.partition("://")[0])
    unknown = sorted(options.keys() - known) if known else []
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1)
        raise ArgumentError(
            f"no such storage option: {unknown[0]!r}",
            expected=", ".join(sorted(known)),
            where=where,
            fix=f"is {near[0]!r} meant?" if near else None,
        )
    return dict(options)


def _known_options(protocol: str) -> frozenset[str]:
    """The names of the options of a protocol's file system; none where it takes others, or is not installed."""
    if protocol not in _STRICT:
        return frozenset()
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]

        classes = [*fsspec.get_filesystem_class(protocol).__mro__]
        if protocol in ("s3", "s3a"):
            from aiobotocore.session import AioSession  # type: ignore[import-untyped, import-not-found, unused-ignore]

            classes += AioSession.__mro__
    except ImportError:  # which is said when it is opened
        return frozenset()
    names = {name for one in classes for name in inspect.signature(one.__init__).parameters}
    return frozenset(names - {"self", "args", "kwargs", "storage_options"}) | _COMMON


def _texts(value: object) -> Iterator[str]:
    """The texts in options, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in ("endpoint_url", "region_name", "protocol", "account_name", "project"):
                yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _secret_variables() -> Iterator[str]:
    for name in os.environ:
        if re.search("SECRET|TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|CONNECTION_STRING|CREDENTIAL", name, re.IGNORECASE):
            yield name
