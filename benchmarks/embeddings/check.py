"""What the check of token ids costs on CPU at [16, 1024]: the layer against the same layer with its checks taken out.

The lookup itself finds an id outside the table, so what is left is a few comparisons of dtype and shape and a `try`. A
check before the lookup, by the largest and smallest id, is shown beside it.

    python benchmarks/embeddings/check.py [--repeats 31] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from embeddings.forward import timed
from foreword.embeddings import InputEmbedding
from runner import Contender, Result, main, race

V, B, T = 50_257, 16, 1024


class Unchecked(InputEmbedding):
    """The layer's forward without a check of its own."""

    def forward(self, ids: Tensor, positions: Tensor | None = None, *, offset: int = 0) -> Tensor:
        places = self.position_embedding(positions, offset=offset, length=ids.shape[-1])
        return self.token_embedding(ids).add_(places)


class CheckedBefore(Unchecked):
    """The usual check, a pass over the ids."""

    def forward(self, ids: Tensor, positions: Tensor | None = None, *, offset: int = 0) -> Tensor:
        low, high = torch.aminmax(ids)
        if low < 0 or high >= self.vocab_size:
            raise IndexError
        return super().forward(ids, positions, offset=offset)


def measure(options: argparse.Namespace) -> list[Result]:
    results = []
    for D in (256, 768):
        kinds = {"Foreword": InputEmbedding, "without checks": Unchecked, "a check before the lookup": CheckedBefore}
        layers = {name: kind(V, D, T) for name, kind in kinds.items()}
        for layer in layers.values():
            layer.load_state_dict(layers["Foreword"].state_dict())
        ids = torch.randint(0, V, (B, T))
        calls = 4096 // D
        contenders = [
            Contender(name, timed(lambda layer=layer, ids=ids: layer(ids), calls)) for name, layer in layers.items()
        ]
        results.append(
            race(f"forward [{B}, {T}], D = {D}", contenders, repeats=options.repeats, warmup=0 if options.quick else 2)
        )
    return results


if __name__ == "__main__":
    main(measure, __doc__, repeats=31)
