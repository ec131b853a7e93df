"""Where windows read from a store far away: its blocks, held in memory while they are wanted.

As ``source.Source``, which reads what lies on this machine. A loader says which blocks come next (``retain``): they are
fetched by threads, and stay until they have been used (``release``). Others are read when a window needs them. Blocks
lie side by side in one array, so that the windows of a batch are gathered by one call of numpy, as of a mapped file.

Any thread may call at any moment, and an exception, as of Ctrl-C, may come at any line. So no slot of memory is kept in
two lists that could contradict each other: those are free that no block has and nothing is fetched into. And letting go
waits for nobody: an iterator may be collected, and let go of its blocks, in the midst of another call.

Not for: fetching and checking blocks (``tokens.store.far``). Costs: 1 MiB of memory a block held, and 24 MiB.
"""

from __future__ import annotations

import collections
import functools
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import system
from foreword.tokens.store.far import FarArray
from foreword.tokens.store.manifest import BLOCK
from foreword.tokens.store.store import TokenStore
from foreword.windows.block_order import distinct, run_starts

__all__ = ["FarSource"]

_ROOM = 256  # blocks that the array has room for at first: more than a loader holds
_SPARE = 16  # blocks that stay although nobody has asked to hold them
_TOGETHER = 64  # blocks that are read for one call at a time
_FOUND = 8  # free slots that are looked for at once: few, so that memory which has been used is used again


