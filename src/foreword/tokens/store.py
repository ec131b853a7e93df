"""The token store: token ids on disk, memory-mapped, that say what they are.

    STORE/
      manifest.json      format version, dtype, counts, tokenizer and its fingerprint, SHA-256 of every file
      00000.tokens       token ids, little-endian uint16 (uint32 where vocab_size > 65,536), one document after another
      00000.offsets      uint64 [documents + 1], where each document starts in 00000.tokens, and its end
      00001.tokens …     a document never spans two shards

The manifest is written last and the folder renamed into place whole, so a folder with a manifest is complete.

Not for: making token ids (``prepare``) or cutting windows. Costs: opening reads the manifest and maps the files,
whatever their size; ``verify`` reads everything.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from foreword._files import atomic_folder, atomic_write, explained, sha256
from foreword.errors import ArgumentError, MissingFileError, StoreError
from foreword.tokens.tokenizer import Tokenizer, get_tokenizer

__all__ = ["TokenStore", "TokenStoreWriter", "token_dtype"]

FORMAT = "foreword token store"
VERSION = 1
SHARD_TOKENS = 1 << 30


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest dtype that holds every id below ``vocab_size``: uint16 or uint32, little-endian.

    >>> token_dtype(50257), token_dtype(65537)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One pair of files: their counts and checksums, as the manifest tells them."""

    tokens: int
    documents: int
    tokens_sha256: str
    offsets_sha256: str


