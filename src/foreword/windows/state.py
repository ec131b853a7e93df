"""A loader's state as data: a place, and what it is a place in.

    version, seed, shuffle
    epoch, cursor      samples of the epoch that all ranks together have handed out
    start              cursor, and what each source had given, where the epoch, or the mixture within it, began
    sources            of each: fingerprint, weight, samples drawn with these weights, and its own epoch and cursor
    dropped            of each source that was left out on the way: fingerprint, and its own epoch and cursor

All are integers and strings. Version 1 has neither ``start`` nor ``dropped``, and is still read.

Not for: whose place it is (``iterations``). Costs: the fingerprint of each source, once; to read version 1 of a
mixture, a microsecond a sample of its order that is gone through again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foreword.errors import ArgumentError, StoreError
from foreword.windows.epochs import Epochs
from foreword.windows.plan import Place, Track

__all__ = ["States"]

VERSIONS = (1, 2)

Source = Mapping[str, Any]


class States:
    """Places to data and back, for one loader.

    Args:
        tracks: its sources.
        epochs: the arithmetic of places in them.
        mixture: whether they are a mixture, which one may be too.
        options: what else has to be the same, seed and shuffle.
    """

    def __init__(self, tracks: Sequence[Track], epochs: Epochs, *, mixture: bool, options: Mapping[str, Any]) -> None:
        self._tracks, self._epochs, self._mixture, self._options = tracks, epochs, mixture, options
        self._dropped: dict[str, Source] = {}

    def save(self, place: Place) -> dict[str, Any]:
        """The state of a loader that stands at ``place``."""
        sources = {}
        for track, drawn, before in zip(self._tracks, place.drawn, place.before, strict=True):
            epoch, cursor = divmod(before + drawn, len(track.data))
            sources[track.name] = {
                "fingerprint": track.data.fingerprint,
                "weight": str(track.weight),
                "drawn": drawn,
                "epoch": epoch,
                "cursor": cursor,
            }
        cursor, drawn_then = place.start
        names = [track.name for track in self._tracks]
        state = {
            "version": VERSIONS[-1],
            **self._options,
            "epoch": place.epoch,
            "cursor": place.cursor,
            "start": {"cursor": cursor, "drawn": dict(zip(names, drawn_then, strict=True))},
            "sources": sources,
        }
        dropped = {name: dict(source) for name, source in self._dropped.items()}
        return state | ({"dropped": dropped} if dropped else {})

    def load(self, state: Mapping[str, Any]) -> Place:
        """The place of a state; remembers the sources that have been dropped.

        Raises:
            StoreError: the state belongs to other data, another order, or another version; or there is no such place.
        """
        self._check_options(state)
        sources, dropped = state.get("sources"), state.get("dropped", {})
        for entries in (sources, dropped):
            if not isinstance(entries, Mapping) or not all(isinstance(source, Mapping) for source in entries.values()):
                raise StoreError("the state tells no sources", got=repr(entries))
        assert sources is not None
        self._check_sources({**dropped, **sources}, sources)
        place = self._place(state, sources, dropped)
        ours = {track.name for track in self._tracks}
        kept = ("fingerprint", "epoch", "cursor")
        left = {**dropped, **sources}
        self._dropped = {name: {key: left[name][key] for key in kept} for name in sorted(left.keys() - ours)}
        return place

    def _check_options(self, state: Mapping[str, Any]) -> None:
        for field, expected in {"version": VERSIONS, **{k: (v,) for k, v in self._options.items()}}.items():
            if state.get(field) not in expected:
                raise StoreError(
                    f"the state does not fit this loader: its {field} differs",
                    got=state.get(field),
                    expected=" or ".join(map(str, expected)),
                    fix="use the options with which the state was saved",
                )

    def _check_sources(self, known: Mapping[str, Source], sources: Mapping[str, Source]) -> None:
        ours = {track.name: track.data for track in self._tracks}
        if not ours.keys() & known.keys():
            raise StoreError(
                f"the state does not fit this loader: the source {next(iter(sources), None)!r} was removed",
                got=sorted(ours),
                expected=sorted(sources),
                fix="give the sources that the state knows under their names; some may be left out, and new ones added",
            )
        for name in ours.keys() & known.keys():
            if known[name].get("fingerprint") != ours[name].fingerprint:
                raise StoreError(
                    f"the state does not fit this loader: the fingerprint of the source {name!r} differs",
                    got=known[name].get("fingerprint"),
                    expected=ours[name].fingerprint,
                    fix="use the data, context_length, stride and tail with which the state was saved",
                )

    def _place(self, state: Mapping[str, Any], sources: Mapping[str, Source], dropped: Mapping[str, Source]) -> Place:
        """The place that a state describes.

        Raises:
            StoreError: there is no such place.
        """
        epoch, cursor, samples = state.get("epoch"), state.get("cursor"), self._epochs.samples
        nowhere = StoreError("the state has no such place", got=f"epoch {epoch!r}, cursor {cursor!r}, {dict(sources)}")
        numbers = [epoch, cursor, *(source.get("drawn") for source in sources.values())]
        numbers += [source.get(key) for source in (*sources.values(), *dropped.values()) for key in ("epoch", "cursor")]
        if not all(_is_count(number) for number in numbers):
            raise nowhere
        assert isinstance(epoch, int)
        assert isinstance(cursor, int)
        names = [track.name for track in self._tracks]
        new = {"epoch": 0, "cursor": 0, "drawn": 0}
        known = [sources.get(name, dropped.get(name, new)) for name in names]
        totals = [s["epoch"] * len(track.data) + s["cursor"] for s, track in zip(known, self._tracks, strict=True)]
        if not self._mixture:  # its draws are counted from epoch 0 on, and the epoch is the loader's
            if len(sources) > 1:  # the others of a mixture were dropped
                epoch, cursor = divmod(totals[0], samples)
            if totals != [epoch * samples + cursor] or cursor > samples:
                raise nowhere
            return Place(epoch, cursor, (totals[0],), (0,), (0, (epoch * samples,)))
        if sources.keys() != set(names) or any(
            sources[track.name].get("weight") != str(track.weight) for track in self._tracks
        ):  # another mixture: it begins here
            if cursor > samples and sources.keys() <= set(names):
                raise nowhere
            none = (0,) * len(names)
            cursor = min(cursor, samples)
            return Place(epoch, cursor, none, tuple(totals), (cursor, none))
        drawn = tuple(sources[name]["drawn"] for name in names)
        if cursor > samples or not self._epochs.schedule(drawn).fits():
            raise nowhere
        before = tuple(total - count for total, count in zip(totals, drawn, strict=True))
        start = self._start(state, cursor, drawn)
        if start is None or min(before) < 0:
            raise nowhere
        return Place(epoch, cursor, drawn, before, start)

    def _start(
        self, state: Mapping[str, Any], cursor: int, drawn: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]] | None:
        """Where the epoch or the mixture began, as ``Place.start``; None where there is no such place."""
        if "start" not in state:  # version 1: by going through the mixture from its beginning
            given = sum(drawn)
            schedule = self._epochs.schedule((0,) * len(drawn))
            try:
                schedule.skip(max(0, given - cursor))
            except ArgumentError:  # too long a way
                return cursor, drawn
            return max(0, cursor - given), tuple(schedule.counts)
        start = state["start"]
        if not isinstance(start, Mapping) or not isinstance(start.get("drawn"), Mapping):
            return None
        then: Any = start.get("cursor")
        drawn_then: Any = tuple(start["drawn"].get(track.name) for track in self._tracks)
        if not all(_is_count(number) for number in (then, *drawn_then)):
            return None
        since = [now - before for now, before in zip(drawn, drawn_then, strict=True)]
        if min(since) < 0 or sum(since) != cursor - then or not self._epochs.schedule(drawn_then).fits():
            return None
        return then, drawn_then


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 0
