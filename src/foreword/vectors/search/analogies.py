"""Analogies, all at once: for every question a : b = c : ? the row nearest to b + c − a, exactly.

By linearity. The cosine of a row with b + c − a is, up to a factor that is the same for all rows, the sum of its
cosines with b and c less that with a. So the rows are multiplied with the *distinct* words of the questions once, some
hundred instead of some ten thousand, and each question adds three of the products, rounded to 16 bits so that many are
added at once. This goes strip by strip of rows; of a question's strips only those are kept whose best sum may be the
best of all, given what the rounding can cost; there the rows are scored again, in float64, as ``search.py`` does, ties
to the lower row.

Not for: more than the one nearest row, or reading questions (``evaluation.py``). Costs: 19,544 questions over 300,000 ×
50 about half a second on two cores with kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.vectors.search import kernels
from foreword.vectors.search.assembly_many import COLUMNS
from foreword.vectors.search.index import Index, cosines, float_slack

__all__ = ["nearest_of_analogies"]

_STRIP = 256  # rows: the products of a thousand words with a strip fit a core's second-level cache
_BLOCK = 8 * _STRIP  # rows multiplied at once
_WORDS = 4096  # distinct words of questions at once: their products with a block's rows take 32 MB a thread
_QUESTIONS = 1 << 15  # at once
_CHUNK = 512  # questions at once, where numpy adds
_WORTH_KERNELS = 10**8  # sums that take numpy as long as kernels take to compile
_UNIT = 10_000  # of the 16-bit products: three of at most 1.0001 stay within int16
_NEVER = np.iinfo(np.int16).min


@dataclass(frozen=True, slots=True, eq=False)
class _Questions:
    """Questions sorted by (a, b), with what they leave out.

    Attributes:
        words: int64 [m], the distinct rows asked about, and units float64 [m, D] their directions.
        pairs: int64 [p, 2], distinct (a, b) as places in ``words``.
        pair, third: int64 [Q], the pair of each question, and the place of its c.
        left_question, left_row: int64 [L], what each question leaves out, sorted by row.
    """

    words: NDArray[np.int64]
    units: NDArray[np.float64]
    pairs: NDArray[np.int64]
    pair: NDArray[np.int64]
    third: NDArray[np.int64]
    left_question: NDArray[np.int64]
    left_row: NDArray[np.int64]

    def queries(self, which: NDArray[np.int64]) -> NDArray[np.float64]:
        """b + c − a of some questions, float64 [n, D]."""
        a, b = self.pairs[self.pair[which]].T
        queries: NDArray[np.float64] = self.units[b] + self.units[self.third[which]] - self.units[a]
        return queries


def nearest_of_analogies(
    index: Index,
    questions: NDArray[np.int64],
    stop: int,
    left_out: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """The answer of each question: the row below ``stop`` nearest to b + c − a that isn't left out.

    Args:
        index: the rows.
        questions: int64 [Q, 3], the rows of a, b, c.
        stop: search the rows before it.
        left_out: what can't be the answer: int64 [L] of questions, and as many rows.

    Returns:
        int64 [Q]; −1 where every row is left out.
    """
    found = np.full(len(questions), -1, dtype=np.int64)
    place = np.empty(len(questions), dtype=np.int64)
    for part in _parts(questions):
        place[:] = -1
        place[part] = np.arange(len(part))
        mine = place[left_out[0]] >= 0
        found[part] = _nearest(index, questions[part], stop, (place[left_out[0][mine]], left_out[1][mine]))
    return found


def _parts(questions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Questions in parts of few distinct words, as the memory for their products grows with these."""
    order = np.lexsort(questions.T[::-1])
    while len(order):
        part = order[:_QUESTIONS]
        first = np.sort(np.unique(questions[part], return_index=True)[1])  # where each word comes for the first time
        if len(first) > _WORDS:
            part = part[: max(1, first[_WORDS] // 3)]
        yield part
        order = order[len(part) :]


def _nearest(
    index: Index,
    questions: NDArray[np.int64],
    stop: int,
    left_out: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """``nearest_of_analogies`` of questions with few distinct words."""
    prepared, order = _prepare(index, questions, left_out)
    found = np.full(len(questions), -1, dtype=np.int64)
    slack = 3 * float_slack(index.rows.shape[1]) + 1e-6
    question, strip = _finalists(index, prepared, stop, slack)
    if not len(question):
        return found
    rows_of: list[NDArray[np.int64]] = []
    questions_of: list[NDArray[np.int64]] = []
    by_strip = np.argsort(strip, kind="stable")
    question, strip = question[by_strip], strip[by_strip]
    for group in np.split(np.arange(len(strip)), np.flatnonzero(np.diff(strip)) + 1):
        which = question[group]
        start = int(strip[group[0]]) * _STRIP
        _, block, inverse = next(iter(index.blocks(start, min(start + _STRIP, stop))))
        queries = prepared.queries(which)
        sums = _products(queries, block, inverse)
        _leave_out(sums, which, start, prepared)
        near = sums >= sums.max(axis=1, keepdims=True) - 2 * slack
        near &= sums > -np.inf
        of, at = np.nonzero(near)
        questions_of.append(which[of])
        rows_of.append(at + start)
    candidates, of = np.concatenate(rows_of), np.concatenate(questions_of)
    scores = np.empty(len(of))
    for i in range(0, len(of), _BLOCK):
        part = slice(i, i + _BLOCK)
        queries = prepared.queries(of[part])
        # The length of a query is the same for all its rows, so it needn't be scaled; a query of zeros scores 0.
        scores[part] = cosines(index.rows[candidates[part]], queries / np.maximum(1e-300, _lengths(queries))[:, None])
    best = np.lexsort((candidates, -scores, of))
    first = np.ones(len(best), dtype=bool)
    first[1:] = np.diff(of[best]) != 0
    found[order[of[best][first]]] = candidates[best][first]
    return found


def _prepare(
    index: Index, questions: NDArray[np.int64], left_out: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[_Questions, NDArray[np.int64]]:
    words, places = np.unique(questions, return_inverse=True)
    places = places.reshape(questions.shape)
    order = np.lexsort((places[:, 2], places[:, 1], places[:, 0]))
    places = places[order]
    pairs, pair = np.unique(places[:, :2], axis=0, return_inverse=True)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    of, rows = rank[left_out[0]], left_out[1]
    by_row = np.lexsort((of, rows))
    directions = index.rows[words].astype(np.float64)
    largest = np.abs(directions).max(axis=1, initial=0.0)
    directions *= np.ldexp(1.0, -np.frexp(largest)[1])[:, None]
    directions /= np.where(largest > 0, _lengths(directions), 1.0)[:, None]
    return (
        _Questions(words, directions, pairs, pair.reshape(-1), places[:, 2].copy(), of[by_row], rows[by_row]),
        order,
    )


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=1)))


def _products(
    units: NDArray[np.float64], block: NDArray[np.float32], inverse: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Σ unit·row/|row| of every unit [m, D] and row [n, D]: float32 [m, n]."""
    products: NDArray[np.float32] = units.astype(np.float32) @ block.T
    products *= inverse
    return products


def _leave_out(sums: NDArray[np.float32], which: NDArray[np.int64], start: int, prepared: _Questions) -> None:
    """Put −inf where a question [n] of ``which`` leaves out a row of the block from ``start``."""
    first, last = np.searchsorted(prepared.left_row, [start, start + sums.shape[1]])
    place = np.full(len(prepared.pair), -1, dtype=np.int64)
    place[which] = np.arange(len(which))
    at = place[prepared.left_question[first:last]]
    sums[at[at >= 0], prepared.left_row[first:last][at >= 0] - start] = -np.inf


def _finalists(
    index: Index, prepared: _Questions, stop: int, slack: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(question, strip) of every strip that may hold a question's answer."""
    margin = math.ceil(2 * slack * _UNIT) + 3  # each of three products is rounded by ½ at most, on both sides
    seen: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]] = []
    if len(prepared.pair) * stop > _WORTH_KERNELS:
        kernels.hasten()

    def add_up(blocks: Iterator[int]) -> NDArray[np.int16]:
        best = np.full(len(prepared.pair), _NEVER, dtype=np.int16)
        for first in blocks:
            _, block, inverse = next(iter(index.blocks(first, min(first + _BLOCK, stop), rows_at_once=_BLOCK)))
            products = _products(prepared.units, block, inverse)
            for start in range(0, products.shape[1], _STRIP):
                strip = np.rint(products[:, start : start + _STRIP] * np.float32(_UNIT)).astype(np.int16)
                low, high = np.searchsorted(prepared.left_row, [first + start, first + start + strip.shape[1]])
                left = prepared.left_question[low:high], prepared.left_row[low:high] - first - start
                tops = _tops(strip, prepared, left, kernels.ready())
                keep = np.flatnonzero((tops >= best.astype(np.int32) - margin) & (tops > _NEVER))
                seen.append((keep, np.full(len(keep), (first + start) // _STRIP), tops[keep]))
                np.maximum(best, tops, out=best)
        return best

    with threads.serial_blas():
        best = np.max(threads.run(add_up, range(0, stop, _BLOCK)), axis=0)
    question, strip, top = (np.concatenate(column) for column in zip(*seen, strict=True))
    keep = top >= best.astype(np.int32)[question] - margin
    return question[keep], strip[keep]


def _tops(
    strip: NDArray[np.int16],
    prepared: _Questions,
    left: tuple[NDArray[np.int64], NDArray[np.int64]],
    compiled: kernels.Kernels | None,
) -> NDArray[np.int16]:
    """The largest sum of every question over the rows of a strip, less those left out: int16 [Q]."""
    tops = np.empty(len(prepared.pair), dtype=np.int16)
    if compiled is not None:
        if over := strip.shape[1] % COLUMNS:  # more of the last row: it changes no maximum
            strip = np.pad(strip, ((0, 0), (0, COLUMNS - over)), mode="edge")
        arrays = (prepared.pairs, prepared.pair, prepared.third)
        turned = np.empty(strip.shape[1], np.int16)
        compiled.analogies(
            kernels.address(strip, np.int16),
            strip.shape[1],
            *(kernels.address(array, np.int64) for array in arrays),
            len(tops),
            kernels.address(turned, np.int16),
            kernels.address(tops, np.int16),
        )
    else:
        turned = strip[prepared.pairs[:, 1]] - strip[prepared.pairs[:, 0]]
        for i in range(0, len(tops), _CHUNK):
            part = slice(i, i + _CHUNK)
            sums = turned[prepared.pair[part]]
            sums += strip[prepared.third[part]]
            sums.max(axis=1, out=tops[part], initial=_NEVER)
    question, row = left
    if len(question):  # those few again, without what is left out
        which, place = np.unique(question, return_inverse=True)
        a, b = prepared.pairs[prepared.pair[which]].T
        sums = strip[b] - strip[a] + strip[prepared.third[which]]
        sums[place, row] = _NEVER
        tops[which] = sums.max(axis=1)
    return tops
