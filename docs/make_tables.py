"""Write the tables of figures in README.md and docs/ from the files in benchmarks/results/.

    python docs/make_tables.py

A table stands between ``<!-- table NAME: … -->`` and ``<!-- end of table -->``; what is between is replaced, by the
definition in ``tables.py``. Its figures are those of one machine: the file that has most of them, the newest if several
have as many. What that machine has not measured is shown as such. The table ``processors`` puts machines side by side.
A test keeps the pages equal to what this gives.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "docs")]
from tables import TABLES, WARM, Claims, Systems  # noqa: E402

from runner import figure  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table ([\w-]+):[^>]*-->\n).*?(<!-- end of table -->)", re.DOTALL)
ABSENT = "not measured"
INSTRUCTIONS = {
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX",
    "amx": "AMX",
    "asimddp": "dot products",
    "i8mm": "I8MM",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One file of results, as benchmarks/all.py writes it."""

    file: str
    data: Mapping[str, Any]

    @property
    def processor(self) -> str:
        """Its name without trademarks and clock."""
        name = re.sub(r"\((R|TM)\)|CPU|Processor|@.*", " ", self.data["machine"]["processor"])
        return " ".join(name.split())

    @property
    def date(self) -> str:
        """Of the last run that added to the file."""
        return str(self.data["date"])

    def result(self, script: str, claim: str, *names: str) -> Mapping[str, Any] | None:
        """The result of a claim, if it is here with the contenders ``names``."""
        for result in self.data["scripts"].get(script, {}).get("results", []):
            if result["claim"] == claim:
                return result if result["medians"].keys() >= set(names) else None
        return None

    def caption(self, table: Claims | Systems) -> str:
        """What the figures of a table must be quoted with."""
        machine, versions = self.data["machine"], self.data["versions"]
        best = [shown for name, shown in INSTRUCTIONS.items() if name in machine["instructions"]]
        parts = [self.processor + (f" ({', '.join(best)})" if best else ""), f"{machine['cores']} cores"]
        parts += [machine["gpu"]] if "gpu" in machine else []
        parts += [machine["system"], f"Python {machine['python']}"]
        parts += [f"{name} {versions[name]}" for name in table.packages if name in versions]
        entries = (self.data["scripts"].get(script) for script, _, _ in table.figures())
        date = max((entry["date"] for entry in entries if entry), default=self.date)
        copied = " (copied by hand from earlier tables)" if "transcribed" in self.data else ""
        return f"{', '.join(parts)}; {date}{copied}."


def best(runs: Sequence[Run], table: Claims | Systems) -> Run:
    """The run that has most of a table's figures, of several the newest."""
    return max(runs, key=lambda run: (sum(run.result(*found) is not None for found in table.figures()), run.date))


def value(result: Mapping[str, Any] | None, name: str) -> str:
    """A contender's median as tables show it."""
    if result is None or name not in result["medians"]:
        return ABSENT
    return figure(result["medians"][name], unit=result["unit"], work=result["work"], rate=result["rate"])


def ratio(result: Mapping[str, Any] | None, rival: str, ours: str) -> str:
    """How many times ours the rival's time or memory is; where ours isn't the first contender, by the medians."""
    if result is None or not {rival, ours} <= result["medians"].keys():
        return "–"
    first = ours == next(iter(result["medians"]))
    times = result["ratios"][rival] if first else result["medians"][rival] / result["medians"][ours]
    if times is None:
        return "–"
    return f"{times:.2f}" if times < 2 else f"{times:.1f}" if times < 10 else f"{times:,.0f}"


def claims(table: Claims, run: Run) -> Iterator[str]:
    """The lines of a table with a row for each claim."""
    yield "| work | Foreword | rival | ratio |"
    yield "|---|---:|---|---:|"
    for row in table.rows:
        result = run.result(row.script, row.claim)
        rivals = "; ".join(f"{name}: {value(result, key)}" for key, name in row.rivals.items())
        ratios = "; ".join(ratio(result, key, row.ours) for key in row.rivals)
        yield f"| {row.work} | {value(result, row.ours)} | {rivals} | {ratios} |"


def systems(table: Systems, run: Run) -> Iterator[str]:
    """The lines of a table with a row for each system."""
    yield f"| {' | '.join([table.head, *table.claims.values()])} |"
    yield "|---" + "|---:" * len(table.claims) + "|"
    first = next(iter(table.systems))
    for key, name in table.systems.items():
        cells = [name]
        for claim in table.claims:
            result = run.result(table.script, claim)
            cell = value(result, key)
            if cell != ABSENT:
                cell = cell.split()[0] if table.bare else cell
                cell += f" ({ratio(result, key, first)})" if table.ratios and key != first else ""
            cells.append(cell)
        yield f"| {' | '.join(cells)} |"


