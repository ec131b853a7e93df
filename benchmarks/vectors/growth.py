"""How open and query time grow with the rows, 10⁴ … 3·10⁶ × 300: a table, and a picture where matplotlib is there.

Times are medians over fresh processes: opening, the first most_similar, and one warm, once kernels are there. The files
are made by the benchmark (3·10⁶ × 300 takes 3.6 GB and as much again for its store) and kept in Foreword's cache.

    python benchmarks/vectors/growth.py [--most 3000000] [--dim 300] [--repeats 3] [--figure FILE.svg] [--json]
"""

from __future__ import annotations

import io
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

GROUND, FAINT, GRID = "#fdfdfd", "#5f6871", "#e3e6e9"
DARK = {"ground": "#14171b", "faint": "#98a1ab", "grid": "#2a2f36"}
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
    """The table as a picture, on its own ground, dark where the reader's system is."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "foreword", "svg.fonttype": "path", "font.size": 10}
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained", facecolor=GROUND)
    axes.set_facecolor(GROUND)
    ns = [row[0] for row in rows]
    lines = (("first query", 2, "#d9762b", "s"), ("warm query", 3, "#3f8f5f", "^"), ("open", 1, "#4a7fd0", "o"))
    for label, column, colour, marker in lines:
        times = [row[column] for row in rows]
        axes.plot(ns, times, marker=marker, markersize=5, linewidth=2, color=colour)
        told = f"{label}\n{times[-1]:,.3g} ms"
        axes.annotate(told, (ns[-1], times[-1]), (10, 0), textcoords="offset points", va="center", color=colour)
    axes.set(xscale="log", yscale="log", xlim=(ns[0] / 1.3, ns[-1] * 3.2))
    axes.set_xticks(ns, [f"{n / 1e6:g} M" if n >= 1e6 else f"{n // 1000} k" for n in ns])
    axes.set_yticks(ticks := [0.1, 0.3, 1, 3, 10, 30, 100, 300], [f"{tick:g}" for tick in ticks])
    lowest, highest = (pick(min(row[1:]) if pick is min else max(row[1:]) for row in rows) for pick in (min, max))
    axes.set_ylim(lowest / 1.6, highest * 1.6)
    axes.minorticks_off()
    axes.tick_params(colors=FAINT, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(f"rows of {dim} elements", color=FAINT)
    axes.set_title("milliseconds", loc="left", color=FAINT, fontsize=10)
    told = io.StringIO()
    figure.savefig(told, format="svg", facecolor=GROUND, metadata={"Date": None})
    path.write_text(_with_both_grounds(told.getvalue()))


def _with_both_grounds(svg: str) -> str:
    """The colours of ground, text and grid as variables, which dark systems get others of."""
    names = dict(zip((GROUND, FAINT, GRID), ("ground", "faint", "grid"), strict=True))
    for colour, name in names.items():
        svg = svg.replace(colour, f"var(--{name})")
    light = ";".join(f"--{name}:{colour}" for colour, name in names.items())
    dark = ";".join(f"--{name}:{colour}" for name, colour in DARK.items())
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    return svg.replace("<defs>", style + "<defs>", 1)


if __name__ == "__main__":
    main()
