"""Editing: adding and replacing vectors, attributes of keys, order, size.

A table over a store is copied to memory before its first change; the files of the store are never written to. Norms and
codes are forgotten with every change, so that no search sees old ones.

Not for: training. Costs: a change copies the table once if it lay over a store, and ``add_vectors`` once a call.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError, UnknownKeyError
from foreword.vectors.table import VectorTable, as_array, is_key, listed

__all__ = ["Editing"]

logger = logging.getLogger(__name__)


class Editing(VectorTable):
    """Changing a table, after gensim's interface; docs/vectors.md lists where gensim's own is not followed."""

    def _to_memory(self) -> None:
        """Make keys a list and a dict, and rows an array that can be written to."""
        if not isinstance(self.index_to_key, list):
            self.index_to_key = list(self.index_to_key)
        if not isinstance(self.key_to_index, dict):
            self.key_to_index = {key: row for row, key in enumerate(self.index_to_key)}
        for name, values in self.expandos.items():
            if not values.flags.writeable:
                self.expandos[name] = np.array(values)
        if self._store is not None or not self._rows.flags.writeable:
            self._hold(np.array(self._rows))

    def add_vector(self, key: Any, vector: Any) -> int:
        """Add one vector, in a row that the constructor allocated if one is free; a key that exists is overwritten.

        Growing one by one copies the table each time: allocate first, or use ``add_vectors``.

        Returns:
            The key's row.

        Raises:
            ArgumentError: the vector doesn't fit.
        """
        (key,), vector = _checked([key]), self._fitting(as_array(vector)[None])
        self._to_memory()
        keys, rows = cast(list[Any], self.index_to_key), cast(dict[Any, int], self.key_to_index)
        row = rows.get(key)
        if row is not None:
            self._rows[row] = vector[0]
        elif self.next_index < len(keys) and keys[self.next_index] is None:
            row = self.next_index
            keys[row], rows[key] = key, row
            self._rows[row] = vector[0]
            self.next_index += 1
        else:
            warnings.warn("each vector added copies the table: allocate rows, or use add_vectors", stacklevel=2)
            row = len(keys)
            self.add_vectors([key], vector)
        self._changed()
        return row

    def add_vectors(
        self,
        keys: Any,
        weights: Any,
        extras: Mapping[str, NDArray[Any]] | None = None,
        replace: bool = False,
    ) -> None:
        """Append keys with their vectors.

        Args:
            keys: a list of new keys, words or integers, or one key. Of keys that come twice the first counts, or with
                ``replace`` the last.
            weights: their vectors, [n, D] (or [D] for one key).
            extras: attribute name → one value a key.
            replace: overwrite the vectors (and extras) of keys that exist, rather than leave them.

        Raises:
            ArgumentError: vectors, keys and extras don't fit together, or a key is neither a word nor an integer.
        """
        if is_key(keys):
            weights = as_array(weights).reshape(1, -1)
        keys, weights = _checked(listed(keys)), self._fitting(weights)
        extras = {name: np.asarray(values) for name, values in (extras or {}).items()}
        counts = {"keys": len(keys), "vectors": len(weights)} | {name: len(values) for name, values in extras.items()}
        if len(set(counts.values())) > 1:
            raise ArgumentError("keys, vectors and extras must be as many", got=counts)
        self._check_rows()
        for name, values in extras.items():
            self._check_attribute(name, values.dtype)
        self._to_memory()
        names, rows = cast(list[Any], self.index_to_key), cast(dict[Any, int], self.key_to_index)
        targets = np.empty(len(keys), dtype=np.int64)
        taken = np.ones(len(keys), dtype=bool)
        count = len(names)
        for i, key in enumerate(keys):
            row = rows.get(key)
            taken[i] = row is None or replace
            if row is None:
                row = rows[key] = len(names)
                names.append(key)
            targets[i] = row
        if len(names) > count:
            # One allocation: rows of the new keys follow those that are there.
            fresh = np.zeros((len(names) - count, self.vector_size), dtype=self._rows.dtype)
            self._rows = np.concatenate([self._rows, fresh])
            if self.next_index >= count:
                self.next_index = len(names)
        self._rows[targets[taken]] = weights[taken]
        self.allocate_vecattrs(list(extras), [values.dtype.type for values in extras.values()])
        self.allocate_vecattrs()
        for name, values in extras.items():
            self.expandos[name][targets[taken]] = values[taken]
        self._changed()

    def _fitting(self, weights: Any) -> NDArray[np.floating[Any]]:
        rows = as_array(weights)
        if rows.size == 0 and rows.ndim == 1:
            rows = rows.reshape(0, self.vector_size)
        if rows.ndim != 2 or rows.shape[1] != self.vector_size or rows.dtype.kind not in "fiu":
            expected = f"float [n, {self.vector_size}]"
            raise ArgumentError("the vectors don't fit", got=f"{rows.dtype} {rows.shape}", expected=expected)
        with np.errstate(over="ignore"):
            rows = rows.astype(self._rows.dtype)
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            where = f"vector {int(np.argmin(finite))} of {len(rows)}"
            raise ArgumentError("vectors must be finite", got=f"NaN or infinity, or beyond {rows.dtype}", where=where)
        return rows

    def __setitem__(self, keys: Any, weights: Any) -> None:
        """``table[key] = vector`` or ``table[[k1, k2]] = matrix``: add keys, or overwrite their vectors."""
        if not isinstance(keys, (list, tuple)):
            keys, weights = [keys], as_array(weights).reshape(1, -1)
        self.add_vectors(keys, weights, replace=True)

    def resize_vectors(self, seed: int = 0) -> None:
        """Give every key in ``index_to_key`` a row: new ones are drawn uniformly from ±1/D, of ``seed``; others go."""
        seed = integer("seed", seed, at_least=0)
        rows = np.asarray(self._rows)
        count = len(self.index_to_key)
        if len(rows) != count:
            draw = np.random.default_rng(seed=seed).random((count, self.vector_size), dtype=np.float32)
            fresh = ((draw * 2 - 1) / self.vector_size).astype(rows.dtype)
            kept = min(count, len(rows))
            fresh[:kept] = rows[:kept]
            self._hold(fresh)
        self.allocate_vecattrs()
        self._changed()

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length 1, in place; zeros stay zeros. A table over a store is copied first."""
        self._to_memory()
        self._rows[:] = self._normed(slice(None))
        self._changed()

    def init_sims(self, replace: bool = False) -> None:
        """As in gensim, deprecated: ``fill_norms``, or with ``replace`` ``unit_normalize_all``."""
        warnings.warn("use fill_norms() instead of init_sims()", DeprecationWarning, stacklevel=2)
        self.fill_norms()
        if replace:
            self.unit_normalize_all()

    def sort_by_descending_frequency(self) -> None:
        """Order keys by falling attribute "count", of equals the earlier first.

        Raises:
            ArgumentError: the keys have no counts.
        """
        if not len(self):
            return
        if "count" not in self.expandos:
            raise ArgumentError("can't sort: the keys have no counts", fix='set them: set_vecattr(key, "count", n)')
        self._to_memory()
        self.allocate_vecattrs()
        order = np.argsort(-np.asarray(self.expandos["count"], dtype=np.int64), kind="stable")
        names = cast(list[Any], self.index_to_key)
        self.index_to_key = [names[row] for row in order]
        self.key_to_index = {key: row for row, key in enumerate(self.index_to_key) if key is not None}
        for name, values in self.expandos.items():
            self.expandos[name] = values[order]
        if len(self._rows):
            self._hold(self._rows[order])

    # Attributes of keys.

    def allocate_vecattrs(self, attrs: Sequence[str] | None = None, types: Sequence[Any] | None = None) -> None:
        """Make sure that each attribute has an array of one value a key; new values are zeros.

        Args:
            attrs: their names; None for all there are.
            types: the type or dtype of each.

        Raises:
            ArgumentTypeError: an attribute exists with another type.
        """
        if attrs is None:
            attrs, types = list(self.expandos), [values.dtype for values in self.expandos.values()]
        count = len(self.index_to_key)
        for name, kind in zip(attrs, types or (), strict=True):
            dtype = _attribute_dtype(kind)
            old = self.expandos.get(name)
            if old is None:
                self.expandos[name] = np.zeros(count, dtype=dtype)
                continue
            self._check_attribute(name, dtype)
            if len(old) != count:
                fresh = np.zeros(count, dtype=old.dtype)
                kept = min(count, len(old))
                fresh[:kept] = old[:kept]
                self.expandos[name] = fresh

    def _check_attribute(self, name: str, dtype: np.dtype[Any]) -> None:
        old = self.expandos.get(name)
        if old is not None and not np.issubdtype(dtype, old.dtype):
            raise ArgumentTypeError(
                "an attribute has values of one type",
                got=f"{dtype} for {name!r}",
                expected=f"{old.dtype}",
                fix="give values of that type, or another name",
            )

    def set_vecattr(self, key: Any, attr: str, val: Any) -> None:
        """Give ``key`` the attribute ``attr``; its first value settles the type for all keys.

        Raises:
            UnknownKeyError: the key isn't there.
            ArgumentTypeError: another type was used before.
        """
        row = self.get_index(key)
        self.allocate_vecattrs([attr], [type(val)])
        values = self.expandos[attr]
        if not values.flags.writeable:
            values = self.expandos[attr] = np.array(values)
        values[row] = val

    def get_vecattr(self, key: Any, attr: str) -> Any:
        """The attribute ``attr`` of ``key``.

        Raises:
            UnknownKeyError: the key or the attribute isn't there.
        """
        row = self.get_index(key)
        if attr not in self.expandos:
            raise UnknownKeyError(
                f"keys have no attribute {attr!r}", expected=", ".join(self.expandos) or "none", where="vecattrs"
            )
        return self.expandos[attr][row]

    def add_lifecycle_event(self, event_name: str, log_level: int | bool = logging.INFO, **event: Any) -> None:
        """Log what happened to the table and keep it in ``lifecycle_events``, a list of dicts.

        ``log_level`` False logs nothing; setting ``lifecycle_events`` to None keeps nothing.
        """
        import datetime as dt
        import platform

        from foreword._base.version import __version__

        entry = {
            **event,
            "datetime": dt.datetime.now().isoformat(),
            "foreword": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "event": event_name,
        }
        if log_level is not False:
            logger.log(logging.INFO if log_level is True else log_level, "%s: %s", event_name, event)
        if getattr(self, "lifecycle_events", []) is not None:
            self.lifecycle_events: list[dict[str, Any]] | None = [
                *(getattr(self, "lifecycle_events", None) or []),
                entry,
            ]

    def vectors_for_all(self, keys: Iterable[Any], allow_inference: bool = True, copy_vecattrs: bool = False) -> Any:
        """A new table in memory of the vectors of ``keys``, each once; keys without a vector are left out.

        Args:
            keys: any words.
            allow_inference: also keys that have a vector only by inference, where the table can infer.
            copy_vecattrs: copy their attributes too.
        """
        has = self._has_vector if allow_inference else self.key_to_index.__contains__
        wanted = list(filter(has, dict.fromkeys(filter(is_key, listed(keys)))))
        table = type(self)(self.vector_size, dtype=self._rows.dtype)
        rows = self._vectors(wanted) if wanted else np.empty((0, self.vector_size))
        extras = {}
        if copy_vecattrs:
            places = self._indices(wanted) if wanted else np.empty(0, np.int64)
            extras = {name: values[places] for name, values in self.expandos.items()}
        table.add_vectors(wanted, rows, extras=extras)
        return table


def _checked(keys: list[Any]) -> list[Any]:
    """Keys as they are kept: integers of any type as Python's own.

    Raises:
        ArgumentError: one is neither a word nor an integer.
    """
    odd = next((key for key in keys if not is_key(key)), None)
    if odd is not None or None in keys:
        raise ArgumentError("not a key", got=f"{type(odd).__name__} {odd!r}"[:80], expected="a word or an integer")
    return [key if isinstance(key, str) else int(key) for key in keys]


def _attribute_dtype(kind: Any) -> np.dtype[Any]:
    """The dtype for values of a Python or numpy type: strings as objects, int as int64 everywhere."""
    if kind is str or (isinstance(kind, type) and issubclass(kind, np.str_)):
        return np.dtype(object)
    if kind is int:
        return np.dtype(np.int64)
    dtype: DTypeLike = kind
    return np.dtype(dtype)
