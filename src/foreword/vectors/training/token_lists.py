"""Corpora that are Python objects: an iterable of sentences, each a list of words; and what gensim's arguments mean.

Not for: speed; a file of text is counted ten times as fast. Costs: 100 to 200 ns a word and pass, under Python's lock.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from foreword._base.files import atomic_write
from foreword._base.words import counted
from foreword.errors import ArgumentTypeError
from foreword.vectors.training.corpus import FIRST, Advance, Corpus, Encoded, TextCorpus, open_encoded
from foreword.vectors.training.vocabulary import TrimRule, WordCounts, stays

__all__ = ["TokenLists", "corpus_of", "refuse_iterator"]

_AT_ONCE = 1 << 18  # words
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")

logger = logging.getLogger(__name__)


class TokenLists(Corpus):
    """An iterable of sentences, each a list of words: text, or integers.

    Args:
        sentences: gone through once for each pass.

    Raises:
        ArgumentTypeError: it is no iterable.
    """

    unit = "sentences"
    name = "the sentences"

    def __init__(self, sentences: Iterable[Sequence[Any]]) -> None:
        if isinstance(sentences, str | bytes) or not isinstance(sentences, Iterable):
            raise ArgumentTypeError(
                "sentences are an iterable of lists of words",
                got=f"{sentences!r:.60} ({type(sentences).__name__})",
                fix="of a file of text use corpus_file=",
            )
        self._sentences = sentences
        self.size = len(sentences) if isinstance(sentences, Sized) else None

    def check_passes(self, passes: int) -> None:
        """Refuse what can't be gone through so often.

        Raises:
            ArgumentTypeError: it is a generator, or another iterator, and that is more than once.
        """
        refuse_iterator(self._sentences, "sentences", passes)

    def _each(self, advance: Advance) -> Iterator[Sequence[Any]]:
        warned = False
        for sentence in self._sentences:
            if isinstance(sentence, str) and not warned:
                warned = True
                logger.warning("a sentence is a list of words; this one is a text, whose words are its letters")
            yield sentence
            advance(1)

    def count(
        self,
        *,
        workers: int = 1,  # noqa: ARG002 - Python objects are counted by one thread
        max_vocab_size: int | None = None,
        trim_rule: TrimRule | None = None,
        advance: Advance = lambda _: None,
    ) -> WordCounts:
        """See ``Corpus``. Sentences are counted even where they are empty, as in gensim.

        Raises:
            ArgumentTypeError: a word is neither text nor an integer.
        """
        counts: Counter[Any] = Counter()
        total = sentences = least = 0
        for sentence in self._each(advance):
            try:
                counts.update(sentence)
                total += len(sentence)
            except TypeError as cause:
                raise ArgumentTypeError(
                    "a sentence is a list of words", got=f"{sentence!r:.60}", where=f"sentence {sentences:,}"
                ) from cause
            sentences += 1
            if max_vocab_size and len(counts) > max_vocab_size:
                least += 1
                for word in [w for w, n in counts.items() if not stays(w, n, least, trim_rule)]:
                    del counts[word]
        return WordCounts.of(counts, total=total, sentences=sentences)

    def encode(
        self,
        words: Sequence[Any],
        path: Path,
        *,
        workers: int = 1,  # noqa: ARG002
        advance: Advance = lambda _: None,
    ) -> Encoded:
        """See ``Corpus``."""
        index = {word: i for i, word in enumerate(words)}
        held: list[int] = []
        total = 0
        with atomic_write(path) as file:
            for sentence in self._each(advance):
                start = len(held)
                held += [index[word] for word in sentence if word in index]
                total += len(sentence)
                if len(held) > start:
                    held[start] |= FIRST
                if len(held) >= _AT_ONCE:
                    file.write(np.array(held, dtype="<u4").tobytes())
                    held = []
            file.write(np.array(held, dtype="<u4").tobytes())
        return Encoded(open_encoded(path), total)


def refuse_iterator(items: Iterable[Any], name: str, passes: int) -> None:
    """Refuse what can be gone through once only.

    Raises:
        ArgumentTypeError: it is a generator, or another iterator, and ``passes`` is more than one.
    """
    if passes > 1 and iter(items) is items:
        raise ArgumentTypeError(
            f"the {name} are gone through {counted(passes, 'time')}, which a {type(items).__name__} can't be",
            expected="a list, or an object whose __iter__ starts again",
        )


def corpus_of(sentences: Any, corpus_file: Any, *, passes: int) -> Corpus:
    """The corpus that gensim's two arguments mean.

    Args:
        sentences: an iterable of lists of words, or a ``Corpus``.
        corpus_file: the path of a text.
        passes: how often it will be gone through.

    Raises:
        ArgumentTypeError: both, neither, or what can't be meant.
        MissingFileError, FileError: the file can't be read.
    """
    if (sentences is None) == (corpus_file is None):
        both = "both of" if sentences is not None else "neither of"
        raise ArgumentTypeError(f"{both} sentences and corpus_file are given", fix="give one of them")
    if corpus_file is None:
        corpus = sentences if isinstance(sentences, Corpus) else TokenLists(sentences)
        corpus.check_passes(passes)
        return corpus
    if not isinstance(corpus_file, str | os.PathLike):
        raise ArgumentTypeError("corpus_file is a path", got=type(corpus_file).__name__)
    if os.fspath(corpus_file).lower().endswith(_PACKED):
        raise ArgumentTypeError(
            "corpus_file can't be packed",
            got=os.fspath(corpus_file),
            fix="unpack it, or give sentences=foreword.recipes.word_corpus(path)",
        )
    return TextCorpus.of_file(corpus_file)
