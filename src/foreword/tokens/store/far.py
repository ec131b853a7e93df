"""Stores far away: the files of a store behind a URL, read a block at a time, each compared with its checksum.

    array[a:b] ──▶ blocks ── in the cache? ──▶ BlockCache
                     └── else ──▶ RemoteFolder: a range of bytes ── SHA-256 as 00000.sums says ──▶ the cache

The sums are compared with the manifest, which has a checksum of itself: so an object that was deleted, changed, cut or
mixed up is an error, and never other ids. Nothing is listed: names follow from the manifest.

Not for: which windows come next (``windows.read_ahead``). Costs: a request for the manifest, one for the sums of each
shard that is read, one for each MiB that is not in the cache.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.remote import RemoteFolder
from foreword._base.words import counted
from foreword.errors import MissingFileError, StoreError
from foreword.tokens.store.block_cache import BlockCache
from foreword.tokens.store.manifest import BLOCK

__all__ = ["FarArray", "FarFiles", "blocks_of"]

REQUESTS = 32  # that a process has under way at once
DIGEST = 32
AHEAD = 16  # blocks of a long slice that are under way at once

B_ = TypeVar("B_", bytes, memoryview)


class FarFiles:
    """The files of a store behind a URL.

    Args:
        folder: where they are.
        cache: of their blocks.

    Attributes:
        folder, cache: as given.
    """

    def __init__(self, folder: RemoteFolder, cache: BlockCache) -> None:
        self.folder, self.cache = folder, cache
        self._shards: Sequence[Mapping[str, Any]] = ()
        self._item, self._supervised = 2, False
        self._sums: dict[int, bytearray] = {}

    def manifest(self) -> bytes:
        """The manifest, as it is stored.

        Raises:
            MissingFileError: there is none.
        """
        try:
            return self.folder.read("manifest.json")
        except MissingFileError:
            raise MissingFileError(
                "there is no token store at the URL",
                where=self.folder.shown,
                fix="check the URL; one that is being prepared has no manifest until it is complete",
            ) from None

    def arrays(
        self, manifest: Mapping[str, Any], dtype: np.dtype[Any]
    ) -> tuple[list[FarArray], list[FarArray], list[FarArray] | None]:
        """The token ids of each shard, the offsets of its documents, and the loss of its tokens, where it is there."""
        self._shards, self._item = manifest["shards"], dtype.itemsize
        shards = range(len(self._shards))
        offsets, byte = np.dtype("<u8"), np.dtype("u1")
        self._supervised = "loss" in manifest.get("fields", ())
        return (
            [FarArray(self, i, "tokens", dtype, self._shards[i]["tokens"]) for i in shards],
            [FarArray(self, i, "offsets", offsets, self._shards[i]["documents"] + 1) for i in shards],
            [FarArray(self, i, "loss", byte, self._shards[i]["tokens"]) for i in shards] if self._supervised else None,
        )

    def fill(self, shard: int, kind: str, number: int, memory: memoryview) -> None:
        """Put a block of a file, checked, into ``memory``.

        Args:
            shard: its number.
            kind: "tokens", "offsets" or "loss".
            number: of the block in the file.
            memory: of the block's size.

        Raises:
            StoreError: the object is not what was written; DownloadError: it can't be had.
        """
        place = self._blocks_before(shard)[kind] + number
        digest = bytes(self._sums_of(shard)[place * DIGEST : (place + 1) * DIGEST])
        self._fill(f"{shard:05}.{kind}", number * BLOCK, memory, digest)

    def submit(self, work: Callable[[], Any], future: Future[Any] | None = None) -> Future[Any]:
        """A future of ``work``, ``future`` if it is given, done by one of a few threads."""
        return _own_threads().submit(work, Future() if future is None else future)

    def stream(self, name: str, size: int | None) -> Iterator[tuple[int, bytes]]:
        """A whole object as it is now, past the cache, in blocks, each with its place; it should have ``size`` bytes.

        Raises:
            StoreError: it is missing; DownloadError: it can't be had.
        """
        try:
            found = self.folder.size(name)
        except MissingFileError:
            raise self._missing(name) from None
        found = size if found is None else found

        def read(number: int) -> bytes:
            return self.folder.read(name, number * BLOCK, min((number + 1) * BLOCK, found or 0))

        numbers = iter(range(blocks_of(found or 0)))
        waiting = [self.submit(functools.partial(read, number)) for number in itertools.islice(numbers, AHEAD)]
        start = 0
        while waiting:
            data = waiting.pop(0).result()
            waiting += [self.submit(functools.partial(read, number)) for number in itertools.islice(numbers, 1)]
            yield start, data
            start += len(data)

    def small(self, name: str, sha256: str) -> bytes:
        """A whole small object, its SHA-256 compared."""
        return self._checked(name, bytes.fromhex(sha256), lambda: self.folder.read(name))

    def _blocks_before(self, shard: int) -> dict[str, int]:
        """The number of a shard's blocks that come before those of each of its files, and of them all."""
        tokens, documents = self._shards[shard]["tokens"], self._shards[shard]["documents"]
        offsets = blocks_of(tokens * self._item)
        loss = offsets + blocks_of(8 * (documents + 1))
        return {"tokens": 0, "offsets": offsets, "loss": loss, "all": loss + self._supervised * blocks_of(tokens)}

    def _sums_of(self, shard: int) -> bytearray:
        sums = self._sums.get(shard)
        if sums is None:
            sums = bytearray(self._blocks_before(shard)["all"] * DIGEST)
            expected = bytes.fromhex(self._shards[shard]["sums_sha256"])
            self._fill(f"{shard:05}.sums", 0, memoryview(sums), expected)
            self._sums[shard] = sums
        return sums

    def _fill(self, name: str, start: int, memory: memoryview, sha256: bytes) -> None:
        """Put some bytes of an object, from ``start`` on, into ``memory``: from the cache, or read and checked."""

        def read() -> memoryview:
            return memory[: self.folder.read_into(name, start, memory)]

        self.cache.fill(memory, sha256, lambda: self._checked(name, sha256, read, range(start, start + len(memory))))

    def _checked(self, name: str, sha256: bytes, read: Callable[[], B_], part: range | None = None) -> B_:
        """What ``read`` gives: an object, or the bytes ``part`` of it; read a second time if the comparison fails."""
        for again in (True, False):
            try:
                data = read()
            except MissingFileError:
                raise self._missing(name) from None
            if hashlib.sha256(data).digest() == sha256:
                return data
            if again:
                continue
            short = part is not None and len(data) != len(part)
            raise StoreError(
                "the store is damaged: an object is cut short"
                if short
                else "the store is damaged: an object is not what was written",
                got=counted(len(data), "byte") if short else None,
                expected=f"{len(part):,}" if part is not None and short else None,
                where=self.folder.place(name) + ("" if part is None else f", bytes {part[0]:,} to {part[-1]:,}"),
                fix="restore the object, or prepare the corpus again",
            )
        raise AssertionError

    def _missing(self, name: str) -> StoreError:
        return StoreError(
            "an object of the store is missing",
            where=self.folder.place(name),
            fix="restore the object, or prepare the corpus again",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return FarFiles, (self.folder, self.cache)


class _Threads:
    """The threads of this process that make requests, of all stores; started when needed, and no hindrance to its end.

    (Those of ``concurrent.futures`` would finish all that was ever asked for before a process may end.)
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._started = 0

    def submit(self, work: Callable[[], Any], future: Future[Any]) -> Future[Any]:
        self._waiting.put((future, work))
        if self._started < REQUESTS:
            threading.Thread(target=self._serve, name=f"foreword-far-{self._started}", daemon=True).start()
            self._started += 1
        return future

    def _serve(self) -> None:
        while True:
            future, work = self._waiting.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as failure:
                    future.set_exception(failure)
            del future, work  # a block is not kept until the next one comes


_threads: _Threads | None = None


def _own_threads() -> _Threads:
    global _threads
    if _threads is None or _threads.process != os.getpid():  # a forked child has no threads
        _threads = _Threads()
    return _threads


class FarArray:
    """A file of a store behind a URL as an array [count], of which the blocks are read when they are asked for.

    An index may be an integer, a slice without a step, or an array of integers from 0 on.
    """

    def __init__(self, files: FarFiles, shard: int, kind: str, dtype: np.dtype[Any], count: int) -> None:
        self._files, self._shard, self._kind, self._count = files, shard, kind, count
        self.dtype = dtype
        self.block_items = BLOCK // dtype.itemsize

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._count * self.dtype.itemsize

    def block(self, number: int) -> NDArray[Any]:
        """The items of a block."""
        items = np.empty(min(self.block_items, self._count - number * self.block_items), self.dtype)
        self.fill(number, items)
        return items

    def fill(self, number: int, items: NDArray[Any]) -> None:
        """Put the items of a block into an array that has room for a block, or for so many."""
        count = min(self.block_items, self._count - number * self.block_items)
        self._files.fill(self._shard, self._kind, number, items[:count].data.cast("B"))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, _ = index.indices(self._count)
            return self._slice(start, max(start, stop))
        if np.ndim(index):
            places = np.asarray(index)
            numbers, inverse = np.unique(places // self.block_items, return_inverse=True)
            items = np.empty(places.shape, self.dtype)
            inverse = inverse.reshape(places.shape)
            for i, block in enumerate(self._blocks(numbers.tolist())):
                mine = inverse == i
                items[mine] = block[places[mine] % self.block_items]
            return items
        place = range(self._count)[index]
        return self.block(place // self.block_items)[place % self.block_items]

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        if start == stop:
            return np.empty(0, self.dtype)
        first, last = start // self.block_items, (stop - 1) // self.block_items
        items, low = np.empty(stop - start, self.dtype), first * self.block_items
        for block in self._blocks(range(first, last + 1)):
            part = block[max(0, start - low) : stop - low]
            items[max(0, low - start) : max(0, low - start) + len(part)] = part
            low += self.block_items
        return items

    def _blocks(self, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Blocks in turn, the next ones under way."""
        if len(numbers) == 1:
            yield self.block(numbers[0])
            return
        waiting: list[Any] = []
        for number in numbers:
            waiting.append(self._files.submit(functools.partial(self.block, number)))
            if len(waiting) == AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def blocks_of(size: int) -> int:
    """How many blocks so many bytes are."""
    return -(-size // BLOCK)
