"""Training by one thread and by two, and that the tables' bits are the same for 1, 2, 3 and 8."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import runner
from foreword.vectors.training.options import TrainingOptions
from foreword.vectors.training.trainer import Trainer
from training import corpus


def measure(args: argparse.Namespace) -> list[runner.Result]:
    with tempfile.TemporaryDirectory() as folder:
        text = corpus.words(Path(folder), most=args.words, min_count=3 if args.quick else 10, quick=args.quick)
    bits = {}

    def run(workers: int) -> float:
        trainer = Trainer(text.encoded, text.counts, TrainingOptions(epochs=1), workers=workers)
        start = time.perf_counter()
        trainer.run()
        took = time.perf_counter() - start
        bits[workers] = hashlib.sha256(trainer.input_table.tobytes() + trainer.output_table.tobytes()).hexdigest()
        return took

    contenders = [
        runner.Contender("two threads", lambda: run(2)),
        runner.Contender("one thread", lambda: run(1)),
    ]
    result = runner.race(
        "train skip-gram by two threads",
        contenders,
        repeats=args.repeats,
        work=text.length / 1e6,
        rate="million words/s",
    )
    for workers in (3, 8):
        run(workers)
    if len(set(bits.values())) != 1:
        raise RuntimeError(f"the bits differ: {bits}")
    notes = f"{text.length:,} words of {text.origin}; the same bits for {', '.join(map(str, sorted(bits)))} threads"
    return [runner.Result(result.claim, result.rounds, work=result.work, rate=result.rate, notes=notes)]


if __name__ == "__main__":
    runner.main(measure, __doc__, sizes={"words": (2_000_000, 20_000)})
