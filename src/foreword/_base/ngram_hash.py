"""Which rows of a table an n-gram of token ids has: pure arithmetic, the same in numpy here and in torch.

An n-gram is the last n token ids up to a position, all of one document. Each order and head hashes it by itself into a
range of rows of its own, as in Engram (Cheng et al., "Conditional Memory via Scalable Lookup", 2026, section 2.2: one
hash for each order and head, a table for each). The hash is multilinear, c + Σ m_k·t_k modulo 2⁶⁴ with odd m_k drawn
from (seed, order, head), whose high bits are almost universal (Lemire and Kaser, "Strongly universal string hashing is
fast", 2014); one round of xor, multiply, xor follows, so that n-grams that differ alike do not collide alike. The
upper 32 bits are scaled to the range by a multiplication (Lemire, "Fast random integer generation in an interval",
2019). Engram takes ranges of prime size and a remainder; here any size will do.

Not for: the table (``embeddings.ngram_table``). Costs: some 25 passes of numpy for each order and head.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.words import counted
from foreword.errors import ArgumentError, ArgumentTypeError

__all__ = ["MIXER", "Head", "NgramHash"]

MIXER = 0xD6E8FEB86659FD93
"""What the hash is multiplied by between the two xors."""
_HIGHEST_ORDER = 16
_TOGETHER = 1 << 14  # places that are hashed at a time, so that all passes stay in the processor's cache


class Head(NamedTuple):
    """One hash of n-grams.

    Attributes:
        order: n.
        constant: c.
        multipliers: m_0 … m_(n−1), of the newest token first; below 2⁶⁴.
        first, size: its range of rows.
    """

    order: int
    constant: int
    multipliers: tuple[int, ...]
    first: int
    size: int


@dataclasses.dataclass(frozen=True)
class NgramHash:
    """The rows of n-grams.

    Attributes:
        orders: the n of the n-grams, rising.
        rows: of the table, shared out among orders and heads.
        heads: independent hashes for each order.
        seed: of the hashes.
        end_of_text_id: the id that ends a document: no n-gram holds it but as its last token; None where no id does.
        hashes: one for each order and head, the heads of an order together.

    Raises:
        ArgumentTypeError, ArgumentError: values that can't be used.

    >>> hash_ = NgramHash((2,), rows=1000, heads=1, end_of_text_id=0)
    >>> hash_.row_ids(np.array([[5, 6, 5, 6, 0, 6]])).ravel()
    array([ -1,  31, 406,  31, 285,  -1])
    """

    orders: tuple[int, ...]
    rows: int
    heads: int = 1
    seed: int = 0
    end_of_text_id: int | None = None
    hashes: tuple[Head, ...] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given: Any = self.orders
        if not isinstance(given, Iterable):
            raise ArgumentTypeError("orders are some different n", got=repr(given), expected="as (2, 3)")
        orders = tuple(integer("an order", n, at_least=1, at_most=_HIGHEST_ORDER) for n in given)
        values: dict[str, Any] = {
            "orders": tuple(sorted(orders)),
            "rows": integer("rows", self.rows, at_least=1),
            "heads": integer("heads", self.heads, at_least=1),
            "seed": integer("seed", self.seed),
        }
        if self.end_of_text_id is not None:
            values["end_of_text_id"] = integer("end_of_text_id", self.end_of_text_id, at_least=0)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not orders or len(set(orders)) < len(orders):
            raise ArgumentError("orders are some different n", got=repr(given), expected="as (2, 3)")
        hashes = len(orders) * self.heads
        if not hashes <= self.rows < hashes << 31:
            raise ArgumentError(
                "rows don't fit the orders and heads",
                got=f"{counted(self.rows, 'row')} for {len(orders)} orders × {self.heads} heads",
                expected="from 1 to 2³¹ rows for each order and head",
            )
        object.__setattr__(self, "hashes", self._drawn())  # not when first asked for: no graph can be drawn of that

    @property
    def width(self) -> int:
        """Rows a place: orders × heads."""
        return len(self.orders) * self.heads

    @property
    def context(self) -> int:
        """How many tokens before a place its rows depend on: the highest order less 1."""
        return self.orders[-1] - 1

    @property
    def identity(self) -> str:
        """All that decides the rows, in a line."""
        return (
            f"ngrams 1 orders={','.join(map(str, self.orders))} rows={self.rows} heads={self.heads} seed={self.seed} "
            f"end_of_text_id={self.end_of_text_id}"
        )

    def _drawn(self) -> tuple[Head, ...]:
        found, first = [], 0
        for i, (order, head) in enumerate((n, head) for n in self.orders for head in range(self.heads)):
            constant, *multipliers = (_drawn(self.seed, order, head, k) for k in range(order + 1))
            size = self.rows // self.width + (i < self.rows % self.width)
            found.append(Head(order, constant, tuple(m | 1 for m in multipliers), first, size))
            first += size
        return tuple(found)

    def row_ids(
        self, tokens: NDArray[Any], *, left: int = 0, reach: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The rows of places, int64 [n, T, width]; −1 where there is no n-gram of that order.

        Args:
            tokens: integers [n, left + T]: the places' tokens, and before them what stands to their left.
            left: how many tokens of each row are context only.
            reach: integers [n, T]: how many tokens to the left of each place are of its document; None where only
                ``end_of_text_id`` says so.
        """
        n, length = tokens.shape
        found = np.empty((n, length - left, self.width), np.int64)
        some = max(1, _TOGETHER // max(1, length))
        for low in range(0, n, some):
            rows = slice(low, low + some)
            self._fill(found[rows], tokens[rows].astype(np.int64), left, None if reach is None else reach[rows])
        return found

    def _fill(
        self, found: NDArray[np.int64], tokens: NDArray[np.int64], left: int, reach: NDArray[np.int64] | None
    ) -> None:
        T = found.shape[1]
        padded = np.pad(tokens, ((0, 0), (max(0, self.context - left), 0)))
        before = padded.shape[1] - T  # at least ``context``
        known = self._known(padded, T, tokens.shape[1], reach)
        ids = padded.astype(np.uint64)
        for i, head in enumerate(self.hashes):
            mixed = np.full(found.shape[:2], head.constant, np.uint64)
            for k, multiplier in enumerate(head.multipliers):
                mixed += ids[:, before - k : before - k + T] * np.uint64(multiplier)
            mixed ^= mixed >> np.uint64(32)
            mixed *= np.uint64(MIXER)
            mixed >>= np.uint64(32)
            mixed *= np.uint64(head.size)
            mixed >>= np.uint64(32)
            rows = mixed.astype(np.int64)
            rows += head.first
            found[:, :, i] = np.where(known[head.order - 1], rows, -1)

    def _known(
        self, padded: NDArray[np.int64], T: int, length: int, reach: NDArray[np.int64] | None
    ) -> list[NDArray[np.bool_]]:
        """For k = 0 … context, whether the k tokens before a place are there and of its document: bool [n, T] each."""
        before = padded.shape[1] - T
        inside = np.ones((len(padded), T), bool)
        found = [inside]
        for k in range(1, self.context + 1):
            inside = inside & (np.arange(T) + (length - T) >= k)
            if self.end_of_text_id is not None:
                inside &= padded[:, before - k : before - k + T] != self.end_of_text_id
            if reach is not None:
                inside &= reach >= k
            found.append(inside)
        return found


def _drawn(*key: int) -> int:
    """64 bits that are a function of the key."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")
