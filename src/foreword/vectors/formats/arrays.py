"""Arrays with a vocabulary: a ``.npy`` file, or a tensor of a safetensors file, whose rows are named by a list of
words.

The words lie in the file itself where Foreword wrote it (safetensors), else in a file beside it, ``NAME.vocab``,
``NAME.txt``, ``NAME.json``, or ``vocab.txt``, ``vocab.json``, ``words.txt``, or in the file named by ``vocabulary=``:
text with a word a line, or (but not as ``.vocab``) JSON with a list of words or an object word → row, or a parquet file
whose first column of strings counts.

Sources of the formats: numpy.lib.format; the README of huggingface/safetensors. Not for: pickled arrays, which are
refused. Costs: rows are streamed; the words are held.
"""

from __future__ import annotations

import ast
import functools
import json
import math
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.compression import stem
from foreword._base.files import read_bytes
from foreword._base.json_objects import without_repeats
from foreword._base.words import counted
from foreword.errors import FormatError, MissingFileError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader, check_keys, vocabulary_of
from foreword.vectors.formats.source import Source
from foreword.vectors.formats.static_model import is_static_model, read_static_model
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack
from foreword.vectors.store.keys import encode

__all__ = ["is_safetensors", "read_npy", "read_safetensors", "read_words"]

KEYS, KEY_OFFSETS, VECTORS = "keys", "key_offsets", "vectors"
"""The tensors of a safetensors file that Foreword writes: uint8 [bytes], int64 [N + 1], float [N, D]."""

_LONGEST_HEADER = 1 << 26
_LONGEST_NPY_HEADER = 1 << 13
_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "U8": "|u1", "I64": "<i8"}
_FLOATS = ("F64", "F32", "F16", "BF16")


