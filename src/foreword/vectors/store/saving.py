"""Saving a table as a store that ``load`` maps, with its attributes; and word2vec's files of counts.

A saved table is a store (``store``) and, where keys have attributes besides counts, a file of them (``attributes``).

Not for: other formats (``formats.writers``). Costs: a pass over the table for its codes, and writing both.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword._base.files import explained, given_path, replaced_folder
from foreword.errors import FileError
from foreword.vectors.store.attributes import ATTRIBUTES, Attributes, pack_attributes
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack
from foreword.vectors.store.building import StoreBuilder, Workers
from foreword.vectors.store.encoder import TextEncoder
from foreword.vectors.store.keys import Key, encode
from foreword.vectors.store.store import is_store
from foreword.vectors.store.subwords import Subwords

__all__ = ["save_store"]

PathLike = str | os.PathLike[str]


def save_store(
    path: PathLike,
    keys: Sequence[Key],
    rows: NDArray[np.floating[Any]],
    attributes: Attributes,
    subwords: Subwords | None = None,
    encoder: TextEncoder | None = None,
    word_ngrams: int | None = None,
) -> None:
    """Write a store with attributes to the folder ``path``, whole or not at all; a store that is there is replaced.

    Args:
        path: the folder.
        keys: N words or integers, each once.
        rows: float [N, D]; float64 is kept as float32.
        attributes: name → array [N].
        subwords: fastText's n-grams.
        encoder: what makes vectors of texts.
        word_ngrams: of a fastText classifier.

    Raises:
        FileError: it can't be written, or something else than a store is there.
        FormatError: a row holds NaN or infinity.
        ArgumentError: an attribute can't be written.
    """
    folder = given_path(path)
    with explained("save the vectors", folder):
        taken = folder.exists()
    if taken and not is_store(folder):
        raise FileError(
            "can't save here", got="something else than a store of vectors", where=folder, fix="name another folder"
        )
    kept = pack_attributes(attributes)
    dtype = np.dtype(np.float16 if rows.dtype == np.float16 else np.float32)
    with replaced_folder(folder, "store") as partial:
        with (
            StoreBuilder(partial, rows.shape[1], dtype) as builder,
            Workers(threads.count(), thread_name_prefix="foreword-save") as pool,
        ):
            step = max(1, BLOCK_BYTES // (4 * rows.shape[1]))
            for i in range(0, len(keys), step):
                stop = min(i + step, len(keys))
                builder.append(stop - i, functools.partial(_block, keys, rows, attributes.get("count"), i, stop), pool)
            builder.finish(subwords=subwords, source={"saved": True}, encoder=encoder, word_ngrams=word_ngrams)
        if kept is not None:
            (partial / ATTRIBUTES).write_bytes(kept)


def _block(keys: Sequence[Key], rows: NDArray[Any], counts: NDArray[Any] | None, start: int, stop: int) -> Block:
    blob, lengths = pack([encode(key) for key in keys[start:stop]])
    part = None if counts is None or counts.dtype.kind not in "iu" else counts[start:stop].astype(np.int64)
    return Block(blob, lengths, rows[start:stop], lambda i: f"the vector of {keys[start + i]!r}", part)
