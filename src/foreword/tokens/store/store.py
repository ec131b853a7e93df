"""The token store: token ids on disk, memory-mapped, that say what they are.

    STORE/
      manifest.json      format version, dtype, counts, tokenizer, policies, SHA-256 of all that follows
      00000.tokens       token ids, little-endian uint16 (uint32 where vocab_size > 65,536), one document after another
      00000.offsets      uint64 [documents + 1], where each document starts in 00000.tokens, and its end
      00000.loss         of supervised records: uint8 [tokens], 1 where a token is trained on as a target, else 0
      00000.sums         SHA-256 (32 bytes) of each MiB of 00000.tokens, then of 00000.offsets, then of 00000.loss
      00001.tokens …     a document never spans two shards
      sources.0.jsonl    what was read, a line a source: name, bytes, SHA-256, documents, skipped and empty ones

The manifest is written last, so a folder with a manifest is complete. It ends in a checksum of itself.

Not for: making token ids (``prepare``), cutting windows, or checking every byte (``checks``). Costs: opening reads the
manifest and maps the files, whatever their size.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword._base.checks import integer
from foreword._base.files import explained, read_regular, remote_url
from foreword._base.notebook import notebook_html
from foreword._base.remote import RemoteFolder
from foreword.errors import ArgumentError, OutOfRangeError, StoreError
from foreword.tokens.store import checks, formats
from foreword.tokens.store.block_cache import BlockCache
from foreword.tokens.store.far import FarFiles
from foreword.tokens.store.finding import find
from foreword.tokens.store.manifest import BLOCK
from foreword.tokens.store.mapping import map_file
from foreword.tokens.store.opening import Parts, check_tokenizer, of_files, of_folder, of_manifest
from foreword.tokens.store.sources import SourceFiles, read_sources
from foreword.tokens.tokenizers.opening import get_tokenizer, tokenizer_of
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["TokenStore", "token_dtype"]

_LOOKED_AT = 1 << 20  # ids: what is read of a foreign file up to here is compared with the vocabulary at once


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest dtype that holds every id below ``vocab_size``: uint16 or uint32, little-endian.

    >>> token_dtype(50257), token_dtype(65537)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class TokenStore:
    """Token ids on disk, one document after another. Made by ``prepare``; opened by ``TokenStore.open``.

    Attributes:
        path: its folder, or its first file where it is of a foreign format; as it was given. Of a store far away its
            URL, a str.
        absolute_path: the same, wherever the process goes meanwhile.
        far: the files of a store far away; None where it is on this machine.
        dtype: of its ids: uint16, uint32, or what the foreign format has.
        vocab_size: V of its tokenizer; every id is below it. Of a foreign format that names no tokenizer, the most
            that its dtype holds.
        documents: how many documents it holds.
        shards: token ids of each shard, mapped.
        shard_paths: the file that each is in.
        shard_starts: where each shard starts in the stream of tokens, and the end, int64 [shards + 1].
        fingerprint: a hash of the manifest, and so of every byte of the store.
        manifest: what the store says of itself, as data.

    ``len(store)`` is the number of tokens; ``store[a:b]`` gives token ids [b − a], a view of the mapped file
    where the slice lies in one shard; ``store.document(i)`` gives a document's.
    """

    def __init__(self, parts: Parts) -> None:
        path, manifest = parts.path, parts.manifest
        self.path, self.dtype, self.manifest, self.fingerprint = path, parts.dtype, manifest, parts.fingerprint
        self.absolute_path = path.absolute() if isinstance(path, Path) else path
        self.far = parts.far
        self.shards = parts.shards
        self._losses = parts.losses
        self._files = parts.files  # of a foreign format, all of them
        own = (Path(self.absolute_path) / f"{i:05}.tokens" for i in range(len(self.shards)))
        self.shard_paths = list(own) if parts.shard_paths is None else parts.shard_paths
        self.shard_starts = np.cumsum([0, *map(len, self.shards)])
        self.documents = sum(parts.shard_documents)
        tokenizer = parts.tokenizer
        self.vocab_size: int = tokenizer.vocab_size if tokenizer else manifest["tokenizer"]["vocab_size"]
        self._document_starts = np.cumsum([0, *parts.shard_documents])
        self._load_offsets = parts.offsets
        self._given_tokenizer = tokenizer
        self._given_dtype: str | None = None
        self._id_limit: int | None = None  # of a file of ids that may hold others

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        tokenizer: str | Tokenizer | None = None,
        dtype: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
    ) -> TokenStore:
        """Open the store in the folder ``path``; a fraction of a millisecond at any size.

        Files of Megatron (.idx, or .bin beside one), llm.c (.bin), nanoGPT (.bin), datatrove (.ds), NumPy and OLMo
        (.npy) are opened as they are, mapped and not copied. Of a store behind a URL only its manifest is read; then
        blocks of 1 MiB where they are needed, each compared with its checksum, and kept in a cache that the processes
        of a machine share.

        Args:
            path: a folder that ``prepare`` made, or the URL of one (s3://, gs://, az://, hf://, http(s)://, whatever
                fsspec knows); a file of one of those formats; a pattern that several of one format match, its shards
                in the order of their names; or Megatron's prefix of two files.
            tokenizer: what made the ids, where the store does not say, or where its tokenizer's file has moved.
            dtype: of a headerless file of ids: "uint16" (the default, but for .npy) or "uint32".
            storage_options: of a URL: what its fsspec file system takes. Credentials come from the environment without.
            cache: of a URL: the folder of the cache; one in Foreword's own where it is None.
            cache_bytes: of a URL: the bytes that the cache may take; None for what it has, or 10 GiB for a new one. The
                block that came first makes room.

        Raises:
            MissingFileError: there is no such folder.
            StoreError: the folder is no store, a file's size is not what the manifest says, ``tokenizer`` is not the
                one that made the ids, or a quick look at a file of ids shows some that can't be ids of it.
            ArgumentError: a ``dtype`` that the store contradicts; a URL that can't be used.
            DownloadError: the URL can't be reached.
            MissingPackageError: the package that its protocol needs is not installed.
        """
        given = None if tokenizer is None else get_tokenizer(tokenizer)
        url = remote_url(path)
        if url is not None:
            far = FarFiles(RemoteFolder(url, storage_options), BlockCache(cache, cache_bytes))
            return cls(of_manifest(far, given, dtype))
        if not (storage_options is None and cache is None and cache_bytes is None):
            raise ArgumentError(
                "storage_options, cache and cache_bytes are for a store behind a URL",
                got=os.fspath(path),
                fix="leave them out",
            )
        folder = Path(path)
        with explained("open the store", folder):
            files = [folder] if folder.is_file() else formats.token_files(folder)
        if files is not None:
            return cls._of_foreign(folder if len(files) > 1 else None, files, given, dtype)
        return cls(of_folder(folder, given, dtype, cls._array))

    @classmethod
    def _of_foreign(
        cls, path: Path | None, files: Sequence[Path], tokenizer: Tokenizer | None, dtype: str | None
    ) -> TokenStore:
        """Token files of another library; ``path`` is what the store is called, where it is not its only file."""
        parts, held = of_files(path, files, tokenizer, dtype)
        store = cls(parts)
        store._given_dtype = dtype
        store._id_limit = store.vocab_size
        for file, place in zip(held, store.shard_starts.tolist(), strict=False):
            file.refuse_other_dtype(stated=dtype is not None, known=tokenizer is not None)
            for start, ids in file.sample():
                store.check_ids(ids, place + start)
        return store

    @classmethod
    def _array(cls, path: Path, dtype: np.dtype[Any], count: int) -> Any:
        """A file of the store as an array: mapped, where a subclass does not choose ``FileArray``."""
        return map_file(path, dtype, count)

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the ids.

        Raises:
            StoreError: the installed tokenizer of that name gives other ids, or the store names none.
        """
        if self._given_tokenizer is not None:
            return self._given_tokenizer
        name = self.manifest["tokenizer"]["name"]
        if name is None:
            raise StoreError(
                "the store does not say which tokenizer made it",
                where=self.path,
                fix='say it: TokenStore.open(path, tokenizer="gpt2")',
            )
        tokenizer = tokenizer_of(self.manifest["tokenizer"])
        check_tokenizer(tokenizer, self.manifest, self.path)
        return tokenizer

    @property
    def folder(self) -> Path | FarFiles:
        """Where its files are."""
        return Path(self.path) if self.far is None else self.far

    @functools.cached_property
    def end_of_text_id(self) -> int | None:
        """The id that ``prepare`` put after each document; None where it put none, or another library made the store.

        Raises:
            StoreError: the installed tokenizer of that name gives other ids.
        """
        ending = self.manifest.get("policies", {}).get("append_end_of_text")
        if not ending:
            return None
        return self.tokenizer.special_id(ending) if isinstance(ending, str) else self.tokenizer.end_of_text_id

    def __len__(self) -> int:
        return int(self.shard_starts[-1])

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> NDArray[Any]: ...
    def __getitem__(self, index: int | slice) -> int | NDArray[Any]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self.read(start, max(start, stop))[::step] if step > 0 else self.read(stop + 1, start + 1)[::step]
        place = _place("token", index, len(self), self.path)
        return int(self.read(place, place + 1)[0])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Token ids ``start`` to ``stop`` of the stream, [stop − start]; a view where one shard holds them all.

        Both count from 0; what is beyond the end is left out.
        """
        ids = self._read(self.shards, start, stop, self.dtype)
        if len(ids) <= _LOOKED_AT:
            self.check_ids(ids, start)
        return ids

    @property
    def supervised(self) -> bool:
        """Whether the store says of each token if it is trained on as a target."""
        return "loss" in self.manifest.get("fields", ())

    @property
    def losses(self) -> list[NDArray[np.uint8]]:
        """Of each shard, whether its tokens are trained on: uint8 [tokens], 0 or 1, mapped.

        Raises:
            StoreError: the store is not supervised, or its field can't be read where it is.
        """
        if self._losses is None:
            raise StoreError(
                "the store's loss can't be read from where it is" if self.supervised else "the store has no loss",
                where=self.path,
                fix="copy the store to this machine" if self.supervised else 'prepare it with records="messages"',
            )
        return self._losses

    def read_loss(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Whether the tokens ``start`` to ``stop`` are trained on as targets: uint8 [stop − start], 0 or 1.

        Raises:
            StoreError: the store is not supervised.
        """
        return self._read(self.losses, start, stop, np.dtype(np.uint8))

    def _read(self, shards: Sequence[NDArray[Any]], start: int, stop: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        start, stop = integer("start", start, at_least=0), integer("stop", stop, at_least=0)
        first = int(np.searchsorted(self.shard_starts, start, side="right")) - 1
        pieces: list[NDArray[Any]] = []
        for shard, shard_start in zip(shards[first:], self.shard_starts[first:], strict=False):
            if shard_start >= stop and pieces:
                break
            pieces.append(shard[max(0, start - shard_start) : max(0, stop - shard_start)])
        if not pieces:
            return np.empty(0, dtype)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    @property
    def trusted(self) -> bool:
        """Whether its ids are known to be those of its vocabulary: ``prepare`` made it."""
        return self._id_limit is None

    def check_ids(self, ids: NDArray[Any], start: int) -> None:
        """Refuse ids of a token file of another library that are none of the vocabulary; ids of a store are its own.

        Args:
            ids: as they were read, [n].
            start: the place of the first in the stream, for the error.

        Raises:
            StoreError: one is negative, or not below vocab_size.
        """
        limit = self._id_limit
        if limit is None or not ids.size or (int(ids.min()) >= 0 and int(ids.max()) < limit):
            return
        bad = int(np.flatnonzero((ids < 0) | (ids >= limit))[0])
        raise StoreError(
            "a token id that is none of the vocabulary",
            got=f"{int(ids[bad]):,} at token {start + bad:,}",
            expected=f"0 to {limit - 1:,}" + (f", of {self._given_tokenizer.name!r}" if self._given_tokenizer else ""),
            where=self.path,
            fix="name the tokenizer that made the ids (--tokenizer), and without a header their dtype (--dtype)",
        )

    @functools.cached_property
    def offsets(self) -> NDArray[np.uint64]:
        """Where each document starts in the stream of tokens, and the end: uint64 [documents + 1]."""
        local = [load() for load in self._load_offsets]
        if len(local) == 1:
            return local[0][:]  # read, where it is not mapped
        starts = self.shard_starts.astype(np.uint64)
        return np.concatenate([*(o[:-1] + start for o, start in zip(local, starts, strict=False)), starts[-1:]])

    def document(self, index: int) -> NDArray[Any]:
        """Token ids of document ``index``, with what was appended to it.

        Raises:
            OutOfRangeError: there is no such document.
            ArgumentTypeError: ``index`` is no integer.
        """
        index = _place("document", index, self.documents, self.path)
        shard = int(np.searchsorted(self._document_starts, index, side="right")) - 1
        offsets = self._load_offsets[shard]()
        local = index - int(self._document_starts[shard])
        start, stop = int(offsets[local]), int(offsets[local + 1])
        ids: NDArray[Any] = self.shards[shard][start:stop]
        if len(ids) <= _LOOKED_AT:
            self.check_ids(ids, int(self.shard_starts[shard]) + start)
        return ids

    def file_of(self, document: int) -> str | None:
        """The name of the corpus file that a document came from, below the corpus's folder.

        Args:
            document: its index.

        None where it came from no file, or where the store does not know: ids of another library's format, and stores
        from which duplicates were dropped, or that are a part of a split.

        Raises:
            OutOfRangeError: there is no such document.
            StoreError: the list of files is not what was written.
        """
        return self._source_files.name(_place("document", document, self.documents, self.path))

    @functools.cached_property
    def _source_files(self) -> SourceFiles:
        return SourceFiles(read_sources(self.far or Path(self.absolute_path), self.manifest), self.documents)

    def find(self, ids: ArrayLike, *, start: int = 0, stop: int | None = None) -> Iterator[int]:
        """The places of a token sequence in the stream, in order, overlapping ones too; also across documents.

        They are found as they are asked for: ``next(store.find(ids), None)`` reads up to the first. A text stands where
        it was cut into these very tokens: the ids of "cat" are not those of " cat".

        Args:
            ids: token ids [n], n ≥ 1.
            start: where to begin.
            stop: places from here on are not given; None for the end of the store.

        Raises:
            ArgumentError: ``ids`` is empty, or not a sequence of integers; ``start`` or ``stop`` is negative.
        """
        wanted = np.asarray(ids)
        if wanted.ndim != 1 or not len(wanted) or wanted.dtype.kind not in "ui":
            raise ArgumentError(
                "a token sequence to find is integers [n]",
                got="none" if not wanted.size else f"{wanted.dtype}, shape {list(wanted.shape)}",
                expected="token ids, at least one: store.tokenizer.encode(text)",
            )
        start = integer("start", start, at_least=0)
        end = len(self) - len(wanted) + 1
        if stop is not None:
            end = min(end, integer("stop", stop, at_least=0))
        return find(self.read, wanted.tolist(), start, end)

    def verify(self) -> None:
        """Read every byte and compare it with the checksums; of a foreign format, which has none, the
        boundaries and the range of the ids.

        Raises:
            StoreError: names the first file that is not what was written, and the place in it.
        """
        if "shards" not in self.manifest:
            for load in self._load_offsets:
                load()
            for start in range(0, len(self), _LOOKED_AT):
                self.check_ids(self.read(start, min(len(self), start + _LOOKED_AT)), start)
        else:  # it may have changed since it was opened: its manifest and the sizes of its files are checked again
            fresh = TokenStore.open(self.absolute_path) if self.far is None else self._far_again()
            checks.verify(fresh.folder, fresh.manifest)

    def _far_again(self) -> TokenStore:
        assert self.far is not None
        return _reopen_far(self.far, self._given_tokenizer)

    def is_intact(self, shard: int, *, loss: bool = False) -> bool:
        """Whether the tokens of a shard, or its ``loss``, are what was written, by its checksums; False without any.

        Costs: reads the whole shard, about 1.5 GB/s.
        """
        if "shards" not in self.manifest or self.far is not None:
            return False
        try:
            sums = read_regular(Path(self.absolute_path) / f"{shard:05}.sums", "read the store")
        except OSError:
            return False
        arrays = self.losses if loss else self.shards
        data = np.asarray(arrays[shard][:]).view(np.uint8)
        blocks = [
            hashlib.sha256(data[start : start + BLOCK].tobytes()).digest() for start in range(0, len(data), BLOCK)
        ]
        expected = self.manifest["shards"][shard]["sums_sha256"]
        same = sums.endswith if loss else sums.startswith  # its checksums come last
        return hashlib.sha256(sums).hexdigest() == expected and same(b"".join(blocks))

    def __reduce__(self) -> tuple[Any, ...]:
        if self.far is not None:
            return _reopen_far, (self.far, self._given_tokenizer)
        if self._files is not None and len(self._files) > 1:
            return _reopen_files, (self.absolute_path, self._files, self._given_tokenizer, self._given_dtype)
        return _reopen, (self.absolute_path, self._given_tokenizer, self._given_dtype)

    def _repr_html_(self) -> str:
        return notebook_html("store", self)

    def __repr__(self) -> str:
        return (
            f"TokenStore({str(self.path)!r}, tokens={len(self):,}, documents={self.documents:,}, "
            f"dtype={self.dtype}, tokenizer={self.manifest['tokenizer']['name']!r})"
        )


def _reopen_files(path: Path, files: Sequence[Path], tokenizer: Tokenizer | None, dtype: str | None) -> TokenStore:
    return TokenStore._of_foreign(path, files, tokenizer, dtype)


def _reopen(path: Path | str, tokenizer: Tokenizer | None, dtype: str | None) -> TokenStore:
    return TokenStore.open(path, tokenizer=tokenizer, dtype=dtype)


def _reopen_far(files: FarFiles, tokenizer: Tokenizer | None) -> TokenStore:
    files = FarFiles(files.folder, files.cache)
    return TokenStore(of_manifest(files, tokenizer, None))


def _place(what: str, index: int, count: int, path: Path | str) -> int:
    """``index`` of ``count`` things, from 0; a negative one counts from the end."""
    index = integer(what, index)
    if not -count <= index < count:
        raise OutOfRangeError(
            f"there is no such {what}", got=f"{index:,}", expected=f"{-count:,} to {count - 1:,}", where=path
        )
    return index % count
