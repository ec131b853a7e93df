"""Writing token stores: shards that grow block by block, and can be taken up again where a run was killed.

    StoreWriter ── append(ids, ends, loss) ──▶ 00000.tokens, .offsets, .loss ── the shard is full ──▶ 00000.sums
    write_manifest ──▶ manifest.json: only now is the folder a store

Not for: what goes into a store (``prepare``), or reading it (``store``). Costs: SHA-256 at about 1.5 GB/s.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write
from foreword._base.words import counted
from foreword.errors import StoreError
from foreword.tokens.store.manifest import BLOCK, FIELDS, FORMAT, VERSION, VERSION_WITH_FIELDS, as_json, seal

__all__ = ["Sent", "StoreWriter", "not_as_written", "write_manifest"]

_KINDS = ("tokens", "offsets", "loss")  # of files of a shard, in the order of their checksums


class BlockFile:
    """A file that only grows, with the SHA-256 of each BLOCK of it; what is beyond ``size`` at first is cut off.

    Raises:
        StoreError: it is shorter than ``size``, or ``digest`` is given and not that of its first ``size`` bytes.
    """

    def __init__(self, path: Path, size: int, digest: str | None = None) -> None:
        if size:
            _check_size(path, size, exactly=False)
        self._file = open(path, "r+b" if size else "w+b", buffering=0)  # noqa: SIM115 - closed by close
        self.sums: list[bytes] = []
        self._hash, self._filled = hashlib.sha256(), 0
        self._file.truncate(size)
        while data := self._file.read(BLOCK):
            self._digest(memoryview(data))
        if digest is not None and digest != self.digest():
            self._file.close()
            raise not_as_written(path, got="other bytes than were written")

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = self._file.write(view) or 0
            self._digest(view[:written])
            view = view[written:]

    def _digest(self, view: memoryview) -> None:
        while view:
            part = view[: BLOCK - self._filled]
            self._hash.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == BLOCK:
                self.sums.append(self._hash.digest())
                self._hash, self._filled = hashlib.sha256(), 0

    def digest(self) -> str:
        """A SHA-256 of all that the file holds."""
        return hashlib.sha256(b"".join([*self.sums, self._hash.digest()])).hexdigest()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> list[bytes]:
        """Sync and close; gives the checksums of all blocks, the last one short."""
        if not self._file.closed:
            self.sync()
            self._file.close()
        return [*self.sums, self._hash.digest()] if self._filled else self.sums

    def abandon(self) -> None:
        self._file.close()


class Sent(Protocol):
    """Shards that are sent elsewhere when they are closed."""

    def has(self, stem: Path, shard: Mapping[str, Any], sizes: Mapping[str, int]) -> bool:
        """Whether a closed shard is there, and not in the folder any more; ``sizes``: bytes a token of each file."""
        ...

    def closed(self, stem: Path) -> None:
        """A shard was closed."""
        ...


class StoreWriter:
    """Writes the shards of one store into ``folder``.

    Args:
        folder: made if missing.
        dtype: of the token ids.
        shard_tokens: a shard is closed at the end of the document that brings it to so many.
        supervised: a byte a token says whether it is trained on.
        state: what ``state()`` gave when the files were as they shall be; None for a new store.
        sent: where closed shards are sent, if they are.

    Raises:
        StoreError: the files are not what ``state`` says.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype[Any],
        *,
        shard_tokens: int,
        supervised: bool = False,
        state: Mapping[str, Any] | None = None,
        sent: Sent | None = None,
    ) -> None:
        self._folder, self._dtype, self._shard_tokens, self._sent = folder, dtype, shard_tokens, sent
        self._sizes = {"tokens": dtype.itemsize, **({"loss": 1} if supervised else {})}  # bytes a token, of each file
        folder.mkdir(parents=True, exist_ok=True)
        self.shards: list[dict[str, Any]] = list(state["shards"]) if state else []
        self._tokens: int = state["open"][0] if state else 0  # of the shard that is open
        self._documents: int = state["open"][1] if state else 0
        self._files: dict[str, BlockFile] = {}  # of the shard that is open
        for i, shard in enumerate(self.shards):
            stem = folder / f"{i:05}"
            if sent is not None and sent.has(stem, shard, self._sizes):
                continue
            self._check_shard(stem, shard)
            if sent is not None:
                sent.closed(stem)
        if self._tokens or self._documents:
            self._open_shard(state.get("digests", ()) if state else ())

    def _check_shard(self, stem: Path, shard: Mapping[str, Any]) -> None:
        """Refuse a shard that was closed and is not there as it was."""
        for kind, size in self._sizes.items():
            _check_size(stem.with_suffix(f".{kind}"), shard["tokens"] * size)
        _check_size(stem.with_suffix(".offsets"), 8 * (shard["documents"] + 1))
        sums = stem.with_suffix(".sums")
        _check_size(sums, None)
        if hashlib.sha256(sums.read_bytes()).hexdigest() != shard["sums_sha256"]:
            raise not_as_written(sums, got="other bytes than were written")

    def append(self, ids: NDArray[Any], ends: NDArray[np.int64], loss: NDArray[np.uint8] | None = None) -> None:
        """Add token ids [n].

        ``ends`` [documents] says after how many of them each document ends; ``loss`` [n], of a supervised store, which
        of them are trained on.
        """
        done = 0  # of ids
        while True:
            if not self._files and (len(ids) > done or len(ends)):
                self._open_shard()
            # the first document to bring the shard to its size closes it
            local = ends - done + self._tokens
            closing = int(np.searchsorted(local, self._shard_tokens))
            if closing == len(ends):
                self._write(ids[done:], local, None if loss is None else loss[done:])
                return
            stop = int(ends[closing])
            self._write(ids[done:stop], local[: closing + 1], None if loss is None else loss[done:stop])
            done, ends = stop, ends[closing + 1 :]
            self._close_shard()

    def _write(self, ids: NDArray[Any], local_ends: NDArray[np.int64], loss: NDArray[np.uint8] | None) -> None:
        if not self._files:
            return
        self._files["tokens"].write(
            np.ascontiguousarray(ids.astype(self._dtype, copy=False)).data.cast("B") if len(ids) else b""
        )
        self._files["offsets"].write(local_ends.astype("<u8").tobytes())
        if loss is not None:
            self._files["loss"].write(loss.tobytes())
        self._tokens += len(ids)
        self._documents += len(local_ends)

    def _open_shard(self, digests: Sequence[str] = ()) -> None:
        stem = self._folder / f"{len(self.shards):05}"
        resumed = self._tokens or self._documents
        sizes = {kind: self._tokens * size for kind, size in self._sizes.items()}
        sizes["offsets"] = 8 * (self._documents + 1) if resumed else 0
        known = dict(zip(_KINDS, digests, strict=False))
        try:
            for kind in _KINDS:
                if kind in sizes:
                    self._files[kind] = BlockFile(stem.with_suffix(f".{kind}"), sizes[kind], known.get(kind))
        except BaseException:
            self.abandon()
            raise
        if not resumed:
            self._files["offsets"].write(bytes(8))  # the first document starts at 0

    def _close_shard(self) -> None:
        if not self._files:
            return
        sums = b"".join(part for file in self._files.values() for part in file.close())
        with atomic_write(self._folder / f"{len(self.shards):05}.sums") as file:
            file.write(sums)
        self.shards.append(
            {"tokens": self._tokens, "documents": self._documents, "sums_sha256": hashlib.sha256(sums).hexdigest()}
        )
        self._files, self._tokens, self._documents = {}, 0, 0
        if self._sent is not None:
            self._sent.closed(self._folder / f"{len(self.shards) - 1:05}")

    def sync(self) -> None:
        """Make durable what ``state`` tells."""
        for file in self._files.values():
            file.sync()

    def state(self) -> dict[str, Any]:
        """What is written so far, as data; call ``sync`` before it is kept."""
        written: dict[str, Any] = {"shards": self.shards, "open": [self._tokens, self._documents]}
        if self._files:
            written["digests"] = [file.digest() for file in self._files.values()]
        return written

    def finish(self) -> list[dict[str, Any]]:
        """Close the last shard; gives the account of all."""
        self._close_shard()
        return self.shards

    def abandon(self) -> None:
        """Close the files as they are."""
        for file in self._files.values():
            file.abandon()


