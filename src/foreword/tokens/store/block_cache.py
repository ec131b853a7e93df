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
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.files import cache_folder, explained, output_path
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

    def get(self, sha256: bytes, fetch: Callable[[], bytes]) -> bytes:
        """The block of that SHA-256; fetched, by one process and thread, where the cache does not have it.

        ``fetch`` gives the block, checked.
        """
        found = self._find(sha256)
        if found is not None:
            return found
        number = int.from_bytes(sha256[:8], "little") % _LOCKS
        with self._locked(f"locks/{number:03x}", patience=_PATIENCE):
            found = self._find(sha256)
            if found is None:
                found = fetch()
                self._keep(sha256, found)
        return found

    def _find(self, sha256: bytes) -> bytes | None:
        """The block, if it is there and whole."""
        try:
            _, entries = self._index()
            for place in _places(entries, sha256):
                with open(self.folder / "blocks", "rb") as file:
                    file.seek(place * BLOCK)
                    data = file.read(int(entries["bytes"][place]))
                if hashlib.sha256(data).digest() == sha256:
                    return data
        except OSError:
            return None
        return None

    def _keep(self, sha256: bytes, data: bytes) -> None:
        """Put a block into the next place; on a disk that is full, don't."""
        if len(data) > BLOCK:
            return
        try:
            with self._locked("lock"):
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
        import filelock

        lock = filelock.FileLock(self.folder / name)
        try:
            lock.acquire(timeout=-1 if patience is None else patience, poll_interval=_POLL)
        except filelock.Timeout:
            yield
            return
        except OSError:  # a file system that is full or read-only: the block is fetched all the same
            if patience is None:
                raise
            yield
            return
        try:
            yield
        finally:
            lock.release()


def _places(entries: NDArray[np.void], sha256: bytes) -> list[int]:
    """Where the index says that the block of that SHA-256 is."""
    alike = (entries["sha256"][:, 0] == int.from_bytes(sha256[:8], "little")) & (entries["bytes"] > 0)
    return [place for place in np.flatnonzero(alike).tolist() if entries["sha256"][place].tobytes() == sha256]


def _write(file: BinaryIO, place: int, data: bytes) -> None:
    file.seek(place)
    file.write(data)
    file.flush()
