"""Reading ahead: the blocks of a store far away that the next batches need, fetched while earlier ones are used.

What comes next is known, so it is looked up, not guessed: the windows of the coming batches are computed, some batches
further with each one that is taken, until as many blocks are held as may be.

Not for: stores on this machine. Costs: the memory of the blocks held.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword.windows.block_order import run_length
from foreword.windows.dataset import WindowDataset
from foreword.windows.far_source import FarSource

__all__ = ["ReadAhead", "blocks_held"]

_STEPS = 4  # batches that are looked up for each taken: the first comes at once, and the distance grows
_IN_ORDER = 32  # blocks held where windows come in their order
_AT_RANDOM = 128  # … and where each may be anywhere


class Planned(Protocol):
    """Windows that are gathered together."""

    @property
    def windows(self) -> NDArray[np.int64]:
        """Which, [n]."""
        ...

    @property
    def owners(self) -> NDArray[np.intp] | None:
        """Of which source each is, [n]; None where there is one."""
        ...


T_ = TypeVar("T_", bound=Planned)
Needs = list[tuple[FarSource, NDArray[np.int64]]]


def blocks_held(*, shuffle: bool, group: int | None) -> int:
    """How many blocks may be held: of two groups, with those that their windows reach into, and some more.

    >>> blocks_held(shuffle=True, group=64)
    160
    """
    if group is None:
        return _AT_RANDOM if shuffle else _IN_ORDER
    return 2 * (group + -(-group // run_length(group))) + 16


class ReadAhead:
    """Fetches ahead what some sources need.

    Args:
        sources: of the windows; those on this machine need nothing.
        shuffle, group: the order in which windows come, as for ``WindowLoader``; ``group`` None: not by blocks.
        behind: batches that are still in use when the next ones are taken.
    """

    def __init__(self, sources: Sequence[WindowDataset], *, shuffle: bool, group: int | None, behind: int) -> None:
        self._sources, self._behind = list(sources), behind
        self._most = blocks_held(shuffle=shuffle, group=group)

    def __call__(self, planned: Iterator[T_]) -> Iterator[T_]:
        """The same, the blocks of each and of later ones under way when it is taken."""
        return planned if all(source.far is None for source in self._sources) else self._ahead(planned)

    def _ahead(self, planned: Iterator[T_]) -> Iterator[T_]:
        waiting: collections.deque[tuple[T_, Needs]] = collections.deque()
        used: collections.deque[Needs] = collections.deque()
        try:
            while True:
                for _ in range(_STEPS):
                    if waiting and self._held() >= self._most:
                        break
                    item: Any = next(planned, None)
                    if item is None:
                        break
                    needs = self._needs(item)
                    waiting.append((item, needs))
                    for source, numbers in needs:
                        source.retain(numbers)
                if not waiting:
                    return
                used.append(waiting[0][1])  # in both for a moment, rather than in none when Ctrl-C comes
                item, _ = waiting.popleft()
                if len(used) > self._behind + 1:
                    _release(used[0])
                    used.popleft()
                yield item
        finally:
            for needs in [*used, *(needs for _, needs in waiting)]:
                _release(needs)

    def _held(self) -> int:
        return sum(source.far.held for source in self._sources if source.far is not None)

    def _needs(self, planned: Planned) -> Needs:
        """The blocks that windows need, by their source."""
        needs: Needs = []
        for i, source in enumerate(self._sources):
            windows = planned.windows if planned.owners is None else planned.windows[planned.owners == i]
            if source.far is not None and len(windows):
                needs.append((source.far, source.blocks_of(windows)))
        return needs


def _release(needs: Needs) -> None:
    for source, numbers in needs:
        source.release(numbers)
