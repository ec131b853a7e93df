"""Finding a token sequence in a stream of ids.

Not for: finding text (encode it first). Costs: about as much as reading the ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["find"]

# What is compared at a time, in tokens: so few that a slice stays in the processor's cache, and soon has an end.
_SLICE = 1 << 18
_PIECE = 1 << 10  # places that it holds as Python's integers


def find(read: Callable[[int, int], NDArray[Any]], wanted: list[int], start: int, stop: int) -> Iterator[int]:
    """The places from ``start`` to ``stop`` where ``wanted`` stands, in order; ``read`` gives a part of the stream."""
    for low in range(start, stop, _SLICE):
        high = min(low + _SLICE, stop)
        places = _places(read(low, high + len(wanted) - 1), wanted)
        for at in range(0, len(places), _PIECE):
            yield from (places[at : at + _PIECE] + low).tolist()


def _places(tokens: NDArray[Any], wanted: list[int]) -> NDArray[np.intp]:
    """Where ``wanted`` [n] starts in ``tokens``, in order.

    Its rarest ids are compared first, by a sample of the tokens. While many places are left, all are compared, which
    is ten times faster for each than to compare those alone.
    """
    count = len(tokens) - len(wanted) + 1
    sample = np.sort(tokens[::64])
    often = np.searchsorted(sample, wanted, "right") - np.searchsorted(sample, wanted)
    order = iter(np.argsort(often, kind="stable").tolist())
    first = next(order)
    same = tokens[first : first + count] == wanted[first]
    while 16 * np.count_nonzero(same) > count and (i := next(order, None)) is not None:
        same &= tokens[i : i + count] == wanted[i]
    places = np.flatnonzero(same)
    for i in order:
        if not len(places):
            break
        places = places[tokens[places + i] == wanted[i]]
    return places
