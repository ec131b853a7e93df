"""Checks: every byte of a store against the checksums that were written with it.

Not for: opening (which checks the manifest and the sizes). Costs: reads the whole store, about 1.5 GB/s.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreword._base.files import explained, read_regular
from foreword._base.progress import progress
from foreword._base.system import open_without_waiting
from foreword._base.words import counted
from foreword.errors import StoreError
from foreword.tokens.store.far import FarFiles
from foreword.tokens.store.manifest import BLOCK

__all__ = ["read_checked", "verify"]

DIGEST = 32


def verify(folder: Path | FarFiles, manifest: Mapping[str, Any]) -> None:
    """Compare every byte of the store in ``folder`` with the checksums that its manifest names.

    Raises:
        StoreError: names the first file that is not what was written, and the bytes of it.
    """
    item = np.dtype(manifest["dtype"]).itemsize
    with progress("verifying", item * manifest["tokens"]) as bar:
        for i, shard in enumerate(manifest["shards"]):
            sums = _checked(folder, f"{i:05}.sums", shard["sums_sha256"])
            expected = iter([sums[k : k + DIGEST] for k in range(0, len(sums), DIGEST)])
            sizes = {"tokens": item * shard["tokens"], "offsets": 8 * (shard["documents"] + 1)}
            sizes |= dict.fromkeys(manifest.get("fields", ()), shard["tokens"])  # a byte a token
            for kind, size in sizes.items():
                name = f"{i:05}.{kind}"
                blocks = folder.stream(name, size) if isinstance(folder, FarFiles) else _blocks(folder / name)
                for start, block in blocks:
                    if hashlib.sha256(block).digest() != next(expected, None):
                        raise _damaged(_place(folder, name), f"bytes {start:,} to {start + len(block) - 1:,}")
                    bar.advance(len(block))
            if next(expected, None) is not None:
                raise _damaged(_place(folder, f"{i:05}.tokens"), "the end: it is too short")
    for entry in [*manifest.get("sources", []), *([manifest["digests"]] if manifest.get("digests") else [])]:
        read_checked(folder, entry)


def _place(folder: Path | FarFiles, name: str) -> Path | str:
    return folder.folder.place(name) if isinstance(folder, FarFiles) else folder / name


def _blocks(file: Path) -> Iterator[tuple[int, bytes]]:
    with explained("read the store", file), open(file, "rb", opener=open_without_waiting) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise _damaged(file, "which is no regular file")
        start = 0
        while block := opened.read(BLOCK):
            yield start, block
            start += len(block)


def read_checked(folder: Path | FarFiles, entry: Mapping[str, Any]) -> bytes:
    """A small file that the manifest of the store in ``folder`` names.

    Raises:
        StoreError: it is not what was written; FileError: it can't be read.
    """
    return _checked(folder, entry["file"], entry["sha256"])


def _checked(folder: Path | FarFiles, name: str, expected: str) -> bytes:
    """The whole small file, its SHA-256 compared."""
    if isinstance(folder, FarFiles):
        return folder.small(name, expected)
    data = read_regular(folder / name, "read the store")
    if hashlib.sha256(data).hexdigest() != expected:
        raise _damaged(folder / name, f"somewhere in its {counted(len(data), 'byte')}")
    return data


def _damaged(file: Path | str, place: str) -> StoreError:
    return StoreError(
        "the store is damaged: a file is not what was written",
        where=f"{file}, {place}",
        fix="restore the file, or prepare the corpus again",
    )
