"""Which tokens a window holds: pure arithmetic, no data.

Window i of context length T and stride S has the inputs tokens[i·S : i·S + T] and the targets, shifted by one,
tokens[i·S + 1 : i·S + T + 1]. So it needs T + 1 tokens, and nothing has to be materialised:

    tokens    a b c d e f g h i      T = 4, S = 2
    window 0  a b c d → b c d e
    window 1      c d e f → d e f g
    window 2          e f g h → f g h i

A *stretch* is what windows stay inside: the whole stream, or each document. Its last token is a target only. Where
whole windows do not reach its end, the tail decides: "drop" leaves the rest out; "pad" adds one window that reaches the
end, filled up to T; "keep" adds the same window and leaves it short.

Costs: nothing for one stretch; eight bytes a stretch where there are many.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.notebook import notebook_html

__all__ = ["Cut", "Layout", "Pieces", "Tail", "TokenAccount", "count_windows", "distinct"]

Tail = Literal["drop", "pad", "keep"]


def count_windows(tokens: Any, context_length: int, stride: int, tail: Tail = "drop") -> Any:
    """How many windows a stretch of ``tokens`` tokens gives; an int, or an int64 array for many stretches.

    With a tail, windows go on until one reaches the end: each start has at least one input with its target, and only
    the last window is short.

    >>> count_windows(9, 4, 2), count_windows(5145, 4, 4), count_windows(4, 4, 1)
    (3, 1286, 0)
    >>> count_windows(10, 4, 2), count_windows(10, 4, 2, "pad"), count_windows(2, 4, 2, "pad")
    (3, 4, 1)
    """
    whole = (tokens - context_length - 1) // stride + 1
    if tail == "drop":
        return _at_least_0(whole)
    reaching = -(-(tokens - context_length - 1) // stride) + 1  # the first window is enough up to T + 1 tokens
    starts = (tokens - 2) // stride + 1  # places where a window has an input and its target
    if isinstance(tokens, np.ndarray):
        return np.maximum(0, np.minimum(np.maximum(reaching, 1), starts))
    return max(0, min(max(reaching, 1), starts))


@dataclasses.dataclass(frozen=True)
class TokenAccount:
    """What becomes of every stored token, over the inputs of one epoch.

    windows × context_length = distinct + repeated + padded, and stored = distinct + dropped.

    Attributes:
        windows, context_length, stride: the cut; stride None where documents are packed.
        stored: tokens in the source.
        distinct: stored tokens that stand in at least one window's inputs.
        repeated: how often a token stands in inputs beyond its first time.
        padded: places in inputs that hold no stored token (with the tail "keep", a batch holds fewer of them).
        dropped: stored tokens in no window's inputs (a tail, gaps, each stretch's last target).
    """

    windows: int
    context_length: int
    stride: int | None
    stored: int
    distinct: int
    repeated: int
    padded: int
    dropped: int

    def __post_init__(self) -> None:
        assert self.windows * self.context_length == self.distinct + self.repeated + self.padded
        assert self.stored == self.distinct + self.dropped

    @property
    def padding(self) -> float:
        """The share of the places in inputs that are padding, 0 to 1."""
        return self.padded / max(1, self.windows * self.context_length)

    @property
    def seen(self) -> float:
        """How often a token that is seen at all is seen in one epoch, on average; 1 where no windows overlap."""
        return (self.distinct + self.repeated) / max(1, self.distinct)

    def _repr_html_(self) -> str:
        return notebook_html("account", self)


class Pieces(NamedTuple):
    """What windows hold, as pieces of the stream: arrays [pieces].

    Attributes:
        rows, places: which of the windows holds the piece, and where in it the piece starts; both None where each
            window is one piece, from its first place on.
        starts: where the piece starts in the stream.
        lengths: how many inputs it has; None where all have T.
        documents: the document of each; None where a piece may hold several.
    """

    rows: NDArray[np.int64] | None
    places: NDArray[np.int64] | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64] | None
    documents: NDArray[np.int64] | None


class Layout(Protocol):
    """Which tokens windows hold; ``len(layout)`` is their number."""

    def __len__(self) -> int: ...

    def pieces(self, windows: NDArray[np.int64]) -> Pieces:
        """What the windows hold."""
        ...

    def holding(self, documents: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows whose inputs hold tokens of some documents, rising; ``offsets``: where each document starts."""
        ...

    def account(self) -> TokenAccount:
        """What becomes of every token in one epoch."""
        ...


