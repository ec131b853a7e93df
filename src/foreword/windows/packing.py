"""Best-fit packing: whole documents side by side in windows of T places, with as little padding as can be had quickly.

A document of n tokens has n − 1 inputs with a target inside it, and takes n − 1 places. One that takes more than T is
first cut into whole windows of T and a rest. The pieces are then packed best-fit decreasing: longest first, each into
the window with the least room that still holds it (Johnson, 1973: at most 11/9 of the fewest windows, in practice
within a per cent; for language models Ding et al., "Fewer Truncations Improve Language Modeling", 2024).

Not for: streams of unknown length. Costs: pieces of one length are placed together, so the time is a sort of the
lengths and a loop over the distinct ones; some 40 bytes a document; no token is read.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.windows.arithmetic import Pieces, TokenAccount, distinct

__all__ = ["Packing", "best_fit"]


def best_fit(lengths: NDArray[np.integer[Any]], capacity: int) -> NDArray[np.int64]:
    """The bin of each item, best-fit decreasing, int64 [n]; bins are numbered from 0 in the order they are opened.

    Every length is from 1 to ``capacity``.

    >>> best_fit(np.array([5, 7, 3, 4, 1]), 10)
    array([1, 0, 0, 1, 1])
    """
    bins = np.empty(len(lengths), np.int64)
    longest_first = np.argsort(-lengths.astype(np.int64), kind="stable")
    sizes, firsts = np.unique(-lengths[longest_first].astype(np.int64), return_index=True)
    ends = np.append(firsts[1:], len(lengths))
    rooms = _Rooms(capacity)
    for size, first, end in zip((-sizes).tolist(), firsts, ends, strict=False):
        items = longest_first[first:end]
        while len(items):
            room, open_bins = rooms.tightest(size, len(items))
            # A bin takes items of this size one after another: after each it is still the tightest that fits.
            each = room // size
            taken = min(len(items), each * len(open_bins))
            bins[items[:taken]] = np.repeat(open_bins, each)[:taken]
            items = items[taken:]
            full, rest = divmod(taken, each)
            rooms.put(room - each * size, open_bins[:full])
            rooms.put(room - rest * size, open_bins[full : full + (rest > 0)])  # the last bin may get fewer
    return bins


class _Rooms:
    """Bins by the room they have left; finds the tightest that holds an item by one bit operation."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bins: list[deque[NDArray[np.int64]]] = [deque() for _ in range(capacity + 1)]
        self._present = 0  # bit r is set where some bin has room r
        self._opened = 0

    def tightest(self, size: int, items: int) -> tuple[int, NDArray[np.int64]]:
        """The least room that holds ``size``, and bins that have it, no more than ``items`` items need."""
        fitting = self._present >> size
        if not fitting:
            count = -(-items // (self._capacity // size))
            self._opened += count
            return self._capacity, np.arange(self._opened - count, self._opened)
        room = size + (fitting & -fitting).bit_length() - 1
        found = self._bins[room].popleft()
        count = -(-items // (room // size))
        if count < len(found):
            self._bins[room].appendleft(found[count:])
        if not self._bins[room]:
            self._present ^= 1 << room
        return room, found[:count]

    def put(self, room: int, bins: NDArray[np.int64]) -> None:
        """Note that ``bins`` have ``room`` left; full bins are forgotten."""
        if room and len(bins):
            self._bins[room].append(bins)
            self._present |= 1 << room


class Packing:
    """Documents packed into windows: window → the pieces in it.

    Args:
        offsets: where each document starts in the stream, and the end: integers [documents + 1].
        context_length: T, the places of a window.

    ``len(packing)`` is the number of windows. They are in the order of their first document, as far as packing allows.

    >>> packing = Packing(np.array([0, 6, 14, 18, 19]), 8)  # documents of 6, 8, 4 and 1 tokens
    >>> rows, places, starts, lengths, documents = packing.pieces(np.arange(len(packing)))
    >>> rows, places, starts, lengths, documents
    (array([0, 0, 1]), array([0, 5, 0]), array([ 0, 14,  6]), array([5, 3, 7]), array([0, 2, 1]))
    """

    def __init__(self, offsets: NDArray[Any], context_length: int) -> None:
        self.context_length = T = context_length
        self.stored = int(offsets[-1] - offsets[0])
        starts, places = offsets[:-1].astype(np.int64), np.maximum(0, np.diff(offsets.astype(np.int64)) - 1)
        # Cut each document into pieces of T and a rest: [pieces]
        pieces = -(-places // T)
        document = np.repeat(np.arange(len(places)), pieces)
        begin = (np.arange(len(document)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * T
        self._document, self._source = document, starts[document] + begin
        self._length = np.minimum(T, places[document] - begin)
        # Number the windows by their first piece, and list the pieces by window.
        bins = best_fit(self._length, T)
        windows, first_piece, bins = np.unique(bins, return_index=True, return_inverse=True)
        number = np.empty(len(windows), np.int64)
        number[np.argsort(first_piece)] = np.arange(len(windows))
        by_window = np.argsort(number[bins], kind="stable")
        self._document, self._source, self._length = (
            part[by_window] for part in (self._document, self._source, self._length)
        )
        self._first = np.concatenate(([0], np.cumsum(np.bincount(number[bins], minlength=len(windows)))))

    def __len__(self) -> int:
        return len(self._first) - 1

    def pieces(self, windows: NDArray[np.int64]) -> Pieces:
        """What the windows hold: whole documents, or parts of those longer than a window."""
        counts = self._first[windows + 1] - self._first[windows]
        rows = np.repeat(np.arange(len(windows)), counts)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        piece = self._first[windows][rows] + nth
        length = self._length[piece]
        ends = np.cumsum(length)
        row_starts = ends[np.cumsum(counts) - counts] - length[np.cumsum(counts) - counts]
        return Pieces(rows, ends - length - row_starts[rows], self._source[piece], length, self._document[piece])

    @functools.cached_property
    def _by_document(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The document of each piece, rising, and its window: [pieces] each."""
        order = np.argsort(self._document, kind="stable")
        return self._document[order], np.searchsorted(self._first, order, side="right") - 1

    def holding(self, documents: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:  # noqa: ARG002
        """The windows that hold parts of some documents, rising; ``offsets`` are not needed."""
        known, windows = self._by_document
        first, end = np.searchsorted(known, documents), np.searchsorted(known, documents, side="right")
        found = [windows[a:b] for a, b in zip(first.tolist(), end.tolist(), strict=True)]
        return distinct(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def account(self) -> TokenAccount:
        """What becomes of every token in one epoch: each document's last is a target only, all others an input once."""
        distinct = int(self._length.sum())
        return TokenAccount(
            windows=len(self),
            context_length=self.context_length,
            stride=None,
            stored=self.stored,
            distinct=distinct,
            repeated=0,
            padded=len(self) * self.context_length - distinct,
            dropped=self.stored - distinct,
        )
