"""Writers: keys and vectors → word2vec binary or text, GloVe text, safetensors, ``.npy`` with a vocabulary.

Each file appears whole or not at all, and is one that ``foreword.load`` reads back to the same keys and the same
bits. A key that a format can't hold is refused, where gensim would write a file that nobody can read.

Not for: stores (``building``). Costs: binary formats 1 GB/s, text 0.1 µs a number; memory for a few thousand rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write, explained
from foreword.errors import ArgumentError
from foreword.vectors.formats.arrays import KEY_OFFSETS, KEYS, VECTORS
from foreword.vectors.store.keys import encode

__all__ = ["Format", "write", "write_npy", "write_safetensors", "write_word2vec"]

_AT_ONCE = 1 << 12  # rows
_SAFETENSORS = {"float16": "F16", "float32": "F32", "float64": "F64"}

PathLike = str | os.PathLike[str]

Format = Literal["word2vec-binary", "word2vec-text", "glove", "safetensors", "npy"]
_BY_SUFFIX: dict[str, Format] = {".bin": "word2vec-binary", ".safetensors": "safetensors", ".npy": "npy"}


def write(
    path: PathLike,
    keys: Sequence[str],
    vectors: NDArray[np.floating[Any]],
    *,
    format: Format | None = None,  # noqa: A002
) -> Format:
    """Write keys and vectors in the format named, or that of the suffix: .bin word2vec-binary, .safetensors, .npy,
    else word2vec-text. Gives the format.

    Raises:
        ArgumentError: there is no such format, or it can't hold a key.
        FileError: the file can't be written.
    """
    chosen: Format = format or _BY_SUFFIX.get(Path(path).suffix, "word2vec-text")
    if chosen not in get_args(Format):
        raise ArgumentError("unknown format", got=repr(chosen), expected=", ".join(get_args(Format)))
    if chosen == "safetensors":
        write_safetensors(path, keys, vectors)
    elif chosen == "npy":
        write_npy(path, keys, vectors)
    else:
        write_word2vec(path, keys, vectors, binary=chosen == "word2vec-binary", header=chosen != "glove")
    return chosen


def write_word2vec(
    path: PathLike,
    keys: Sequence[str],
    vectors: NDArray[np.floating[Any]],
    *,
    binary: bool = False,
    header: bool = True,
    prefix: str = "",
    append: bool = False,
    total: int | None = None,
) -> None:
    """Write word2vec's format: text, or binary (float32).

    Text has the fewest digits that give the same float32 (or float16) back.

    Args:
        path: the file.
        keys: N keys.
        vectors: float [N, D].
        binary: the binary format.
        header: begin with the line ``count dim``; without it text is GloVe's format.
        prefix: goes before every key.
        append: add to the file, which then does not appear whole or not at all.
        total: the count for the header, where more is to be appended.

    Raises:
        ArgumentError: a key can't be written: in binary one with a space, in text one with a newline or a blank at its
            end.
        FileError: the file can't be written.
    """
    with _opened(path, append) as file:
        if header:
            file.write(b"%d %d\n" % (len(keys) if total is None else total, vectors.shape[1]))
        for words, rows in _blocks(keys, vectors, prefix):
            for word in words:
                _check(word, binary)
            file.write(_binary(words, rows) if binary else _text(words, rows))


def _check(word: bytes, binary: bool) -> None:
    if binary:
        wrong = "a space" if b" " in word else "a newline at its start" if word.startswith(b"\n") else ""
    else:
        wrong = "a newline" if b"\n" in word else "a blank at its end" if word[-1:] in (b" ", b"\t") else ""
    if wrong:
        raise ArgumentError(
            f"word2vec's {'binary' if binary else 'text'} format can't hold this key",
            got=f"{wrong} in {word.decode('utf-8', 'replace')!r}",
            fix="write safetensors, or rename the key",
        )


def _binary(words: list[bytes], rows: NDArray[np.floating[Any]]) -> bytes:
    data = np.ascontiguousarray(rows, dtype="<f4").tobytes()
    size = 4 * rows.shape[1]
    return b"".join(b"%b %b\n" % (word, data[i * size : i * size + size]) for i, word in enumerate(words))


def _text(words: list[bytes], rows: NDArray[np.floating[Any]]) -> bytes:
    import pyarrow as pa

    if rows.dtype == np.float16:
        rows = rows.astype(np.float32)
    dim = rows.shape[1]
    numbers = pa.array(np.ascontiguousarray(rows).reshape(-1)).cast(pa.string()).cast(pa.binary()).to_pylist()
    return b"".join(b"%b %b\n" % (word, b" ".join(numbers[i * dim : i * dim + dim])) for i, word in enumerate(words))


def write_npy(path: PathLike, keys: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
    """Write ``NAME.npy``, and the keys, one a line, into ``NAME.vocab`` beside it.

    Raises:
        ArgumentError: a key has a newline, or ends in a carriage return.
        FileError: a file can't be written.
    """
    target = Path(path)
    with atomic_write(target.with_suffix(".vocab")) as file:
        for words, _ in _blocks(keys, vectors):
            wrong = next((word for word in words if b"\n" in word or word.endswith(b"\r")), None)
            if wrong is not None:
                raise ArgumentError(
                    "a list of words, one a line, can't hold this key", got=repr(wrong), fix="write safetensors"
                )
            file.write(b"".join(word + b"\n" for word in words))
    with atomic_write(target) as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": _little(vectors).str, "fortran_order": False, "shape": vectors.shape}
        )
        _write_rows(file, vectors)


def write_safetensors(path: PathLike, keys: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
    """Write one safetensors file: ``vectors`` float [N, D], and the keys as ``keys`` uint8 and ``key_offsets`` int64
    [N + 1].

    Key i is the UTF-8 text ``keys[key_offsets[i]:key_offsets[i + 1]]``; zeros pad ``keys`` to a multiple of 8 bytes.

    Raises:
        ArgumentError: the vectors are no floats.
        FileError: the file can't be written.
    """
    words = [encode(key) for key in keys]
    offsets = np.zeros(len(words) + 1, dtype="<i8")
    np.cumsum(np.fromiter(map(len, words), dtype=np.int64, count=len(words)), out=offsets[1:])
    blob = b"".join(words)
    blob += bytes(-len(blob) % 8)
    tensors, at = {}, 0
    for name, kind, shape, size in (
        (KEY_OFFSETS, "I64", [len(offsets)], offsets.nbytes),
        (KEYS, "U8", [len(blob)], len(blob)),
        (VECTORS, _SAFETENSORS[_little(vectors).name], list(vectors.shape), vectors.nbytes),
    ):
        tensors[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    header = json.dumps({"__metadata__": {"format": "foreword word vectors"}, **tensors}).encode()
    header += b" " * (-len(header) % 8)
    with atomic_write(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(offsets.tobytes())
        file.write(blob)
        _write_rows(file, vectors)


def _little(vectors: NDArray[np.floating[Any]]) -> np.dtype[Any]:
    """The little-endian dtype of ``vectors``."""
    if vectors.dtype.name not in _SAFETENSORS:
        raise ArgumentError("vectors of this dtype can't be written", got=vectors.dtype, expected="float16, 32 or 64")
    return vectors.dtype.newbyteorder("<")


def _write_rows(file: IO[bytes], vectors: NDArray[np.floating[Any]]) -> None:
    for start in range(0, len(vectors), _AT_ONCE):
        file.write(np.ascontiguousarray(vectors[start : start + _AT_ONCE], dtype=_little(vectors)).tobytes())


def _blocks(
    keys: Sequence[str], vectors: NDArray[np.floating[Any]], prefix: str = ""
) -> Iterator[tuple[list[bytes], NDArray[np.floating[Any]]]]:
    """Some thousand words, as their bytes, and their rows at a time."""
    words: list[bytes] = []
    done = 0
    for key in keys:
        words.append(_bytes(prefix + key))
        if len(words) == _AT_ONCE:
            yield words, vectors[done : done + _AT_ONCE]
            done += _AT_ONCE
            words = []
    if words:
        yield words, vectors[done:]


def _bytes(key: str) -> bytes:
    """A key as UTF-8; what ``unicode_errors="surrogateescape"`` let through becomes the byte that it was."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ArgumentError("a key is not text", got=ascii(key), fix="write safetensors, or rename the key") from None


@contextmanager
def _opened(path: PathLike, append: bool) -> Iterator[IO[bytes]]:
    if not append:
        with atomic_write(path) as file:
            yield file
        return
    with explained("add to the file", path), open(path, "ab") as file:
        yield file
