"""An epoch of windows against the notebook's GPTDatasetV1 and torch's DataLoader: time to build, memory, epoch.

    python benchmarks/loader/notebook_epoch.py [--tokens 400000] [--repeats 5] [--quick] [--json FILE]

Both cut the same token ids into batches [8, 4] at stride 4, shuffled and in order; the notebook's lists are built
before its epoch is timed.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections import deque
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

import foreword as fw

sys.path.insert(0, str(Path(__file__).parents[1]))
from loader.rivals import GPTDatasetV1
from runner import Contender, Result, main, race, timed


def peak_memory(build) -> int:
    tracemalloc.start()
    build()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def measure(options: argparse.Namespace) -> list[Result]:
    ids = np.random.default_rng(0).integers(0, 50_257, options.tokens, dtype=np.uint16)
    listed = ids.tolist()

    def ours() -> fw.WindowDataset:
        return fw.WindowDataset(ids, context_length=4, stride=4)

    def theirs() -> GPTDatasetV1:
        return GPTDatasetV1(listed, 4, 4)

    ours()  # the first call imports
    # The tensors' own storage lies outside tracemalloc, so the notebook's real peak is higher still.
    memory = f"new Python memory: Foreword {peak_memory(ours):,} bytes, the notebook's {peak_memory(theirs):,}"
    building = [Contender("Foreword", timed(ours)), Contender("the notebook's", timed(theirs))]
    results = [race("build the dataset, [8, 4] stride 4", building, repeats=options.repeats, notes=memory)]
    ours_data, their_data = ours(), theirs()
    for order, shuffle in (("shuffled", True), ("in order", False)):
        loader = fw.WindowLoader(ours_data, batch_size=8, shuffle=shuffle)
        rival = DataLoader(their_data, batch_size=8, shuffle=shuffle, drop_last=True)
        assert len(loader) == len(rival)
        results.append(
            race(
                f"an epoch {order}, [8, 4] stride 4",
                [
                    Contender("Foreword", timed(lambda loader=loader: deque(loader, maxlen=0))),
                    Contender("the notebook's", timed(lambda rival=rival: deque(rival, maxlen=0))),
                ],
                repeats=options.repeats,
                work=len(loader) * 32 / 1e6,
                rate="M tokens/s",
            )
        )
    return results


if __name__ == "__main__":
    main(measure, __doc__, sizes={"tokens": (400_000, 20_000)})
