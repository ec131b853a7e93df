"""FastText: vectors of words and of their n-grams, with the interface of gensim 4.4's class of that name.

A word's vector is the mean of its own row and those of its n-grams; a word that was never seen has the mean of its
n-grams' alone.

Not for: classifiers, or writing fastText's own binary files (``load`` reads those). Costs: besides Word2Vec's, a table
of float32 [bucket, D]: 800 MB with the defaults.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.vectors.training.corpus import Corpus
from foreword.vectors.training.options import Subwords
from foreword.vectors.training.result import Float32, composed
from foreword.vectors.training.vocabulary import TrimRule
from foreword.vectors.training.word2vec import Word2Vec

__all__ = ["FastText"]


class FastText(Word2Vec):
    """Vectors of words and n-grams, trained by CBOW or skip-gram with negative sampling.

    >>> sentences = [["cat", "say", "meow"], ["dog", "say", "woof"]]
    >>> model = FastText(sentences, vector_size=8, min_count=1, bucket=1000)
    >>> "meows" in model.wv.key_to_index, model.wv["meows"].shape
    (False, (8,))

    The arguments are ``Word2Vec``'s, in gensim's order, and these.

    Args:
        sentences: see ``Word2Vec``; so are the others.
        corpus_file: as there.
        sg: as there.
        hs: as there.
        vector_size: as there.
        alpha: as there.
        window: as there.
        min_count: as there.
        max_vocab_size: as there.
        word_ngrams: must be 1, as in gensim.
        sample: as there.
        seed: as there.
        workers: as there.
        min_alpha: as there.
        negative: as there.
        ns_exponent: as there.
        cbow_mean: as there.
        hashfxn: as there.
        epochs: as there.
        null_word: as there.
        min_n: the shortest n-gram, in letters of ``<word>``.
        max_n: the longest; one below ``min_n`` has none.
        sorted_vocab: as there.
        bucket: rows of the table of n-grams; an n-gram has that of its hash.
        trim_rule: as there.
        batch_words: as there.
        callbacks: as there.
        max_final_vocab: as there.
        shrink_windows: as there.
    """

    kind = "FastText"

    def __init__(
        self,
        sentences: Iterable[Any] | Corpus | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        sg: int = 0,
        hs: int = 0,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        word_ngrams: int = 1,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int = 3,
        min_alpha: float = 0.0001,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        hashfxn: Any = hash,
        epochs: int = 5,
        null_word: int = 0,
        min_n: int = 3,
        max_n: int = 6,
        sorted_vocab: int = 1,
        bucket: int = 2_000_000,
        trim_rule: TrimRule | None = None,
        batch_words: int = 10_000,
        callbacks: Iterable[Any] = (),
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
    ) -> None:
        if word_ngrams != 1:
            raise ArgumentError("n-grams of words are not there", got=f"word_ngrams={word_ngrams!r}", expected="1")
        self.word_ngrams = 1
        self.min_n, self.max_n = integer("min_n", min_n), integer("max_n", max_n)
        self.bucket = integer("bucket", bucket, at_least=0) if self.max_n >= self.min_n else 0
        super().__init__(
            sentences=sentences,
            corpus_file=corpus_file,
            vector_size=vector_size,
            alpha=alpha,
            window=window,
            min_count=min_count,
            max_vocab_size=max_vocab_size,
            sample=sample,
            seed=seed,
            workers=workers,
            min_alpha=min_alpha,
            sg=sg,
            hs=hs,
            negative=negative,
            ns_exponent=ns_exponent,
            cbow_mean=cbow_mean,
            hashfxn=hashfxn,
            epochs=epochs,
            null_word=null_word,
            trim_rule=trim_rule,
            sorted_vocab=sorted_vocab,
            batch_words=batch_words,
            callbacks=callbacks,
            max_final_vocab=max_final_vocab,
            shrink_windows=shrink_windows,
        )

    @property
    def vectors_vocab(self) -> Float32:
        """The words' own rows, float32 [V, D]."""
        return self._input[: len(self.wv)]

    @property
    def vectors_ngrams(self) -> Float32:
        """The n-grams' rows, float32 [bucket, D]."""
        return self._input[len(self.wv) :]

    def _subwords(self) -> Subwords | None:
        if not self.bucket:
            return None
        return Subwords(min_n=self.min_n, max_n=self.max_n, buckets=self.bucket)

    def _spread(self) -> float:
        return 2.0

    def _place(self, old: list[Any], fresh: list[Any], counts: NDArray[np.int64]) -> None:
        odd = next((word for word in fresh if not isinstance(word, str)), None)
        if odd is not None:
            raise ArgumentTypeError(
                "a word that is no text has no n-grams", got=repr(odd), fix="Word2Vec takes integers"
            )
        count = len(old) + len(fresh)
        rows = np.zeros((count + self.bucket, self.vector_size), dtype=np.float32)
        kept, grams = self.vectors_vocab[: len(old)], self.vectors_ngrams
        self._draw(rows, len(old))
        if old:
            rows[: len(old)] = kept
            rows[count:] = grams
        output = np.zeros((count, self.vector_size), dtype=np.float32)
        output[: len(old)] = self._output[: len(old)]
        self._hold(rows, output, [*old, *fresh], counts)

    def _trained_input(self) -> Float32:
        return self._input

    def _vectors(self) -> Float32:
        if not self.bucket:
            return self._input.copy()
        return composed(self.wv, self._input, self._subwords())

    def estimate_memory(self, vocab_size: int | None = None, report: dict[str, int] | None = None) -> dict[str, int]:
        """As ``Word2Vec.estimate_memory``, with ``syn0_ngrams``."""
        return super().estimate_memory(vocab_size, (report or {}) | {"syn0_ngrams": self.bucket * self.vector_size * 4})
