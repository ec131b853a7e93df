"""The common runner of the benchmarks: rivals in turn, several repeats, medians and their ratio.

A benchmark is a script that makes an input, wraps Foreword and each rival as a callable, and hands them to
``race``. The contenders run alternately (A B A B …), because a shared machine drifts: the ratio is taken round by
round, and its median is what we quote. Nothing here asserts a time.

    python benchmarks/NAME.py [--repeats 5] [--json]
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

# Rest before each turn: the threads of BLAS go on spinning for some tens of ms after a product, and would take a
# processor from whoever comes next.
SETTLE = 0.2


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to do the work; ``run`` does it once and returns the seconds it took, or None to be timed whole."""

    name: str
    run: Callable[[], float | None]


@dataclasses.dataclass(frozen=True)
class Result:
    """Seconds of every round by contender, the first being Foreword; ``units`` are what one run works through."""

    claim: str
    seconds: dict[str, list[float]]
    units: float = 1.0
    unit: str = "s"
    notes: str = ""

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, rival: str) -> float:
        """How many times as long the rival takes: the median over rounds of rival / Foreword."""
        ours = next(iter(self.seconds.values()))
        return statistics.median(r / o for r, o in zip(self.seconds[rival], ours, strict=True))


def race(
    claim: str,
    contenders: Sequence[Contender],
    *,
    repeats: int,
    warmup: int = 1,
    units: float = 1.0,
    unit: str = "s",
    notes: str = "",
) -> Result:
    """Run the contenders alternately, ``warmup`` rounds uncounted and ``repeats`` counted."""
    seconds: dict[str, list[float]] = {c.name: [] for c in contenders}
    for round_ in range(warmup + repeats):
        for contender in contenders:
            gc.collect()
            time.sleep(SETTLE)
            start = time.perf_counter()
            own = contender.run()
            elapsed = time.perf_counter() - start if own is None else own
            if round_ >= warmup:
                seconds[contender.name].append(elapsed)
    return Result(claim, seconds, units, unit, notes)


def fresh_process(code: str, *args: str) -> float:
    """Run ``code`` in a fresh Python; it prints, as its last line, the seconds of the part that counts."""
    done = subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def machine(packages: Sequence[str]) -> dict[str, str]:
    """What a figure must be quoted with: processor, cores, system, Python, package versions."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    facts = {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return facts | {name: importlib.metadata.version(name) for name in packages}


def report(results: Sequence[Result], *, packages: Sequence[str], as_json: bool) -> None:
    """Print the results: a Markdown table ready for the docs, or JSON."""
    facts = machine(packages)
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                **dataclasses.asdict(r),
                "medians": {n: r.median(n) for n in r.seconds},
                "ratios": {n: r.ratio(n) for n in list(r.seconds)[1:]},
            }
            for r in results
        ]
        print(json.dumps({"machine": facts, "results": rows}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print("| work | system | median | min–max | × Foreword's time |\n|---|---|---|---|---|")
    for result in results:
        for name, times in result.seconds.items():
            ratio = "1" if name == next(iter(result.seconds)) else f"{result.ratio(name):.2f}"
            print(
                f"| {result.claim} | {name} | {_shown(result, result.median(name))} "
                f"| {_shown(result, min(times))}–{_shown(result, max(times))} | {ratio} |"
            )
    for result in results:
        if result.notes:
            print(f"\n{result.claim}: {result.notes}")


def arguments(doc: str | None, *, repeats: int = 5) -> argparse.ArgumentParser:
    """The options that every benchmark has; a script adds its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help="counted rounds (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _shown(result: Result, seconds: float) -> str:
    if result.unit != "s":
        return f"{result.units / seconds:,.3g} {result.unit}"
    for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"
