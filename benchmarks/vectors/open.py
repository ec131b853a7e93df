"""Claim: open + first most_similar in a fresh process, imports done, against gensim's native format, mapped.

Foreword's store has been converted before; whatever it must load to answer counts. Both give the same words, with
scores within 1e-6. The time of the opening alone is a result of its own.

    python benchmarks/vectors/open.py [--words 400000] [--dim 300] [--repeats 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, fresh_process, main, race
from vectors.inputs import binary_file, native_file, warm

CODE = """
import json, sys, time
{imports}
start = time.perf_counter()
wv = {load}
opened = time.perf_counter() - start
found = wv.most_similar("w7")
print(json.dumps([time.perf_counter() - start, opened, found], separators=(",", ":")))
"""
FOREWORD = CODE.format(
    imports="from foreword.vectors.keyed_vectors import KeyedVectors\nfrom foreword.vectors.loading import load",
    load="load(sys.argv[1])",
)
GENSIM = CODE.format(imports="from gensim.models import KeyedVectors", load='KeyedVectors.load(sys.argv[1], mmap="r")')


def once(code: str, path: Path) -> tuple[float, float, list[tuple[str, float]]]:
    """Seconds to the first answer, seconds of the opening, and the answer."""
    total, opened, found = json.loads(fresh_process(code, path)[0])
    return total, opened, found


def measure(options: argparse.Namespace) -> list[Result]:
    size = f"{options.words:,} × {options.dim}"
    files = {
        "Foreword": (FOREWORD, warm(binary_file(options.words, options.dim))),
        "gensim, mapped": (GENSIM, warm(native_file(options.words, options.dim))),
    }
    found, expected = (once(code, path)[2] for code, path in files.values())
    assert [word for word, _ in found] == [word for word, _ in expected], "the words differ"
    assert all(abs(a - b) < 1e-6 for (_, a), (_, b) in zip(found, expected, strict=True)), "the scores differ"
    opening: dict[str, list[float]] = {name: [] for name in files}

    def run(name: str) -> float:
        total, opened, _ = once(*files[name])
        opening[name].append(opened)
        return total

    contenders = [Contender(name, lambda name=name: run(name)) for name in files]
    both = race(f"open + first most_similar, {size}", contenders, repeats=options.repeats)
    alone = {name: seconds[-options.repeats :] for name, seconds in opening.items()}
    return [both, Result(f"open alone, {size}", alone)]


if __name__ == "__main__":
    main(measure, __doc__, needs=["gensim"], sizes={"words": (400_000, 4_000), "dim": (300, 50)})
