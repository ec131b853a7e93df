"""Where windows read from a store far away: its blocks, held in memory while they are wanted.

As ``source.Source``, which reads what lies on this machine. A loader says which blocks come next (``retain``): they are
fetched by threads, and stay until they have been used (``release``). Others are read when a window needs them. Blocks
lie side by side in one array, so that the windows of a batch are gathered by one call of numpy, as of a mapped file.

Not for: fetching and checking blocks (``tokens.store.far``). Costs: 1 MiB of memory a block held, and 16 MiB.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.tokens.store.far import FarArray
from foreword.tokens.store.manifest import BLOCK
from foreword.tokens.store.store import TokenStore
from foreword.windows.block_order import distinct, run_starts

__all__ = ["FarSource"]

_ROOM = 256  # blocks that the array has room for at first: more than a loader holds
_SPARE = 16  # blocks that stay although nobody has asked to hold them
_TOGETHER = 64  # blocks that are read for one call at a time


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

    def _renew(self) -> None:
        self._process = os.getpid()
        self._guard = threading.RLock()
        self._held: collections.Counter[int] = collections.Counter()  # block → how often it is held
        self._coming: dict[int, tuple[Future[Any], int]] = {}  # block → what fetches it, and the slot that it goes to
        self._given_up: list[tuple[Future[Any], int]] = []  # the same of blocks that nobody wants any more
        self._idle: collections.OrderedDict[int, None] = collections.OrderedDict()  # blocks in memory that nobody holds
        self._memory = np.empty((0, self._items), self.dtype)
        self._slots = np.full(int(self._first[-1]), -1, np.int32)  # where in memory each block is
        self._free: list[int] = []
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
        with self._own():
            for number in numbers.tolist():
                if not self._held[number]:
                    self._idle.pop(number, None)
                    if self._slots[number] < 0:
                        self._fetch(number)
                self._held[number] += 1

    def _fetch(self, number: int) -> None:
        assert self.store.far is not None
        slot = self._free_slot()
        self._coming[number] = (self.store.far.submit(functools.partial(self._read, number, self._memory[slot])), slot)

    def release(self, numbers: NDArray[np.int64]) -> None:
        """Let go of blocks that were retained."""
        with self._own():
            for number in numbers.tolist():
                if not self._held[number]:  # retained by the process that this one was forked from
                    continue
                self._held[number] -= 1
                if not self._held[number]:
                    del self._held[number]
                    if number in self._coming:
                        self._coming[number][0].cancel()
                        self._given_up.append(self._coming.pop(number))
                    else:
                        self._idle[number] = None
            self._trim()

    def runs(self, starts: NDArray[np.int64], length: int, *, whole: bool) -> NDArray[Any]:  # noqa: ARG002
        """The ids from each start on, [n, length]; past the end of the stream, they are whatever is before it."""
        ids = np.empty((len(starts), length), self.dtype)
        numbers, places = self._where(starts)
        inside = places + length <= self._items
        inside &= starts + length <= self._ends(numbers)
        for some, rows in _parts(numbers, inside):
            with self._in_memory(some):
                slots = self._slots[numbers[rows]].astype(np.int64)
                items = self._view(length)[slots * self._items + places[rows]]
                ids[rows] = items.view(self.dtype).reshape(-1, length)
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
            with self._in_memory(some):
                slots = self._slots[numbers[rows]].astype(np.int64)
                ids[rows] = self._memory.reshape(-1)[slots * self._items + inside[rows]]
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

    @contextlib.contextmanager
    def _in_memory(self, numbers: NDArray[np.int64]) -> Iterator[None]:
        """Inside the block, these blocks are in memory."""
        with self._own():
            coming = [self._coming[number][0] for number in numbers.tolist() if number in self._coming]
        wait(coming)  # without the lock: others may say meanwhile what comes next
        with self._own():
            for number in numbers[self._slots[numbers] < 0].tolist():
                self._bring(number)
            yield
            self._trim()

    def _bring(self, number: int) -> None:
        """Put a block into memory."""
        if number in self._coming:
            future, slot = self._coming[number]
            future.result()
            del self._coming[number]
        else:
            slot = self._free_slot()
            try:
                self._read(number, self._memory[slot])
            except BaseException:
                self._free.append(slot)
                raise
            self._idle[number] = None
        self._slots[number] = slot

    def _trim(self) -> None:
        """Give back the memory of blocks that nobody holds, all but a few."""
        while len(self._idle) > _SPARE:
            number, _ = self._idle.popitem(last=False)
            self._free.append(int(self._slots[number]))
            self._slots[number] = -1
        given_up, self._given_up = self._given_up, []
        for future, slot in given_up:
            if future.done():
                self._free.append(slot)
            else:
                self._given_up.append((future, slot))

    def _free_slot(self) -> int:
        """A slot of memory that no block has."""
        if not self._free:
            was = len(self._memory)  # memory that no block has been put into yet takes none
            memory = np.empty((was + max(was, min(_ROOM, len(self._slots) + _SPARE)), self._items), self.dtype)
            wait([future for future, _ in (*self._coming.values(), *self._given_up)])  # they come into the old memory
            memory[:was] = self._memory
            self._memory, self._views = memory, {}
            self._free = list(range(was, len(memory)))
        return self._free.pop()

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

    def _own(self) -> threading.RLock:
        """The lock of this process; a forked child begins with nothing: what was being fetched is its parent's."""
        if self._process != os.getpid():
            self._renew()
        return self._guard


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
