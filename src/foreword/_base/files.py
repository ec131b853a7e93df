"""Files: the cache folder, whole-or-nothing writes, hashes, locks.

Every file that Foreword leaves behind goes through here, so that a crash, a full disk or Ctrl-C leaves
either the whole file or none. An OSError of the operating system becomes a ``FileError`` that names
the path and what was being done.

Not for: formats (each package knows its own). Costs: one fsync a file written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from foreword._base import compression, system
from foreword.errors import ArgumentError, ArgumentTypeError, FileError, MissingFileError, TextDecodeError

__all__ = [
    "DAMAGED_ARRAY",
    "atomic_folder",
    "atomic_write",
    "cache_folder",
    "check_file",
    "check_folder",
    "check_whole",
    "explained",
    "given_path",
    "lock",
    "output_path",
    "read_bytes",
    "read_regular",
    "read_text",
    "remote_url",
    "replaced_folder",
    "sha256",
]

DAMAGED_ARRAY = (ValueError, SyntaxError, TypeError, EOFError, tokenize.TokenError)
"""What NumPy raises of a ``.npy`` file whose bytes are damaged: it evaluates the header as Python writes a dict."""

# A drive of Windows is one letter; fsspec joins protocols by "::".
_URL = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]+):/+")

_ADVICE = {
    errno.EACCES: "change the permissions, or choose another place",
    errno.EPERM: "change the permissions, or choose another place",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "your quota is used up: free some space, or choose another disk",
    errno.ENOENT: "check the path for a typing error",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EBUSY: "it is in use, as the current folder is: name another path",
    errno.EEXIST: "something else is there already: name another path",
    errno.ENOTEMPTY: "something else is there already: name another path",
    errno.ENAMETOOLONG: "give a shorter name; or give a path, not a text",
}


def given_path(path: str | os.PathLike[str]) -> Path:
    """What a caller gives as a path, as one: the first thing that is done with it.

    Raises:
        ArgumentTypeError: it is none: a number would be taken for an open file.
        ArgumentError: no file can be called so, or it is empty, which ``Path`` would take for the folder where we are.

    >>> given_path("a\\0b")
    Traceback (most recent call last):
        ...
    foreword.errors.ArgumentError: a path that no file can have
      got:      'a\\x00b'
      expected: one without NUL bytes and halves of surrogate pairs
    """
    _check_path(path)
    return Path(path)


def _check_path(path: str | os.PathLike[str]) -> None:
    """As ``given_path``, without a ``Path``, which takes most of its time."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise ArgumentTypeError("a path is a str or a Path", got=f"{path!r:.60} ({type(path).__name__})")
    if not text:
        raise ArgumentError("a path is empty", got="''", fix="name a file or a folder; of this folder, .")
    try:
        usable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ArgumentError(
            "a path that no file can have",
            got=repr(text if len(text) < 100 else f"{text[:80]}…"),
            expected="one without NUL bytes and halves of surrogate pairs",
        )


@contextlib.contextmanager
def explained(doing: str, path: str | os.PathLike[str], *, fix: str | None = None) -> Iterator[None]:
    """Turn an OSError inside the block into a FileError that says what was being done, and where.

    Raises:
        ArgumentError, ArgumentTypeError: ``path`` is none, as ``given_path`` says.

    >>> with explained("read the list", "/no/such/file"):
    ...     open("/no/such/file")
    Traceback (most recent call last):
        ...
    foreword.errors.MissingFileError: can't read the list: no such file or directory
      where:    /no/such/file
      fix:      check the path for a typing error
    """
    _check_path(path)
    try:
        yield
    except FileError:
        raise
    except OSError as cause:
        kind = MissingFileError if cause.errno == errno.ENOENT else FileError
        why = (cause.strerror or str(cause) or type(cause).__name__).lower()
        raise kind(
            f"can't {doing}: {why}",
            cause=cause,
            where=os.fspath(path),
            fix=fix or _advice(cause),
        ) from cause


def _advice(cause: OSError) -> str | None:
    if getattr(cause, "winerror", None) == 32:  # its errno is that of a lack of permission
        return "close what has it open"
    return _ADVICE.get(cause.errno or 0)