class Cut:
    """The windows of one or many stretches of a stream, numbered through: window → where it starts, how long it is.

    Args:
        offsets: where each stretch starts, and the end: integers [stretches + 1]; [0, n] for one stretch.
        context_length, stride, tail: T, S, and what becomes of a rest.

    ``len(cut)`` is the number of windows.

    >>> cut = Cut(np.array([0, 10, 13]), 4, 4, "pad")
    >>> cut.spans(np.arange(len(cut)))
    (array([ 0,  4,  8, 10]), array([4, 4, 1, 2]))
    """

    def __init__(self, offsets: NDArray[Any], context_length: int, stride: int, tail: Tail) -> None:
        self.context_length, self.stride, self.tail = context_length, stride, tail
        self.offsets = offsets.astype(np.int64, copy=False)
        # The number of each stretch's first window, and of all: [stretches + 1]
        counts = count_windows(np.diff(self.offsets), context_length, stride, tail)
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self._begin = int(self.offsets[0])

    def __len__(self) -> int:
        return int(self._first[-1])

    def stretch_of(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """In which stretch each window lies, [n]."""
        if len(self._first) == 2:
            return np.zeros(len(windows), np.int64)
        return np.searchsorted(self._first, windows, side="right") - 1

    def first_from(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first window that starts at each place of the stream or later, [n]; their number where there is none.

        >>> Cut(np.array([0, 10, 13]), 4, 4, "pad").first_from(np.array([0, 1, 9, 10, 11]))
        array([0, 1, 3, 3, 4])
        """
        stretch = np.clip(np.searchsorted(self.offsets, places, side="right") - 1, 0, len(self.offsets) - 2)
        nth = -(-np.maximum(0, places - self.offsets[stretch]) // self.stride)
        first: NDArray[np.int64] = np.minimum(self._first[stretch] + nth, self._first[stretch + 1])
        return first

    def spans(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Where the windows start in the stream, [n], and how many inputs each has, [n]; None where all have T."""
        if len(self._first) == 2:
            starts, ends = windows * self.stride, self.offsets[1]
            if self._begin:
                starts += self._begin
        else:
            stretch = self.stretch_of(windows)
            starts = self.offsets[stretch] + (windows - self._first[stretch]) * self.stride
            ends = self.offsets[stretch + 1]
        if self.tail == "drop":
            return starts, None
        return starts, np.minimum(self.context_length, ends - 1 - starts)

    def pieces(self, windows: NDArray[np.int64]) -> Pieces:
        """What the windows hold: a piece each."""
        starts, lengths = self.spans(windows)
        return Pieces(None, None, starts, lengths, None)

    def holding(self, documents: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows whose inputs hold tokens of some documents, rising; ``offsets``: where each document starts.

        >>> Cut(np.array([0, 9]), 4, 2, "drop").holding(np.array([1]), np.array([0, 2, 3, 9]))
        array([0, 1])
        """
        if len(self._first) > 2:  # stretches are documents
            first, end = self._first[documents], self._first[documents + 1]
        else:
            begin, last = self.offsets[0], self.offsets[1] - 1  # the last token is no input
            starts, ends = offsets[documents] - begin, np.minimum(offsets[documents + 1], last) - begin
            first = np.maximum(0, (starts - self.context_length) // self.stride + 1)
            end = np.minimum(len(self), (ends - 1) // self.stride + 1)
            end[ends <= starts] = 0  # nothing of it
        counts = np.maximum(0, end - first)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return distinct(np.repeat(first, counts) + nth)

    def account(self) -> TokenAccount:
        """What becomes of every token in one epoch.

        >>> Cut(np.array([0, 9]), 4, 2, "drop").account()
        TokenAccount(windows=3, context_length=4, stride=2, stored=9, distinct=8, repeated=4, padded=0, dropped=1)
        """
        T, S = self.context_length, self.stride
        tokens, windows = np.diff(self.offsets), np.diff(self._first)
        tokens, windows = tokens[windows > 0], windows[windows > 0]
        # Each window but the last of its stretch has T inputs, min(S, T) of which the next one does not repeat.
        last = np.minimum(T, tokens - 1 - (windows - 1) * S)
        held = int(((windows - 1) * T + last).sum())
        distinct = int(((windows - 1) * min(S, T) + last).sum())
        stored = int(self.offsets[-1] - self.offsets[0])
        return TokenAccount(
            windows=len(self),
            context_length=T,
            stride=S,
            stored=stored,
            distinct=distinct,
            repeated=held - distinct,
            padded=len(self) * T - held,
            dropped=stored - distinct,
        )


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers rising, each once; some ten times as fast as ``np.unique`` where they are nearly so."""
    numbers = np.sort(numbers, kind="stable")
    return numbers[np.diff(numbers, prepend=-1) > 0]


def _at_least_0(count: Any) -> Any:
    return np.maximum(0, count) if isinstance(count, np.ndarray) else max(0, count)
