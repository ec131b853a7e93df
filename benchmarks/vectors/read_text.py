"""Claim: word2vec text to usable vectors, against gensim: 100,000 words × 300 dimensions.

In a fresh process each time, imports done; Foreword's time has everything: loading its compiled parser, codes, the
store on disk, fsync. Both end with the same rows, bit for bit.

    python benchmarks/vectors/read_text.py [--words 100000] [--dim 300] [--repeats 3] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, seconds_of
from vectors.inputs import text_file, warm

FOREWORD = """
import os, sys, tempfile, time
import numpy as np
from foreword.vectors.loading import load
with tempfile.TemporaryDirectory(dir=os.path.dirname(sys.argv[1])) as folder:
    os.environ["FOREWORD_HOME"] = folder
    start = time.perf_counter()
    wv = load(sys.argv[1])
    wv["w7"]
    seconds = time.perf_counter() - start
    np.save(sys.argv[2], wv.vectors) if len(sys.argv) > 2 else None
print(seconds)
"""

GENSIM = """
import sys, time
import numpy as np
from gensim.models import KeyedVectors
start = time.perf_counter()
wv = KeyedVectors.load_word2vec_format(sys.argv[1], binary=sys.argv[1].endswith(".bin"))
wv["w7"]
seconds = time.perf_counter() - start
np.save(sys.argv[2], wv.vectors) if len(sys.argv) > 2 else None
print(seconds)
"""


def compare(claim: str, path: Path, repeats: int) -> list[Result]:
    """Both read ``path`` to the same rows, and race."""
    import numpy as np

    ends = [path.with_name(f"rows-{name}.npy") for name in ("foreword", "gensim")]
    for code, end in zip((FOREWORD, GENSIM), ends, strict=True):
        seconds_of(code, path, end)
    ours, theirs = (np.load(end, mmap_mode="r") for end in ends)
    assert ours.view(np.uint32).shape == theirs.shape
    assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32)), "the rows differ"
    for end in ends:
        end.unlink()
    contenders = [
        Contender("Foreword", lambda: seconds_of(FOREWORD, path)),
        Contender("gensim", lambda: seconds_of(GENSIM, path)),
    ]
    size = f"{path.stat().st_size / 1e6:,.0f} MB, fresh process, store written and synced"
    return [race(claim, contenders, repeats=repeats, warmup=0, notes=size)]


def measure(options: argparse.Namespace) -> list[Result]:
    path = warm(text_file(options.words, options.dim))
    return compare(f"read word2vec text, {options.words:,} × {options.dim}", path, options.repeats)


if __name__ == "__main__":
    main(measure, __doc__, repeats=3, needs=["gensim"], sizes={"words": (100_000, 2_000), "dim": (300, 50)})
