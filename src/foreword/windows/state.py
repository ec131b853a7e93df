"""A loader's state as data: a place, what it is a place in, and how it came there.

    version, seed, shuffle
    epoch, cursor      samples of the epoch that all ranks together have handed out
    step               batches of the epoch that each rank has had
    start              cursor, and what each source had given, where the epoch, or the mixture within it, began
    sources            of each: fingerprint, samples drawn with these weights, its own epoch, and the place in the order
                       of all its windows, those of skipped documents too
    dropped            of each source that was left out on the way: fingerprint, and its own epoch and cursor
    history            since when which batch_size, world_size, drop_last, weights, sources and skipped documents

All are integers and strings. Version 2 has neither ``step`` nor ``history``, but a weight for each source; version 1
has neither ``start`` nor ``dropped``. Both are still read.

Not for: whose place it is (``iterations``). Costs: the fingerprint of each source, once; to read version 1 of a
mixture, a microsecond a sample of its order that is gone through again.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from foreword._base.words import counted
from foreword.errors import ArgumentError, StoreError
from foreword.windows.epochs import Epochs
from foreword.windows.history import History
from foreword.windows.plan import Lost, Place
from foreword.windows.skip import documents_to_skip
from foreword.windows.weights import Weights

__all__ = ["States"]

VERSIONS = (1, 2, 3)

Source = Mapping[str, Any]


class States:
    """Places and histories to data and back, for one loader.

    Args:
        epochs: the arithmetic of its places.
        options: what else has to be the same, seed and shuffle.
    """

    def __init__(self, epochs: Epochs, options: Mapping[str, Any]) -> None:
        self._epochs, self._options = epochs, options
        self._tracks, self._mixture = epochs.tracks, epochs.mixture
        self._dropped: dict[str, Source] = {}

    def save(self, place: Place, history: History) -> dict[str, Any]:
        """The state of a loader that stands at ``place``."""
        sources = {}
        for track, drawn, before in zip(self._tracks, place.drawn, place.before, strict=True):
            epoch, cursor = track.stand(before + drawn)
            sources[track.name] = {
                "fingerprint": track.data.fingerprint,
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
            "step": place.step,
            "start": {"cursor": cursor, "drawn": dict(zip(names, drawn_then, strict=True))},
            "sources": sources,
            # A tuple, which torch's distributed checkpoint saves and loads as one: of lists, only as many entries, and
            # of those only such keys, as the loader's own state has.
            "history": tuple(history.saved()),
        }
        dropped = {name: dict(source) for name, source in self._dropped.items()}
        return state | ({"dropped": dropped} if dropped else {})

    def load(self, state: Mapping[str, Any]) -> tuple[Place, History]:
        """The place of a state, and how it came there; remembers the sources that have been dropped.

        Raises:
            StoreError: the state belongs to other data, another order, or another version; or there is no such place.
        """
        if not isinstance(state, Mapping):
            raise StoreError(
                "this is no state of a loader", got=f"{type(state).__name__} {state!r}"[:80], expected="a state_dict()"
            )
        self._check_options(state)
        sources, dropped = state.get("sources"), state.get("dropped", {})
        for entries in (sources, dropped):
            if not isinstance(entries, Mapping) or not all(isinstance(source, Mapping) for source in entries.values()):
                raise StoreError("the state tells no sources", got=repr(entries))
        assert sources is not None
        self._check_sources({**dropped, **sources}, sources)
        history = History.loaded(state["history"] if state["version"] > 2 else (), self._epochs_of)
        lost = {track.name for leg in history.legs for track in leg.epochs.tracks} - {*sources, *dropped}
        if lost and self._mixture:
            raise StoreError(
                "the state has lost sources that its history names: torch's distributed checkpoint loads only those "
                "that the loader's own state has",
                got=sorted({*sources, *dropped}),
                expected=sorted({*sources, *dropped} | lost),
                fix="save and load json.dumps(loader.state_dict()), one value, where sources change",
            )
        place = self._place(state, sources, dropped, history)
        if not self._mixture and len(sources) > 1:
            history = History()  # its epochs were the mixture's
        ours = {track.name for track in self._tracks}
        kept = ("fingerprint", "epoch", "cursor")
        left = {**dropped, **sources}
        self._dropped = {name: {key: left[name][key] for key in kept} for name in sorted(left.keys() - ours)}
        return place, history

    def _epochs_of(self, settings: Mapping[str, Any], weights: Weights) -> Epochs:
        """The arithmetic of places under the settings of an earlier leg."""
        tracks = {track.name: track for track in self._tracks}
        then = []
        for name, windows in sorted(settings["windows"].items()):
            skip = settings["skip"].get(name, [])
            track: Any = tracks.get(name)
            if track is None:
                track = Lost(name, windows, skip)
            elif tuple(skip) != track.skip:
                checked = documents_to_skip({name: skip}, {name: track.data}, mixture=True)
                track = track.skipping(checked.get(name, ()))
            if track.samples != windows or not _is_count(windows):
                raise StoreError(
                    f"the state does not fit this loader: documents of the source {name!r} lie elsewhere",
                    got=f"{counted(track.samples, 'window')} without those of skipped documents",
                    expected=windows,
                    fix="give the offsets= with which the state was saved",
                )
            then.append(track)
        if not isinstance(settings["mixture"], bool) or not isinstance(settings["drop_last"], bool):
            raise TypeError
        epochs = Epochs(then, weights, mixture=settings["mixture"], drop_last=settings["drop_last"])
        if epochs.samples < 1:
            raise ValueError
        return self._epochs if epochs.options == self._epochs.options else epochs

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

    def _place(
        self,
        state: Mapping[str, Any],
        sources: Mapping[str, Source],
        dropped: Mapping[str, Source],
        history: History,
    ) -> Place:
        """The place that a state describes.

        Raises:
            StoreError: there is no such place.
        """
        epoch, cursor, samples = state.get("epoch"), state.get("cursor"), self._epochs.samples
        nowhere = StoreError("the state has no such place", got=f"epoch {epoch!r}, cursor {cursor!r}, {dict(sources)}")
        step = state.get("step") if state["version"] > 2 else (None if cursor else 0)
        numbers = [epoch, cursor, *(source.get("drawn") for source in sources.values())]
        numbers += [source.get(key) for source in (*sources.values(), *dropped.values()) for key in ("epoch", "cursor")]
        if not all(_is_count(number) for number in numbers) or not (step is None or _is_count(step)):
            raise nowhere
        assert isinstance(epoch, int)
        assert isinstance(cursor, int)
        names = [track.name for track in self._tracks]
        new = {"epoch": 0, "cursor": 0, "drawn": 0}
        known = [sources.get(name, dropped.get(name, new)) for name in names]
        totals = [
            track.draws_until(source["epoch"], source["cursor"])
            for source, track in zip(known, self._tracks, strict=True)
        ]
        before = history.legs[-1].epochs.options if history.legs else self._options_before(sources)
        other_skip = before["skip"] != self._epochs.options["skip"]
        if not self._mixture:  # its draws are counted from epoch 0 on, and the epoch is the loader's
            if len(sources) > 1:  # the others of a mixture were dropped
                epoch, cursor = divmod(totals[0], samples)
                step = None if cursor else 0
            elif other_skip:  # what has come of the epoch is what would have, without the windows left out
                cursor = totals[0] - epoch * samples
            if totals != [epoch * samples + cursor] or not 0 <= cursor <= samples:
                raise nowhere
            return Place(epoch, cursor, (totals[0],), (0,), (0, (epoch * samples,)), step)
        none, same_sources = (0,) * len(names), sources.keys() == set(names)
        if not same_sources or before["weights"] != self._epochs.options["weights"]:  # another mixture begins here
            if cursor > samples and sources.keys() <= set(names) and not other_skip:
                raise nowhere
            cursor = min(cursor, samples)
            return Place(epoch, cursor, none, tuple(totals), (cursor, none), step)
        drawn = tuple(sources[name]["drawn"] for name in names)
        given_before = tuple(total - count for total, count in zip(totals, drawn, strict=True))
        if other_skip:
            cursor = min(cursor, samples)
            start: tuple[int, tuple[int, ...]] | None = (cursor, drawn)
        else:
            start = self._start(state, cursor, drawn)
        if cursor > samples or start is None or not self._epochs.schedule(drawn).fits():
            raise nowhere
        if min(b + then for b, then in zip(given_before, start[1], strict=True)) < 0:
            raise nowhere
        return Place(epoch, cursor, drawn, given_before, start, step)

    def _options_before(self, sources: Mapping[str, Source]) -> dict[str, Any]:
        """The weights, and that nothing was skipped, of a state that has no history.

        Raises:
            StoreError: it has no weights.
        """
        names = sorted(sources)
        try:
            shares = tuple(Fraction(sources[name]["weight"]) for name in names)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            raise StoreError("the state tells no weights", got=repr(sources)) from None
        return {"weights": Weights((0,), (shares,)).described(names), "skip": {}}

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
