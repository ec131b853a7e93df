"""New memory for stride 1, context_length 256, over 35 million tokens, shuffled: a thousand batches of 8.

    python benchmarks/loader/memory.py [--tokens 35000000] [--repeats 1] [--quick] [--json FILE]

In a fresh process each, after imports and a first batch of a small set: by how much the peak of resident memory grows.
The ids are in memory before. torch's DataLoader makes an index of all windows for its shuffle; grain does not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Result, fresh_process, main

CLOCK = """
import numpy as np, resource, sys, time, torch
{work}
ids = np.random.default_rng(0).integers(0, 50_257, int(sys.argv[1]), dtype=np.uint16)
next(iter(batches(ids[:2000], 4)))
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
for _, batch in zip(range(1000), batches(ids, 256)):
    pass
after, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - start
print((after - before) * 1024 / 1e6, seconds)
"""

FOREWORD = CLOCK.format(
    work="""
import foreword as fw
def batches(ids, T):
    return fw.WindowLoader(fw.WindowDataset(ids, context_length=T, stride=1), batch_size=8, shuffle=True)
"""
)

GRAIN = CLOCK.format(
    work="""
import grain.python as pygrain
def batches(ids, T):
    class Windows:
        def __len__(self):
            return len(ids) - T
        def __getitem__(self, i):
            window = ids[i:i + T + 1].astype(np.int64)
            return window[:-1], window[1:]
    data = pygrain.MapDataset.source(Windows()).shuffle(seed=0).batch(8, drop_remainder=True)
    return data.to_iter_dataset(pygrain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
"""
)

TORCH = CLOCK.format(
    work="""
from torch.utils.data import DataLoader
import foreword as fw
def batches(ids, T):
    return DataLoader(fw.WindowDataset(ids, context_length=T, stride=1), batch_size=8, shuffle=True)
"""
)


def measure(options: argparse.Namespace) -> list[Result]:
    codes = {"Foreword": FOREWORD, "grain": GRAIN, "torch's DataLoader over WindowDataset": TORCH}
    memory: dict[str, list[float]] = {name: [] for name in codes}
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(options.repeats):
        for name, code in codes.items():
            megabytes, spent = map(float, fresh_process(code, str(options.tokens)))
            memory[name].append(megabytes)
            seconds[name].append(spent)
    size = f"stride 1, context_length 256, {options.tokens / 1e6:g} million tokens, shuffled"
    return [Result(f"new memory, {size}", memory, unit="MB"), Result(f"1,000 batches of 8, {size}", seconds)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=1, needs=["grain"], sizes={"tokens": (35_000_000, 200_000)})
