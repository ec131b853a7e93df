"""Text files of vectors: a word and its numbers a line, with word2vec's first line ``count dim`` or, as GloVe, without.

A line is split from the right, since GloVe's words may hold spaces: the last dim fields are numbers, what is before
them, without the blanks between, is the word. Blanks are spaces and tabs; .vec files end lines with one. A number
means what Python's ``float`` makes of it, rounded to float32.

``parse_line`` is that definition. Large files go through a compiled kernel, which leaves to ``parse_line`` each line
that it isn't sure of.

Not for: finding out that a file is text (``detect``). Costs: 0.2 GB/s a core compiled, 0.01 in Python.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.errors import FormatError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader, check_keys
from foreword.vectors.formats.source import HEAD, Source
from foreword.vectors.formats.word2vec import check_header, parse_header
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack

__all__ = ["guess_dim", "looks_like_text", "parse_line", "read_text_vectors"]

_FIELD = re.compile(rb"[^ \t]+")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_GUESSED = 100  # lines that tell the dimension where no header does
_COMPILED = 8 << 20  # bytes of text from which loading the compiled kernel pays
_MAX_LINE = 1 << 20  # bytes of a line, in a file whose dimension isn't known


def parse_line(line: bytes, dim: int) -> tuple[bytes, list[float]]:
    """A line, without its newline → the word's bytes and its numbers.

    Raises:
        ValueError: it has too few fields, or one of the last ``dim`` is no number; says which.

    >>> parse_line(b". . . 0.1 -2e-1", 2)
    (b'. . .', [0.1, -0.2])
    """
    line = line.removesuffix(b"\r")
    fields = list(_FIELD.finditer(line))
    if len(fields) < dim or (len(fields) == dim and fields[0].start() == 0):
        raise ValueError(f"{len(fields)} fields")
    numbers = []
    for field in fields[-dim:]:
        if not _NUMBER.fullmatch(field[0]):
            raise ValueError(f"{field[0][:40]!r} is not a number")
        numbers.append(float(field[0]))
    return line[: fields[-dim].start()].rstrip(b" \t"), numbers


def guess_dim(lines: list[bytes]) -> int:
    """The dimension of the first lines of a file without a header: how many numbers most of them end with.

    A word may look like a number, so a line's first field is never counted; 0 means that this is no such file.

    >>> guess_dim([b"the 0.1 0.2", b"in 2010 0.3 0.4", b"of 0.5 0.6"])
    2
    """

    def numbers(line: bytes) -> int:
        fields = _FIELD.findall(line.removesuffix(b"\r"))
        count = next((i for i, field in enumerate(reversed(fields)) if not _NUMBER.fullmatch(field)), len(fields))
        return min(count, len(fields) - (not line.startswith((b" ", b"\t"))))

    return max(Counter(map(numbers, lines)).most_common(1), default=(0, 0))[0]


def looks_like_text(rest: bytes) -> bool:
    """Whether ``rest``, what follows a line ``count dim``, is text: numbers after a word, or at least no control
    bytes.
    """
    line, newline, _ = rest.partition(b"\n")
    fields = _FIELD.findall(line.removesuffix(b"\r"))[1 : None if newline or len(rest) < HEAD // 2 else -1]
    if fields and _NUMBER.fullmatch(fields[-1]) and sum(map(bool, map(_NUMBER.fullmatch, fields))) >= len(fields) / 2:
        return True
    return not any(byte < 9 or 13 < byte < 32 for byte in rest[:4096])


def read_text_vectors(source: Source, options: Options) -> Reader:
    """A reader of a text file of vectors.

    Raises:
        FormatError: here, the first lines aren't vectors or the header promises more than there is; in the blocks, a
            line is no vector, the file is cut short or goes on after its last word.
    """
    first, newline, _ = source.head.partition(b"\n")
    header = parse_header(first) if newline else None
    if header is not None:
        count, dim = header
        check_header(source, count, dim, 2 * dim + 1)
        source.read(len(first) + 1)
        return Reader(dim, "word2vec text", lambda: _blocks(source, count, dim, options))
    lines = source.head.split(b"\n")
    dim = guess_dim([line for line in lines[: min(_GUESSED, max(1, len(lines) - 1))] if line.strip()])
    if not 1 <= dim <= MAX_DIM:
        raise FormatError(
            "not a file of vectors, of a kind that Foreword knows",
            got=f"a first line {first[:60]!r}" if source.head else "an empty file",
            expected="word2vec (binary or text), GloVe, fastText (.bin or .vec), gensim (.kv), safetensors or .npy",
            where=source.name,
            fix="check the file; a word2vec binary file must begin with a line of its count and dimension",
        )
    return Reader(dim, "GloVe text", lambda: _blocks(source, None, dim, options))


def _blocks(source: Source, count: int | None, dim: int, options: Options) -> Iterator[Pending]:
    wanted = options.limit if count is None else options.most(count)
    parse = _compiled_parse() if (source.size or source.packed) >= _COMPILED else _parse
    first_line = 1 if count is None else 2
    done, carry, ended = 0, b"", False
    while not ended and (wanted is None or done < wanted):
        more = source.read(BLOCK_BYTES)
        ended = not more
        end = more.rfind(b"\n") + 1
        data, carry = (carry + more[:end], more[end:]) if end or ended else (b"", carry + more)
        if len(carry) > max(_MAX_LINE, 64 * dim):
            raise FormatError(
                "a line is too long",
                got=f"{len(carry):,} bytes without a newline",
                where=f"{source.name}, line {done + first_line:,}",
            )
        if ended:  # blank lines at the end don't count
            data = data.rstrip(b" \t\r\n")
            data += b"\n" if data else b""
        if not data:
            continue
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
        if wanted is not None and len(ends) > wanted - done:
            carry = data[ends[wanted - done - 1] + 1 :] + carry
            ends = ends[: wanted - done]
        yield len(ends), _maker(source.name, data, ends, dim, done + first_line, options, parse)
        done += len(ends)
    if count is None or wanted != count:
        if not done:
            raise FormatError("the file holds no vectors", where=source.name)
        return
    if done < count:
        raise FormatError(
            "the file is cut short, or its header has a wrong count",
            got=f"{done:,} words",
            expected=f"{count:,} as the header says",
            where=source.name,
            fix="get the file again, or correct its first line",
        )
    while carry or (carry := source.read(BLOCK_BYTES)):
        if carry.strip():
            raise FormatError(
                "the file goes on after its last word",
                got=repr(carry.lstrip()[:40]),
                expected=f"an end after the header's {count:,} words",
                where=f"{source.name}, line {done + first_line:,}",
                fix="correct the count in its first line, or pass limit= to read that many words",
            )
        carry = b""


Parse = Callable[[bytes, NDArray[np.int64], int, str, int], tuple[list[bytes], NDArray[Any]]]
"""A block's bytes, where its lines end, dim, the file's name, the number of the first line → words and rows."""


def _maker(
    name: str, data: bytes, ends: NDArray[np.int64], dim: int, first_line: int, options: Options, parse: Parse
) -> Callable[[], Block]:
    def where(i: int) -> str:
        return f"{name}, line {first_line + i:,}"

    def make() -> Block:
        words, rows = parse(data, ends, dim, name, first_line)
        blob, lengths = check_keys(*pack(words), options, where)
        return Block(blob, lengths, rows, where)

    return make


def _parse(
    data: bytes, ends: NDArray[np.int64], dim: int, name: str, first_line: int
) -> tuple[list[bytes], NDArray[np.float64]]:
    """Every line by ``parse_line``."""
    words, rows = [], []
    start = 0
    for i, end in enumerate(ends.tolist()):
        word, numbers = _parse_or_tell(data[start:end], dim, name, first_line + i)
        words.append(word)
        rows.append(numbers)
        start = end + 1
    return words, np.array(rows, dtype=np.float64).reshape(len(words), dim)


def _parse_or_tell(line: bytes, dim: int, name: str, number: int) -> tuple[bytes, list[float]]:
    try:
        return parse_line(line, dim)
    except ValueError as problem:
        shown = line if len(line) < 60 else line[:40] + b"..." + line[-12:]
        raise FormatError(
            "a line is not a word and its vector",
            got=f"{problem}, in {shown!r}",
            expected=f"a word and {dim:,} numbers",
            where=f"{name}, line {number:,}",
            fix="get the file again, or correct the line",
        ) from None


def _compiled_parse() -> Parse:
    """The compiled parser; where numba can't be had, the one in Python."""
    try:
        from foreword.vectors.formats.text_kernel import parse_lines
    except ImportError:
        return _parse

    def parse(
        data: bytes, ends: NDArray[np.int64], dim: int, name: str, first_line: int
    ) -> tuple[list[bytes], NDArray[Any]]:
        rows = np.empty((len(ends), dim), dtype=np.float32)
        word_ends = np.empty(len(ends), dtype=np.int64)
        parse_lines(np.frombuffer(data, dtype=np.uint8), ends, rows, word_ends)
        words, start = [], 0
        for i, (word_end, end) in enumerate(zip(word_ends.tolist(), ends.tolist(), strict=True)):
            if word_end >= 0:
                words.append(data[start:word_end])
            else:
                word, numbers = _parse_or_tell(data[start:end], dim, name, first_line + i)
                words.append(word)
                with np.errstate(over="ignore"):
                    rows[i] = numbers
            start = end + 1
        return words, rows

    return parse
