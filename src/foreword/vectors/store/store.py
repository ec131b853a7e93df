"""The vector store: keys, rows and int8 codes in one folder, memory-mapped, that say what they are.

    STORE/
      manifest.json    format version, rows, dim, dtype, the shape of every file, the source that was converted
      vectors.npy      float32 or float16 [N, D]
      codes.npy        int8 [N, P]   and scales.npy, errors.npy, norms.npy: float32 [N]; see ``codes``
      blob.npy  offsets.npy  hashes.npy  rows.npy                                  see ``keys``
      counts.npy       int64 [N], how often each word was seen, where the source told
      subwords.npy     float32 [bucket, D], the rows of fastText's n-grams, where the source had them

The folder is filled under another name and renamed whole, so a folder with a manifest is complete.

Not for: making one (``building``), reading other formats (``formats``), deciding when to convert (``convert``).
Costs: opening reads the manifest and maps the files, 1–2 ms at any size, and takes no private memory that grows with
N.
"""

from __future__ import annotations

import functools
import json
import math
import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foreword._base.files import explained
from foreword.errors import ArgumentError, MissingFileError, StoreError
from foreword.vectors.search.codes import Codes, padded, quantise
from foreword.vectors.store.keys import KeyTable, ListedKeys, MappedKeys
from foreword.vectors.store.subwords import Subwords

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


class VectorStore:
    """N vectors of D elements with their keys, mapped from a folder or held in memory.

    Attributes:
        keys: the table of keys.
        vectors: float32 or float16 [N, D]; read-only where mapped.
        path: the folder, or None.
        counts: int64 [N] word counts, or None.
        subwords: fastText's n-grams, or None.
        source: what the store was converted from, as the manifest tells it.
    """

    def __init__(
        self,
        keys: KeyTable,
        vectors: NDArray[np.floating],
        *,
        quantised: Codes | None = None,
        path: Path | None = None,
        counts: NDArray[np.int64] | None = None,
        subwords: Subwords | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        self.keys = keys
        self.vectors = vectors
        self.path = path
        self.counts = counts
        self.subwords = subwords
        self.source = source
        if quantised is not None:
            self.quantised = quantised

    @functools.cached_property
    def quantised(self) -> Codes:
        """Norms and int8 codes of the rows: mapped, or of a store in memory made at the first use."""
        return quantise(self.vectors)

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
    def from_arrays(cls, keys: Iterable[str], vectors: NDArray[np.floating]) -> VectorStore:
        """A store in memory over ``vectors``, float [N, D], which it shares.

        Raises:
            ArgumentError: the counts differ, or a key comes twice.
        """
        table = keys if isinstance(keys, KeyTable) else ListedKeys(keys)
        if vectors.ndim != 2 or len(table) != len(vectors):
            raise ArgumentError("keys and vectors must be as many", got=f"{len(table):,} keys, vectors {vectors.shape}")
        if isinstance(table, ListedKeys) and len(table._rows) != len(table):
            raise ArgumentError("a key comes twice", fix="give each key once")
        return cls(table, vectors)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> VectorStore:
        """Map the store in the folder ``path``.

        Raises:
            MissingFileError: there is no such folder.
            StoreError: it is no store, or a file is not as the manifest says.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        arrays = {name: _map(folder / f"{name}.npy", *kind) for name, kind in _expected(manifest).items()}
        told = manifest["subwords"]
        return cls(
            MappedKeys(arrays["blob"], arrays["offsets"], arrays["hashes"], arrays["rows"]),
            arrays["vectors"],
            quantised=Codes(**{name: arrays[name] for name in ("codes", "scales", "errors", "norms")}),
            path=folder,
            counts=arrays.get("counts"),
            subwords=Subwords(told["minn"], told["maxn"], arrays["subwords"]) if told else None,
            source=manifest["source"],
        )


def is_store(path: Path) -> bool:
    """Whether ``path`` is a folder that says it is a vector store."""
    try:
        return bool(json.loads((path / "manifest.json").read_bytes())["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, every field that opening relies on checked."""
    where = folder / "manifest.json"
    again = "convert the vectors again (a store in the cache: remove its folder)"
    if not folder.exists():
        raise MissingFileError("there is no vector store here", where=folder)
    with explained("open the vector store", where, fix="name a folder that Foreword made of vectors"):
        text = where.read_bytes()
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
        )
    except (KeyError, TypeError):
        consistent = False
    if not consistent:
        raise StoreError("the store's manifest contradicts itself", where=where, fix=again)
    return manifest  # type: ignore[no-any-return]


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
    return files


def npy_header(dtype: DTypeLike, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file (format 1.0) as a store has it: ``HEADER`` bytes, whatever the shape.

    >>> len(npy_header("float32", (400000, 300)))
    128
    """
    kind = np.dtype(dtype).newbyteorder("<").str
    told = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + told.encode().ljust(HEADER - 11) + b"\n"


def _map(path: Path, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The .npy file of a store as an array, mapped read-only.

    Raises:
        StoreError: it is missing, cut short, or not of this dtype and shape.
    """
    count = math.prod(shape)
    expected = HEADER + count * np.dtype(dtype).itemsize
    try:
        with open(path, "rb") as file:
            right = file.read(HEADER) == npy_header(dtype, shape)
            size = os.fstat(file.fileno()).st_size
            got = f"{size:,} bytes" if right else "another header"
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if right and size == expected else None
    except OSError as cause:
        mapped, got = None, (cause.strerror or type(cause).__name__).lower()
    if mapped is None:
        raise StoreError(
            "a file of the store is missing or damaged",
            got=got,
            expected=f"{expected:,} bytes, {dtype} {list(shape)}",
            where=path,
            fix="convert the vectors again (a store in the cache: remove its folder)",
        )
    return np.frombuffer(mapped, dtype, count, HEADER).reshape(shape)