def pairs() -> list[tuple[str, str, str, str]]:
    """Every pair of ours and a rival in the tables, once: script, claim, ours, rival; by script and claim."""
    found: dict[tuple[str, str, str, str], None] = {}
    for table in TABLES.values():
        if isinstance(table, Claims):
            found |= dict.fromkeys(
                (row.script, row.claim, row.ours, rival) for row in table.rows for rival in row.rivals
            )
        elif table.ratios:
            first, *rivals = table.systems
            found |= dict.fromkeys((table.script, claim, first, rival) for claim in table.claims for rival in rivals)
    return sorted(found, key=lambda pair: pair[:2])


def by_processor(runs: Sequence[Run], script: str, claim: str, ours: str, rival: str) -> dict[str, Mapping[str, Any]]:
    """The newest result of each processor that has measured both."""
    results = (
        (run.processor, run.result(script, claim, ours, rival)) for run in sorted(runs, key=lambda run: run.date)
    )
    return {processor: result for processor, result in results if result}


def processors(runs: Sequence[Run]) -> Iterator[str]:
    """The claims that more than one processor has measured, side by side: ours, the rival's, the ratio."""
    names = sorted({run.processor for run in runs})
    yield f"| script | work, rival | {' | '.join(names)} |"
    yield "|---" * (2 + len(names)) + "|"
    for script, claim, ours, rival in pairs():
        results = by_processor(runs, script, claim, ours, rival)
        if len(results) > 1:
            cells = [
                f"{value(result, ours)}, {value(result, rival)}: **{ratio(result, rival, ours)}**" if result else "–"
                for result in map(results.get, names)
            ]
            work = claim if ours == "Foreword" else f"{claim}, {ours.removeprefix('Foreword, ')}"
            yield f"| `{script}` | {work}; {rival} | {' | '.join(cells)} |"


def spread(runs: Sequence[Run]) -> Iterator[str]:
    """One sentence: the ratio of a warm query on each processor."""
    results = by_processor(runs, WARM.script, WARM.claim, "Foreword", "gensim")
    each = [f"{ratio(result, 'gensim', 'Foreword')} on {name}" for name, result in sorted(results.items())]
    yield "Ratios depend on the processor: gensim's time over Foreword's for one warm `most_similar`, 400,000 × 300,"
    yield f"is {', '.join(each)}."


def files(runs: Sequence[Run]) -> Iterator[str]:
    """The files of results, a row each."""
    yield "| file | processor | cores, memory | date, commit | versions |"
    yield "|---" * 5 + "|"
    for run in runs:
        machine, data = run.data["machine"], run.data
        copied = ", copied by hand from earlier tables" if "transcribed" in data else ""
        environment = " ".join(f"{name}={value}" for name, value in machine.get("environment", {}).items())
        instructions = " ".join(machine["instructions"])
        facts = [run.processor, machine["family"], instructions, machine.get("gpu"), environment]
        processor = "; ".join(filter(None, facts))
        versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        yield (
            f"| `{run.file}`{copied} | {processor} | {machine['cores']}, {machine['memory_gb']:g} GB "
            f"| {run.date}, {data['commit']} | Python {machine['python']}, {versions} |"
        )


def lines(name: str, runs: Sequence[Run]) -> Iterator[str]:
    """What stands between the markers of the table ``name``."""
    if name in (others := {"processors": processors, "spread": spread, "files": files}):
        yield from others[name](runs)
        return
    table = TABLES[name]
    run = best(runs, table)
    yield run.caption(table)
    yield ""
    yield from claims(table, run) if isinstance(table, Claims) else systems(table, run)


def load(folder: Path = RESULTS) -> list[Run]:
    """The files of results, newest first."""
    runs = [Run(path.name, json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    if quick := [run.file for run in runs if run.data["quick"]]:
        sys.exit(f"{', '.join(quick)}: a --quick run measures nothing; remove it from {folder}")
    return sorted(runs, key=lambda run: run.date, reverse=True)


def written(page: str, runs: Sequence[Run]) -> str:
    """A page with its tables replaced."""
    return MARKED.sub(lambda found: f"{found[1]}\n" + "\n".join(lines(found[2], runs)) + f"\n\n{found[3]}", page)


def pages(root: Path = ROOT) -> list[Path]:
    """The pages that have tables."""
    every = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [path for path in every if MARKED.search(path.read_text("utf-8"))]


def main() -> None:
    """Write the pages."""
    runs = load()
    for path in pages():
        old = path.read_text("utf-8")
        if (new := written(old, runs)) != old:
            path.write_text(new, "utf-8")
            print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
