"""A store of several shards and blocks, and a server of it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from foreword.tokens import prepare

BLOCKS = 6  # of token ids, in three shards


def make(path: Path, *, documents: int = 40, seed: int = 0) -> Path:
    """A store of 40 documents, 2.5 million tokens of uint16."""
    rng = random.Random(seed)
    texts = [rng.randbytes(rng.randrange(20_000, 48_000)).hex() for _ in range(documents)]
    prepare(texts, path, tokenizer="bytes", shard_tokens=1_000_000)
    return path


def publish(server: Any, folder: Path, at: str = "/store") -> str:
    """Serve the files of a folder; gives its URL."""
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith("."):
            server.files[f"{at}/{file.name}"] = file.read_bytes()
    return server.url + at
