"""The rows of the n-grams of windows, with what stands before a window in the stream.

An n-gram belongs to its place in the stream: whatever the stride and wherever a window starts, the n-gram that ends at
a token has the same rows. It stays inside a document, whose beginning the offsets say, or the id that ends a text; at
padding there is none.

Not for: the hashes (``_base.ngram_hash``). Costs: 8 bytes a row, and reading the few tokens before each window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.ngram_hash import NgramHash
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.tokens.store.store import TokenStore
from foreword.windows.arithmetic import Pieces
from foreword.windows.far_source import FarSource
from foreword.windows.segments import document_segments, with_padding
from foreword.windows.source import Source

__all__ = ["expectation", "hash_of", "ngram_rows"]


def hash_of(ngrams: Any, store: TokenStore | None) -> NgramHash:
    """The hashes of a table, without the table itself, so that they travel to other processes.

    Raises:
        ArgumentTypeError: it is no table.
        ArgumentError: the texts of the store are ended by another token than its own.
    """
    found = getattr(ngrams, "hash", None)
    if not isinstance(found, NgramHash):
        raise ArgumentTypeError("ngrams is a table of n-grams", got=type(ngrams).__name__, expected="an fw.NgramTable")
    known = None if store is None else store.end_of_text_id
    if known is not None and found.end_of_text_id != known:
        raise ArgumentError(
            "the table of n-grams doesn't know the token that ends a text here",
            got=f"end_of_text_id={found.end_of_text_id}",
            expected=known,
            fix=f"make it with NgramTable(…, end_of_text_id={known}), so that the layer finds the same n-grams in ids",
        )
    return found


def expectation(ngrams: Any) -> Callable[[NDArray[np.int64]], None] | None:
    """What to call with rows that will soon be looked up in a table; None where it needs no notice."""
    return None if getattr(ngrams, "path", None) is None else ngrams.expect


def ngram_rows(
    hash_: NgramHash,
    source: Source | FarSource,
    documents: NDArray[np.int64] | None,
    inputs: NDArray[np.int64],
    pieces: Pieces,
) -> NDArray[np.int64]:
    """The rows of windows, int64 [n, T, R]; −1 where there is no n-gram.

    Args:
        hash_: the hashes.
        source: the stream.
        documents: where each document starts in it, and the end, [documents + 1]; None where that isn't known.
        inputs: the windows' inputs, int64 [n, T].
        pieces: what they hold.
    """
    (n, T), left = inputs.shape, hash_.context
    rows, places, starts, lengths, ids = pieces
    first = starts if rows is None or places is None else starts[places == 0]
    reach, padding = None, None
    if documents is None:
        reach = first[:, None] + np.arange(T)  # the stream is one document
        padding = None if lengths is None else np.arange(T) >= lengths[:, None]
    else:
        if rows is None or places is None or lengths is None or ids is None:
            segments = document_segments(documents, starts, lengths, T)
        else:
            segments = with_padding(n, T, rows, places, ids, np.bincount(rows, lengths, n).astype(np.int64))
        # What is at the beginning of a window may be the middle of its document.
        document = segments.documents[segments.places == 0]
        reach, padding = segments.positions, segments.document_ids < 0
        head = np.cumsum(segments.spread(segments.places) > 0, axis=1) == 0
        reach += np.where(head, (first - documents[document])[:, None], 0)
    found = hash_.row_ids(np.concatenate((_before(source, first, left), inputs), axis=1), left=left, reach=reach)
    if padding is not None:
        found[padding] = -1
    if rows is not None and places is not None and lengths is not None and documents is not None and ids is not None:
        # Rests of long documents that are packed behind others: their first places look back into the stream.
        cut = np.flatnonzero((places > 0) & (starts > documents[ids]))
        nth = np.arange(min(left, T))
        held = nth < lengths[cut, None]
        where = np.minimum(places[cut, None] + nth, T - 1)
        tokens = np.concatenate((_before(source, starts[cut], left), inputs[rows[cut, None], where]), axis=1)
        inside = (starts - documents[ids])[cut, None] + nth
        behind = hash_.row_ids(tokens, left=left, reach=inside)
        found[np.broadcast_to(rows[cut, None], held.shape)[held], where[held]] = behind[held]
    return found


def _before(source: Source | FarSource, starts: NDArray[np.int64], left: int) -> NDArray[np.int64]:
    """The ids of the stream before each start, int64 [n, left]; before its beginning, any."""
    return source.at(np.maximum(starts[:, None] + np.arange(-left, 0), 0)).astype(np.int64)
