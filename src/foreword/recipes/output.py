"""Files of arrays that grow by rows: one .safetensors, or a folder of .npy.

The first array is written as it comes, behind a header of fixed room that is filled in at the end; the small ones of a
.safetensors file wait in a temporary file beside it. Either appears whole or not at all.

Not for: reading. Costs: no memory that grows with the rows.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_folder, atomic_write, check_file, check_folder, explained, output_path

__all__ = ["Output", "check_output", "open_output"]

_NPY_ROOM = 128  # bytes of a .npy header, as numpy pads it
_SAFETENSORS_ROOM = 1 << 15  # the longest path, escaped, and the rest

_SAFETENSORS_DTYPES = {"<f4": "F32", "<i8": "I64", "|u1": "U8"}


class Output(Protocol):
    """Where rows go."""

    def append(self, name: str, rows: NDArray[Any]) -> None:
        """More rows of the array ``name``; the first array of a safetensors file is the one that may be large."""
        ...


class _Growing:
    """The shape of an array that grows, and the bytes of its rows."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], tail: tuple[int, ...]) -> None:
        self.file, self.dtype, self.tail, self.rows = file, dtype, tail, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, *self.tail)

    def append(self, rows: NDArray[Any]) -> None:
        assert rows.shape[1:] == self.tail
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.rows += len(rows)


class _Arrays:
    def __init__(self, arrays: dict[str, _Growing]) -> None:
        self.arrays = arrays

    def append(self, name: str, rows: NDArray[Any]) -> None:
        self.arrays[name].append(rows)


def check_output(path: Path) -> None:
    """Raise what ``open_output`` would, before there is anything to write; the folder of a file is made by it."""
    if path.suffix == ".safetensors":
        check_file(path, make_folder=True)
    else:
        check_folder(path)


@contextlib.contextmanager
def open_output(
    path: Path, arrays: Mapping[str, tuple[str, tuple[int, ...]]], about: dict[str, Any]
) -> Iterator[Output]:
    """Open ``path`` for the arrays (name → dtype, shape of a row); ``about`` is written at the end, as it then is.

    A name that ends in .safetensors becomes one file with ``about`` as JSON in its metadata; any other a folder of
    NAME.npy and about.json.

    Raises:
        FileError: it can't be written, or the folder exists and is not empty.
    """
    if path.suffix == ".safetensors":
        with _safetensors(path, arrays, about) as output:
            yield output
    else:
        with _npy_folder(path, arrays, about) as output:
            yield output


@contextlib.contextmanager
def _npy_folder(
    path: Path, arrays: Mapping[str, tuple[str, tuple[int, ...]]], about: dict[str, Any]
) -> Iterator[Output]:
    with atomic_folder(path) as folder, contextlib.ExitStack() as files:
        arrays_on_disk = {}
        for name, (dtype, tail) in arrays.items():
            file = files.enter_context(open(folder / f"{name}.npy", "wb"))
            file.write(bytes(_NPY_ROOM))
            arrays_on_disk[name] = _Growing(file, np.dtype(dtype), tail)
        yield _Arrays(arrays_on_disk)
        for growing in arrays_on_disk.values():
            growing.file.seek(0)
            growing.file.write(_npy_header(growing))
        (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _npy_header(growing: _Growing) -> bytes:
    """NumPy's format 1.0, padded to its room: magic, version, u16 length, a dict literal, spaces, a line end."""
    header = {"descr": growing.dtype.str, "fortran_order": False, "shape": growing.shape}
    return (
        b"\x93NUMPY\x01\x00"
        + (_NPY_ROOM - 10).to_bytes(2, "little")
        + f"{header!r}".ljust(_NPY_ROOM - 11).encode()
        + b"\n"
    )


@contextlib.contextmanager
def _safetensors(
    path: Path, arrays: Mapping[str, tuple[str, tuple[int, ...]]], about: dict[str, Any]
) -> Iterator[Output]:
    with explained("write the file", output_path(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file, contextlib.ExitStack() as files:
        file.write(bytes(_SAFETENSORS_ROOM))
        arrays_on_disk: dict[str, _Growing] = {}
        for name, (dtype, tail) in arrays.items():
            into = files.enter_context(tempfile.TemporaryFile(dir=path.parent)) if arrays_on_disk else file
            arrays_on_disk[name] = _Growing(into, np.dtype(dtype), tail)
        yield _Arrays(arrays_on_disk)
        entries: dict[str, Any] = {"__metadata__": {"format": "pt", "foreword": json.dumps(about)}}
        end = 0
        for name, growing in arrays_on_disk.items():
            if end % 8:  # so that a mapped file can be viewed as int64 where it lies
                file.write(bytes(8 - end % 8))
                entries["padding"] = {"dtype": "U8", "shape": [8 - end % 8], "data_offsets": [end, end + 8 - end % 8]}
                end += 8 - end % 8
            if growing.file is not file:
                growing.file.seek(0)
                shutil.copyfileobj(growing.file, file, 1 << 20)
            begin, end = end, end + growing.dtype.itemsize * int(np.prod(growing.shape))
            kind = _SAFETENSORS_DTYPES[growing.dtype.str]
            entries[name] = {"dtype": kind, "shape": list(growing.shape), "data_offsets": [begin, end]}
        header = json.dumps(entries).encode().ljust(_SAFETENSORS_ROOM - 8)
        assert len(header) == _SAFETENSORS_ROOM - 8, "about is longer than the header's room"
        file.seek(0)
        file.write(len(header).to_bytes(8, "little") + header)
