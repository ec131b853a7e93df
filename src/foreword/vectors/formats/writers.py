"""Writers: keys and vectors → word2vec binary or text, GloVe text, safetensors, ``.npy`` with a vocabulary.

Each file appears whole or not at all, packed as its name says (.gz, .bz2, .xz, .zst), and is one that ``foreword.load``
reads back to the same keys and the same bits. What a format can't hold so is refused, where gensim would write a file
that nobody can read.

Not for: stores (``building``). Costs: binary formats 1 GB/s, text 0.1 µs a number, packing on top; memory for a few
thousand rows.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foreword._base.compression import by_name, packing, stem
from foreword._base.files import atomic_write, check_file, check_folder, explained, given_path
from foreword._base.words import counted
from foreword.errors import ArgumentError, FormatError
from foreword.vectors.formats.arrays import KEY_OFFSETS, KEYS, VECTORS
from foreword.vectors.formats.base import Options
from foreword.vectors.formats.detect import kind_of
from foreword.vectors.formats.source import HEAD, is_packed
from foreword.vectors.formats.text import BOM, parse_line, understand
from foreword.vectors.formats.word2vec import MAX_WORD, parse_header
from foreword.vectors.store.keys import encode

__all__ = [
    "Format",
    "key_bytes",
    "opened",
    "suffix_format",
    "write",
    "write_npy",
    "write_safetensors",
    "write_word2vec",
]

_AT_ONCE = 1 << 12  # rows
_SAFETENSORS = {"float16": "F16", "float32": "F32", "float64": "F64"}
_PACKED = "zip tar tgz tbz tbz2 txz tzst 7z rar lz4 lzma lz z br"  # that can be read elsewhere, but not written here
_ARCHIVES = tuple(f".{kind}" for kind in _PACKED.split(" "))

PathLike = str | os.PathLike[str]

Format = Literal["word2vec-binary", "word2vec-text", "glove", "safetensors", "npy", "static"]
_BY_SUFFIX: dict[str, Format] = {".bin": "word2vec-binary", ".safetensors": "safetensors", ".npy": "npy"}


def write(
    path: PathLike,
    keys: Sequence[str],
    vectors: NDArray[np.floating[Any]],
    *,
    format: Format | None = None,  # noqa: A002
) -> Format:
    """Write keys and vectors in the format named, or that of the suffix: .bin word2vec-binary, .safetensors, .npy,
    else word2vec-text. A suffix .gz, .bz2, .xz or .zst after it packs the file. Gives the format.

    Raises:
        ArgumentError: there is no such format, or it can't hold a key.
        FileError: the file can't be written.
    """
    chosen = check_output(path, format)
    if chosen == "safetensors":
        write_safetensors(path, keys, vectors)
    elif chosen == "npy":
        write_npy(path, keys, vectors)
    else:
        write_word2vec(path, keys, vectors, binary=chosen == "word2vec-binary", header=chosen != "glove")
    return chosen


def check_output(path: PathLike, format: Format | None = None) -> Format:  # noqa: A002
    """Raise what ``write`` would of its path and format, before there is anything to write. Gives the format.

    Raises:
        ArgumentError: there is no such format, or the name is that of another kind of file.
        FileError: nothing can be written there.
    """
    chosen = format or suffix_format(path)
    if chosen not in get_args(Format):
        raise ArgumentError("unknown format", got=repr(chosen), expected=", ".join(get_args(Format)))
    if chosen == "static":
        check_folder(path)
        return chosen
    _check_kind(path)
    check_file(path)
    if chosen == "npy":
        check_file(_vocabulary(path))
    return chosen


def suffix_format(path: PathLike) -> Format:
    """The format that a file's name says: .bin word2vec-binary, .safetensors, .npy, else word2vec-text."""
    return _BY_SUFFIX.get(Path(stem(given_path(path).name)).suffix.lower(), "word2vec-text")


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
        ArgumentError: a key can't be written: in binary one with a space, in text one with a newline, a space at its
            start or end, or a number after its last blank; or the whole would be read as something else.
        FileError: the file can't be written.
    """
    _little(vectors)
    dim = vectors.shape[1]
    title = b"%d %d\n" % (len(keys) if total is None else total, dim) if header else b""
    pieces = _binary_pieces(keys, vectors, prefix) if binary else _text_pieces(keys, vectors, prefix, header)
    with opened(path, append=append) as file:
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= HEAD:
                break
        if not append and not (binary and not header):
            own = b"%d %d\n" % (len(keys), dim) if header else b""
            head = _seen_as_binary(own, head) if binary else _seen_as_text(own, head, dim)
        file.write(title + head)
        for piece in pieces:
            file.write(piece)


def _seen_as_binary(title: bytes, head: bytes) -> bytes:
    """The first bytes after ``title``, with an empty line before where a reader would else take them for text."""
    for start in (head, b"\n" + head):
        if not head or kind_of((title + start)[:HEAD]) == "word2vec binary":
            return start
    raise _unlike("word2vec's binary format", title + head)


def _seen_as_text(title: bytes, head: bytes, dim: int) -> bytes:
    """The first bytes after ``title``, if what a reader makes of them is text of ``dim`` dimensions."""
    data = (title + head)[:HEAD]
    try:
        count, seen, _ = understand(data, Options(), "")
    except FormatError:
        raise _unlike("text", data) from None
    odd = is_packed(data) or data.startswith(BOM)
    if odd or kind_of(data) != "text" or seen != dim or (count is None) != (not title):
        raise _unlike("text", data)
    return head


def _unlike(format_: str, data: bytes) -> ArgumentError:
    return ArgumentError(
        f"what would be written could not be told to be {format_} of these vectors",
        got=f"a file that begins {data[:60]!r}" if data else "no words",
        fix="write safetensors",
    )


def _binary_pieces(keys: Sequence[str], vectors: NDArray[np.floating[Any]], prefix: str) -> Iterator[bytes]:
    for words, rows in _blocks(keys, vectors, prefix):
        for word in words:
            wrong = "a space" if b" " in word else "a newline at its start" if word.startswith(b"\n") else ""
            if wrong or len(word) >= MAX_WORD:
                raise _not_held("word2vec's binary format", word, wrong or counted(len(word), "byte"))
        with np.errstate(over="ignore"):
            singles = np.ascontiguousarray(rows, dtype="<f4")
        if (np.isinf(singles) & np.isfinite(rows)).any():
            raise ArgumentError("word2vec's binary format has float32 only", got="a number beyond it", fix="write .npy")
        data, size = singles.tobytes(), 4 * rows.shape[1]
        yield b"".join(b"%b %b\n" % (word, data[i * size : i * size + size]) for i, word in enumerate(words))


def _text_pieces(keys: Sequence[str], vectors: NDArray[np.floating[Any]], prefix: str, header: bool) -> Iterator[bytes]:
    import pyarrow as pa

    dim, first = vectors.shape[1], not header
    for words, rows in _blocks(keys, vectors, prefix):
        kept = np.dtype(np.float32 if rows.dtype == np.float16 else rows.dtype.newbyteorder("="))
        flat = np.ascontiguousarray(rows, dtype=kept).reshape(-1)
        numbers = pa.array(flat).cast(pa.string()).cast(pa.binary()).to_pylist()
        lines = []
        for i, word in enumerate(words):
            mine = numbers[i * dim : i * dim + dim]
            line = b"%b %b" % (word, b" ".join(mine))
            if len(word) >= MAX_WORD or (not word.isalnum() and (b" " in word or b"\t" in word or b"\n" in word)):
                line = _line(word, mine)
            if first and parse_header(line):  # which would be a header
                line += b".0"
            first = False
            lines.append(line)
        lines.append(b"")
        yield b"\n".join(lines)


def _line(word: bytes, numbers: list[bytes]) -> bytes:
    """The line of a word with blanks, as ``parse_line`` reads it back."""
    wrong = "a newline in it" if b"\n" in word else counted(len(word), "byte") if len(word) >= MAX_WORD else ""
    for first in () if wrong else (numbers[0], numbers[0] + b".0"):  # after "catch 22" one number must be no whole one
        line = b" ".join([word, first, *numbers[1:]])
        try:
            if parse_line(line, len(numbers))[0] == word:
                return line
        except ValueError as problem:
            wrong = str(problem)
    raise _not_held("text", word, wrong or "a blank at its end")


def _not_held(format_: str, word: bytes, wrong: str) -> ArgumentError:
    return ArgumentError(
        f"{format_} can't hold this key",
        got=f"{word[:60].decode('utf-8', 'replace')!r} ({wrong})",
        fix="write safetensors, or rename the key",
    )


def write_npy(path: PathLike, keys: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
    """Write ``NAME.npy``, and the keys, one a line, into ``NAME.vocab`` beside it.

    Raises:
        ArgumentError: a key has a newline, or ends in a carriage return; or the file is called ``.vocab`` itself.
        FileError: a file can't be written.
    """
    target, vocabulary = given_path(path), _vocabulary(path)
    dtype, first = _little(vectors), True
    with atomic_write(vocabulary) as file:
        for words, _ in _blocks(keys, vectors):
            odd = (w for w in words if b"\n" in w or w.endswith(b"\r"))
            wrong = next(odd, words[0] if first and (words[0].startswith(BOM) or is_packed(words[0])) else None)
            first = False
            if wrong is not None:
                raise _not_held("a list of words, one a line,", wrong, "a line's end in it, or a mark that files have")
            file.write(b"".join(word + b"\n" for word in words))
    with opened(target) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": vectors.shape})
        _write_rows(file, vectors)


def _vocabulary(path: PathLike) -> Path:
    """Where the words of a ``.npy`` file go."""
    target = given_path(path)
    inner = Path(stem(target.name))
    vocabulary = target.with_name(f"{(inner if inner.suffix == '.npy' else target).stem}.vocab")
    if vocabulary == target:
        raise ArgumentError("the words go to the same file", got=os.fspath(path), expected="NAME.npy")
    return vocabulary


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
    with opened(path) as file:
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
        words.append(key_bytes(prefix + key))
        if len(words) == _AT_ONCE:
            yield words, vectors[done : done + _AT_ONCE]
            done += _AT_ONCE
            words = []
    if words:
        yield words, vectors[done:]


def key_bytes(key: str) -> bytes:
    """A key as UTF-8; what ``unicode_errors="surrogateescape"`` let through becomes the byte that it was."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ArgumentError("a key is not text", got=ascii(key), fix="write safetensors, or rename the key") from None


@contextlib.contextmanager
def opened(path: PathLike, *, append: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, packed as its name says; unless it is added to it appears whole or not at all.

    Raises:
        ArgumentError: the name is that of an archive.
        FileError: it can't be written.
    """
    name = _check_kind(path)
    with contextlib.ExitStack() as stack:
        file: IO[bytes]
        if append:
            stack.enter_context(explained("add to the file", path))
            file = stack.enter_context(open(path, "ab"))
        else:
            file = stack.enter_context(atomic_write(path))
        yield stack.enter_context(packing(file, by_name(name)))


def _check_kind(path: PathLike) -> str:
    """The file's name; raises an ArgumentError where it is that of an archive."""
    name = os.fspath(given_path(path))
    if stem(name).lower().endswith(_ARCHIVES) or name.lower().endswith(_ARCHIVES):
        raise ArgumentError(
            "a file of this kind can't be written", got=name, expected=".gz, .bz2, .xz or .zst", fix="change the name"
        )
    return name
