"""Claims: a table of n-grams of 50 GB on a machine that has less memory: its private memory; a training step against
the same model with a table in memory; and, with none of its rows in memory, how much of a step is spent waiting for
the disk, reading ahead and not.

A GPT of two blocks (D = 128, V = 8,192, [8, 256], 8,192 rows a step, dim 64) learns from drawn ids whose frequencies
fall as those of words do; n-grams of drawn ids repeat less than those of a text. Every pass is over the same batches,
and the first is not counted. The table in memory has a 64th of the rows. Waiting is the time of a pass without what the
same pass takes when its rows are in memory. The folder has holes: it takes some 2 GB of disk.

    python benchmarks/ngrams/larger_than_memory.py [--rows 65000000] [--steps 20] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.embeddings import InputEmbedding, NgramTable, RowAdam
from foreword.windows import WindowDataset, WindowLoader
from runner import Result, main

V, D, B, T, DIM = 8192, 128, 8, 256, 64


class Model(nn.Module):
    """The input layer, two blocks, and the token table again as the head."""

    def __init__(self, ngrams: NgramTable) -> None:
        super().__init__()
        self.embedding = InputEmbedding(V, D, T, ngrams=ngrams, std=0.02)
        block = {"dim_feedforward": 4 * D, "batch_first": True, "norm_first": True, "dropout": 0.0}
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(D, 4, **block) for _ in range(2))
        self.mask = nn.Transformer.generate_square_subsequent_mask(T)

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(inputs, ngram_rows=rows)
        for block in self.blocks:
            hidden = block(hidden, src_mask=self.mask, is_causal=True)
        return functional.cross_entropy(self.embedding.logits(hidden).flatten(0, 1), targets.flatten())


class Run:
    """A model, its optimizers, and passes over its batches."""

    def __init__(self, rows: int, steps: int, folder: Path | None) -> None:
        torch.manual_seed(0)
        self.ngrams = NgramTable(rows=rows, dim=DIM, path=folder)
        self.model = Model(self.ngrams)
        sparse = self.model.embedding.parameter_groups().sparse
        others = [p for p in self.model.parameters() if all(p is not q for group in sparse for q in group["params"])]
        self.optimizers = [RowAdam(sparse), torch.optim.AdamW(others, fused=True)]
        ids = (np.random.default_rng(0).zipf(1.2, steps * B * T + 1) % V).astype(np.uint16)
        self.data = WindowDataset(ids, context_length=T, ngrams=self.ngrams)
        self.expect = self.data._expect

    def run(self, *, ahead: bool = True) -> float:
        """Seconds a step of one pass."""
        self.data._expect = self.expect if ahead else None
        steps, start = 0, time.perf_counter()
        for inputs, targets, rows in WindowLoader(self.data, batch_size=B, shuffle=True, prefetch=1):
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            self.model.loss(inputs, targets, rows).backward()
            for optimizer in self.optimizers:
                optimizer.step()
            steps += 1
        return (time.perf_counter() - start) / steps

    def drop(self) -> None:
        """Have none of the rows in memory."""
        self.ngrams.checkpoint()
        file = self.ngrams.table.weight.mapped._file
        file._map.madvise(mmap.MADV_DONTNEED)
        os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def private_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("RssAnon")).split()[1]) * 1024 / 1e6


def measure(options: argparse.Namespace) -> list[Result]:
    size = f"{options.rows * DIM * 12 / 1e9:.0f} GB"
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        memory, small = Run(options.rows // 64, options.steps, None), Run(1000, options.steps, Path(temporary, "small"))
        memory.run(), small.run()
        before = private_mb()
        mapped = Run(options.rows, options.steps, Path(temporary, "table"))
        first = mapped.run()
        added = private_mb() - before
        mapped.ngrams.checkpoint()
        warm: dict[str, list[float]] = {"in a folder": [], "in memory": []}
        ahead: dict[str, list[float]] = {"reading ahead": [], "not": []}
        for _ in range(options.repeats):
            warm["in a folder"].append(mapped.run())
            warm["in memory"].append(memory.run())
            for name, seconds in ahead.items():
                mapped.drop()
                seconds.append(mapped.run(ahead=name == "reading ahead"))
        mapped.ngrams.checkpoint()
        blocks = sum(path.stat().st_blocks for path in Path(temporary, "table").iterdir()) * 512 / 1e9
        mapped.ngrams.close()
        small.ngrams.close()
    alone = statistics.median(warm["in a folder"])
    waiting = {name: [100 * max(0.0, 1 - alone / s) for s in seconds] for name, seconds in ahead.items()}
    notes = f"the first pass, of rows never written before: {1000 * first:.0f} ms a step; {blocks:.1f} GB of disk"
    claim = f"a training step with a table of n-grams of {size}"
    return [
        Result(claim, warm, notes=notes),
        Result(f"{claim}, none of it in memory", ahead),
        Result(f"{claim}, none of it in memory: share of the time spent waiting", waiting, unit="%"),
        Result(f"private memory added by a table of n-grams of {size}", {"in a folder": [added]}, unit="MB"),
    ]


def folder_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="where the table goes: on a disk, not in memory (default: TMPDIR)")


if __name__ == "__main__":
    main(measure, __doc__, repeats=3, sizes={"rows": (65_000_000, 1_000_000), "steps": (20, 2)}, add=folder_option)
