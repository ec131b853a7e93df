"""Claim: all 19,544 analogies of questions-words.txt on GloVe 400,000 × 50 against gensim, the same answers in every
section.

gensim takes a minute or two, so it runs once by default, beside three runs of Foreword: the first is cold, with numba's
kernels still to be loaded, if they are. The questions are those in gensim's test data.

    python benchmarks/vectors/analogies.py [--repeats 1] [--json]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, arguments, race, report

COLD = """
import sys, time
import foreword
wv = foreword.load("glove-wiki-gigaword-50")
start = time.perf_counter()
wv.evaluate_word_analogies(sys.argv[1])
print(time.perf_counter() - start)
"""


def main() -> None:
    options = arguments(__doc__, repeats=1).parse_args()
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    import foreword

    questions = datapath("questions-words.txt")
    ours = foreword.load("glove-wiki-gigaword-50")
    theirs = KeyedVectors(50)
    theirs.add_vectors(list(ours.index_to_key), np.array(ours.vectors))
    results: dict[str, tuple] = {}

    def run(name: str, wv) -> float:
        start = time.perf_counter()
        results[name] = wv.evaluate_word_analogies(questions)
        return time.perf_counter() - start

    def cold() -> float:
        done = subprocess.run([sys.executable, "-c", COLD, questions], check=True, capture_output=True, text=True)
        return float(done.stdout)

    for _ in range(2):
        run("Foreword", ours)
    contenders = [
        Contender("Foreword", lambda: run("Foreword", ours)),
        Contender("Foreword, the first in a process", cold),
        Contender("gensim", lambda: run("gensim", theirs)),
    ]
    result = race("19,544 analogies, 400,000 × 50", contenders, repeats=options.repeats, warmup=0)
    assert results["Foreword"] == results["gensim"], "the sections differ"
    report([result], packages=["foreword", "gensim", "numpy", "numba"], as_json=options.json)
    if not options.json:
        print(f"\naccuracy of both: {results['gensim'][0]:.4f}, the same questions right in every section")


if __name__ == "__main__":
    main()