def cache_folder(*parts: str) -> Path:
    """The folder ``parts`` inside Foreword's cache, made if missing.

    The cache is ``$FOREWORD_HOME`` where that is set, else the user's cache folder by the platform's
    custom (``~/.cache/foreword`` on Linux).

    Raises:
        FileError: the folder can't be made.
    """
    home = os.environ.get("FOREWORD_HOME")
    if not home:
        import platformdirs

        home = platformdirs.user_cache_dir("foreword", appauthor=False)
    folder = output_path(home).joinpath(*parts)
    with explained("make the cache folder", folder, fix="set FOREWORD_HOME to a folder that you can write to"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def remote_url(path: str | os.PathLike[str]) -> str | None:
    """The URL that ``path`` is, also where ``Path`` has made one slash of it; None of a path on this machine.

    Raises:
        ArgumentError, ArgumentTypeError: it is neither, as ``given_path`` says.

    >>> remote_url("s3://bucket/store"), remote_url("C:/store"), remote_url("store")
    ('s3://bucket/store', None, None)
    """
    _check_path(path)
    text = os.fspath(path)
    if not _URL.match(text) or ("://" not in text and os.path.exists(text)):  # noqa: PTH110
        return None
    return text if "://" in text else _URL.sub(r"\1://", text)


def output_path(path: str | os.PathLike[str]) -> Path:
    """``path`` as a place on this machine to write to.

    A URL is refused, also one that ``Path`` has made one slash of: it would become a local folder of such a name.

    Raises:
        ArgumentError, ArgumentTypeError: it is a URL; or no path, as ``given_path`` says.

    >>> output_path("s3://bucket/store")
    Traceback (most recent call last):
        ...
    foreword.errors.ArgumentError: output goes to a path on this machine, not to a URL
      got:      s3://bucket/store
      fix:      write to a local path, and copy it from there; for a folder of that name, begin with ./
    """
    target, text = given_path(path), os.fspath(path)
    if _URL.match(text):
        raise ArgumentError(
            "output goes to a path on this machine, not to a URL",
            got=_URL.sub(r"\1://", text),
            fix="write to a local path, and copy it from there; for a folder of that name, begin with ./",
        )
    return target


def check_file(path: str | os.PathLike[str], *, make_folder: bool = False) -> None:
    """Raise what ``atomic_write`` would, before the work is done.

    Args:
        path: the file.
        make_folder: the folder is made, where it is missing.

    Raises:
        ArgumentError, ArgumentTypeError: no place to write to, as ``output_path`` says.
        FileError: a folder is called so, or the folder is missing or can't be written to.
    """
    target = output_path(path)
    with explained("write the file", target):
        if target.is_dir() and not target.is_symlink():  # a link is replaced
            raise _os_error(errno.EISDIR)
        _check_parent(target, made=make_folder)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise what ``atomic_folder`` would, before the work is done.

    Raises:
        ArgumentError, ArgumentTypeError: no place to write to, as ``output_path`` says.
        FileError: something is there, or it can't be made.
    """
    target = output_path(path)
    with explained("write the folder", target):
        if target.is_symlink() or target.exists():
            if target.is_symlink() or not target.is_dir():
                raise _os_error(errno.ENOTDIR)
            if any(target.iterdir()):
                raise _os_error(errno.ENOTEMPTY)
        _check_parent(target, made=True)


def _check_parent(target: Path, *, made: bool) -> None:
    """Raise what making something in the target's folder would."""
    folder = target.parent
    while made and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise _os_error(errno.ENOTDIR if folder.exists() else errno.ENOENT)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _os_error(errno.EACCES)


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all: into a temporary file beside it, synced, then renamed.

    A name that starts with a dot and ends in ``.partial`` marks what a killed process left behind.
    """
    target = output_path(path)
    with explained("write the file", target):
        partial = _partial_name(target)
        try:
            with open(partial, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        system.sync_folder(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder whole or not at all: yields an empty folder beside ``path``, renamed at the end.

    Raises:
        FileError: ``path`` exists already (an empty folder there is replaced), or can't be written.
    """
    target = output_path(path)
    with explained("write the folder", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_name(target)
        try:
            partial.mkdir()
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    system.sync_file(file)
            system.sync_folder(partial)
            system.move_folder(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        system.sync_folder(target.parent)


@contextlib.contextmanager
def replaced_folder(path: str | os.PathLike[str], kind: str = "folder") -> Iterator[Path]:
    """As ``atomic_folder``, but a folder that is there is replaced once the new one is whole. ``kind`` is what an error
    calls it. A link stays, and what it leads to is replaced.

    Where the two can't change places at once, a process that is killed just then leaves the old one as ``.NAME.old``,
    as ``check_whole`` says.

    Raises:
        FileError: the folder can't be written; or, as on Windows where a file of it is open, not be replaced.
    """
    folder = output_path(path)
    with explained(f"replace the {kind}", folder):
        if folder.is_symlink() or folder.name in ("", ".."):  # not a name beside which there may be others
            folder = Path(os.path.realpath(folder))
        old = _old_name(folder)
        if not folder.exists() and old.exists():  # a process was killed between two renames
            os.rename(old, folder)
        fresh = folder.with_name(f".{folder.name}.new") if folder.exists() else folder
        for left in {old, fresh} - {folder}:
            shutil.rmtree(left, ignore_errors=True)
    with atomic_folder(fresh) as partial:
        yield partial
    if fresh != folder:
        with explained(f"replace the {kind}", folder):
            _swap(folder, fresh, old)
            for left in (old, fresh):
                shutil.rmtree(left, ignore_errors=True)


def _swap(folder: Path, fresh: Path, old: Path) -> None:
    """Have ``fresh`` and ``folder`` change places; or rename ``folder`` to ``old``, ``fresh`` to ``folder``; or do
    neither, as on Windows where a file of it is open.
    """
    try:
        if not system.exchange(fresh, folder):
            os.rename(folder, old)
            os.rename(fresh, folder)
        system.sync_folder(folder.parent)
    except BaseException:
        if not folder.exists() and old.exists():
            os.rename(old, folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def check_whole(path: Path, doing: str) -> None:
    """Look whether a process was killed in the midst of replacing the folder ``path`` (``replaced_folder``).

    Raises:
        MissingFileError: so it is: says where the folder that was there lies.
    """
    old = _old_name(path) if path.name else path
    if not os.path.exists(path) and os.path.exists(old):  # noqa: PTH110
        raise MissingFileError(
            f"can't {doing}: a process was ended while it replaced the folder",
            got=f"the folder that was there, as {old.name}",
            where=os.fspath(path),
            fix=f"rename {old.name} to {path.name}; saving anew to {path.name} does so, too",
        )


def _old_name(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


@contextlib.contextmanager
def lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock ``path`` against every thread and process of this machine; waits for it.

    The lock dies with its process. The file stays: removing it would let two processes hold it.
    """
    import filelock

    with explained("lock", path), filelock.FileLock(os.fspath(path)):
        yield


def read_regular(path: str | os.PathLike[str], doing: str) -> bytes:
    """The whole of a regular file; a device or a pipe in its place, which may never end, is refused.

    Raises:
        MissingFileError, FileError: it can't be read, or is no regular file; ``doing`` says what for.
    """
    with explained(doing, path), open(path, "rb", opener=system.open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileError(f"can't {doing}: not a regular file", where=os.fspath(path))
        return file.read()


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as 64 hex digits; 1–2 GB/s, constant memory."""
    with explained("read the file", path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: str | os.PathLike[str], doing: str) -> bytes:
    """All bytes of a file, unpacked where it is gzip, bzip2, xz or zstandard. ``doing`` is what an error says.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: its packed data is damaged or cut short.
    """
    with explained(doing, path), open(path, "rb") as file:
        kind = compression.by_content(file.peek(16))
        return file.read() if kind is None else compression.unpack(file, kind, path).read()


def read_text(path: str | os.PathLike[str], *, encoding: str = "utf-8") -> str:
    """The whole text of a file, unpacked as ``read_bytes`` does, line ends as they are; a UTF-8 byte-order mark is
    dropped.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: its packed data is damaged or cut short.
        TextDecodeError: it is not text in ``encoding``; says the byte offset and the line.
    """
    data = read_bytes(path, "read the text")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        raise TextDecodeError(
            f"not {encoding} text",
            cause=cause,
            got=f"the byte 0x{data[cause.start]:02x} ({cause.reason})",
            where=f"{os.fspath(path)}, byte {cause.start:,}, line {line:,}",
            fix="convert the file to UTF-8, or name its encoding",
        ) from cause
    return text.removeprefix("\ufeff")


def _partial_name(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
