"""Where windows read: an array, a mapped file or a store, as one stream of token ids in one or more pieces.

Reading a window is one copy of its bytes: a piece of n ids is also seen as n − T overlapping items of T + 1 ids each
(an array of raw bytes whose stride is one id), so that numpy copies a window by memcpy instead of id by id.

A file that is truncated under its mapping kills the process that reads it, and one that is rewritten gives other ids.
So each file is looked at (its identity, size and time of change) before it is read.

Costs: about a microsecond a file and read.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import ArgumentError, StoreError
from foreword.tokens.store.store import TokenStore

__all__ = ["Source"]

SAMPLE = 1 << 23  # ids: an array of up to this many is hashed whole, a longer one by as many of them


class Source:
    """A stream of token ids. ``len(source)`` is their number.

    Args:
        source: a ``TokenStore``, or a 1-D array of integers, which may be an ``np.memmap``.

    Raises:
        ArgumentError: no 1-D array of integers.
    """

    def __init__(self, source: TokenStore | ArrayLike) -> None:
        if isinstance(source, TokenStore):
            self._store: TokenStore | None = source
            pieces = list(source.shards)
            folder = source.path.is_dir()
            paths = [source.path / f"{i:05}.tokens" if folder else source.path for i in range(len(pieces))]
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
            filename = getattr(source, "filename", None) if isinstance(source, np.memmap) else None
            paths = [Path(filename)] if filename else []
        self._pieces = pieces
        self._ends = np.cumsum([len(piece) for piece in pieces])
        self._starts = self._ends - [len(piece) for piece in pieces]
        self._files = [(path, _signature(path)) for path in paths]
        self._items: dict[tuple[int, int], NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def store(self) -> TokenStore | None:
        """The store, where it is one."""
        return self._store

    def runs(self, starts: NDArray[np.int64], length: int, *, whole: bool) -> NDArray[Any]:
        """The ids from each start on, [n, length]; past the end of the stream, they are whatever is before it.

        ``whole`` tells that none goes past the end.
        """
        if len(self._pieces) == 1 and (whole or int(starts.max(initial=0)) <= len(self) - length):
            return self._items_of(0, length)[starts].view(self._pieces[0].dtype).reshape(-1, length)
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
        return ids

    def at(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The ids at any places of the stream, of the same shape."""
        if len(self._pieces) == 1:
            self._check(0)
            return self._pieces[0][places]
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
            if (now := _signature(path)) != then:
                raise StoreError(
                    "a file of token ids has changed while it was in use",
                    got="it is gone" if now is None else f"{now[1]:,} bytes, other contents or another file",
                    expected=None if then is None else f"{then[1]:,} bytes, as when it was opened",
                    where=path,
                    fix="restore the file, or open it again and start from the beginning",
                )

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the ids: a store's own, else of the ids themselves.

        An array of more than 8 million ids is known by its length and by that many of them, in pieces all over it, so a
        small change in a long array may go unnoticed.
        """
        if self._store is not None:
            return self._store.fingerprint
        ids = self._pieces[0]
        told = hashlib.blake2b(f"{ids.dtype.str} {len(ids)} ".encode(), digest_size=16)
        run = 1 << 15  # hash one run in so many, and the last
        for start in range(0, len(ids), run * max(1, -(-len(ids) // SAMPLE))):
            told.update(ids[start : start + run].tobytes())
        told.update(ids[-run:].tobytes())
        return told.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        # A store is opened again where it arrives; an array travels by value.
        return Source, (self._store if self._store is not None else self._pieces[0],)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another, or from itself later; None where it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
