"""Documents that are never trained on: windows that are left out of a source's orders.

The order of the rest is the order with all windows, without those that are left out: nothing else moves. So a run with
``skip`` can be compared with one without it, sample by sample, and documents can be left out in mid-run: what has been
handed out does not come again, and of what was to come the windows that touch them do not.

Costs: eight bytes a window that is left out and epoch in use; for each epoch, 100 ns for each to find its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from foreword.windows.dataset import WindowDataset

__all__ = ["GivenSkip", "InOrder", "Order", "Rest", "document_of", "documents_to_skip"]

GivenSkip = Sequence[int] | Mapping[str, Sequence[int]]


class Order(Protocol):
    """An epoch's order of windows, which can be asked both ways."""

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows at places of the order."""
        ...

    def inverse(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places at which windows come."""
        ...


class InOrder:
    """Windows as they are numbered."""

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows at ``places``."""
        return places

    def inverse(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of ``windows``."""
        return windows


class Rest:
    """An epoch's order without some of its windows.

    Args:
        order: of all windows.
        left_out: those that do not come, [n].

    >>> rest = Rest(InOrder(), np.array([1, 2, 6]))
    >>> rest(np.arange(5)), rest.nth(np.array([7, 0, 5])), rest.before(6)
    (array([0, 3, 4, 5, 7]), array([0, 3, 4]), 4)
    """

    def __init__(self, order: Order, left_out: NDArray[np.int64]) -> None:
        self._order = order
        # Places of the whole order. Where nothing is left out, the order needn't say how it is undone.
        self._gaps = np.sort(order.inverse(left_out)) if len(left_out) else left_out
        self._before = self._gaps - np.arange(len(left_out))  # how many of the rest come before each

    def __call__(self, nth: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows of the rest that come ``nth``, from 0."""
        return self._order(self.places(nth))

    def nth(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """As which of the rest, from 0, ``windows`` come, rising; none of those left out."""
        places = np.sort(self._order.inverse(windows))
        return places - np.searchsorted(self._gaps, places) if len(self._gaps) else places

    def places(self, nth: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the ``nth`` of the rest stand in the whole order."""
        return nth + np.searchsorted(self._before, nth, side="right") if len(self._gaps) else nth

    def before(self, place: int) -> int:
        """How many of the rest come before a place of the whole order."""
        return place - int(np.searchsorted(self._gaps, place))


def documents_to_skip(
    skip: GivenSkip | None, sources: Mapping[str, WindowDataset], *, mixture: bool
) -> dict[str, tuple[int, ...]]:
    """The documents to skip of each source that has some, rising, each once.

    Raises:
        ArgumentError: names that are no source's, or documents of a source that has none; a list for a mixture.
        ArgumentTypeError: no list of integers.
        OutOfRangeError: there is no such document.
    """
    if skip is None:
        return {}
    if mixture and not isinstance(skip, Mapping):
        raise ArgumentError(
            "a mixture has documents of several sources",
            got=f"skip={_shortened(skip)}",
            expected="skip={source: [document, …]}, of " + ", ".join(map(repr, sources)),
        )
    by_source = skip if isinstance(skip, Mapping) else {next(iter(sources)): skip}
    if unknown := sorted(set(by_source) - set(sources)):
        raise ArgumentError("skip names sources that there are not", got=unknown, expected=sorted(sources))
    found = {}
    for name, documents in by_source.items():
        listed = np.asarray(documents)
        if listed.ndim != 1 or (listed.size and listed.dtype.kind not in "ui"):
            raise ArgumentTypeError("skip takes a list of documents, by their index", got=_shortened(documents))
        if listed.size:
            chosen = np.unique(listed).tolist()
            for document in (chosen[0], chosen[-1]):
                document_of(sources[name], document, name)
            found[name] = tuple(chosen)
    return dict(sorted(found.items()))


def document_of(data: WindowDataset, document: int, name: str) -> int:
    """The index of a document of a source.

    Raises:
        ArgumentError: the source has no documents.
        OutOfRangeError: it has no such document.
    """
    index, offsets = integer("a document", document), data.document_offsets
    if offsets is None:
        raise ArgumentError(
            f"the source {name!r} is an array of token ids, which has no documents",
            fix="give its WindowDataset offsets=, where each document starts, and the end",
        )
    if not 0 <= index < len(offsets) - 1:
        raise OutOfRangeError(
            f"the source {name!r} has no such document", got=f"{index:,}", expected=f"0 to {len(offsets) - 2:,}"
        )
    return index


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
