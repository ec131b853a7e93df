"""Open a store of 10 GB behind a web server and take the first batch [8, 1024], in order; 1 ms added to each request.

    python benchmarks/remote/first_batch.py [--gigabytes 10] [--repeats 9] [--quick] [--json FILE]

In a fresh process, after imports, with the client made: fsspec's file system, which has asked the server once. The
store's files are sparse: no byte of its ids is written, but every size and checksum is real. The cache is empty.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from object_store import running
from stores import publish

from foreword.tokens.store.manifest import BLOCK
from runner import Contender, Result, main, race, seconds_of

SHARD = 1 << 30  # tokens
WORK = """
import sys, time
import filelock, fsspec, numpy as np, torch, foreword.tokens, foreword.windows, foreword as fw
url, cache = sys.argv[1:]
fsspec.filesystem("http").cat_file(url + "/warm")
start = time.perf_counter()
store = fw.TokenStore.open(url, cache=cache)
data = fw.WindowDataset(store, context_length=1024)
inputs, targets = next(iter(fw.WindowLoader(data, batch_size=8)))
seconds = time.perf_counter() - start
assert inputs.shape == targets.shape == (8, 1024)
print(seconds)
"""


def make_sparse(folder: Path, tokens: int) -> None:
    """A store of so many ids 0, a document each MiB."""
    folder.mkdir()
    zeros = hashlib.sha256(bytes(BLOCK)).digest()
    shards: list[dict[str, object]] = []
    for number, start in enumerate(range(0, tokens, SHARD)):
        count = min(SHARD, tokens - start) // (BLOCK // 2) * (BLOCK // 2)
        with open(folder / f"{number:05}.tokens", "wb") as file:
            file.truncate(2 * count)
        offsets = np.arange(0, count + 1, BLOCK // 2).astype("<u8").tobytes()
        (folder / f"{number:05}.offsets").write_bytes(offsets)
        parts = [offsets[i : i + BLOCK] for i in range(0, len(offsets), BLOCK)]
        sums = zeros * (2 * count // BLOCK) + b"".join(hashlib.sha256(part).digest() for part in parts)
        (folder / f"{number:05}.sums").write_bytes(sums)
        digest = hashlib.sha256(sums).hexdigest()
        shards.append({"tokens": count, "documents": len(offsets) // 8 - 1, "sums_sha256": digest})
    publish(folder, shards)
    (folder / "warm").write_bytes(b"x")


def measure(args: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_sparse(folder / "store", int(args.gigabytes * 1e9) // 2)

        def run() -> float:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            return seconds_of(WORK, url, folder / "cache")

        with running(folder / "store", wait=0.001) as url:
            claim = "open + first batch of a far store of 10 GB, 1 ms a request"
            return [race(claim, [Contender("Foreword", run)], repeats=args.repeats)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=9, needs=["fsspec", "aiohttp"], sizes={"gigabytes": (10.0, 0.1)})