def write_manifest(
    folder: Path, *, dtype: np.dtype[Any], shards: list[dict[str, Any]], supervised: bool = False, **rest: Any
) -> None:
    """Make ``folder`` a store: its manifest, whole or not at all."""
    manifest = {
        "format": FORMAT,
        "version": VERSION_WITH_FIELDS if supervised else VERSION,
        "dtype": dtype.name,
        **({"fields": FIELDS} if supervised else {}),
        "tokens": sum(shard["tokens"] for shard in shards),
        "documents": sum(shard["documents"] for shard in shards),
        **rest,
        "shards": shards,
    }
    with atomic_write(folder / "manifest.json") as file:
        file.write(seal(as_json(manifest, indent=1)))


def _check_size(path: Path, size: int | None, *, exactly: bool = True) -> None:
    """Refuse a file that is missing, or shorter (``exactly``: or longer) than was written."""
    try:
        found, mode = path.stat().st_size, path.stat().st_mode
    except FileNotFoundError:
        raise not_as_written(path, got="no such file") from None
    if not stat.S_ISREG(mode):
        raise not_as_written(path, got="no regular file")
    if size is not None and (found < size or (exactly and found != size)):
        raise not_as_written(path, got=counted(found, "byte"), expected=f"{size:,}, as its journal says")


def not_as_written(path: Path | str, **facts: object) -> StoreError:
    """What is said of a file, or an object, of an interrupted run that is not as it was."""
    return StoreError(
        "a file of an interrupted prepare is not as it was left",
        where=path,
        fix="restore it, or start over: restart=True (--restart)",
        **facts,
    )
