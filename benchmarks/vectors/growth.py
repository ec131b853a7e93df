"""How open and query time grow with the rows, 10⁴ … 3·10⁶ × 300: a table, and a picture where matplotlib is there.

Times are medians over fresh processes: opening, the first most_similar, and one warm, once kernels are there. The files
are made by the benchmark (3·10⁶ × 300 takes 3.6 GB and as much again for its store) and kept in Foreword's cache.

    python benchmarks/vectors/growth.py [--most 3000000] [--dim 300] [--repeats 3] [--figure FILE.svg] [--json]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import foreword
from runner import arguments, machine
from vectors.inputs import binary_file, warm

SIZES = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000]
CODE = """
import json, statistics, sys, time
from foreword.vectors import kernels
from foreword.vectors.keyed_vectors import KeyedVectors
from foreword.vectors.loading import load
times = [time.perf_counter()]
wv = load(sys.argv[1])
times.append(time.perf_counter())
wv.most_similar("w7")
times.append(time.perf_counter())
kernels.load()
warm = []
for i in range(30):
    start = time.perf_counter()
    wv.most_similar(f"w{i * 97}")
    warm.append(time.perf_counter() - start)
print(json.dumps([times[1] - times[0], times[2] - times[1], statistics.median(warm)]))
"""


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--dim", type=int, default=300)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    rows = []
    for n in (n for n in SIZES if n <= options.most):
        path = binary_file(n, options.dim)
        store = foreword.load(path)._store
        assert store is not None
        warm(store.path / "x")
        for file in store.path.iterdir():
            warm(file)
        runs = []
        for _ in range(options.repeats):
            done = subprocess.run(
                [sys.executable, "-c", CODE, os.fspath(path)], check=True, capture_output=True, text=True
            )
            runs.append(json.loads(done.stdout))
        rows.append([n, *(1e3 * statistics.median(column) for column in zip(*runs, strict=True))])
    facts = machine(["foreword", "numpy", "numba"])
    if options.json:
        print(json.dumps({"machine": facts, "columns": ["rows", "open_ms", "first_ms", "warm_ms"], "rows": rows}))
    else:
        print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
        print("| rows | open, ms | first query, ms | warm query, ms |\n|---:|---:|---:|---:|")
        for n, *times in rows:
            print(f"| {n:,} | " + " | ".join(f"{t:.2f}" for t in times) + " |")
    if options.figure:
        draw(rows, options.figure, options.dim)


def draw(rows: list[list[float]], path: Path, dim: int) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "foreword"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    ns = [row[0] for row in rows]
    for column, (label, marker) in enumerate((("open", "o"), ("first query", "s"), ("warm query", "^")), 1):
        axes.plot(ns, [row[column] for row in rows], marker=marker, label=label)
    axes.set(xscale="log", yscale="log", xlabel=f"rows of {dim} elements", ylabel="milliseconds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
