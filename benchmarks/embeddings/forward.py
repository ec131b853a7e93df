"""Forward: InputEmbedding against `tok(x) + pos(arange).unsqueeze(0)`, and against Hugging Face GPT-2's wte + wpe.

All eager, with gradients recorded, the same weights and ids. A run is several calls, so that one of microseconds is
timed well; the table shows the time of one.

    python benchmarks/embeddings/forward.py [--repeats 9] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.embeddings import InputEmbedding
from runner import Contender, Result, main, race

V = 50_257
SHAPES = [(8, 4), (8, 256), (32, 256), (16, 1024)]


def timed(call: Callable[[], object], calls: int) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    return run


def hugging_face(layer: InputEmbedding, T: int) -> Callable[[Tensor], Tensor]:
    """The lines of transformers' GPT2Model.forward that make the hidden states, on its own modules."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=V, n_embd=layer.embedding_dim, n_positions=T, n_layer=0, n_head=4)
    model = GPT2Model(config)
    with torch.no_grad():
        model.wte.weight.copy_(layer.token_embedding.weight)
        model.wpe.weight.copy_(layer.position_embedding())

    def forward(ids: Tensor) -> Tensor:
        inputs_embeds = model.wte(ids)
        position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)
        position_ids = position_ids.unsqueeze(0)
        return inputs_embeds + model.wpe(position_ids).to(inputs_embeds.device)

    return forward


def measure(options: argparse.Namespace) -> list[Result]:
    results = []
    for D in (256, 768):
        for B, T in SHAPES:
            torch.manual_seed(0)
            layer = InputEmbedding(V, D, T)
            tok, pos = nn.Embedding(V, D), nn.Embedding(T, D)
            with torch.no_grad():
                tok.weight.copy_(layer.token_embedding.weight)
                pos.weight.copy_(layer.position_embedding())
            ids = torch.randint(0, V, (B, T))

            def eager(ids: Tensor, tok: nn.Embedding = tok, pos: nn.Embedding = pos) -> Tensor:
                return tok(ids) + pos(torch.arange(ids.shape[1])).unsqueeze(0)

            ways = {"Foreword": layer, "two nn.Embeddings and +": eager, "Hugging Face GPT-2": hugging_face(layer, T)}
            for way in ways.values():
                assert torch.equal(way(ids), layer(ids))
            calls = max(1, 300_000 // (B * T * D // 64))
            contenders = [
                Contender(name, timed(lambda way=way, ids=ids: way(ids), calls)) for name, way in ways.items()
            ]
            results.append(
                race(
                    f"forward [{B}, {T}], D = {D}",
                    contenders,
                    repeats=options.repeats,
                    warmup=0 if options.quick else 2,
                )
            )
    return results


if __name__ == "__main__":
    main(measure, __doc__, repeats=9, needs=["transformers"])
