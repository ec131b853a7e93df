"""Packing 100,000 documents best-fit: padding and time, against Hugging Face trl's packer and grain's.

    python benchmarks/loader/packing.py [--context-length 1024] [--repeats 5] [--json]

Lengths are log-normal (median 245 tokens, mean about 450), cut at the context length. trl and Foreword see all lengths
before they pack; grain packs as documents come, with 64 windows open. trl and grain also move the tokens while they
pack, so beside Foreword's packing alone stands Foreword's packing and gathering of every window.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np

import foreword as fw

sys.path.append(str(Path(__file__).parents[1]))
from runner import Contender, arguments, race, report


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--context-length", type=int, default=1024)
    parser.add_argument("--documents", type=int, default=100_000)
    options = parser.parse_args()
    T = options.context_length
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.5, 1.1, options.documents).astype(np.int64), 1, T)
    # A document of n + 1 tokens takes n places in Foreword's windows; the packers of trl and grain are given n tokens.
    offsets = np.concatenate(([0], np.cumsum(lengths + 1)))
    ids = rng.integers(0, 50_257, offsets[-1], dtype=np.uint16)
    padding: dict[str, float] = {}

    def told(name: str, windows: int) -> None:
        padding[name] = 1 - lengths.sum() / (windows * T)

    def pack() -> fw.WindowDataset:
        data = fw.WindowDataset(ids, context_length=T, within="document", packing="best-fit", offsets=offsets)
        told("Foreword", len(data))
        return data

    def foreword() -> float:
        start = time.perf_counter()
        pack()
        return time.perf_counter() - start

    def foreword_gathered() -> float:
        start = time.perf_counter()
        for _ in fw.WindowLoader(pack(), batch_size=16, drop_last=False):
            pass
        return time.perf_counter() - start

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
        told("trl bfd", len(packed))
        return seconds

    import grain.python as pygrain
    from grain.experimental import BestFitPackIterDataset

    def grain() -> float:
        source = pygrain.MapDataset.source(documents).map(lambda document: {"ids": document})
        stream = source.to_iter_dataset(pygrain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        start = time.perf_counter()
        windows = sum(1 for _ in BestFitPackIterDataset(stream, length_struct={"ids": T}, num_packing_bins=64))
        seconds = time.perf_counter() - start
        told("grain best-fit, 64 bins", windows)
        return seconds

    result = race(
        f"pack {options.documents:,} documents into windows of {T:,}",
        [
            Contender("Foreword, packing", foreword),
            Contender("Foreword, packing and all batches", foreword_gathered),
            Contender("trl bfd", trl),
            Contender("grain best-fit, 64 bins", grain),
        ],
        repeats=options.repeats,
    )
    notes = "padding " + ", ".join(f"{name} {share:.4%}" for name, share in padding.items())
    result = type(result)(result.claim, result.seconds, result.units, result.unit, notes)
    report([result], packages=["foreword", "torch", "numpy", "trl", "datasets", "grain"], as_json=options.json)


if __name__ == "__main__":
    main()
