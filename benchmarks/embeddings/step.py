"""A training step of the input layer alone: forward, backward and optimizer at V = 50,257, D = 256, [8, 4].

Foreword learns the token table by rows (sparse=True, RowAdam) and the positions by fused AdamW. The rivals: torch's own
sparse Embedding + SparseAdam (positions by AdamW, plain and fused), and dense gradients + AdamW, plain and fused. Ids
are drawn anew for each step, the same for all, so that no contender works from a warm cache of rows.

    python benchmarks/embeddings/step.py [--repeats 15] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, SparseAdam

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.embeddings import InputEmbedding, RowAdam
from runner import Contender, Result, main, race

V, D, B, T = 50_257, 256, 8, 4
LR = 1e-3


def stepper(forward: Callable[[Tensor], Tensor], optimizers: Sequence[Optimizer], steps: int) -> Callable[[], float]:
    generator, grad = torch.Generator().manual_seed(0), torch.randn(B, T, D, generator=torch.Generator().manual_seed(1))

    def run() -> float:
        batches = torch.randint(0, V, (steps, B, T), generator=generator)
        start = time.perf_counter()
        for ids in batches:
            for optimizer in optimizers:
                optimizer.zero_grad()
            forward(ids).backward(grad)
            for optimizer in optimizers:
                optimizer.step()
        return (time.perf_counter() - start) / steps

    return run


def ours(steps: int, *, fused: bool = True, rows: type[Optimizer] = RowAdam) -> Callable[[], float]:
    torch.manual_seed(0)
    layer = InputEmbedding(V, D, T, sparse=True)
    groups = layer.parameter_groups()
    return stepper(layer, [rows(groups.sparse, lr=LR), AdamW(groups.dense, lr=LR, fused=fused)], steps)


def theirs(steps: int, *, sparse: bool, fused: bool) -> Callable[[], float]:
    torch.manual_seed(0)
    tok, pos = nn.Embedding(V, D, sparse=sparse), nn.Embedding(T, D)

    def forward(ids: Tensor) -> Tensor:
        return tok(ids) + pos(torch.arange(T)).unsqueeze(0)

    if sparse:
        optimizers = [SparseAdam(tok.parameters(), lr=LR), AdamW(pos.parameters(), lr=LR, fused=fused)]
    else:
        optimizers = [AdamW([tok.weight, pos.weight], lr=LR, fused=fused)]
    return stepper(forward, optimizers, steps)


def measure(options: argparse.Namespace) -> list[Result]:
    contenders = [
        Contender("Foreword", ours(100)),
        Contender("Foreword, sparse + torch's SparseAdam", ours(100, rows=SparseAdam)),
        Contender("torch sparse Embedding + SparseAdam", theirs(100, sparse=True, fused=False)),
        Contender("torch sparse Embedding + SparseAdam, fused AdamW", theirs(100, sparse=True, fused=True)),
        Contender("torch dense Embedding + AdamW", theirs(3, sparse=False, fused=False)),
        Contender("torch dense Embedding + AdamW, fused", theirs(3, sparse=False, fused=True)),
    ]
    return [
        race(
            f"forward + backward + step [{B}, {T}]",
            contenders,
            repeats=options.repeats,
            warmup=0 if options.quick else 2,
        )
    ]


if __name__ == "__main__":
    main(measure, __doc__, repeats=15)
