"""What counts say of training, which words are kept how often and which are noise; and the vectors that rows make.

Not for: the counts themselves. Costs: some 100 ns a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.compiling import compiled
from foreword.vectors.store.keys import encode
from foreword.vectors.store.subwords import add_subwords
from foreword.vectors.training.options import Subwords

__all__ = ["END_OF_SENTENCE", "alias_table", "keep_thresholds", "with_grams"]

END_OF_SENTENCE = "</s>"
"""A word that has no n-grams, as in fastText."""

Counts = NDArray[np.int64]


def keep_thresholds(counts: Counts, sample: float) -> NDArray[np.uint32]:
    """With which share of 2³² a word is kept, uint32 [V]: word2vec's (√(f/s) + 1) · s/f of a word that is the share f
    of the corpus, all where that is above one or ``sample`` is 0.
    """
    if not sample:
        return np.full(len(counts), 0xFFFFFFFF, np.uint32)
    ratio = sample * (counts.sum() / np.maximum(counts, 1))
    thresholds: NDArray[np.uint32] = (np.minimum(np.sqrt(ratio) + ratio, 1.0) * 0xFFFFFFFF).astype(np.uint32)
    return thresholds


def alias_table(counts: Counts, exponent: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Walker's alias table, to draw words in proportion to counts ** exponent: of an i drawn evenly, i itself with the
    probability ``chance[i]``, else ``other[i]``.

    Sources: Walker, 1977; Vose, 1991.
    """
    import numba

    weights = np.maximum(counts, 1).astype(np.float64) ** exponent
    weights *= len(weights) / weights.sum()
    chance, other = np.ones(len(counts), np.float32), np.arange(len(counts), dtype=np.int32)
    signature = numba.void(numba.float64[::1], numba.float32[::1], numba.int32[::1], numba.int32[::1])
    compiled(signature, _vose)(weights, chance, other, np.empty(len(counts), np.int32))
    return chance, other


def _vose(weights: Any, chance: Any, other: Any, waiting: Any) -> None:
    """Fill each word's place with its own weight, and what is missing from 1 with the excess of a frequent one.

    ``waiting`` holds the small ones from the front and the large from the back.
    """
    small, large = 0, len(weights)
    for i in range(len(weights)):
        if weights[i] < 1.0:
            waiting[small] = i
            small += 1
        else:
            large -= 1
            waiting[large] = i
    while small > 0 and large < len(weights):
        small -= 1
        less, more = waiting[small], waiting[large]
        chance[less] = weights[less]
        other[less] = more
        weights[more] -= 1.0 - weights[less]
        if weights[more] < 1.0:
            large += 1
            waiting[small] = more
            small += 1


def with_grams(rows: NDArray[np.float32], words: Sequence[str], subwords: Subwords) -> NDArray[np.float32]:
    """The words' vectors, float32 [V, D]: the means of their rows and those of their n-grams.

    Args:
        rows: the input table, float32 [V + buckets, D].
        words: V of them.
        subwords: which n-grams they have.
    """
    own, grams = rows[: len(words)].copy(), rows[len(words) :]
    plain = [row for row, word in enumerate(words) if word == END_OF_SENTENCE]
    spelt = [encode(word) for word in words]
    add_subwords(own, spelt, grams, minn=subwords.min_n, maxn=subwords.max_n, many=len(words))
    own[plain] = rows[plain]
    return own
