"""The map of all words: their places, their clusters, and a name for each cluster.

    first    places by two principal components, within a second or two
    then     places that keep neighbourhoods, by ``vectors.lay_out`` in a thread; ``state`` says how far

Colours are the clusters of the coarsest of several levels; the names of finer ones appear as one looks closer. A name
is the most typical of a cluster's frequent words.

Not for: maps of a few words (``api.vectors``). Costs: those of ``lay_out`` in the background; 30 MB for 400,000 words.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ForewordError
from foreword.vectors.layout.coarse import clusters, components
from foreword.vectors.layout.laying_out import lay_out, leading_rows

if TYPE_CHECKING:
    from foreword import KeyedVectors

__all__ = ["Atlas", "Places", "Region", "State"]

logger = logging.getLogger("uvicorn.error")  # the server's own

Floats = NDArray[np.float32]

_LEVELS = (12, 60, 240)  # clusters; a cluster of the first level has a colour
_NAMED = 20_000  # words that clusters are found among
_FREQUENT = 40  # words of a cluster that may name it,
_EVERYWHERE = 150  # but not the very first, which are in every text and name nothing
_NAMES = 2
_SCALE = 65535  # what places are integers of
_SAMPLE = 300  # words whose neighbourhoods are compared
_NEAREST = 10


class Region(NamedTuple):
    """A cluster: its level (0 the coarsest), its name, its place on the map, how many of the frequent words it has."""

    level: int
    name: str
    x: float
    y: float
    words: int
    cluster: int


@dataclasses.dataclass(frozen=True)
class State:
    """How far the map is.

    Attributes:
        layout: "components" or "neighbours".
        doing: what is being computed; empty when nothing is.
        share: how much of that is done, 0…1.
        seconds: since it began, or that it took.
        problem: why there will be no better layout; empty where nothing went wrong.
        kept: the share of the ten nearest neighbours of a frequent word that are among the ten nearest on the map.
        kept_by_components: the same of the first two principal components.
    """

    layout: str
    doing: str = ""
    share: float = 0.0
    seconds: float = 0.0
    problem: str = ""
    kept: float | None = None
    kept_by_components: float | None = None


class Places(NamedTuple):
    """Where all words are: uint16 [N], the same scale for both, and by which layout."""

    layout: str
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]


class _StoppedError(Exception):
    """The process ends."""


class Atlas:
    """The first ``count`` words of a table on a plane.

    Attributes:
        places: where all words are.
        cluster: uint8 [N], of the coarsest level.
        regions: every level's clusters, the largest first.
        state: how far it is.
    """

    def __init__(self, vectors: KeyedVectors, count: int) -> None:
        self._vectors, self._count = vectors, min(count, len(vectors))
        rows = leading_rows(vectors, self._count)
        self._levels: list[tuple[NDArray[np.int64], list[str]]] = []
        centres = self._add_level(rows, _LEVELS[0])
        blocks = [(rows[i : i + 8192] @ centres.T).argmax(axis=1) for i in range(0, len(rows), 8192)]
        self.cluster = np.concatenate(blocks).astype(np.uint8)
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._first = components(rows)
        self._set_places("components", self._first)
        self.state = State("components", "comparing words")
        self._thread = threading.Thread(target=self._improve, args=(rows,), name="foreword-atlas", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def close(self) -> None:
        """End the work in the background, within a moment."""
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Until there is no better layout to come."""
        self._thread.join()

    def keys(self, start: int, stop: int) -> list[str]:
        """Words ``start`` to ``stop`` as text."""
        return list(map(str, self._vectors.index_to_key[start : min(stop, self._count)]))

    def __len__(self) -> int:
        return self._count

    def _improve(self, rows: Floats) -> None:
        def tick(what: str, share: float) -> None:
            self._check()
            self.state = State("components", what, share, self._seconds())

        try:
            for count in _LEVELS[1:]:
                if len(rows) >= 8 * count:
                    tick("naming clusters", 0.0)
                    self._add_level(rows, count)
            self._set_places("components", self._first)
            places = lay_out(self._vectors, count=self._count, tick=tick)
            self._check()
            self._set_places("neighbours", places)  # seen before its neighbours are counted, which takes seconds
            self.state = State("neighbours", "counting the neighbours that it keeps", 1.0, self._seconds())
            sample = np.random.default_rng(0).permutation(min(len(rows), _NAMED))[:_SAMPLE]
            before, after = (self._kept(rows, one, sample) for one in (self._first, places))
            self.state = State("neighbours", "", 1.0, self._seconds(), "", after, before)
        except _StoppedError:
            return
        except ForewordError as error:
            self._give_up(error.problem)
        except Exception:  # a fault of ours, or too little memory
            logger.exception("the map of all words: an unexpected error")
            self._give_up("an unexpected error; the server's log tells more")

    def _give_up(self, problem: str) -> None:
        self.state = State(self.places.layout, "", 0.0, self._seconds(), problem)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _set_places(self, layout: str, places: Floats) -> None:
        low, high = places.min(axis=0), places.max(axis=0)
        span = float((high - low).max()) or 1.0
        scaled = np.rint((places - (low + high) / 2) * (_SCALE / span) + _SCALE / 2).clip(0, _SCALE).astype(np.uint16)
        self.places = Places(layout, *np.ascontiguousarray(scaled.T))
        self.regions = [
            self._region(level, k, name, scaled[: len(of)][of == k])
            for level, (of, names) in enumerate(self._levels)
            for k, name in enumerate(names)
            if name
        ]

    @staticmethod
    def _region(level: int, cluster: int, name: str, members: NDArray[np.uint16]) -> Region:
        x, y = np.median(members, axis=0).tolist()
        return Region(level, name, x, y, len(members), cluster)

    def _add_level(self, rows: Floats, count: int) -> Floats:
        """Find clusters of the most frequent words, and name them; their centres."""
        common = rows[:_NAMED]
        of, centres = clusters(common, min(count, max(1, len(common) // 4)))
        names = []
        for k, centre in enumerate(centres):
            members = np.flatnonzero(of == k)
            frequent = members[np.searchsorted(members, _EVERYWHERE) :][:_FREQUENT]
            if not len(frequent):
                frequent = members[:_FREQUENT]
            typical = frequent[np.argsort(-(rows[frequent] @ centre), kind="stable")]
            names.append(" · ".join(str(self._vectors.index_to_key[int(row)]) for row in typical[:_NAMES]))
        self._levels.append((of, names))
        return centres

    def _kept(self, rows: Floats, places: Floats, sample: NDArray[np.int64]) -> float:
        """The share of the ten nearest rows that are among the ten nearest places, over some rows."""
        count = min(_NEAREST, len(rows) - 1)
        if count < 1:
            return 1.0
        found = 0
        for row in sample.tolist():
            self._check()
            scores, apart = rows @ rows[row], -((places - places[row]) ** 2).sum(axis=1)
            scores[row] = apart[row] = -np.inf
            near, close = (np.argpartition(values, -count)[-count:] for values in (scores, apart))
            found += len(np.intersect1d(near, close))
        return found / (count * len(sample))
