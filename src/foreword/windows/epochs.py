"""Places in a loader's samples, by arithmetic: where an epoch ends, where the next begins.

A single source begins each epoch anew, whatever ``drop_last`` left out of the one before. The sources of a mixture have
epochs of their own: the mixture's next epoch begins with their next draws, and is as many samples as they have windows
together.

Not for: whose place is the loader's (``iterations``). Costs: for a mixture, a microsecond a sample that is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

from foreword.errors import ArgumentError
from foreword.windows.mixture import Schedule
from foreword.windows.plan import Place, Track

__all__ = ["Epochs"]


class Epochs:
    """The epochs of some sources.

    Args:
        tracks: the sources.
        mixture: whether they are a mixture, which one may be too.
        drop_last: whether a last step that is not full is left out.

    Attributes:
        samples: samples an epoch, of all ranks together.
    """

    def __init__(self, tracks: Sequence[Track], *, mixture: bool, drop_last: bool) -> None:
        self._tracks, self._mixture, self._drop_last = tracks, mixture, drop_last
        self.samples = sum(len(track.data) for track in tracks)

    @property
    def first(self) -> Place:
        """Where the first epoch starts."""
        none = (0,) * len(self._tracks)
        return Place(0, 0, none, none, (0, none))

    def schedule(self, drawn: Sequence[int]) -> Schedule:
        """The sources of the samples that come once ``drawn`` have."""
        return Schedule([track.weight for track in self._tracks], drawn)

    def steps(self, place: Place, step: int) -> int:
        """Steps of ``step`` samples that are left of the epoch."""
        whole, rest = divmod(self.samples - place.cursor, step)
        return whole + (rest > 0 and not self._drop_last)

    def after(self, place: Place, samples: int) -> Place:
        """The place ``samples`` later in the epoch; its end, if it has fewer left."""
        samples = min(samples, self.samples - place.cursor)
        schedule = self.schedule(place.drawn)
        schedule.skip(samples)
        return place._replace(cursor=place.cursor + samples, drawn=tuple(schedule.counts))

    def next(self, place: Place, step: int) -> Place:
        """Where the next epoch starts, once ``place``'s has been gone through to its end in steps of ``step``."""
        end = self.after(place, self.steps(place, step) * step)
        return self._begin(place.epoch + 1, end.drawn, place.before)

    def start_of(self, epoch: int, place: Place, step: int) -> Place:
        """Where ``epoch`` starts, seen from ``place``, if all epochs are gone through in steps of ``step``.

        Raises:
            ArgumentError: it is an epoch from before the mixture was changed.
        """
        if not self._mixture:
            return self._begin(epoch, (epoch * self.samples,), place.before)
        schedule = self.schedule(place.drawn)
        if epoch > place.epoch:
            whole = self.steps(self.first, step) * step
            left = self.steps(place, step) * step
            schedule.skip(min(left, self.samples - place.cursor) + (epoch - place.epoch - 1) * min(whole, self.samples))
            return self._begin(epoch, tuple(schedule.counts), place.before)
        whole = min(self.steps(self.first, step) * step, self.samples)
        drawn = sum(place.drawn) - place.cursor - (place.epoch - epoch) * whole
        if drawn < 0 or (epoch == 0 and drawn > 0):
            raise ArgumentError(
                f"where epoch {epoch} of this mixture began is not known any more",
                got=f"epoch {place.epoch}; its sources, weights or batch sizes have been changed since then",
                fix="load a state that was saved in that epoch",
            )
        schedule = self.schedule((0,) * len(self._tracks))
        schedule.skip(drawn)
        return self._begin(epoch, tuple(schedule.counts), place.before)

    def _begin(self, epoch: int, drawn: tuple[int, ...], before: tuple[int, ...]) -> Place:
        if not self._mixture:
            drawn = (epoch * self.samples,)
        return Place(epoch, 0, drawn, before, (0, drawn))
