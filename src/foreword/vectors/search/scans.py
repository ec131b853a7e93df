"""Scans: of all rows those whose cosine with a query may still be among the best k, by intervals.

``scan_numpy`` and ``scan_compiled`` read the codes; ``Pool`` collects what any scan leaves over, float products of rows
too. A floor is compared in float32 here, so give it rounded down (``float32_below``).

Not for: which of these answers is right (``index`` scores them). Costs: see ``index``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreword.vectors.search import kernels
from foreword.vectors.search.assembly import STRIP
from foreword.vectors.search.codes import Codes, quantise_query
from foreword.vectors.search.cosines import BLOCK, Float64, Rows, float_slack, kth_largest

__all__ = ["Band", "Pool", "Scan", "scan_compiled", "scan_numpy"]

_ROOM = 16 * STRIP
"""Rows that a compiled scan first has room for: few enough that the memory is at hand, not mapped and given back."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Rows that a scan leaves over, with the ends of the interval that each one's cosine lies in."""

    rows: Rows
    lower: NDArray[np.floating]
    upper: NDArray[np.floating]

    @classmethod
    def room(cls, size: int) -> Band:
        """Room for so many rows."""
        return cls(np.empty(size, np.int64), np.empty(size, np.float32), np.empty(size, np.float32))

    def first(self, size: int) -> Band:
        """The first so many rows."""
        return Band(self.rows[:size], self.lower[:size], self.upper[:size])

    @classmethod
    def joined(cls, bands: list[Band]) -> Band:
        """The rows of several bands, of different rows."""
        if len(bands) == 1:
            return bands[0]
        rows, lower, upper = ([getattr(band, name) for band in bands] for name in ("rows", "lower", "upper"))
        return cls(np.concatenate(rows), np.concatenate(lower), np.concatenate(upper))

    def cut(self, k: int, floor: float) -> Band:
        """Only the rows that can be among the best k and reach ``floor``."""
        best = max(floor, kth_largest(self.lower, k))
        keep = self.upper >= best
        return self if keep.all() else Band(self.rows[keep], self.lower[keep], self.upper[keep])


class Pool:
    """The rows seen so far that can be among the best k, and the bound that a row must reach to join."""

    def __init__(self, k: int, floor: float) -> None:
        self._k, self._floor, self._bound, self._kept, self._limit = k, floor, floor, 0, 2 * k + 64
        self._parts: list[Band] = []

    def add(self, rows: slice | Rows, scores: NDArray[np.float32], slack: float | NDArray[np.float32]) -> None:
        """Take in rows whose cosines are within ``slack`` of ``scores``."""
        upper = scores + slack
        seen = np.flatnonzero(upper >= self._bound)
        if not len(seen):
            return
        lower = scores[seen] - (slack if isinstance(slack, float) else slack[seen])
        ids = seen + rows.start if isinstance(rows, slice) else rows[seen]
        self._parts.append(Band(ids, lower, upper[seen]))
        self._kept += len(seen)
        if self._kept > self._limit:
            band = self.band()
            self._parts, self._kept = [band], len(band.rows)
            self._bound = max(self._floor, kth_largest(band.lower, self._k))
            self._limit = 2 * self._kept + 64

    def band(self) -> Band:
        """What is left of all that was added."""
        if not self._parts:
            return Band.room(0)
        return Band.joined(self._parts).cut(self._k, self._floor)


Scan = Callable[[Iterator[tuple[int, int]]], Band]
"""Parts start…stop of the rows → the band of all of them; for ``threads.run``."""


def scan_numpy(codes: Codes, unit: Float64, k: int, floor: float) -> Scan:
    """A scan of codes as float32 blocks; the query is not rounded, the products are."""
    dim = len(unit)
    query = np.zeros(codes.codes.shape[1], dtype=np.float32)
    query[:dim] = unit
    rounding = float_slack(dim) * 2  # |s·c| may exceed 1 by e < 1
    step = max(1, BLOCK // len(query))

    def scan(parts: Iterator[tuple[int, int]]) -> Band:
        pool = Pool(k, floor)
        work = np.empty((step, len(query)), dtype=np.float32)
        for start, stop in parts:
            for i in range(start, stop, step):
                rows = slice(i, min(i + step, stop))
                block = work[: rows.stop - i]
                np.copyto(block, codes.codes[rows])
                scores = _products(block, query)
                scores *= codes.scales[rows]
                pool.add(rows, scores, codes.errors[rows] + np.float32(rounding))
        return pool.band()

    return scan


def _products(block: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """block @ query, row by row: BLAS on the whole block would start threads that wait for one another and ours."""
    if hasattr(np, "vecdot"):  # numpy 2
        return np.asarray(np.vecdot(block, query))
    return np.asarray(np.einsum("ij,j->i", block, query))


def scan_compiled(codes: Codes, unit: Float64, k: int, floor: float, compiled: kernels.Kernels) -> Scan:
    """A scan of codes by the compiled kernel; the query is rounded to 16 bits."""
    rounded = quantise_query(unit)
    query, bias = compiled.query(rounded.code)
    of_codes = (
        kernels.address(codes.codes, np.int8),
        codes.codes.shape[1],
        kernels.address(codes.scales, np.float32),
        kernels.address(codes.errors, np.float32),
    )
    by_numpy = scan_numpy(codes, unit, k, floor)

    def scan(parts: Iterator[tuple[int, int]]) -> Band:
        best, kept = np.full(k, -np.inf, dtype=np.float32), np.zeros(1, dtype=np.int64)
        best_at, kept_at = kernels.address(best, np.float32), kernels.address(kept, np.int64)
        few: list[Band] = []
        found = Band.room(4 * k + _ROOM)
        for start, stop in parts:
            if stop < STRIP:
                few.append(by_numpy(iter([(start, stop)])))
                continue
            while (
                start := compiled.scan(
                    *of_codes, query.ctypes.data, bias, rounded.scale, rounded.error, floor,
                    start, stop, best_at, k, kept_at, len(found.rows),
                    found.rows.ctypes.data, found.lower.ctypes.data, found.upper.ctypes.data,
                )
            ) < stop:  # fmt: skip
                # Full: what later rows have overtaken goes; the rest moves where there is room for as much again.
                band = found.first(kept[0]).cut(k, floor)
                kept[0] = len(band.rows)
                found = Band.joined([band, Band.room(len(band.rows) + _ROOM)])
        return Band.joined([found.first(kept[0]), *few])

    return scan
