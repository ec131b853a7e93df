"""Digests of documents: which texts have been seen, and which part of a split a text belongs to.

Not for: near duplicates. Costs: 16 bytes of memory a document, and about 1 µs.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIGEST_BYTES", "Seen", "SplitRule", "digest"]

DIGEST_BYTES = 16
RUN = 1 << 18


def digest(text: bytes) -> bytes:
    """The BLAKE2b hash of a document, 16 bytes: two of 2⁴⁰ documents share one with a chance below 10⁻¹⁴."""
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


class Seen:
    """A set of digests, 16 bytes each: a few new ones in a Python set, the others in sorted arrays."""

    def __init__(self) -> None:
        self._new: set[bytes] = set()
        self._runs: list[NDArray[np.bytes_]] = []

    def add(self, value: bytes) -> bool:
        """Add a digest; whether it was new."""
        if value in self._new or any(_holds(run, value) for run in self._runs):
            return False
        self._new.add(value)
        if len(self._new) == RUN:
            self._runs.append(_sorted(self._new))
            self._new = set()
            # like digits: two runs of a size become one of twice the size, so that there are few
            while len(self._runs) > 1 and len(self._runs[-1]) >= len(self._runs[-2]):
                last = self._runs.pop()
                merged = np.concatenate([self._runs.pop(), last])
                merged.sort()
                self._runs.append(merged)
        return True


def _sorted(values: set[bytes]) -> NDArray[np.bytes_]:
    run = np.frombuffer(b"".join(values), f"S{DIGEST_BYTES}").copy()
    run.sort()
    return run


def _holds(run: NDArray[np.bytes_], value: bytes) -> bool:
    place = int(np.searchsorted(run, np.frombuffer(value, run.dtype)[0]))
    # a numpy string drops NULs at its end; two digests that differ only there would differ in length
    return place < len(run) and bytes(run[place]) == value.rstrip(b"\0")


class SplitRule:
    """The part that a document belongs to, by its digest: the same for ever, whatever other documents there are.

    >>> rule = SplitRule({"val": 0.25})
    >>> rule.names
    ['train', 'val']
    >>> [rule.names[rule.part(digest(b"%d" % i))] for i in range(5)]
    ['val', 'train', 'train', 'train', 'train']
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.names = ["train", *shares]
        self._limits = list(itertools.accumulate(shares.values()))

    def part(self, value: bytes) -> int:
        """The index in ``names`` of the part that the document of that digest belongs to."""
        place = int.from_bytes(value[:8]) / 2**64
        part = bisect.bisect_right(self._limits, place)
        return part + 1 if part < len(self._limits) else 0
