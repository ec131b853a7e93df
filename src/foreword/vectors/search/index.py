"""Search: the k rows of a matrix whose cosine with a query is largest, exactly.

In two steps. A *scan* gives every row an interval that its cosine lies in and keeps the rows that can still be among
the best k (``codes.py`` has the proof). What is left, a few dozen rows, is *scored* in float64, sorted, ties to the
lower row, and cut to k. Every scan keeps all the rows that matter, and scores depend on the row and the query alone, so
the answer is the same, bit for bit, by whichever scan, in however many threads, alone or in a batch:

    codes, by a compiled kernel       the fastest; see ``kernels.py`` for when it is there
    codes, by numpy                   until then, and where numba can't run
    float rows, by matrix products    no codes (small or edited vectors), chosen rows only, batches

A row of zeros scores 0 with every query, and every row scores 0 with a query of zeros.

Not for: keys (``keyed_vectors.py`` turns rows into words) or approximate answers. Costs: one pass over the codes, a
quarter of the matrix: 400,000 × 300 in about 3 ms on two cores. Any number of threads may search one index at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.errors import ArgumentError
from foreword.vectors.search import kernels
from foreword.vectors.search.codes import Codes, quantise_query

__all__ = ["Hits", "Index", "cosines", "float_slack", "rising", "unit_query"]

Float64 = NDArray[np.float64]
Rows = NDArray[np.int64]

_EPSILON = 2.0**-24
_BLOCK = 1 << 17  # elements that a numpy scan works on at once: ½ MB of float32, in the second-level cache
_SMALL = 1 << 20  # elements below which a second thread costs more than it saves
_TINY, _HUGE = 1e-15, 1e15  # norms outside these might lose a float32 product to under- or overflow


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The answer to one query, best first.

    Attributes:
        rows: int64 [k].
        scores: float64 [k], cosines in −1…1.
    """

    rows: Rows
    scores: Float64


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """Rows that a scan leaves over, with the ends of the interval that each one's cosine lies in."""

    rows: Rows
    lower: NDArray[np.floating]
    upper: NDArray[np.floating]

    @classmethod
    def room(cls, size: int) -> _Band:
        """Room for so many rows."""
        return cls(np.empty(size, np.int64), np.empty(size, np.float32), np.empty(size, np.float32))

    def first(self, size: int) -> _Band:
        return _Band(self.rows[:size], self.lower[:size], self.upper[:size])

    @classmethod
    def joined(cls, bands: list[_Band]) -> _Band:
        if len(bands) == 1:
            return bands[0]
        rows, lower, upper = ([getattr(band, name) for band in bands] for name in ("rows", "lower", "upper"))
        return cls(np.concatenate(rows), np.concatenate(lower), np.concatenate(upper))

    def cut(self, k: int, floor: float) -> _Band:
        """Only the rows that can be among the best k and reach ``floor``."""
        best = max(floor, _kth_largest(self.lower, k))
        keep = self.upper >= best
        return self if keep.all() else _Band(self.rows[keep], self.lower[keep], self.upper[keep])


