"""An epoch of windows against the notebook's GPTDatasetV1 and torch's DataLoader: time to build, memory, epoch.

    python benchmarks/loader/notebook_epoch.py [--tokens 400000] [--shuffle] [--repeats 5] [--json]

Both cut the same token ids into batches [8, 4] at stride 4; the notebook's lists are built before its epoch is timed.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

import foreword as fw

sys.path.append(str(Path(__file__).parents[1]))
from loader.rivals import GPTDatasetV1
from runner import Contender, arguments, race, report


def spend(batches) -> float:
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def peak_memory(build) -> int:
    tracemalloc.start()
    build()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, default=400_000, help="length of the stream (default: %(default)s)")
    parser.add_argument("--shuffle", action="store_true", help="shuffle the epoch (default: in order)")
    options = parser.parse_args()
    ids = np.random.default_rng(0).integers(0, 50_257, options.tokens, dtype=np.uint16)
    listed = ids.tolist()

    def ours() -> fw.WindowDataset:
        return fw.WindowDataset(ids, context_length=4, stride=4)

    def theirs() -> GPTDatasetV1:
        return GPTDatasetV1(listed, 4, 4)

    ours()  # the first call imports
    # The tensors' own storage lies outside tracemalloc, so the notebook's real peak is higher still.
    memory = f"new Python memory: Foreword {peak_memory(ours):,} bytes, the notebook's {peak_memory(theirs):,}"
    loader = fw.WindowLoader(ours(), batch_size=8, shuffle=options.shuffle)
    rival = DataLoader(theirs(), batch_size=8, shuffle=options.shuffle, drop_last=True)
    assert len(loader) == len(rival)
    order = "shuffled" if options.shuffle else "in order"
    results = [
        race(
            "build the dataset, [8, 4] stride 4",
            [
                Contender("Foreword", lambda: ours() and None),
                Contender("GPTDatasetV1", lambda: theirs() and None),
            ],
            repeats=options.repeats,
            notes=memory,
        ),
        race(
            f"an epoch {order}, [8, 4] stride 4",
            [
                Contender("Foreword", lambda: spend(loader)),
                Contender("GPTDatasetV1 + DataLoader", lambda: spend(rival)),
            ],
            repeats=options.repeats,
            units=len(loader) * 32 / 1e6,
            unit="million tokens/s",
        ),
    ]
    report(results, packages=["foreword", "torch", "numpy"], as_json=options.json)


if __name__ == "__main__":
    main()
