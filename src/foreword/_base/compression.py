"""Compression: gzip, bzip2, xz and zstandard, unpacked and packed in one place; told from first bytes, or by name.

A file may be several streams one after another, as parallel compressors write them. What follows them that is neither
a stream nor padding is an error: a damaged stream must not pass for the end.

Not for: archives of files (zip, tar). Costs: the libraries' speed: unpacking 300 (gzip), 40 (bzip2), 150 (xz), 1,000
MB/s (zstandard); memory for a few blocks.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

from foreword._base.words import first_line
from foreword.errors import ForewordError, FormatError

__all__ = ["SUFFIXES", "Unpacked", "by_content", "by_name", "packing", "stem", "unpack"]

SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstandard"}
"""The suffix of a file's name → how the file is packed."""

_BUFFER = 1 << 18


def by_name(name: str | os.PathLike[str]) -> str | None:
    """How a file of this name is packed; None where it isn't.

    >>> by_name("words.txt.GZ"), by_name("words.txt")
    ('gzip', None)
    """
    return SUFFIXES.get(os.path.splitext(os.fspath(name))[1].lower())  # noqa: PTH122


def stem(name: str) -> str:
    """A name without the suffix of a compression, if it has one.

    >>> stem("words.txt.gz"), stem("words.txt")
    ('words.txt', 'words.txt')
    """
    return os.path.splitext(name)[0] if by_name(name) else name  # noqa: PTH122


def by_content(head: bytes) -> str | None:
    """How a file that begins so is packed (10 bytes tell); None where it isn't.

    >>> by_content(gzip.compress(b"")), by_content(b"BZh, a word of text")
    ('gzip', None)
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstandard"
    return None


def unpack(raw: IO[bytes], kind: str, where: str | os.PathLike[str]) -> io.BufferedReader:
    """The bytes that the stream ``raw`` packs, as a buffered stream with ``peek``; ``raw`` stays open.

    Reading it raises FormatError, which names ``where``, when the packed data is damaged or cut short.
    """
    return io.BufferedReader(Unpacked(raw, kind, where), _BUFFER)


class Unpacked(io.RawIOBase):
    """The bytes that a stream packs; each read gives as many as were asked for, fewer only at the end.

    Args:
        raw: the packed stream; it is read, and not closed.
        kind: a value of ``SUFFIXES``.
        where: what to call it in an error.
    """

    def __init__(self, raw: IO[bytes], kind: str, where: str | os.PathLike[str]) -> None:
        self._kind, self._where = kind, where
        with self._undamaged():
            self._stream = _stream(raw, kind)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, room: Any) -> int:
        """Fill ``room``; how many bytes, fewer than it holds only at the end."""
        view, done = memoryview(room).cast("B"), 0
        with self._undamaged():
            while done < len(view) and (piece := self._stream.read(len(view) - done)):
                view[done : done + len(piece)] = piece
                done += len(piece)
        return done

    @contextlib.contextmanager
    def _undamaged(self) -> Iterator[None]:
        """Turn what the libraries raise on damaged data into a FormatError."""
        try:
            yield
        except ForewordError:  # of the stream that is packed, which says itself what is wrong
            raise
        except (EOFError, ValueError, zlib.error, lzma.LZMAError) as cause:
            raise self._damaged(cause) from cause
        except OSError as cause:
            if cause.errno is not None:  # the system's, not the library's
                raise
            raise self._damaged(cause) from cause

    def _damaged(self, cause: Exception) -> FormatError:
        return FormatError(
            f"the {self._kind} file is damaged or cut short",
            got=first_line(cause),
            where=os.fspath(self._where),
            fix="get the file again",
        )


def _stream(raw: IO[bytes], kind: str) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=io.BufferedReader(_KeptOpen(raw), _BUFFER))
    if kind == "bzip2":
        return _Streams(raw, bz2.BZ2Decompressor)
    if kind == "xz":
        return _Streams(raw, lzma.LZMADecompressor)
    import pyarrow as pa

    return pa.CompressedInputStream(_KeptOpen(raw), "zstd")


class _Streams:
    """Streams one after another, of bzip2 or xz; Python's own readers take a damaged one for the end."""

    def __init__(self, raw: IO[bytes], new: Any) -> None:
        self._raw, self._new = raw, new
        self._one: Any = new()
        self._ahead = b""
        self._within = self._any = False  # the stream that is being read, and whether there was one

    def read(self, size: int) -> bytes:
        while True:
            if self._one.eof:
                self._ahead = self._one.unused_data.lstrip(b"\0")  # xz's padding
                self._one, self._within = self._new(), False
            if self._one.needs_input and not self._ahead:
                self._ahead = self._raw.read(_BUFFER)
                if not self._within:
                    self._ahead = self._ahead.lstrip(b"\0") if self._ahead.strip(b"\0") else b""
                if not self._ahead:
                    if self._any and not self._within:
                        return b""
                    raise EOFError("it ends before the end of its data")
            self._within = self._any = True
            data, self._ahead = self._one.decompress(self._ahead, size), b""
            if data:
                return cast("bytes", data)


class _KeptOpen(io.RawIOBase):
    """A stream for a library or a buffer that would close it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        data = self._stream.read(len(room))
        room[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return self._stream.write(data)


@contextlib.contextmanager
def packing(file: IO[bytes], kind: str | None) -> Iterator[IO[bytes]]:
    """A stream whose bytes go to ``file`` packed; ``file`` itself where ``kind`` is None, and left open.

    The same bytes are packed the same: no time and no name are kept.
    """
    stream: Any
    if kind is None:
        yield file
        return
    if kind == "gzip":
        stream = gzip.GzipFile("", "wb", 6, file, mtime=0)
    elif kind == "bzip2":
        stream = bz2.BZ2File(file, "wb")
    elif kind == "xz":
        stream = lzma.LZMAFile(file, "wb")  # noqa: SIM115 - below
    else:
        import pyarrow as pa

        stream = pa.CompressedOutputStream(_KeptOpen(file), "zstd")
    with stream:
        yield stream
