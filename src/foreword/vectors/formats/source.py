"""The bytes of a file, through gzip, bzip2, xz or zstandard, zip or tar, where its content says so.

``Source`` is a stream that can look ahead. A member of an archive with several is named as if the archive were a
folder: ``glove.6B.zip/glove.6B.50d.txt``.

Not for: knowing what the bytes mean. Costs: nothing is read beyond what is asked for, a few kilobytes apart; a packed
tar file is read twice, first for the names in it.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from foreword._base import compression
from foreword._base.files import explained
from foreword._base.words import counted
from foreword.errors import FormatError

__all__ = ["HEAD", "Source", "is_packed", "member_of", "open_source"]

HEAD = 1 << 16
"""How far a source can look ahead, in bytes."""

BOMB = 1 << 28
"""Bytes up to which compressed data may unpack to anything; beyond, to ``_BOMB_RATIO`` times its size."""

_BOMB_RATIO = 100  # text of vectors packs to a third; what packs to a hundredth is no vectors
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_LAYERS = 4  # of compressions and archives, one in another


class Source:
    """A stream of bytes from a file, with what it is called and, where that is known, how long it is.

    Attributes:
        path: the file on disk; ``name`` says also which member of an archive.
        plain: whether the file on disk is these very bytes.
        size: the bytes there are, after decompression; None where only reading tells.
        head: the first bytes, up to ``HEAD``; looking at them does not consume them.
        packed: the bytes of the file on disk, for progress; ``position`` of them are read.
    """

    def __init__(self, path: Path, name: str, raw: IO[bytes], data: Any, size: int | None) -> None:
        self.path, self.name, self.size = path, name, size
        self.packed = os.fstat(raw.fileno()).st_size
        self.plain = data is raw
        self._raw, self._data = raw, data
        self._given = 0
        self._ahead = b""
        self.head = self._ahead = self._read(HEAD)

    @property
    def position(self) -> int:
        """How many bytes of the file on disk have been read."""
        return self._raw.tell()

    def read(self, n: int) -> bytes:
        """The next ``n`` bytes, fewer only at the end.

        Raises:
            FormatError: the compressed data is damaged, cut short, or a bomb.
        """
        if not self._ahead:
            return self._read(n)
        data, self._ahead = self._ahead[:n], self._ahead[n:]
        return data + self._read(n - len(data)) if len(data) < n else data

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into ``room``; how many, fewer than it holds only at the end. Raises as ``read``."""
        ahead, self._ahead = self._ahead[: len(room)], self._ahead[len(room) :]
        done = len(ahead)
        room[:done] = ahead
        with _undamaged(self.name), explained("read the vectors", self.path):
            while done < len(room) and (got := self._data.readinto(room[done:])):
                done += got
        self._tally(done - len(ahead))
        return done

    def skip(self, n: int) -> None:
        """Pass over ``n`` bytes."""
        while n > 0:
            got = len(self.read(min(n, 1 << 22)))
            if not got:
                return
            n -= got

    def _read(self, n: int) -> bytes:
        pieces = []
        with _undamaged(self.name), explained("read the vectors", self.path):
            while n > 0 and (piece := self._data.read(min(n, 1 << 26))):
                pieces.append(piece)
                n -= len(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._tally(len(data))
        return data

    def _tally(self, n: int) -> None:
        self._given += n
        if self._given > BOMB and self._given > _BOMB_RATIO * self.packed:
            raise FormatError(
                "the compressed file unpacks to far more than vectors can",
                got=f"over {counted(self._given, 'byte')} out of {self.packed:,}",
                where=self.name,
                fix="if it is right nevertheless, unpack it, and load what comes out",
            )


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The bytes of the file ``path``, unpacked.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: its compression is damaged, or it is an archive of several files.
    """
    with contextlib.ExitStack() as stack:
        with explained("read the vectors", path):
            path, member = member_of(path)
            raw = stack.enter_context(open(path, "rb"))
            with _undamaged(os.fspath(path)):
                data, name, size = _unpacked(raw, path, member, stack)
        yield Source(path, name, raw, data, size)


def _unpacked(
    raw: IO[bytes], path: Path, member: str | None, stack: contextlib.ExitStack
) -> tuple[Any, str, int | None]:
    """The innermost bytes of a file, what they are called, and how many there are, or None."""
    data: Any = raw
    name = os.fspath(path)
    size: int | None = os.fstat(raw.fileno()).st_size
    kinds: list[str] = []
    for _ in range(_LAYERS):
        head = data.peek(tarfile.BLOCKSIZE)
        kind = compression.by_content(head)
        if kind is not None:
            data, size = compression.unpack(data, kind, name), None
            kinds.append(kind)
        elif data is raw and head.startswith(_ZIP):
            archive = stack.enter_context(zipfile.ZipFile(raw))
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
            chosen = _member([info.filename for info in infos], path, member)
            info = next(info for info in infos if info.filename == chosen)
            data, size = stack.enter_context(archive.open(info)), info.file_size
            name = f"{path}/{_plain(info.filename)}"
        elif name == os.fspath(path) and _is_tar(head):
            data, name, size = _tar_member(raw, kinds, path, member, stack)
        else:
            break
    return data, name, size


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so is unpacked before it is read."""
    return compression.by_content(head) is not None or head.startswith(_ZIP) or _is_tar(head)


def _is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive: its first header's checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _tar_member(
    raw: IO[bytes], kinds: list[str], path: Path, member: str | None, stack: contextlib.ExitStack
) -> tuple[Any, str, int]:
    """The member of a tar archive, which is packed by ``kinds``, from the outermost in."""

    def opened() -> tarfile.TarFile:
        raw.seek(0)
        data: Any = raw
        for kind in kinds:
            data = compression.unpack(data, kind, path)
        return tarfile.open(fileobj=data, mode="r|" if kinds else "r:")

    with opened() as archive:
        names = [info.name for info in archive if info.isfile()]
    chosen = _member(names, path, member)
    archive = stack.enter_context(opened())
    info = next(info for info in archive if info.name == chosen and info.isfile())
    data = archive.extractfile(info)
    assert data is not None
    return data, f"{path}/{_plain(chosen)}", info.size


