"""Search: the k rows of a matrix whose cosine with a query is largest, exactly.

In two steps. A *scan* gives every row an interval that its cosine lies in and keeps the rows that can still be among
the best k (``codes.py`` has the proof). What is left, a few dozen rows, is *scored* in float64, sorted, ties to the
lower row, and cut to k. Every scan keeps all the rows that matter, and scores depend on the row and the query alone, so
the answer is the same, bit for bit, by whichever scan, in however many threads, alone or in a batch:

    codes, by a compiled kernel       the fastest; see ``kernels.py`` for when it is there
    codes, by numpy                   until then, and where LLVM can't run
    float rows, by matrix products    no codes (small or edited vectors), chosen rows only; until kernels are there, up
                                      to 128 MB of rows, and batches, which stay with them where the processor has
                                      no instruction for sums of products of bytes

A row of zeros scores 0 with every query, and every row scores 0 with a query of zeros.

Not for: keys (``keyed_vectors.py`` turns rows into words) or approximate answers. Costs: one pass over the codes, a
quarter of the matrix, at some three quarters of the speed at which memory can be read. Any number of threads may
search one index at once.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.vectors.search import batch, kernels
from foreword.vectors.search.codes import Codes
from foreword.vectors.search.cosines import (
    BLOCK,
    Float64,
    Rows,
    cosines,
    float32_below,
    float_slack,
    rising,
    unit_query,
    unit_rows,
    without,
)
from foreword.vectors.search.scans import Band, Pool, scan_compiled, scan_numpy

__all__ = ["Hits", "Index", "cosines", "float_slack", "rising", "unit_query"]

_FEW = 8  # queries below which the kernel's scans are sooner done than matrix products
_MANY = 1024  # wanted rows beyond which a running threshold is no longer cheap
_SMALL = 1 << 20  # elements below which a second thread costs more than it saves
_LIGHT = 1 << 27  # bytes of rows up to which their product is sooner done than numpy's scan of their codes
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
            band = self._band(unit, reach, start, stop, among, float32_below(at_least)).rows
        if len(exclude):
            band = without(band, exclude)
        return self._best(unit, band, wanted, at_least)

    def nearest_batch(
        self,
        queries: NDArray[np.floating],
        k: int,
        *,
        start: int = 0,
        stop: int | None = None,
        exclude: list[Rows] | None = None,
        exclude_all: Rows | None = None,
        among: Rows | None = None,
        at_least: float = -np.inf,
    ) -> list[Hits]:
        """``nearest`` of every query of float [B, D], together: the same answers, sooner.

        ``exclude`` has one array of rows a query; the other options hold for all of them. Besides the hits, memory is
        that of some hundred queries, however many there are.
        """
        stop = len(self.rows) if stop is None else min(stop, len(self.rows))
        shared = _inside(exclude_all, start, stop)
        among = _admitted(start, stop, shared, among)
        if among is not None:
            shared = shared[:0]
        options: dict[str, Any] = {"start": start, "stop": stop, "among": among, "at_least": at_least}
        hits: list[Hits] = []
        while len(hits) < len(queries):
            part = slice(len(hits), len(hits) + batch.at_once(max(k, 1)))
            own = exclude[part] if exclude is not None else [shared[:0]] * len(queries[part])
            left_out = [np.concatenate([shared, rows]) if len(shared) else rows for rows in own]
            hits += self._nearest_of_part(queries[part], k, left_out, **options)
        return hits

    def _nearest_of_part(
        self,
        queries: NDArray[np.floating],
        k: int,
        exclude: list[Rows],
        *,
        start: int,
        stop: int,
        among: Rows | None,
        at_least: float,
    ) -> list[Hits]:
        """``nearest_batch`` of a few hundred queries."""
        exclude = [_inside(rows, start, stop) for rows in exclude]
        count = max(stop - start, 0) if among is None else len(among)
        reach = k + max(map(len, exclude))
        one_by_one = count == 0 or k <= 0 or reach * 4 > count or reach > _MANY
        if not one_by_one and len(queries) < _FEW and among is None and self.codes is not None:
            one_by_one = kernels.ready() is not None
        if not one_by_one:
            units = np.stack([unit_query(query, self.rows.shape[1]) for query in queries])
            first, last = (start, stop) if among is None else (0, count)
            found = batch.pairs(self, units, reach, first, last, among, float32_below(at_least))
            if found is not None:
                return self._best_of_pairs(units, *found, exclude, k, at_least)
        options: dict[str, Any] = {"start": start, "stop": stop, "among": among, "at_least": at_least}
        return [self.nearest(query, k, exclude=rows, **options) for query, rows in zip(queries, exclude, strict=True)]

    def _best_of_pairs(
        self, units: Float64, query: Rows, row: Rows, exclude: list[Rows], k: int, at_least: float
    ) -> list[Hits]:
        """``_best`` for every query of the pairs (query, row)."""
        n = len(self.rows)
        left_out = [q * n + rows for q, rows in enumerate(exclude)]
        code = without(query * n + row, np.concatenate(left_out))
        query, row = self._likely(units, *np.divmod(code, n), k)
        scores = np.empty(len(row))
        step = max(1, BLOCK // max(self.rows.shape[1], 1))
        for i in range(0, len(row), step):
            part = slice(i, i + step)
            scores[part] = cosines(self.rows[row[part]], units[query[part]])
        keep = scores >= at_least
        query, row, scores = query[keep], row[keep], scores[keep]
        order = np.lexsort((row, -scores, query))
        query, row, scores = query[order], row[order], scores[order]
        starts = np.searchsorted(query, np.arange(len(units) + 1)).tolist()
        parts = [slice(a, min(a + k, b)) for a, b in itertools.pairwise(starts)]
        return [Hits(row[part], scores[part]) for part in parts]

    def _likely(self, units: Float64, query: Rows, row: Rows, k: int) -> tuple[Rows, Rows]:
        """Of pairs (query, row) those that may be among their query's best k, by float32 products of the rows.

        An exact score costs five times what such a product does, and codes leave over five times as many rows.
        """
        if len(row) < 2 * k * len(units):
            return query, row
        queries, products, done = units.astype(np.float32), np.empty(len(row), np.float32), 0
        for _, block, inverse in self.blocks(0, len(row), row, rows_at_once=max(1, BLOCK // max(units.shape[1], 1))):
            part = slice(done, done + len(block))
            products[part] = np.einsum("ij,ij->i", block, queries[query[part]]) * inverse
            done += len(block)
        order = np.lexsort((-products, query))
        query, row, products = query[order], row[order], products[order]
        ends = np.searchsorted(query, np.arange(len(units) + 1))
        kth = ends[:-1] + k - 1
        several = kth < ends[1:]
        bounds = np.full(len(units), -np.inf, np.float32)
        bounds[several] = products[kth[several]] - np.float32(2 * float_slack(units.shape[1] + 4))
        keep = products >= bounds[query]
        return query[keep], row[keep]

    def scores(self, query: NDArray[np.floating], start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The cosine of every row start…stop−1 with ``query``: float32 [stop − start]."""
        stop = len(self.rows) if stop is None else min(stop, len(self.rows))
        unit = unit_query(query, self.rows.shape[1])
        found = [score for _, score in self._float_scores(unit, start, max(start, stop), None)]
        return np.clip(np.concatenate(found), -1, 1) if found else np.empty(0, np.float32)

    def exact(self, unit: Float64, rows: Rows) -> Float64:
        """The cosines of chosen rows with a unit query, float64; each depends on its row and the query alone."""
        scores = np.empty(len(rows))
        step = max(1, BLOCK // max(self.rows.shape[1], 1))
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

    def _band(self, unit: Float64, k: int, start: int, stop: int, among: Rows | None, floor: float) -> Band:
        if self.codes is None or among is not None or k > _MANY:
            return self._scan_rows(unit, k, start, stop, among, floor)
        codes = self.codes
        began = time.perf_counter()
        compiled = kernels.ready()
        if compiled is None and self.rows.dtype == np.float32 and self.rows[start:stop].nbytes < _LIGHT:
            band = self._scan_rows(unit, k, start, stop, None, floor)
            kernels.missed(time.perf_counter() - began)
            return band
        scan = scan_compiled(codes, unit, k, floor, compiled) if compiled else scan_numpy(codes, unit, k, floor)
        small = codes.codes[start:stop].size < _SMALL
        bands = threads.run(scan, [(start, stop)] if small else threads.shares(start, stop))
        if not compiled:
            kernels.missed(time.perf_counter() - began)
        band = Band.joined(bands).cut(k, floor)
        if len(band.rows) > 4 * k + 1024:  # many near each other: float32 products part them at less cost than float64
            band = self._scan_rows(unit, k, start, stop, np.sort(band.rows), floor)
        return band

    def _scan_rows(self, unit: Float64, k: int, start: int, stop: int, among: Rows | None, floor: float) -> Band:
        pool = Pool(k, floor)
        slack = float_slack(len(unit))
        first, last = (start, stop) if among is None else (0, len(among))
        for rows, scores in self._float_scores(unit, first, last, among):
            pool.add(rows, scores, slack)
        return pool.band()

    def _float_scores(
        self, unit: Float64, start: int, stop: int, among: Rows | None
    ) -> Iterator[tuple[slice | Rows, NDArray[np.float32]]]:
        query = unit.astype(np.float32)
        for rows, block, inverse in self.blocks(start, stop, among):
            scores = block @ query
            scores *= inverse
            yield rows, scores

    def blocks(
        self, start: int, stop: int, among: Rows | None = None, *, rows_at_once: int | None = None
    ) -> Iterator[tuple[slice | Rows, NDArray[np.float32], NDArray[np.float32]]]:
        """Blocks of rows as float32, with what makes each row's length 1, but for rounding (see ``float_slack``).

        Rows whose norm float32 can't be trusted with come as unit rows. With ``among`` start and stop are places in it.
        """
        step = rows_at_once or max(1, 8 * BLOCK // max(self.rows.shape[1], 1))
        for i in range(start, stop, step):
            rows: slice | Rows = slice(i, min(i + step, stop))
            if among is not None:
                rows = among[rows]
            norms, block = self._norms[rows], self.rows[rows]
            odd = np.flatnonzero(~((norms > _TINY) & (norms < _HUGE)))
            with np.errstate(over="ignore", divide="ignore"):  # those rows are odd
                single, inverse = block.astype(np.float32, copy=len(odd) > 0), np.float32(1) / norms
            if len(odd):
                single[odd], inverse[odd] = unit_rows(block[odd]), 1
            yield rows, single, inverse


def _inside(rows: Rows | None, start: int, stop: int) -> Rows:
    if rows is None:
        return np.empty(0, np.int64)
    rows = rising(np.asarray(rows, dtype=np.int64))
    return rows[(rows >= start) & (rows < stop)]


def _admitted(start: int, stop: int, exclude: Rows, among: Rows | None) -> Rows | None:
    """The rows to search as a list, or None where that is start…stop−1 less a few ``exclude``."""
    if among is not None:
        among = among[(among >= start) & (among < stop)]
        return without(among, exclude)
    if len(exclude) > _MANY // 2:
        return np.setdiff1d(np.arange(start, stop), exclude, assume_unique=True)
    return None
