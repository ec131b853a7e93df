"""The bytes of a file, through gzip, zstandard or zip where its content says so.

``Source`` is a stream that can look ahead. A member of a zip archive with several is named as if the archive were a
folder: ``glove.6B.zip/glove.6B.50d.txt``.

Not for: knowing what the bytes mean. Costs: nothing is read beyond what is asked for, a few kilobytes apart.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from foreword._base.files import explained
from foreword.errors import FormatError

__all__ = ["Source", "member_of", "open_source"]

HEAD = 1 << 16
"""How far a source can look ahead, in bytes."""

BOMB = 1 << 28
"""Bytes up to which compressed data may unpack to anything; beyond, to ``_BOMB_RATIO`` times its size."""

_BOMB_RATIO = 100  # text of vectors packs to a third; what packs to a hundredth is no vectors

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstandard", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}


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
                got=f"over {self._given:,} bytes out of {self.packed:,}",
                where=self.name,
                fix="if it is right nevertheless, unpack it, and load what comes out",
            )


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The bytes of the file ``path``, decompressed.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: its compression is damaged, or it is an archive of several files.
    """
    path, member = member_of(path)
    with contextlib.ExitStack() as stack:
        with explained("read the vectors", path):
            raw: IO[bytes] = stack.enter_context(open(path, "rb"))
            magic = raw.read(4)
            raw.seek(0)
        kind = _MAGIC.get(magic) or _MAGIC.get(magic[:2])
        name = os.fspath(path)
        data: Any = raw
        size: int | None = os.fstat(raw.fileno()).st_size
        with _undamaged(name):
            if kind == "gzip":
                import gzip

                data, size = stack.enter_context(gzip.GzipFile(fileobj=raw)), None
            elif kind == "zstandard":
                import pyarrow as pa

                data, size = stack.enter_context(pa.CompressedInputStream(raw, "zstd")), None
            elif kind == "zip":
                archive = stack.enter_context(zipfile.ZipFile(raw))
                info = _member(archive, path, member)
                name, size = f"{path}/{info.filename}", info.file_size
                data = stack.enter_context(archive.open(info))
        yield Source(path, name, raw, data, size)


def member_of(path: Path) -> tuple[Path, str | None]:
    """``ARCHIVE/MEMBER`` → the archive on disk and the member's name; any other path → itself and None."""
    for parent in path.parents:
        if parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return path, None


def _member(archive: zipfile.ZipFile, path: Path, member: str | None) -> zipfile.ZipInfo:
    """The member of that name; of an archive of one file, that one."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    chosen = [info for info in files if member in (None, info.filename)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(info.filename for info in files[:12])
    raise FormatError(
        "the archive holds several files" if chosen else "the archive does not hold this file",
        got=names or "an empty archive",
        where=path,
        fix=f"name one of them: {path}/{files[0].filename}" if files else None,
    )


@contextlib.contextmanager
def _undamaged(name: str) -> Iterator[None]:
    """Turn what the decompressors raise on damaged data into a FormatError."""
    try:
        yield
    except FormatError:
        raise
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as cause:
        raise _damaged(name, cause) from cause
    except OSError as cause:
        if cause.errno is not None:  # the system's, not the decompressor's
            raise
        raise _damaged(name, cause) from cause


def _damaged(name: str, cause: Exception) -> FormatError:
    return FormatError(
        "the compressed file is damaged, cut short, or locked",
        got=str(cause) or type(cause).__name__,
        where=name,
        fix="get the file again",
    )
