"""Inspection: what is in a store, in numbers and in words.

Not for: checking every byte (``checks``). Costs: counting tokens reads the whole store, at about 1 GB/s.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ForewordError
from foreword.tokens.store.store import TokenStore

__all__ = ["Inspection", "inspect"]

PIECE = 1 << 24


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What ``inspect`` finds.

    Attributes:
        tokens, documents, shards, bytes, dtype, tokenizer, vocab_size: of the store.
        policies, account: how it was made, and what was skipped; empty for a foreign format.
        beginning: the first tokens, (id, text) each; no text where the tokenizer is unknown.
        lengths: the shortest, median, mean and longest document, in tokens.
        histogram: (tokens from, tokens to, documents) by powers of two, [from, to).
        used: how many ids of the vocabulary occur.
        top: the most frequent tokens, (id, text, count).
    """

    tokens: int
    documents: int
    shards: int
    bytes: int
    dtype: str
    tokenizer: str | None
    vocab_size: int
    policies: dict[str, Any]
    account: dict[str, Any]
    beginning: list[tuple[int, str | None]]
    lengths: dict[str, float]
    histogram: list[tuple[int, int, int]]
    used: int
    top: list[tuple[int, str | None, int]]


def inspect(store: TokenStore, *, first: int = 30, top: int = 10) -> Inspection:
    """Look through ``store``.

    Args:
        store: what to look through.
        first: how many tokens of its beginning to give.
        top: how many of the most frequent tokens to give.
    """
    counts = _counts(store)
    most = np.argsort(-counts, kind="stable")[:top]
    ends = store.offsets.astype(np.int64)
    lengths = ends[1:] - ends[:-1]
    text = _decoder(store)
    return Inspection(
        tokens=len(store),
        documents=store.documents,
        shards=len(store.shards),
        bytes=sum(shard.nbytes for shard in store.shards),
        dtype=str(store.dtype),
        tokenizer=store.manifest["tokenizer"]["name"],
        vocab_size=store.vocab_size,
        policies=store.manifest.get("policies", {}),
        account=store.manifest.get("account", {}),
        beginning=[(int(id_), text(int(id_))) for id_ in store[:first]],
        lengths={
            "shortest": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": round(float(lengths.mean()), 1),
            "longest": int(lengths.max()),
        }
        if len(lengths)
        else {},
        histogram=_histogram(lengths),
        used=int(np.count_nonzero(counts)),
        top=[(int(id_), text(int(id_)), int(counts[id_])) for id_ in most if counts[id_]],
    )


def _counts(store: TokenStore) -> NDArray[np.int64]:
    counts = np.zeros(0, np.int64)
    for shard in store.shards:
        for start in range(0, len(shard), PIECE):
            piece = np.bincount(shard[start : start + PIECE], minlength=len(counts))
            piece[: len(counts)] += counts
            counts = piece
    return counts


def _histogram(lengths: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Documents by length: [0, 1), [1, 2), [2, 4), [4, 8) …

    >>> _histogram(np.array([1, 2, 3, 9]))
    [(1, 2, 1), (2, 4, 2), (4, 8, 0), (8, 16, 1)]
    """
    if not len(lengths):
        return []
    bits = np.bincount(np.frexp(lengths)[1])
    bounds = [(0, 1), *((1 << (k - 1), 1 << k) for k in range(1, len(bits)))]
    rows = [(low, high, int(count)) for (low, high), count in zip(bounds, bits, strict=True)]
    while not rows[0][2]:
        rows.pop(0)
    return rows


def _decoder(store: TokenStore) -> Any:
    try:
        tokenizer = store.tokenizer
    except (ForewordError, ImportError):
        return lambda _: None
    return lambda id_: tokenizer.decode([id_])
