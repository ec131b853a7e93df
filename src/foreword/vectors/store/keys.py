"""Keys: which word has which row, for millions of words with no dict at open.

A ``MappedKeys`` table is four arrays that lie in mapped files:

    blob      uint8  [bytes]   the keys' UTF-8, one after another
    offsets   int64  [N + 1]   where each key starts in the blob, and the end
    hashes    uint64 [N]       the keys' hashes, sorted
    rows      uint32 [N]       the row of each hash

A look-up hashes the key, finds the hash by bisection and compares the key itself, so collisions cost time, not truth.
The hash is the key's bytes read as one big-endian integer, modulo a prime below 2⁵⁵: one expression for one key, and
for all keys a few numpy operations a byte, which 2⁵⁵·2⁸ < 2⁶⁴ lets stay in uint64.

A key that is an integer is kept as its digits behind the byte 0xFF, which UTF-8 has nowhere; so 2 and "2" are two keys.
``KeyToIndex`` and ``IndexToKey`` show the table as the mapping and the sequence that gensim's users know. The table of
a store on disk is pickled as the store's place.

Not for: spelling. Costs: opening is free; a look-up takes about 2 µs, and the pages touched.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.errors import StoreError

__all__ = ["INTEGER", "IndexToKey", "Key", "KeyToIndex", "MappedKeys", "decode", "encode", "hash_keys", "is_key"]

Key: TypeAlias = str | int
"""What names a vector: a word or an integer."""

INTEGER = b"\xff"
"""The byte that an integer's digits stand behind."""

PRIME = 22_267_021_129_693_001
_LONG = 64  # keys of more bytes are hashed one by one
_BATCH = 4096  # keys decoded at a time in an iteration


def is_key(value: object) -> bool:
    """Whether ``value`` can be a key: a word or an integer, of any type of integers, but no truth value."""
    return isinstance(value, str) or (isinstance(value, Integral) and not isinstance(value, bool))


def encode(key: Key) -> bytes:
    """A key as it is kept: UTF-8, where a lone surrogate (of ``surrogateescape``) is three bytes like any other."""
    return key.encode("utf-8", "surrogatepass") if isinstance(key, str) else INTEGER + b"%d" % int(key)


def decode(data: bytes) -> Any:
    """The key that ``encode`` made ``data`` of.

    Raises:
        StoreError: it made no such bytes: they are damaged.

    >>> decode(encode("2")), decode(encode(2))
    ('2', 2)
    """
    try:
        return int(data[1:]) if data[:1] == INTEGER else data.decode("utf-8", "surrogatepass")
    except ValueError:
        raise StoreError("a key is damaged", got=repr(data[:40]), fix="make the store again") from None


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


class MappedKeys:
    """Keys by row and rows by key, over arrays, mapped or not; see the module. ``len``, iteration and ``table[row]``
    give keys.

    Args:
        blob: the arrays that the module names; so are the next three.
        offsets: as there.
        hashes: as there.
        rows: as there.
        again: what gives this table in another process, and its arguments; None where the arrays are to travel.
        integers: whether some keys are integers.
    """

    def __init__(
        self,
        blob: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        rows: NDArray[np.uint32],
        again: tuple[Callable[..., MappedKeys], tuple[Any, ...]] | None = None,
        *,
        integers: bool = False,
    ) -> None:
        # As memoryviews: an element costs a third of numpy's time.
        self._blob, self._offsets, self._hashes, self._rows = blob.data, offsets.data, hashes.data, rows.data
        self._again, self.integers = again, integers

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = [np.asarray(each) for each in (self._blob, self._offsets, self._hashes, self._rows)]
        return self._again or (functools.partial(type(self), integers=self.integers), tuple(arrays))

    def __copy__(self) -> MappedKeys:  # nothing of it can be changed
        return self

    def __deepcopy__(self, _: object) -> MappedKeys:
        return self

    def find(self, key: object) -> int:
        """The row of ``key``, or −1."""
        if not is_key(key):
            return -1
        data = encode(key)  # type: ignore[arg-type]
        wanted = hash_key(data)
        hashes, offsets = self._hashes, self._offsets
        place = bisect_left(hashes, wanted)
        while place < len(hashes) and hashes[place] == wanted:
            row: int = self._rows[place]
            if self._blob[offsets[row] : offsets[row + 1]] == data:
                return row
            place += 1
        return -1

    def find_many(self, keys: Iterable[object]) -> NDArray[np.int64]:
        """The rows of ``keys``, int64 [n]; −1 where there is none."""
        return np.fromiter(map(self.find, keys), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        """The key of ``row``, 0 ≤ row < N."""
        return decode(self._blob[self._offsets[row] : self._offsets[row + 1]].tobytes())

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _BATCH):
            ends = self._offsets[start : min(start + _BATCH, len(self)) + 1].tolist()
            first = ends[0]
            data = self._blob[first : ends[-1]].tobytes()
            for a, b in pairwise(ends):
                yield decode(data[a - first : b - first])


class KeyToIndex(Mapping[Any, int]):
    """A table as the mapping key → row; reads like a dict, without being one."""

    def __init__(self, table: MappedKeys) -> None:
        self._table = table

    @property
    def integers(self) -> bool:
        """Whether some keys are integers."""
        return self._table.integers

    def __getitem__(self, key: Any) -> int:
        row = self._table.find(key)
        if row < 0:
            raise KeyError(key)
        return row

    def __contains__(self, key: object) -> bool:
        return self._table.find(key) >= 0

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._table)

    def copy(self) -> dict[Any, int]:
        """The same as a dict."""
        return {key: row for row, key in enumerate(self._table)}

    def __or__(self, other: Mapping[Any, int]) -> dict[Any, int]:
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[Any, int]) -> dict[Any, int]:
        return dict(other) | self.copy()

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'key')} → rows>"


class IndexToKey(Sequence[Any]):
    """A table as the sequence of its keys; reads and compares like a list, without being one."""

    def __init__(self, table: MappedKeys) -> None:
        self._table = table

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._table[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self):,}")
        return self._table[index % len(self)]

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._table)

    def __contains__(self, key: object) -> bool:
        return self._table.find(key) >= 0

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The row of a key, without a scan."""
        row = self._table.find(value)
        if row < 0 or row not in range(*slice(start, stop).indices(len(self))):
            raise ValueError(f"{value!r} is not among the keys")
        return row

    def copy(self) -> list[Any]:
        """The same as a list."""
        return list(self)

    def __add__(self, other: list[Any]) -> list[Any]:
        return [*self, *other]

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:6]))
        return f"[{shown}{', …' if len(self) > 6 else ''}]"
