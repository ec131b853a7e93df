"""Which windows a step held, and in which steps a document's windows come: a loader's plan, read both ways.

From a step to its windows goes the way that batches go, without the tokens. Back, a window is a place in its source's
order (``order``), that is one of the source's draws, that is a sample of the mixture (``timetable``), that is a row of
a rank's batch in a step.

Not for: tokens. Costs: for a step, some 100 µs; for a document, as much for each epoch of its source in the epoch, and
a microsecond a window; the table of a mixture's order, once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError, OutOfRangeError
from foreword.windows.history import Run
from foreword.windows.plan import Lost, Track, my_places, plan
from foreword.windows.timetable import LONGEST, timetable

__all__ = ["Occurrence", "TracedWindow", "source_named", "trace", "when"]


class TracedWindow(NamedTuple):
    """A window, and where its inputs come from.

    Attributes:
        source: its name; "data" where there is one set of windows.
        window: its index.
        start, stop: the span of its inputs in the source's stream of tokens; where documents are packed, tuples: the
            span of each piece.
        documents: (index, name of the file or None) of each document that its inputs hold tokens of.
    """

    source: str
    window: int
    start: int | tuple[int, ...]
    stop: int | tuple[int, ...]
    documents: tuple[tuple[int, str | None], ...]


class Occurrence(NamedTuple):
    """A row of a batch.

    Attributes:
        epoch, step: from 0; ``step`` within the epoch.
        rank: whose batch.
        row: in the batch.
    """

    epoch: int
    step: int
    rank: int
    row: int


def trace(run: Run, step: int, rank: int) -> list[TracedWindow]:
    """The windows of a rank's batch in a step of a run.

    Raises:
        OutOfRangeError: there was no such rank; ArgumentError: a window's source is lost.
    """
    leg, epochs = run.leg, run.leg.epochs
    if rank >= leg.world_size:
        raise OutOfRangeError(
            f"there was no such rank in step {step:,} of epoch {run.place.epoch}",
            got=rank,
            expected=f"0 to {leg.world_size - 1}",
            fix="give rank=",
        )
    place = epochs.after(run.place, step - run.first, leg.size)
    samples = min(leg.size, epochs.samples - place.cursor)
    mine = my_places(samples, leg.batch_size, rank, leg.world_size)
    planned = plan(epochs.tracks, samples, mine[mine < samples], epochs.schedule(place.drawn), place.before)
    parts = [(planned.windows, planned.owners)]
    if len(planned.windows) < len(mine):  # a rank that was left short
        parts.append(epochs.first_windows(place, mine[len(planned.windows) :] - samples))
    found: list[TracedWindow] = []
    for windows, owners in parts:
        rows: dict[int, TracedWindow] = {}
        for i, track in enumerate(epochs.tracks):
            held = np.arange(len(windows)) if owners is None else np.flatnonzero(owners == i)
            rows |= zip(held.tolist(), _described(track, windows[held]) if len(held) else (), strict=True)
        found += [rows[row] for row in range(len(windows))]
    return found


def _described(track: Track | Lost, windows: NDArray[np.int64]) -> list[TracedWindow]:
    """Windows of a source, with their spans and documents.

    Raises:
        ArgumentError: the source is lost.
    """
    if isinstance(track, Lost):
        raise ArgumentError(
            f"windows of the source {track.name!r} came here, which the loader has no more",
            fix="load the state into a loader that has that source, too, and trace there",
        )
    data = track.data
    file_of = data.source.file_of if data.source is not None else _no_file
    rows, _, starts, lengths = data.spans(windows)
    offsets = data.document_offsets
    held: list[list[tuple[int, str | None]]] = [[] for _ in windows]
    if offsets is not None:
        first = np.searchsorted(offsets, starts, side="right") - 1
        end = np.searchsorted(offsets, starts + lengths)
        for row, low, high in zip(rows.tolist(), first.tolist(), end.tolist(), strict=True):
            for document in range(low, high):
                if high - low == 1 or offsets[document] < offsets[document + 1]:  # not an empty one between others
                    held[row].append((document, file_of(document)))
    ends = np.cumsum(np.bincount(rows, minlength=len(windows))).tolist()
    starts, stops = starts.tolist(), (starts + lengths).tolist()
    found = []
    for row, (window, end) in enumerate(zip(windows.tolist(), ends, strict=True)):
        span = slice(ends[row - 1] if row else 0, end)
        start, stop = tuple(starts[span]), tuple(stops[span])
        packed = data.packing is not None
        found.append(
            TracedWindow(
                track.name, window, start if packed else start[0], stop if packed else stop[0], tuple(held[row])
            )
        )
    return found


def _no_file(document: int) -> None:
    """The file of a document that is none of a store's."""


