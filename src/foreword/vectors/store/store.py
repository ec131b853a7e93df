"""The vector store: keys, rows and int8 codes in one folder, memory-mapped, that say what they are.

    STORE/
      manifest.json    format version, rows, dim, dtype, the shape of every file, the source that was converted
      vectors.npy      float32 or float16 [N, D]
      codes.npy        int8 [N, P]   and scales.npy, errors.npy, norms.npy: float32 [N]; see ``codes``
      blob.npy  offsets.npy  hashes.npy  rows.npy                                  see ``keys``
      counts.npy       int64 [N], how often each word was seen, where the source says so
      subwords.npy     float32 [bucket, D], the rows of fastText's n-grams, where the source had them
      ngrams.npy  ngram_rows.npy    uint64, uint32 [m]: the n-grams that have a row, of gensim before 3.8
      tokenizer.json   of a static embedding model                                see ``encoder``

The folder is filled under another name and renamed whole, so a folder with a manifest is complete.

A store is pickled as its place (``Place``); unpickling maps it again, and fails where another lies there by then.

Not for: making one (``building``), reading other formats (``formats``), deciding when to convert (``convert``).
Costs: opening reads the manifest and maps the files, 1–2 ms at any size, and takes no private memory that grows with
N.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foreword._base import system
from foreword._base.files import explained
from foreword._base.words import counted
from foreword.errors import ArgumentError, MissingFileError, StoreError
from foreword.vectors.search.codes import Codes, padded
from foreword.vectors.store.attributes import ATTRIBUTES, read_attributes
from foreword.vectors.store.encoder import TextEncoder, stored_encoder
from foreword.vectors.store.keys import MappedKeys
from foreword.vectors.store.subwords import BYTES, CHARACTERS, SPELLING, Subwords

__all__ = ["FORMAT", "HEADER", "VERSION", "VectorStore", "is_store", "npy_header", "vector_dtype"]

FORMAT = "foreword vector store"
VERSION = 1
HEADER = 128
"""Bytes of the header of each .npy file; so the data is aligned for any processor."""


def vector_dtype(dtype: DTypeLike | None) -> np.dtype[Any]:
    """The dtype that rows are kept in: float32, or float16 for half the size.

    Raises:
        ArgumentError: it is another one.

    >>> vector_dtype(None), vector_dtype("float16")
    (dtype('float32'), dtype('float16'))
    """
    try:
        chosen = np.dtype(np.float32 if dtype is None else dtype)
    except TypeError:
        chosen = None
    if chosen not in (np.dtype(np.float32), np.dtype(np.float16)):
        got = dtype if chosen is None else chosen
        raise ArgumentError("vectors can't be kept in this dtype", got=got, expected="float32 or float16")
    return chosen


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store lies, and which one: what travels to another process in its place.

    Attributes:
        path: the folder, absolute.
        state: size and time of change of its manifest and of its vectors.
    """

    path: str
    state: tuple[int, ...]

    def open(self) -> VectorStore:
        """The store.

        Raises:
            MissingFileError: there is none any more. StoreError: there is another by now.
        """
        again = "load the vectors again here; to send them with all their bytes, edit or copy them to memory first"
        try:
            store = VectorStore.open(self.path)
        except MissingFileError:
            raise MissingFileError(
                "the vectors were pickled as the place of their store, where there is none any more",
                where=self.path,
                fix=again,
            ) from None
        if store.place.state != self.state:
            raise StoreError(
                "the vectors were pickled as the place of their store, where another store lies by now",
                where=self.path,
                fix=again,
            )
        return store

    def keys(self) -> MappedKeys:
        """The keys of the store. Raises as ``open``."""
        return self.open().keys


