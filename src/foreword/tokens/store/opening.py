"""Opening a token store: from its manifest, or from files of another library, to the parts of a ``TokenStore``.

Not for: reading ids (``store``). Costs: the manifest is read, and files are mapped, whatever their size.
"""

from __future__ import annotations

import errno
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import read_regular
from foreword.errors import ArgumentError, FileError, MissingFileError, StoreError
from foreword.tokens.store import formats
from foreword.tokens.store.far import FarFiles
from foreword.tokens.store.manifest import parse_manifest
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["Parts", "check_tokenizer", "of_files", "of_folder", "of_manifest"]

MakeArray = Callable[[Path, "np.dtype[Any]", int], Any]
"""A file of the store as an array of so many items."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a ``TokenStore`` is made of; see its attributes.

    Attributes:
        path: its folder, first file, or URL.
        shards: token ids of each shard.
        offsets: what gives where the documents of each shard start.
        shard_documents: how many there are.
        dtype: of the ids.
        manifest: as data.
        fingerprint: a hash of the manifest, or of the files.
        tokenizer: that was given.
        far: the files, where they are far away.
        files: of another library, all of them.
        shard_paths: the file of each shard; None: the folder's own.
        losses: the loss of each shard, of a supervised store.
    """

    path: Path | str
    shards: list[Any]
    offsets: Sequence[Callable[[], NDArray[np.uint64]]]
    shard_documents: Sequence[int]
    dtype: np.dtype[Any]
    manifest: dict[str, Any]
    fingerprint: str
    tokenizer: Tokenizer | None = None
    far: FarFiles | None = None
    files: Sequence[Path] | None = None
    shard_paths: list[Path] | None = None
    losses: list[Any] | None = None


def of_folder(folder: Path, tokenizer: Tokenizer | None, dtype: str | None, array: MakeArray) -> Parts:
    """The parts of the store in ``folder``.

    Raises:
        MissingFileError, StoreError: there is none; says why.
    """
    try:
        text = read_regular(folder / "manifest.json", "open the token store")
    except FileError as cause:
        if cause.errno in (errno.ENOENT, errno.ENOTDIR):
            raise _no_store(folder) from None
        raise
    manifest, kind = _described(text, folder, tokenizer, dtype)
    shards, absolute = manifest["shards"], folder.absolute()

    def arrays(ending: str, kind: np.dtype[Any]) -> list[Any]:
        return [array(folder / f"{i:05}.{ending}", kind, shard["tokens"]) for i, shard in enumerate(shards)]

    return Parts(
        folder,
        shards=arrays("tokens", kind),
        offsets=[
            functools.partial(array, absolute / f"{i:05}.offsets", np.dtype("<u8"), shard["documents"] + 1)
            for i, shard in enumerate(shards)
        ],
        shard_documents=[shard["documents"] for shard in shards],
        dtype=kind,
        manifest=manifest,
        fingerprint=hashlib.sha256(text).hexdigest(),
        tokenizer=tokenizer,
        losses=arrays("loss", np.dtype("u1")) if "loss" in manifest.get("fields", ()) else None,
    )


def of_manifest(far: FarFiles, tokenizer: Tokenizer | None, dtype: str | None) -> Parts:
    """The parts of a store far away, of which the manifest alone is read.

    Raises:
        MissingFileError, StoreError, DownloadError: there is none, or it can't be read.
    """
    text, where = far.manifest(), far.folder.shown
    manifest, kind = _described(text, where, tokenizer, dtype)
    tokens, ends, losses = far.arrays(manifest, kind)
    return Parts(
        where,
        shards=list(tokens),
        offsets=[functools.partial(_itself, array) for array in ends],
        shard_documents=[shard["documents"] for shard in manifest["shards"]],
        dtype=kind,
        manifest=manifest,
        fingerprint=hashlib.sha256(text).hexdigest(),
        tokenizer=tokenizer,
        far=far,
        shard_paths=[],
        losses=None if losses is None else list(losses),
    )


