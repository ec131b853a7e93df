"""Places by t-SNE: neighbours pull, all others push, until the plane keeps as many neighbourhoods as it can.

Each point's neighbours weigh alike (van der Maaten and Hinton 2008, with the k nearest in place of a perplexity). The
push of all N points on each is a convolution, so it is computed on a grid by Fourier's transform, as Linderman et al.,
Fast interpolation-based t-SNE (2019), do: the cost grows with N and with the area, not with N².

A large vocabulary is placed in two steps: its first words among one another, starting from their principal components;
then the others, each where its neighbours are, and all of them move on together.

Not for: neighbours (``graph``). Costs: some 60 ms an iteration for 50,000 points, 200 for 400,000. The same rows give
the same places on the same machine, however many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword.vectors.layout import graph, kernel
from foreword.vectors.layout.coarse import components

__all__ = ["FIRST", "place", "push"]

Floats = NDArray[np.float32]
Tick = Callable[[str, float], None]

FIRST = 50_000  # words that are placed among one another
_NEIGHBOURS = 15  # that pull a word
_GATHERING, _SETTLING, _JOINING = 100, 300, 100  # iterations of three phases
_EXAGGERATION = 12  # the pull in the first phase
_NODES = 256  # of a grid along its longer side, unless one of the steps below decides
_FINEST, _COARSEST = 0.2, 0.7  # steps of a grid; what pushes changes within 1
_MARGIN = 4  # nodes beyond the outermost points


def place(rows: Floats, tick: Tick = lambda *_: None) -> Floats:
    """A place in the plane for each unit row of [N, D]: float32 [N, 2].

    Args:
        rows: float32, the most important first.
        tick: is told what is being done, and which share of all work is done.

    Raises:
        ImportError: numba can't compile here.
    """
    count, first = len(rows), min(len(rows), FIRST)
    start = components(rows[:first])
    if count < 4 or not start.any():  # no neighbourhoods, or nothing that tells rows apart
        return start
    pace = _Pace(count, tick)
    near = graph.neighbours(rows[:first], min(_NEIGHBOURS, first - 1), pace.share("comparing words", first))
    links = graph.edges(near)
    places = (start / (start[:, 0].std() or 1) * 1e-2).astype(np.float32)
    settle = pace.share("placing words", first * 2)
    places = _descend(places, links, _GATHERING, _EXAGGERATION, 0.5, settle)
    places = _descend(places, links, _SETTLING, 1, 0.8, settle)
    if count == first:
        return places
    near = graph.neighbours(rows, _NEIGHBOURS, pace.share("comparing the rarer words", count))
    places = _joined(places * np.sqrt(count / first).astype(np.float32), near)
    return _descend(places, graph.edges(near), _JOINING, 1, 0.8, pace.share("placing the rarer words", count * 0.6))


class _Pace:
    """Tells the share of all work from shares of its parts."""

    def __init__(self, count: int, tick: Tick) -> None:
        first = min(count, FIRST)
        self._whole = first * 3 + (count * 1.6 if count > first else 0)
        self._done = 0.0
        self._tick = tick

    def share(self, what: str, weight: float) -> Callable[[float], None]:
        def tick(share: float) -> None:
            self._done += share * weight
            self._tick(what, min(1.0, self._done / self._whole))

        return tick


def _joined(places: Floats, near: NDArray[np.int32]) -> Floats:
    """Places for the rows that have none: the mean of the three nearest neighbours that have, row by row.

    A row without such a neighbour begins at the place of the row before it. A little noise keeps rows apart that have
    the same neighbours.
    """
    count, placed = len(near), len(places)
    all_places = np.zeros((count, 2), np.float32)
    all_places[:placed] = places
    noise = np.random.default_rng(0).normal(0, 0.5, (count, 2)).astype(np.float32)
    for block in range(placed, count, 4096):  # neighbours in an earlier block have their place
        stop = min(count, block + 4096)
        known = near[block:stop] < block
        rank = np.cumsum(known, axis=1)
        taken = (known & (rank <= 3)).astype(np.float32)
        total = (all_places[near[block:stop]] * taken[:, :, None]).sum(axis=1)
        many = taken.sum(axis=1)
        found = np.flatnonzero(many)
        source = found[np.maximum(0, np.searchsorted(found, np.arange(stop - block), side="right") - 1)]
        means = total / np.maximum(many, 1)[:, None]
        all_places[block:stop] = means[source] + noise[block:stop]
    return all_places


def _descend(
    places: Floats,
    links: tuple[NDArray[np.int64], NDArray[np.int32], Floats],
    iterations: int,
    exaggeration: float,
    momentum: float,
    tick: Callable[[float], None],
) -> Floats:
    """Gradient descent at the rate N / 12 of Belkina et al. (2019), with the gains of the original t-SNE."""
    count = len(places)
    speed, gains = np.zeros_like(places), np.ones_like(places)
    pulls = np.empty_like(places)
    fields = _Fields()
    for _ in range(iterations):
        parts = threads.split(0, count)

        def pull(todo: Iterator[tuple[int, int]], places: Floats = places) -> None:
            for a, b in todo:
                kernel.pull(places, *links, pulls, a, b)

        threads.run(pull, parts)
        slope = exaggeration * pulls - push(places, fields)
        slope *= np.float32(4)
        alike = (slope > 0) == (speed > 0)
        gains = np.maximum(np.where(alike, gains * np.float32(0.8), gains + np.float32(0.2)), np.float32(0.01))
        speed *= np.float32(momentum)
        speed -= np.float32(count / 12) * gains * slope
        places = places + speed
        places -= places.mean(axis=0, dtype=np.float64).astype(np.float32)
        tick(1 / iterations)
    return places


class _Fields:
    """The transforms of the three kernels on a grid; those of the last grid are kept."""

    def __init__(self) -> None:
        self._of: tuple[int, float] | None = None
        self._kept: list[NDArray[np.complexfloating]] = []

    def of(self, nodes: int, step: float) -> list[NDArray[np.complexfloating]]:
        """Of q = 1 / (1 + d²), and of x q² and y q²: what a charge gives to the points around it."""
        if self._of != (nodes, step):
            away = np.fft.fftfreq(2 * nodes, 1 / (2 * nodes)) * step
            x, y = away[:, None], away[None, :]
            q = 1 / (1 + x * x + y * y)
            self._kept = [np.fft.rfft2(each.astype(np.float32)) for each in (q, x * q * q, y * q * q)]
            self._of = nodes, step
        return self._kept


def push(places: Floats, fields: _Fields | None = None) -> Floats:
    """The push of all points on each: Σ q² (y − y') / Σ q over all pairs, with q = 1 / (1 + |y − y'|²): [N, 2]."""
    low, high = places.min(axis=0), places.max(axis=0)
    span = float((high - low).max())
    # In powers of 1.1, so that a grid serves several iterations.
    step = 1.1 ** np.floor(np.log(min(_COARSEST, max(span / _NODES, _FINEST))) / np.log(1.1))
    nodes = int(span / step) + 2 * _MARGIN
    nodes += -nodes % 32
    at = ((places - low) / np.float32(step) + np.float32(_MARGIN - 1)).astype(np.float32)
    grid = np.zeros((2 * nodes, 2 * nodes), np.float32)  # twice as wide, so that nothing comes round the edge
    kernel.scatter(at, grid)
    charges = np.fft.rfft2(grid)
    values = np.empty((3, nodes, nodes), np.float32)
    transforms = (fields or _Fields()).of(nodes, step)

    def convolve(numbers: Iterator[int]) -> None:
        for number in numbers:
            values[number] = np.fft.irfft2(charges * transforms[number], s=grid.shape)[:nodes, :nodes]

    threads.run(convolve, range(3))
    found = np.empty((len(places), 3), np.float32)

    def gather(todo: Iterator[tuple[int, int]]) -> None:
        for a, b in todo:
            kernel.gather(at, values, found, a, b)

    threads.run(gather, threads.split(0, len(places)))
    pairs = float(found[:, 0].sum(dtype=np.float64)) - len(places)  # a point doesn't push itself
    return np.asarray(found[:, 1:] / np.float32(max(pairs, 1e-12)))
