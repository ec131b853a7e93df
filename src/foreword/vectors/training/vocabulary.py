"""The vocabulary: which words of a corpus get a vector, and in which order.

``WordCounts`` is what counting a corpus gives, ``choose`` the words that are frequent enough, as gensim chooses them:
the most frequent first, and of equal counts the one that came last in the corpus, whatever the number of workers.

Not for: counting (``corpus``). Costs: a sort of the counts; text is made of the words that stay alone, unless a rule
asks to see all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.vectors.store.keys import is_key

__all__ = ["TrimRule", "Vocabulary", "WordCounts", "check_rule", "choose", "stays"]

TrimRule = Callable[[Any, int, int], int | None]
"""gensim's: of (word, count, min_count) 1 discards the word, 2 keeps it, 0 or None leaves it to min_count."""

_DISCARD, _KEEP = 1, 2


@dataclasses.dataclass(frozen=True)
class WordCounts:
    """How often each word of a corpus occurs.

    Attributes:
        counts: int64 [n], in the order in which the words first came.
        words: the words of some of these rows, int64 [m], as a list.
        total: words in the corpus.
        sentences: its lines, lists or documents that have a word.
    """

    counts: NDArray[np.int64]
    words: Callable[[NDArray[np.int64]], list[Any]]
    total: int
    sentences: int

    def __len__(self) -> int:
        return len(self.counts)

    def as_dict(self) -> dict[Any, int]:
        """Word → count, in the order in which the words first came."""
        return dict(zip(self.words(np.arange(len(self))), self.counts.tolist(), strict=True))

    @classmethod
    def of(cls, counts: dict[Any, int], *, total: int | None = None, sentences: int = 0) -> WordCounts:
        """Of a dict of counts.

        Raises:
            ArgumentTypeError: a word is neither text nor an integer, or a count no integer from 0 on.
        """
        keys = list(counts)
        for odd in (word for word in keys if type(word) is not str and not is_key(word)):
            raise ArgumentTypeError("a word is text, or an integer", got=f"{odd!r:.60} ({type(odd).__name__})")
        numbers = np.array(list(counts.values()) or np.empty(0, np.int64))
        if numbers.dtype.kind not in "iu" or (numbers < 0).any():
            raise ArgumentTypeError("a count is an integer that is not below 0", got=f"{list(counts.values())!r:.60}")
        numbers = numbers.astype(np.int64)
        total = int(numbers.sum()) if total is None else total
        return cls(numbers, lambda rows: [keys[row] for row in rows], total, sentences)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words that get a vector.

    Attributes:
        words: V words, the most frequent first.
        counts: int64 [V], of each.
        min_count: what was asked of a word in the end.
    """

    words: list[Any]
    counts: NDArray[np.int64]
    min_count: int

    def __len__(self) -> int:
        return len(self.words)


def choose(
    counted: WordCounts,
    *,
    min_count: int = 5,
    max_final_vocab: int | None = None,
    trim_rule: TrimRule | None = None,
    by_count: bool = True,
) -> Vocabulary:
    """The words that occur often enough.

    Args:
        counted: all words.
        min_count: how often a word must occur.
        max_final_vocab: raise ``min_count`` until no more words than this stay; words of equal counts stay or go
            together.
        trim_rule: has the last word on each.
        by_count: the most frequent first; else as they came.
    """
    min_count = integer("min_count", min_count, at_least=0)
    counts = counted.counts
    if max_final_vocab is not None:
        most = integer("max_final_vocab", max_final_vocab, at_least=0)
        if most < len(counts):
            beyond = np.partition(counts, len(counts) - 1 - most)[len(counts) - 1 - most]
            min_count = max(min_count, int(beyond) + 1)
    if trim_rule is None:
        rows = np.flatnonzero(counts >= min_count)
        words = None
    else:
        every = counted.words(np.arange(len(counts)))
        numbers = counts.tolist()
        rows = np.array([i for i, word in enumerate(every) if stays(word, numbers[i], min_count, trim_rule)], dtype=int)
        words = [every[row] for row in rows]
    if by_count:
        order = np.lexsort((-rows, -counts[rows]))
        rows = rows[order]
        words = None if words is None else [words[i] for i in order]
    return Vocabulary(counted.words(rows) if words is None else words, counts[rows], min_count)


def check_rule(trim_rule: object) -> None:
    """Refuse a rule that can't be called.

    Raises:
        ArgumentTypeError: it can't.
    """
    if trim_rule is not None and not callable(trim_rule):
        raise ArgumentTypeError("trim_rule is a function of (word, count, min_count)", got=repr(trim_rule))


def stays(word: Any, count: int, min_count: int, trim_rule: TrimRule | None) -> bool:
    """Whether a word stays in the vocabulary."""
    verdict = None if trim_rule is None else trim_rule(word, count, min_count)
    if verdict not in (None, 0, _DISCARD, _KEEP):
        raise ArgumentError(
            "trim_rule gave no verdict", got=repr(verdict), expected="0 (by min_count), 1 (discard) or 2 (keep)"
        )
    return verdict == _KEEP or (verdict != _DISCARD and count >= min_count)
