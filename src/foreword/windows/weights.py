"""The shares of a mixture's sources, constant from one sample drawn to another.

From the weights follows what each source should have given after n samples: n times its weight, summed over the pieces.
``Weights`` answers in whole numbers when a source's sum passes a count, which is all that a schedule asks.

Not for: which source comes next (``mixture``). Costs: a microsecond an answer.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError

__all__ = ["GivenWeights", "Weights", "exact_weights"]

GivenWeights = Mapping[str, float] | Sequence[tuple[int, Mapping[str, float]]]

NEVER = math.inf  # the step of what doesn't come


@dataclasses.dataclass(frozen=True)
class Weights:
    """The share of each source, in pieces.

    Attributes:
        begins: the number of samples from which each piece holds, [pieces], rising from 0; the last has no end.
        shares: what each source gives of a piece's samples, [pieces][sources]; those of a piece add up to 1.

    >>> half, third = Fraction(1, 2), Fraction(1, 3)
    >>> weights = Weights((0, 6), ((half, half), (third, 2 * third)))
    >>> [weights.release(1, count, 0) for count in range(5)]  # with two sources: when 0.5, 1.5, … are reached
    [1, 3, 5, 7, 9]
    """

    begins: tuple[int, ...]
    shares: tuple[tuple[Fraction, ...], ...]

    @property
    def sources(self) -> int:
        """How many sources there are."""
        return len(self.shares[0])

    @functools.cached_property
    def whole(self) -> int:
        """The common denominator of all shares: sums are counted in so many parts of a sample."""
        return math.lcm(*(share.denominator for piece in self.shares for share in piece))

    @functools.cached_property
    def slack(self) -> int:
        """1 / δ of Tijdeman's rule (``mixture``)."""
        return 2 * max(1, self.sources - 1)

    @functools.cached_property
    def _pieces(self) -> list[list[tuple[int, float, int, int]]]:
        """For each source, of each piece: its begin and end, the sum at its begin and the gain a sample, in parts."""
        ends = (*self.begins[1:], NEVER)
        pieces = []
        for i in range(self.sources):
            total, found = 0, []
            for begin, end, shares in zip(self.begins, ends, self.shares, strict=True):
                gain = int(shares[i] * self.whole)
                found.append((begin, end, total, gain))
                total += gain * (int(end) - begin) if end != NEVER else 0
            pieces.append(found)
        return pieces

    def piece(self, samples: int) -> int:
        """In which piece the sample after so many lies."""
        return bisect.bisect_right(self.begins, samples) - 1

    def period(self, piece: int) -> int:
        """After how many samples a piece has given each source a whole number of them."""
        return math.lcm(*(share.denominator for share in self.shares[piece]))

    def sum(self, i: int, samples: int) -> int:
        """What source ``i`` should have given after so many samples, in parts."""
        begin, _, total, gain = self._pieces[i][self.piece(samples)]
        return total + gain * (samples - begin)

    def release(self, i: int, count: int, since: int) -> float:
        """The first step after which source ``i`` should have given ``count`` + δ; ``NEVER`` where that doesn't come.

        Exact for pieces from the one of index ``since`` on: what was reached before is given as some step before.
        """
        return self._reached(i, (self.slack * count + 1) * self.whole, since, over=0)

    def deadline(self, i: int, count: int, since: int) -> float:
        """The first step after which it should have given more than ``count`` + 1 − δ; ``since`` as for ``release``."""
        return self._reached(i, (self.slack * (count + 1) - 1) * self.whole, since, over=1)

    def _reached(self, i: int, level: int, since: int, *, over: int) -> float:
        """The first step at which slack × sum is ``level``, or with ``over`` 1 above it."""
        slack = self.slack
        for begin, end, total, gain in self._pieces[i][since:]:
            missing = level - slack * total
            if missing <= -over:  # at its begin, or before
                return begin
            if gain:
                step = begin + (missing // (slack * gain) + 1 if over else -(-missing // (slack * gain)))
                if step <= end:
                    return step
        return NEVER

    def described(self, names: Sequence[str]) -> list[Any]:
        """The weights as JSON has them: [begin, {name: share}] of each piece."""
        return [
            [begin, {name: str(share) for name, share in zip(names, shares, strict=True) if share}]
            for begin, shares in zip(self.begins, self.shares, strict=True)
        ]

    def in_few_digits(self) -> str:
        """Shares near those of the piece with the longest period, of which the order soon repeats itself."""
        shares = self.shares[max(range(len(self.begins)), key=self.period)]
        digits = next((d for d in range(3, 7) if all(round(share, d) for share in shares if share)), 7)
        return ", ".join(f"{float(share):.{digits}f}" for share in shares)


def exact_weights(names: Sequence[str], weights: GivenWeights | None) -> Weights:
    """The share of each of ``names``, adding up to exactly 1; equal shares where ``weights`` is None.

    A float stands for the decimal number that it is printed as, so that 0.7 and 0.3 are 7/10 and 3/10.

    Raises:
        ArgumentError: names that differ, a weight that is not above 0; pieces that do not begin at 0 and rise.

    >>> exact_weights(["code", "web"], {"web": 0.7, "code": 0.1}).shares
    ((Fraction(1, 8), Fraction(7, 8)),)
    >>> exact_weights(["code", "web"], [(0, {"web": 1}), (1000, {"web": 1, "code": 1})]).shares
    ((Fraction(0, 1), Fraction(1, 1)), (Fraction(1, 2), Fraction(1, 2)))
    """
    if weights is None:
        return Weights((0,), ((Fraction(1, len(names)),) * len(names),))
    if isinstance(weights, Mapping):
        if set(weights) != set(names):
            raise ArgumentError("each source needs one weight", got=sorted(weights), expected=sorted(names))
        return Weights((0,), (_shares(names, weights),))
    pieces = list(weights) if isinstance(weights, Iterable) else [weights]
    if not all(isinstance(p, tuple | list) and len(p) == 2 and isinstance(p[1], Mapping) and p[1] for p in pieces):
        raise ArgumentError(
            "weights that change are pairs of a number of samples and the weights from there on",
            got=repr(weights),
            expected='[(0, {"web": 1}), (1_000_000, {"web": 0.5, "code": 0.5})]',
        )
    begins = tuple(integer("the sample from which weights hold", begin, at_least=0) for begin, _ in pieces)
    if not begins or begins[0] != 0 or any(b <= a for a, b in itertools.pairwise(begins)):
        raise ArgumentError("weights that change must begin at 0 samples and rise", got=list(begins))
    given = {name for _, piece in pieces for name in piece}
    if given != set(names):
        raise ArgumentError(
            "each source needs a weight in one of the pieces", got=sorted(given), expected=sorted(names)
        )
    return Weights(begins, tuple(_shares(names, piece) for _, piece in pieces))


def _shares(names: Sequence[str], weights: Mapping[str, float]) -> tuple[Fraction, ...]:
    """The share of each of ``names``; 0 where it has no weight."""
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, Real | Decimal):
            raise ArgumentTypeError(f"the weight of {name!r} must be a number", got=repr(weight))
        if not (math.isfinite(weight) and weight > 0):
            raise ArgumentError(f"the weight of {name!r} must be above 0", got=weight, fix="leave the source out")
    exact = [Fraction(str(weights[name])) if name in weights else Fraction(0) for name in names]
    return tuple(weight / sum(exact) for weight in exact)
