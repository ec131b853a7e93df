"""word2vec's binary format: a line ``count dim``, then for each word its bytes, a space, dim little-endian float32.

Most writers end each vector with a newline, some don't; as in gensim, newlines before a word are not part of it.
Words may hold bytes that aren't UTF-8. Source of the format: the C program word2vec, 2013.

Not for: the text format (``text``). Costs: words are found one by one, some 0.15 µs each; vectors are copied in bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from foreword._base.words import counted
from foreword.errors import FormatError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader, check_keys
from foreword.vectors.formats.source import Source
from foreword.vectors.store.blocks import BLOCK_BYTES, Block

__all__ = ["MAX_WORD", "check_header", "fits_binary", "parse_header", "read_word2vec_binary"]

MAX_WORD = 1 << 16
"""Bytes; a longer word means that what is read are not words."""


def parse_header(line: bytes) -> tuple[int, int] | None:
    """The count and dim of a first line ``count dim``, or None where it is something else.

    >>> parse_header(b"3000000 300"), parse_header(b"the 0.418 0.24968")
    ((3000000, 300), None)
    """
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 20 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def check_header(source: Source, count: int, dim: int, least: int) -> None:
    """Refuse a header at once that promises what the file can't hold: ``least`` bytes for each of ``count`` words."""
    if not 1 <= dim <= MAX_DIM:
        raise FormatError(
            "the header's dimension makes no sense", got=f"{dim:,}", expected=f"1 to {MAX_DIM:,}", where=source.name
        )
    if source.size is not None and count * least > source.size:
        raise FormatError(
            "the file is cut short, or its header has a wrong count",
            got=counted(source.size, "byte"),
            expected=f"at least {count * least:,} for the header's {counted(count, 'word')} "
            f"of {counted(dim, 'dimension')}",
            where=source.name,
            fix="get the file again, or correct its first line",
        )


def fits_binary(rest: bytes, count: int, dim: int, *, whole: bool) -> bool:
    """Whether what follows a line ``count dim`` is that many words, each with its vector's bytes, and no more; unless
    ``whole`` the first of them.
    """
    at = 0
    for _ in range(count):
        while rest[at : at + 1] == b"\n":
            at += 1
        space = rest.find(b" ", at, at + MAX_WORD)
        if space < 0:
            return not whole and len(rest) - at < MAX_WORD
        at = space + 1 + 4 * dim
        if at > len(rest):
            return not whole
    return whole and not rest[at:].strip(b"\n\r ")


def read_word2vec_binary(source: Source, options: Options) -> Reader:
    """A reader of a word2vec binary file.

    Raises:
        FormatError: here, the header is none or promises more than there is; in the blocks, the file is cut short or
            goes on after its last word.
    """
    line, newline, _ = source.head.partition(b"\n")
    header = parse_header(line)
    if header is None or not newline:
        raise FormatError(
            "not a word2vec binary file",
            got=f"the first line {line[:60]!r}",
            expected="the count of words and the dimension",
            where=source.name,
        )
    count, dim = header
    check_header(source, count, dim, 4 * dim + 1)
    source.read(len(line) + 1)
    return Reader(dim, lambda: _blocks(source, count, dim, options))


def _blocks(source: Source, count: int, dim: int, options: Options) -> Iterator[Pending]:
    wanted = options.most(count)
    size = 4 * dim
    at_once = max(BLOCK_BYTES, 2 * size)
    spare: list[bytearray] = []  # buffers whose words have been taken out
    carry, done = bytearray(), 0
    while done < wanted:
        data = spare.pop() if spare else bytearray(MAX_WORD + size + at_once)
        held = len(carry)
        data[:held] = carry
        end = held + source.readinto(memoryview(data)[held : held + at_once])
        spaces: list[int] = []
        position, last = 0, max(0, end - size)
        room = wanted - done
        while len(spaces) < room and (space := data.find(b" ", position, last)) >= 0:
            spaces.append(space)
            position = space + 1 + size
        if end == held and not spaces:
            raise FormatError(
                "the file is cut short, or its header has a wrong count",
                got=counted(done, "word"),
                expected=f"{count:,} as the header says",
                where=source.name,
                fix="get the file again, or correct its first line",
            )
        carry = data[position:end]
        if len(carry) > MAX_WORD + size and carry.find(b" ", 0, MAX_WORD) < 0:
            raise FormatError(
                "no end of a word was found",
                got=f"{MAX_WORD:,} bytes without a space",
                where=f"{source.name}, word {done + len(spaces) + 1:,}",
                fix="the file may be of another format or dimension",
            )
        if spaces:
            yield len(spaces), _maker(source.name, data, spaces, dim, done, options, spare)
        done += len(spaces)
    if wanted == count and (carry.strip(b"\n\r ") or source.read(1)):
        raise FormatError(
            "the file goes on after its last word",
            got="more bytes",
            expected=f"an end after the header's {counted(count, 'word')} of {counted(dim, 'dimension')}",
            where=source.name,
            fix="correct the count in its first line, or pass limit= to read that many words",
        )


def _maker(
    name: str, data: bytearray, spaces: list[int], dim: int, done: int, options: Options, spare: list[bytearray]
) -> Callable[[], Block]:
    """Makes the block of the words that end at ``spaces``; then gives ``data`` back to ``spare``."""

    def where(i: int) -> str:
        return f"{name}, word {done + i + 1:,}"

    def make() -> Block:
        flat = np.frombuffer(data, dtype=np.uint8)
        ends = np.array(spaces)
        starts = np.concatenate([[0], ends[:-1] + (1 + 4 * dim)])
        while (newline := flat[starts] == ord("\n")).any():
            starts += newline
        lengths = ends - starts
        after = np.cumsum(lengths)
        blob = flat[np.repeat(ends - after, lengths) + np.arange(after[-1])].tobytes()
        at_each_byte = as_strided(flat, shape=(len(flat) - 4 * dim + 1, 4 * dim), strides=(1, 1), writeable=False)
        rows = at_each_byte[ends + 1].view("<f4")
        spare.append(data)
        return Block(*check_keys(blob, lengths, options, where), rows, where)

    return make
