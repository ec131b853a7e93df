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
import torch
from torch.utils.data import DataLoader, Dataset

import foreword as fw

sys.path.append(str(Path(__file__).parents[1]))
from runner import Contender, arguments, race, report


class GPTDatasetV1(Dataset):
    """The notebook's dataset, from token ids on: two tensors a window, made up front."""

    def __init__(self, ids: list[int], context_length: int, stride: int) -> None:
        self.input_ids, self.target_ids = [], []
        for i in range(0, len(ids) - context_length, stride):
            self.input_ids.append(torch.tensor(ids[i : i + context_length]))
            self.target_ids.append(torch.tensor(ids[i + 1 : i + context_length + 1]))

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.input_ids[index], self.target_ids[index]


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
