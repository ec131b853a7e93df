"""Which source the next sample comes from: a mixture by weights, exact in every prefix.

After n samples each source has given n · weight of them, give or take less than one, whatever n is. That is Tijdeman's
answer to the chairman assignment problem ("The chairman assignment problem", Discrete Mathematics 32, 1980): with k
sources and δ = 1 / (2k − 2), the next sample of a source may come from the step on at which n · weight has passed its
count by δ, and must have come before it passes it by more than 1 − δ; of those that may, the most urgent one is taken.
Then no deadline is ever missed.

All in whole numbers, so no n is too large. Not for: drawing at random; the order is the same each time. Costs: about a
microsecond a sample of all ranks together, in Python.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError

__all__ = ["Schedule", "exact_weights"]

LONGEST_SKIP = 10_000_000  # samples that are skipped one by one, which takes some ten seconds
_CHUNK = 1 << 16


def exact_weights(names: Sequence[str], weights: Mapping[str, float] | None) -> list[Fraction]:
    """The share of each of ``names``, adding up to exactly 1; equal shares where ``weights`` is None.

    A float stands for the decimal number that it is printed as, so that 0.7 and 0.3 are 7/10 and 3/10.

    Raises:
        ArgumentError: names that differ, or a weight that is not above 0.

    >>> exact_weights(["code", "web"], {"web": 0.7, "code": 0.1})
    [Fraction(1, 8), Fraction(7, 8)]
    """
    if weights is None:
        return [Fraction(1, len(names))] * len(names)
    if set(weights) != set(names):
        raise ArgumentError("each source needs one weight", got=sorted(weights), expected=sorted(names))
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ArgumentError(f"the weight of {name!r} must be above 0", got=weight, fix="leave the source out")
    exact = [Fraction(str(weights[name])) for name in names]
    return [weight / sum(exact) for weight in exact]


class Schedule:
    """Which source each sample comes from, from the counts so far on.

    Args:
        weights: the share of each source; they add up to 1.
        counts: how many samples each has given, as an earlier schedule of these weights left them.

    >>> Schedule([Fraction(3, 4), Fraction(1, 4)], [0, 0]).take(8)
    array([0, 0, 1, 0, 0, 0, 1, 0])
    """

    def __init__(self, weights: Sequence[Fraction], counts: Sequence[int]) -> None:
        self.counts = list(counts)
        self._whole = math.lcm(*(weight.denominator for weight in weights))  # Q
        self._parts = [int(weight * self._whole) for weight in weights]  # P: weight = P / Q
        self._slack = 2 * max(1, len(weights) - 1)  # 1 / δ

    def take(self, samples: int) -> NDArray[np.intp]:
        """The sources of the next ``samples`` samples, as indices, [samples]."""
        if len(self.counts) == 1:
            self.counts[0] += samples
            return np.zeros(samples, np.intp)
        sources = np.empty(samples, np.intp)
        counts, every, step = self.counts, range(len(self.counts)), sum(self.counts)
        release = [self._first_step(i) for i in every]
        deadline = [self._last_step(i) for i in every]
        for place in range(samples):
            step += 1
            _, source = min([(deadline[i], i) for i in every if release[i] <= step])
            sources[place] = source
            counts[source] += 1
            release[source], deadline[source] = self._first_step(source), self._last_step(source)
        return sources

    def skip(self, samples: int) -> None:
        """Count the next ``samples`` samples, without telling which they are.

        The order repeats itself after as many samples as the weights' common denominator; only a rest is gone through.

        Raises:
            ArgumentError: the rest is too long for that.
        """
        rounds, rest = divmod(samples, self._whole)
        if rest > LONGEST_SKIP and len(self.counts) > 1:
            raise ArgumentError(
                "where a later epoch of this mixture starts can't be found in reasonable time",
                got=f"weights whose order repeats itself after {self._whole:,} samples, and {rest:,} to skip",
                expected=f"{LONGEST_SKIP:,} samples at most",
                fix="give weights of few digits: "
                + ", ".join(f"{part / self._whole:.3f}" for part in self._parts)
                + ", in the order of the sources' names",
            )
        self.counts = [count + rounds * part for count, part in zip(self.counts, self._parts, strict=True)]
        for start in range(0, rest, _CHUNK):
            self.take(min(_CHUNK, rest - start))

    def fits(self) -> bool:
        """Whether the counts are such as a schedule of these weights leaves: each within one of its share."""
        step = sum(self.counts)
        return all(abs(c * self._whole - step * p) < self._whole for c, p in zip(self.counts, self._parts, strict=True))

    def _first_step(self, i: int) -> int:
        """The first step n with n · weight ≥ count + δ."""
        return -(-(self._slack * self.counts[i] + 1) * self._whole // (self._slack * self._parts[i]))

    def _last_step(self, i: int) -> int:
        """The first step n with n · weight > count + 1 − δ: after it, the sample would be late."""
        return (self._slack * (self.counts[i] + 1) - 1) * self._whole // (self._slack * self._parts[i]) + 1
