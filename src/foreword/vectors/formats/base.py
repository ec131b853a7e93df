"""What every reader gives: the shape of a file of vectors, and its words and rows block by block.

Not for: any one format. Costs: a reader holds a few blocks of some megabytes, whatever the size of its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foreword._base.compression import stem
from foreword.errors import TextDecodeError
from foreword.vectors.store.blocks import Block, pack
from foreword.vectors.store.encoder import TextEncoder
from foreword.vectors.store.keys import encode
from foreword.vectors.store.subwords import Subwords

__all__ = ["MAX_DIM", "Options", "Pending", "Reader", "check_keys", "file_state", "vocabulary_of"]

MAX_DIM = 1 << 20
"""A dimension beyond this is a damaged header, not a vector."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to read, as gensim's users say it.

    Attributes:
        limit: read only this many words, from the start; None reads all.
        binary: whether a word2vec file is binary; None looks at its content.
        encoding, unicode_errors: how the words' bytes become text, as in ``bytes.decode``; None is "strict", except
            for what a format is known to hold.
        header: whether a text file begins with its count and dimension; None looks at its content.
        vocabulary: the file of words where the vectors' file has none (.npy, safetensors); None looks beside it.
        vectors: those of words, or of a Doc2Vec's documents.
    """

    limit: int | None = None
    binary: bool | None = None
    encoding: str = "utf-8"
    unicode_errors: str | None = None
    vocabulary: str | None = None
    vectors: Literal["words", "documents"] = "words"
    header: bool | None = None

    def most(self, count: int) -> int:
        """How many of ``count`` words to read."""
        return count if self.limit is None else min(count, self.limit)


def vocabulary_of(path: Path, options: Options) -> Path | None:
    """The file of words that belongs to the array file ``path``: as ``options`` name it, else found beside it."""
    if options.vocabulary is not None:
        return Path(options.vocabulary)
    inner = Path(stem(path.name))
    names = [f"{path.stem}.vocab", f"{path.stem}.txt", f"{path.stem}.json", "vocab.txt", "vocab.json", "words.txt"]
    if inner.name != path.name and inner.suffix in (".npy", ".safetensors"):  # NAME.npy.gz: NAME.vocab
        names = [f"{inner.stem}{suffix}" for suffix in (".vocab", ".txt", ".json")] + names
    return next((file for name in names if (file := path.with_name(name)).is_file()), None)


def file_state(path: Path) -> list[Any]:
    """What tells whether a file has changed: its name, size, time of change and number on the disk.

    Raises:
        OSError: there is none.
    """
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino]


Pending: TypeAlias = tuple[int, Callable[[], Block]]
"""A block to come: how many words it has, and what makes it."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A file that has been opened and understood as far as its header.

    Attributes:
        dim: D.
        blocks: call it once for the blocks, in order: of each the number of its words, and a callable that makes it,
            to be called once, in any thread.
        subwords: fastText's n-grams, or None.
        files: other files that were found to belong to this one, and what ``file_state`` said of each before it was
            read; None where the format has none but those that ``vocabulary_of`` and ``model_files`` find.
        encoder: what makes vectors of texts, of a static embedding model.
        word_ngrams: how many words an n-gram of words has at most, of a fastText classifier.
    """

    dim: int
    blocks: Callable[[], Iterator[Pending]]
    subwords: Subwords | None = None
    files: Mapping[str, list[Any]] | None = None
    encoder: TextEncoder | None = None
    word_ngrams: int | None = None


def check_keys(
    blob: bytes, lengths: NDArray[np.int64], options: Options, where: Callable[[int], str]
) -> tuple[bytes, NDArray[np.int64]]:
    """The words' bytes as found in a file → as they are kept (UTF-8), decoded as ``options`` say.

    UTF-8 that is right costs one pass: the whole is valid, and no word begins inside a character.

    Raises:
        TextDecodeError: a word is not text in the encoding.
    """
    if options.encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        starts = (np.cumsum(lengths) - lengths)[lengths > 0]
        first = np.frombuffer(blob, dtype=np.uint8)[starts]
        if not np.any((first & 0xC0) == 0x80):
            try:
                blob.decode("utf-8")
            except UnicodeDecodeError:
                pass
            else:
                return blob, lengths
    words, position = [], 0
    for i, length in enumerate(lengths.tolist()):
        data = blob[position : position + length]
        position += length
        try:
            words.append(encode(data.decode(options.encoding, options.unicode_errors or "strict")))
        except UnicodeDecodeError as cause:
            raise TextDecodeError(
                f"a word is not {options.encoding} text",
                cause=cause,
                got=repr(data[:60]),
                where=where(i),
                fix='name its encoding, or pass unicode_errors="replace" or "ignore"',
            ) from cause
    return pack(words)