def read_words(path: Path, options: Options) -> list[bytes]:
    """The words of a vocabulary file, as ``keys.encode`` gives them.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: it is no list of words.
        TextDecodeError: a word is not text in its encoding.
    """
    data = read_bytes(path, "read the vocabulary").removeprefix(b"\xef\xbb\xbf")
    suffix = Path(stem(path.name)).suffix
    if suffix != ".vocab":  # which is a word a line, whatever the words look like
        if data.startswith(b"PAR1"):
            return _parquet_words(data, path)
        if data.lstrip()[:1] in (b"[", b"{"):
            try:
                return _json_words(json.loads(data, object_pairs_hook=without_repeats))
            except (ValueError, RecursionError) as cause:
                if suffix == ".json":
                    raise FormatError(
                        "not a vocabulary",
                        got=str(cause)[:200] or None,
                        expected="a JSON list of words, or an object word → row",
                        where=path,
                    ) from None
    lines = [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")] if data else []
    blob, lengths = check_keys(*pack(lines), options, lambda i: f"{path}, line {i + 1:,}")
    ends = np.cumsum(lengths).tolist()
    return [blob[a:b] for a, b in pairwise([0, *ends])]


def _json_words(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        rows = {row: word for word, row in value.items() if type(row) is int}
        if len(rows) != len(value) or sorted(rows) != list(range(len(rows))):
            raise ValueError
        value = [rows[row] for row in range(len(rows))]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError
    return [encode(word) for word in value]


def _parquet_words(data: bytes, path: Path) -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(BytesIO(data))
        kinds = (pa.types.is_string, pa.types.is_large_string)
        column = next(c for c in table.columns if any(is_kind(c.type) for is_kind in kinds) and not c.null_count)
    except (pa.ArrowException, OSError, StopIteration):
        raise FormatError("not a vocabulary", expected="a parquet file with a column of strings", where=path) from None
    return list(column.cast(pa.binary()).to_pylist())


def read_npy(source: Source, options: Options) -> Reader:
    """A reader of a ``.npy`` file, [N, D], float16, float32 or float64.

    Raises:
        FormatError: its array is of another kind, or cut short; the words are missing, or of another count.
    """
    start, shape, dtype, fortran = _npy_header(source)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise _no_vectors(source, dtype, shape)
    _check_shape(source, dtype, shape)
    source.skip(start)
    words = _words(source, options)
    read_rows = _columns_first(source, shape, dtype) if fortran else _rows(source, shape, dtype)
    return Reader(shape[1], lambda: _blocks(source, words, shape, read_rows, options))


def _npy_header(source: Source) -> tuple[int, tuple[int, ...], np.dtype[Any], bool]:
    """Where the data starts, shape, dtype, and whether it lies in Fortran order."""
    head = source.head
    width = 2 if head[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    try:
        if head[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00") or start > min(len(head), _LONGEST_NPY_HEADER):
            raise ValueError
        header = ast.literal_eval(head[8 + width : start].decode("utf-8").strip())
        descr, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
        if type(descr) is not str or not all(type(n) is int and n >= 0 for n in shape) or type(fortran) is not bool:
            raise ValueError
        dtype = np.dtype(descr)
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise FormatError(
            "the header of the .npy file is damaged", where=source.name, fix="get the file again"
        ) from None
    return start, shape, dtype, fortran


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so may be a safetensors file: a length, then a JSON object."""
    return len(head) > 10 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


def read_safetensors(source: Source, options: Options) -> Reader:
    """A reader of the one float matrix of a safetensors file: the tensor ``vectors``, or the only one of two
    dimensions.

    Raises:
        FormatError: the header is damaged, there is no such tensor, or several; the words are missing.
    """
    length = int.from_bytes(source.read(8), "little")
    try:
        header = json.loads(source.read(length), object_pairs_hook=without_repeats)
        tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
        spans = {name: _span(tensor) for name, tensor in tensors.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        got = str(cause)[:200] if isinstance(cause, ValueError) else ""
        raise FormatError("the header of the safetensors file is damaged", got=got or None, where=source.name) from None
    if source.plain:
        placed = {
            n: (tensor["dtype"], tuple(tensor["shape"]), 8 + length + spans[n][0]) for n, tensor in tensors.items()
        }
        if is_static_model(source.path, placed, options):
            return read_static_model(source.path, placed, options)
    matrices = [n for n, tensor in tensors.items() if len(tensor["shape"]) == 2 and tensor["dtype"] in _FLOATS]
    if VECTORS in matrices:
        matrices = [VECTORS]
    if len(matrices) != 1:
        raise FormatError(
            "the safetensors file does not hold one matrix of floats",
            got=", ".join(matrices[:8]) or "none",
            expected=f"one tensor [N, D], or one called {VECTORS!r}",
            where=source.name,
        )
    name = matrices[0]
    tensor = tensors[name]
    dtype = np.dtype(_SAFETENSORS[tensor["dtype"]])
    _check_shape(source, dtype, tuple(tensor["shape"]))
    at = 0
    own = [part for part in (KEYS, KEY_OFFSETS) if part in tensors]
    held: dict[str, bytes] = {}
    for part in sorted([*own, name], key=lambda part: spans[part]):
        start, end = spans[part]
        if start < at:
            raise FormatError("tensors of the safetensors file overlap", where=source.name)
        source.skip(start - at)
        at = start
        if part == name:
            if len(own) == 2 and len(held) < 2:
                raise FormatError("the words come after the vectors", where=source.name)
            break
        held[part] = source.read(end - start)
        at = end
    words = _own_words(held, source) if len(held) == 2 else _words(source, options)
    shape = tuple(tensor["shape"])
    read_rows = _rows(source, shape, dtype, bfloat16=tensor["dtype"] == "BF16")
    return Reader(shape[1], lambda: _blocks(source, words, shape, read_rows, options))


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    """Where a tensor lies after the header; checks it against its shape and dtype."""
    start, end = tensor["data_offsets"]
    shape, dtype = tensor["shape"], tensor["dtype"]
    if not all(type(n) is int and n >= 0 for n in (start, end, *shape)):
        raise ValueError
    if dtype in _SAFETENSORS and end - start != math.prod(shape) * np.dtype(_SAFETENSORS[dtype]).itemsize:
        raise ValueError
    return start, end


def _own_words(held: dict[str, bytes], source: Source) -> list[bytes]:
    blob = held[KEYS]
    ends = np.frombuffer(held[KEY_OFFSETS][: len(held[KEY_OFFSETS]) // 8 * 8], dtype="<i8")
    # What follows the last word is padding to a multiple of 8 bytes.
    if not len(ends) or ends[0] != 0 or not 0 <= len(blob) - int(ends[-1]) < 8 or (ends[1:] < ends[:-1]).any():
        raise FormatError("the words of the safetensors file are damaged", where=source.name)
    cuts = ends.tolist()
    words = [blob[a:b] for a, b in pairwise(cuts)]
    for i, word in enumerate(words):
        try:
            word.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise FormatError("a word is not UTF-8", got=repr(word[:60]), where=f"{source.name}, word {i:,}") from None
    return words


def _no_vectors(source: Source, dtype: np.dtype[Any], shape: tuple[int, ...]) -> FormatError:
    return FormatError(
        "the array can't be word vectors",
        got=f"{dtype} {list(shape)}",
        expected="float16, float32 or float64 [N, D]",
        where=source.name,
    )


def _check_shape(source: Source, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIM:
        raise _no_vectors(source, dtype, shape)
    needed = math.prod(shape) * dtype.itemsize
    if source.size is not None and needed > source.size:
        raise _cut_short(source, counted(source.size, "byte"), f"at least {needed:,} for {dtype} {list(shape)}")


def _words(source: Source, options: Options) -> list[bytes]:
    path = vocabulary_of(source.path, options)
    if path is None:
        raise MissingFileError(
            "the vectors have no words: no vocabulary lies beside them",
            where=source.name,
            fix=f"put the words, one a line, into {source.path.stem}.vocab beside it, or pass vocabulary=",
        )
    return read_words(path, options)


RowsRead = Callable[[int, int], NDArray[Any]]
"""start, stop → those rows, float [stop − start, D]; to be asked for in order."""


def _rows(source: Source, shape: tuple[int, ...], dtype: np.dtype[Any], *, bfloat16: bool = False) -> RowsRead:
    """Rows that lie one after another."""
    dim = shape[1]

    def read(start: int, stop: int) -> NDArray[Any]:
        data = source.read((stop - start) * dim * dtype.itemsize)
        if len(data) < (stop - start) * dim * dtype.itemsize:
            raise _cut_short(source, counted(start + len(data) // (dim * dtype.itemsize), "row"), f"{shape[0]:,}")
        rows = np.frombuffer(data, dtype=dtype).reshape(-1, dim)
        return (rows.astype(np.uint32) << 16).view(np.float32) if bfloat16 else rows  # bfloat16: float32's upper half

    return read


def _columns_first(source: Source, shape: tuple[int, ...], dtype: np.dtype[Any]) -> RowsRead:
    """Rows of an array in Fortran order: it is read whole, for its first row ends at its last bytes."""

    @functools.cache
    def whole() -> NDArray[Any]:
        data = source.read(math.prod(shape) * dtype.itemsize)
        if len(data) < math.prod(shape) * dtype.itemsize:
            raise _cut_short(
                source, f"{counted(len(data), 'byte')} of values", f"{math.prod(shape) * dtype.itemsize:,}"
            )
        return np.frombuffer(data, dtype=dtype).reshape(shape, order="F")

    return lambda start, stop: whole()[start:stop]


def _cut_short(source: Source, got: str, expected: str) -> FormatError:
    return FormatError("the file is cut short", got=got, expected=expected, where=source.name, fix="get the file again")


def _blocks(
    source: Source, words: list[bytes], shape: tuple[int, ...], read_rows: RowsRead, options: Options
) -> Iterator[Pending]:
    n, dim = shape
    if len(words) != n:
        raise FormatError(
            "the vocabulary does not fit the vectors",
            got=counted(len(words), "word"),
            expected=f"{n:,}, one a row",
            where=source.name,
            fix="name the right file by vocabulary=",
        )
    wanted = options.most(n)
    at_once = max(1, BLOCK_BYTES // (4 * dim))
    for start in range(0, wanted, at_once):
        stop = min(start + at_once, wanted)
        yield stop - start, _maker(source.name, words[start:stop], read_rows(start, stop), start)


def _maker(name: str, words: list[bytes], rows: NDArray[Any], start: int) -> Callable[[], Block]:
    def make() -> Block:
        return Block(*pack(words), rows, lambda i: f"{name}, row {start + i:,}")

    return make
