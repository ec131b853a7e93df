"""First rows of a token table: drawn at random, or trained on the same tokens by skip-gram first, at equal time.

A small GPT (examples/train_gpt.py) learns from real text for so many seconds of one processor; with first rows that are
trained, the seconds that train them are taken from its own. Several seeds; the loss is that of held-out documents.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from real_text import real_text
from train_gpt import GPT, validate

import foreword as fw
import runner
from foreword.recipes import train_vectors

DIM, CONTEXT, BATCH, LAYERS = 128, 64, 8, 2
PIECE = 2_000  # characters of a document


def learn(
    store: fw.TokenStore, val: fw.TokenStore, seed: int, seconds: float, vectors: Path | None
) -> tuple[float, int]:
    """The validation loss after so many seconds, and the steps that they were enough for."""
    start = time.process_time()
    torch.manual_seed(seed)
    sizes = {"embedding_dim": DIM, "context_length": CONTEXT, "dropout": 0.1, "std": 0.02}
    tokenizer = store.tokenizer
    if vectors is None:
        layer = fw.InputEmbedding(tokenizer.vocab_size, **sizes)
    else:
        done = train_vectors(store, vectors, dim=DIM, epochs=2, min_count=1, workers=1, seed=seed, restart=True)
        assert done.words > 1
        layer = fw.InputEmbedding.from_word_vectors(fw.load(vectors), tokenizer, method="ids", seed=seed, **sizes)
    model = GPT(layer, LAYERS, heads=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    data = fw.WindowDataset(store, context_length=CONTEXT, stride=CONTEXT)
    loader = fw.WindowLoader(data, batch_size=BATCH, shuffle=True, seed=seed)
    steps = 0
    while time.process_time() - start < seconds:
        for inputs, targets in loader:
            optimizer.zero_grad()
            model.loss(inputs, targets).backward()
            optimizer.step()
            steps += 1
            if time.process_time() - start >= seconds:
                break
    return validate(model, val, argparse.Namespace(context=CONTEXT, batch=BATCH)), steps


def measure(options: argparse.Namespace) -> Sequence[runner.Result]:
    text, origin = real_text(options.size)
    losses: dict[str, list[float]] = {"trained first rows": [], "random first rows": []}
    steps: dict[str, list[int]] = {name: [] for name in losses}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        documents = [part for start in range(0, len(text), PIECE) if (part := text[start : start + PIECE]).strip()]
        store = fw.prepare(documents, folder / "store", tokenizer="gpt2", split={"val": 0.05})
        val = fw.TokenStore.open(folder / "store" / "val")
        train_vectors(val, folder / "warm", dim=DIM, epochs=1, min_count=1)  # kernels are compiled once a machine
        for seed in range(options.repeats):
            for name, vectors in zip(losses, (folder / "vectors", None), strict=True):
                loss, done = learn(store, val, seed, options.seconds, vectors)
                losses[name].append(loss)
                steps[name].append(done)
        tokens = len(store)
    made = ", ".join(f"{name}: {statistics.mean(done):,.0f} steps" for name, done in steps.items())
    took = f"{options.seconds:g} s of a processor a run, the training of vectors included"
    note = f"{tokens:,} tokens of {origin}; {took}; {made}"
    claim = "validation loss of a small GPT, at equal time"
    return [runner.Result(claim, losses, unit="nats", notes=note)]


if __name__ == "__main__":
    sizes = {"size": (4_000_000, 200_000), "seconds": (45.0, 2.0)}
    runner.main(measure, __doc__, repeats=3, needs=["torch"], sizes=sizes)
