"""Text files of vectors: a word and its numbers a line, with word2vec's first line ``count dim`` or, as GloVe, without.

A line is split from the right, since words may hold blanks: the last dim fields are numbers, and what is before them,
without the blanks of one kind (spaces or tabs) that come in between, is the word, as gensim has it where that reads the
line. Refused is a word that begins or ends with a space, or that ends with a number: it would be a column too many (but
see ``parse_line``). .vec files end lines with a blank. A number means what Python's ``float`` makes of it, rounded to
float32. A byte-order mark is no part of the first word.

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

from foreword._base.words import counted
from foreword.errors import FormatError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader, check_keys
from foreword.vectors.formats.source import HEAD, Source
from foreword.vectors.formats.word2vec import check_header, parse_header
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack

__all__ = ["BOM", "fits_text", "guess_dim", "looks_like_text", "parse_line", "read_text_vectors", "understand"]

BOM = b"\xef\xbb\xbf"
"""The byte-order mark that some programs put before UTF-8 text."""

_FIELD = re.compile(rb"[^ \t]+")
_WORDS = re.compile(rb"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_GUESSED = 100  # lines that tell the dimension where no header does
_LOOKED_AT = 200  # lines that tell text from binary
_COMPILED = 8 << 20  # bytes of text from which loading the compiled kernel pays
_MAX_LINE = 1 << 20  # bytes of a line, in a file whose dimension isn't known


def parse_line(line: bytes, dim: int) -> tuple[bytes, list[float]]:
    """A line, without its newline → the word's bytes and its numbers.

    A word may end with a whole number ("windows 10") if one of the line's numbers is none, and with "nan" or
    "infinity", which no vector has.

    Raises:
        ValueError: it has too few fields or too many numbers, one of the last ``dim`` is no number, or the word has a
            space at its start or end; says which.

    >>> parse_line(b". . . 0.1 -2e-1", 2)
    (b'. . .', [0.1, -0.2])
    """
    line = line.rstrip(b" \t\r")
    fields = list(_FIELD.finditer(line))
    if len(fields) < dim or (len(fields) == dim and fields[0].start() == 0):
        raise ValueError(f"{len(fields)} fields")
    numbers = []
    for field in fields[-dim:]:
        if not _NUMBER.fullmatch(field[0]):
            raise ValueError(f"{field[0][:40]!r} is not a number")
        numbers.append(float(field[0]))
    before = line[: fields[-dim].start()]
    blank = before[-1:]
    word = before.rstrip(blank)
    if word.startswith(b" ") or word.endswith((b" ", b"\t") if blank == b"\t" else b" ") or (not word and before[1:]):
        raise ValueError("a blank too many before or after the word")
    _, found, last = word.rpartition(blank)
    column = found and _NUMBER.fullmatch(last) and not _WORDS.fullmatch(last)
    if column and (not last.isdigit() or all(field[0].lstrip(b"-").isdigit() for field in fields[-dim:])):
        raise ValueError(f"{numbers_of(line)} numbers")
    return word, numbers


def numbers_of(line: bytes) -> int:
    """How many numbers a line ends with; its first field, a word that may look like one, isn't counted."""
    fields = _FIELD.findall(line.rstrip(b"\r"))
    count = next((i for i, field in enumerate(reversed(fields)) if not _NUMBER.fullmatch(field)), len(fields))
    return min(count, len(fields) - (not line.startswith((b" ", b"\t"))))


def guess_dim(lines: list[bytes]) -> int:
    """The dimension of the first lines of a file without a header: how many numbers most of them end with.

    A word may look like a number, so a line's first field is never counted; 0 means that this is no such file.

    >>> guess_dim([b"the 0.1 0.2", b"in 2010 0.3 0.4", b"of 0.5 0.6"])
    2
    """
    return max(Counter(map(numbers_of, lines)).most_common(1), default=(0, 0))[0]


