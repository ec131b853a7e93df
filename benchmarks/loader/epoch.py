"""A shuffled epoch of windows: Foreword against its rivals and against a plain copy of the same bytes.

    python benchmarks/loader/epoch.py [--shape 8x4] [--rivals notebook,grain] [--scale 1] [--cpu] [--repeats 5] [--json]

All in one process, over the same random ids (what they are makes no difference to any), stride = context_length.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np

import foreword as fw

sys.path.append(str(Path(__file__).parents[1]))
import rivals

from runner import Contender, arguments, race, report

# Tokens of an epoch, by shape: enough for the fast, not too many for the slow.
SHAPES = {"8x4": 400_000, "32x256": 8_000_000, "16x1024": 16_000_000}
RIVALS = {
    "plain copy": rivals.plain_copy,
    "notebook": rivals.notebook,
    "lazy DataLoader": rivals.lazy_dataloader,
    "nanoGPT": rivals.nanogpt,
    "litdata": rivals.litdata,
    "HF datasets": rivals.hf_datasets,
    "grain": rivals.grain,
}


def timed(epoch, clock) -> float:
    start = clock()
    deque(epoch(), maxlen=0)
    return clock() - start


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="batch size × context_length")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="which, separated by commas (default: all)")
    parser.add_argument("--scale", type=float, default=1, help="times as many tokens (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="count processor time, for a machine that others use too")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shape or SHAPES:
            B, T = map(int, shape.split("x"))
            path = Path(folder) / f"{shape}.bin"
            np.random.default_rng(0).integers(0, 50_257, int(SHAPES[shape] * options.scale), dtype=np.uint16).tofile(
                path
            )
            data = fw.WindowDataset(np.memmap(path, np.uint16, "r"), context_length=T)
            loader = fw.WindowLoader(data, batch_size=B, shuffle=True)
            contenders = [Contender("Foreword", lambda loader=loader: timed(lambda: iter(loader), clock))]
            for name in options.rivals.split(","):
                epoch = RIVALS[name](path, B, T)
                batches = sum(1 for _ in epoch())
                assert abs(batches - len(loader)) <= len(loader) // T + 2, (name, batches, len(loader))
                contenders.append(Contender(name, lambda epoch=epoch: timed(epoch, clock)))
            results.append(
                race(
                    f"a shuffled epoch, [{B}, {T}]",
                    contenders,
                    repeats=options.repeats,
                    units=len(loader) * B * T / 1e6,
                    unit="million tokens/s" + (" of processor time" if options.cpu else ""),
                )
            )
    report(results, packages=["foreword", "torch", "numpy", "litdata", "datasets", "grain"], as_json=options.json)


if __name__ == "__main__":
    main()
