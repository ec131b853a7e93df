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
from foreword.errors import StoreError
from foreword.tokens.store.manifest import BLOCK

__all__ = ["read_checked", "verify"]

DIGEST = 32


def verify(path: Path, manifest: Mapping[str, Any]) -> None:
    """Compare every byte of the store in the folder ``path`` with the checksums that its manifest names.

    Raises:
        StoreError: names the first file that is not what was written, and the bytes of it.
    """
    item = np.dtype(manifest["dtype"]).itemsize
    with progress("verifying", item * manifest["tokens"]) as bar:
        for i, shard in enumerate(manifest["shards"]):
            sums = _checked(path / f"{i:05}.sums", shard["sums_sha256"])
            expected = iter([sums[k : k + DIGEST] for k in range(0, len(sums), DIGEST)])
            for kind in ("tokens", "offsets", *manifest.get("fields", ())):
                file = path / f"{i:05}.{kind}"
                for start, block in _blocks(file):
                    if hashlib.sha256(block).digest() != next(expected, None):
                        raise _damaged(file, f"bytes {start:,} to {start + len(block) - 1:,}")
                    bar.advance(len(block))
            if next(expected, None) is not None:
                raise _damaged(path / f"{i:05}.tokens", "the end: it is too short")
    for entry in [*manifest.get("sources", []), *([manifest["digests"]] if manifest.get("digests") else [])]:
        read_checked(path, entry)


def _blocks(file: Path) -> Iterator[tuple[int, bytes]]:
    with explained("read the store", file), open(file, "rb", opener=open_without_waiting) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise _damaged(file, "which is no regular file")
        start = 0
        while block := opened.read(BLOCK):
            yield start, block
            start += len(block)


def read_checked(path: Path, entry: Mapping[str, Any]) -> bytes:
    """A small file that the manifest of the store in the folder ``path`` names.

    Raises:
        StoreError: it is not what was written; FileError: it can't be read.
    """
    return _checked(path / entry["file"], entry["sha256"])


def _checked(file: Path, expected: str) -> bytes:
    """The whole small file, its SHA-256 compared."""
    data = read_regular(file, "read the store")
    if hashlib.sha256(data).hexdigest() != expected:
        raise _damaged(file, f"somewhere in its {len(data):,} bytes")
    return data


def _damaged(file: Path, place: str) -> StoreError:
    return StoreError(
        "the store is damaged: a file is not what was written",
        where=f"{file}, {place}",
        fix="restore the file, or prepare the corpus again",
    )
