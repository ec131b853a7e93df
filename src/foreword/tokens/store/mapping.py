"""Files of token ids as arrays: mapped, or read a slice at a time.

Not for: what the arrays mean (``store``, ``formats``). Costs: a mapped file takes no memory of its own.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from foreword._base.system import open_without_waiting
from foreword._base.words import counted
from foreword.errors import StoreError

__all__ = ["FileArray", "map_file"]


@contextlib.contextmanager
def _opened(path: Path, dtype: np.dtype[Any], count: int) -> Iterator[BinaryIO]:
    """The file, which has the size of ``count`` elements.

    Raises:
        StoreError: it is missing, of another size, or can't be read in the block.
    """
    expected = count * dtype.itemsize
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected:
                raise StoreError(
                    "a file of the store has the wrong size",
                    got=counted(size, "byte"),
                    expected=f"{counted(expected, 'byte')} ({count:,} × {dtype})",
                    where=path,
                    fix="restore the file, or prepare the corpus again",
                )
            yield file
    except OSError as cause:
        raise StoreError(
            f"a file of the store can't be read: {cause.strerror}", where=path, fix="restore the file"
        ) from cause


def map_file(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The file as an array [count], mapped read-only.

    Raises:
        StoreError: it is missing, or of another size.
    """
    with _opened(path, dtype, count) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if count else b""
    return np.frombuffer(mapped, dtype)


class FileArray:
    """The file as an array [count], of which an element or a slice is read when it is asked for.

    For a file that another program may cut short meanwhile: that ends a process which has it mapped (SIGBUS), and is
    an error here. Costs: to open the file, for each slice.

    Raises:
        StoreError: the file is missing, or of another size; when it is made, and for every slice.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], count: int) -> None:
        self._file = path, dtype, count
        with _opened(*self._file):
            pass

    def __len__(self) -> int:
        return self._file[2]

    def __getitem__(self, index: int | slice) -> Any:
        path, dtype, count = self._file
        if not isinstance(index, slice):
            place = range(count)[index]
            return self[place : place + 1][0]
        start, stop, _ = index.indices(count)
        size = max(0, stop - start) * dtype.itemsize
        with _opened(path, dtype, count) as file:
            file.seek(start * dtype.itemsize)
            data = file.read(size)
        if len(data) != size:
            raise StoreError("a file of the store was cut short while it was read", where=path, fix="restore the file")
        return np.frombuffer(data, dtype)