class Index:
    """Rows to be searched.

    Args:
        rows: float [N, D], finite; float16, float32 or float64, maybe mapped. Not copied, so not to be changed.
        norms: float32 [N], the rows' Euclidean norms.
        codes: what ``quantise`` made of these very rows, or None to search the rows themselves.
    """

    def __init__(self, rows: NDArray[np.floating], norms: NDArray[np.float32], codes: Codes | None = None) -> None:
        self.rows = rows
        self.codes = codes
        self._norms = norms

    def nearest(
        self,
        query: NDArray[np.floating],
        k: int,
        *,
        start: int = 0,
        stop: int | None = None,
        exclude: Rows | None = None,
        among: Rows | None = None,
        at_least: float = -np.inf,
    ) -> Hits:
        """The k rows of largest cosine with ``query``.

        Args:
            query: float [D], finite, of any length.
            k: how many; fewer come back where fewer qualify.
            start, stop: search rows start…stop−1 only.
            exclude: rows to leave out.
            among: search these rows only; sorted, each once.
            at_least: leave out what scores less.
        """
        stop = len(self.rows) if stop is None else min(stop, len(self.rows))
        exclude = _inside(exclude, start, stop)
        among = _admitted(start, stop, exclude, among)
        if among is not None:
            exclude = among[:0]
        count = max(stop - start, 0) if among is None else len(among)
        wanted = min(k, count - len(exclude))
        unit = unit_query(query, self.rows.shape[1])
        if wanted <= 0:
            return Hits(np.empty(0, np.int64), np.empty(0))
        reach = wanted + len(exclude)
        if not unit.any():  # all score 0: the first ones win
            band = np.arange(start, start + reach) if among is None else among[:reach]
        elif reach * 4 > count:
            band = np.arange(start, stop) if among is None else among
        else:
            band = self._band(unit, reach, start, stop, among, at_least).rows
        if len(exclude):
            band = _without(band, exclude)
        return self._best(unit, band, wanted, at_least)

    def nearest_batch(
        self,
        queries: NDArray[np.floating],
        k: int,
        *,
        start: int = 0,
        stop: int | None = None,
        exclude: list[Rows] | None = None,
        among: Rows | None = None,
        at_least: float = -np.inf,
    ) -> list[Hits]:
        """``nearest`` of every query of float [B, D], by matrix products: the same answers, sooner.

        ``exclude`` has one array of rows a query; the other options hold for all of them.
        """
        stop = len(self.rows) if stop is None else min(stop, len(self.rows))
        units = np.stack([unit_query(query, self.rows.shape[1]) for query in queries])
        excludes = [_inside(rows, start, stop) for rows in (exclude or [np.empty(0, np.int64)] * len(units))]
        among = _admitted(start, stop, np.empty(0, np.int64), among)
        count = max(stop - start, 0) if among is None else len(among)
        reach = k + max(map(len, excludes))
        if count == 0 or k <= 0 or reach * 4 > count or reach > _MANY:
            return [
                self.nearest(query, k, start=start, stop=stop, exclude=left_out, among=among, at_least=at_least)
                for query, left_out in zip(queries, excludes, strict=True)
            ]
        bands = self._band_batch(units, reach, start, stop, among, at_least)
        return [
            self._best(unit, _without(band, left_out), k, at_least)
            for unit, band, left_out in zip(units, bands, excludes, strict=True)
        ]

    def scores(self, query: NDArray[np.floating], start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The cosine of every row start…stop−1 with ``query``: float32 [stop − start]."""
        stop = len(self.rows) if stop is None else min(stop, len(self.rows))
        unit = unit_query(query, self.rows.shape[1])
        found = [score for _, score in self._float_scores(unit, start, max(start, stop), None)]
        return np.clip(np.concatenate(found), -1, 1) if found else np.empty(0, np.float32)

    def exact(self, unit: Float64, rows: Rows) -> Float64:
        """The cosines of chosen rows with a unit query, float64; each depends on its row and the query alone."""
        scores = np.empty(len(rows))
        step = max(1, _BLOCK // max(self.rows.shape[1], 1))
        for i in range(0, len(rows), step):
            scores[i : i + step] = cosines(self.rows[rows[i : i + step]], unit)
        return scores

    def _best(self, unit: Float64, band: Rows, k: int, at_least: float) -> Hits:
        scores = self.exact(unit, band)
        if at_least > -np.inf:
            band, scores = band[scores >= at_least], scores[scores >= at_least]
        order = np.lexsort((band, -scores))[:k]
        return Hits(band[order], scores[order])

    # Scans: each gives at least every row that can be among the best k of the rows it was given.

    def _band(self, unit: Float64, k: int, start: int, stop: int, among: Rows | None, floor: float) -> _Band:
        if self.codes is None or among is not None or k > _MANY:
            return self._scan_rows(unit, k, start, stop, among, floor)
        codes = self.codes
        began = time.perf_counter()
        compiled = kernels.ready()
        scan = _scan_compiled(codes, unit, k, floor, compiled) if compiled else _scan_numpy(codes, unit, k, floor)
        small = codes.codes[start:stop].size < _SMALL
        bands = threads.run(scan, [(start, stop)] if small else threads.shares(start, stop))
        if not compiled:
            kernels.missed(time.perf_counter() - began)
        band = _Band.joined(bands).cut(k, floor)
        if len(band.rows) > 4 * k + 1024:  # many near each other: float32 products part them at less cost than float64
            band = self._scan_rows(unit, k, start, stop, np.sort(band.rows), floor)
        return band

    def _scan_rows(self, unit: Float64, k: int, start: int, stop: int, among: Rows | None, floor: float) -> _Band:
        pool = _Pool(k, floor)
        slack = float_slack(len(unit))
        for rows, scores in self._float_scores(unit, start, stop, among):
            pool.add(rows, scores, slack)
        return pool.band()

    def _float_scores(
        self, unit: Float64, start: int, stop: int, among: Rows | None
    ) -> Iterator[tuple[slice | Rows, NDArray[np.float32]]]:
        query = unit.astype(np.float32)
        for rows, block, inverse in self.blocks(start, stop, among):
            with np.errstate(invalid="ignore", over="ignore"):
                scores = block @ query
                scores *= inverse
            self._mend(scores, rows, inverse, unit)
            yield rows, scores

    def blocks(
        self, start: int, stop: int, among: Rows | None = None, *, rows_at_once: int | None = None
    ) -> Iterator[tuple[slice | Rows, NDArray[np.float32], NDArray[np.float32]]]:
        """Blocks of rows as float32 with their inverse norms; NaN marks a norm that float32 can't be trusted with."""
        step = rows_at_once or max(1, 8 * _BLOCK // max(self.rows.shape[1], 1))
        first, last = (start, stop) if among is None else (0, len(among))
        for i in range(first, last, step):
            j = min(i + step, last)
            rows: slice | Rows = slice(i, j) if among is None else among[i:j]
            norms = self._norms[rows]
            fine = (norms > _TINY) & (norms < _HUGE)
            inverse = np.full(j - i, np.nan, dtype=np.float32)
            np.divide(1, norms, out=inverse, where=fine)
            with np.errstate(over="ignore"):  # float64 rows beyond float32 are among those not trusted
                block = self.rows[rows].astype(np.float32, copy=False)
            yield rows, block, inverse

    def _mend(
        self, scores: NDArray[np.float32], rows: slice | Rows, inverse: NDArray[np.float32], units: Float64
    ) -> None:
        """Score again, in float64, the rows of a block whose norm float32 can't be trusted with."""
        odd = np.flatnonzero(np.isnan(inverse))
        if len(odd):
            block = self.rows[rows][odd]
            scores[odd] = (
                cosines(block, units) if units.ndim == 1 else np.stack([cosines(block, u) for u in units], axis=1)
            )

    def _band_batch(
        self, units: Float64, k: int, start: int, stop: int, among: Rows | None, floor: float
    ) -> list[Rows]:
        queries = np.ascontiguousarray(units.T.astype(np.float32))
        slack = float_slack(units.shape[1])

        def scan(parts: Iterator[tuple[int, int]]) -> _BatchPool:
            pool = _BatchPool(len(units), k, floor, slack)
            for first, last in parts:
                chosen = None if among is None else among[first:last]
                for rows, block, inverse in self.blocks(first, last, chosen):
                    with np.errstate(invalid="ignore", over="ignore"):
                        scores = block @ queries
                        scores *= inverse[:, None]
                    self._mend(scores, rows, inverse, units)
                    pool.add(rows, scores)
            return pool

        first, last = (start, stop) if among is None else (0, len(among))
        if (last - first) * queries.size < 64 * _SMALL:
            return scan(iter([(first, last)])).bands()
        with threads.serial_blas():
            pools = threads.run(scan, threads.split(first, last))
        return pools[0].joined(pools[1:]).bands()


_MANY = 1024
"""Beyond so many wanted rows a running threshold is no longer cheap."""

_ROOM = 16 * kernels.STRIP
"""Rows that a compiled scan first has room for: few enough that the memory is at hand, not mapped and given back."""


class _Pool:
    """The rows seen so far that can be among the best k, and the bound that a row must reach to join."""

    def __init__(self, k: int, floor: float) -> None:
        self._k, self._floor, self._bound, self._kept, self._limit = k, floor, floor, 0, 2 * k + 64
        self._parts: list[_Band] = []

    def add(self, rows: slice | Rows, scores: NDArray[np.float32], slack: float | NDArray[np.float32]) -> None:
        upper = scores + slack
        seen = np.flatnonzero(upper >= self._bound)
        if not len(seen):
            return
        lower = scores[seen] - (slack if isinstance(slack, float) else slack[seen])
        ids = seen + rows.start if isinstance(rows, slice) else rows[seen]
        self._parts.append(_Band(ids, lower, upper[seen]))
        self._kept += len(seen)
        if self._kept > self._limit:
            band = self.band()
            self._parts, self._kept = [band], len(band.rows)
            self._bound = max(self._floor, _kth_largest(band.lower, self._k))
            self._limit = 2 * self._kept + 64

    def band(self) -> _Band:
        if not self._parts:
            return _Band.room(0)
        return _Band.joined(self._parts).cut(self._k, self._floor)


class _BatchPool:
    """A ``_Pool`` for many queries at once: bounds are raised only as the rows seen double, all of them together."""

    def __init__(self, count: int, k: int, floor: float, slack: float) -> None:
        self._count, self._k, self._floor, self._slack = count, k, floor, slack
        self._bounds = np.full(count, floor, dtype=np.float32)
        self._parts: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
        self._seen, self._due = 0, 1

    def add(self, rows: slice | Rows, scores: NDArray[np.float32]) -> None:
        which, query = np.nonzero(scores >= self._bounds)
        ids = which + rows.start if isinstance(rows, slice) else rows[which]
        self._parts.append((query, ids, scores[which, query]))
        self._seen += 1
        if self._seen >= self._due:
            self._due *= 2
            self._tighten()

    def _tighten(self) -> None:
        query, ids, scores = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        order = np.argsort(query, kind="stable")
        query, ids, scores = query[order], ids[order], scores[order]
        ends = np.searchsorted(query, np.arange(self._count + 1))
        keep = np.zeros(len(query), dtype=bool)
        for q in range(self._count):
            mine = slice(ends[q], ends[q + 1])
            # A row's cosine is its score ± slack, so what matters scores above the k-th best less twice the slack.
            bound = max(self._floor - self._slack, _kth_largest(scores[mine], self._k) - 2 * self._slack)
            self._bounds[q] = np.nextafter(np.float32(bound), np.float32(-np.inf))
            keep[mine] = scores[mine] >= self._bounds[q]
        self._parts = [(query[keep], ids[keep], scores[keep])]

    def joined(self, others: list[_BatchPool]) -> _BatchPool:
        """This pool with what others kept of other rows."""
        for other in others:
            self._parts += other._parts
        return self

    def bands(self) -> list[Rows]:
        self._tighten()
        query, ids, _ = self._parts[0]
        ends = np.searchsorted(query, np.arange(self._count + 1))
        return [ids[ends[q] : ends[q + 1]] for q in range(self._count)]


def _scan_numpy(codes: Codes, unit: Float64, k: int, floor: float) -> Any:
    """A scan of codes as float32 blocks; the query is not rounded, the products are."""
    dim = len(unit)
    query = np.zeros(codes.codes.shape[1], dtype=np.float32)
    query[:dim] = unit
    rounding = float_slack(dim) * 2  # |s·c| may exceed 1 by e < 1
    step = max(1, _BLOCK // len(query))

    def scan(parts: Iterator[tuple[int, int]]) -> _Band:
        pool = _Pool(k, floor)
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


def _scan_compiled(codes: Codes, unit: Float64, k: int, floor: float, compiled: kernels.Kernels) -> Any:
    query = quantise_query(unit)

    def scan(parts: Iterator[tuple[int, int]]) -> _Band:
        best, kept = np.full(k, -np.inf, dtype=np.float32), np.zeros(1, dtype=np.int64)
        found = _Band.room(4 * k + _ROOM)
        for start, stop in parts:
            while (
                start := compiled.scan(
                    codes.codes, codes.scales, codes.errors, query.code, query.scale, query.error, start, stop, floor,
                    best, kept, found.rows, found.lower, found.upper,
                )
            ) < stop:  # fmt: skip
                # Full: what later rows have overtaken goes; the rest moves where there is room for as much again.
                band = found.first(kept[0]).cut(k, floor)
                kept[0] = len(band.rows)
                found = _Band.joined([band, _Band.room(len(band.rows) + _ROOM)])
        return found.first(kept[0])

    return scan


def cosines(rows: NDArray[np.floating], unit: Float64) -> Float64:
    """The cosine of each row, float [n, D], with a unit query, in float64; 0 for a row of zeros.

    Sums run along each row in numpy's pairwise order, so a row's score doesn't depend on the rows beside it.
    """
    exact = np.ascontiguousarray(rows, dtype=np.float64)
    largest = np.abs(exact).max(axis=1, initial=0.0)
    exact = exact * np.ldexp(1.0, -np.frexp(largest)[1])[:, None]  # a power of two: no square can over- or underflow
    norms = np.sqrt((exact * exact).sum(axis=1))
    dots = (exact * unit).sum(axis=1)
    scores: Float64 = np.divide(dots, norms, out=np.zeros(len(exact)), where=norms > 0)
    return np.clip(scores, -1.0, 1.0, out=scores)


def unit_query(query: NDArray[np.floating], dim: int) -> Float64:
    """``query`` scaled to length 1 in float64; a query of zeros stays so.

    Raises:
        ArgumentError: it is not one vector of ``dim`` finite numbers.
    """
    vector = np.asarray(query, dtype=np.float64)
    if vector.shape != (dim,):
        raise ArgumentError("a query is one vector", got=f"shape {vector.shape}", expected=f"shape ({dim},)")
    largest = float(np.abs(vector).max(initial=0.0))
    if not np.isfinite(largest):
        raise ArgumentError("a query must be finite", got="NaN or infinity")
    if largest == 0.0:
        return vector
    vector = vector * np.ldexp(1.0, -int(np.frexp(largest)[1]))
    return np.asarray(vector / np.sqrt((vector * vector).sum()))


def float_slack(dim: int) -> float:
    """How far a float32 product of unit vectors of ``dim`` elements can be from their cosine.

    The sum errs by at most D·ε/(1 − D·ε) (Higham, Accuracy and Stability of Numerical Algorithms, 3.1) in any order;
    the query's rounding, the norm, its inverse and the last product by 6ε together.
    """
    return 1.01 * (dim + 8) * _EPSILON


def _kth_largest(values: NDArray[np.floating], k: int) -> float:
    return float(np.partition(values, len(values) - k)[len(values) - k]) if len(values) >= k else -np.inf


def rising(rows: Rows) -> Rows:
    """``rows`` sorted, each once; as numpy's ``unique``, which loads numpy.ma, 5 ms of a first query."""
    rows = np.sort(rows)
    new = np.ones(len(rows), np.bool_)
    new[1:] = rows[1:] != rows[:-1]
    return rows[new]


def _without(rows: Rows, left_out: Rows) -> Rows:
    """``rows`` less those in ``left_out``, which is sorted."""
    if len(left_out) == 0:
        return rows
    place = np.searchsorted(left_out, rows)
    left: Rows = rows[left_out[np.minimum(place, len(left_out) - 1)] != rows]
    return left


def _inside(rows: Rows | None, start: int, stop: int) -> Rows:
    if rows is None:
        return np.empty(0, np.int64)
    rows = rising(np.asarray(rows, dtype=np.int64))
    return rows[(rows >= start) & (rows < stop)]


def _admitted(start: int, stop: int, exclude: Rows, among: Rows | None) -> Rows | None:
    """The rows to search as a list, or None where that is start…stop−1 less a few ``exclude``."""
    if among is not None:
        among = among[(among >= start) & (among < stop)]
        return _without(among, exclude)
    if len(exclude) > _MANY // 2:
        return np.setdiff1d(np.arange(start, stop), exclude, assume_unique=True)
    return None
