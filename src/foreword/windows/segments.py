"""Which places of a window belong together, so that attention never crosses from one document into another.

A window is a row of segments: the documents in it, or parts of them, and at last its padding. Three arrays say which:

    inputs        h e l l o · w o r l d · p p     T = 14: "hello", "world", each with an end token, and two padded
    positions     0 1 2 3 4 5 0 1 2 3 4 5 0 1     restart at each segment
    document_ids  7 7 7 7 7 7 8 8 8 8 8 8 − −     the document's number in the source; −1 for padding
    cu_seqlens    0 6 12 14 14 14 …               where segments start, then T to the end: [T + 1], whatever is in it

``document_ids[:, None] == document_ids[None, :]`` is the block-diagonal mask. ``cu_seqlens`` is what attention kernels
of variable length take; of a whole batch [B, T + 1], flattened, it is a 0 and then
``(cu_seqlens[:, 1:] + T * arange(B)[:, None]).ravel()``.

Not for: tokens. Costs: a few passes over [n, T].
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Segments", "document_segments"]


@dataclasses.dataclass(frozen=True)
class Segments:
    """The segments of n windows, in order: arrays [segments].

    Attributes:
        windows, context_length: n and T.
        rows, places: the window of each segment, from 0, and where in it the segment starts. Each row has one at 0.
        documents: the document of each segment, −1 for padding.
    """

    windows: int
    context_length: int
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    documents: NDArray[np.int64]

    @property
    def _lengths(self) -> NDArray[np.int64]:
        begin = self.rows * self.context_length + self.places
        return np.diff(begin, append=self.windows * self.context_length)

    def spread(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each segment's value at each of its places: [n, T]."""
        return np.repeat(values, self._lengths).reshape(self.windows, self.context_length)

    @property
    def positions(self) -> NDArray[np.int64]:
        """int64 [n, T], from 0 at each segment's start."""
        return np.arange(self.context_length) - self.spread(self.places)

    @property
    def document_ids(self) -> NDArray[np.int64]:
        """int64 [n, T]."""
        return self.spread(self.documents)

    @property
    def cu_seqlens(self) -> NDArray[np.int32]:
        """int32 [n, T + 1]: where segments start, filled up with T."""
        ends = np.full((self.windows, self.context_length + 1), self.context_length, np.int32)
        counts = np.bincount(self.rows, minlength=self.windows)
        nth = np.arange(len(self.rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        ends[self.rows, nth] = self.places
        return ends


def document_segments(
    offsets: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64] | None, context_length: int
) -> Segments:
    """The segments of windows that start at ``starts`` of a stream and have ``lengths`` inputs (None: all T).

    ``offsets``, [documents + 1], says where each document starts, and the end.

    >>> document_segments(np.array([0, 3, 3, 9]), np.array([0, 4]), np.array([4, 3]), 4).document_ids
    array([[ 0,  0,  0,  2],
           [ 2,  2,  2, -1]])
    """
    T, n = context_length, len(starts)
    if lengths is None:
        lengths = np.full(n, T)
    offsets = offsets.astype(np.int64, copy=False)
    first = np.searchsorted(offsets, starts, side="right") - 1
    last = np.searchsorted(offsets, starts + lengths, side="left") - 1
    counts = last - first + 1
    rows = np.repeat(np.arange(n), counts)
    documents = first[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.maximum(0, offsets[documents] - starts[rows])
    held = offsets[documents + 1] > offsets[documents]  # empty documents have no place
    return with_padding(n, T, rows[held], places[held], documents[held], lengths)


def with_padding(
    n: int,
    context_length: int,
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    documents: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> Segments:
    """Segments with one more for the padding of each row that holds fewer than T."""
    short = np.flatnonzero(lengths < context_length)
    if len(short):
        rows, places = np.concatenate((rows, short)), np.concatenate((places, lengths[short]))
        documents = np.concatenate((documents, np.full(len(short), -1)))
        order = np.lexsort((places, rows))
        rows, places, documents = rows[order], places[order], documents[order]
    return Segments(n, context_length, rows, places, documents)
