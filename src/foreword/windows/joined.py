"""The sources of a mixture as one map-style dataset.

Not for: which source comes next (``mixture``). Costs: one gathering for each source that a batch has windows of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.windows.dataset import Arrays, WindowDataset, in_range, longest, samples_of

__all__ = ["JoinedDataset"]

Owners = NDArray[np.intp] | None


class JoinedDataset:
    """Several datasets of one shape, one after another.

    ``len(joined)`` is the number of their windows; ``joined[i]`` gives what the dataset of window ``i`` gives. The
    methods that take windows and their owners, [n] each, give what those of ``WindowDataset`` do; ``owners`` is None
    where all windows are the first dataset's.

    Attributes:
        mask_end_of_text: whether some of them leave targets out.
    """

    def __init__(self, sources: Sequence[WindowDataset]) -> None:
        self._sources = list(sources)
        self._first = self._sources[0]
        self._starts = np.cumsum([0, *map(len, self._sources)])
        self.mask_end_of_text = any(source.mask_end_of_text for source in self._sources)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The windows ``indices``, fetched at once."""
        joined = in_range(indices, len(self))
        owners = np.searchsorted(self._starts, joined, side="right") - 1
        windows = joined - self._starts[owners]
        length = longest(self.lengths(windows, owners)) if self._first.tail == "keep" else None
        return samples_of(self.gather(windows, owners), length, segments=self._first.segments)

    def gather(self, windows: NDArray[np.int64], owners: Owners) -> Arrays:
        """Inputs, targets, segments and rows of n-grams by name."""
        if owners is None:
            return self._first.gather(windows)
        arrays: Arrays = {}
        for source, rows in self._shares(owners):
            for name, part in source.gather(windows[rows]).items():
                arrays.setdefault(name, np.empty((len(owners), *part.shape[1:]), part.dtype))[rows] = part
        return arrays

    def pairs(self, windows: NDArray[np.int64], owners: Owners) -> NDArray[np.int64]:
        """Inputs and targets, int64 [2, n, T]."""
        if owners is None:
            return self._first.pairs(windows)
        pairs = np.empty((2, len(windows), self._first.context_length), np.int64)
        for source, rows in self._shares(owners):
            pairs[:, rows] = source.pairs(windows[rows])
        return pairs

    def ids(self, windows: NDArray[np.int64], owners: Owners) -> NDArray[Any]:
        """The ids of whole windows, [n, T + 1], where all datasets have them in one dtype."""
        if owners is None:
            return self._first.ids(windows)
        ids = np.empty((len(windows), self._first.context_length + 1), self._first.dtype)
        for source, rows in self._shares(owners):
            ids[rows] = source.ids(windows[rows])
        return ids

    def mask(self, pairs: NDArray[np.int64], owners: Owners) -> None:
        """Leave out of ``pairs``, int64 [2, n, T], the targets that follow an end of text, where that is wanted."""
        if owners is None:
            self._first.mask(pairs)
            return
        for source, rows in self._shares(owners):
            some = pairs[:, rows]
            source.mask(some)
            pairs[:, rows] = some

    def lengths(self, windows: NDArray[np.int64], owners: Owners) -> NDArray[np.int64]:
        """How many inputs each window holds, [n]."""
        if owners is None:
            return self._first.lengths(windows)
        lengths = np.empty(len(windows), np.int64)
        for source, rows in self._shares(owners):
            lengths[rows] = source.lengths(windows[rows])
        return lengths

    def _shares(self, owners: NDArray[np.intp]) -> Iterator[tuple[WindowDataset, NDArray[np.intp]]]:
        """Each dataset, and the rows that are its."""
        return ((source, np.flatnonzero(owners == i)) for i, source in enumerate(self._sources))

    def indices(self, windows: NDArray[np.int64], owners: NDArray[np.intp]) -> NDArray[np.int64]:
        """The index here of each window of its owner, [n]."""
        joined: NDArray[np.int64] = windows + self._starts[owners]
        return joined
