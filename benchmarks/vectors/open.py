"""Claim: open + first most_similar in a fresh process, imports done, against gensim's native format, mapped.

Foreword's store has been converted before; whatever it must load to answer counts. Both give the same words, with
scores within 1e-6. The time of the opening alone is printed too.

    python benchmarks/vectors/open.py [--words 400000] [--dim 300] [--repeats 5] [--json]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, arguments, race, report
from vectors.inputs import binary_file, native_file, warm

FOREWORD = """
import json, sys, time
from foreword.vectors.keyed_vectors import KeyedVectors
from foreword.vectors.loading import load
start = time.perf_counter()
wv = load(sys.argv[1])
opened = time.perf_counter() - start
found = wv.most_similar("w7")
print(json.dumps([time.perf_counter() - start, opened, found]))
"""

GENSIM = """
import json, sys, time
from gensim.models import KeyedVectors
start = time.perf_counter()
wv = KeyedVectors.load(sys.argv[1], mmap="r")
opened = time.perf_counter() - start
found = wv.most_similar("w7")
print(json.dumps([time.perf_counter() - start, opened, found]))
"""


def once(code: str, path: Path) -> list[object]:
    done = subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=True, capture_output=True, text=True)
    told: list[object] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--dim", type=int, default=300)
    options = parser.parse_args()
    ours, theirs = warm(binary_file(options.words, options.dim)), warm(native_file(options.words, options.dim))
    (_, _, found), (_, _, expected) = once(FOREWORD, ours), once(GENSIM, theirs)
    assert [word for word, _ in found] == [word for word, _ in expected], "the words differ"
    assert all(abs(a - b) < 1e-6 for (_, a), (_, b) in zip(found, expected, strict=True)), "the scores differ"
    opening: list[float] = []

    def foreword() -> float:
        total, opened, _ = once(FOREWORD, ours)
        opening.append(1e3 * opened)
        return total

    contenders = [Contender("Foreword", foreword), Contender("gensim, mapped", lambda: once(GENSIM, theirs)[0])]
    claim = f"open + first most_similar, {options.words:,} × {options.dim}"
    result = race(claim, contenders, repeats=options.repeats)
    report([result], packages=["foreword", "gensim", "numpy"], as_json=options.json)
    if not options.json:
        print(f"\nForeword's opening alone: {sorted(opening)[len(opening) // 2]:.1f} ms")


if __name__ == "__main__":
    main()