class TokenStore:
    """Token ids on disk, one document after another. Made by ``prepare``; opened by ``TokenStore.open``.

    Attributes:
        path: its folder.
        dtype: uint16 or uint32.
        vocab_size: V of its tokenizer; every id is below it.
        documents: how many documents it holds.
        fingerprint: a hash of the manifest, and so of every byte of the store.

    ``len(store)`` is the number of tokens; ``store[a:b]`` gives token ids [b − a], a view of the mapped file
    where the slice lies in one shard; ``store.document(i)`` gives a document's.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], text: bytes) -> None:
        self.path = path
        self.dtype = np.dtype(manifest["dtype"])
        self.vocab_size: int = manifest["tokenizer"]["vocab_size"]
        self.documents: int = manifest["documents"]
        self.fingerprint = hashlib.sha256(text).hexdigest()
        self.manifest = manifest
        self._tokens: int = manifest["tokens"]
        self._shards = [Shard(**shard) for shard in manifest["shards"]]
        self.shards: list[NDArray[Any]] = [
            _map(path / f"{i:05}.tokens", self.dtype, shard.tokens) for i, shard in enumerate(self._shards)
        ]
        # Where each shard starts in the stream of tokens, and in the list of documents; the last entries are the ends.
        self.shard_starts = np.cumsum([0, *(shard.tokens for shard in self._shards)])
        self._document_starts = np.cumsum([0, *(shard.documents for shard in self._shards)])

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TokenStore:
        """Open the store in the folder ``path``; a fraction of a millisecond at any size.

        Raises:
            MissingFileError: there is no such folder.
            StoreError: the folder is no store, or a file's size is not what the manifest says.
        """
        folder = Path(path)
        try:
            text = (folder / "manifest.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if not folder.exists():
                raise MissingFileError(
                    "there is no token store here", where=folder, fix="make one: foreword prepare CORPUS STORE"
                ) from None
            raise StoreError(
                "not a token store",
                got="no manifest.json" if folder.is_dir() else "a file",
                expected="a folder that foreword prepare made",
                where=folder,
                fix=_inner_stores(folder) or "make a store: foreword prepare CORPUS STORE",
            ) from None
        except OSError:
            with explained("open the token store", folder):
                raise
        return cls(folder, _parse_manifest(text, folder), text)

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the ids.

        Raises:
            StoreError: the installed tokenizer of that name gives other ids.
        """
        told = self.manifest["tokenizer"]
        tokenizer = get_tokenizer(told["name"])
        if tokenizer.fingerprint != told["fingerprint"]:
            raise StoreError(
                f"the store was made by another tokenizer of the name {told['name']!r}",
                got=tokenizer.fingerprint[:12],
                expected=told["fingerprint"][:12],
                where=self.path,
                fix="prepare the corpus again, or use the version of the tokenizer that made the store",
            )
        return tokenizer

    def __len__(self) -> int:
        return self._tokens

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> NDArray[Any]: ...
    def __getitem__(self, index: int | slice) -> int | NDArray[Any]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self.read(start, max(start, stop))[::step] if step > 0 else self.read(stop + 1, start + 1)[::step]
        if not -len(self) <= index < len(self):
            raise IndexError(f"token {index} of a store of {len(self):,} tokens")
        index %= len(self)
        return int(self.read(index, index + 1)[0])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Token ids ``start`` to ``stop`` of the stream, [stop − start]; a view where one shard holds them all."""
        first = int(np.searchsorted(self.shard_starts, start, side="right")) - 1
        pieces = []
        for shard, shard_start in zip(self.shards[first:], self.shard_starts[first:], strict=False):
            if shard_start >= stop and pieces:
                break
            pieces.append(shard[max(0, start - shard_start) : max(0, stop - shard_start)])
        if not pieces:
            return np.empty(0, self.dtype)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    @functools.cached_property
    def offsets(self) -> NDArray[np.uint64]:
        """Where each document starts in the stream of tokens, and the end: uint64 [documents + 1]."""
        local = [self._offsets_of(i) for i in range(len(self._shards))]
        if len(local) == 1:
            return local[0]
        starts = self.shard_starts.astype(np.uint64)
        return np.concatenate([*(o[:-1] + start for o, start in zip(local, starts, strict=False)), starts[-1:]])

    def document(self, index: int) -> NDArray[Any]:
        """Token ids of document ``index``, with what was appended to it.

        Raises:
            IndexError: there is no such document.
        """
        if not -self.documents <= index < self.documents:
            raise IndexError(f"document {index} of a store of {self.documents:,}")
        index %= self.documents
        shard = int(np.searchsorted(self._document_starts, index, side="right")) - 1
        offsets = self._offsets_of(shard)
        local = index - int(self._document_starts[shard])
        return self.shards[shard][int(offsets[local]) : int(offsets[local + 1])]

    def _offsets_of(self, shard: int) -> NDArray[np.uint64]:
        path = self.path / f"{shard:05}.offsets"
        return _map(path, np.dtype("<u8"), self._shards[shard].documents + 1)

    def verify(self) -> None:
        """Read every byte and compare it with the manifest's checksums.

        Raises:
            StoreError: names the first file that is not what was written.
        """
        for i, shard in enumerate(self._shards):
            for kind, expected in (("tokens", shard.tokens_sha256), ("offsets", shard.offsets_sha256)):
                file = self.path / f"{i:05}.{kind}"
                if (got := sha256(file)) != expected:
                    raise StoreError(
                        "the store is damaged: a file is not what was written",
                        got=f"SHA-256 {got[:12]}…",
                        expected=f"{expected[:12]}…",
                        where=file,
                        fix="restore the file, or prepare the corpus again",
                    )

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStore.open, (self.path.absolute(),)

    def __repr__(self) -> str:
        return (
            f"TokenStore({str(self.path)!r}, tokens={len(self):,}, documents={self.documents:,}, "
            f"dtype={self.dtype}, tokenizer={self.manifest['tokenizer']['name']!r})"
        )


class TokenStoreWriter:
    """Writes a token store, document by document. Use ``TokenStoreWriter.create``."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, shard_tokens: int) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._dtype = token_dtype(tokenizer.vocab_size)
        self._shard_tokens = shard_tokens
        self._shards: list[Shard] = []
        self._file: BinaryIO | None = None

    @classmethod
    @contextmanager
    def create(
        cls,
        path: str | os.PathLike[str],
        tokenizer: Tokenizer,
        *,
        policies: dict[str, Any],
        shard_tokens: int = SHARD_TOKENS,
    ) -> Iterator[TokenStoreWriter]:
        """A writer for the new store ``path``, which appears when the block ends without an error."""
        with atomic_folder(path) as folder:
            writer = cls(folder, tokenizer, shard_tokens=shard_tokens)
            try:
                yield writer
                writer._close_shard()
            finally:
                if writer._file is not None:
                    writer._file.close()
            writer._write_manifest(policies)

    def append(self, ids: NDArray[np.uint32]) -> None:
        """Add one document: its token ids, [n]."""
        if self._file is None:
            self._file = open(self._folder / f"{len(self._shards):05}.tokens", "wb")
            self._hash = hashlib.sha256()
            self._offsets = [0]
        data = ids.astype(self._dtype, copy=False).tobytes()
        self._file.write(data)
        self._hash.update(data)
        self._offsets.append(self._offsets[-1] + len(ids))
        if self._offsets[-1] >= self._shard_tokens:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        offsets = np.array(self._offsets, "<u8").tobytes()
        (self._folder / f"{len(self._shards):05}.offsets").write_bytes(offsets)
        self._shards.append(
            Shard(
                tokens=self._offsets[-1],
                documents=len(self._offsets) - 1,
                tokens_sha256=self._hash.hexdigest(),
                offsets_sha256=hashlib.sha256(offsets).hexdigest(),
            )
        )

    def _write_manifest(self, policies: dict[str, Any]) -> None:
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "dtype": self._dtype.name,
            "tokens": sum(shard.tokens for shard in self._shards),
            "documents": sum(shard.documents for shard in self._shards),
            "tokenizer": {
                "name": self._tokenizer.name,
                "vocab_size": self._tokenizer.vocab_size,
                "fingerprint": self._tokenizer.fingerprint,
            },
            "policies": policies,
            "shards": [dataclasses.asdict(shard) for shard in self._shards],
        }
        with atomic_write(self._folder / "manifest.json") as file:
            file.write(json.dumps(manifest, indent=1).encode())


