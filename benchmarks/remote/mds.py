"""MosaicML streaming for ``epoch.py``, in a Python of an environment of its own: it pins an older numpy.

Its shards hold samples of T + 1 ids. They have 16 MB, as litdata's, or a fifth of the limit: it refuses a limit below
four shards. It fetches by boto3. By default it shuffles all windows of so small an input, so that each wants another
shard and every shard is fetched again and again; here windows are shuffled inside a quarter of the limit.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

import numpy as np
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory


def write(folder: str, tokens: str, T: int, limit: int) -> None:
    ids = np.memmap(tokens, np.uint16, "r")
    size = min(1 << 24, limit // 5)
    with MDSWriter(out=folder, columns={"ids": f"ndarray:uint16:{T + 1}"}, size_limit=size) as writer:
        for start in range(0, len(ids) - T, T):
            writer.write({"ids": np.array(ids[start : start + T + 1])})


def epoch(url: str, cache: str, limit: int, T: int, B: int) -> tuple[float, int]:
    """The seconds of a shuffled epoch, and its windows."""
    import torch
    from torch.utils.data import DataLoader

    os.environ.update(S3_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="x")
    shutil.rmtree(cache, ignore_errors=True)
    clean_stale_shared_memory()
    start, count = time.perf_counter(), 0
    data = StreamingDataset(
        remote=f"s3://bucket/mds-{T}",
        local=cache,
        cache_limit=limit,
        shuffle=True,
        shuffle_block_size=int(os.environ.get("SBS", "8192")),
        batch_size=B,
        num_canonical_nodes=1,
    )
    for batch in DataLoader(data, batch_size=B, num_workers=0, drop_last=True, collate_fn=list):
        window = torch.from_numpy(np.stack([sample["ids"] for sample in batch]).astype(np.int64))
        count += len(window[:, :-1].contiguous())
        window[:, 1:].contiguous()
    return time.perf_counter() - start, count


def main() -> None:
    """Do what the arguments say: write FOLDER TOKENS.bin T LIMIT, or epoch URL CACHE LIMIT T B, which prints both."""
    what, *given = sys.argv[1:]
    if what == "write":
        write(given[0], given[1], int(given[2]), int(given[3]))
    else:
        print(*epoch(given[0], given[1], int(given[2]), int(given[3]), int(given[4])))
