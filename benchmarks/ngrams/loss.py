"""Validation loss of examples/train_gpt.py on real text with and without a table of n-grams: equal steps, equal time.

The model of the example (2 layers, D = 128, T = 64) on text as real_text.py has it, one of ten pieces for validation,
with a vocabulary of 4,096 tokens trained on it: with GPT-2's, nearly all of a step would be the head's. The table is in
memory: orders 2 and 3, two heads, rows of D elements. With it a step takes longer, so the model without it is trained
on until as much time has passed ("equal time"). Each seed draws weights and order anew.

    python benchmarks/ngrams/loss.py [--repeats 3] [--quick] [--steps 400] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import foreword as fw
from corpus.real_text import real_text
from foreword.tokens import train_tokenizer
from runner import Result, main

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_gpt.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_gpt", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Run:
    """One model in training."""

    def __init__(self, gpt: Any, options: argparse.Namespace, store: fw.TokenStore, val: fw.TokenStore) -> None:
        self.gpt, self.options, self.val = gpt, options, val
        self.model = gpt.make(options, store.tokenizer)
        self.optimizers = gpt.optimizers(self.model, options)
        ngrams = self.model.embedding.ngrams
        data = fw.WindowDataset(store, context_length=options.context, ngrams=ngrams)
        self.loader = fw.WindowLoader(data, batch_size=options.batch, shuffle=True, seed=options.seed)
        self.steps, self.seconds = 0, 0.0

    def batches(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def train(self, *, steps: int = 0, seconds: float = 0.0) -> None:
        """Until so many steps, and at least so much time, have passed."""
        for batch in self.batches():
            if self.steps >= steps and self.seconds >= seconds:
                return
            start = time.perf_counter()
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
            self.model.loss(*batch).backward()
            for optimizer in self.optimizers.values():
                optimizer.step()
            self.seconds += time.perf_counter() - start
            self.steps += 1

    def validation(self) -> float:
        loss: float = self.gpt.validate(self.model, self.val, self.options)
        self.model.train()
        return loss


def measure(options: argparse.Namespace) -> list[Result]:
    gpt = example()
    text, origin = real_text(options.kilobytes * 1000)
    same: dict[str, list[float]] = {"with the table": [], "without": []}
    timed: dict[str, list[float]] = {"with the table": [], "without": []}
    step_seconds: dict[str, list[float]] = {"with the table": [], "without": []}
    extra = []
    with tempfile.TemporaryDirectory() as folder:
        pieces = [text[low : low + 2000] for low in range(0, len(text), 2000)]
        tokenizer = train_tokenizer(pieces, Path(folder) / "vocabulary.json", vocab_size=options.vocabulary)
        store = fw.prepare(pieces, Path(folder) / "store", tokenizer=tokenizer, split={"val": 0.1})
        val = fw.TokenStore.open(Path(folder) / "store" / "val")
        chosen: dict[str, Any] = {"start": "random", "batch": 16, "context": 64, "dim": 128, "layers": 2}
        chosen |= {"lr": 1e-3, "row_lr": options.row_lr}
        Run(gpt, argparse.Namespace(**chosen, seed=0, ngrams=options.rows), store, val).train(steps=2)  # warm
        for seed in range(options.repeats):
            with_, without = (
                Run(gpt, argparse.Namespace(**chosen, seed=seed, ngrams=rows), store, val) for rows in (options.rows, 0)
            )
            for low in range(0, options.steps, 50):  # in turns: a shared machine drifts
                for run in (with_, without):
                    run.train(steps=min(low + 50, options.steps))
            loss = with_.validation()
            same["with the table"].append(loss)
            timed["with the table"].append(loss)
            same["without"].append(without.validation())
            for name, run in (("with the table", with_), ("without", without)):
                step_seconds[name].append(run.seconds / run.steps)
            without.train(steps=options.steps, seconds=with_.seconds)
            timed["without"].append(without.validation())
            extra.append(without.steps)
    notes = f"{options.steps} steps of [16, 64], a table of {options.rows:,} rows, {len(store):,} tokens: {origin}"
    return [
        Result("validation loss, equal steps", same, unit="nats", notes=notes),
        Result("validation loss, equal time", timed, unit="nats", notes=f"steps without the table: {extra}"),
        Result("a step", step_seconds, notes="forward, backward and optimizers, [16, 64]"),
    ]


def _rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--row-lr", type=float, default=5e-3, help="the table's learning rate, Engram's 5 × (%(default)s)"
    )


if __name__ == "__main__":
    sizes = {"steps": (400, 4), "kilobytes": (4000, 200), "rows": (1 << 18, 1 << 10), "vocabulary": (4096, 512)}
    main(measure, __doc__, repeats=3, needs=["tokenizers"], sizes=sizes, add=_rate)
