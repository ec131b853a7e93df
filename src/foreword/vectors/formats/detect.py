"""What kind of file it is, told from its first bytes; names and extensions are not looked at.

Not for: reading. Costs: nothing beyond the bytes that the source has looked ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from foreword.errors import FormatError, TextDecodeError
from foreword.vectors.formats.arrays import is_safetensors, read_npy, read_safetensors
from foreword.vectors.formats.base import Options, Reader
from foreword.vectors.formats.fasttext import is_fasttext, read_fasttext
from foreword.vectors.formats.gensim_native import is_native, read_native
from foreword.vectors.formats.source import HEAD, Source, open_source
from foreword.vectors.formats.text import BOM, fits_text, looks_like_text, read_text_vectors
from foreword.vectors.formats.word2vec import fits_binary, parse_header, read_word2vec_binary

__all__ = ["kind_of", "open_vectors"]


_READERS: dict[str, Callable[[Source, Options], Reader]] = {
    ".npy": read_npy,
    "safetensors": read_safetensors,
    "fastText .bin": read_fasttext,
    "gensim's native": read_native,
    "word2vec binary": read_word2vec_binary,
    "text": read_text_vectors,
}


@contextmanager
def open_vectors(path: Path, options: Options) -> Iterator[tuple[Source, Reader]]:
    """Open the vectors in the file ``path``, of any format, compressed or not.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: it is of no known format, or damaged as far as its first bytes tell.
    """
    with open_source(path) as source:
        try:
            yield source, _reader(source, options)
        except (FormatError, TextDecodeError) as error:
            if options.binary is not None and (fix := _other_way(source.head, options.binary)):
                error.advise(fix)
            raise


def _reader(source: Source, options: Options) -> Reader:
    if options.vectors == "documents" and not (options.binary is None and is_native(source.head)):
        raise FormatError(
            "the file holds no vectors of documents",
            expected="a Doc2Vec model that gensim saved",
            where=source.name,
            fix='load its words: vectors="words"',
        )
    head, binary = source.head, options.binary
    if options.header is False:
        return read_text_vectors(source, options)
    if binary is not None:
        # A file that is certainly of the other kind would be read as nonsense, if only a limit were small enough.
        first = head.partition(b"\n")[0]
        kind, wrong = kind_of(head), "text" if binary else "word2vec binary"
        if kind == wrong and not (binary and _fits_binary_too(head)):
            raise FormatError(
                f"not a word2vec {'binary' if binary else 'text'} file",
                got=f"a first line {first[:60]!r}" if head else "an empty file",
                where=source.name,
            )
        return _READERS["word2vec binary" if binary else "text"](source, options)
    if not head:
        raise FormatError("the file is empty", where=source.name, fix="get the file again")
    return _READERS[kind_of(head)](source, options)


def kind_of(head: bytes) -> str:
    """What a file is that begins so, or, where ``head`` is shorter than ``HEAD``, that is nothing more."""
    if head.startswith(b"\x93NUMPY"):
        return ".npy"
    if is_safetensors(head):
        return "safetensors"
    if is_fasttext(head):
        return "fastText .bin"
    if is_native(head):
        return "gensim's native"
    line, newline, rest = head.removeprefix(BOM).partition(b"\n")
    header = parse_header(line) if newline else None
    if header is None:
        return "text"
    whole = len(head) < HEAD
    if fits_text(rest, *header, whole=whole):
        return "text"
    if not rest.startswith(b"\n") and looks_like_text(rest):
        return "text"
    if fits_binary(rest, *header, whole=whole) or any(byte < 9 or 13 < byte < 32 for byte in rest[:4096]):
        return "word2vec binary"
    return "text"


def _fits_binary_too(head: bytes) -> bool:
    """Whether a whole file that passes for text is a binary file nevertheless, to its last byte."""
    line, _, rest = head.partition(b"\n")
    header = parse_header(line)
    return header is not None and len(head) < HEAD and fits_binary(rest, *header, whole=True)


def _other_way(head: bytes, binary: bool) -> str | None:
    """How to read a file that could not be read as a word2vec file, binary or not; None where that was right."""
    kind = kind_of(head)
    if not head or kind == ("word2vec binary" if binary else "text") or (binary and kind == "text" and b"\0" in head):
        return None
    if kind in ("word2vec binary", "text"):
        header = "" if kind != "text" or parse_header(head.partition(b"\n")[0]) else ", no_header=True"
        return f"it looks like a word2vec file in {'text' if binary else 'binary'}: pass binary={not binary}{header}"
    return f"it looks like a file of the format {kind}: foreword.load reads it"
