"""The library: the vectors, tokenizers and stores that a request may name, each opened when it is first asked for.

A client gives names, never paths: a name is looked up in what was allowed at start. For stores, those below an allowed
folder are listed anew each time, and one that a symbolic link leads out of the folder is not among them.

Not for: limits. Costs: completion sorts the keys once (400,000 in about a second, behind the first answers).
"""

from __future__ import annotations

import functools
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

import foreword
from foreword.errors import UnknownNameError
from foreword.explorer import geometry
from foreword.explorer.settings import Settings
from foreword.vectors.word_map import pca

if TYPE_CHECKING:
    from foreword import KeyedVectors, Tokenizer, TokenStore

__all__ = ["Library", "StorePlace", "Words"]

T = TypeVar("T")
_DEPTH = 3  # folders below an allowed one that are searched for stores
_CLUSTERS = 10


class StorePlace(NamedTuple):
    """Where a store is, and the same as it was given at start."""

    path: Path
    source: str


class Words:
    """Word vectors, and what the page asks of them beyond ``KeyedVectors``: completion and maps."""

    def __init__(self, name: str, keyed_vectors: KeyedVectors) -> None:
        self.name = name
        self.kv = keyed_vectors
        self._lock = threading.Lock()

    @functools.cached_property
    def _sorted(self) -> tuple[list[str], NDArray[np.int64]]:
        """The keys in order, and the row of each."""
        with self._lock:
            keys = list(self.kv.index_to_key)
            order = sorted(range(len(keys)), key=keys.__getitem__)
            return [keys[row] for row in order], np.array(order, np.int64)

    def complete(self, prefix: str, limit: int) -> list[str]:
        """The keys that start with ``prefix``, or with it in lower case; the most frequent (lowest row) first."""
        keys, rows = self._sorted
        low = bisect_left(keys, prefix)
        high = bisect_left(keys, prefix + "\U0010ffff", low)
        if low == high and prefix != prefix.lower():
            return self.complete(prefix.lower(), limit)
        found = rows[low:high]
        if len(found) > limit:
            found = np.partition(found, limit - 1)[:limit]
        return [self.kv.index_to_key[int(row)] for row in np.sort(found)]

    @functools.lru_cache(maxsize=4)  # noqa: B019 - as many objects as names at start
    def map(self, count: int) -> tuple[NDArray[np.float64], float, NDArray[np.int64]]:
        """The first ``count`` rows on a plane, the variance it keeps, and their clusters."""
        with self._lock:
            points = geometry.unit(np.asarray(self.kv.vectors[:count], np.float32))
            flat, kept = pca(points.astype(np.float64))
            return flat, kept, geometry.clusters(points, _CLUSTERS)


class Library:
    """Everything by name.

    Attributes:
        vectors, tokenizers: for each name what it stands for, as it was given at start; the default first.
    """

    def __init__(self, settings: Settings) -> None:
        self._locks = {kind: threading.Lock() for kind in ("vectors", "tokenizer", "store")}
        self._opened: dict[tuple[str, str], Any] = {}
        self.vectors = _named(settings.vectors)
        self.tokenizers = _named(settings.tokenizers)
        self._stores = tuple((path, Path(path).resolve()) for path in settings.stores)

    def words(self, name: str) -> Words:
        """Word vectors by name; the first time, they are loaded."""
        source = _known("word vectors", name, self.vectors)
        return self._open("vectors", name, lambda: Words(name, foreword.load(source)))

    def tokenizer(self, name: str) -> Tokenizer:
        """A tokenizer by name."""
        source = _known("tokenizer", name, self.tokenizers)
        return self._open("tokenizer", name, lambda: foreword.get_tokenizer(source))

    def stores(self) -> dict[str, StorePlace]:
        """The stores below the allowed folders, by name."""
        found: dict[str, StorePlace] = {}
        for given, root in self._stores:
            for path in _stores_below(root):
                inner = path.relative_to(root)
                name = Path(root.name, inner).as_posix()
                found.setdefault(name, StorePlace(path, os.fspath(Path(given, inner))))
        return found

    def store(self, name: str) -> TokenStore:
        """A store by name, opened anew where its manifest changed."""
        path = _known("store", name, self.stores()).path
        stamp = (path / "manifest.json").stat().st_mtime_ns
        return self._open("store", f"{name} {stamp}", lambda: foreword.TokenStore.open(path))

    def _open(self, kind: str, name: str, make: Callable[[], T]) -> T:
        opened = self._opened.get((kind, name))
        if opened is None:
            with self._locks[kind]:  # one of two that ask at once opens it
                opened = self._opened.get((kind, name))
                if opened is None:
                    opened = self._opened[kind, name] = make()
        return opened


def _named(sources: Iterable[str]) -> dict[str, str]:
    """Sources by a short name: of a path, the file's name without its ending; a second one of a name gets a number."""
    named: dict[str, str] = {}
    for source in sources:
        stem = Path(source).stem if os.sep in source or "/" in source else source
        name, number = stem, 2
        while name in named:
            name, number = f"{stem}-{number}", number + 1
        named[name] = source
    return named


def _known(kind: str, name: str, among: dict[str, T]) -> T:
    if name not in among:
        raise UnknownNameError(
            f"unknown {kind}: {name[:100]!r}",
            expected="one of " + ", ".join(map(repr, among)) if among else "none was given at start",
        )
    return among[name]


def _stores_below(root: Path) -> list[Path]:
    """The folders with a manifest at or below ``root``, in order, none of them outside it."""
    found = []
    for depth in range(_DEPTH + 1):
        for manifest in root.glob("*/" * depth + "manifest.json"):
            folder = manifest.parent.resolve()
            # A folder outside may hold links back inside, and a folder inside a file that is a link out.
            if all(path.resolve().is_relative_to(root) for path in (folder, *folder.iterdir())):
                found.append(folder)
    return sorted(set(found))
