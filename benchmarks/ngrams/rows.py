"""A training step of an n-gram table alone, in memory: gather, backward and step, in touched rows a second.

4 million rows of 64 elements; batches of 16,384 places, each with four rows (orders 2 and 3, two heads), of text as
real_text.py has it. Foreword sums with NgramTable and learns with RowAdam. The rivals: torch's sparse Embedding, its
rows summed, + SparseAdam; and torch's sparse EmbeddingBag, which sums itself, + SparseAdam. Theirs have one row more,
for places without an n-gram. All take the same rows and the same gradient; each step has another batch.

    python benchmarks/ngrams/rows.py [--repeats 9] [--quick] [--rows 4194304] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam

sys.path.insert(0, str(Path(__file__).parents[1]))
import foreword as fw
from corpus.real_text import real_text
from foreword.embeddings import RowAdam
from runner import Contender, Result, main, race

DIM, PLACES, LR = 64, 1 << 14, 1e-3


def batches(table: fw.NgramTable, steps: int) -> tuple[list[Tensor], str]:
    """Rows [PLACES, 4] of as many batches of running text, and where it is from."""
    text, origin = real_text(5 * PLACES * steps)
    ids = torch.from_numpy(fw.get_tokenizer("gpt2").encode(text).astype("int64"))
    ids = ids.repeat(-(-PLACES * steps // len(ids)))[: PLACES * steps]
    return list(table.row_ids(ids).split(PLACES)), origin


def stepper(
    forward: Callable[[Tensor], Tensor], optimizer: Optimizer, rows: list[Tensor], grad: Tensor
) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        for some in rows:
            optimizer.zero_grad()
            forward(some).backward(grad)
            optimizer.step()
        return (time.perf_counter() - start) / len(rows)

    return run


def measure(options: argparse.Namespace) -> list[Result]:
    table = fw.NgramTable(rows=options.rows, dim=DIM)
    rows, origin = batches(table, 3 if options.quick else 8)
    grad = torch.randn(PLACES, DIM, generator=torch.Generator().manual_seed(0))
    theirs = [torch.where(some < 0, options.rows, some) for some in rows]
    plain = nn.Embedding(options.rows + 1, DIM, sparse=True, padding_idx=options.rows)
    bag = nn.EmbeddingBag(options.rows + 1, DIM, mode="sum", sparse=True, padding_idx=options.rows)
    touched = sum(len(some[some >= 0].unique()) for some in rows) / len(rows)
    contenders = [
        Contender("Foreword", stepper(table, RowAdam(table.parameters(), lr=LR), rows, grad)),
        Contender(
            "torch sparse Embedding + SparseAdam",
            stepper(lambda some: plain(some).sum(-2), SparseAdam(plain.parameters(), lr=LR), theirs, grad),
        ),
        Contender(
            "torch sparse EmbeddingBag + SparseAdam",
            stepper(bag, SparseAdam(bag.parameters(), lr=LR), theirs, grad),
        ),
    ]
    notes = f"{touched:,.0f} distinct rows a step; text: {origin}"
    claim = "gather + backward + step, n-gram rows of 64"
    return [
        race(
            claim,
            contenders,
            repeats=options.repeats,
            warmup=0 if options.quick else 1,
            work=touched,
            rate="rows/s",
            notes=notes,
        )
    ]


if __name__ == "__main__":
    main(measure, __doc__, repeats=9, sizes={"rows": (1 << 22, 1 << 16)})
