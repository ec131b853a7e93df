"""The common runner of the benchmarks: rivals in turn, several rounds, medians and their ratio.

A benchmark is a script with a function ``measure``, which makes an input, wraps Foreword and each rival as a callable
and hands them to ``race``. The contenders run alternately (A B A B …), because a shared machine drifts: the ratio is
taken round by round, and its median is what we quote. Nothing here asserts a time.

    python benchmarks/FOLDER/NAME.py [--repeats 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Rest before each turn: the threads of BLAS go on spinning for some tens of ms after a product, and would take a
# processor from whoever comes next.
SETTLE = 0.2

# What a figure may depend on: the versions of those that are installed go with the results.
PACKAGES = (
    *(
        "foreword",
        "numpy",
        "numba",
        "pyarrow",
        "torch",
        "gigatoken",
        "tiktoken",
        "gensim",
        "model2vec",
        "datasets",
        "datatrove",
    ),
    *("tokenizers", "grain", "litdata", "trl", "transformers", "fastapi", "uvicorn", "playwright"),
)
# Instruction sets that the speed of our kernels, of BLAS or of torch depends on, as /proc/cpuinfo spells them.
INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
# Variables that choose kernels or threads for BLAS, numba or Foreword: figures under them are others'.
VARIABLES = re.compile(r"(OPENBLAS|BLIS|MKL|OMP|NUMBA)_\w+|FOREWORD_(KERNELS|THREADS)")


class NotInstalled(Exception):  # noqa: N818
    """What a script needs is not on this machine, so it is left out; the message says what to install."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to do the work; ``run`` does it once and returns the seconds it took, or None to be timed whole."""

    name: str
    run: Callable[[], float | None]


@dataclasses.dataclass(frozen=True)
class Result:
    """What the contenders of one claim measured, the first being Foreword.

    ``rounds`` holds the value of every round by contender, in ``unit``: seconds of a race. Where ``work`` is given, one
    round works through so much of it, and tables show work / seconds in ``rate``.
    """

    claim: str
    rounds: dict[str, list[float]]
    unit: str = "s"
    work: float | None = None
    rate: str = ""
    notes: str = ""

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, rival: str) -> float | None:
        """How many times Foreword's value the rival's is: the median over rounds of rival / Foreword."""
        ours = next(iter(self.rounds.values()))
        if min(ours) <= 0:  # memory may come out as nothing
            return None
        return statistics.median(r / o for r, o in zip(self.rounds[rival], ours, strict=True))

    def data(self) -> dict[str, Any]:
        """The result as JSON has it: with medians and ratios, which is what the tables of the docs read."""
        rivals = list(self.rounds)[1:]
        return {
            **dataclasses.asdict(self),
            "medians": {name: self.median(name) for name in self.rounds},
            "ratios": {name: self.ratio(name) for name in rivals},
        }


def race(
    claim: str,
    contenders: Sequence[Contender],
    *,
    repeats: int,
    warmup: int = 1,
    work: float | None = None,
    rate: str = "",
    notes: str = "",
) -> Result:
    """Run the contenders alternately, ``warmup`` rounds uncounted and ``repeats`` counted."""
    rounds: dict[str, list[float]] = {c.name: [] for c in contenders}
    for round_ in range(warmup + repeats):
        for contender in contenders:
            gc.collect()
            time.sleep(SETTLE)
            start = time.perf_counter()
            own = contender.run()
            elapsed = time.perf_counter() - start if own is None else own
            if round_ >= warmup:
                rounds[contender.name].append(elapsed)
    return Result(claim, rounds, work=work, rate=rate, notes=notes)


def timed(work: Callable[[], object], *, calls: int = 1) -> Callable[[], float]:
    """``work`` as a contender's ``run``: the seconds of one of its ``calls``, which it makes itself."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / calls

    return run


def fresh_process(code: str, *args: str | os.PathLike[str]) -> list[str]:
    """Run ``code`` in a fresh Python, and give the words of the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code, *args], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a process of the benchmark failed:\n{done.stderr}")
    return done.stdout.splitlines()[-1].split()


def seconds_of(code: str, *args: str | os.PathLike[str]) -> float:
    """The same where the last line is the seconds of the part that counts."""
    return float(fresh_process(code, *args)[-1])


