"""The compiled ways of learning by rows: sums of rows, the gradients of rows, Adam on rows.

Each of them that takes ``start`` and ``stop`` writes for that part of the work what no other part writes, in a fixed
order and as it is written here: the parts may be shared out among any number of threads, and the bits stay the same.
``shared_out`` does that.

Not for: calling without a check of shapes and ids: a row that is not there is written all the same. Costs: importing it
loads numba.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword._base.compiling import compiled

__all__ = ["adam", "distinct_rows", "gather", "gradients", "shared_out"]

_Floats = NDArray[np.float32]
_Ids = NDArray[np.int64]
_SMALL = 1 << 14  # elements that one thread is done with before a second one has begun


def shared_out(kernel: Callable[..., None], *arguments: Any, items: int, width: int) -> None:
    """``kernel(*arguments, start, stop)`` over so many items of ``width`` elements, shared out among threads."""
    if items * width < _SMALL:
        kernel(*arguments, 0, items)
        return

    def work(parts: Iterator[tuple[int, int]]) -> None:
        for start, stop in parts:
            kernel(*arguments, start, stop)

    threads.run(work, threads.shares(0, items))


def distinct_rows(rows: _Ids) -> tuple[_Ids, _Ids, _Ids]:
    """The distinct rows of places [P, R], rising and without −1; and for each the places that have it, rising.

    Returns:
        ids: int64 [U].
        starts: int64 [U + 1]: the places of ids[i] are places[starts[i] : starts[i + 1]].
        places: int64 [n].
    """
    count, width = rows.shape
    pairs = np.empty((2, count * width, 2), np.int64)
    starts, ids = np.empty(count * width + 1, np.int64), np.empty(count * width, np.int64)
    n, side = _sorted_pairs(rows, pairs)
    distinct = _runs(pairs[side, :n], ids, starts)
    return ids[:distinct].copy(), starts[: distinct + 1].copy(), pairs[side, :n, 1].copy()


def _gather_rows(table: _Floats, rows: _Ids, into: _Floats, start: int, stop: int) -> None:
    """The sums of the rows [P, R] of the places start … stop − 1, in ``into`` [P, dim]; −1 is no row."""
    dim, width = table.shape[1], rows.shape[1]
    for place in range(start, stop):
        total = into[place]
        total[:] = 0
        for r in range(width):
            row = rows[place, r]
            if row >= 0:
                values = table[row]
                for j in range(dim):
                    total[j] += values[j]


def _sort_pairs(rows: _Ids, pairs: NDArray[np.int64]) -> tuple[int, int]:
    """(row, place) of every row [P, R] that is there, sorted; how many, and in which half of ``pairs`` [2, P·R, 2].

    By digits of 11 bits, the last first, each pass keeping the order of those that are alike: so places stay rising.
    """
    n, highest = 0, np.int64(0)
    for place in range(rows.shape[0]):
        for r in range(rows.shape[1]):
            row = rows[place, r]
            if row >= 0:
                pairs[0, n, 0], pairs[0, n, 1] = row, place
                highest = max(highest, row)
                n += 1
    side, shift = 0, 0
    counts = np.empty(2049, np.int64)
    while highest >> shift:
        source, target = pairs[side], pairs[1 - side]
        counts[:] = 0
        for i in range(n):
            counts[((source[i, 0] >> shift) & 2047) + 1] += 1
        for digit in range(2048):
            counts[digit + 1] += counts[digit]
        for i in range(n):
            digit = (source[i, 0] >> shift) & 2047
            at = counts[digit]
            target[at, 0], target[at, 1] = source[i, 0], source[i, 1]
            counts[digit] = at + 1
        side, shift = 1 - side, shift + 11
    return n, side


def _find_runs(pairs: NDArray[np.int64], ids: _Ids, starts: _Ids) -> int:
    """The distinct rows of sorted pairs, and where the pairs of each begin; how many."""
    distinct = 0
    for i in range(len(pairs)):
        if not i or pairs[i, 0] != ids[distinct - 1]:
            ids[distinct], starts[distinct] = pairs[i, 0], i
            distinct += 1
    starts[distinct] = len(pairs)
    return distinct


def _sum_gradients(grad: _Floats, starts: _Ids, places: _Ids, into: _Floats, start: int, stop: int) -> None:
    """The sums of ``grad`` [P, dim] over the places of the distinct rows start … stop − 1, in ``into`` [U, dim]."""
    dim = grad.shape[1]
    for i in range(start, stop):
        total = into[i]
        total[:] = grad[places[starts[i]]]
        for at in range(starts[i] + 1, starts[i + 1]):
            values = grad[places[at]]
            for j in range(dim):
                total[j] += values[j]


def _adam_rows(
    weight: _Floats,
    first: _Floats,
    second: _Floats,
    rows: _Ids,
    grads: _Floats,
    size: float,
    beta1: float,
    beta2: float,
    eps: float,
    start: int,
    stop: int,
) -> None:
    """Adam on the rows rows[start:stop] of a table and its moments [N, dim], each with its row of ``grads`` [U, dim].

    ``size`` is the learning rate with both corrections of bias: lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ).
    """
    rest1, rest2 = np.float32(1 - beta1), np.float32(1 - beta2)
    step, small = np.float32(-size), np.float32(eps)
    for i in range(start, stop):
        row = rows[i]
        w, m, v, g = weight[row], first[row], second[row], grads[i]
        for j in range(len(g)):
            mean = m[j] + (g[j] - m[j]) * rest1
            square = v[j] + (g[j] * g[j] - v[j]) * rest2
            m[j], v[j] = mean, square
            w[j] += np.true_divide(mean, np.sqrt(square) + small) * step  # `/` would look for a zero


_floats, _pairs = numba.float32[:, ::1], numba.int64[:, ::1]
_grads, _ids = numba.types.Array(numba.float32, 2, "C", readonly=True), numba.int64[::1]
_i, _f = numba.int64, numba.float64
gather = compiled(numba.void(_grads, numba.types.Array(_i, 2, "C", readonly=True), _floats, _i, _i), _gather_rows)
_sorted_pairs = compiled(
    numba.types.UniTuple(_i, 2)(numba.types.Array(_i, 2, "C", readonly=True), _i[:, :, ::1]), _sort_pairs
)
_runs = compiled(_i(_pairs, _ids, _ids), _find_runs)
gradients = compiled(numba.void(_grads, _ids, _ids, _floats, _i, _i), _sum_gradients)
adam = compiled(numba.void(_floats, _floats, _floats, _ids, _grads, _f, _f, _f, _f, _i, _i), _adam_rows)
