"""Keys: which word has which row, for millions of words with no dict at open.

A ``MappedKeys`` table is four arrays that lie in mapped files:

    blob      uint8  [bytes]   the keys' UTF-8, one after another
    offsets   int64  [N + 1]   where each key starts in the blob, and the end
    hashes    uint64 [N]       the keys' hashes, sorted
    rows      uint32 [N]       the row of each hash

A look-up hashes the key, finds the hash by bisection and compares the key itself, so collisions cost time, not truth.
The hash is the key's bytes read as one big-endian integer, modulo a prime below 2⁵⁵: one expression for one key, and
for all keys a few numpy operations a byte, which 2⁵⁵·2⁸ < 2⁶⁴ lets stay in uint64.

``ListedKeys`` is the same table in memory, a list and a dict, for vectors that are made or edited by hand.
``KeyToIndex`` and ``IndexToKey`` show either as the mapping and the sequence that gensim's users know.

Not for: spelling, or keys that aren't strings. Costs: opening is free; a look-up takes about 2 µs, and the pages
touched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["IndexToKey", "KeyTable", "KeyToIndex", "ListedKeys", "MappedKeys", "decode", "encode", "hash_keys"]

PRIME = 22_267_021_129_693_001
_LONG = 64  # keys of more bytes are hashed one by one
_BATCH = 4096  # keys decoded at a time in an iteration


def encode(key: str) -> bytes:
    """A key as it is kept: UTF-8, where a lone surrogate (of ``surrogateescape``) is three bytes like any other."""
    return key.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    """The key that ``encode`` made ``data`` of."""
    return data.decode("utf-8", "surrogatepass")


def hash_key(data: bytes) -> int:
    """The hash of one key.

    >>> hash_key(b"queen") == int.from_bytes(b"queen", "big")
    True
    """
    return int.from_bytes(data, "big") % PRIME


def hash_keys(blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """``hash_key`` of every key, uint64 [N]: the keys by falling length, then one step of Horner's rule a byte.

    >>> hash_keys(np.frombuffer(b"kingqueen", dtype=np.uint8), np.array([0, 4, 9])).tolist() == [
    ...     hash_key(b"king"),
    ...     hash_key(b"queen"),
    ... ]
    True
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    n_long = int(np.searchsorted(-lengths, -_LONG))
    hashes = np.zeros(len(order), dtype=np.uint64)
    for i in range(n_long):
        hashes[i] = hash_key(blob[starts[i] : starts[i] + lengths[i]].tobytes())
    starts, lengths, short = starts[n_long:], lengths[n_long:], hashes[n_long:]
    for position in range(int(lengths[0]) if len(lengths) else 0):
        n = int(np.searchsorted(-lengths, -position))  # how many keys are longer than position
        part = short[:n]
        part *= np.uint64(256)
        part += blob[starts[:n] + position]
        part %= np.uint64(PRIME)
    result = np.empty_like(hashes)
    result[order] = hashes
    return result


class KeyTable(ABC):
    """Keys by row and rows by key; ``len``, iteration and ``table[row]`` give keys."""

    @abstractmethod
    def find(self, key: str) -> int:
        """The row of ``key``, or −1."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, row: int) -> str:
        """The key of ``row``, 0 ≤ row < N."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]: ...

    def find_many(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """The rows of ``keys``, int64 [n]; −1 where there is none."""
        return np.fromiter(map(self.find, keys), dtype=np.int64)


class MappedKeys(KeyTable):
    """A table over arrays, mapped or not; see the module."""

    def __init__(
        self,
        blob: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        rows: NDArray[np.uint32],
    ) -> None:
        # As memoryviews: an element costs a third of numpy's time.
        self._blob, self._offsets, self._hashes, self._rows = blob.data, offsets.data, hashes.data, rows.data

    def find(self, key: str) -> int:
        """The row of ``key``, or −1."""
        if not isinstance(key, str):
            return -1
        data = encode(key)
        wanted = hash_key(data)
        hashes, offsets = self._hashes, self._offsets
        place = bisect_left(hashes, wanted)
        while place < len(hashes) and hashes[place] == wanted:
            row: int = self._rows[place]
            if self._blob[offsets[row] : offsets[row + 1]] == data:
                return row
            place += 1
        return -1

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> str:
        return decode(self._blob[self._offsets[row] : self._offsets[row + 1]].tobytes())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH):
            ends = self._offsets[start : min(start + _BATCH, len(self)) + 1].tolist()
            first = ends[0]
            data = self._blob[first : ends[-1]].tobytes()
            for a, b in pairwise(ends):
                yield decode(data[a - first : b - first])


class ListedKeys(KeyTable):
    """A table in memory that can grow."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = list(keys)
        self._rows = {key: row for row, key in reversed(list(enumerate(self._keys)))}  # the first of equals counts

    def find(self, key: str) -> int:
        """The row of ``key``, or −1."""
        return self._rows.get(key, -1)

    def append(self, key: str) -> int:
        """Add ``key``, which must be new; gives its row."""
        self._rows[key] = row = len(self._keys)
        self._keys.append(key)
        return row

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, row: int) -> str:
        return self._keys[row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)


class KeyToIndex(Mapping[str, int]):
    """A table as the mapping key → row; reads like a dict, without being one."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table

    def __getitem__(self, key: str) -> int:
        row = self._table.find(key)
        if row < 0:
            raise KeyError(key)
        return row

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._table.find(key) >= 0

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def copy(self) -> dict[str, int]:
        """The same as a dict."""
        return {key: row for row, key in enumerate(self._table)}

    def __or__(self, other: Mapping[str, int]) -> dict[str, int]:
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[str, int]) -> dict[str, int]:
        return dict(other) | self.copy()

    def __repr__(self) -> str:
        return f"<{len(self):,} keys → rows>"


class IndexToKey(Sequence[str]):
    """A table as the sequence of its keys; reads and compares like a list, without being one."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._table[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self):,}")
        return self._table[index % len(self)]

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._table.find(key) >= 0

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """The row of a key, without a scan."""
        row = self._table.find(value)
        if row < 0 or row not in range(*slice(start, stop).indices(len(self))):
            raise ValueError(f"{value!r} is not among the keys")
        return row

    def copy(self) -> list[str]:
        """The same as a list."""
        return list(self)

    def __add__(self, other: list[str]) -> list[str]:
        return [*self, *other]

    def __radd__(self, other: list[str]) -> list[str]:
        return [*other, *self]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:6]))
        return f"[{shown}{', …' if len(self) > 6 else ''}]"