def _map(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The file as an array [count], mapped read-only.

    Raises:
        StoreError: it is missing, or of another size.
    """
    expected = count * dtype.itemsize
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size == expected and size else b""
    except OSError as cause:
        raise StoreError(
            f"a file of the store can't be read: {cause.strerror}", where=path, fix="restore the file"
        ) from cause
    if size != expected:
        raise StoreError(
            "a file of the store has the wrong size",
            got=f"{size:,} bytes",
            expected=f"{expected:,} bytes ({count:,} × {dtype})",
            where=path,
            fix="restore the file, or prepare the corpus again",
        )
    return np.frombuffer(mapped, dtype)


def _parse_manifest(text: bytes, folder: Path) -> dict[str, Any]:
    """The manifest, every field that opening relies on checked."""
    where = folder / "manifest.json"
    try:
        manifest = json.loads(text)
        kind, version = manifest["format"], manifest["version"]
    except (ValueError, KeyError, TypeError):
        raise StoreError("the store's manifest can't be read", where=where, fix="prepare the corpus again") from None
    if kind != FORMAT or version != VERSION:
        raise StoreError(
            "the store is of another format or version",
            got=f"{kind!r} version {version!r}",
            expected=f"{FORMAT!r} version {VERSION}",
            where=where,
            fix="open it with the version of Foreword that made it",
        )
    try:
        shards = [Shard(**shard) for shard in manifest["shards"]]
        consistent = (
            manifest["dtype"] in ("uint16", "uint32")
            and all(type(n) is int and n >= 0 for shard in shards for n in (shard.tokens, shard.documents))
            and manifest["tokens"] == sum(shard.tokens for shard in shards)
            and manifest["documents"] == sum(shard.documents for shard in shards)
            and type(manifest["tokenizer"]["vocab_size"]) is int
            and {"name", "fingerprint"} <= manifest["tokenizer"].keys()
        )
    except (KeyError, TypeError, AttributeError):
        consistent = False
    if not consistent:
        raise StoreError("the store's manifest contradicts itself", where=where, fix="prepare the corpus again")
    return manifest  # type: ignore[no-any-return]


def _inner_stores(folder: Path) -> str | None:
    """Advice where the folder holds stores (train, val) instead of being one."""
    inner = sorted(path.parent.name for path in folder.glob("*/manifest.json")) if folder.is_dir() else []
    return f"open one of the stores inside it: {', '.join(inner)}" if inner else None


def check_new(path: str | os.PathLike[str]) -> None:
    """Refuse an output that exists.

    Raises:
        ArgumentError: it does.
    """
    if Path(path).exists():
        raise ArgumentError("the output exists already", where=os.fspath(path), fix="remove it, or name another folder")