def member_of(path: Path) -> tuple[Path, str | None]:
    """``ARCHIVE/MEMBER`` → the archive on disk and the member's name; any other path → itself and None."""
    for parent in path.parents:
        if parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return path, None


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()


def _member(names: list[str], path: Path, member: str | None) -> str:
    """The member of that name; of an archive of one file, that one. What macOS adds beside each file doesn't count."""
    if member is None:
        names = [n for n in names if not n.startswith("__MACOSX/") and not PurePosixPath(n).name.startswith("._")]
    chosen = [name for name in names if member in (None, _plain(name))]
    if len(chosen) == 1:
        return chosen[0]
    if len({_plain(name) for name in chosen}) == 1:
        raise FormatError(
            "the archive holds several files of one name",
            got=f"{_plain(chosen[0])}, {counted(len(chosen), 'time')}",
            where=path,
            fix="unpack it, and give the file that is meant",
        )
    shown = ", ".join(map(_plain, names[:12])) + (", …" if len(names) > 12 else "")
    raise FormatError(
        "the archive holds several files" if chosen else "the archive does not hold this file",
        got=shown or "an empty archive",
        where=path,
        fix=f"name one of them: {path}/{_plain(names[0])}" if names else None,
    )


@contextlib.contextmanager
def _undamaged(name: str) -> Iterator[None]:
    """Turn what reading a damaged archive raises into a FormatError."""
    try:
        yield
    except FormatError:
        raise
    except (
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        tarfile.TarError,
        RuntimeError,
        NotImplementedError,
        ValueError,
    ) as cause:
        raise _damaged(name, cause) from cause
    except OSError as cause:
        if cause.errno is not None:  # the system's, not the archive's
            raise
        raise _damaged(name, cause) from cause


def _damaged(name: str, cause: Exception) -> FormatError:
    return FormatError(
        "the compressed file is damaged, cut short, or locked",
        got=str(cause) or type(cause).__name__,
        where=name,
        fix="get the file again",
    )
