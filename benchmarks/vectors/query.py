"""Claim: one warm most_similar, and 64 in a batch, against gensim's and against a plain numpy product.

All over the same clustered rows, in one process, warm: Foreword has been asked until its kernels were there. Every
query is a word, topn 10; Foreword and gensim must give the same words, scores within 1e-6.

    python benchmarks/vectors/query.py [--words 400000] [--dim 300] [--repeats 7] [--json]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, arguments, race, report
from vectors.inputs import binary_file, native_file

QUERIES, BATCH = 64, 64


def warmed(wv, words) -> None:
    """Ask until the kernels have loaded (a minute at most)."""
    from foreword.vectors.search import kernels

    end = time.perf_counter() + 60
    while kernels.ready() is None and time.perf_counter() < end and os.environ.get("FOREWORD_KERNELS") != "0":
        wv.most_similar(words[0])


def check(ours, theirs) -> None:
    """The same words and scores; words may swap where their scores are nearer than float32 can tell."""
    assert len(ours) == len(theirs)
    scores = dict(ours)
    for (word, score), (their_word, their_score) in zip(ours, theirs, strict=True):
        assert abs(score - their_score) < 1e-6, (word, score, their_score)
        assert word == their_word or abs(score - scores.get(their_word, score)) < 1e-6, (word, their_word)


def main() -> None:
    parser = arguments(__doc__, repeats=7)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--dim", type=int, default=300)
    options = parser.parse_args()
    from gensim.models import KeyedVectors

    import foreword

    ours = foreword.load(binary_file(options.words, options.dim))
    theirs = KeyedVectors.load(os.fspath(native_file(options.words, options.dim)), mmap="r")
    words = [f"w{i}" for i in np.random.default_rng(3).integers(0, options.words, BATCH)]
    warmed(ours, words)
    for word in words[:QUERIES]:
        check(ours.most_similar(word), theirs.most_similar(word))
    for one, other in zip(ours.most_similar_batch(words), map(ours.most_similar, words), strict=True):
        assert one == other, "the batch differs"
    unit = theirs.get_normed_vectors()

    def product() -> None:
        for word in words[:QUERIES]:
            scores = unit @ unit[theirs.key_to_index[word]]
            best = np.argpartition(scores, -11)[-11:]
            _ = best[np.argsort(-scores[best])]

    size = f"{options.words:,} × {options.dim}"
    singles = [
        Contender("Foreword", lambda: [ours.most_similar(word) for word in words[:QUERIES]] and None),
        Contender("gensim", lambda: [theirs.most_similar(word) for word in words[:QUERIES]] and None),
        Contender("numpy product + argpartition", product),
    ]
    batches = [
        Contender("Foreword, most_similar_batch", lambda: ours.most_similar_batch(words) and None),
        Contender("Foreword, one by one", lambda: [ours.most_similar(word) for word in words] and None),
        Contender("gensim, one by one", lambda: [theirs.most_similar(word) for word in words] and None),
    ]
    results = [
        race(f"{QUERIES} queries, {size}", singles, repeats=options.repeats, units=QUERIES, unit="queries/s"),
        race(f"a batch of {BATCH}, {size}", batches, repeats=options.repeats, units=BATCH, unit="queries/s"),
    ]
    report(results, packages=["foreword", "gensim", "numpy", "numba"], as_json=options.json)


if __name__ == "__main__":
    main()