def of_files(
    path: Path | None, files: Sequence[Path], tokenizer: Tokenizer | None, dtype: str | None
) -> tuple[Parts, list[formats.ForeignTokens]]:
    """The parts of a store of token files of another library, a shard each, and the files that are not empty.

    ``path`` is what the store is called, where it is not its only file.
    """
    opened = [formats.open_foreign(file, dtype=dtype) for file in files]
    formats.refuse_mixture(opened)
    kind, held = opened[0].tokens.dtype, [file for file in opened if len(file.tokens)]
    fingerprints = [file.fingerprint() for file in opened]
    manifest = {
        "format": opened[0].format,
        "dtype": kind.name,
        "tokens": sum(len(file.tokens) for file in opened),
        "documents": sum(len(file.offsets) - 1 for file in (held or opened)),
        "tokenizer": {
            "name": tokenizer.name if tokenizer else None,
            "vocab_size": int(np.iinfo(kind).max) + 1,
            "fingerprint": None,
        },
    }
    parts = Parts(
        path or opened[0].path,
        shards=[file.tokens for file in held],
        offsets=[functools.partial(_offsets_of, file) for file in held],
        shard_documents=[len(file.offsets) - 1 for file in held],
        dtype=kind,
        manifest=manifest,
        fingerprint=fingerprints[0] if path is None else hashlib.sha256("".join(fingerprints).encode()).hexdigest(),
        tokenizer=tokenizer,
        files=[file.absolute() for file in files],
        shard_paths=[file.path.absolute() for file in held],
    )
    return parts, held


def _described(
    text: bytes, where: Path | str, tokenizer: Tokenizer | None, dtype: str | None
) -> tuple[dict[str, Any], np.dtype[Any]]:
    """The manifest as data, and the dtype of its ids; refuses another ``dtype`` or ``tokenizer``."""
    manifest = parse_manifest(text, where)
    if dtype not in (None, manifest["dtype"]):
        raise ArgumentError(
            "the store has another dtype", got=repr(dtype), expected=manifest["dtype"], where=where, fix="leave it out"
        )
    if tokenizer is not None:
        check_tokenizer(tokenizer, manifest, where)
    return manifest, np.dtype({"uint16": "<u2", "uint32": "<u4"}[manifest["dtype"]])


def _offsets_of(file: formats.ForeignTokens) -> NDArray[np.uint64]:
    return file.offsets


def _itself(array: Any) -> Any:
    return array


def check_tokenizer(tokenizer: Tokenizer, manifest: dict[str, Any], where: Path | str) -> None:
    """Refuse a tokenizer that is not the one that made the store."""
    named = manifest["tokenizer"]
    if tokenizer.fingerprint != named["fingerprint"]:
        raise StoreError(
            "the tokenizer is not the one that made the store",
            got=f"{tokenizer.name!r}, fingerprint {tokenizer.fingerprint[:12]}",
            expected=f"{named['name']!r}, fingerprint {named['fingerprint'][:12]}",
            where=where,
            fix="open the store with the tokenizer that made it, or prepare the corpus again",
        )


def _no_store(folder: Path) -> StoreError | MissingFileError:
    """Why there is no store in ``folder``, and what to do."""
    if not folder.exists():
        return MissingFileError(
            "there is no token store here", where=folder, fix="make one: foreword prepare CORPUS STORE"
        )
    inner = sorted(path.parent.name for path in folder.glob("*/manifest.json")) if folder.is_dir() else []
    if (folder / ".journal").exists():
        return StoreError(
            "the store is not complete: prepare was interrupted, or is at work",
            where=folder,
            fix="run the same prepare again: it resumes",
        )
    return StoreError(
        "not a token store",
        got="no manifest.json",
        expected="a folder that foreword prepare made",
        where=folder,
        fix=f"open one of the stores inside it: {', '.join(inner)}"
        if inner
        else "make a store: foreword prepare CORPUS STORE",
    )
