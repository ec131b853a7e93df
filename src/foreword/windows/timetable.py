"""A mixture's order of sources, tabulated: how much each has given after n samples, and when it gives its next.

The order of constant weights repeats itself after as many samples as their common denominator has parts. Where weights
change, it does so soon, at the latest when each source is ahead or behind by what it was at the start of some round
before, and until the deadlines of the next change come into sight. So a few patterns, each repeated many times, are the
whole order: a table of up to 10 million samples, and from there on arithmetic.

Not for: weights of many digits, whose order takes longer to repeat. Costs: a microsecond or two a sample of the table,
once, and a byte; then some 20 µs a question.
"""

from __future__ import annotations

import bisect
import functools
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword.windows.weights import Weights

__all__ = ["LONGEST", "Timetable", "take_turns", "timetable"]

LONGEST = 10_000_000  # samples that are gone through one by one, which takes some ten seconds
_MARK = 1 << 12


def take_turns(weights: Weights, counts: list[int], samples: int) -> NDArray[np.intp]:
    """The sources of the next ``samples`` samples by Tijdeman's rule, [samples]; adds them to ``counts``."""
    sources = np.empty(samples, np.intp)
    every, step = range(len(counts)), sum(counts)
    since = weights.piece(step)
    release = [weights.release(i, counts[i], since) for i in every]
    deadline = [weights.deadline(i, counts[i], since) for i in every]
    for place in range(samples):
        step += 1
        _, source = min([(deadline[i], i) for i in every if release[i] <= step])
        sources[place] = source
        counts[source] += 1
        release[source] = weights.release(source, counts[source], since)
        deadline[source] = weights.deadline(source, counts[source], since)
    return sources


