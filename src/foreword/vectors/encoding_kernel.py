"""The compiled way of pooling: means of rows, summed in float64.

Not for: calling directly. Costs: importing it loads numba.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from foreword._base.compiling import compiled

__all__ = ["pool"]


def _pool(
    table: NDArray[np.float32],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    into: NDArray[np.float32],
    unit: bool,
    start: int,
    stop: int,
) -> None:
    """Put the means of the rows of texts start…stop−1 into ``into`` [n, D]."""
    dim = table.shape[1]
    total = np.empty(dim, dtype=np.float64)
    for text in range(start, stop):
        total[:] = 0
        for at in range(offsets[text], offsets[text + 1]):
            row = rows[at]
            for j in range(dim):
                total[j] += table[row, j]
        factor = 1.0 / max(1, offsets[text + 1] - offsets[text])
        if unit:
            square = 0.0
            for j in range(dim):
                square += total[j] * total[j]
            if square > 0:
                factor = 1.0 / np.sqrt(square)
        for j in range(dim):
            into[text, j] = total[j] * factor


_table = numba.types.Array(numba.float32, 2, "C", readonly=True)
_ids = numba.types.Array(numba.int64, 1, "C", readonly=True)
pool = compiled(numba.void(_table, _ids, _ids, numba.float32[:, ::1], numba.boolean, numba.int64, numba.int64), _pool)
