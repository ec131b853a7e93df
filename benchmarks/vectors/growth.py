"""How open and query time grow with the rows, 10⁴ … 3·10⁶ × 300.

Times are medians over fresh processes: opening, the first most_similar, and one warm, once kernels are there. The files
are made by the benchmark (3·10⁶ × 300 takes 3.6 GB and as much again for its store) and kept in Foreword's cache.
``docs/make_figure.py`` draws the picture of the docs from the results.

    python benchmarks/vectors/growth.py [--rows 10000 30000 …] [--dim 300] [--repeats 3] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import foreword
from runner import Result, fresh_process, main
from vectors.inputs import binary_file, warm

SIZES = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000]
CODE = """
import json, statistics, sys, time
from foreword.vectors.search import kernels
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
print(json.dumps([times[1] - times[0], times[2] - times[1], statistics.median(warm)], separators=(",", ":")))
"""


def measure(options: argparse.Namespace) -> list[Result]:
    claims = ("open", "first query", "warm query")
    rounds: dict[str, dict[str, list[float]]] = {claim: {} for claim in claims}
    for n in options.rows:
        path = binary_file(n, options.dim)
        store = foreword.load(path)._store
        assert store is not None
        for file in store.path.iterdir():
            warm(file)
        runs = [json.loads(fresh_process(CODE, path)[0]) for _ in range(options.repeats)]
        for claim, times in zip(claims, zip(*runs, strict=True), strict=True):
            rounds[claim][f"{n:,} rows"] = list(times)
    return [Result(f"{claim}, {options.dim} dimensions", times) for claim, times in rounds.items()]


if __name__ == "__main__":
    main(measure, __doc__, repeats=3, sizes={"rows": (SIZES, [3_000, 10_000]), "dim": (300, 50)})