def machine() -> dict[str, Any]:
    """What a figure must be quoted with: processor, its instruction sets, cores, memory in GB, system, Python, the
    GPU where there is one, and the variables of the environment that change what BLAS, numba or Foreword do.
    """
    facts: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file.read().split("\n\n")[0].splitlines():
                name, _, value = line.partition(":")
                facts[name.strip().lower()] = value.strip()
    except OSError:
        pass
    flags = set((facts.get("flags") or facts.get("features") or "").split())
    family = {name: facts[name] for name in ("cpu family", "model", "stepping") if name in facts}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(query, check=False, capture_output=True, text=True).stdout if shutil.which(query[0]) else ""
    gpu = {"gpu": names.splitlines()[0]} if names.strip() else {}
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "family": ", ".join(f"{name} {value}" for name, value in family.items()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": cores,
        "memory_gb": pages and round(pages / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **gpu,
        "environment": {name: value for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)},
    }


def versions() -> dict[str, str]:
    """The versions of the packages that a figure may depend on, of those installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def installed(name: str) -> bool:
    """Whether a package is here, by the name that pip knows."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def main(
    measure: Callable[[argparse.Namespace], Sequence[Result]],
    doc: str | None,
    *,
    repeats: int = 5,
    needs: Sequence[str] = (),
    sizes: Mapping[str, tuple[Any, Any]] | None = None,
    add: Callable[[argparse.ArgumentParser], object] | None = None,
) -> None:
    """Run a benchmark from its command line: measure, print a table, write JSON where ``--json FILE`` says so.

    Args:
        measure: from the options to the results.
        doc: the script's docstring, which ``--help`` shows.
        repeats: how many rounds count, where ``--repeats`` says nothing.
        needs: packages (pip's names) without which the script is left out.
        sizes: the options that say how large the input is, by name: value, and value for ``--quick``. A list may be
            given several values.
        add: adds options of another kind to the parser.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help="counted rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small inputs and one round: shows that it runs, no more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE, too")
    for name, (size, _) in (sizes or {}).items():
        many = {"nargs": "+", "type": type(size[0])} if isinstance(size, list) else {"type": type(size)}
        parser.add_argument(f"--{name}", default=size, help="(default: %(default)s)", **many)
    if add:
        add(parser)
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(repeats=1, **{name: quick for name, (_, quick) in (sizes or {}).items()})
    options = parser.parse_args()
    try:
        if missing := [name for name in needs if not installed(name)]:
            raise NotInstalled(f"{', '.join(missing)}: not installed (the extra bench)")
        results = measure(options)
    except NotInstalled as error:
        print(f"left out: {error}")
        data: dict[str, Any] = {"left_out": str(error)}
    else:
        facts = {name: value for name, value in {**machine(), **versions()}.items() if value}
        print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
        print(table(results))
        data = {"results": [result.data() for result in results]}
    if options.json:
        options.json.write_text(json.dumps(data))


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| work | system | median | min–max | × Foreword's |", "|---|---|---|---|---|"]
    for result in results:
        for name, values in result.rounds.items():
            ratio = 1.0 if name == next(iter(result.rounds)) else result.ratio(name)
            low, middle, high = (
                figure(value, unit=result.unit, work=result.work, rate=result.rate)
                for value in (min(values), result.median(name), max(values))
            )
            lines.append(f"| {result.claim} | {name} | {middle} | {low}–{high} | {ratio and f'{ratio:.2f}'} |")
    notes = [f"\n{result.claim}: {result.notes}" for result in results if result.notes]
    return "\n".join(lines + notes)


def figure(value: float, *, unit: str = "s", work: float | None = None, rate: str = "") -> str:
    """A value as tables show it, to three digits: 0.0104 s is 10.4 ms; with ``work``, 0.5 s are 40 MB/s."""
    if work is not None:
        return f"{_digits(work / value)} {rate}"
    scales = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
    scale, unit = next((s for s in scales if abs(value) >= s[0]), scales[-1]) if unit == "s" else (1, unit)
    return f"{_digits(value / scale)} {unit}"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent: 1450.2 is 1,450."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
