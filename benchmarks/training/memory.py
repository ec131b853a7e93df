"""Peak memory of training beside the two tables and the imports: RssAnon, of a corpus in a mapped file.

A vocabulary of 200,000 and a corpus drawn by Zipf's law: what is held doesn't depend on what the words are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import runner

_CODE = """
import sys, threading
import numpy as np
from foreword.vectors.training import kernels, assembly
from foreword.vectors.training.options import TrainingOptions
from foreword.vectors.training.trainer import Trainer

def private():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("RssAnon")).split()[1]) * 1024

assembly.step(112, 12)
before, most, done = private(), [0], threading.Event()
def watch():
    while not done.wait(0.02):
        most[0] = max(most[0], private())
thread = threading.Thread(target=watch)
thread.start()
encoded, counts = np.memmap(sys.argv[1], np.uint32, mode="r"), np.load(sys.argv[2])
trainer = Trainer(encoded, counts, TrainingOptions(epochs=1), workers=2)
trainer.run()
done.set()
thread.join()
tables = trainer.input_table.nbytes + trainer.output_table.nbytes
print((most[0] - before - tables) / 1e6)
"""


def measure(args: argparse.Namespace) -> list[runner.Result]:
    if not Path("/proc/self/status").exists():
        raise runner.NotInstalled("/proc/self/status: only Linux has it")
    with tempfile.TemporaryDirectory() as folder:
        path, counts = Path(folder) / "encoded", np.zeros(args.vocabulary, np.int64)
        share = 1 / np.arange(1, args.vocabulary + 1)
        edges = np.cumsum(share / share.sum())
        rng = np.random.default_rng(0)
        with open(path, "wb") as file:
            for start in range(0, args.words, 1 << 20):
                some = np.searchsorted(edges, rng.random(min(1 << 20, args.words - start))).astype(np.uint32)
                some = np.minimum(some, args.vocabulary - 1).astype(np.uint32)
                counts += np.bincount(some, minlength=args.vocabulary)
                some[::25] |= np.uint32(1 << 31)
                file.write(some.tobytes())
        np.save(f"{path}.npy", counts)
        values = [runner.seconds_of(_CODE, path, f"{path}.npy") for _ in range(args.repeats)]
    notes = f"{args.words:,} words, a vocabulary of {args.vocabulary:,}, two workers"
    return [runner.Result("training's memory beside its tables", {"Foreword": values}, unit="MB", notes=notes)]


if __name__ == "__main__":
    runner.main(measure, __doc__, repeats=1, sizes={"words": (100_000_000, 300_000), "vocabulary": (200_000, 5_000)})
