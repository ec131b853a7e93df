"""Where windows read: an array, a mapped file or a store, as one stream of token ids in one or more pieces.

Reading a window is one copy of its bytes: a piece of n ids is also seen as n − T overlapping items of T + 1 ids each
(an array of raw bytes whose stride is one id), so that numpy copies a window by memcpy instead of id by id.

A file that is truncated under its mapping kills the process that reads it, and one that is rewritten gives other ids.
So each file is looked at (its identity, size and time of change) before it is read. If only the time is another, as
after ``touch``, its contents are compared: with a store's checksums, with an array's fingerprint once that was taken.

To another process, a store or a mapped file travels by name, an array in memory by value.

Costs: about a microsecond a file and read.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword._base.words import counted
from foreword.errors import ArgumentError, StoreError
from foreword.tokens.store.manifest import BLOCK
from foreword.tokens.store.store import TokenStore
from foreword.windows import kernels
from foreword.windows.block_order import run_starts

__all__ = ["Source"]

SAMPLE = 1 << 23  # ids: an array of up to this many is hashed whole, a longer one by as many of them


class Source:
    """A stream of token ids. ``len(source)`` is their number.

    Args:
        source: a ``TokenStore``, or a 1-D array of integers, which may be an ``np.memmap``.
        loss: of a supervised store, what it says of each token, instead of the tokens.

    Attributes:
        dtype: of its ids, in this machine's byte order.

    Raises:
        ArgumentError: no 1-D array of integers.
    """

    def __init__(self, source: TokenStore | ArrayLike, *, loss: bool = False) -> None:
        self._of_loss = loss
        if isinstance(source, TokenStore):
            self._store: TokenStore | None = source
            self._mapped: _MappedPart | None = None
            pieces = list(source.losses if loss else source.shards)
            paths = [path.with_suffix(".loss") for path in source.shard_paths] if loss else source.shard_paths
        else:
            self._store = None
            array = np.asarray(source)
            if array.ndim != 1 or (array.dtype.kind not in "ui" and array.size):
                raise ArgumentError(
                    "token ids must be a 1-D array of integers",
                    got=f"shape {array.shape}, dtype {array.dtype}",
                    fix="encode text first, tokenizer.encode(text), or open a store",
                )
            pieces = [np.ascontiguousarray(array)]
            self._mapped = _mapped_part(pieces[0])
            paths = [self._mapped.path] if self._mapped else []
        self._pieces = pieces
        self.dtype = pieces[0].dtype.newbyteorder("=") if pieces else np.dtype(np.uint16)
        self._ends = np.cumsum([len(piece) for piece in pieces])
        self._starts = self._ends - [len(piece) for piece in pieces]
        self._files = [(path, _signature(path)) for path in map(os.fspath, paths)]
        self._items: dict[tuple[int, int], NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def store(self) -> TokenStore | None:
        """The store, where it is one."""
        return self._store

    def run_starts(self, blocks: int) -> NDArray[np.int64]:
        """Where each run of so many blocks of 1 MiB starts in the stream, and the end; a piece begins one."""
        items = BLOCK // self._pieces[0].dtype.itemsize if self._pieces else BLOCK
        return run_starts(np.append(self._starts, len(self)), blocks * items)

    def runs(self, starts: NDArray[np.int64], length: int, *, whole: bool) -> NDArray[Any]:
        """The ids from each start on, [n, length]; past the end of the stream, they are whatever is before it.

        ``whole`` says that none goes past the end.
        """
        if len(self._pieces) == 1 and (whole or int(starts.max(initial=0)) <= len(self) - length):
            items = self._items_of(0, length)
            ids = np.empty((len(starts), length), self._pieces[0].dtype)
            if not kernels.gathered(self._address, len(items) - 1, starts, ids):
                ids = items[starts].view(ids.dtype).reshape(-1, length)
            return self._of_vocabulary(ids, starts)
        ids = np.empty((len(starts), length), self._pieces[0].dtype)
        first = np.searchsorted(self._ends, starts, side="right")
        inside = starts + length <= self._ends[np.minimum(first, len(self._ends) - 1)]
        for piece in np.unique(first[inside]).tolist():
            rows = np.flatnonzero(inside & (first == piece))
            items = self._items_of(piece, length)[starts[rows] - self._starts[piece]]
            ids[rows] = items.view(ids.dtype).reshape(-1, length)
        rows = np.flatnonzero(~inside)  # the few that cross from one piece into the next, or the end
        if len(rows):
            ids[rows] = self.at(np.minimum(starts[rows, None] + np.arange(length), len(self) - 1))
        return self._of_vocabulary(ids, starts)

    def _of_vocabulary(self, ids: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
        """``ids`` [n, length]; StoreError where a token file of another library holds one that is no id."""
        if self._store is not None and not self._store.trusted and ids.size:
            limit = self._store.vocab_size
            if int(ids.min()) < 0 or int(ids.max()) >= limit:
                row = int(np.flatnonzero(((ids < 0) | (ids >= limit)).any(axis=1))[0])
                self._store.check_ids(ids[row], int(starts[row]))
        return ids

    def at(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The ids at any places of the stream, of the same shape."""
        if len(self._pieces) == 1:
            self._check(0)
            ids: NDArray[Any] = self._pieces[0][places]
            self._of_vocabulary(ids.reshape(-1, 1), places.reshape(-1))
            return ids
        ids = np.empty(places.shape, self._pieces[0].dtype)
        owner = np.searchsorted(self._ends, places, side="right")
        for piece in np.unique(owner).tolist():
            self._check(piece)
            mine = owner == piece
            ids[mine] = self._pieces[piece][places[mine] - self._starts[piece]]
        return ids

    def _items_of(self, piece: int, length: int) -> NDArray[Any]:
        """A piece as overlapping items of ``length`` ids; kept, because making one costs as much as a small read."""
        self._check(piece)
        items = self._items.get((piece, length))
        if items is None:
            ids = self._pieces[piece]
            size = ids.dtype.itemsize
            items = np.ndarray((len(ids) - length + 1,), f"V{length * size}", ids, strides=(size,))
            self._items[piece, length] = items
        return items

    def _check(self, piece: int) -> None:
        """Refuse to read from a file that is no longer what it was.

        Raises:
            StoreError: it is gone, or was replaced or changed.
        """
        if self._files:
            path, then = self._files[piece]
            if (now := _signature(path)) == then:
                return
            if then is not None and now is not None and now[:2] == then[:2] and self._is_unchanged(piece):
                self._files[piece] = (path, now)
                return
            raise StoreError(
                "a file of token ids has changed while it was in use",
                got="it is gone" if now is None else f"{counted(now[1], 'byte')}, other contents or another file",
                expected=None if then is None else f"{counted(then[1], 'byte')}, as when it was opened",
                where=path,
                fix="restore the file, or open it again and start from the beginning",
            )

    def _is_unchanged(self, piece: int) -> bool:
        """Whether a piece is known to hold what it held, though its file may have been written."""
        if self._store is not None:
            return self._store.is_intact(piece, loss=self._of_loss)
        known: str | None = vars(self).get("fingerprint")
        return known is not None and known == _array_fingerprint(self._pieces[0])

    @functools.cached_property
    def _address(self) -> int:
        """Where the first piece lies in this process's memory."""
        address: int = self._pieces[0].ctypes.data
        return address

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the ids: a store's own, else of the ids themselves.

        An array of more than 8 million ids is known by its length and by that many of them, in pieces all over it, so a
        small change in a long array may go unnoticed.
        """
        if self._store is not None:
            return self._store.fingerprint
        return _array_fingerprint(self._pieces[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # A store is opened again where it arrives, and so is a mapped file; any other array travels by value.
        if self._mapped is None:
            again = functools.partial(Source, loss=self._of_loss)
            return again, (self._store if self._store is not None else self._pieces[0],)
        self._check(0)
        return _mapped_again, (self._mapped, self._files[0][1], self.fingerprint)


class _MappedPart(NamedTuple):
    """A part of a mapped file: ``length`` items of ``dtype`` from the byte ``offset`` on."""

    path: Path
    dtype: str
    offset: int
    length: int


def _mapped_part(array: NDArray[Any]) -> _MappedPart | None:
    """Where a contiguous array lies in a file that numpy has mapped; None if it is not (only) a view of one."""
    root: Any = array
    while isinstance(root, np.ndarray) and isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c" or not len(array):
        return None  # what is written to a map of mode "c" is in no file
    offset = root.offset + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return _MappedPart(Path(root.filename), array.dtype.str, offset, len(array))


def _mapped_again(part: _MappedPart, signature: tuple[int, int, int] | None, fingerprint: str) -> Source:
    """The source over a part of a file, in another process.

    Raises:
        StoreError: it is not the file that it was there.
    """
    try:
        array = np.memmap(part.path, part.dtype, "r", part.offset, (part.length,))
    except (OSError, ValueError) as cause:
        raise StoreError(
            f"a file of token ids can't be mapped again: {cause}",
            where=part.path,
            fix="give it under this path here too",
        ) from cause
    source = Source(array)
    if _signature(os.fspath(part.path)) != signature and source.fingerprint != fingerprint:
        raise StoreError(
            "a file of token ids is not the one that it was in the process that sent it",
            where=part.path,
            fix="give the same file under this path",
        )
    return source


def _array_fingerprint(ids: NDArray[Any]) -> str:
    digest = hashlib.blake2b(f"{ids.dtype.str} {len(ids)} ".encode(), digest_size=16)
    run = 1 << 15  # hash one run in so many, and the last
    for start in range(0, len(ids), run * max(1, -(-len(ids) // SAMPLE))):
        digest.update(ids[start : start + run].tobytes())
    digest.update(ids[-run:].tobytes())
    return digest.hexdigest()


def _signature(path: str) -> tuple[int, int, int] | None:
    """Identity, size and time of change of a file; None where it is gone."""
    try:
        stat = os.stat(path)  # noqa: PTH116 (twice as fast as Path's, once a block)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
