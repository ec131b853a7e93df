"""A model's vocabulary, and the rows of its tables: made, taken from counts, and grown. A part of ``Word2Vec``.

Not for: counting (``corpus``), choosing (``vocabulary``). Costs: two tables of float32 [V, D].
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword._base.words import counted
from foreword.errors import ArgumentError, ArgumentTypeError, MissingPackageError
from foreword.vectors.keyed_vectors import KeyedVectors
from foreword.vectors.training.corpus import Corpus
from foreword.vectors.training.result import Float32, fill
from foreword.vectors.training.token_lists import corpus_of
from foreword.vectors.training.vocabulary import TrimRule, WordCounts, check_rule, choose

__all__ = ["Building"]


class Building:
    """What a model does before it is trained."""

    wv: KeyedVectors
    vector_size: int
    seed: int
    workers: int
    min_count: int
    sample: float
    max_vocab_size: int | None
    max_final_vocab: int | None
    sorted_vocab: int
    effective_min_count: int
    raw_vocab: dict[Any, int] | None
    corpus_count: int
    corpus_total_words: int
    _input: Float32
    _output: Float32
    _words: list[Any]

    @property
    def syn1neg(self) -> Float32:
        """The output table, float32 [V, D]."""
        return self._output

    def build_vocab(
        self,
        corpus_iterable: Iterable[Any] | Corpus | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        update: bool = False,
        progress_per: int = 10_000,  # noqa: ARG002
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        *,
        min_count: int | None = None,
        sample: float | None = None,
    ) -> None:
        """Count a corpus, and choose the words that get vectors.

        Args:
            corpus_iterable: sentences, as in the constructor; a generator will do here.
            corpus_file: or a file of text.
            update: keep the vocabulary and its vectors, add new words, and add counts up.
            progress_per: without effect.
            keep_raw_vocab: keep all counts as ``raw_vocab``.
            trim_rule: has the last word on each word.
            min_count: instead of the model's, from now on.
            sample: likewise.
        """
        check_rule(trim_rule)
        corpus = corpus_of(corpus_iterable, corpus_file, passes=1)
        counted = corpus.count(workers=self._threads(), max_vocab_size=self.max_vocab_size or None, trim_rule=trim_rule)
        self.corpus_count, self.corpus_total_words = counted.sentences, counted.total
        self._take(counted, update, keep_raw_vocab, trim_rule, min_count, sample)

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[Any, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Choose the words from a dict of counts.

        Args:
            word_freq: word → count.
            keep_raw_vocab: as in ``build_vocab``; so are the others.
            corpus_count: how many sentences they come from.
            trim_rule: as there.
            update: as there.

        Raises:
            ArgumentTypeError: no dict of words and their counts.
        """
        check_rule(trim_rule)
        if not isinstance(word_freq, Mapping):
            raise ArgumentTypeError("word_freq is a dict of word and count", got=type(word_freq).__name__)
        self.corpus_count = corpus_count or 0
        counted = WordCounts.of(dict(word_freq))
        self._take(counted, update, keep_raw_vocab, trim_rule, None, None)

    def _take(
        self,
        counted: WordCounts,
        update: bool,
        keep_raw_vocab: bool,
        trim_rule: TrimRule | None,
        min_count: int | None,
        sample: float | None,
    ) -> None:
        """Choose words among those counted, and make their rows."""
        if update and not len(self.wv):
            raise ArgumentError("there is no vocabulary to update", fix="build_vocab without update first")
        if update:
            self._check_words()
        least = min_count or self.min_count
        if not update:
            self.min_count, self.sample = least, sample or self.sample
        by_count = bool(self.sorted_vocab) and not update
        options: dict[str, Any] = {"max_final_vocab": self.max_final_vocab, "trim_rule": trim_rule}
        chosen = choose(counted, min_count=least, by_count=by_count, **options)
        self.effective_min_count = chosen.min_count
        self.raw_vocab = counted.as_dict() if keep_raw_vocab else None
        if not update:
            self._place([], chosen.words, chosen.counts)
            return
        old = list(self.wv.index_to_key)
        index = self.wv.key_to_index
        fresh = [i for i, word in enumerate(chosen.words) if word not in index]
        counts = np.concatenate([self._counts(), np.zeros(len(fresh), dtype=np.int64)])
        every = counted.as_dict()  # rare words too: those that the vocabulary has are counted on
        for row, word in enumerate(old):
            counts[row] += every.get(word, 0)
        counts[len(old) :] = chosen.counts[fresh]
        self._place(old, [chosen.words[i] for i in fresh], counts)

    def _counts(self) -> NDArray[np.int64]:
        return np.asarray(self.wv.expandos["count"], dtype=np.int64)

    def _place(self, old: list[Any], fresh: list[Any], counts: NDArray[np.int64]) -> None:
        """Give new words rows after those of the old ones, which keep theirs."""
        kept = self._input_of_words()[: len(old)]
        rows = np.zeros((len(old) + len(fresh), self.vector_size), dtype=np.float32)
        self._draw(rows, len(old))
        rows[: len(old)] = kept
        output = np.zeros_like(rows)
        output[: len(old)] = self._output[: len(old)]
        self._hold(rows, output, [*old, *fresh], counts)

    def _draw(self, rows: Float32, first: int) -> None:
        """First vectors for the rows from ``first`` on: small random numbers."""
        try:
            from foreword.vectors.training.kernels import fill
        except ImportError as cause:
            raise MissingPackageError(
                "training needs compiled kernels", got=str(cause), fix="pip install numba; unset FOREWORD_KERNELS"
            ) from cause
        fill(rows, first, self.seed, self._spread() / self.vector_size)

    def _spread(self) -> float:
        return 1.0

    def _input_of_words(self) -> Float32:
        """The words' own rows of the input table: the vectors themselves, which may have been changed there."""
        rows = self.wv.vectors
        if rows.dtype != np.float32 or not rows.flags.c_contiguous or not rows.flags.writeable:
            rows = np.array(rows, dtype=np.float32)
        return rows

    def _hold(self, rows: Float32, output: Float32, words: list[Any], counts: NDArray[np.int64]) -> None:
        """Take tables and words for the model's."""
        self._input, self._output, self._words = rows, output, words
        fill(self.wv, words, counts)
        self.wv.vectors = self._vectors()

    def _check_words(self) -> None:
        """Whether the rows of the tables are still those of the words of ``wv``.

        Raises:
            ArgumentError: words were added there, or sorted, or it is another.
        """
        words = list(self.wv.index_to_key)
        if words != self._words:
            raise ArgumentError(
                "wv has other words than the model was built with, or in another order: the output table has no rows "
                "for them",
                got=counted(len(words), "word"),
                expected=f"the {len(self._words):,} of build_vocab, in their order",
                fix="add words by build_vocab(…, update=True); sort or add to a copy, copy.deepcopy(model.wv)",
            )

    def _vectors(self) -> Float32:
        """The vectors that ``wv`` has."""
        return self._input

    def _threads(self) -> int:
        """No more threads than processors: others would only be waited for."""
        return min(self.workers, threads.count())

    def reset_from(self, other_model: Building) -> None:
        """Take over another model's vocabulary and counts, with fresh vectors."""
        self.corpus_count, self.corpus_total_words = other_model.corpus_count, other_model.corpus_total_words
        self._place([], list(other_model.wv.index_to_key), other_model._counts().copy())
