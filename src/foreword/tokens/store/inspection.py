"""Inspection: what is in a store, in numbers and in words.

Not for: checking every byte (``checks``). Costs: counting tokens reads the whole store, at about 1 GB/s.
"""

from __future__ import annotations

import ast
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.histogram import length_histogram
from foreword.errors import ForewordError, StoreError

if TYPE_CHECKING:
    from foreword.tokens.store.store import TokenStore
    from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["Inspection", "inspect"]

PIECE = 1 << 22
MOST_IDS = 1 << 24  # an array that counts them all is held up to here


@dataclasses.dataclass(frozen=True)
class Inspection:
    r"""What ``inspect`` finds.

    Attributes:
        tokens, documents, shards, bytes, dtype, tokenizer, vocab_size: of the store.
        policies, account: how it was made, and what was skipped; empty for a foreign format.
        beginning: the first tokens, (id, text) each; no text where the tokenizer is unknown. One that is a part of a
            character reads as its bytes do in Python: b'\xe6'.
        text: the text of the first tokens together.
        lengths: the shortest, median, mean and longest document, in tokens.
        histogram: (tokens from, tokens to, documents) by powers of two, [from, to).
        used: how many ids of the vocabulary occur.
        top: the most frequent tokens, (id, text, count).
        trained: of a supervised store, how many tokens are trained on as targets; else None.
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
    text: str | None
    lengths: dict[str, float]
    histogram: list[tuple[int, int, int]]
    used: int
    top: list[tuple[int, str | None, int]]
    trained: int | None = None


def inspect(store: TokenStore, *, first: int = 30, top: int = 10) -> Inspection:
    """Look through ``store``.

    Args:
        store: what to look through.
        first: how many tokens of its beginning to give.
        top: how many of the most frequent tokens to give.
    """
    first, top = integer("first", first, at_least=0), integer("top", top, at_least=0)
    ids, counts = _counts(store)
    most = np.argsort(-counts, kind="stable")[:top]
    ends = store.offsets.astype(np.int64)
    lengths = ends[1:] - ends[:-1]
    tokenizer = _tokenizer(store)
    beginning = store[:first]
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
        beginning=[(id_, _text(tokenizer, id_)) for id_ in beginning.tolist()],
        text=tokenizer.decode(beginning) if tokenizer else None,
        lengths={
            "shortest": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": round(float(lengths.mean()), 1),
            "longest": int(lengths.max()),
        }
        if len(lengths)
        else {},
        histogram=length_histogram(lengths),
        used=len(ids),
        top=[(int(ids[i]), _text(tokenizer, int(ids[i])), int(counts[i])) for i in most],
        trained=_trained(store) if store.supervised else None,
    )


def _counts(store: TokenStore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids that occur, in order, and how often each does.

    Raises:
        StoreError: an id is negative, or not below vocab_size; or there are more different ids than any vocabulary has.
    """
    dense = np.zeros(0, np.int64)  # counts of the ids below its length
    rare: tuple[NDArray[np.int64], NDArray[np.int64]] = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(0, len(store), PIECE):
        piece = store.read(start, min(len(store), start + PIECE))
        store.check_ids(piece, start)
        if int(piece.max()) < MOST_IDS:
            counts = np.bincount(piece, minlength=len(dense))
            counts[: len(dense)] += dense
            dense = counts
            continue
        found, counts = np.unique(piece, return_counts=True)
        ids, places = np.unique(np.concatenate([rare[0], found.astype(np.int64)]), return_inverse=True)
        if len(ids) > MOST_IDS:
            raise StoreError(
                "there are more different token ids than any vocabulary has",
                got=f"more than {MOST_IDS:,}, of {store.dtype}",
                where=store.path,
                fix='give the dtype that the file was written with: dtype="uint16" (--dtype)',
            )
        both = np.zeros(len(ids), np.int64)
        np.add.at(both, places, np.concatenate([rare[1], counts]))
        rare = ids, both
    if not len(rare[0]):
        used = np.flatnonzero(dense)
        return used, dense[used]
    used = np.flatnonzero(dense)
    ids, places = np.unique(np.concatenate([rare[0], used]), return_inverse=True)
    both = np.zeros(len(ids), np.int64)
    np.add.at(both, places, np.concatenate([rare[1], dense[used]]))
    return ids, both


def _trained(store: TokenStore) -> int:
    starts = range(0, len(store), PIECE)
    return sum(int(np.count_nonzero(store.read_loss(start, min(len(store), start + PIECE)))) for start in starts)


def _tokenizer(store: TokenStore) -> Tokenizer | None:
    try:
        return store.tokenizer
    except (ForewordError, ImportError):
        return None


def _text(tokenizer: Tokenizer | None, id_: int) -> str | None:
    if tokenizer is None:
        return None
    reads = tokenizer.token_text(id_)
    return reads if reads.startswith("b") else str(ast.literal_eval(reads))
