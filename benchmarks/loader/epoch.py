"""A shuffled epoch of windows: Foreword against its rivals and against a plain copy of the same bytes.

    python benchmarks/loader/epoch.py [--shape 8x4] [--rivals notebook,grain] [--scale 0.25] [--cpu] [--repeats 3]
                                      [--quick] [--json FILE]

All in one process, over the same random ids (what they are makes no difference to any), stride = context_length.
Then the same with ``compact=True``, against a plain copy of its own blocks.
litdata is left out where it is not installed: it has a line of its own beside the extra bench, see docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np

import foreword as fw

sys.path.insert(0, str(Path(__file__).parents[1]))
from loader import rivals
from runner import Contender, Result, installed, main, race

# Tokens of an epoch by shape, at --scale 1: enough for the fast, not too many for the slow.
SHAPES = {"8x4": 400_000, "32x256": 8_000_000, "16x1024": 16_000_000}
SHORT = 0.2  # seconds: of a shorter turn, too much would be what comes after a rest
RIVALS = {
    "plain copy": rivals.plain_copy,
    "notebook": rivals.notebook,
    "lazy DataLoader": rivals.lazy_dataloader,
    "nanoGPT": rivals.nanogpt,
    "litdata": rivals.litdata,
    "HF datasets": rivals.hf_datasets,
    "grain": rivals.grain,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="batch size × context_length")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="which, separated by commas (default: all)")
    parser.add_argument("--cpu", action="store_true", help="count processor time, for a machine that others use too")


def measure(options: argparse.Namespace) -> list[Result]:
    clock = time.process_time if options.cpu else time.perf_counter

    def spend(epoch: rivals.Epoch) -> float:
        """Seconds an epoch; of a fast one, the mean of as many as take a fifth of a second together."""
        epochs, start = 0, clock()
        while not epochs or clock() - start < SHORT:
            deque(epoch(), maxlen=0)
            epochs += 1
        return (clock() - start) / epochs

    names = options.rivals.split(",")
    absent = [name for name in names if name == "litdata" and not installed(name)]  # see the extra bench
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shape or SHAPES:
            B, T = map(int, shape.split("x"))
            path = Path(folder) / f"{shape}.bin"
            count = int(SHAPES[shape] * options.scale)
            np.random.default_rng(0).integers(0, 50_257, count, dtype=np.uint16).tofile(path)
            data = fw.WindowDataset(np.memmap(path, np.uint16, "r"), context_length=T)
            loader = fw.WindowLoader(data, batch_size=B, shuffle=True)
            contenders = [Contender("Foreword", lambda loader=loader: spend(lambda: iter(loader)))]
            for name in names:
                if name in absent:
                    continue
                epoch = RIVALS[name](path, B, T)
                batches = sum(1 for _ in epoch())
                assert abs(batches - len(loader)) <= len(loader) // T + 2, (name, batches, len(loader))
                contenders.append(Contender(name, lambda epoch=epoch: spend(epoch)))
            results.append(
                race(
                    f"a shuffled epoch, [{B}, {T}]",
                    contenders,
                    repeats=options.repeats,
                    work=len(loader) * B * T / 1e6,
                    rate="M tokens/s" + (" of processor time" if options.cpu else ""),
                    notes="".join(f"{name} is not installed" for name in absent),
                )
            )
            compact = fw.WindowLoader(data, batch_size=B, shuffle=True, compact=True)
            copy = rivals.compact_copy(path, B, T)
            results.append(
                race(
                    f"a shuffled epoch, compact, [{B}, {T}]",
                    [
                        Contender("Foreword", lambda compact=compact: spend(lambda: iter(compact))),
                        Contender("plain copy", lambda copy=copy: spend(copy)),
                    ],
                    repeats=options.repeats,
                    work=len(compact) * B * T / 1e6,
                    rate="M tokens/s" + (" of processor time" if options.cpu else ""),
                )
            )
    return results


if __name__ == "__main__":
    needs = ["datasets", "grain"]
    main(measure, __doc__, repeats=3, needs=needs, sizes={"scale": (0.25, 0.02)}, add=add_options)
