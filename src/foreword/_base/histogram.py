"""The one histogram of documents by length.

Not for: other shares of a store. Costs: a few ns a document.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["length_histogram"]


def length_histogram(lengths: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Documents by length, (from, to, documents): [0, 1), [1, 2), [2, 4), [4, 8) …, from the first that holds any.

    Args:
        lengths: in tokens, [documents].

    >>> length_histogram(np.array([1, 2, 3, 9]))
    [(1, 2, 1), (2, 4, 2), (4, 8, 0), (8, 16, 1)]
    """
    if not len(lengths):
        return []
    bits = np.bincount(np.frexp(lengths)[1])
    bounds = [(0, 1), *((1 << (k - 1), 1 << k) for k in range(1, len(bits)))]
    rows = [(low, high, int(count)) for (low, high), count in zip(bounds, bits, strict=True)]
    while not rows[0][2]:
        rows.pop(0)
    return rows
