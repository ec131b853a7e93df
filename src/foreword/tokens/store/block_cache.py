"""A cache of blocks: a folder of bounded size that the processes of a machine share.

    FOLDER/
      blocks      N places of 1 MiB, a ring: the block that came first gives its place to the next one
      index       N, where the ring stands, and of each place the SHA-256 and the size of the block in it
      lock        held while a block is put into its place
      locks/      of blocks that are being fetched, by the first bits of their SHA-256

A block is known by its SHA-256, and compared with it whenever it is read: so reading needs no lock, and neither a place
that is being written, nor a process that was killed while it wrote, nor a damaged disk can give other bytes. Locks are
the system's, and die with their process. A disk that is full costs the cache, not the reader.

Not for: what blocks mean (``far``). Costs: reading a block, 1 ms, most of it its SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.files import cache_folder, explained, output_path
from foreword._base.system import lock_file
from foreword.errors import ArgumentError, FileError
from foreword.tokens.store.manifest import BLOCK

__all__ = ["CACHE_BYTES", "BlockCache"]

CACHE_BYTES = 10 << 30
_HEAD = np.dtype([("magic", "S16"), ("places", "<u8"), ("next", "<u8")])
_ENTRY = np.dtype([("sha256", "<u8", 4), ("bytes", "<u4")])
_MAGIC = b"foreword blocks1"
# Blocks that share a lock wait for each other; so many seldom meet.
_LOCKS = 1 << 10
_POLL = 0.004  # seconds between two looks at a lock
_PATIENCE = 90.0  # seconds until who holds a lock counts as stuck, and the block is fetched without it


class BlockCache:
    """The cache in ``folder``.

    Args:
        folder: made if missing; None for one in Foreword's own cache.
        limit: the bytes that its blocks may take, at least one block; None for what it has, or 10 GiB for a new one.

    Raises:
        ArgumentError: ``limit`` is less than a block.
        FileError: the folder can't be made, or holds another thing.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, limit: int | None = None) -> None:
        self.folder = cache_folder("blocks") if folder is None else output_path(folder).absolute()
        self.limit = limit
        self._warned = False
        self._own = (os.getpid(), threading.Lock())
        if limit is not None and integer("cache_bytes", limit, at_least=1) < BLOCK:
            raise ArgumentError("cache_bytes must hold a block", got=f"{limit:,}", expected=f"at least {BLOCK:,}")
        with explained("make the cache of blocks", self.folder):
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            with self._locked("lock"):
                self._make(None if limit is None else limit // BLOCK)

    def __reduce__(self) -> tuple[object, ...]:
        return BlockCache, (self.folder, self.limit)

    @property
    def places(self) -> int:
        """How many blocks it can hold."""
        return int(self._index()[0]["places"])

    def fill(self, memory: memoryview, sha256: bytes, fetch: Callable[[], object]) -> None:
        """Put the block of that SHA-256 into ``memory``; fetched, by one process and thread, where it is not here.

        Args:
            memory: of the block's size.
            sha256: of the block.
            fetch: puts the block, checked, into ``memory``.
        """
        if self._find(memory, sha256):
            return
        number = int.from_bytes(sha256[:8], "little") % _LOCKS
        with self._locked(f"locks/{number:03x}", patience=_PATIENCE):
            if not self._find(memory, sha256):
                fetch()
                self._keep(sha256, memory)

    def _find(self, memory: memoryview, sha256: bytes) -> bool:
        """Whether the block is there and whole; it is in ``memory`` then."""
        try:
            _, entries = self._index()
            for place in _places(entries, sha256):
                if entries["bytes"][place] != len(memory):
                    continue
                with open(self.folder / "blocks", "rb", buffering=0) as file:
                    file.seek(place * BLOCK)
                    size = file.readinto(memory)
                if size == len(memory) and hashlib.sha256(memory).digest() == sha256:
                    return True
        except OSError:
            return False
        return False

    def _keep(self, sha256: bytes, data: memoryview) -> None:
        """Put a block into the next place; on a disk that is full, don't."""
        if len(data) > BLOCK:
            return
        try:
            with self._putting(), self._locked("lock"):
                head, entries = self._index()
                places = int(head["places"])
                if not places:
                    return
                place = int(head["next"]) % places
                same = _places(entries, sha256)
                if same:  # damaged, since it was not found: written again where it is
                    place = same[0]
                with open(self.folder / "index", "r+b") as index, open(self.folder / "blocks", "r+b") as blocks:
                    _write(index, _HEAD.itemsize + place * _ENTRY.itemsize, bytes(_ENTRY.itemsize))
                    _write(blocks, place * BLOCK, data)
                    _write(index, _HEAD.itemsize + place * _ENTRY.itemsize, sha256 + len(data).to_bytes(4, "little"))
                    if not same:
                        _write(index, 24, ((place + 1) % places).to_bytes(8, "little"))
        except OSError as cause:
            if not self._warned:
                self._warned = True
                why = (cause.strerror or str(cause)).lower()
                warnings.warn(
                    f"a block is not kept in the cache {self.folder}: {why}; it is fetched again when it is needed",
                    stacklevel=2,
                )

    def _index(self) -> tuple[np.void, NDArray[np.void]]:
        """The head of the index, and an entry for each place."""
        data = (self.folder / "index").read_bytes()
        if len(data) < _HEAD.itemsize:
            raise OSError("the index is cut short")
        head = np.frombuffer(data, _HEAD, 1)[0]
        return head, np.frombuffer(data, _ENTRY, (len(data) - _HEAD.itemsize) // _ENTRY.itemsize, _HEAD.itemsize)

    def _make(self, places: int | None) -> None:
        """Make the files, or give them another number of places; what lies beyond a smaller number is dropped."""
        (self.folder / "blocks").touch()
        try:
            head, entries = self._index()
        except OSError:
            head, entries = np.array([(_MAGIC, 0, 0)], _HEAD)[0], np.zeros(0, _ENTRY)
        if head["magic"] != _MAGIC:
            raise FileError("the folder holds no cache of blocks", where=self.folder, fix="name another folder")
        was, start = len(entries), int(head["next"])
        places = places or was or CACHE_BYTES // BLOCK
        if places == was == int(head["places"]):
            return
        if places > was and start < was and entries["bytes"].all():  # a full ring that grows: go on at the new places
            start = was
        kept = np.zeros(places, _ENTRY)
        kept[: min(was, places)] = entries[:places]
        partial = self.folder / "index.partial"
        partial.write_bytes(np.array([(_MAGIC, places, start % places)], _HEAD).tobytes() + kept.tobytes())
        os.replace(partial, self.folder / "index")
        if (self.folder / "blocks").stat().st_size > places * BLOCK:
            os.truncate(self.folder / "blocks", places * BLOCK)

    @contextlib.contextmanager
    def _locked(self, name: str, *, patience: float | None = None) -> Iterator[None]:
        """Hold a lock; go on without it after ``patience`` seconds."""
        try:
            release = self._lock(self.folder / name, patience)
        except OSError:  # a file system that is full or read-only: the block is fetched all the same
            if patience is None:
                raise
            release = None
        try:
            yield
        finally:
            if release is not None:
                release()

    def _lock(self, file: Path, patience: float | None) -> Callable[[], None] | None:
        """What lets go of a lock, once it is ours; None where that takes too long."""
        stop = None if patience is None else time.monotonic() + patience
        while True:
            try:
                release = lock_file(file, shared=False)
            except FileNotFoundError:
                file.touch()
                continue
            if release is not None or (stop is not None and time.monotonic() > stop):
                return release
            time.sleep(_POLL)

    def _putting(self) -> threading.Lock:
        """The lock of this process for putting blocks into their places: its threads need not poll for each other."""
        if self._own[0] != os.getpid():  # a forked child: some thread of the parent may hold it for ever
            self._own = (os.getpid(), threading.Lock())
        return self._own[1]


def _places(entries: NDArray[np.void], sha256: bytes) -> list[int]:
    """Where the index says that the block of that SHA-256 is."""
    alike = (entries["sha256"][:, 0] == int.from_bytes(sha256[:8], "little")) & (entries["bytes"] > 0)
    return [place for place in np.flatnonzero(alike).tolist() if entries["sha256"][place].tobytes() == sha256]


def _write(file: BinaryIO, place: int, data: bytes | memoryview) -> None:
    file.seek(place)
    file.write(data)
    file.flush()
