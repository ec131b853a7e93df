"""What training gives: words and rows as a ``KeyedVectors``, with its n-grams where it has some.

Not for: the training itself. Costs: a dict of the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.vectors.keyed_vectors import KeyedVectors
from foreword.vectors.store.subwords import Subwords as Grams
from foreword.vectors.training.options import Subwords
from foreword.vectors.training.tables import with_grams

__all__ = ["Float32", "composed", "fill"]

Float32 = NDArray[np.float32]


def fill(wv: KeyedVectors, words: Sequence[Any], counts: NDArray[np.int64]) -> None:
    """Give a table these words, and their counts; vectors follow."""
    wv.index_to_key = list(words)
    wv.key_to_index = {word: row for row, word in enumerate(words)}
    wv.next_index = len(words)
    wv.expandos = {"count": counts}


def composed(wv: KeyedVectors, rows: Float32, subwords: Subwords | None) -> Float32:
    """The vectors of the words, float32 [V, D], made of an input table; with subwords ``wv`` gets the n-grams too.

    Args:
        wv: has the words already.
        rows: the input table, float32 [V (+ buckets), D].
        subwords: which n-grams it has.
    """
    words = wv.index_to_key
    if subwords is None:
        return rows
    wv._subwords = Grams.of(subwords.min_n, subwords.max_n, rows[len(words) :])
    wv.oov = None
    return with_grams(rows, words, subwords)
