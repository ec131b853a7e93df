"""Checks: every byte of a store against the checksums that were written with it.

Not for: opening (which checks the manifest and the sizes). Costs: reads the whole store, about 1.5 GB/s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from foreword._base.files import explained
from foreword._base.progress import progress
from foreword.errors import StoreError
from foreword.tokens.store.store import BLOCK, TokenStore

__all__ = ["verify"]

DIGEST = 32


def verify(store: TokenStore) -> None:
    """Compare every byte of ``store`` with its checksums; of a foreign format, which has none, only the boundaries.

    Raises:
        StoreError: names the first file that is not what was written, and the bytes of it.
    """
    if "shards" not in store.manifest:
        for load in store._load_offsets:
            load()
        return
    # The store may have changed since it was opened: its manifest and the sizes of its files are checked again.
    manifest = TokenStore.open(store.path).manifest
    with progress("verifying", sum(shard.nbytes for shard in store.shards)) as bar:
        for i, shard in enumerate(manifest["shards"]):
            sums = _checked(store.path / f"{i:05}.sums", shard["sums_sha256"])
            expected = iter([sums[k : k + DIGEST] for k in range(0, len(sums), DIGEST)])
            for kind in ("tokens", "offsets"):
                file = store.path / f"{i:05}.{kind}"
                for start, block in _blocks(file):
                    if hashlib.sha256(block).digest() != next(expected, None):
                        raise _damaged(file, f"bytes {start:,} to {start + len(block) - 1:,}")
                    bar.advance(len(block))
            if next(expected, None) is not None:
                raise _damaged(store.path / f"{i:05}.tokens", "the end: it is too short")
    for told in [*manifest["sources"], *([manifest["digests"]] if manifest.get("digests") else [])]:
        _checked(store.path / told["file"], told["sha256"])


def _blocks(file: Path) -> Iterator[tuple[int, bytes]]:
    with explained("read the store", file), open(file, "rb") as opened:
        start = 0
        while block := opened.read(BLOCK):
            yield start, block
            start += len(block)


def _checked(file: Path, expected: str) -> bytes:
    """The whole small file, its SHA-256 compared."""
    with explained("read the store", file):
        data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected:
        raise _damaged(file, f"somewhere in its {len(data):,} bytes")
    return data


def _damaged(file: Path, place: str) -> StoreError:
    return StoreError(
        "the store is damaged: a file is not what was written",
        where=f"{file}, {place}",
        fix="restore the file, or prepare the corpus again",
    )
