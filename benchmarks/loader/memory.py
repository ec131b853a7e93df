"""New memory for stride 1, context_length 256, over 35 million tokens, shuffled: a thousand batches of 8.

    python benchmarks/loader/memory.py [--json]

In a fresh process each, after imports and a first batch of a small set: by how much the peak of resident memory grows.
The ids are in memory before. torch's DataLoader makes an index of all windows for its shuffle; grain does not.
"""

from __future__ import annotations

import json
import subprocess
import sys

CLOCK = """
import json, numpy as np, resource, sys, time, torch
{work}
ids = np.random.default_rng(0).integers(0, 50_257, 35_000_000, dtype=np.uint16)
next(iter(batches(ids[:2000], 4)))
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
for _, batch in zip(range(1000), batches(ids, 256)):
    pass
after, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - start
print(json.dumps({{"new MB": round((after - before) / 1024, 2), "seconds": round(seconds, 3)}}))
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


def main() -> None:
    results = {}
    for name, code in (("Foreword", FOREWORD), ("grain", GRAIN), ("torch's DataLoader over WindowDataset", TORCH)):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
    if "--json" in sys.argv:
        print(json.dumps(results, indent=1))
        return
    print("| system | new memory | 1000 batches |\n|---|---|---|")
    for name, told in results.items():
        print(f"| {name} | {told['new MB']:.1f} MB | {told['seconds']:.2f} s |")


if __name__ == "__main__":
    main()
