"""Where a loader's batch sizes, processes, sources, weights or skipped documents changed: what steps of the past held.

A *leg* is a stretch of steps under the same settings. From where it began, every later step follows by arithmetic; so
its begin and its settings are all that is kept of it, and the last leg tells of steps to come, too.

Not for: places within a leg (``epochs``). Costs: a few integers a change, part of the loader's state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from foreword.errors import ArgumentError, ForewordError, OutOfRangeError, StoreError
from foreword.windows.epochs import Epochs
from foreword.windows.plan import Place
from foreword.windows.weights import Weights

__all__ = ["History", "Leg", "Run"]


class Leg(NamedTuple):
    """Steps under the same settings.

    Attributes:
        place: where it begins.
        batch_size, world_size: of its steps.
        epochs: the arithmetic of its places.
    """

    place: Place
    batch_size: int
    world_size: int
    epochs: Epochs

    @property
    def size(self) -> int:
        """Samples a step, of all ranks together."""
        return self.batch_size * self.world_size

    @property
    def settings(self) -> dict[str, Any]:
        """What makes it another leg than the one before, as JSON has it."""
        return {"batch_size": self.batch_size, "world_size": self.world_size, **self.epochs.options}


class Run(NamedTuple):
    """Steps of one epoch in one leg.

    Attributes:
        leg: whose they are.
        place: before the first of them.
        steps: how many they are.
    """

    leg: Leg
    place: Place
    steps: int

    @property
    def first(self) -> int:
        """The number of the first."""
        assert self.place.step is not None
        return self.place.step


@dataclasses.dataclass(frozen=True)
class History:
    """The legs of a loader, in order."""

    legs: tuple[Leg, ...] = ()

    def since(self, new: Leg) -> History:
        """With a leg from its place on, in place of what came from there on; unless it goes on with the one before."""
        kept = tuple(leg for leg in self.legs if _comes_before(leg.place, new.place))
        if kept and kept[-1].settings == new.settings:
            return History(kept)
        return History((*kept, new))

    def runs(self, epoch: int) -> Iterator[Run]:
        """The steps of an epoch, leg by leg.

        Raises:
            ArgumentError: they are not known.
        """
        earlier = [leg for leg in self.legs if leg.place.epoch < epoch]
        within = [leg for leg in self.legs if leg.place.epoch == epoch]
        if within and within[0].place.step == 0:
            earlier = []
        elif not earlier or any(leg.place.step is None for leg in within):
            raise self._not_known(epoch)
        starts = [(leg, leg.epochs.start_of(epoch, leg.place, leg.size)) for leg in earlier[-1:]]
        starts += [(leg, leg.place) for leg in within]
        for i, (leg, place) in enumerate(starts):
            steps = leg.epochs.steps(place, leg.size)
            if i + 1 < len(starts):
                steps = min(steps, Run(*starts[i + 1], 0).first - Run(leg, place, 0).first)
            yield Run(leg, place, steps)

    def run_of(self, epoch: int, step: int) -> Run:
        """The run in which a step of an epoch lies.

        Raises:
            ArgumentError: it is not known; OutOfRangeError: there is no such step.
        """
        end = 0
        for run in self.runs(epoch):
            end = run.first + run.steps
            if step < end:
                return run
        raise OutOfRangeError(
            f"epoch {epoch} has no such step", got=f"{step:,}", expected=f"0 to {end - 1:,}" if end else "none"
        )

    def start_of(self, epoch: int, epochs: Epochs) -> Place:
        """Where an epoch starts, for a loader that has the settings of ``epochs`` now.

        Raises:
            ArgumentError: it is an epoch of a mixture from before it was changed.
        """
        if not epochs.mixture:
            return epochs.start_of(epoch, epochs.first, 1)
        for leg in reversed(self.legs):
            place = leg.place
            if place.epoch < epoch or (place.epoch == epoch and place.cursor == 0):
                if leg.epochs.options != epochs.options:
                    break
                return place if place.epoch == epoch else leg.epochs.start_of(epoch, place, leg.size)
        raise ArgumentError(
            f"where epoch {epoch} of this mixture began is not known any more",
            got=f"its sources or weights have been changed since then, in epoch {self.legs[-1].place.epoch}",
            fix="load a state that was saved in that epoch",
        )

    def _not_known(self, epoch: int) -> ArgumentError:
        first = next(leg for leg in self.legs)
        known = first.place.epoch + (first.place.step != 0)
        return ArgumentError(
            f"the steps of epoch {epoch} are not known: the state that was loaded does not tell the batch sizes then",
            got=f"a state of an earlier version, or of another kind of loader, saved in epoch {first.place.epoch}",
            expected=f"epoch {known} or a later one",
        )

    def saved(self) -> list[dict[str, Any]]:
        """The legs as JSON has them: each with its place, and those of its settings that the one before has not."""
        found, before = [], dict[str, Any]()
        for leg in self.legs:
            names = [track.name for track in leg.epochs.tracks]
            place, settings = leg.place, leg.settings
            counts = {"drawn": place.drawn, "before": place.before, "start": place.start[1]}
            found.append(
                {
                    "epoch": place.epoch,
                    "cursor": place.cursor,
                    "step": place.step,
                    "since": place.start[0],
                    **{key: dict(zip(names, values, strict=True)) for key, values in counts.items()},
                    **{key: value for key, value in settings.items() if before.get(key) != value},
                }
            )
            before = settings
        return found

    @classmethod
    def loaded(cls, saved: Any, epochs_of: Callable[[Mapping[str, Any], Weights], Epochs]) -> History:
        """The history that ``saved`` gave; ``epochs_of`` makes the arithmetic of a leg's settings.

        Raises:
            StoreError: it is no such thing.
        """
        legs: list[Leg] = []
        settings: dict[str, Any] = {}
        try:
            for entry in saved:
                settings = settings | {key: entry[key] for key in SETTINGS if key in entry}
                names = sorted(settings["windows"])
                weights = Weights(
                    tuple(_count(begin) for begin, _ in settings["weights"]),
                    tuple(tuple(Fraction(shares.get(name, 0)) for name in names) for _, shares in settings["weights"]),
                )
                drawn, before, start = (
                    tuple(_integer(entry[key][name]) for name in names) for key in ("drawn", "before", "start")
                )
                step = None if entry["step"] is None else _count(entry["step"])
                place = Place(
                    _count(entry["epoch"]),
                    _count(entry["cursor"]),
                    drawn,
                    before,
                    (_count(entry["since"]), start),
                    step,
                )
                batch_size, world_size = _count(settings["batch_size"]), _count(settings["world_size"])
                if not batch_size or not world_size or any(sum(shares) != 1 for shares in weights.shares):
                    raise ValueError
                legs.append(Leg(place, batch_size, world_size, epochs_of(settings, weights)))
        except ForewordError:
            raise
        except (TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError):
            raise StoreError(
                "the state's history can't be read", got=repr(saved)[:200], fix="load the state as it was saved"
            ) from None
        return cls(tuple(legs))


SETTINGS = ("batch_size", "world_size", "mixture", "drop_last", "weights", "windows", "skip")


def _comes_before(one: Place, other: Place) -> bool:
    """Whether a place comes before another; where the steps of an epoch are not known, only its next ones do."""
    if one.epoch != other.epoch:
        return one.epoch < other.epoch
    return one.step is not None and other.step is not None and one.step < other.step


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _count(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError
    return value  # type: ignore[no-any-return]
