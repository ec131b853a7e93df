"""Checkpoints: a run's state in one file, whole or not at all.

    foreword-training 1⏎   SHA-256 of the header⏎   header (JSON, one line)⏎   input table   output table   losses
    SHA-256 of all before

A corpus is known by a digest of all of it, and of the counts of its words.

Not for: files of vectors. Costs: writing and hashing the tables, about 1 GB/s; once a run, hashing the corpus, which
takes a hundredth of the time of an epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import system
from foreword._base.files import atomic_write, explained
from foreword._base.words import counted
from foreword.errors import FormatError

__all__ = ["corpus_digest", "read", "words_digest", "write"]

_MAGIC = b"foreword-training 1\n"
_LONGEST = 1 << 16  # bytes of a header
_DIGEST = 32
_AT_ONCE = 1 << 24  # bytes

Arrays = Sequence[NDArray[Any]]


def corpus_digest(encoded: NDArray[np.uint32], counts: NDArray[np.int64]) -> str:
    """What a corpus and its counts are known by, 64 hex digits."""
    digest = hashlib.sha256(len(encoded).to_bytes(8, "little"))
    digest.update(counts.astype("<i8", copy=False).tobytes())
    for data in _pieces([encoded.astype("<u4", copy=False)]):
        digest.update(data)
    return digest.hexdigest()


def words_digest(words: Sequence[str]) -> str:
    """What a vocabulary is known by, 64 hex digits."""
    digest = hashlib.sha256()
    for word in words:
        data = word.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def write(path: str | os.PathLike[str], header: dict[str, Any], arrays: Arrays) -> None:
    """Write a checkpoint of float32 and float64 arrays.

    Raises:
        FileError: it can't be written; one that was there before is as it was.
    """
    digest = hashlib.sha256()
    with atomic_write(path) as file:
        line = json.dumps(header).encode() + b"\n"
        known = hashlib.sha256(line).hexdigest().encode() + b"\n"
        for data in itertools.chain((_MAGIC, known, line), _pieces(arrays)):
            digest.update(data)
            file.write(data)
        file.write(digest.digest())


def _pieces(arrays: Arrays) -> Iterator[Any]:
    for array in arrays:
        data = _bytes(array)
        for start in range(0, len(data), _AT_ONCE):
            yield data[start : start + _AT_ONCE]


def _bytes(array: NDArray[Any]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


@contextlib.contextmanager
def read(path: str | os.PathLike[str]) -> Iterator[Checkpoint]:
    """A checkpoint, open to be read.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: it is none, or damaged.
    """
    with explained("read the checkpoint", path), open(path, "rb", opener=system.open_without_waiting) as file:
        yield Checkpoint(file, os.fspath(path))


class Checkpoint:
    """An open checkpoint: its header first, then its arrays.

    Attributes:
        header: what ``write`` was given.
    """

    header: dict[str, Any]

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file, self._path = file, path
        self._digest = hashlib.sha256()
        if self._take(len(_MAGIC)) != _MAGIC:
            raise self.damaged("not a checkpoint of a training, or one of another version")
        known, line = self._take(65), self._file.readline(_LONGEST)
        self._digest.update(line)
        if known != hashlib.sha256(line).hexdigest().encode() + b"\n":
            raise self.damaged("a damaged header")
        self.header = json.loads(line)

    def fill(self, arrays: Arrays) -> None:
        """Read the arrays, in the order in which they were written, into contiguous ones of the same shapes.

        Raises:
            FormatError: the file is shorter or longer, or its digest is another.
        """
        size = sum(array.nbytes for array in arrays) + _DIGEST
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if left != size:
            raise self.damaged(f"{counted(left, 'byte')} of tables", expected=counted(size, "byte"))
        for array in arrays:
            data = _bytes(array)
            for start in range(0, len(data), _AT_ONCE):
                piece = data[start : start + _AT_ONCE]
                if self._file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
                    raise self.damaged("a file that is cut short")
                self._digest.update(piece)
        if self._file.read(_DIGEST) != self._digest.digest():
            raise self.damaged("bytes that are not those that were written")

    def damaged(self, got: str, *, expected: str | None = None) -> FormatError:
        """The error of a file that is no whole checkpoint."""
        return FormatError(
            "the checkpoint can't be used", got=got, expected=expected, where=self._path, fix="start the training again"
        )

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        self._digest.update(data)
        return data
