"""The table of keys and vectors: lookup, norms, means. The base of ``KeyedVectors``.

A table lies over a store (``_from_store``; rows and keys stay mapped and are never written to) or holds arrays in
memory, as gensim's does. The methods keep gensim 4.4's names and meanings; docs/vectors.md lists where they differ.

Not for: searching or changing; the classes above this one add them. Costs: nothing is computed until asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foreword._base import system
from foreword._base.checks import integer
from foreword._base.notebook import notebook_html
from foreword._base.words import counted
from foreword.errors import ArgumentError, UnknownKeyError
from foreword.vectors.oov import check_policy, infer, spellings
from foreword.vectors.search.codes import quantise, row_norms
from foreword.vectors.search.cosines import BLOCK, unit_rows
from foreword.vectors.search.index import Index, unit_query
from foreword.vectors.spelling import nearest_spellings
from foreword.vectors.store.keys import IndexToKey, Key, KeyToIndex, is_key

if TYPE_CHECKING:
    from foreword.vectors.store.encoder import TextEncoder
    from foreword.vectors.store.store import VectorStore
    from foreword.vectors.store.subwords import Subwords

__all__ = ["BYTES", "Key", "Vector", "VectorTable", "as_array", "is_key", "listed"]

Vector: TypeAlias = NDArray[np.floating[Any]]

_WORTH_CODES = 1 << 22
"""Elements from which codes are worth making for a table in memory, at its second search."""


BYTES = (bytes, bytearray, memoryview)
"""Sequences of integers that are never meant as keys."""


def listed(keys: Any) -> list[Any]:
    """Keys as a list: a single one in it.

    Raises:
        ArgumentError: it is neither a key nor several; bytes are none, though they are a sequence of integers.
    """
    if is_key(keys):
        return [keys]
    if not isinstance(keys, BYTES):
        try:
            return list(keys)
        except TypeError:
            pass
    raise ArgumentError(
        "this names no vectors",
        got=f"{type(keys).__name__} {keys!r}"[:80],
        expected="a word, an integer, or a list of them",
        fix="decode bytes to text" if isinstance(keys, BYTES) else None,
    )


class VectorTable:
    """Keys and their vectors.

    A key is a word or an integer. In a table of words an integer names the row of that index; where some keys are
    integers, integers are keys and nothing else.

    Attributes:
        vector_size: D, how many elements a vector has.
        index_to_key: the keys in the order of their rows; a sequence, of a made or edited table a list.
        key_to_index: key → row; a mapping, of a made or edited table a dict.
        next_index: the row that ``add_vector`` fills next.
        expandos: attribute name → array [N] with one value a key; see ``set_vecattr``.
    """

    index_to_key: Sequence[Any]
    key_to_index: Mapping[Any, int]
    _oov = "error"
    _subwords: Subwords | None = None
    _encoder: TextEncoder | None = None
    _word_ngrams: int | None = None
    _seen: tuple[int, int] | None = None
    _some_integers = False

    def __init__(
        self, vector_size: int, count: int = 0, dtype: DTypeLike = np.float32, mapfile_path: str | None = None
    ) -> None:
        self.vector_size = vector_size = integer("vector_size", vector_size, at_least=1)
        count = integer("count", count, at_least=0)
        self.mapfile_path = mapfile_path
        self.index_to_key = [None] * count
        self.key_to_index = {}
        self.next_index = 0
        self.expandos: MutableMapping[str, NDArray[Any]] = {}
        self._store: VectorStore | None = None
        self._hold(np.zeros((count, vector_size), dtype=_float_dtype(dtype)))

    @classmethod
    def _from_store(cls, store: VectorStore) -> Self:
        """The table over a store, which stays as it is."""
        table = cls.__new__(cls)
        n, table.vector_size = store.vectors.shape
        table.mapfile_path = None
        table.index_to_key = IndexToKey(store.keys)
        table.key_to_index = KeyToIndex(store.keys)
        table.next_index = n
        table.expandos = dict(store.attributes)
        table._hold(store.vectors)
        table._store = store
        table._subwords, table._encoder, table._word_ngrams = store.subwords, store.encoder, store.word_ngrams
        table.oov = None
        return table

    def _hold(self, rows: Vector) -> None:
        """Take ``rows``, float [N, D], as the vectors, in place of what was there."""
        self._rows = rows
        self._store = None
        self._guard = system.guard()
        self._changed()

    def _changed(self) -> None:
        """Forget what was computed of the vectors."""
        self._norms: NDArray[np.float32] | None = None
        self._index: Index | None = None
        self._searches = 0

    # The vectors as a whole.

    @property
    def vectors(self) -> Vector:
        """float [N, D]. Read-only over a store.

        An array in memory may be written to: norms and codes are made anew after each access to this property. Who
        keeps the array and writes to it later calls ``fill_norms(force=True)`` afterwards.
        """
        if self._rows.flags.writeable:
            self._changed()
        return self._rows

    @vectors.setter
    def vectors(self, rows: Vector) -> None:
        rows = as_array(rows)
        if rows.ndim != 2 or rows.dtype.kind != "f":
            raise ArgumentError(
                "vectors are a matrix of floats", got=f"{rows.dtype} {rows.shape}", expected="float [N, D]"
            )
        self._hold(rows)
        if rows.shape[1] != self.vector_size:
            self.vector_size, self._subwords = rows.shape[1], None
            self.oov = None if self.oov == "subwords" else self.oov

    @property
    def norms(self) -> NDArray[np.float32]:
        """float32 [N], the Euclidean norms, computed when first needed. Assigning, whatever it is, makes them anew."""
        norms = self._norms
        if norms is None:
            norms = self._norms = self._store.norms if self._store is not None else self._measured()
        return norms

    @norms.setter
    def norms(self, _: object) -> None:
        self._changed()

    def _measured(self) -> NDArray[np.float32]:
        norms = row_norms(self._rows)
        norms.setflags(write=False)
        return norms

    def fill_norms(self, force: bool = False) -> None:
        """Compute the norms now, ``force`` also where that was done before."""
        if force and self._store is None:
            self._changed()
        _ = self.norms

    def get_normed_vectors(self) -> NDArray[np.float32]:
        """A copy of the vectors scaled to length 1: float32 [N, D]; rows of zeros stay zeros."""
        return self._normed(slice(None))

    def _normed(self, rows: Any) -> NDArray[np.float32]:
        """Chosen rows [n, D] scaled to length 1; one step of float64 for each row, so exact to float32."""
        norms, chosen = self.norms[rows], self._rows[rows]
        result = np.empty(chosen.shape, dtype=np.float32)
        step = max(1, BLOCK // self.vector_size)
        for i in range(0, len(result), step):
            part, norm = chosen[i : i + step], norms[i : i + step].astype(np.float64)
            odd = np.flatnonzero(~((norm > 1e-15) & (norm < 1e15)))  # zeros, and what float32 norms can't tell
            norm[odd] = 1
            with np.errstate(over="ignore"):
                result[i : i + step] = part / norm[:, None]
            result[i + odd] = unit_rows(part[odd])
        return result

    def _search(self) -> Index:
        """What finds the nearest rows; over a store ready at once, in memory with codes once they pay."""
        self._check_rows()
        index = self._index
        if index is not None and (index.codes is not None or self._store is not None):
            return index
        with self._guard:
            self._searches += 1
            if self._index is None:
                codes = self._store.quantised if self._store is not None else None
                self._index = Index(self._rows, self.norms, codes)
            elif self._searches == 2 and self._rows.size >= _WORTH_CODES:
                self._index = Index(self._rows, self.norms, quantise(self._rows))
            return self._index

    def _check_rows(self) -> None:
        """ArgumentError where ``vectors`` or ``index_to_key`` were assigned, and there is not a row a key."""
        if len(self._rows) != len(self.index_to_key):
            raise ArgumentError(
                "keys and vectors are not as many",
                got=f"{counted(len(self.index_to_key), 'key')}, {counted(len(self._rows), 'vector')}",
                fix="assign vectors, index_to_key and key_to_index together, or use add_vectors",
            )

    # Keys.

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return self.has_index_for(key)

    def has_index_for(self, key: object) -> bool:
        """Whether ``key`` is a key of the table or, where keys are words, the index of a row."""
        return self._find(key) >= 0

    def _find(self, key: Any) -> int:
        """The row of a key, or −1."""
        if isinstance(key, str):
            return self.key_to_index.get(key, -1)
        if not is_key(key):
            return -1
        number = int(key)
        row = self.key_to_index.get(number, -1)
        if row >= 0 or not 0 <= number < len(self.index_to_key) or self._integer_keys():
            return row
        return number

    def _integer_keys(self) -> bool:
        """Whether some keys are integers, so that an integer is no index."""
        index = self.key_to_index
        if isinstance(index, KeyToIndex):
            return index.integers
        seen = id(index), len(index)
        if seen != self._seen:
            self._seen, self._some_integers = seen, not all(isinstance(key, str) for key in index)
        return self._some_integers

    def get_index(self, key: Any, default: int | None = None) -> int:
        """The row of ``key``; where there is none ``default``, if given.

        Raises:
            UnknownKeyError: there is none and no default; tells the nearest spellings.
        """
        row = self._find(key)
        if row >= 0:
            return row
        if default is not None:
            return default
        raise self._unknown(key)

    def _unknown(self, key: object) -> UnknownKeyError:
        def fix() -> str | None:
            near = nearest_spellings(key, self.key_to_index)
            return f"did you mean {' or '.join(map(repr, near))}?" if near else None

        return UnknownKeyError(
            f"key {key!r} is not among the vectors",
            expected=f"one of {len(self):,} keys"
            + ("" if self._integer_keys() else f", or an index below {len(self):,}"),
            fix=fix,
        )

    # Words out of vocabulary; ``oov.py`` tells the policies.

    @property
    def oov(self) -> Any:
        """What stands in for unknown words: "error", "skip", "subwords", "lower" or "fold".

        May be assigned at any time; None takes "subwords" where the vectors have them, else "error".
        """
        return self._oov

    @oov.setter
    def oov(self, policy: str | None) -> None:
        self._oov = check_policy(policy, self._subwords)

    def _row(self, key: Any) -> int:
        """The row of ``key`` or, if that is unknown, of a spelling that stands in for it; −1 where there is none."""
        row = self._find(key)
        if row < 0 and isinstance(key, str):
            rows = (self._find(spelling) for spelling in spellings(self._oov, key))
            row = next((found for found in rows if found >= 0), -1)
        return row

    def _row_of(self, key: Any) -> int:
        """The same; UnknownKeyError where there is none."""
        row = self._row(key)
        if row < 0:
            raise self._unknown(key)
        return row

    def _infers(self, key: Any) -> bool:
        if self._oov != "subwords" or not isinstance(key, str) or self._subwords is None:
            return False
        return self._subwords.cover(key)

    def _has_vector(self, key: Any) -> bool:
        """Whether there is a vector of ``key``, or one that stands in for it."""
        return self._row(key) >= 0 or self._infers(key)

    def _vector(self, key: Any) -> Vector:
        """The vector [D] of ``key``, or what stands in for it; UnknownKeyError where there is neither."""
        return self._vector_at(self._row(key), key)

    def _vector_at(self, row: int, key: Any) -> Vector:
        """The same, where the row of ``key`` is known, or is known not to be (−1)."""
        if row >= 0:
            if row >= len(self._rows):
                self._check_rows()
            known: Vector = self._rows[row]
            return known
        if self._subwords is None or not self._infers(key):
            raise self._unknown(key)
        return infer(key, self._subwords)

    def _kept(self, keys: Iterable[Any]) -> list[Any]:
        """Keys less those that the policy "skip" leaves out; vectors among them stay."""
        keys = listed(keys)
        if self._oov == "skip":
            keys = [key for key in keys if isinstance(key, np.ndarray) or self._has_vector(key)]
        return keys

    def _indices(self, keys: Iterable[Any]) -> NDArray[np.int64]:
        """The rows of keys, less those skipped."""
        return np.array([self._row_of(key) for key in self._kept(keys)], dtype=np.int64)

    def _vectors(self, keys: Iterable[Any]) -> Vector:
        """The vectors of keys, [n, D], a copy, less those skipped."""
        keys = listed(keys)
        if any(self._infers(key) and self._find(key) < 0 for key in keys):
            kind = np.result_type(self._rows.dtype, np.float32)
            inferred: Vector = np.empty((len(keys), self.vector_size), dtype=kind)
            for row, key in zip(inferred, keys, strict=True):
                row[:] = self._vector(key)
            return inferred
        indices = self._indices(keys)
        self._check_rows()
        rows: Vector = self._rows[indices]
        return rows

    # Vectors by key.

    def __getitem__(self, key_or_keys: Any) -> Vector:
        """``table[key]`` is a vector [D]; ``table[k1, k2, …]`` or ``table[[k1, k2, …]]`` a matrix [n, D], a copy.

        Raises:
            UnknownKeyError: a key isn't there, and nothing stands in for it (``oov``).
        """
        if is_key(key_or_keys):
            return self.get_vector(key_or_keys)
        return self._vectors(key_or_keys)

    def get_vector(self, key: Any, norm: bool = False) -> Vector:
        """The vector of ``key``, [D], read-only; ``norm``: scaled to length 1, zeros stay zeros.

        Raises:
            UnknownKeyError: the key isn't there, and nothing stands in for it (``oov``).
        """
        row = self._row(key)
        vector = self._vector_at(row, key)
        if norm:
            vector = self._normed([row])[0] if row >= 0 else unit_query(vector, self.vector_size).astype(np.float32)
        vector.setflags(write=False)
        return vector

    def get_mean_vector(
        self,
        keys: Any,
        weights: Any = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> Vector:
        """The weighted mean of the vectors of ``keys``, [D]: Σ w·v / Σ |w|.

        Args:
            keys: words, indices or vectors, or the rows of a matrix; a single word counts as a list of one.
            weights: one number a key; 1 each if None.
            pre_normalize: scale the vectors of words and indices to length 1 first; vectors given stay as they are.
            post_normalize: scale the mean to length 1.
            ignore_missing: leave out keys that have no vector, rather than raise.

        Raises:
            ArgumentError: there are no keys, or not as many weights.
            UnknownKeyError: a key isn't there, and ``ignore_missing`` is False.
        """
        mean = self._mean(listed(keys), weights, pre_normalize, ignore_missing)
        if post_normalize:
            mean = unit_query(mean, self.vector_size)
            return mean.astype(np.float32)
        return mean.astype(self._rows.dtype)

    def _mean(
        self,
        keys: list[Any],
        weights: Any,
        pre_normalize: bool,
        ignore_missing: bool,
        rows: Sequence[int] | None = None,
    ) -> NDArray[np.float64]:
        """The mean in float64, of rows normalised in float64; ``rows`` are those of the keys, where they are known."""
        if not keys:
            raise ArgumentError("can't take the mean of no vectors", expected="at least one key or vector")
        weights = np.ones(len(keys)) if weights is None else as_array(weights, np.float64)
        if weights.shape != (len(keys),):
            raise ArgumentError(
                "keys and weights must be as many", got=f"{counted(len(keys), 'key')}, weights {weights.shape}"
            )
        if not np.isfinite(weights).all():
            raise ArgumentError("a weight must be a finite number", got=weights.tolist())
        mean, total = np.zeros(self.vector_size), 0.0
        for i, (key, weight) in enumerate(zip(keys, weights.tolist(), strict=True)):
            if isinstance(key, np.ndarray):
                vector = _checked_vector(key, self.vector_size)
            else:
                row = self._row(key) if rows is None else rows[i]
                if ignore_missing and row < 0 and not self._infers(key):
                    continue
                vector = self._vector_at(row, key).astype(np.float64)
                if pre_normalize:
                    vector = unit_query(vector, self.vector_size)
            mean += weight * vector
            total += abs(weight)
        return mean / total if total > 0 else mean

    def _repr_html_(self) -> str:
        return notebook_html("vectors", self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}<vector_size={self.vector_size}, {len(self)} keys>"

    __str__ = __repr__


def as_array(values: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """``values`` as an array.

    Raises:
        ArgumentError: they are rows of several lengths, or no numbers where ``dtype`` is one of numbers.
    """
    try:
        return np.asarray(values, dtype)
    except (ValueError, TypeError, OverflowError) as cause:
        got = f"{type(values).__name__} {values!r}"[:80]
        raise ArgumentError("not an array of numbers", got=got, expected="numbers, in rows of one length") from cause


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = np.dtype(object)
    if known.kind != "f":
        raise ArgumentError("vectors are of floats", got=f"dtype={dtype!r}", expected="float16, float32 or float64")
    return known


def _checked_vector(vector: Vector, dim: int) -> NDArray[np.float64]:
    if vector.shape != (dim,) or vector.dtype.kind not in "fiu":
        raise ArgumentError(
            "not a vector of this table", got=f"{vector.dtype} {vector.shape}", expected=f"float [{dim}]"
        )
    return vector.astype(np.float64)
