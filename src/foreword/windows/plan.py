"""Which window each sample of an epoch is, and which of the samples are one rank's.

A *draw* is a sample taken from a source, numbered from 0 on through all its epochs: draw d of a source of n windows is
place d mod n of the order of its epoch d div n. So where a loader stands is told by its draws of each source.

Not for: reading tokens. Costs: 8 bytes a window planned ahead, and for a mixture a microsecond a sample of all ranks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword.windows.dataset import WindowDataset
from foreword.windows.mixture import Schedule
from foreword.windows.order import Permutation

__all__ = ["Ahead", "Place", "Track", "plan"]


class Place(NamedTuple):
    """Where a loader stands: its epoch, the samples of it handed out by all ranks, and the draws of each source."""

    epoch: int
    cursor: int
    draws: tuple[int, ...]


class Track:
    """One source of samples: endless draws from it, epoch after epoch, each in its own order.

    Attributes:
        before: draws made before the present mixture began; the mixture's draws count on from there.
    """

    def __init__(self, name: str, data: WindowDataset, weight: Fraction, seed: int | None) -> None:
        self.name, self.data, self.weight, self.before = name, data, weight, 0
        self._seed = seed  # None: windows come in their order
        self._order: tuple[int, Permutation] | None = None

    def windows(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows of the given draws of the present mixture, in rising order, [n]."""
        places = draws + self.before
        if not len(places):
            return places
        windows, n = np.empty_like(places), len(self.data)
        first, last = int(places[0]) // n, int(places[-1]) // n
        for epoch in range(first, last + 1):
            low, high = np.searchsorted(places, (epoch * n, (epoch + 1) * n))
            windows[low:high] = self._of_epoch(epoch, places[low:high] - epoch * n)
        return windows

    def _of_epoch(self, epoch: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._seed is None:
            return places
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, Permutation(len(self.data), seed=self._seed, epoch=epoch, name=self.name)
        return self._order[1](places)


@dataclasses.dataclass(frozen=True)
class Ahead:
    """Samples planned ahead.

    Attributes:
        windows: the window of each sample of this rank, [n].
        owners: the track that it is of, [n]; None where there is one.
    """

    windows: NDArray[np.int64]
    owners: NDArray[np.intp] | None
    _before: tuple[int, ...]
    _sources: NDArray[np.intp] | None

    def draws(self, samples: int) -> tuple[int, ...]:
        """The draws of each source when ``samples`` of all ranks have been handed out."""
        if self._sources is None:
            return (self._before[0] + samples,)
        counts = np.bincount(self._sources[:samples], minlength=len(self._before))
        return tuple((counts + self._before).tolist())


def plan(tracks: Sequence[Track], samples: int, mine: NDArray[np.int64], schedule: Schedule) -> Ahead:
    """The next ``samples`` samples of all ranks; those at the places ``mine``, rising, [n], are this rank's."""
    before = tuple(schedule.counts)
    if len(tracks) == 1:
        schedule.counts[0] += samples
        return Ahead(tracks[0].windows(before[0] + mine), None, before, None)
    sources = schedule.take(samples)
    owners, windows = sources[mine], np.empty_like(mine)
    for i, track in enumerate(tracks):
        nth = before[i] - 1 + np.cumsum(sources == i)  # the draw that a sample is, if it is of this source
        windows[owners == i] = track.windows(nth[mine[owners == i]])
    return Ahead(windows, owners, before, sources)
