"""Reading ahead: the blocks of a store far away that the next batches need, fetched while earlier ones are used.

What comes next is known, so it is looked up, not guessed: the windows of the coming batches are computed, some batches
further with each one that is taken, until as many blocks are held as may be.

Not for: stores on this machine. Costs: the memory of the blocks held.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword.windows.far_source import FarSource

__all__ = ["Needs", "blocks_held", "read_ahead"]

_STEPS = 4  # items that are looked up for each one taken: the first comes at once, and the distance grows
_IN_ORDER = 32  # blocks held where windows come in their order
_AT_RANDOM = 128  # … and where each may be anywhere

T_ = TypeVar("T_")
Needs = list[tuple[FarSource, NDArray[np.int64]]]


def blocks_held(*, shuffle: bool, group: int | None, run: int) -> int:
    """How many blocks may be held: of two groups, with those that their windows reach into, and some more.

    >>> blocks_held(shuffle=True, group=64, run=8)
    160
    """
    if group is None:
        return _AT_RANDOM if shuffle else _IN_ORDER
    return 2 * (group + -(-group // run)) + 16


def read_ahead(
    items: Iterator[T_], needs: Callable[[T_], Needs], *, most: int, behind: int
) -> Generator[T_, None, None]:
    """The items, their blocks and those of later ones under way.

    Args:
        items: what is taken in turn.
        needs: the blocks of an item, by their source.
        most: blocks held, about; those of an item that is taken always are.
        behind: items that are still in use when the next one is taken.
    """
    waiting: collections.deque[tuple[T_, Needs]] = collections.deque()
    used: collections.deque[Needs] = collections.deque()
    sources: dict[int, FarSource] = {}
    try:
        while True:
            for _ in range(_STEPS):
                if waiting and sum(source.held for source in sources.values()) >= most:
                    break
                for item in items:
                    needed = needs(item)
                    waiting.append((item, needed))
                    for source, numbers in needed:
                        sources[id(source)] = source
                        source.retain(numbers)
                    break
            if not waiting:
                return
            item, needed = waiting.popleft()
            used.append(needed)
            if len(used) > behind + 1:
                _release(used.popleft())
            yield item
    finally:
        for needed in [*used, *(needed for _, needed in waiting)]:
            _release(needed)


def _release(needed: Needs) -> None:
    for source, numbers in needed:
        source.release(numbers)
