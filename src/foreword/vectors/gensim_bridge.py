"""To gensim's own ``KeyedVectors`` and back, over the same array of vectors.

For code that checks the type of what it is given, as gensim's ``AnnoyIndexer`` does. Keys and attributes are copied,
for gensim's are lists, dicts and arrays that it writes to; the vectors, and fastText's n-grams, are shared.

Not for: reading gensim's files (``formats.gensim_native``), which needs no gensim. Costs: a list and a dict of the
keys, some 150 bytes each; with n-grams also a row a word, 10–20 µs each, as in gensim's own loading of such a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError, ArgumentTypeError, MissingPackageError
from foreword.vectors.search.cosines import BLOCK
from foreword.vectors.store.keys import is_key
from foreword.vectors.store.subwords import Subwords

if TYPE_CHECKING:
    from foreword.vectors.editing import Editing

    Table = TypeVar("Table", bound=Editing)

__all__ = ["from_gensim", "to_gensim"]


def to_gensim(table: Editing) -> Any:
    """gensim's table over the vectors of ``table``; ``KeyedVectors.to_gensim`` says more."""
    try:
        from gensim.models import KeyedVectors
        from gensim.models.fasttext import FastTextKeyedVectors
    except ImportError as cause:
        raise MissingPackageError("gensim's KeyedVectors need gensim", fix="pip install gensim") from cause
    subwords = table._subwords if table.oov == "subwords" else None
    if subwords is None:
        theirs = KeyedVectors(table.vector_size)
    else:
        if not subwords.as_in_fasttext:
            raise ArgumentError(
                "gensim 4 can't hold these n-grams",
                got="n-grams of a model that gensim before 3.8 saved, or of a pruned one",
                fix='set wv.oov = "error" for a table of the words alone',
            )
        theirs = FastTextKeyedVectors(table.vector_size, subwords.minn, subwords.maxn, len(subwords.vectors))
    theirs.index_to_key = list(table.index_to_key)
    theirs.key_to_index = {key: row for row, key in enumerate(theirs.index_to_key) if key is not None}
    theirs.vectors = table._rows
    theirs.norms = None if table._store is None else table.norms  # in memory they may change behind both
    theirs.next_index = table.next_index
    theirs.expandos = {name: np.array(values) for name, values in table.expandos.items()}
    theirs.mapfile_path = table.mapfile_path
    if subwords is not None:
        theirs.vectors_ngrams = subwords.vectors
        theirs.vectors_vocab = _own_rows(theirs)
    return theirs


def _own_rows(theirs: Any) -> NDArray[Any]:
    """The words' own rows, of which gensim makes their vectors when it loads a model that it saved: float [N, D].

    A vector is the mean of the word's own row and those of its n-grams.
    """
    try:
        theirs.recalc_char_ngram_buckets()
    except (UnicodeEncodeError, TypeError, AttributeError):
        raise ArgumentError(
            "gensim has no n-grams of a key that is not text",
            got=next(ascii(key) for key in theirs.index_to_key if not isinstance(key, str) or not _is_text(key)),
            fix='set wv.oov = "error" for a table of the words alone',
        ) from None
    own: NDArray[Any] = np.empty_like(theirs.vectors)
    for row, vector, grams in zip(own, theirs.vectors, theirs.buckets_word, strict=True):
        row[:] = vector * np.float64(len(grams) + 1) - theirs.vectors_ngrams[grams].sum(axis=0, dtype=np.float64)
    return own


def _is_text(key: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in key)


def from_gensim(kind: type[Table], theirs: Any) -> Table:
    """A table of class ``kind`` over the vectors of gensim's; ``KeyedVectors.from_gensim`` says more."""
    names = [f"{each.__module__}.{each.__name__}" for each in type(theirs).__mro__]
    if "gensim.models.keyedvectors.KeyedVectors" not in names:
        inner = next((name for name in ("wv", "dv") if hasattr(theirs, name)), None)
        raise ArgumentTypeError(
            "not gensim's KeyedVectors", got=names[0], fix=inner and f"give its vectors: model.{inner}"
        )
    if any("Poincare" in name for name in names):
        raise ArgumentTypeError("vectors of a Poincaré ball, whose nearness is no cosine", got=names[0])
    rows = np.asarray(theirs.vectors)
    keys = _keys(theirs.index_to_key)
    _check(rows, len(keys))
    table = kind(rows.shape[1])
    table._hold(rows)
    table.index_to_key = keys
    table.key_to_index = {key: row for row, key in enumerate(keys) if key is not None}
    table.next_index = theirs.next_index
    table.expandos = {name: np.array(values) for name, values in theirs.expandos.items()}
    table.mapfile_path = theirs.mapfile_path
    table.allocate_vecattrs()
    if getattr(theirs, "bucket", 0):
        grams = np.asarray(theirs.vectors_ngrams, dtype=np.float32)
        if grams.shape != (theirs.bucket, rows.shape[1]) or not theirs.compatible_hash:
            raise ArgumentError(
                "the n-grams are not fastText's", got=f"{grams.shape}", expected=f"[{theirs.bucket:,}, {rows.shape[1]}]"
            )
        table._subwords = Subwords.of(theirs.min_n, theirs.max_n, grams)
        table.oov = None
    return table


def _keys(theirs: Any) -> list[Any]:
    """gensim's keys as a table has them; None for a row that has none yet."""
    keys = [key if key is None or isinstance(key, str) else int(key) if is_key(key) else key for key in theirs]
    seen: set[Any] = set()
    for key in keys:
        if key is None:
            continue
        if not is_key(key):
            raise ArgumentTypeError("not a key", got=f"{type(key).__name__} {key!r}"[:80], expected="str or int")
        if key in seen:
            raise ArgumentError("two rows have the same key", got=repr(key))
        seen.add(key)
    return keys


def _check(rows: NDArray[Any], count: int) -> None:
    if rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) != count or not rows.shape[1]:
        raise ArgumentError(
            "the vectors don't fit the keys", got=f"{rows.dtype} {rows.shape}", expected=f"float [{count:,}, D]"
        )
    step = max(1, BLOCK // rows.shape[1])
    for start in range(0, count, step):
        finite = np.isfinite(rows[start : start + step]).all(axis=1)
        if not finite.all():
            where = f"vector {start + int(np.argmin(finite)):,} of {count:,}"
            raise ArgumentError("vectors must be finite", got="NaN or infinity", where=where)
