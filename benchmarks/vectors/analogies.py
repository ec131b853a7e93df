"""Claim: all 19,544 analogies of questions-words.txt on GloVe 400,000 × 50 against gensim, the same answers in every
section.

gensim takes a minute or two, so it runs once by default, beside Foreword in this process and in a fresh one, which has
numba's kernels still to load. The questions are those in gensim's test data.

    python benchmarks/vectors/analogies.py [--rows 300000] [--repeats 1] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, seconds_of

COLD = """
import sys, time
import foreword
wv = foreword.load("glove-wiki-gigaword-50")
start = time.perf_counter()
wv.evaluate_word_analogies(sys.argv[1], restrict_vocab=int(sys.argv[2]))
print(time.perf_counter() - start)
"""


def measure(options: argparse.Namespace) -> list[Result]:
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    import foreword

    questions = datapath("questions-words.txt")
    ours = foreword.load("glove-wiki-gigaword-50")
    theirs = KeyedVectors(50)
    theirs.add_vectors(list(ours.index_to_key), np.array(ours.vectors))
    answers: dict[str, tuple] = {}

    def run(name: str, wv) -> float:
        start = time.perf_counter()
        answers[name] = wv.evaluate_word_analogies(questions, restrict_vocab=options.rows)
        return time.perf_counter() - start

    for _ in range(2):
        run("Foreword", ours)
    contenders = [
        Contender("Foreword", lambda: run("Foreword", ours)),
        Contender("Foreword, the first in a process", lambda: seconds_of(COLD, questions, str(options.rows))),
        Contender("gensim", lambda: run("gensim", theirs)),
    ]
    result = race("19,544 analogies, 400,000 × 50", contenders, repeats=options.repeats, warmup=0)
    assert answers["Foreword"] == answers["gensim"], "the sections differ"
    notes = f"accuracy of both: {answers['gensim'][0]:.4f}, the same questions right in every section"
    return [dataclasses.replace(result, notes=notes)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=1, needs=["gensim"], sizes={"rows": (300_000, 5_000)})
