"""What the benchmarks of far stores share: a store of drawn ids, and an epoch of it through a fresh cache."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

import foreword as fw
from foreword.tokens.store.writer import StoreWriter, write_manifest

T, B = 1024, 8


def make_store(folder: Path, tokens: int) -> Path:
    """A store of so many ids of GPT-2's vocabulary, drawn; also as one headerless file beside it, tokens.bin."""
    writer = StoreWriter(folder, np.dtype("<u2"), shard_tokens=1 << 30)
    rng, step = np.random.default_rng(0), 1_000_000
    with open(folder.parent / "tokens.bin", "wb") as plain:
        for start in range(0, tokens, step):
            ids = rng.integers(0, 50257, min(step, tokens - start)).astype("<u2")
            plain.write(ids.tobytes())
            writer.append(ids, np.arange(1000, len(ids) + 1, 1000))
    publish(folder, writer.finish())
    return folder


def publish(folder: Path, shards: list[dict[str, object]]) -> None:
    """The manifest, which makes the folder a store."""
    tokenizer = fw.get_tokenizer("gpt2")
    write_manifest(
        folder,
        dtype=np.dtype("<u2"),
        shards=shards,
        tokenizer={"name": "gpt2", "vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint},
        policies={},
        account={"skipped": 0, "empty": 0, "duplicates": 0, "digests": 0},
        sources=[],
    )


def epoch(url: str, cache: Path, limit: int) -> float:
    """The seconds of a shuffled epoch, from opening the store on, its cache empty at first and of ``limit`` bytes."""
    shutil.rmtree(cache, ignore_errors=True)
    start = time.perf_counter()
    store = fw.TokenStore.open(url, cache=cache, cache_bytes=limit)
    data = fw.WindowDataset(store, context_length=T)
    count = 0
    for inputs, _ in fw.WindowLoader(data, batch_size=B, shuffle="blocks", prefetch=2):
        count += inputs.numel()
    seconds = time.perf_counter() - start
    assert count == len(data) // B * B * T
    return seconds
