"""Who is near whom: for every row its nearest others, by their inner product.

Rows are parted into lists around centres. A row is compared with the rows of the sixteen lists that lie nearest to its
own; up to some 13,000 rows that is all of them. So a few of the true neighbours are missed where there are more rows:
good enough to draw, not to answer (``search``).

Not for: places (``placing``). Costs: N × 13,000 × D, some 20 s of two cores for 400,000 × 50.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.vectors.layout import kernel
from foreword.vectors.layout.coarse import clusters

__all__ = ["edges", "neighbours"]

Floats = NDArray[np.float32]

_LIST, _PROBES = 800, 16  # rows of a list, and lists that a row is compared with
_SAMPLE = 40  # rows that a centre is found by
_QUERIES, _CANDIDATES = 512, 2048  # of one product: 4 MB


def neighbours(rows: Floats, k: int, tick: Callable[[float], None] = lambda _: None) -> NDArray[np.int32]:
    """The ``k`` rows nearest to each row of [N, D], the nearest first: int32 [N, k].

    Args:
        rows: float32, unit rows.
        k: how many, below N.
        tick: is given the share of the work that was done since the last call.
    """
    count = len(rows)
    lists = max(1, count // _LIST)
    rng = np.random.default_rng(0)
    sample = rng.choice(count, min(count, _SAMPLE * lists), replace=False)
    with threads.serial_blas():
        centres = clusters(rows[np.sort(sample)], lists, rounds=8)[1] if lists > _PROBES else rows[:1]
        parts = np.concatenate([(rows[i : i + 8192] @ centres.T).argmax(axis=1) for i in range(0, count, 8192)])
        order = np.argsort(parts, kind="stable").astype(np.int32)
        members = np.split(order, np.searchsorted(parts[order], np.arange(1, len(centres))))
        close = np.argsort(-(centres @ centres.T), axis=1, kind="stable")[:, :_PROBES]
        best = np.zeros((count, k), np.int32)

        def work(numbers: Iterator[int]) -> None:
            for number in numbers:
                candidates = np.sort(np.concatenate([members[one] for one in close[number]]))
                _nearest_of(rows, members[number], candidates, best)
                tick(len(members[number]) / count)

        threads.run(work, range(len(members)))
    return best


def _nearest_of(
    rows: Floats, queries: NDArray[np.int32], candidates: NDArray[np.int32], best: NDArray[np.int32]
) -> None:
    """The neighbours of ``queries`` among ``candidates``: into ``best`` [N, k]."""
    for i in range(0, len(queries), _QUERIES):
        own = queries[i : i + _QUERIES]
        found = np.zeros((len(own), best.shape[1]), np.int32)
        score = np.full(found.shape, -np.inf, np.float32)
        for j in range(0, len(candidates), _CANDIDATES):
            others = candidates[j : j + _CANDIDATES]
            kernel.keep_best(rows[own] @ rows[others].T, others, own, found, score)
        missing = ~np.isfinite(score)  # fewer candidates than neighbours: the nearest once more
        found[missing] = np.broadcast_to(found[:, :1], found.shape)[missing]
        best[own] = found


def edges(near: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """Neighbours, int32 [N, k], as edges in both directions: starts [N + 1], the other ends, and weights.

    An edge weighs 1 for each end that has the other among its neighbours; all weights together are 1.
    """
    count, k = near.shape
    one = np.repeat(np.arange(count), k)
    other = near.ravel().astype(np.int64)
    code, times = np.unique(np.concatenate([one * count + other, other * count + one]), return_counts=True)
    ends, others = np.divmod(code, count)
    starts = np.searchsorted(ends, np.arange(count + 1)).astype(np.int64)
    return starts, others.astype(np.int32), (times / times.sum()).astype(np.float32)
