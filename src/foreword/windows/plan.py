"""Which window each sample of an epoch is, and which of the samples are one rank's.

A *draw* is a sample taken from a source, numbered from 0 on through all its epochs: draw d of a source of n windows is
place d mod n of the order of its epoch d div n. So where a loader stands is a number of draws of each source.

Not for: reading tokens. Costs: 8 bytes a window planned ahead, and for a mixture a microsecond a sample of all ranks.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.errors import ArgumentError
from foreword.windows.block_order import BlockOrder, run_length
from foreword.windows.dataset import WindowDataset
from foreword.windows.mixture import Schedule
from foreword.windows.order import Permutation
from foreword.windows.skip import InOrder, Order, Rest

__all__ = ["Ahead", "Lost", "Place", "Track", "my_places", "plan"]

ORDERS = 4  # of each source, kept: an iterator's, one's that runs inside it, and those that were asked for


class Place(NamedTuple):
    """A place in a loader's samples.

    Attributes:
        epoch: from 0.
        cursor: samples of the epoch that all ranks together have handed out; of a single source, as many as would have
            been with the documents left out that are now.
        drawn: samples that each source has given, [sources]: of a mixture, since it has had these weights.
        before: draws of each source before that, [sources].
        start: the cursor, and what was ``drawn``, where the epoch began; or the mixture, if it did within the epoch.
        step: batches of the epoch that each rank has had; None where that is not known.
    """

    epoch: int
    cursor: int
    drawn: tuple[int, ...]
    before: tuple[int, ...]
    start: tuple[int, tuple[int, ...]]
    step: int | None

    def later(self, steps: int) -> int | None:
        """The step that comes ``steps`` later; None where it is not known."""
        return None if self.step is None else self.step + steps


class Track:
    """One source of samples: endless draws from it, epoch after epoch, each in its own order.

    Args:
        name: of the source.
        data: its windows.
        seed: of its orders; None: windows come in their order.
        skip: documents, windows that hold tokens of which do not come.
        group: blocks, inside which windows are shuffled; None: all are shuffled together.

    Raises:
        ArgumentError: a group, and packed windows.
    """

    def __init__(
        self, name: str, data: WindowDataset, *, seed: int | None, skip: Sequence[int] = (), group: int | None = None
    ) -> None:
        self.name, self.data, self.skip = name, data, tuple(skip)
        self._seed = seed
        self._group = group
        self._runs = None if group is None else data.runs_of_blocks(run_length(group))
        if group is not None and self._runs is None:
            raise ArgumentError(
                'shuffle="blocks" takes windows in the order of the stream, and packed windows have none',
                got=f"packing={data.packing!r}",
                fix="leave packing out, or take shuffle=True",
            )
        self._orders: dict[int, Rest] = {}  # of the epochs used last

    @functools.cached_property
    def left_out(self) -> NDArray[np.int64]:
        """The windows that do not come, rising."""
        return self.data.holding(np.array(self.skip, np.int64)) if self.skip else np.zeros(0, np.int64)

    @functools.cached_property
    def samples(self) -> int:
        """Windows an epoch."""
        return len(self.data) - len(self.left_out)

    def refuse_to_be_empty(self) -> None:
        """Refuse to leave out every window.

        Raises:
            ArgumentError: names the source.
        """
        if not self.samples:
            raise ArgumentError(
                f"skip leaves out every window of the source {self.name!r}",
                got=f"{counted(len(self.skip), 'document')}, {counted(len(self.data), 'window')}",
                fix="skip fewer documents, or leave the source out",
            )

    def skipping(self, skip: Sequence[int]) -> Track:
        """The same source without windows of these documents."""
        other = copy.copy(self)
        other.skip, other._orders = tuple(skip), {}
        for known in ("left_out", "samples"):
            vars(other).pop(known, None)
        return other

    def windows(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows of the given draws, in rising order, [n]."""
        if not len(draws):
            return draws
        n = self.samples
        first, last = int(draws[0]) // n, int(draws[-1]) // n
        if first == last:
            return self.order(first)(draws - first * n)
        windows = np.empty_like(draws)
        for epoch in range(first, last + 1):
            low, high = np.searchsorted(draws, (epoch * n, (epoch + 1) * n))
            windows[low:high] = self.order(epoch)(draws[low:high] - epoch * n)
        return windows

    def draws(self, windows: NDArray[np.int64], first: int, end: int) -> Iterator[NDArray[np.int64]]:
        """The draws from ``first`` to before ``end`` that give one of the windows, epoch by epoch."""
        if end - first <= len(windows):  # few draws: look which windows they are
            yield first + np.flatnonzero(np.isin(self.windows(np.arange(first, end)), windows))
            return
        windows, n = windows[~_among(windows, self.left_out)], self.samples
        for epoch in range(first // n, -(-end // n)):
            draws = self.order(epoch).nth(windows) + epoch * n
            yield draws[(draws >= first) & (draws < end)]

    def order(self, epoch: int) -> Rest:
        """The order of an epoch of this source."""
        order = self._orders.get(epoch)
        if order is None:
            order = Rest(self._whole(epoch), self.left_out)
            # A new dict, so that a thread that saves a state meets none that is being changed.
            self._orders = dict([*self._orders.items(), (epoch, order)][-ORDERS:])
        return order

    def _whole(self, epoch: int) -> Order:
        """The order of an epoch, of all windows."""
        if self._seed is None:
            return InOrder()
        if self._group is not None and self._runs is not None:
            runs = max(1, self._group // run_length(self._group))
            return BlockOrder(self._runs, group=runs, seed=self._seed, epoch=epoch, name=self.name)
        return Permutation(len(self.data), seed=self._seed, epoch=epoch, name=self.name)

    def stand(self, draws: int) -> tuple[int, int]:
        """Where the source stands after so many draws: its epoch, and a place in the order of all its windows."""
        epoch, nth = divmod(draws, self.samples)
        return epoch, int(self.order(epoch).places(np.array([nth - 1]))[0]) + 1 if nth else 0

    def draws_until(self, epoch: int, place: int) -> int:
        """After how many draws it stands there, if the same windows have been left out always."""
        epochs, place = divmod(place, len(self.data))
        epoch += epochs
        return epoch * self.samples + self.order(epoch).before(place)


def _among(values: NDArray[np.int64], rising: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the values are among others that are rising."""
    at = np.searchsorted(rising, values)
    found = at < len(rising)
    found[found] = rising[at[found]] == values[found]
    return found


class Lost:
    """A source that a loader had, and has no more: its windows are not known.

    Attributes:
        name, samples, skip: as of the ``Track`` that it was.
    """

    def __init__(self, name: str, samples: int, skip: Sequence[int]) -> None:
        self.name, self.samples, self.skip = name, samples, tuple(skip)

    def windows(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """−1 for each of the draws."""
        return np.full_like(draws, -1)


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
    tracks: Sequence[Track | Lost], samples: int, mine: NDArray[np.int64], schedule: Schedule, before: tuple[int, ...]
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
    if world_size == 1:
        return np.arange(samples)
    steps, rest = divmod(samples, batch_size * world_size)
    if rest:
        shared = max(rest, world_size)
        return np.arange(shared * rank // world_size, shared * (rank + 1) // world_size)
    starts = batch_size * world_size * np.arange(steps) + batch_size * rank
    return (starts[:, None] + np.arange(batch_size)).reshape(-1)
