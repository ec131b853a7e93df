"""On a GPU: the input layer's forward, backward and step by rows, against two `nn.Embedding`s, eager and compiled.

The limit beside them is the bytes that must move, over the bandwidth of a large copy on the same device: ids and
distinct rows read, the output written; for a backward pass its gradient read and the gradients of distinct rows
written; for a step weights and two moments of those rows read and written. Ids are other ones at each call, the same
for all. Before anything is timed all contenders must agree: outputs, gradients, and the weights after a first step.

    python benchmarks/gpu/embeddings.py [--repeats 15] [--quick] [--device cuda] [--json FILE]

Where torch sees no GPU it says so and measures nothing. `--device cpu` runs the same code there, without a compiler of
kernels: it shows that the script works, and no figure to quote.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, SparseAdam

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.embeddings import InputEmbedding, RowAdam
from runner import Contender, NotInstalled, Result, main, race

LR = 1e-3
ID, FLOAT = 8, 4  # bytes


class Two(nn.Module):
    """What a model writes itself."""

    def __init__(self, V: int, D: int, T: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(V, D, sparse=sparse)
        self.position_embedding = nn.Embedding(T, D)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding(torch.arange(ids.shape[1], device=ids.device))


class Work:
    """One shape on one device: its batches of ids, and the gradient of its output."""

    def __init__(self, device: torch.device, V: int, B: int, T: int, D: int, calls: int) -> None:
        self.device, self.V, self.B, self.T, self.D, self.calls = device, V, B, T, D, calls
        generator = torch.Generator().manual_seed(0)
        self.batches = torch.randint(0, V, (16, B, T), generator=generator).to(device)
        self.grad = torch.randn(B, T, D, generator=generator).to(device)
        self.rows = sum(len(ids.unique()) for ids in self.batches) / len(self.batches)

    def module(self, kind: type[nn.Module], *, sparse: bool = False, compiled: bool = False) -> nn.Module:
        """A layer with the weights that all have."""
        torch.manual_seed(0)
        module = kind(self.V, self.D, self.T, sparse=sparse).to(self.device)
        if compiled:
            module.compile(backend="inductor" if self.device.type == "cuda" else "aot_eager")
        return module

    def timed(self, call: Callable[[Tensor], object]) -> Callable[[], float]:
        """``call`` as a contender's ``run``: the seconds of one call, by the GPU's own clock."""
        ids: Iterator[Tensor] = itertools.cycle(self.batches)

        def run() -> float:
            for _ in range(1 + self.calls // 4):  # a GPU that has rested is slow at first
                call(next(ids))
            if self.device.type != "cuda":
                start = time.perf_counter()
                for _ in range(self.calls):
                    call(next(ids))
                return (time.perf_counter() - start) / self.calls
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize(self.device)
            first.record()
            for _ in range(self.calls):
                call(next(ids))
            last.record()
            last.synchronize()
            return first.elapsed_time(last) / 1e3 / self.calls

        return run

    def limit(self, moved: float) -> Callable[[], float]:
        """The seconds that ``moved`` bytes take at the speed of a copy."""
        elements = (1 << 28) if self.device.type == "cuda" else (1 << 20)
        source, target = torch.ones(2, elements, device=self.device).unbind()
        copy = self.timed(lambda _: target.copy_(source))
        return lambda: moved * copy() / (2 * FLOAT * elements)

    def moved(self, *, backward: bool = False, step: bool = False) -> float:
        """The bytes that must move, at least."""
        table_rows = self.rows + self.T
        output = self.B * self.T * self.D * FLOAT
        total = ID * self.B * self.T + table_rows * self.D * FLOAT + output
        if backward:
            total += ID * self.B * self.T + output + table_rows * self.D * FLOAT
        if step:  # gradients are read; weights and two moments read and written
            total += 7 * table_rows * self.D * FLOAT
        return total


def learning(work: Work, module: nn.Module, optimizers: list[Optimizer] | None = None) -> Callable[[Tensor], None]:
    """Forward, backward and, with optimizers, a step."""

    def call(ids: Tensor) -> None:
        module.zero_grad()
        module(ids).backward(work.grad)
        for optimizer in optimizers or ():
            optimizer.step()

    return call


def by_rows(module: nn.Module, rows: type[Optimizer]) -> list[Optimizer]:
    return [
        rows(module.token_embedding.parameters(), lr=LR),
        AdamW(module.position_embedding.parameters(), lr=LR, weight_decay=0.0, fused=True),
    ]


def agree(work: Work, modules: dict[str, nn.Module], calls: dict[str, Callable[[Tensor], None]]) -> None:
    """AssertionError unless all give the same outputs, gradients and, after one call of each, weights."""
    ids = work.batches[0]
    first, *others = modules
    outputs = {name: module(ids).detach() for name, module in modules.items()}
    for call in calls.values():
        call(ids)
    for name in others:
        torch.testing.assert_close(outputs[name], outputs[first], msg=lambda text, name=name: f"{name}: {text}")
        for theirs, ours in zip(modules[name].parameters(), modules[first].parameters(), strict=True):
            # Sums in another order; where a gradient cancels out, Adam's first step may go the other way.
            torch.testing.assert_close(theirs.grad.to_dense(), ours.grad.to_dense(), atol=1e-4, rtol=1e-4)
            apart = (theirs - ours).detach().abs()
            assert apart.max() <= 2.01 * LR, f"{name}: other weights after a step"
            assert apart.mean() <= 1e-3 * LR, f"{name}: other weights after a step"
    for module in modules.values():
        module.zero_grad()


def claims(work: Work, options: argparse.Namespace, notes: str) -> Iterator[Result]:
    """The three claims of a shape."""
    shape = f"[{work.B}, {work.T}], D = {work.D}, on {work.device.type}"

    def result(claim: str, calls: dict[str, Callable[[Tensor], object]], moved: float) -> Result:
        contenders = [Contender(name, work.timed(call)) for name, call in calls.items()]
        contenders.append(Contender("limit", work.limit(moved)))
        said = f"{notes}; {moved / 1e6:,.1f} MB must move"
        return race(claim, contenders, repeats=options.repeats, warmup=0 if options.quick else 2, notes=said)

    modules = {
        "Foreword": work.module(InputEmbedding),
        "two nn.Embeddings and +": work.module(Two),
        "Foreword, compiled": work.module(InputEmbedding, compiled=True),
        "two nn.Embeddings and +, compiled": work.module(Two, compiled=True),
    }
    calls = {name: learning(work, module) for name, module in modules.items()}
    agree(work, modules, calls)
    yield result(f"forward {shape}", dict(modules), work.moved())
    yield result(f"forward + backward {shape}", calls, work.moved(backward=True))

    fused = {"lr": LR, "weight_decay": 0.0, "fused": True}
    modules = {
        "Foreword": work.module(InputEmbedding, sparse=True),
        "torch sparse Embedding + SparseAdam": work.module(Two, sparse=True),
        "torch dense Embedding + AdamW, fused": work.module(Two),
        "torch dense Embedding, compiled + AdamW, fused": work.module(Two, compiled=True),
    }
    ours, sparse, *dense = modules.items()
    optimizers = {ours[0]: by_rows(ours[1], RowAdam), sparse[0]: by_rows(sparse[1], SparseAdam)}
    optimizers |= {name: [AdamW(module.parameters(), **fused)] for name, module in dense}
    calls = {name: learning(work, module, optimizers[name]) for name, module in modules.items()}
    agree(work, modules, calls)
    yield result(f"forward + backward + step {shape}", calls, work.moved(backward=True, step=True))


def measure(options: argparse.Namespace) -> list[Result]:
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NotInstalled("a GPU: torch sees no CUDA device here (--device cpu shows that the script works)")
    notes = f"torch {torch.__version__}"
    if device.type == "cuda":
        notes = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, {notes}"
    shapes = [(options.vocab, 8, 4, 256), (options.vocab, 32, 256, 256), (options.vocab, 32, 1024, 768)]
    if options.quick:
        shapes = [(options.vocab, 8, 4, 16)]
    results = []
    for V, B, T, D in shapes:
        results += claims(Work(device, V, B, T, D, calls=2 if options.quick else 100), options, notes)
        torch._dynamo.reset()
    return results


if __name__ == "__main__":
    main(
        measure,
        __doc__,
        repeats=15,
        sizes={"vocab": (50_257, 500)},
        add=lambda parser: parser.add_argument("--device", default="cuda", help="(default: %(default)s)"),
    )