class FarSource:
    """The stream of token ids of a store far away, or of their loss. ``len(source)`` is their number.

    Attributes:
        store: as given.
        dtype: of the ids.
    """

    def __init__(self, store: TokenStore, *, loss: bool = False) -> None:
        self.store, self.dtype, self._loss = store, np.dtype(np.uint8) if loss else store.dtype, loss
        arrays: list[Any] = list(store.losses if loss else store.shards)
        self._shards: list[FarArray] = arrays
        self._starts = store.shard_starts.astype(np.int64)
        self._items = BLOCK // self.dtype.itemsize
        # Blocks are numbered through; the number of each shard's first, and of all.
        self._first = np.concatenate(([0], np.cumsum(-(-np.diff(self._starts) // self._items)))).astype(np.int64)
        self._renew()
        _sources.add(self)

    def _renew(self) -> None:
        """Begin with nothing in memory, as a forked child does: what was being fetched is its parent's."""
        self._guard = threading.Lock()
        self._let_go: collections.deque[NDArray[np.int64]] = collections.deque()  # blocks to be released
        self._held: collections.Counter[int] = collections.Counter()  # block → how often it is held
        self._coming: dict[int, tuple[Future[Any], int]] = {}  # block → what fetches it, and the slot that it goes to
        self._under_way: dict[int, Future[Any]] = {}  # slot → what fetches into it, wanted or not
        self._idle: collections.OrderedDict[int, None] = collections.OrderedDict()  # blocks in memory that nobody holds
        self._memory = np.empty((0, self._items), self.dtype)
        self._slots = np.full(int(self._first[-1]), -1, np.int32)  # where in memory each block is
        self._blocks = np.zeros(0, np.int64)  # which block each slot of memory was last given to
        self._free: list[int] = []  # slots that have been found to be free
        self._views: dict[int, NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(FarSource, loss=self._loss), (self.store,)

    @property
    def fingerprint(self) -> str:
        """A hash of the store."""
        return self.store.fingerprint

    def run_starts(self, blocks: int) -> NDArray[np.int64]:
        """Where each run of so many blocks starts in the stream, and the end."""
        return run_starts(self._starts, blocks * self._items)

    @property
    def held(self) -> int:
        """How many blocks are held."""
        return len(self._held)

    def blocks(self, starts: NDArray[np.int64], lengths: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """The numbers of the blocks that hold the ids from each start on, rising."""
        first = self._number(starts)
        last = self._number(np.maximum(np.minimum(starts + lengths, len(self)) - 1, starts))
        return distinct(np.minimum(first[:, None] + np.arange(int((last - first).max(initial=0)) + 1), last[:, None]))

    def retain(self, numbers: NDArray[np.int64]) -> None:
        """Fetch these blocks, and hold them until they are released as often as they were retained."""
        with self._guard:
            for number in numbers.tolist():
                self._held[number] += 1
                self._idle.pop(number, None)
                if self._slots[number] < 0 and number not in self._coming:
                    self._fetch(number)
        self._settle()

    def _fetch(self, number: int) -> None:
        assert self.store.far is not None
        slot, future = self._free_slot(), Future[Any]()
        try:
            self._under_way[slot] = future
            self._coming[number] = future, slot
            self.store.far.submit(functools.partial(self._read, number, self._memory[slot]), future)
        except BaseException:
            self._coming.pop(number, None)
            future.cancel()
            raise

    def release(self, numbers: NDArray[np.int64]) -> None:
        """Let go of blocks that were retained, at once or when whoever works with the memory now is done."""
        self._let_go.append(numbers)
        self._settle()

    def _settle(self) -> None:
        """Do what is left to do for those who have let go."""
        while self._let_go and not self._guard.locked():
            with self._guard:
                while self._let_go:
                    for number in self._let_go[0].tolist():
                        self._held[number] -= 1
                        if self._held[number] <= 0:  # below: retained by the process that this one was forked from
                            self._give_up(number)
                    self._let_go.popleft()
                self._trim()

    def _give_up(self, number: int) -> None:
        """Nobody holds a block any more."""
        del self._held[number]
        future, _ = self._coming.pop(number, (None, 0))
        if future is not None:
            future.cancel()
        if self._slots[number] >= 0:
            self._idle[number] = None

    def runs(self, starts: NDArray[np.int64], length: int, *, whole: bool) -> NDArray[Any]:  # noqa: ARG002
        """The ids from each start on, [n, length]; past the end of the stream, they are whatever is before it."""
        ids = np.empty((len(starts), length), self.dtype)
        numbers, places = self._where(starts)
        inside = places + length <= self._items
        inside &= starts + length <= self._ends(numbers)
        for some, rows in _parts(numbers, inside):
            self._wait_for(some)
            with self._guard:
                self._bring(some)
                slots = self._slots[numbers[rows]].astype(np.int64)
                items = self._view(length)[slots * self._items + places[rows]]
                ids[rows] = items.view(self.dtype).reshape(-1, length)
                self._trim()
            self._settle()
        rows = np.flatnonzero(~inside)  # those that cross from one block into the next, or the end
        for low in range(0, len(rows), _TOGETHER):
            some = rows[low : low + _TOGETHER]
            ids[some] = self.at(np.minimum(starts[some, None] + np.arange(length), len(self) - 1))
        return ids

    def at(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The ids at any places of the stream, of the same shape."""
        numbers, inside = self._where(places.reshape(-1))
        ids = np.empty(len(numbers), self.dtype)
        for some, rows in _parts(numbers, np.ones(len(numbers), bool)):
            self._wait_for(some)
            with self._guard:
                self._bring(some)
                slots = self._slots[numbers[rows]].astype(np.int64)
                ids[rows] = self._memory.reshape(-1)[slots * self._items + inside[rows]]
                self._trim()
            self._settle()
        return ids.reshape(places.shape)

    def _where(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The block that each place of the stream is in, and the place in it."""
        shard = np.searchsorted(self._starts, places, side="right") - 1
        numbers, inside = np.divmod(places - self._starts[shard], self._items)
        return self._first[shard] + numbers, inside

    def _number(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._where(places)[0]

    def _ends(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the shard of each block ends in the stream."""
        return self._starts[np.searchsorted(self._first, numbers, side="right")]

    def _wait_for(self, numbers: NDArray[np.int64]) -> None:
        """Wait for those of the blocks that are coming; without the lock, as others may say meanwhile what is next."""
        with self._guard:
            coming = [self._coming[number][0] for number in numbers.tolist() if number in self._coming]
        wait(coming)

    def _bring(self, numbers: NDArray[np.int64]) -> None:
        """Put blocks into memory."""
        for number in numbers[self._slots[numbers] < 0].tolist():
            if number in self._coming:
                future, slot = self._coming[number]
                try:
                    future.result()
                except BaseException:
                    self._coming.pop(number)  # so that it is read anew when it is wanted again
                    future.cancel()
                    raise
            else:
                slot = self._free_slot()
                self._read(number, self._memory[slot])
            if not self._held[number]:
                self._idle[number] = None
            self._blocks[slot], self._slots[number] = number, slot
            self._coming.pop(number, None)

    def _trim(self) -> None:
        """Give back the memory of blocks that nobody holds, all but a few."""
        while len(self._idle) > _SPARE:
            number = next(iter(self._idle))
            self._slots[number] = -1
            del self._idle[number]

    def _free_slot(self) -> int:
        """A slot of memory that no block has, and that nothing is fetched into."""
        if not self._free:
            self._under_way = {slot: future for slot, future in self._under_way.items() if not future.done()}
            taken = (self._blocks >= 0) & (self._slots[self._blocks] == np.arange(len(self._blocks)))
            taken[[*self._under_way, *(slot for _, slot in self._coming.values())]] = True
            if taken.all():
                self._grow()
                taken = np.append(taken, np.zeros(len(self._memory) - len(taken), bool))
            self._free = np.flatnonzero(~taken)[:_FOUND][::-1].tolist()
        return self._free.pop()

    def _grow(self) -> None:
        was = len(self._memory)  # memory that no block has been put into yet takes none
        memory = np.empty((was + max(was, min(_ROOM, len(self._slots) + _SPARE)), self._items), self.dtype)
        wait(self._under_way.values())  # they come into the old memory
        memory[:was] = self._memory
        blocks = np.append(self._blocks, np.full(len(memory) - was, -1))
        self._memory, self._blocks, self._views = memory, blocks, {}

    def _view(self, length: int) -> NDArray[Any]:
        """The memory as overlapping items of ``length`` ids."""
        view = self._views.get(length)
        if view is None:
            size = self.dtype.itemsize
            count = max(0, self._memory.size - length + 1)
            view = self._views[length] = np.ndarray((count,), f"V{length * size}", self._memory, strides=(size,))
        return view

    def _read(self, number: int, memory: NDArray[Any]) -> None:
        """Put a block into ``memory``."""
        shard = int(np.searchsorted(self._first, number, side="right")) - 1
        self._shards[shard].fill(number - int(self._first[shard]), memory)


_sources: weakref.WeakSet[FarSource] = weakref.WeakSet()


def _renew_all() -> None:
    for source in list(_sources):
        source._renew()


system.after_fork(_renew_all)


def _parts(
    numbers: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.intp]]]:
    """The different blocks of the wanted rows, some at a time, with the rows that are in them."""
    rows = np.flatnonzero(wanted)
    different = distinct(numbers[rows])
    for low in range(0, len(different), _TOGETHER):
        some = different[low : low + _TOGETHER]
        yield (
            some,
            rows if len(some) == len(different) else rows[(numbers[rows] >= some[0]) & (numbers[rows] <= some[-1])],
        )
