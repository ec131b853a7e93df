"""A table of words: bytes → a count or an index, in arrays that compiled loops work on without Python's lock.

Not for: text that is no list of words by white space. Costs: 64 to 128 bytes a word, and the bytes of those longer than
seven; 10 to 30 ns a word of text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.errors import MissingPackageError

__all__ = ["Ends", "WordTable"]

_SLOTS = 1 << 12
_ARENA = 1 << 14
_AT_ONCE = 1 << 16  # words
_NO_LIMIT = (1 << 63) - 1
_NO_OUTPUT = np.empty(0, dtype=np.uint32)


@dataclasses.dataclass(frozen=True)
class Ends:
    """What a block of text says of the lines that it begins and ends in.

    Attributes:
        total: words in it.
        words: of them, those that the table has: all, where they were counted.
        starts: of these, those that are the first after a newline in the block.
        open: whether its first word comes before any newline of the block.
        pending: whether a newline follows its last word; None where the block has neither.
    """

    total: int
    words: int
    starts: int
    open: bool
    pending: bool | None

    def follow(self, pending: bool) -> tuple[bool, bool]:
        """Where before the block a newline was pending, or not: (whether its first word begins a line, whether a
        newline is pending after the block).
        """
        return self.open and pending, pending if self.pending is None else self.pending


class WordTable:
    """Words and a number each.

    Raises:
        MissingPackageError: numba is not there, or unwanted.
    """

    def __init__(self) -> None:
        self._kernel = _kernel()
        self._slots = np.zeros((_SLOTS, 4), dtype=np.uint64)
        self._arena = np.zeros(_ARENA, dtype=np.uint8)
        self._marks = np.zeros(9, dtype=np.int64)

    @classmethod
    def of(cls, words: Sequence[object]) -> WordTable:
        """A table that says of each word its index. Keys that are no word of a text (with white space, or no text) are
        left out.
        """
        table = cls()
        numbers = [i for i, word in enumerate(words) if isinstance(word, str) and word.split() == [word]]
        base = 0
        for start in range(0, len(numbers), _AT_ONCE):
            text = "\n".join(words[i] for i in numbers[start : start + _AT_ONCE])  # type: ignore[misc]
            data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
            table.count(data, base)
            base += len(data) + 1
        table._slots[table._in_order(), 1] = np.array(numbers, dtype=np.uint64)
        return table

    def __len__(self) -> int:
        return int(self._marks[self._kernel.ENTRIES])

    @property
    def in_line(self) -> bool:
        """Whether the text that was counted so far ends within a line that has words."""
        return bool(self._marks[self._kernel.LINE])

    def count(
        self, text: NDArray[np.uint8], base: int, *, limit: int | None = None, prune: Callable[[], None] | None = None
    ) -> Ends:
        """Count the words of a block of text, which begins and ends between two words.

        Args:
            text: uint8 [n].
            base: the place in the whole text where it begins.
            limit: call ``prune`` after each line, or 10,000 words of one, that leaves more words than that.
            prune: what to call then.
        """
        return self._scan(text, base, _NO_OUTPUT, counting=True, limit=limit, prune=prune)

    def number(self, text: NDArray[np.uint8], out: NDArray[np.uint32]) -> Ends:
        """Write the indices of the block's words that the table has to ``out``, those after a newline with their top
        bit set, the first word apart where no newline of the block is before it.
        """
        return self._scan(text, 0, out, counting=False)

    def _scan(
        self,
        text: NDArray[np.uint8],
        base: int,
        out: NDArray[np.uint32],
        *,
        counting: bool,
        limit: int | None = None,
        prune: Callable[[], None] | None = None,
    ) -> Ends:
        kernel = self._kernel
        # Several threads may number by one table: each has marks of its own.
        marks = self._marks if counting else self._marks.copy()
        marks[[kernel.WORDS, kernel.STARTS, kernel.FIRST_OPEN, kernel.WRITTEN]] = 0
        marks[kernel.PENDING] = 2
        most, at = _NO_LIMIT if limit is None else limit, 0
        while True:
            marks[kernel.FULL] = 0
            at = kernel.scan(
                text, at, len(text), base, self._slots, self._arena, marks, kernel.CLASSES, out, counting, most
            )
            if marks[kernel.FULL]:
                self._grow(len(text) - at)
            elif prune is not None and len(self) > most and not marks[kernel.LINE]:
                prune()
            if at >= len(text):
                break
        total, pending = int(marks[kernel.WORDS]), int(marks[kernel.PENDING])
        return Ends(
            total,
            total if counting else int(marks[kernel.WRITTEN]),
            int(marks[kernel.STARTS]),
            bool(marks[kernel.FIRST_OPEN]),
            None if pending == 2 else pending == 1,
        )

    def _grow(self, text: int) -> None:
        """Make room for a word at least, that lies in so many bytes of text."""
        if 2 * (len(self) + 1) > len(self._slots):
            self._widen(2 * len(self._slots))
        need = int(self._marks[self._kernel.ARENA]) + min(text, self._kernel.LONGEST)
        if need > len(self._arena):
            self._arena = np.concatenate([self._arena, np.zeros(max(len(self._arena), need), dtype=np.uint8)])

    def _widen(self, capacity: int) -> None:
        wider = np.zeros((capacity, 4), dtype=np.uint64)
        self._kernel.rehash(self._slots, wider)
        self._slots = wider

    def merge(self, other: WordTable) -> None:
        """Add the counts of another table."""
        capacity = len(self._slots)
        while 2 * (len(self) + len(other)) > capacity:
            capacity *= 2
        if capacity > len(self._slots):
            self._widen(capacity)
        used = int(other._marks[self._kernel.ARENA])
        need = int(self._marks[self._kernel.ARENA]) + used
        if need > len(self._arena):
            self._arena = np.concatenate([self._arena, np.zeros(need - len(self._arena), dtype=np.uint8)])
        self._kernel.merge(self._slots, self._arena, self._marks, other._slots, other._arena)

    def keep(self, slots: NDArray[np.int64]) -> None:
        """Drop all words but those in these slots."""
        kept = self._slots[slots]
        arena, marks = self._arena, self._marks
        rest = np.zeros((max(_SLOTS, len(self._slots)), 4), dtype=np.uint64)
        self._kernel.rehash(kept, rest)
        self._slots = np.zeros_like(rest)
        self._arena = np.zeros_like(arena)
        marks[[self._kernel.ENTRIES, self._kernel.ARENA]] = 0
        self._kernel.merge(self._slots, self._arena, marks, rest, arena)

    def _in_order(self) -> NDArray[np.int64]:
        """The slots of all words, in the order in which they first stood in the text."""
        used = np.flatnonzero(self._slots[:, 0])
        return used[np.argsort(self._slots[used, 2], kind="stable")]

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of all words, in the order in which they first stood in the text: slots, counts, and where that was."""
        order = self._in_order()
        return order, self._slots[order, 1].astype(np.int64), self._slots[order, 2].astype(np.int64)

    def blobs(self, slots: NDArray[np.int64]) -> Iterator[bytes]:
        """The words of these slots, some ten thousand at a time, each with a newline after it."""
        for start in range(0, len(slots), _AT_ONCE):
            part = np.ascontiguousarray(slots[start : start + _AT_ONCE])
            blob = np.empty(0, dtype=np.uint8)
            blob = np.empty(self._kernel.gather(self._slots, part, self._arena, blob), dtype=np.uint8)
            self._kernel.gather(self._slots, part, self._arena, blob)
            yield blob.tobytes()


def _kernel() -> Any:
    try:
        from foreword.vectors.training import words_kernel
    except ImportError as cause:
        raise MissingPackageError(
            "training vectors needs numba",
            got=str(cause),
            fix="pip install numba, and leave FOREWORD_KERNELS unset",
        ) from cause
    return words_kernel
