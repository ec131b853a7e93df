"""The library: the vectors, tokenizers and stores that a request may name, each opened when it is first asked for.

A client gives names, never paths: a name is looked up in what was allowed at start. For stores, those below an allowed
folder are listed anew each time, and one that a symbolic link leads out of the folder is not among them. A store is
opened for each request, for another program may be writing it, and nothing of it is kept.

Not for: limits. Costs: completion sorts the keys once (400,000 in about a second, behind the first answers); to list
and open a store is a fraction of a millisecond.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

import foreword
from foreword._base.files import explained, given_path
from foreword._base.words import counted
from foreword.errors import ForewordError, StoreError, UnknownNameError
from foreword.explorer import geometry
from foreword.explorer.atlas import Atlas
from foreword.explorer.settings import Settings
from foreword.tokens.store.mapping import FileArray
from foreword.tokens.store.opening import Parts
from foreword.tokens.store.store import TokenStore
from foreword.vectors.layout.coarse import clusters
from foreword.vectors.projection import pca
from foreword.vectors.spelling import nearest_spellings

if TYPE_CHECKING:
    from foreword import KeyedVectors, Tokenizer

__all__ = ["Library", "ServedStore", "StorePlace", "Words"]

T = TypeVar("T")
_DEPTH = 3  # folders below an allowed one that are searched for stores
_CLUSTERS = 10
_BUILT_IN = ("gpt2", "bytes")  # tokenizers that the package carries
_MANIFEST_BYTES = 4_000_000  # of some 20,000 shards


class StorePlace(NamedTuple):
    """Where a store is, and the same as it was given at start."""

    path: Path
    source: str


class ServedStore(TokenStore):
    """A store that others may cut short, replace or have written themselves.

    Its files are read slice by slice, never mapped. Its tokenizer is one that this server has, not a file or a download
    that its manifest names. Opened by ``Library``.

    Attributes:
        starts: where each document starts in the stream of tokens, and the end: ``offsets``, but read by the slice.
        place: where it is.
        tokenizers: gives the tokenizers that this server has.
    """

    place: StorePlace
    tokenizers: Callable[[], Iterator[Tokenizer]]

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.starts = _Starts(self, [load() for load in self._load_offsets])

    @classmethod
    def _array(cls, path: Path, dtype: np.dtype[Any], count: int) -> FileArray:
        return FileArray(path, dtype, count)

    @property
    def tokenizer_name(self) -> str:
        """What its manifest calls its tokenizer; "?" where that is no name."""
        name = self.manifest["tokenizer"]["name"]
        return name[:200] if isinstance(name, str) else "?"

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of this server that made the ids.

        Raises:
            StoreError: it has none that did.
        """
        fingerprint = self.manifest["tokenizer"]["fingerprint"]
        found = next((one for one in self.tokenizers() if one.fingerprint == fingerprint), None)
        if found is None:
            raise StoreError(
                "none of this server's tokenizers made the store",
                got=f"{self.tokenizer_name!r}, fingerprint {str(fingerprint)[:12]}",
                expected="one that is built in, or that was named at start",
                fix="start the server with --tokenizer NAME, the tokenizer's name or file",
            )
        return found


class _Starts:
    """The offsets of a store's documents as a sequence [documents + 1], of which a slice reads what it gives."""

    def __init__(self, store: TokenStore, offsets: list[Any]) -> None:
        self._tokens = len(store)
        self._offsets = offsets
        self._shard_starts = store.shard_starts.tolist()
        self._first = [0]  # document of each shard, and the end
        for one in offsets:
            self._first.append(self._first[-1] + len(one) - 1)

    def __len__(self) -> int:
        return self._first[-1] + 1

    def __getitem__(self, index: int) -> int:
        return int(self.read(index, index + 1)[0])

    def read(self, first: int, stop: int) -> NDArray[np.int64]:
        """Entries ``first`` to ``stop``.

        Raises:
            StoreError: they do not ascend within the store.
        """
        pieces = [np.empty(0, np.int64)]
        for i, offsets in enumerate(self._offsets):
            low, high = self._first[i], self._first[i + 1]
            if first < high and low < stop:
                local = offsets[max(0, first - low) : min(stop, high) - low]
                pieces.append(local.astype(np.int64) + self._shard_starts[i])
        if first < stop and stop == len(self):
            pieces.append(np.array([self._tokens]))
        starts = np.concatenate(pieces)
        if len(starts) and (starts[0] < 0 or starts[-1] > self._tokens or (starts[1:] < starts[:-1]).any()):
            raise StoreError("the store is damaged: its offsets do not ascend", fix="prepare the corpus again")
        return starts