def looks_like_text(rest: bytes) -> bool:
    """Whether the first line of what follows a line ``count dim`` ends with numbers after a word."""
    line, newline, _ = rest.partition(b"\n")
    fields = _FIELD.findall(line.removesuffix(b"\r"))[1 : None if newline or len(rest) < HEAD // 2 else -1]
    numbers = sum(map(bool, map(_NUMBER.fullmatch, fields)))
    return bool(fields and _NUMBER.fullmatch(fields[-1]) and numbers >= len(fields) / 2)


def fits_text(rest: bytes, count: int, dim: int, *, whole: bool) -> bool:
    """Whether what follows a line ``count dim`` is that many lines of text; unless ``whole`` the first of them."""
    lines = rest.rstrip(b" \t\r\n").split(b"\n") if whole else rest.split(b"\n")[:-1]
    if whole and len(lines) != max(count, 1):
        return False
    try:
        for line in lines[:_LOOKED_AT] if count else ():
            parse_line(line, dim)
    except ValueError:
        return False
    return bool(lines) and (count > 0 or not lines[0])


def understand(head: bytes, options: Options, name: str) -> tuple[int | None, int, int]:
    """What the first bytes of a text file tell, after a byte-order mark: (count, dim, bytes of the header).

    The count is None, and the header has no bytes, where there is none, as in GloVe's files.

    Raises:
        FormatError: this is no such file, or the lines have more numbers than the header says.
    """
    lines = head.split(b"\n")
    complete = [line for line in lines[: min(_GUESSED, max(1, len(lines) - 1))] if line.strip()]
    header = parse_header(lines[0]) if len(lines) > 1 else None
    if header and options.header is False and (header[1] < 2 or guess_dim(complete[1:]) != header[1]):
        header = None
    if header is not None:
        numbers = list(map(numbers_of, complete[1:]))
        if min(header) > 0 and numbers and min(numbers) > header[1]:  # a word may end with a number, but not each
            raise FormatError(
                "the lines have more numbers than the header says",
                got=f"{numbers[0]:,} numbers",
                expected=f"a word and {header[1]:,}",
                where=f"{name}, line 2",
                fix="correct the dimension in the first line",
            )
        return *header, len(lines[0]) + 1
    dim = guess_dim(complete)
    if not 1 <= dim <= MAX_DIM:
        raise FormatError(
            "not a file of vectors, of a kind that Foreword knows",
            got=f"a first line {lines[0][:60]!r}" if head else "an empty file",
            expected="word2vec (binary or text), GloVe, fastText (.bin or .vec), gensim (.kv), safetensors or .npy",
            where=name,
            fix="check the file; a word2vec binary file must begin with a line of its count and dimension",
        )
    gensims = set(map(_gensims_dim, complete)) if options.header is False else set()
    if len(gensims) == 1 and gensims.isdisjoint({None, dim}):
        raise FormatError(
            "gensim would read other columns, for to it only single spaces part them",
            got=f"{complete[0][:60]!r}, to gensim a word and {gensims.pop():,} numbers",
            expected=f"a word and {dim:,} numbers, between spaces alone",
            where=f"{name}, line 1",
            fix=f"foreword.load reads it as a word and {dim:,} numbers",
        )
    return None, dim, 0


def _gensims_dim(line: bytes) -> int | None:
    """How many numbers gensim, which knows no columns but those between single spaces, reads in a line; None where it
    reads none.
    """
    fields = line.rstrip().split(b" ")[1:]
    try:
        for field in fields:
            float(field.decode())
    except ValueError:
        return None
    return len(fields) or None


def read_text_vectors(source: Source, options: Options) -> Reader:
    """A reader of a text file of vectors.

    Raises:
        FormatError: here, the first lines aren't vectors, or not of the header's dimension, or it promises more than
            there is; in the blocks, a line is no vector, the file is cut short or goes on after its last word.
    """
    head = source.head.removeprefix(BOM)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in head[:64]:
        raise FormatError(
            "the text is UTF-16", expected="UTF-8, or an encoding like it", where=source.name, fix="convert it to UTF-8"
        )
    count, dim, length = understand(head, options, source.name)
    if count is not None:
        check_header(source, count, dim, 2 * dim + 1)
    source.skip(len(source.head) - len(head) + length)
    return Reader(dim, lambda: _blocks(source, count, dim, options))


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
                got=f"{counted(len(carry), 'byte')} without a newline",
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
            got=counted(done, "word"),
            expected=f"{count:,} as the header says",
            where=source.name,
            fix="get the file again, or correct its first line",
        )
    while carry or (carry := source.read(BLOCK_BYTES)):
        if carry.strip():
            raise FormatError(
                "the file goes on after its last word",
                got=repr(carry.lstrip()[:40]),
                expected=f"an end after the header's {counted(count, 'word')}",
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