class VectorStore:
    """N vectors of D elements with their keys, mapped from a folder.

    Attributes:
        keys: the table of keys.
        vectors: float32 or float16 [N, D], read-only.
        quantised: norms and int8 codes of the rows.
        path: the folder, as it was given.
        place: the same for other processes.
        counts: int64 [N] word counts, or None.
        attributes: name → array [N] of what is known of each key, counts among it; read-only.
        subwords: fastText's n-grams, or None.
        encoder: what makes vectors of texts, of a static embedding model, or None.
        word_ngrams: how many words an n-gram of words has at most, of a fastText classifier, or None.
        source: what the store was converted from, as the manifest tells it.
    """

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], place: Place, arrays: dict[str, NDArray[Any]]
    ) -> None:
        self.path, self.place = folder, place
        table = (arrays["blob"], arrays["offsets"], arrays["hashes"], arrays["rows"])
        integers: bool = manifest.get("integer_keys", False)
        self.keys = MappedKeys(*table, again=(Place.keys, (place,)), integers=integers)
        self.vectors: NDArray[np.floating] = arrays["vectors"]
        self.quantised = Codes(**{name: arrays[name] for name in ("codes", "scales", "errors", "norms")})
        self.counts: NDArray[np.int64] | None = arrays.get("counts")
        self.attributes: Mapping[str, NDArray[Any]] = {} if self.counts is None else {"count": self.counts}
        if (folder / ATTRIBUTES).exists():
            self.attributes = {**self.attributes, **read_attributes(folder / ATTRIBUTES)}
        self.subwords = _subwords(manifest["subwords"], arrays)
        self.encoder = _encoder(manifest, folder)
        self.word_ngrams: int | None = manifest.get("word_ngrams")
        self.source: Mapping[str, Any] = manifest["source"]

    def __reduce__(self) -> tuple[Any, ...]:
        return Place.open, (self.place,)

    def __copy__(self) -> VectorStore:  # nothing of it can be changed
        return self

    def __deepcopy__(self, _: object) -> VectorStore:
        return self

    @property
    def norms(self) -> NDArray[np.float32]:
        """float32 [N], the rows' Euclidean norms."""
        return self.quantised.norms

    @property
    def codes(self) -> NDArray[np.int8]:
        """int8 [N, P], the rows' codes."""
        return self.quantised.codes

    @property
    def scales(self) -> NDArray[np.float32]:
        """float32 [N], the scale of each row of codes."""
        return self.quantised.scales

    @property
    def errors(self) -> NDArray[np.float32]:
        """float32 [N], the bound on each row's rounding error."""
        return self.quantised.errors

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> VectorStore:
        """Map the store in the folder ``path``.

        Raises:
            MissingFileError: there is no such folder.
            StoreError: it is no store, or a file is not as the manifest says.
        """
        folder = Path(path)
        manifest, state = _read_manifest(folder)
        arrays = {}
        for name, kind in _expected(manifest).items():
            arrays[name], changed = _map(folder / f"{name}.npy", *kind)
            if name == "vectors":
                state += changed
        store = cls(folder, manifest, Place(os.fspath(folder.absolute()), state), arrays)
        system.hold(store, folder / "manifest.json")
        return store


