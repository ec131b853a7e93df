"""Claim: private memory that opening vectors and one query add to a process, against gensim's native format, mapped.

RssAnon, the resident memory that belongs to the process alone, less that of a process which did the same with ten
words. Linux only.

    python benchmarks/vectors/memory.py [--words 400000] [--dim 300] [--repeats 3] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Result, fresh_process, main
from vectors.inputs import binary_file, native_file

READ = """
with open("/proc/self/status") as file:
    print(next(line for line in file if line.startswith("RssAnon")).split()[1])
"""

FOREWORD = f"""
import sys
from foreword.vectors.loading import load
wv = load(sys.argv[1])
wv.most_similar("w7", topn=3)
{READ}
"""

GENSIM = f"""
import sys
from gensim.models import KeyedVectors
wv = KeyedVectors.load(sys.argv[1], mmap="r")
wv.most_similar("w7", topn=3)
{READ}
"""


def anonymous(code: str, path: Path) -> float:
    """RssAnon at the end, in MB."""
    return int(fresh_process(code, path)[0]) * 1024 / 1e6


def measure(options: argparse.Namespace) -> list[Result]:
    added: dict[str, list[float]] = {}
    for name, code, file in (("Foreword", FOREWORD, binary_file), ("gensim, mapped", GENSIM, native_file)):
        full, small = file(options.words, options.dim), file(10, options.dim)
        anonymous(code, full), anonymous(code, small)  # conversions happen here
        added[name] = [anonymous(code, full) - anonymous(code, small) for _ in range(options.repeats)]
    claim = f"private memory added by opening {options.words:,} × {options.dim} and one query"
    return [Result(claim, added, unit="MB")]


if __name__ == "__main__":
    main(measure, __doc__, repeats=3, needs=["gensim"], sizes={"words": (400_000, 4_000), "dim": (300, 50)})
