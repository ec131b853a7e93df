"""The sources of a mixture as one map-style dataset.

Not for: which source comes next (``mixture``). Costs: one gathering for each source that a batch has windows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.windows.dataset import Arrays, WindowDataset, in_range, samples_of

__all__ = ["JoinedDataset"]


class JoinedDataset:
    """Several datasets of one shape, one after another.

    ``len(joined)`` is the number of their windows; ``joined[i]`` gives what the dataset of window ``i`` gives.
    """

    def __init__(self, sources: Sequence[WindowDataset]) -> None:
        self._sources = list(sources)
        self._starts = np.cumsum([0, *map(len, self._sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The windows ``indices``, fetched at once."""
        joined = in_range(indices, len(self))
        owners = np.searchsorted(self._starts, joined, side="right") - 1
        first = self._sources[0]
        return samples_of(
            self.gather(joined - self._starts[owners], owners), keep=first.tail == "keep", segments=first.segments
        )

    def gather(self, windows: NDArray[np.int64], owners: NDArray[np.intp]) -> Arrays:
        """The given windows, each of its owner: the arrays of ``WindowDataset.gather``."""
        arrays: Arrays = {}
        for i, source in enumerate(self._sources):
            rows = np.flatnonzero(owners == i)
            for name, part in source.gather(windows[rows]).items():
                arrays.setdefault(name, np.empty((len(owners), part.shape[1]), part.dtype))[rows] = part
        return arrays

    def indices(self, windows: NDArray[np.int64], owners: NDArray[np.intp]) -> NDArray[np.int64]:
        """The index here of each window of its owner, [n]."""
        joined: NDArray[np.int64] = windows + self._starts[owners]
        return joined
