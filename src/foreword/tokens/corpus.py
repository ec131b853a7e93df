"""Corpus readers: from files, folders and iterables to documents, one at a time.

A document is the unit whose end is marked and which windows may be kept inside. Here a file is a document.

Not for: tokenizing. Costs: one document in memory.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from foreword._files import explained, read_text
from foreword.errors import FileError, MissingFileError

__all__ = ["Corpus", "Document", "open_corpus"]

SUFFIXES = (".txt", ".md")


@dataclasses.dataclass(frozen=True)
class Document:
    """A piece of text, where it came from, and how many bytes of the source it stands for."""

    source: str
    text: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order; ``bytes`` is their total size where it is known beforehand."""

    documents: Iterable[Document]
    bytes: int | None


def open_corpus(corpus: str | os.PathLike[str] | Iterable[str], *, encoding: str = "utf-8") -> Corpus:
    """The documents of a text file, of the .txt and .md files below a folder (by path), or of an iterable of texts.

    Raises:
        MissingFileError: there is no such path.
        FileError: the folder holds no text file.
        TextDecodeError: while iterating, a file that is not text in ``encoding``.
    """
    if not isinstance(corpus, str | os.PathLike):
        return Corpus((Document(f"text {i}", text, _size(text)) for i, text in enumerate(corpus)), None)
    path = Path(corpus)
    if not path.exists():
        raise MissingFileError(
            "there is no such corpus",
            where=path,
            fix="name a text file or a folder; for a text itself, pass a list: [text]",
        )
    files = [path]
    if path.is_dir():
        with explained("list the corpus", path):
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise FileError(
                "the folder holds no text file", expected=f"files that end in {' or '.join(SUFFIXES)}", where=path
            )
    return Corpus(_read(files, encoding), sum(file.stat().st_size for file in files))


def _read(files: list[Path], encoding: str) -> Iterator[Document]:
    for file in files:
        text = read_text(file, encoding=encoding)
        yield Document(str(file), text, file.stat().st_size)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
