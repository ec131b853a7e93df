"""Many queries at once: for each the rows whose cosine may be among its best k.

By a compiled kernel over the codes where the processor adds up products of bytes, else by matrix products of rows. Rows
meet queries in blocks that stay in a core's cache; what is kept of a block are the pairs whose interval reaches their
query's bound, the k-th best lower end so far. So memory is a few megabytes a thread, whatever the number of rows and
queries.

Not for: scoring what is left over (``index``). Costs: 400,000 × 50 in 0.1 ms of two cores a query by codes, 0.4 by
products, from some hundred queries on.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.vectors.search import kernels
from foreword.vectors.search.assembly_many import ROWS
from foreword.vectors.search.codes import Codes, quantise_query
from foreword.vectors.search.cosines import BLOCK, Float64, Rows, float_slack, kth_largest

if TYPE_CHECKING:
    from foreword.vectors.search.index import Index

__all__ = ["at_once", "pairs"]

_QUERIES = 256  # at once: enough that a product is worth its rows' reading, few enough for tiles of many rows
_KEPT = 1 << 19  # pairs of a row and a query that a thread may keep: 8 MB
_FEW_ROWS, _MANY_ROWS = 256, 4096  # of a block of products
_CODES = 1 << 19  # bytes of a block of codes: they are read once for each tile of queries
_LEVELS = 127  # of a query beside codes
_SMALL = 1 << 26  # products below which a second thread costs more than it saves


def at_once(reach: int) -> int:
    """How many queries to give to ``pairs`` at once where each wants ``reach`` rows."""
    return max(1, min(_QUERIES, _KEPT // (8 * reach)))


class _Pool:
    """The (row, query) pairs seen so far that can be among a query's best k, and the bounds that they must reach.

    A pair is kept as ``row · count + query``, with the ends of the interval that its cosine lies in.
    """

    def __init__(self, count: int, k: int, floor: float) -> None:
        self._count, self._k = count, k
        self.bounds = np.full(count, floor, dtype=np.float32)  # of upper ends
        self._parts: list[tuple[Rows, NDArray[np.float32], NDArray[np.float32]]] = []
        self._kept, self._limit = 0, 2 * k * count
        self.crowded = False

    def add(self, pairs: Rows, lower: NDArray[np.float32], upper: NDArray[np.float32]) -> None:
        """Take in pairs; raises the bounds now and then."""
        if len(pairs):
            self._parts.append((pairs, lower, upper))
            self._kept += len(pairs)
            if self._kept > self._limit:
                self.tighten()

    def tighten(self) -> None:
        """Raise the bounds to the best k seen, and drop what is below them."""
        if not self._parts:
            return
        pairs, lower, upper = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        query = (pairs % self._count).astype(np.int16)
        order = np.argsort(query, kind="stable")
        pairs, lower, upper, query = pairs[order], lower[order], upper[order], query[order]
        ends = np.searchsorted(query, np.arange(self._count + 1)).tolist()
        best = [kth_largest(lower[a:b], self._k) for a, b in itertools.pairwise(ends)]
        np.maximum(self.bounds, np.array(best, dtype=np.float32), out=self.bounds)
        keep = upper >= self.bounds[query]
        self._parts = [(pairs[keep], lower[keep], upper[keep])]
        self._kept = int(keep.sum())
        self._limit = 2 * self._kept + 64
        self.crowded = self._kept > _KEPT

    def join(self, others: list[_Pool]) -> tuple[Rows, Rows] | None:
        """(query, row) of every pair that this pool, or others of other rows, have kept; None if one is crowded."""
        for other in others:
            self._parts += other._parts
            self.crowded |= other.crowded
        if self.crowded:
            return None
        self.tighten()
        kept = self._parts[0][0] if self._parts else np.empty(0, np.int64)
        return kept % self._count, kept // self._count


_Scan = Callable[[Iterator[tuple[int, int]]], _Pool]
"""Parts start…stop of the rows → the pool of all of them; for ``threads.run``."""


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
    compiled = kernels.ready() if among is None and index.codes is not None and len(index.rows) >= ROWS else None
    blas: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if compiled is not None and compiled.how.tile and index.codes is not None:
        scan = _of_codes(index.codes, units, k, floor, compiled)
    else:
        scan, blas = _of_rows(index, units, k, among, floor), threads.serial_blas()
    count, dim = units.shape
    if (last - first) * count * dim < _SMALL:
        found = scan(iter([(first, last)])).join([])
    else:
        with blas:
            pools = threads.run(scan, threads.shares(first, last))
        found = pools[0].join(pools[1:])
    if found is None or among is None:
        return found
    return found[0], among[found[1]]


def _of_codes(codes: Codes, units: Float64, k: int, floor: float, compiled: kernels.Kernels) -> _Scan:
    """A scan of codes by the compiled kernel; the queries are rounded to bytes, as the rows are."""
    count, width, tile = len(units), codes.codes.shape[1], compiled.how.tile
    rounded = [quantise_query(unit, levels=_LEVELS) for unit in units]
    tiles, starts = compiled.tiles(np.stack([query.code for query in rounded]).astype(np.int8))
    scales, errors, bounds = np.zeros((3, len(tiles), tile), dtype=np.float32)
    scales.reshape(-1)[:count] = [query.scale for query in rounded]
    errors.reshape(-1)[:count] = np.nextafter([query.error for query in rounded], np.inf, dtype=np.float32)
    bounds[:] = np.inf  # where no query is
    of_codes = (
        kernels.address(codes.codes, np.int8),
        width,
        kernels.address(codes.scales, np.float32),
        kernels.address(codes.errors, np.float32),
    )
    room = 1 << 16
    height = max(64, _CODES // width)

    def scan(parts: Iterator[tuple[int, int]]) -> _Pool:
        pool = _Pool(count, k, floor)
        pairs, lower, upper = np.empty(room, np.int64), np.empty(room, np.float32), np.empty(room, np.float32)
        kept, mine, most = np.zeros(1, np.int64), bounds.copy(), 64
        tiled = [
            [array[i].ctypes.data for array in (tiles, starts.reshape(-1, tile), scales, errors, mine)]
            for i in range(len(tiles))
        ]
        kept_at, found_at = kept.ctypes.data, [array.ctypes.data for array in (pairs, lower, upper)]
        for start, stop in parts:
            first = start
            while first < stop and not pool.crowded:
                last = min(first + most, stop)
                for i in range(len(tiles)):
                    mine.reshape(-1)[:count] = pool.bounds
                    row = first
                    while row < last:
                        kept[0] = 0
                        row = compiled.pairs(*of_codes, *tiled[i], row, last, count, i * tile, kept_at, room, *found_at)
                        part = slice(kept[0])
                        pool.add(pairs[part].copy(), lower[part].copy(), upper[part].copy())
                first, most = last, min(4 * most, height)  # few rows at first, while all of them reach the bounds
        return pool

    return scan


def _of_rows(index: Index, units: Float64, k: int, among: Rows | None, floor: float) -> _Scan:
    """A scan of the rows themselves, by matrix products; their cosines are the products ± slack."""
    count, dim = units.shape
    queries = np.ascontiguousarray(units.T.astype(np.float32))
    height = max(_FEW_ROWS, min(_MANY_ROWS, BLOCK // count))
    slack = np.float32(float_slack(dim + 4))  # the ends are rounded, too

    def scan(parts: Iterator[tuple[int, int]]) -> _Pool:
        pool = _Pool(count, k, floor)
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
                    upper = np.add(products[:m], slack, out=products[:m])
                    at = np.flatnonzero(np.greater_equal(upper, pool.bounds, out=mask[:m]))
                    ends = upper.reshape(-1)[at]
                    pool.add(at + (start + i) * count, ends - 2 * slack, ends)
                start += len(block)  # noqa: PLW2901
        return pool

    return scan