def when(run: Run, source: str, windows: NDArray[np.int64]) -> Iterator[Occurrence]:
    """Where in a run windows of a source come, in order; ``windows`` are rising, [n].

    Raises:
        ArgumentError: the mixture's order can't be asked.
    """
    leg, epochs, place = run.leg, run.leg.epochs, run.place
    size = leg.size
    names = [track.name for track in epochs.tracks]
    if source not in names or not run.steps or not len(windows):
        return
    i = names.index(source)
    end = epochs.after(place, run.steps, size)
    samples = end.cursor - place.cursor
    drawn = place.before[i] + place.drawn[i], place.before[i] + end.drawn[i]
    for draws in epochs.tracks[i].draws(windows, *drawn):
        at = _samples_of(run, i, draws - place.before[i]) - sum(place.drawn)
        yield from _rows(run, np.sort(at), samples)
    rest = samples % size
    if rest and rest < leg.world_size:  # ranks that were left short repeat the epoch's first windows
        again, owners = epochs.first_windows(place, np.arange(leg.world_size - rest))
        for nth, window in enumerate(again.tolist()):
            if (owners is None or owners[nth] == i) and window in windows:
                yield Occurrence(place.epoch, run.first + run.steps - 1, rest + nth, 0)


def _samples_of(run: Run, i: int, nth: NDArray[np.int64]) -> NDArray[np.int64]:
    """At which samples of the mixture source ``i`` gives its ``nth``, both from where its weights began.

    Raises:
        ArgumentError: the mixture's order can't be tabulated.
    """
    weights = run.leg.epochs.weights
    if weights.sources == 1:
        return nth
    try:
        return timetable(weights).places(i, nth)
    except OverflowError:
        raise ArgumentError(
            "when a document of this mixture comes can't be found in reasonable time",
            got=f"weights whose order does not repeat itself within {LONGEST:,} samples",
            fix=f"give weights of few digits: {weights.in_few_digits()}, in the order of the sources' names",
        ) from None


def _rows(run: Run, at: NDArray[np.int64], samples: int) -> Iterator[Occurrence]:
    """The rows that samples of the run are, counted from its first; ``samples`` are all that it hands out."""
    leg, size = run.leg, run.leg.size
    steps, nth = np.divmod(at, size)
    ranks, rows = np.divmod(nth, leg.batch_size)
    if rest := samples % size:  # the last step is not full: see my_places
        limits = max(rest, leg.world_size) * np.arange(leg.world_size) // leg.world_size
        short = at >= samples - rest
        ranks[short] = np.searchsorted(limits, nth[short], side="right") - 1
        rows[short] = nth[short] - limits[ranks[short]]
    places = (steps + run.first).tolist(), ranks.tolist(), rows.tolist()
    return map(Occurrence, itertools.repeat(run.place.epoch), *places)


def source_named(source: str | None, names: Sequence[str]) -> str:
    """The source that is meant.

    Raises:
        ArgumentError: it is none of those, or not said of several.
    """
    if source is None and len(names) == 1:
        return names[0]
    if source not in names:
        raise ArgumentError(
            "a document is one of a source" if source is None else "there is no such source",
            got=repr(source),
            expected="source=" + " or ".join(map(repr, names)),
        )
    assert source is not None
    return source
