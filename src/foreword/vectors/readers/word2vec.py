"""word2vec's binary format: a line ``count dim``, then for each word its bytes, a space, dim little-endian float32.

Most writers end each vector with a newline, some don't; as in gensim, newlines before a word are not part of it.
Words may hold bytes that aren't UTF-8. Source of the format: the C program word2vec, 2013.

Not for: the text format (``text``). Costs: words are found one by one, some 0.2 µs each; vectors are copied in bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from foreword.errors import FormatError
from foreword.vectors.readers.base import BLOCK_BYTES, MAX_DIM, Block, Options, Reader, check_keys, pack
from foreword.vectors.readers.source import Source

__all__ = ["parse_header", "read_word2vec_binary"]

_MAX_WORD = 1 << 16  # bytes; a longer word means that what is read are not words


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
            got=f"{source.size:,} bytes",
            expected=f"at least {count * least:,} for the header's {count:,} words of {dim:,} dimensions",
            where=source.name,
            fix="get the file again, or correct its first line",
        )


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
    return Reader(dim, "word2vec binary", lambda: _blocks(source, count, dim, options))


def _blocks(source: Source, count: int, dim: int, options: Options) -> Iterator[Callable[[], Block]]:
    wanted = options.most(count)
    size = 4 * dim
    data, done = b"", 0
    while done < wanted:
        more = source.read(max(BLOCK_BYTES, 2 * size))
        data += more
        words: list[bytes] = []
        starts: list[int] = []
        position, last = 0, len(data) - size
        room = wanted - done
        while len(words) < room:
            space = data.find(b" ", position)
            if space < 0 or space >= last:
                break
            words.append(data[position:space])
            starts.append(space + 1)
            position = space + 1 + size
        if not more and not words:
            raise FormatError(
                "the file is cut short, or its header has a wrong count",
                got=f"{done:,} words",
                expected=f"{count:,} as the header says",
                where=source.name,
                fix="get the file again, or correct its first line",
            )
        if len(data) - position > _MAX_WORD + size and data.find(b" ", position, position + _MAX_WORD) < 0:
            raise FormatError(
                "no end of a word was found",
                got=f"{_MAX_WORD:,} bytes without a space",
                where=f"{source.name}, word {done + len(words) + 1:,}",
                fix="the file may be of another format or dimension",
            )
        if words:
            yield _maker(source.name, data, words, starts, dim, done, options)
        done += len(words)
        data = data[position:]
    if wanted == count and (data.strip(b"\n\r ") or source.read(1)):
        raise FormatError(
            "the file goes on after its last word",
            got="more bytes",
            expected=f"an end after the header's {count:,} words of {dim:,} dimensions",
            where=source.name,
            fix="correct the count in its first line, or pass limit= to read that many words",
        )


def _maker(
    name: str, data: bytes, words: list[bytes], starts: list[int], dim: int, done: int, options: Options
) -> Callable[[], Block]:
    def where(i: int) -> str:
        return f"{name}, word {done + i + 1:,}"

    def make() -> Block:
        blob, lengths = check_keys(*pack([word.lstrip(b"\n") for word in words]), options, where)
        flat = np.frombuffer(data, dtype=np.uint8)
        at_each_byte = as_strided(flat, shape=(len(flat) - 4 * dim + 1, 4 * dim), strides=(1, 1), writeable=False)
        return Block(blob, lengths, at_each_byte[starts].view("<f4"), where)

    return make