def is_store(path: Path) -> bool:
    """Whether ``path`` is a folder that says it is a vector store."""
    try:
        return bool(json.loads((path / "manifest.json").read_bytes())["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _subwords(kept: Mapping[str, Any] | None, arrays: Mapping[str, NDArray[Any]]) -> Subwords | None:
    """The subwords that the manifest tells of; None of none, and of those that no word has."""
    if not kept:
        return None
    found = Subwords.of(kept["minn"], kept["maxn"], arrays["subwords"])
    if found is None or "hashing" not in kept:
        return found
    numbers, rows = arrays.get("ngrams"), arrays.get("ngram_rows")
    return Subwords(kept["minn"], kept["maxn"], arrays["subwords"], kept["hashing"], kept["buckets"], numbers, rows)


def _encoder(manifest: Mapping[str, Any], folder: Path) -> TextEncoder | None:
    if "encoder" not in manifest:
        return None
    try:
        return stored_encoder(manifest["encoder"], folder)
    except (ValueError, KeyError, TypeError, OSError):
        raise StoreError(
            "the store's tokenizer is missing or damaged",
            where=folder,
            fix="convert the vectors again (a store in the cache: remove its folder)",
        ) from None


def _read_manifest(folder: Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The manifest, every field that opening relies on checked, and its size and time of change."""
    where = folder / "manifest.json"
    again = "convert the vectors again (a store in the cache: remove its folder)"
    if not folder.exists():
        raise MissingFileError("there is no vector store here", where=folder)
    fix = "name a folder that Foreword made of vectors"
    with explained("open the vector store", where, fix=fix), open(where, "rb") as file:
        state = os.fstat(file.fileno())
        text = file.read()
    try:
        manifest = json.loads(text)
        kind, version = manifest["format"], manifest["version"]
    except (ValueError, KeyError, TypeError):
        raise StoreError("the store's manifest can't be read", where=where, fix=again) from None
    if kind != FORMAT or version != VERSION:
        raise StoreError(
            "not a vector store of this version",
            got=f"{kind!r} version {version!r}",
            expected=f"{FORMAT!r} version {VERSION}",
            where=where,
            fix=again,
        )
    try:
        subwords = manifest["subwords"]
        consistent = (
            manifest["dtype"] in ("float32", "float16")
            and all(type(manifest[field]) is int and manifest[field] >= 0 for field in ("rows", "dim", "key_bytes"))
            and type(manifest["counts"]) is bool
            and isinstance(manifest["source"], dict)
            and (subwords is None or all(type(subwords[field]) is int for field in ("minn", "maxn", "bucket")))
            and (subwords is None or "hashing" not in subwords or _consistent(subwords))
            and type(manifest.get("integer_keys", False)) is bool
            and type(manifest.get("word_ngrams", 0)) is int
        )
    except (KeyError, TypeError):
        consistent = False
    if not consistent:
        raise StoreError("the store's manifest contradicts itself", where=where, fix=again)
    return manifest, (state.st_size, state.st_mtime_ns)


def _consistent(subwords: Mapping[str, Any]) -> bool:
    """Whether the fields that only old gensim's subwords have are as they should be."""
    listed = subwords["listed"]
    return (
        subwords["hashing"] in (BYTES, CHARACTERS, SPELLING)
        and type(subwords["buckets"]) is int
        and (listed is None or (type(listed) is int and listed > 0))
    )


def _expected(manifest: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtype and shape of every file of a store with this manifest."""
    n, dim = manifest["rows"], manifest["dim"]
    files: dict[str, tuple[str, tuple[int, ...]]] = {
        "vectors": (manifest["dtype"], (n, dim)),
        "codes": ("int8", (n, padded(dim))),
        "scales": ("float32", (n,)),
        "errors": ("float32", (n,)),
        "norms": ("float32", (n,)),
        "blob": ("uint8", (manifest["key_bytes"],)),
        "offsets": ("int64", (n + 1,)),
        "hashes": ("uint64", (n,)),
        "rows": ("uint32", (n,)),
    }
    if manifest["counts"]:
        files["counts"] = ("int64", (n,))
    if manifest["subwords"]:
        files["subwords"] = ("float32", (manifest["subwords"]["bucket"], dim))
        if (listed := manifest["subwords"].get("listed")) is not None:
            files |= {"ngrams": ("uint64", (listed,)), "ngram_rows": ("uint32", (listed,))}
    return files


def npy_header(dtype: DTypeLike, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file (format 1.0) as a store has it: ``HEADER`` bytes, whatever the shape.

    >>> len(npy_header("float32", (400000, 300)))
    128
    """
    kind = np.dtype(dtype).newbyteorder("<").str
    fields = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + fields.encode().ljust(HEADER - 11) + b"\n"


def _map(path: Path, dtype: str, shape: tuple[int, ...]) -> tuple[NDArray[Any], tuple[int, ...]]:
    """The .npy file of a store as an array, mapped read-only, and its size and time of change.

    Raises:
        StoreError: it is missing, cut short, or not of this dtype and shape.
    """
    count = math.prod(shape)
    expected = HEADER + count * np.dtype(dtype).itemsize
    try:
        with open(path, "rb") as file:
            right = file.read(HEADER) == npy_header(dtype, shape)
            stat = os.fstat(file.fileno())
            size = stat.st_size
            got = counted(size, "byte") if right else "another header"
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if right and size == expected else None
    except OSError as cause:
        mapped, got = None, (cause.strerror or type(cause).__name__).lower()
    if mapped is None:
        raise StoreError(
            "a file of the store is missing or damaged",
            got=got,
            expected=f"{counted(expected, 'byte')}, {dtype} {list(shape)}",
            where=path,
            fix="convert the vectors again (a store in the cache: remove its folder)",
        )
    return np.frombuffer(mapped, dtype, count, HEADER).reshape(shape), (stat.st_size, stat.st_mtime_ns)
