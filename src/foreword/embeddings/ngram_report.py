"""What the rows of a table of n-grams are used for: how many are, how many n-grams share one, which come often.

Not for: what the rows hold. Costs: some 100 bytes and a microsecond for each token that is looked at.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.ngram_hash import NgramHash
from foreword._base.words import counted
from foreword.errors import ArgumentTypeError

__all__ = ["NgramReport", "NgramUse", "report"]


@dataclasses.dataclass(frozen=True)
class NgramUse:
    """What one hash makes of the n-grams of some text.

    Attributes:
        order, head: which hash.
        rows: of its range.
        used: how many of them an n-gram has.
        ngrams: distinct n-grams.
        sharing: how many of these share their row with others.
        most: the most n-grams that share one row.
    """

    order: int
    head: int
    rows: int
    used: int
    ngrams: int
    sharing: int
    most: int


@dataclasses.dataclass(frozen=True)
class NgramReport:
    """What a table of n-grams is used for in some text; printed, it explains itself.

    Attributes:
        tokens: how many were looked at.
        heads: each order and head.
        top: the n-grams that come most often, by order: (text, how often).
    """

    tokens: int
    heads: tuple[NgramUse, ...]
    top: Mapping[int, tuple[tuple[str, int], ...]]

    def __str__(self) -> str:
        lines = [
            counted(self.tokens, "token"),
            f"{'order':>5} {'head':>5} {'rows':>14} {'used':>8} {'n-grams':>14} {'share a row':>12} {'most':>6}",
        ]
        lines += [
            f"{use.order:>5} {use.head:>5} {use.rows:>14,} {use.used / use.rows:>8.1%} {use.ngrams:>14,} "
            f"{use.sharing / max(1, use.ngrams):>12.1%} {use.most:>6,}"
            for use in self.heads
        ]
        for order, ngrams in self.top.items():
            shown = "  ".join(f"{text!r} {count:,}" for text, count in ngrams)
            lines.append(f"order {order}, most often: {shown}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def report(hash_: NgramHash, source: Any, *, tokenizer: Any, tokens: int, top: int) -> NgramReport:
    """See ``NgramTable.report``."""
    if tokenizer is None:
        tokenizer = getattr(source, "tokenizer", None)
    ids = np.asarray(source[:tokens])
    if ids.ndim != 1 or ids.dtype.kind not in "ui":
        raise ArgumentTypeError(
            "n-grams are of token ids", got=type(source).__name__, expected="a TokenStore, or an array of integers [n]"
        )
    ids, reach = ids.astype(np.int64), None
    offsets = getattr(source, "offsets", None)
    if offsets is not None and len(ids):
        starts = np.asarray(offsets[:-1]).astype(np.int64)
        reach = (np.arange(len(ids)) - starts[np.searchsorted(starts, np.arange(len(ids)), side="right") - 1])[None]
    rows = hash_.row_ids(ids[None], reach=reach)[0]
    uses, most = [], {}
    for nth, order in enumerate(hash_.orders):
        own = rows[:, nth * hash_.heads : (nth + 1) * hash_.heads]
        ends = np.flatnonzero(own[:, 0] >= 0)
        first, counts = _distinct(ids, ends, order)
        for head in range(hash_.heads):
            sharing = np.unique(own[first, head], return_counts=True)[1]
            size = hash_.hashes[nth * hash_.heads + head].size
            shared = int(sharing[sharing > 1].sum())
            uses.append(NgramUse(order, head, size, len(sharing), len(first), shared, int(sharing.max(initial=0))))
        often = np.argsort(-counts, kind="stable")[:top]
        most[order] = tuple(
            (_text(tokenizer, ids[end - order + 1 : end + 1]), count)
            for end, count in zip(first[often].tolist(), counts[often].tolist(), strict=True)
        )
    return NgramReport(len(ids), tuple(uses), most)


def _distinct(ids: NDArray[np.int64], ends: NDArray[np.int64], order: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The distinct n-grams that end at some places: where the first of each ends, and how many there are of it."""
    base = int(ids.max(initial=0)) + 1
    number = np.zeros(len(ends), np.int64)  # of the n-gram so far; each is below their count, so that nothing overflows
    for k in range(order - 1, 0, -1):
        number = np.unique(number * base + ids[ends - k], return_inverse=True)[1]
    _, first, counts = np.unique(number * base + ids[ends], return_index=True, return_counts=True)
    return ends[first], counts


def _text(tokenizer: Any, ids: NDArray[np.int64]) -> str:
    return " ".join(map(str, ids.tolist())) if tokenizer is None else str(tokenizer.decode(ids))
