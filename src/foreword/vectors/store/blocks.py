"""Blocks: consecutive words with their vectors, as readers give them and stores are built of them.

Not for: what they are read from. Costs: some megabytes each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_BYTES", "Block", "pack"]

BLOCK_BYTES = 4 << 20
"""About how many bytes of a file a block is made of."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive words with their vectors.

    Attributes:
        blob: the words' UTF-8, one after another (see ``keys.encode``).
        lengths: int64 [n], the bytes of each.
        rows: float [n, D]; float32 where the format has that, else as the source has it.
        where: tells where in the file row i came from, for an error.
        counts: int64 [n] word counts, or None.
    """

    blob: bytes
    lengths: NDArray[np.int64]
    rows: NDArray[Any]
    where: Callable[[int], str]
    counts: NDArray[np.int64] | None = None


def pack(words: list[bytes]) -> tuple[bytes, NDArray[np.int64]]:
    """Words as a blob and their lengths.

    >>> pack([b"to", b"be"])
    (b'tobe', array([2, 2]))
    """
    return b"".join(words), np.fromiter(map(len, words), dtype=np.int64, count=len(words))
