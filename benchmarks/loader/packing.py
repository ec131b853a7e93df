"""Packing 100,000 documents best-fit: padding and time, against Hugging Face trl's packer and grain's.

    python benchmarks/loader/packing.py [--documents 100000] [--context 1024] [--repeats 5] [--quick] [--json FILE]

Lengths are log-normal (median 245 tokens, mean about 450), cut at the context length. trl and Foreword see all lengths
before they pack; grain packs as documents come, with 64 windows open. trl and grain also move the tokens while they
pack, so beside Foreword's packing alone stands Foreword's packing and gathering of every window.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np

import foreword as fw

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, timed


def measure(options: argparse.Namespace) -> list[Result]:
    T = options.context
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.5, 1.1, options.documents).astype(np.int64), 1, T)
    # A document of n + 1 tokens takes n places in Foreword's windows; the packers of trl and grain are given n tokens.
    offsets = np.concatenate(([0], np.cumsum(lengths + 1)))
    ids = rng.integers(0, 50_257, offsets[-1], dtype=np.uint16)
    padding: dict[str, list[float]] = {}

    def count(name: str, windows: int) -> None:
        padding[name] = [100 * (1 - lengths.sum() / (windows * T))]

    def pack() -> fw.WindowDataset:
        data = fw.WindowDataset(ids, context_length=T, within="document", packing="best-fit", offsets=offsets)
        count("Foreword", len(data))
        return data

    import datasets
    from trl import pack_dataset

    datasets.disable_progress_bars()
    datasets.disable_caching()
    documents = [ids[a : b - 1].astype(np.int32) for a, b in itertools.pairwise(offsets)]
    table = datasets.Dataset.from_dict({"input_ids": documents})

    def trl() -> float:
        start = time.perf_counter()
        packed = pack_dataset(table, T, strategy="bfd", map_kwargs={"batch_size": None})
        seconds = time.perf_counter() - start
        count("trl bfd", len(packed))
        return seconds

    import grain.python as pygrain
    from grain.experimental import BestFitPackIterDataset

    def grain() -> float:
        source = pygrain.MapDataset.source(documents).map(lambda document: {"ids": document})
        stream = source.to_iter_dataset(pygrain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        start = time.perf_counter()
        windows = sum(1 for _ in BestFitPackIterDataset(stream, length_struct={"ids": T}, num_packing_bins=64))
        seconds = time.perf_counter() - start
        count("grain best-fit, 64 bins", windows)
        return seconds

    claim = f"pack {options.documents:,} documents into windows of {T:,}"
    contenders = [
        Contender("Foreword", timed(pack)),
        Contender(
            "Foreword, packing and all batches",
            timed(lambda: deque(fw.WindowLoader(pack(), batch_size=16, drop_last=False), maxlen=0)),
        ),
        Contender("trl bfd", trl),
        Contender("grain best-fit, 64 bins", grain),
    ]
    return [
        race(claim, contenders, repeats=options.repeats),
        Result(f"{claim}, padding", padding, unit="%"),
    ]


if __name__ == "__main__":
    needs = ["trl", "datasets", "grain"]
    main(measure, __doc__, needs=needs, sizes={"context": (1024, 1024), "documents": (100_000, 1_000)})
