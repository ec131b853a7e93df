"""Provenance over 10⁹ windows: a step to its documents, a document to its steps, in a shuffled mixture of three.

    python benchmarks/loader/trace.py [--windows 1000000000] [--repeats 5] [--quick] [--json FILE]

The ids are sparse files, of which no byte is written: 64 tokens a window, in documents of 4,096 tokens. The mean of
a thousand drawn steps, and of a thousand drawn documents, of one epoch, on one rank of eight, with batches of 32;
once of the run as it began, once after four changes of batch size, ranks, weights and skipped documents. The rival is
what one would do without: keep a log of every sample that was handed out, here of the first million, as an array in
memory, [samples, 2], and look there; for a document through all of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import foreword as fw

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race

T, DOCUMENT, CALLS, LOGGED = 64, 4096, 1000, 1_000_000
SHARES = {"code": 0.3, "math": 0.2, "web": 0.5}


def sparse(folder: Path, name: str, windows: int) -> fw.WindowDataset:
    """So many windows of a file of ids that takes no room."""
    tokens = windows * T + 1
    path = folder / f"{name}.bin"
    with open(path, "wb") as file:
        file.truncate(2 * tokens)
    offsets = np.minimum(np.arange(-(-tokens // DOCUMENT) + 1) * DOCUMENT, tokens)
    return fw.WindowDataset(np.memmap(path, np.uint16, "r"), context_length=T, offsets=offsets)


def mixture(data: dict[str, fw.WindowDataset], **options) -> fw.WindowLoader:
    return fw.WindowLoader(
        data, shuffle=True, rank=0, **{"batch_size": 32, "world_size": 8, "weights": SHARES} | options
    )


def changed(data: dict[str, fw.WindowDataset]) -> fw.WindowLoader:
    """A loader whose settings have been changed four times on its way."""
    loader, options = mixture(data), {}
    changes = [{"batch_size": 64}, {"world_size": 4}, {"weights": {"code": 0.25, "math": 0.25, "web": 0.5}}]
    skipped = min(5000, len(data["web"].document_offsets) // 2)
    for change in [*changes, {"skip": {"web": list(range(0, skipped, 5))}}]:
        options |= change
        next(iter(loader))
        state = loader.state_dict()
        loader = mixture(data, **options)
        loader.load_state_dict(state)
    return loader


def measure(options: argparse.Namespace) -> list[Result]:
    results = []
    luck = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        data = {
            name: sparse(Path(folder), name, int(share * options.windows)) for name, share in sorted(SHARES.items())
        }
        started = mixture(data)
        samples = min(LOGGED, len(started) * 256)
        log = np.array(
            [
                (source.source == "web", source.start)
                for step in range(samples // 256)
                for rank in range(8)
                for source in started.trace(step, rank=rank)
            ]
        )
        for name, loader in (("", started), (", after four changes", changed(data))):
            steps = luck.integers(0, len(loader) - 32, CALLS).tolist()  # the epoch that was changed may have fewer
            documents = luck.integers(0, len(data["web"].document_offsets) - 1, CALLS).tolist()

            def trace(loader=loader, steps=steps) -> float:
                start = time.perf_counter()
                for step in steps:
                    loader.trace(step)
                return (time.perf_counter() - start) / CALLS

            def when(loader=loader, documents=documents) -> float:
                start = time.perf_counter()
                for document in documents:
                    loader.when(document, source="web")
                return (time.perf_counter() - start) / CALLS

            def looked_up(documents=documents) -> float:
                start = time.perf_counter()
                for document in documents[:100]:
                    low = document * DOCUMENT
                    np.flatnonzero((log[:, 0] == 1) & (log[:, 1] > low - T) & (log[:, 1] < low + DOCUMENT))
                return (time.perf_counter() - start) / 100

            size = f"{sum(map(len, data.values())):,} windows in three sources{name}"
            found = len(loader.when(documents[0], source="web"))
            results += [
                race(f"trace of a step, {size}", [Contender("Foreword", trace)], repeats=options.repeats),
                race(
                    f"when of a document, {size}",
                    [Contender("Foreword", when), Contender(f"a log of {len(log):,} samples", looked_up)],
                    repeats=options.repeats,
                    notes=f"a document is in some {found:,} windows",
                ),
            ]
    return results


if __name__ == "__main__":
    main(measure, __doc__, sizes={"windows": (1_000_000_000, 100_000)})