class _Keep:
    """What was made once, by a key; of several that ask at once, one makes it and the others wait.

    The ``most`` that were made last are kept; all, where it is None.
    """

    def __init__(self, *, most: int | None = None) -> None:
        self._lock = threading.Lock()
        self._most = most
        self._made: dict[Hashable, Any] = {}

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives for ``key``, computed now or before."""
        value: T | None = self._made.get(key)
        if value is None:
            with self._lock:
                value = self._made.get(key)
                if value is None:
                    value = self._made[key] = make()
                    if self._most is not None and len(self._made) > self._most:
                        del self._made[next(iter(self._made))]
        return value


class Words:
    """Word vectors, and what the page asks of them beyond ``KeyedVectors``: completion and maps."""

    def __init__(self, name: str, keyed_vectors: KeyedVectors) -> None:
        self.name = name
        self.kv = keyed_vectors
        self._keys = _Keep()
        self._maps, self._atlas = _Keep(most=4), _Keep()

    def _sorted(self) -> tuple[list[str], NDArray[np.int64]]:
        """The keys in order, integers as their digits and all without their case, and the row of each."""
        keys = [str(key).casefold() for key in self.kv.index_to_key]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return [keys[row] for row in order], np.array(order, np.int64)

    def complete(self, prefix: str, limit: int) -> list[str]:
        """The keys that start with ``prefix``, in any case: those of the same letters first, then the most frequent."""
        folded = prefix.casefold()
        keys, rows = self._keys.of("sorted", self._sorted)
        low = bisect_left(keys, folded)
        same = bisect_right(keys, folded, low)
        high = bisect_left(keys, folded + "\U0010ffff", same)
        alike = sorted(rows[low:same].tolist(), key=lambda row: (str(self.kv.index_to_key[row]) != prefix, row))
        others = rows[same:high]
        if len(others) > limit:
            others = np.partition(others, limit - 1)[:limit]
        found = [*alike, *np.sort(others).tolist()][:limit]
        return [str(self.kv.index_to_key[row]) for row in found]

    def find(self, word: str, limit: int = 6) -> tuple[str | None, list[str]]:
        """The key that ``word`` is, in any case, and where there is none what may have been meant.

        Those that start so, the most frequent first; else those spelt nearly so.
        """
        text = word.strip()
        if not text:
            return None, []
        starting = self.complete(text, limit)
        if starting and starting[0].casefold() == text.casefold():
            return starting[0], []
        return None, starting or nearest_spellings(text, self.kv.key_to_index)

    def atlas(self, limit: int) -> Atlas:
        """The map of the first ``limit`` words; the first time, a better layout of it begins."""
        return self._atlas.of("atlas", lambda: Atlas(self.kv, limit))

    def map(self, count: int) -> tuple[NDArray[np.float64], float, NDArray[np.int64]]:
        """The first ``count`` rows on a plane, the variance it keeps, and their clusters."""

        def compute() -> tuple[NDArray[np.float64], float, NDArray[np.int64]]:
            points = geometry.unit(np.asarray(self.kv.vectors[:count], np.float32))
            flat, kept = pca(points.astype(np.float64))
            return flat, kept, clusters(points, _CLUSTERS)[0]

        return self._maps.of(count, compute)


class Library:
    """Everything by name.

    Attributes:
        vectors, tokenizers: for each name what it stands for, as it was given at start; the default first.
    """

    def __init__(self, settings: Settings) -> None:
        self._loaded, self._tokenizers = _Keep(), _Keep()
        self.vectors = _named(settings.vectors, _stem)
        self.tokenizers = _named(settings.tokenizers, _stem)
        self._given: dict[Path, str] = {}
        for path in settings.stores:
            with explained("open the token store", path):
                self._given.setdefault(given_path(path).resolve(), os.fspath(path))
        self._folders = _named(self._given, lambda folder: folder.name or "root")

    def open_all(self) -> None:
        """Open all that was named, so that what can't be opened is one error now, and not one in every panel.

        Raises:
            ForewordError: of the first that can't be opened. Stores below a folder are opened when they are asked for.
        """
        for name in self.tokenizers:
            self.tokenizer(name)
        for name in self.vectors:
            self.words(name)
        for name, place in self.stores().items():
            if name in self._folders:  # a store itself, and not one of those below a folder
                self.open_store(place)

    def words(self, name: str) -> Words:
        """Word vectors by name; the first time, they are loaded."""
        source = _known("word vectors", name, self.vectors)
        return self._loaded.of(name, lambda: Words(name, foreword.load(source)))

    def tokenizer(self, name: str) -> Tokenizer:
        """A tokenizer by name."""
        source = _known("tokenizer", name, self.tokenizers)
        return self._tokenizers.of(name, lambda: foreword.get_tokenizer(source))

    def stores(self) -> dict[str, StorePlace]:
        """The stores below the allowed folders, by name."""
        found: dict[str, StorePlace] = {}
        for name, root in self._folders.items():
            for path in sorted(_stores_below(root, root, _DEPTH)):
                inner = path.relative_to(root)
                found[Path(name, inner).as_posix()] = StorePlace(path, os.fspath(Path(self._given[root], inner)))
        return found

    def store(self, name: str) -> ServedStore:
        """A store by name."""
        return self.open_store(_known("store", name, self.stores()))

    def open_store(self, place: StorePlace) -> ServedStore:
        """The store at one of the places that ``stores`` gives.

        Raises:
            ForewordError: there is no store any more, or it is not whole, or no store at all.
        """
        with explained("open the token store", place.path):
            size = (place.path / "manifest.json").stat().st_size
            if size > _MANIFEST_BYTES:
                raise StoreError(
                    "the manifest is too large to be a store's",
                    got=counted(size, "byte"),
                    expected=f"at most {_MANIFEST_BYTES:,}",
                    where=place.path,
                )
            store = ServedStore.open(place.path)
        if not isinstance(store, ServedStore):  # the folder has just become a file of a foreign format
            raise StoreError("not a token store", where=place.path)
        store.place, store.tokenizers = place, self._every_tokenizer
        return store

    def _every_tokenizer(self) -> Iterator[Tokenizer]:
        """Those built in, and those named at start that can be opened."""
        yield from map(foreword.get_tokenizer, _BUILT_IN)
        for name in self.tokenizers:
            with contextlib.suppress(ForewordError):
                yield self.tokenizer(name)


def _named(sources: Iterable[T], short: Callable[[T], str]) -> dict[str, T]:
    """Sources by a short name; a second one of a name gets a number."""
    named: dict[str, T] = {}
    for source in sources:
        name, number = short(source), 2
        while name in named:
            name, number = f"{short(source)}-{number}", number + 1
        named[name] = source
    return named


def _stem(source: str) -> str:
    """Of a path, the file's name without its ending."""
    path = given_path(source)
    return path.stem if os.sep in source or "/" in source else source


def _known(kind: str, name: str, among: dict[str, T]) -> T:
    if name not in among:
        raise UnknownNameError(
            f"unknown {kind}: {name[:100]!r}",
            expected="one of " + ", ".join(map(repr, among)) if among else "none was given at start",
        )
    return among[name]


def _stores_below(folder: Path, root: Path, depth: int) -> Iterator[Path]:
    """The folders with a manifest at or below ``folder``, none of which holds a link that leads out of ``root``.

    A link to a folder is not followed: if it leads to a folder below ``root``, that one is found in its own place.
    """
    try:
        with os.scandir(folder) as scan:
            entries = list(scan)
        links = [entry for entry in entries if entry.is_symlink()]
        inner = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # gone meanwhile, or not ours to read
        return
    # os.path, since a link to itself is a RuntimeError of Path's
    inside = all(Path(os.path.realpath(link)).is_relative_to(root) for link in links)
    if inside and os.path.isfile(folder / "manifest.json"):  # noqa: PTH113
        yield folder
    if depth:
        for path in inner:
            yield from _stores_below(path, root, depth - 1)
