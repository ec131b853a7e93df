"""What kind of file it is, told from its first bytes; names and extensions are not looked at.

Not for: reading. Costs: nothing beyond the bytes that the source has looked ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreword.errors import FormatError
from foreword.vectors.formats.arrays import is_safetensors, read_npy, read_safetensors
from foreword.vectors.formats.base import Options, Reader
from foreword.vectors.formats.fasttext import is_fasttext, read_fasttext
from foreword.vectors.formats.gensim_native import is_native, read_native
from foreword.vectors.formats.source import Source, open_source
from foreword.vectors.formats.text import looks_like_text, read_text_vectors
from foreword.vectors.formats.word2vec import parse_header, read_word2vec_binary

__all__ = ["open_vectors"]


@contextmanager
def open_vectors(path: Path, options: Options) -> Iterator[tuple[Source, Reader]]:
    """Open the vectors in the file ``path``, of any format, compressed or not.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: it is of no known format, or damaged as far as its first bytes tell.
    """
    with open_source(path) as source:
        yield source, _reader(source, options)


def _reader(source: Source, options: Options) -> Reader:
    head = source.head
    if options.binary is not None:
        return (read_word2vec_binary if options.binary else read_text_vectors)(source, options)
    if not head:
        raise FormatError("the file is empty", where=source.name, fix="get the file again")
    if head.startswith(b"\x93NUMPY"):
        return read_npy(source, options)
    if is_safetensors(head):
        return read_safetensors(source, options)
    if is_fasttext(head):
        return read_fasttext(source, options)
    if is_native(head):
        return read_native(source, options)
    line, newline, rest = head.partition(b"\n")
    if newline and parse_header(line) and not looks_like_text(rest):
        return read_word2vec_binary(source, options)
    return read_text_vectors(source, options)
