"""Claim: one warm most_similar, and 64 in a batch, against gensim's and against a plain numpy product.

How near the warm query comes to the speed of memory: beside it the time in which two threads read all of its codes.

All over the same clustered rows, in one process, warm: Foreword has been asked until its kernels were there. Every
query is a word, topn 10; Foreword and gensim must give the same words, scores within 1e-6. 3,000,000 words take 11 GB
of memory, most of it gensim's.

    python benchmarks/vectors/query.py [--words 400000 3000000] [--dim 300] [--repeats 7] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, timed
from vectors.inputs import binary_file, native_file

BATCH = 64


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


def measure(options: argparse.Namespace) -> list[Result]:
    return [result for words in options.words for result in claims(words, options.dim, options.repeats)]


def claims(n: int, dim: int, repeats: int) -> list[Result]:
    from gensim.models import KeyedVectors

    import foreword

    ours = foreword.load(binary_file(n, dim))
    theirs = KeyedVectors.load(os.fspath(native_file(n, dim)), mmap="r")
    words = [f"w{i}" for i in np.random.default_rng(3).integers(0, n, BATCH)]
    warmed(ours, words)
    for word in words:
        check(ours.most_similar(word), theirs.most_similar(word))
    for one, other in zip(ours.most_similar_batch(words), map(ours.most_similar, words), strict=True):
        assert one == other, "the batch differs"
    unit = theirs.get_normed_vectors()

    def product() -> None:
        for word in words:
            scores = unit @ unit[theirs.key_to_index[word]]
            best = np.argpartition(scores, -11)[-11:]
            _ = best[np.argsort(-scores[best])]

    def one_by_one(wv):
        return timed(lambda: [wv.most_similar(word) for word in words], calls=BATCH)

    singles = [
        Contender("Foreword", one_by_one(ours)),
        Contender("gensim", one_by_one(theirs)),
        Contender("numpy product + argpartition", timed(product, calls=BATCH)),
    ]
    import threading

    codes = ours._index.codes.codes.reshape(-1).view(np.int64)
    halves = np.array_split(codes, 2)

    def read() -> None:
        helper = threading.Thread(target=halves[0].sum)
        helper.start()
        halves[1].sum()
        helper.join()

    rows = unit[[theirs.key_to_index[word] for word in words]].T.copy()

    def whole_product() -> None:
        np.matmul(unit, rows)

    def whole_product_and_best() -> None:
        np.argpartition((unit @ rows).T, -11, axis=1)

    batches = [
        Contender("Foreword", timed(lambda: ours.most_similar_batch(words), calls=BATCH)),
        Contender("Foreword, one by one", one_by_one(ours)),
        Contender("gensim, one by one", one_by_one(theirs)),
        Contender("numpy, one product", timed(whole_product, calls=BATCH)),
        Contender("… and argpartition", timed(whole_product_and_best, calls=BATCH)),
    ]
    reading = [
        Contender("Foreword", one_by_one(ours)),
        Contender("reading the codes", timed(lambda: [read() for _ in range(16)], calls=16)),
    ]
    size = f"{n:,} × {dim}"
    return [
        race(f"warm most_similar, {size}", singles, repeats=repeats),
        race(f"a batch of {BATCH}, {size}, per query", batches, repeats=repeats),
        race(f"one warm query beside reading its codes, {size}", reading, repeats=repeats),
    ]


if __name__ == "__main__":
    sizes = {"words": ([400_000, 3_000_000], [4_000]), "dim": (300, 50)}
    main(measure, __doc__, repeats=7, needs=["gensim"], sizes=sizes)
