"""An order for windows far away: blocks in a drawn order, windows shuffled inside a group of blocks.

A window at random costs a whole block of 1 MiB over the network. So blocks come in runs of neighbours, the runs in a
keyed order, and the windows of each group of runs in a keyed order of their own. A block is wanted by one group, and by
the one before its run where a window reaches over the run's end: with runs of 8 blocks, an eighth more is read than
there is.

    runs of blocks     a b c d e f …          a window belongs to the run in which it starts
    drawn              d a f b c e …
    groups of G        d a f │ b c e │ …      inside a group, all of its windows in a drawn order

Like ``order.Permutation`` a function of (seed, epoch, place) with an inverse. It does not depend on what a cache holds,
nor on ranks and batch sizes.

Not for: reading (``far_source``). Costs: 24 bytes a run (8 MiB); some 100 ns an index in numpy.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.windows.order import Permutation

__all__ = ["BlockOrder", "distinct", "run_length", "run_starts"]

_KEPT = 4  # groups whose order is kept


def run_length(group: int) -> int:
    """How many neighbouring blocks a run of a group of so many blocks has.

    >>> run_length(64), run_length(4)
    (8, 1)
    """
    return max(1, group // 8)


def run_starts(pieces: NDArray[np.int64], run_tokens: int) -> NDArray[np.int64]:
    """Where each run of so many tokens starts in a stream, and the end: each piece of the stream begins one.

    >>> run_starts(np.array([0, 5, 9]), 2)
    array([0, 2, 4, 5, 7, 9])
    """
    starts = [np.arange(start, stop, run_tokens) for start, stop in itertools.pairwise(pieces)]
    return np.concatenate([*starts, pieces[-1:]]).astype(np.int64)


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The different ones of some integers, rising: ``np.unique``, whose first call imports ``numpy.ma``, 20 ms.

    >>> distinct(np.array([[3, 1], [1, 2]]))
    array([1, 2, 3])
    """
    rising = np.sort(numbers, axis=None)
    first = np.ones(len(rising), bool)
    np.not_equal(rising[1:], rising[:-1], out=first[1:])
    return rising[first]


class BlockOrder:
    """An order of 0 … n − 1, decided by the runs, the group, seed, epoch and name alone.

    Args:
        runs: the first window of each run, rising, and n: int64 [runs + 1].
        group: how many runs a group has; the last may have fewer.
        seed, epoch, name: as for ``Permutation``.

    >>> order = BlockOrder(np.array([0, 3, 6, 8]), group=2, seed=0, epoch=0)
    >>> windows = order(np.arange(8))
    >>> sorted(windows.tolist()), order.inverse(windows).tolist() == list(range(8))
    ([0, 1, 2, 3, 4, 5, 6, 7], True)
    """

    def __init__(self, runs: NDArray[np.int64], *, group: int, seed: int, epoch: int, name: str = "") -> None:
        self.n = int(runs[-1])
        self._runs, self._group = runs, group
        self._key: dict[str, Any] = {"seed": seed, "epoch": epoch}
        self._name = name
        count = len(runs) - 1
        self._drawn = Permutation(count, **self._key, name=f"{name} runs")(np.arange(count))
        self._nth = np.empty_like(self._drawn)  # of each run in the drawn order
        self._nth[self._drawn] = np.arange(count)
        # Windows before each run in the drawn order, and of all; and before each group.
        self._before = np.concatenate(([0], np.cumsum(np.diff(runs)[self._drawn])))
        self._groups = np.append(self._before[:-1:group], self.n)
        self._orders: dict[int, Permutation] = {}

    def __call__(self, places: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The windows at ``places`` of the order; int64, of the same shape."""
        at: NDArray[np.int64] = places.astype(np.int64, copy=False)
        nth = self._within(at, np.searchsorted(self._groups, at, side="right") - 1, inverse=False)
        run = np.searchsorted(self._before, nth, side="right") - 1
        windows: NDArray[np.int64] = self._runs[self._drawn[run]] + nth - self._before[run]
        return windows

    def inverse(self, windows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The places at which ``windows`` come in the order; int64, of the same shape."""
        windows = windows.astype(np.int64, copy=False)
        run = np.searchsorted(self._runs, windows, side="right") - 1
        drawn = self._nth[run]
        nth = self._before[drawn] + windows - self._runs[run]
        return self._within(nth, drawn // self._group, inverse=True)

    def _within(self, places: NDArray[np.int64], groups: NDArray[np.int64], *, inverse: bool) -> NDArray[np.int64]:
        """Places exchanged inside their groups."""
        out = np.empty_like(places)
        for group in distinct(groups).tolist():
            mine = groups == group
            order = self._order(group)
            inside = places[mine] - self._groups[group]
            out[mine] = self._groups[group] + (order.inverse(inside) if inverse else order(inside))
        return out

    def _order(self, group: int) -> Permutation:
        order = self._orders.get(group)
        if order is None:
            windows = int(self._groups[group + 1] - self._groups[group])
            order = Permutation(windows, **self._key, name=f"{self._name} group {group}")
            self._orders[group] = order
            while len(self._orders) > _KEPT:
                self._orders.pop(next(iter(self._orders)), None)
        return order
