"""Claim: a store opens in the same time whatever its size: 100 MB and 10 GB of tokens, fresh process, after imports.

The stores are sparse files with a manifest of their own, so that 10 GB take no disk; opening does not read tokens.

    python benchmarks/corpus/open_store.py [--repeats 15] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.tokens import get_tokenizer
from foreword.tokens.store.writer import write_manifest
from runner import Contender, Result, main, race, seconds_of

CODE = """
import sys, time
from foreword.tokens import TokenStore
start = time.perf_counter()
store = TokenStore.open(sys.argv[1])
last = store[-1]
print(time.perf_counter() - start)
"""
SHARD = 1 << 30


def measure(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        contenders = []
        for name, size in (("Foreword", 100_000_000), ("Foreword, 10 GB", 10_000_000_000)):
            folder = Path(temporary) / name
            folder.mkdir()
            shards = []
            for number, start in enumerate(range(0, size // 2, SHARD)):
                tokens = min(SHARD, size // 2 - start)
                with open(folder / f"{number:05}.tokens", "wb") as file:
                    file.truncate(2 * tokens)
                np.array([0, tokens], "<u8").tofile(folder / f"{number:05}.offsets")
                shards.append({"tokens": tokens, "documents": 1, "sums_sha256": "0" * 64})
            gpt2 = get_tokenizer("gpt2")
            tokenizer = {"name": "gpt2", "vocab_size": gpt2.vocab_size, "fingerprint": gpt2.fingerprint}
            write_manifest(folder, dtype=np.dtype("<u2"), shards=shards, tokenizer=tokenizer, policies={}, sources=[])
            contenders.append(Contender(name, lambda folder=folder: seconds_of(CODE, folder)))
        claim = "open a store of 100 MB and read its last token"
        return [race(claim, contenders, repeats=options.repeats, warmup=2)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=15)