class _Pattern:
    """Some samples in a row: how many each source has given after each, by marks every 4,096."""

    def __init__(self, sources: NDArray[np.intp], count: int) -> None:
        self.sources = sources.astype(np.min_scalar_type(count - 1))
        per_mark = [np.bincount(sources[m : m + _MARK], minlength=count) for m in range(0, len(sources), _MARK)]
        self._marks = np.concatenate((np.zeros((1, count), np.int64), np.cumsum(per_mark, 0))).astype(np.int64)
        self.total: list[int] = self._marks[-1].tolist()

    def __len__(self) -> int:
        return len(self.sources)

    def counts(self, samples: int) -> list[int]:
        """What each source has given after the first ``samples``."""
        mark = samples // _MARK
        rest = np.bincount(self.sources[mark * _MARK : samples], minlength=len(self.total))
        counts: list[int] = (self._marks[mark] + rest).tolist()
        return counts

    def places(self, i: int, nth: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where source ``i`` gives those of its samples that are ``nth``, from 0."""
        places = np.empty_like(nth)
        marks = np.searchsorted(self._marks[:, i], nth, side="right") - 1
        for mark in np.unique(marks).tolist():
            start, mine = mark * _MARK, marks == mark
            found = np.flatnonzero(self.sources[start : start + _MARK] == i)
            places[mine] = start + found[nth[mine] - self._marks[mark, i]]
        return places


class _Stretch(NamedTuple):
    """A pattern: where it starts, what each source has given before, and how often it comes; None: for ever."""

    begin: int
    before: list[int]
    pattern: _Pattern
    times: int | None


class _Known(NamedTuple):
    """What has been tabulated: the stretches, the samples in them, what each source gives in them, and which piece of
    the weights is next.
    """

    stretches: list[_Stretch]
    samples: int
    counts: list[int]
    piece: int

    def and_then(self, rounds: list[NDArray[np.intp]], times: int | None) -> _Known:
        """The same with one more stretch: the rounds, so many times."""
        if not sum(map(len, rounds)) or times == 0:
            return self
        pattern = _Pattern(np.concatenate(rounds), len(self.counts))
        stretches = [*self.stretches, _Stretch(self.samples, self.counts, pattern, times)]
        if times is None:
            return self._replace(stretches=stretches)
        counts = [count + times * total for count, total in zip(self.counts, pattern.total, strict=True)]
        return self._replace(stretches=stretches, samples=self.samples + times * len(pattern), counts=counts)


class Timetable:
    """The order of the sources by some weights, from the first sample on.

    Raises, in every method:
        OverflowError: it takes more than ``LONGEST`` samples to repeat itself.

    >>> from fractions import Fraction
    >>> table = Timetable(Weights((0,), ((Fraction(3, 4), Fraction(1, 4)),)))
    >>> table.sources(10**12, 8), table.counts(10**12 + 3), table.places(1, np.array([10**12]))
    (array([0, 0, 1, 0, 0, 0, 1, 0]), [750000000002, 250000000001], array([4000000000002]))
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._known = _Known([], 0, [0] * weights.sources, 0)
        self._left = LONGEST  # samples that may still be gone through

    def counts(self, samples: int) -> list[int]:
        """What each source has given after ``samples`` samples."""
        self.reach(samples)
        if not samples:
            return [0] * self._weights.sources
        begin, before, pattern, _ = self._at(samples - 1)
        times, rest = divmod(samples - begin, len(pattern))
        counts = zip(before, pattern.total, pattern.counts(rest), strict=True)
        return [first + times * total + more for first, total, more in counts]

    def sources(self, start: int, samples: int) -> NDArray[np.intp]:
        """The sources of ``samples`` samples from ``start`` on, [samples]."""
        self.reach(start + samples)
        parts, end = [np.zeros(0, np.intp)], start + samples
        while start < end:
            begin, _, pattern, times = self._at(start)
            stop = end if times is None else min(end, begin + times * len(pattern))
            at = (start - begin) % len(pattern)
            rounds = -(-(at + stop - start) // len(pattern))
            parts.append(np.tile(pattern.sources, rounds)[at : at + stop - start].astype(np.intp))
            start = stop
        return np.concatenate(parts)

    def places(self, i: int, nth: NDArray[np.int64]) -> NDArray[np.int64]:
        """At which samples, from 0, source ``i`` gives those of its samples that are ``nth``; they must come."""
        while not self._last and self._known.counts[i] <= nth.max(initial=-1):
            self._tabulate()
        places = np.empty_like(nth)
        before = [stretch.before[i] for stretch in self._known.stretches]
        owner = np.searchsorted(before, nth, side="right") - 1
        for found in np.unique(owner).tolist():
            begin, _, pattern, _ = self._known.stretches[found]
            mine = owner == found
            times, rest = np.divmod(nth[mine] - before[found], pattern.total[i])
            places[mine] = begin + times * len(pattern) + pattern.places(i, rest)
        return places

    def reach(self, samples: int) -> None:
        """Tabulate so far that ``samples`` samples are known."""
        while not self._last and self._known.samples < samples:
            self._tabulate()

    @property
    def _last(self) -> bool:
        stretches = self._known.stretches
        return bool(stretches) and stretches[-1].times is None

    def _at(self, sample: int) -> _Stretch:
        stretches = self._known.stretches
        return stretches[bisect.bisect_right(stretches, sample, key=lambda stretch: stretch.begin) - 1]

    def _tabulate(self) -> None:
        """One more piece of the weights: all of it is known at once, or where Ctrl-C comes nothing of it."""
        known, weights = self._known, self._weights
        piece = known.piece
        end = weights.begins[piece + 1] if piece + 1 < len(weights.begins) else None
        period, shares = weights.period(piece), weights.shares[piece]
        # A source's deadline is at most two of its samples ahead: up to here, none lies beyond the piece's end.
        safe = None if end is None else end - -(-2 // min(share for share in shares if share)) - 1
        parts = [int(share * period) for share in shares]
        rounds: list[NDArray[np.intp]] = []
        ahead: dict[tuple[int, ...], int] = {}  # how the counts stood at the start of each round
        samples, counts = known.samples, list(known.counts)
        while safe is None or samples + period <= safe:
            stand = tuple(count - len(rounds) * part for count, part in zip(counts, parts, strict=True))
            if stand in ahead:
                first = ahead[stand]
                known = known.and_then(rounds[:first], 1)
                length = (len(rounds) - first) * period
                known = known.and_then(rounds[first:], None if safe is None else (safe - known.samples) // length)
                break
            ahead[stand] = len(rounds)
            rounds.append(self._gone_through(counts, period))
            samples += period
        else:
            known = known.and_then(rounds, 1)
        if end is not None:
            known = known.and_then([self._gone_through(list(known.counts), end - known.samples)], 1)
        self._known = known._replace(piece=piece + 1)

    def _gone_through(self, counts: list[int], samples: int) -> NDArray[np.intp]:
        """The sources of the next samples.

        Raises:
            OverflowError: too many have been gone through; so will it be from now on.
        """
        if samples > self._left:
            self._left = 0
            raise OverflowError(f"the order does not repeat itself within {LONGEST:,} samples")
        sources = take_turns(self._weights, counts, samples)
        self._left -= samples  # not where it was interrupted
        return sources


def timetable(weights: Weights) -> Timetable:
    """The timetable of some weights, kept for those used last; each thread has its own."""
    return _timetable(weights, threading.get_ident())


@functools.lru_cache(maxsize=8)
def _timetable(weights: Weights, thread: int) -> Timetable:  # noqa: ARG001
    return Timetable(weights)
