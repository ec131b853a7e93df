"""What the tokenizers of other libraries share: long texts in pieces, ids put together without a second copy.

Not for: special tokens and decoding, in which the libraries differ. Costs: see each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.errors import ArgumentError
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["LONGEST", "GrowingIds", "LibraryTokenizer", "refuse_longer"]

# Characters that a library is given at once at most: tokenizers takes about 200 bytes of memory for each.
LONGEST = 1 << 23


class LibraryTokenizer(Tokenizer):
    """A tokenizer that one file says all of."""

    _data: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"options": self.options} if self.options else None
        return type(self), (self.name, self._data), state


class GrowingIds:
    """An array that grows: ids of a long text are never in memory twice."""

    def __init__(self) -> None:
        self._ids = np.empty(0, np.uint32)
        self._size = 0

    def extend(self, ids: Sequence[int] | NDArray[np.uint32]) -> None:
        """Add ``ids`` at the end."""
        end = self._size + len(ids)
        if end > len(self._ids):
            self._ids.resize(max(end, self._size + self._size // 8), refcheck=False)
        self._ids[self._size : end] = ids
        self._size = end

    def array(self) -> NDArray[np.uint32]:
        """All of them, uint32 [n]; nothing can be added any more."""
        self._ids.resize(self._size, refcheck=False)
        return self._ids


def refuse_longer(length: int, name: str, text: str) -> None:
    """Refuse a piece of a text, without a place to cut, that would take the library too much memory.

    Raises:
        ArgumentError: it has more than ``LONGEST`` characters.
    """
    if length > LONGEST:
        raise ArgumentError(
            "a text is too long for the tokenizer's library, which takes it whole",
            got=f"{counted(length, 'character')} without a place where the tokenizer's rules allow a cut: "
            f"{text[:40]!r} …",
            expected=f"at most {LONGEST:,}",
            where=name,
            fix="give the text in parts: in prepare, tell documents apart by line, blank line or separator",
        )
