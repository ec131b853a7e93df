"""Draw docs/images/growth.svg, how open and query time grow with the rows, from the files in benchmarks/results/.

    python docs/make_figure.py      needs foreword[plot]

After a run of benchmarks/vectors/growth.py. The table beside the picture is of the same file; make_tables.py writes it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parent))
from make_tables import ROOT, TABLES, best, load

IMAGE = ROOT / "docs" / "images" / "growth.svg"
GROUND, FAINT, GRID = "#fdfdfd", "#5f6871", "#e3e6e9"
DARK = {"ground": "#14171b", "faint": "#98a1ab", "grid": "#2a2f36"}


def main() -> None:
    """Write the file."""
    IMAGE.write_text(picture(), "utf-8")


def picture() -> str:
    """The results of growth.py as SVG."""
    table = TABLES["growth"]
    run = best(load(), table)
    results = [run.result(table.script, claim) for claim in table.claims]
    rows = [
        [int(name.split()[0].replace(",", "")), *(1e3 * result["medians"][name] for result in results)]
        for name in table.systems
    ]
    return draw(rows)


def draw(rows: list[list[float]]) -> str:
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
        text = f"{label}\n{times[-1]:,.3g} ms"
        axes.annotate(text, (ns[-1], times[-1]), (10, 0), textcoords="offset points", va="center", color=colour)
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
    axes.set_xlabel("rows of 300 elements", color=FAINT)
    axes.set_title("milliseconds", loc="left", color=FAINT, fontsize=10)
    svg = io.StringIO()
    figure.savefig(svg, format="svg", facecolor=GROUND, metadata={"Date": None})
    return _with_both_grounds(svg.getvalue())


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
