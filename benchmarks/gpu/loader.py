"""Batches beside a training step on a GPU: tokens a second, and the share of steps that wait for their batch.

    python benchmarks/gpu/loader.py [--width 768 256 64] [--steps 300] [--batch 16] [--context 1024] [--repeats 3]
        [--quick] [--json FILE]

A step is forward and backward of a table and two layers: of some milliseconds at the widest, at the narrowest of less
than Python takes to enqueue it. It waits if the GPU had nothing left to do when its batch had been enqueued. The first
contender prefetches two blocks and moves them by way of pinned memory; the others leave out one thing each; the last
needs no loader: it trains on one batch, which is the limit. Where there is no GPU there is nothing to overlap, and the
script says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

import foreword as fw

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, NotInstalled, Result, main, race

VOCAB_SIZE = 50_257


class Step:
    """A training step of a small model.

    ``step(inputs, targets)`` enqueues one; ``idle()`` says whether what was enqueued has been done.
    """

    def __init__(self, device: str, *, dim: int) -> None:
        torch.manual_seed(0)
        self.device = device
        self._model = torch.nn.Sequential(
            torch.nn.Embedding(VOCAB_SIZE, dim),
            torch.nn.Linear(dim, 4 * dim),
            torch.nn.GELU(),
            torch.nn.Linear(4 * dim, dim),
        ).to(device)
        self._rows = torch.nn.Embedding(VOCAB_SIZE, dim).to(device)
        self._done = torch.cuda.Event() if device != "cpu" else None

    def __call__(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        loss = (self._model(inputs) * self._rows(targets)).mean()
        loss.backward()
        if self._done is not None:
            self._done.record()

    def idle(self) -> bool:
        return self._done is None or self._done.query()

    def finish(self) -> None:
        if self._done is not None:
            torch.cuda.synchronize()


def train(batches: Iterable[Any], step: Step, steps: int) -> tuple[float, float]:
    """Seconds of ``steps`` steps, and the share of them, but the first, that waited for their batch."""
    iterator: Iterator[Any] = iter(batches)
    step(*next(iterator))
    step.finish()
    step(*next(iterator))
    waits, start = 0, time.perf_counter()
    for inputs, targets in islice(iterator, steps):
        waits += step.idle()
        step(inputs, targets)
    step.finish()
    return time.perf_counter() - start, waits / steps


def workers(data: fw.WindowDataset, batch_size: int, device: str) -> Callable[[], Iterator[Any]]:
    """torch's DataLoader over the same windows, two workers and pinned memory."""
    loader = DataLoader(data, batch_size, shuffle=True, drop_last=True, num_workers=2, pin_memory=device != "cpu")

    def batches() -> Iterator[Any]:
        for batch in loader:
            yield tuple(part.to(device, non_blocking=True) for part in batch)

    return batches


def measure(options: argparse.Namespace, device: str = "cuda") -> list[Result]:
    if device == "cuda" and not torch.cuda.is_available():
        raise NotInstalled("a GPU: torch sees none here, and without one there is nothing to overlap")
    B, T = options.batch, options.context
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids.bin"
        count = (options.steps + 3) * B * T + 1
        np.random.default_rng(0).integers(0, VOCAB_SIZE, count, dtype=np.uint16).tofile(path)
        data = fw.WindowDataset(np.memmap(path, np.uint16, "r"), context_length=T)
        return [result for width in options.width for result in claims(data, width, options, device)]


def claims(data: fw.WindowDataset, width: int, options: argparse.Namespace, device: str) -> list[Result]:
    """Speed, and the share of steps that wait, for a model of one width."""
    B, T = options.batch, options.context

    def ours(**how: Any) -> Callable[[], Iterator[Any]]:
        loader = fw.WindowLoader(data, batch_size=B, shuffle=True, device=device, **how)
        return lambda: iter(loader)

    one = next(ours()())
    ways = {
        "Foreword, compact, prefetch 2": ours(compact=True, prefetch=2),
        "Foreword, prefetch 2": ours(prefetch=2),
        "Foreword, compact": ours(compact=True),
        "Foreword": ours(),
        "torch's DataLoader, 2 workers, pinned": workers(data, B, device),
        "one batch again and again": lambda: repeat(one),
    }
    step, shares = Step(device, dim=width), {name: [] for name in ways}  # type: dict[str, list[float]]

    def run(name: str) -> float:
        seconds, share = train(ways[name](), step, options.steps)
        shares[name].append(share)
        return seconds

    contenders = [Contender(name, lambda name=name: run(name)) for name in ways]
    claim, work = f"training steps [{B}, {T}], width {width}", options.steps * B * T / 1e6
    speed = race(claim, contenders, repeats=options.repeats, work=work, rate="M tokens/s")
    counted = {name: values[-options.repeats :] for name, values in shares.items()}
    return [speed, Result(f"{claim}, the share that wait for their batch", counted, unit="of all")]


if __name__ == "__main__":
    sizes = {"steps": (300, 20), "batch": (16, 4), "context": (1024, 64), "width": ([768, 256, 64], [16])}
    main(measure, __doc__, repeats=3, sizes=sizes)
