"""Places in a loader's samples, by arithmetic: where an epoch ends, where the next begins.

A single source begins each epoch anew, whatever ``drop_last`` left out of the one before. The sources of a mixture have
epochs of their own: the mixture's next epoch begins with their next draws, and is as many samples as they have windows
together.

Not for: whose place is the loader's (``iterations``), other sources, weights or batch sizes before (``history``).
Costs: for a mixture, a microsecond a sample that is skipped, or a table of its order (``timetable``).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.windows.mixture import Schedule
from foreword.windows.plan import Place, plan
from foreword.windows.weights import Weights

__all__ = ["Epochs"]


class Epochs:
    """The epochs of some sources.

    Args:
        tracks: the sources.
        weights: their shares.
        mixture: whether they are a mixture, which one may be too.
        drop_last: whether a last step that is not full is left out.

    Attributes:
        tracks, weights, mixture: as given.
    """

    def __init__(self, tracks: Sequence[Any], weights: Weights, *, mixture: bool, drop_last: bool) -> None:
        self.tracks, self.weights, self.mixture = list(tracks), weights, mixture
        self._drop_last = drop_last

    @functools.cached_property
    def samples(self) -> int:
        """Samples an epoch, of all ranks together."""
        return sum(track.samples for track in self.tracks)

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """What the order of samples and steps follows from, beside the sources themselves, as JSON has it."""
        return {
            "mixture": self.mixture,
            "drop_last": self._drop_last,
            "weights": self.weights.described([track.name for track in self.tracks]),
            "windows": {track.name: track.samples for track in self.tracks},
            "skip": {track.name: list(track.skip) for track in self.tracks if track.skip},
        }

    @property
    def first(self) -> Place:
        """Where the first epoch starts."""
        none = (0,) * len(self.tracks)
        return Place(0, 0, none, none, (0, none), 0)

    def schedule(self, drawn: Sequence[int]) -> Schedule:
        """The sources of the samples that come once ``drawn`` have."""
        return Schedule(self.weights, drawn)

    def steps(self, place: Place, size: int) -> int:
        """Steps of ``size`` samples that are left of the epoch."""
        whole, rest = divmod(self.samples - place.cursor, size)
        return whole + (rest > 0 and not self._drop_last)

    def after(self, place: Place, steps: int, size: int) -> Place:
        """The place so many steps of ``size`` samples later in the epoch; its end, if it has fewer left."""
        samples = min(steps * size, self.samples - place.cursor)
        schedule = self.schedule(place.drawn)
        schedule.skip(samples)
        return place._replace(
            cursor=place.cursor + samples, drawn=tuple(schedule.counts), step=place.later(-(-samples // size))
        )

    def next(self, place: Place, size: int) -> Place:
        """Where the next epoch starts, once ``place``'s has been gone through to its end in steps of ``size``."""
        return self.start_of(place.epoch + 1, place, size)

    def start_of(self, epoch: int, place: Place, size: int) -> Place:
        """Where a later epoch than ``place``'s starts, if all until then are gone through in steps of ``size``."""
        if not self.mixture:
            drawn: tuple[int, ...] = (epoch * self.samples,)
        else:
            whole = min(self.steps(self.first, size) * size, self.samples)
            left = min(self.steps(place, size) * size, self.samples - place.cursor)
            schedule = self.schedule(place.drawn)
            schedule.skip(left + (epoch - place.epoch - 1) * whole)
            drawn = tuple(schedule.counts)
        return Place(epoch, 0, drawn, place.before, (0, drawn), 0)

    def first_windows(self, place: Place, nth: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp] | None]:
        """The windows with which the epoch of ``place`` began, and their owners; the ``nth`` of all, [n]."""
        cursor, drawn = place.start
        nth = nth % (self.samples - cursor)
        samples = int(nth.max()) + 1
        planned = plan(self.tracks, samples, np.arange(samples), self.schedule(drawn), place.before)
        return planned.windows[nth], None if planned.owners is None else planned.owners[nth]
