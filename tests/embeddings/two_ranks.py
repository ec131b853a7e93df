"""Two processes train one model with an n-gram table under DistributedDataParallel (gloo). Run by test_ngrams.

    python two_ranks.py FOLDER RANK

Each saves its table after three steps as FOLDER/RANK.pt.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

import foreword as fw
from foreword.embeddings import RowAdam


def make():
    torch.manual_seed(0)
    ngrams = fw.NgramTable(rows=600, dim=64, end_of_text_id=0)
    data = fw.WindowDataset(np.random.default_rng(0).integers(0, 20, 2000), context_length=64, ngrams=ngrams)
    model = nn.Sequential(fw.InputEmbedding(20, 16, 64, ngrams=ngrams), nn.Linear(16, 20))
    groups = model[0].parameter_groups()
    optimizers = (
        RowAdam(groups.sparse, lr=0.01),
        torch.optim.SGD([p for group in groups.dense for p in group["params"]] + list(model[1].parameters()), lr=0.1),
    )
    return data, model, optimizers


def step(run, model, optimizers, batches):
    """One step on all the batches together."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    for inputs, targets, rows in batches:
        logits = run(inputs, rows)
        (nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()) / len(batches)).backward()
    for optimizer in optimizers:
        optimizer.step()


class Model(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, ids, rows):
        return self.parts[1](self.parts[0](ids, ngram_rows=rows))


def main():
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    data, model, optimizers = make()
    parallel = nn.parallel.DistributedDataParallel(Model(model))
    for batch, _ in zip(fw.WindowLoader(data, batch_size=4, shuffle=True), range(3), strict=False):
        step(parallel, model, optimizers, [batch])
    torch.save(model.state_dict(), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
