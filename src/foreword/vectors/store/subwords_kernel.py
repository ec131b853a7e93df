"""The compiled way of ``subwords.add_subwords``: the same rows, added in the same order.

Not for: calling directly. Costs: importing it loads numba.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from foreword._base.compiling import compiled

__all__ = ["add_rows"]


def _add_rows(
    rows: NDArray[np.float32],
    blob: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    grams: NDArray[np.float32],
    minn: int,
    maxn: int,
) -> None:
    bucket, dim = grams.shape
    longest = 0
    for i in range(len(rows)):
        longest = max(longest, offsets[i + 1] - offsets[i])
    text = np.empty(longest + 2, dtype=np.uint8)
    starts = np.empty(longest + 3, dtype=np.int64)
    for i in range(len(rows)):
        length = offsets[i + 1] - offsets[i] + 2
        text[0] = 0x3C  # <
        text[1 : length - 1] = blob[offsets[i] : offsets[i + 1]]
        text[length - 1] = 0x3E  # >
        n = 0
        for at in range(length):
            if text[at] & 0xC0 != 0x80:
                starts[n] = at
                n += 1
        starts[n] = length
        found = 1
        for first in range(n):
            value = np.uint32(2166136261)
            for last in range(first, min(first + maxn, n)):
                for at in range(starts[first] if last == first else starts[last], starts[last + 1]):
                    value = np.uint32((value ^ np.uint32(np.int8(text[at]))) * np.uint32(16777619))
                if last - first + 1 < minn or (last == first and (first == 0 or first == n - 1)):
                    continue
                gram = value % np.uint32(bucket)
                for j in range(dim):
                    rows[i, j] += grams[gram, j]
                found += 1
        for j in range(dim):
            rows[i, j] /= np.float32(found)


_unaligned = numba.types.Array(numba.float32, 2, "C", readonly=True, aligned=False)
_bytes = numba.types.Array(numba.uint8, 1, "C", readonly=True)
add_rows = compiled(
    numba.void(numba.float32[:, ::1], _bytes, numba.int64[::1], _unaligned, numba.int64, numba.int64), _add_rows
)
