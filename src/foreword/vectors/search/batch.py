"""Many queries at once: for each the rows whose cosine may be among its best k, by matrix products.

Rows meet queries in tiles of some hundred thousand products, which stay in a core's cache; what is kept of a tile are
the products that reach their query's bound, the k-th best so far. So memory is a few megabytes a thread, whatever the
number of rows and queries.

Not for: scoring what is left over (``index``). Costs: 400,000 × 50 in 0.7 ms of one core a query, from some hundred
queries on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.vectors.search.cosines import BLOCK, Float64, Rows, float32_below, float_slack, kth_largest

if TYPE_CHECKING:
    from foreword.vectors.search.index import Index

__all__ = ["at_once", "pairs"]

_QUERIES = 256  # at once: enough that a product is worth its rows' reading, few enough for tiles of many rows
_KEPT = 1 << 19  # pairs of a row and a query that a thread may keep: 6 MB
_FEW_ROWS, _MANY_ROWS = 256, 4096  # of a tile
_SMALL = 1 << 26  # products below which a second thread costs more than it saves


def at_once(reach: int) -> int:
    """How many queries to give to ``pairs`` at once where each wants ``reach`` rows."""
    return max(1, min(_QUERIES, _KEPT // (8 * reach)))


class _Pool:
    """The (row, query) pairs seen so far that can be among a query's best k, and the bounds that they must reach.

    A pair is kept as ``row · count + query``, with its product.
    """

    def __init__(self, count: int, k: int, floor: float, slack: float) -> None:
        self._count, self._k, self._slack = count, k, slack
        # A row's cosine is its product ± slack.
        self._bounds = np.full(count, float32_below(floor - slack), dtype=np.float32)
        self._pairs: list[Rows] = []
        self._products: list[NDArray[np.float32]] = []
        self._kept, self._limit = 0, 2 * k * count
        self.crowded = False

    def add(self, start: int, products: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Products float32 [rows, count] of the rows from ``start`` on; ``mask`` is room for as many."""
        at = np.flatnonzero(np.greater_equal(products, self._bounds, out=mask))
        if len(at):
            self._products.append(products.reshape(-1)[at])
            at += start * self._count
            self._pairs.append(at)
            self._kept += len(at)
            if self._kept > self._limit:
                self.tighten()

    def tighten(self) -> None:
        """Raise the bounds to the best k seen, and drop what is below them."""
        if not self._pairs:
            return
        pairs, products = np.concatenate(self._pairs), np.concatenate(self._products)
        query = (pairs % self._count).astype(np.int16)
        order = np.argsort(query, kind="stable")
        pairs, products, query = pairs[order], products[order], query[order]
        ends = np.searchsorted(query, np.arange(self._count + 1)).tolist()
        best = np.array([kth_largest(products[a:b], self._k) for a, b in itertools.pairwise(ends)], dtype=np.float64)
        # The k-th best cosine is at least its product less the slack, and who may reach that is so much less again.
        lowest = np.nextafter((best - 2 * self._slack).astype(np.float32), np.float32(-np.inf))
        np.maximum(self._bounds, lowest, out=self._bounds)
        keep = products >= self._bounds[query]
        self._pairs, self._products = [pairs[keep]], [products[keep]]
        self._kept = len(self._pairs[0])
        self._limit = 2 * self._kept + 64
        self.crowded = self._kept > _KEPT

    def join(self, others: list[_Pool]) -> tuple[Rows, Rows] | None:
        """(query, row) of every pair that this pool, or others of other rows, have kept; None if one is crowded."""
        for other in others:
            self._pairs += other._pairs
            self._products += other._products
            self.crowded |= other.crowded
        if self.crowded:
            return None
        self.tighten()
        kept = self._pairs[0] if self._pairs else np.empty(0, np.int64)
        return kept % self._count, kept // self._count


def pairs(
    index: Index, units: Float64, k: int, first: int, last: int, among: Rows | None, floor: float
) -> tuple[Rows, Rows] | None:
    """(query, row) of every row that may be among a query's best k and reach ``floor``.

    Args:
        index: the rows.
        units: float64 [Q, D], at most ``at_once(k)`` unit queries.
        k: how many rows each query wants.
        first: search the rows from here on; with ``among`` its places.
        last: search the rows before this one; with ``among`` its places.
        among: the rows to search, or None for all.
        floor: leave out rows whose cosine is less.

    Returns:
        Two arrays int64; None where so many rows are equally near that there is no room for them.
    """
    count, dim = units.shape
    queries = np.ascontiguousarray(units.T.astype(np.float32))
    height = max(_FEW_ROWS, min(_MANY_ROWS, BLOCK // count))

    def scan(parts: Iterator[tuple[int, int]]) -> _Pool:
        pool = _Pool(count, k, floor, float_slack(dim))
        scaled = np.empty((height, dim), dtype=np.float32)
        products, mask = np.empty((height, count), dtype=np.float32), np.empty((height, count), dtype=np.bool_)
        for start, stop in parts:
            for _, block, inverse in index.blocks(start, stop, among):
                for i in range(0, len(block), height):
                    if pool.crowded:
                        return pool
                    m = min(height, len(block) - i)
                    np.multiply(block[i : i + m], inverse[i : i + m, None], out=scaled[:m])
                    np.matmul(scaled[:m], queries, out=products[:m])
                    pool.add(start + i, products[:m], mask[:m])
                start += len(block)  # noqa: PLW2901
        return pool

    if (last - first) * count * dim < _SMALL:
        found = scan(iter([(first, last)])).join([])
    else:
        with threads.serial_blas():
            pools = threads.run(scan, threads.shares(first, last))
        found = pools[0].join(pools[1:])
    if found is None or among is None:
        return found
    return found[0], among[found[1]]
