"""Which window each sample of an epoch is, and which of the samples are one rank's.

A *draw* is a sample taken from a source, numbered from 0 on through all its epochs: draw d of a source of n windows is
place d mod n of the order of its epoch d div n. So where a loader stands is a number of draws of each source.

Not for: reading tokens. Costs: 8 bytes a window planned ahead, and for a mixture a microsecond a sample of all ranks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError
from foreword.windows.block_order import BlockOrder, run_length
from foreword.windows.dataset import WindowDataset
from foreword.windows.mixture import Schedule
from foreword.windows.order import Permutation

__all__ = ["Ahead", "Place", "Track", "my_places", "plan"]


class Place(NamedTuple):
    """A place in a loader's samples.

    Attributes:
        epoch: from 0.
        cursor: samples of the epoch that all ranks together have handed out.
        drawn: samples that each source has given, [sources]: of a mixture, since it has had these weights.
        before: draws of each source before that, [sources].
        start: the cursor, and what was ``drawn``, where the epoch began; or the mixture, if it did within the epoch.
    """

    epoch: int
    cursor: int
    drawn: tuple[int, ...]
    before: tuple[int, ...]
    start: tuple[int, tuple[int, ...]]


class Track:
    """One source of samples: endless draws from it, epoch after epoch, each in its own order."""

    def __init__(
        self, name: str, data: WindowDataset, weight: Fraction, seed: int | None, group: int | None = None
    ) -> None:
        self.name, self.data, self.weight = name, data, weight
        self._seed = seed  # None: windows come in their order
        self._order: tuple[int, Permutation | BlockOrder] | None = None
        self._group = group  # of blocks, inside which windows are shuffled
        self._runs = None if group is None else data.runs_of_blocks(run_length(group))
        if group is not None and self._runs is None:
            raise ArgumentError(
                'shuffle="blocks" takes windows in the order of the stream, and packed windows have none',
                got=f"packing={data.packing!r}",
                fix="leave packing out, or take shuffle=True",
            )

    def windows(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows of the given draws, in rising order, [n]."""
        if not len(draws):
            return draws
        windows, n = np.empty_like(draws), len(self.data)
        first, last = int(draws[0]) // n, int(draws[-1]) // n
        for epoch in range(first, last + 1):
            low, high = np.searchsorted(draws, (epoch * n, (epoch + 1) * n))
            windows[low:high] = self._of_epoch(epoch, draws[low:high] - epoch * n)
        return windows

    def _of_epoch(self, epoch: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._seed is None:
            return places
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._drawn(self._seed, epoch)
        return self._order[1](places)

    def _drawn(self, seed: int, epoch: int) -> Permutation | BlockOrder:
        if self._group is None or self._runs is None:
            return Permutation(len(self.data), seed=seed, epoch=epoch, name=self.name)
        runs = max(1, self._group // run_length(self._group))
        return BlockOrder(self._runs, group=runs, seed=seed, epoch=epoch, name=self.name)


@dataclasses.dataclass(frozen=True)
class Ahead:
    """Samples planned ahead.

    Attributes:
        windows: the window of each sample of this rank, [n].
        owners: the track that it is of, [n]; None where there is one.
    """

    windows: NDArray[np.int64]
    owners: NDArray[np.intp] | None
    _drawn: tuple[int, ...]
    _sources: NDArray[np.intp] | None

    def drawn(self, samples: int) -> tuple[int, ...]:
        """What each source has given when ``samples`` of all ranks have been handed out."""
        if self._sources is None:
            return (self._drawn[0] + samples,)
        counts = np.bincount(self._sources[:samples], minlength=len(self._drawn))
        return tuple((counts + self._drawn).tolist())


def plan(
    tracks: Sequence[Track], samples: int, mine: NDArray[np.int64], schedule: Schedule, before: tuple[int, ...]
) -> Ahead:
    """The next ``samples`` samples of all ranks; those at the places ``mine``, rising, [n], are this rank's.

    ``before`` are the draws of each source before the schedule began.
    """
    drawn = tuple(schedule.counts)
    if len(tracks) == 1:
        schedule.counts[0] += samples
        return Ahead(tracks[0].windows(before[0] + drawn[0] + mine), None, drawn, None)
    sources = schedule.take(samples)
    owners, windows = sources[mine], np.empty_like(mine)
    for i, track in enumerate(tracks):
        nth = before[i] + drawn[i] - 1 + np.cumsum(sources == i)  # the draw that a sample is, if it is of this source
        windows[owners == i] = track.windows(nth[mine[owners == i]])
    return Ahead(windows, owners, drawn, sources)


def my_places(samples: int, batch_size: int, rank: int, world_size: int) -> NDArray[np.int64]:
    """Which of the next ``samples`` samples are one rank's, in rising order: whole steps, or one short last step.

    The short step is shared out in equal shares, give or take one. Where it has fewer samples than there are ranks, a
    place from ``samples`` on is one of the epoch's first, which a rank repeats so that all have as many batches.

    >>> my_places(8, 2, 1, 2), my_places(3, 2, 1, 2), my_places(1, 2, 1, 2)
    (array([2, 3, 6, 7]), array([1, 2]), array([1]))
    """
    steps, rest = divmod(samples, batch_size * world_size)
    if rest:
        shared = max(rest, world_size)
        return np.arange(shared * rank // world_size, shared * (rank + 1) // world_size)
    starts = batch_size * world_size * np.arange(steps) + batch_size * rank
    return (starts[:, None] + np.arange(batch_size)).reshape(-1)
