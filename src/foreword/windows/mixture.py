"""Which source the next sample comes from: a mixture by weights, exact in every prefix.

After n samples each source has given its share of them, the sum of its weight over n samples, give or take less than
one, whatever n is and wherever the weights change. That is Tijdeman's answer to the chairman assignment problem ("The
chairman assignment problem", Discrete Mathematics 32, 1980): with k sources and δ = 1 / (2k − 2), the next sample of a
source may come from the step on at which its share has passed its count by δ, and must have come before it passes it by
more than 1 − δ; of those that may, the most urgent one is taken. Then no deadline is ever missed.

All in whole numbers, so no n is too large. Not for: drawing at random; the order is the same each time. Costs: a
microsecond or two a sample of all ranks together, in Python; weights of few digits are tabulated (``timetable``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError
from foreword.windows.timetable import LONGEST, Timetable, take_turns, timetable
from foreword.windows.weights import Weights

__all__ = ["Schedule"]

QUICK = 1 << 12  # weights whose order repeats itself after so many samples are tabulated at once
_CHUNK = 1 << 16


class Schedule:
    """Which source each sample comes from, from the counts so far on.

    Args:
        weights: the shares of the sources.
        counts: how many samples each has given, as an earlier schedule of these weights left them.

    >>> from fractions import Fraction
    >>> Schedule(Weights((0,), ((Fraction(3, 4), Fraction(1, 4)),)), [0, 0]).take(8)
    array([0, 0, 1, 0, 0, 0, 1, 0])
    """

    def __init__(self, weights: Weights, counts: Sequence[int]) -> None:
        self.weights, self.counts = weights, list(counts)

    def take(self, samples: int) -> NDArray[np.intp]:
        """The sources of the next ``samples`` samples, as indices, [samples]."""
        if len(self.counts) == 1:
            self.counts[0] += samples
            return np.zeros(samples, np.intp)
        given = sum(self.counts)
        if self._is_quick(given + samples) and (table := self._table(given + samples)):
            sources = table.sources(given, samples)
            self.counts = table.counts(given + samples)
            return sources
        return take_turns(self.weights, self.counts, samples)

    def skip(self, samples: int) -> None:
        """Count the next ``samples`` samples, without telling which they are.

        The order repeats itself after as many samples as the weights' common denominator; only a rest is gone through.

        Raises:
            ArgumentError: the rest is too long for that.
        """
        if len(self.counts) == 1:
            self.counts[0] += samples
            return
        given = sum(self.counts)
        if (samples > _CHUNK or self._is_quick(given + samples)) and (table := self._table(given + samples)):
            self.counts = table.counts(given + samples)
            return
        rest = samples
        if len(self.weights.begins) == 1:
            rounds, rest = divmod(samples, self.weights.period(0))
            parts = [int(share * self.weights.period(0)) for share in self.weights.shares[0]]
            self.counts = [count + rounds * part for count, part in zip(self.counts, parts, strict=True)]
        if rest > LONGEST:
            raise ArgumentError(
                "where a later epoch or step of this mixture starts can't be found in reasonable time",
                got=f"weights whose order does not repeat itself within {LONGEST:,} samples, and {rest:,} to skip",
                expected=f"{LONGEST:,} samples at most",
                fix=f"give weights of few digits: {self.weights.in_few_digits()}, in the order of the sources' names",
            )
        for start in range(0, rest, _CHUNK):
            take_turns(self.weights, self.counts, min(_CHUNK, rest - start))

    def _is_quick(self, samples: int) -> bool:
        """Whether the order up to so many samples can be tabulated at once."""
        return all(self.weights.period(piece) <= QUICK for piece in range(self.weights.piece(samples) + 1))

    def _table(self, samples: int) -> Timetable | None:
        """The timetable up to so many samples, if it can be had and these counts are on it."""
        try:
            table = timetable(self.weights)
            table.reach(samples)
            return table if table.counts(sum(self.counts)) == self.counts else None
        except OverflowError:
            return None

    def fits(self) -> bool:
        """Whether the counts are such as a schedule of these weights leaves: each within one of its share."""
        given, whole = sum(self.counts), self.weights.whole
        return all(abs(count * whole - self.weights.sum(i, given)) < whole for i, count in enumerate(self.counts))
