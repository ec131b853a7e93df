"""One shuffled epoch from an object store through a cache that holds a third of the data.

    python benchmarks/remote/epoch.py [--tokens 100000000] [--mds PYTHON] [--repeats 3] [--quick] [--json FILE]

A server of this machine gives the objects; the cache is empty at first, and the time begins with opening. Foreword
reads its store over HTTP, litdata its own chunks over S3's protocol, with the same limit. Both check nothing but what
they check by themselves: Foreword every block's SHA-256. The notes have each one's requests and bytes, and the
server's processor time, in the last round: it runs on the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "loader"))
sys.path.insert(0, str(Path(__file__).parent))
from object_store import counts, running
from rivals import litdata
from stores import B, T, epoch, make_store

from runner import Contender, Result, installed, main, race


def mend_litdata() -> None:
    """Let litdata run with a bounded cache: two of its threads close one chunk, and the later one raises KeyError."""
    from litdata.streaming.item_loader import TokensLoader

    original = TokensLoader.close

    def close(self: TokensLoader, chunk: int) -> None:
        with contextlib.suppress(KeyError):
            original(self, chunk)

    TokensLoader.close = close


def litdata_epoch(url: str, cache: Path, limit: int, windows: int) -> float:
    """The seconds of litdata's epoch."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader
    from litdata.streaming.item_loader import TokensLoader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # which its client refuses otherwise
    shutil.rmtree(cache, ignore_errors=True)
    start = time.perf_counter()
    data = StreamingDataset(
        f"s3://bucket/litdata-tokens-{T}",
        cache_dir=str(cache),
        item_loader=TokensLoader(block_size=T + 1),
        shuffle=True,
        drop_last=True,
        max_cache_size=limit,
        storage_options={"endpoint_url": url, "aws_access_key_id": "a", "aws_secret_access_key": "b"},
    )
    count = 0
    for ids in StreamingDataLoader(data, batch_size=B, num_workers=0, drop_last=True):
        window = ids.long()
        count += window[:, :-1].contiguous().numel()
        window[:, 1:].contiguous()
    seconds = time.perf_counter() - start
    assert count >= (windows - B * 20) * T, count  # its windows do not share their ends
    return seconds


def mds_epoch(python: str, *arguments: object) -> tuple[float, int]:
    """The seconds and windows of MosaicML streaming's epoch, by a process of another Python."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import mds; mds.main()"
    command = [python, "-c", code, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    seconds, count = done.stdout.split() or (0, 0)
    return float(seconds), int(count)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mds", metavar="PYTHON", help="a Python with MosaicML streaming (default: without it)")


def measure(args: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(folder / "bucket" / "store", args.tokens)
        limit = 2 * args.tokens // 3
        asked: dict[str, str] = {}
        with running(folder) as url:

            def add(name: str, run: Callable[[], float]) -> None:
                def counted() -> float:
                    before, seconds = counts(url), run()
                    requests, sent, busy = (after - was for after, was in zip(counts(url), before, strict=True))
                    asked[name] = f"{name} {requests:,.0f} requests, {sent / 1e6:,.0f} MB, {busy:.2f} s"
                    return seconds

                contenders.append(Contender(name, counted))

            contenders: list[Contender] = []
            ours = f"{url}/bucket/{store.name}"
            add("Foreword", lambda: epoch(ours, folder / "cache", limit))
            if installed("litdata") and installed("boto3"):
                litdata(folder / "bucket" / "tokens.bin", B, T)  # makes its chunks, of 17 MB, in the same bucket
                mend_litdata()
                windows = args.tokens // (T + 1)
                add("litdata", lambda: litdata_epoch(url, folder / "litdata-cache", limit, windows))
            if args.mds:
                mds_epoch(args.mds, "write", folder / "bucket" / f"mds-{T}", folder / "bucket" / "tokens.bin", T, limit)

                def mds() -> float:
                    seconds, count = mds_epoch(args.mds, "epoch", url, folder / "mds-cache", limit, T, B)
                    assert count >= args.tokens // T - 2 * B, count
                    return seconds

                add("MosaicML streaming", mds)
            claim = "shuffled epoch from an object store, cache a third of the data"
            result = race(claim, contenders, repeats=args.repeats, warmup=0, work=args.tokens / 1e6, rate="M tokens/s")
            return [dataclasses.replace(result, notes="; ".join(asked.values()))]


if __name__ == "__main__":
    sizes = {"tokens": (100_000_000, 6_000_000)}
    main(measure, __doc__, repeats=3, needs=["fsspec", "aiohttp"], sizes=sizes, add=add_options)
