"""Claim: word2vec text to usable vectors, against gensim: 100,000 words × 300 dimensions.

In a fresh process each time, imports done; Foreword's time has everything: loading its compiled parser, codes, the
store on disk, fsync. Both end with the same rows, bit for bit.

    python benchmarks/vectors/read_text.py [--words 100000] [--dim 300] [--repeats 3] [--json]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, arguments, fresh_process, race, report
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


def compare(claim: str, path: Path, repeats: int) -> list[object]:
    """Both read ``path`` to the same rows, and race."""
    import numpy as np

    ends = [path.with_name(f"rows-{name}.npy") for name in ("foreword", "gensim")]
    for code, end in zip((FOREWORD, GENSIM), ends, strict=True):
        fresh_process(code, os.fspath(path), os.fspath(end))
    ours, theirs = (np.load(end, mmap_mode="r") for end in ends)
    assert ours.view(np.uint32).shape == theirs.shape
    assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32)), "the rows differ"
    for end in ends:
        end.unlink()
    contenders = [
        Contender("Foreword", lambda: fresh_process(FOREWORD, os.fspath(path))),
        Contender("gensim", lambda: fresh_process(GENSIM, os.fspath(path))),
    ]
    size = f"{path.stat().st_size / 1e6:,.0f} MB, fresh process, store written and synced"
    return [race(claim, contenders, repeats=repeats, warmup=0, notes=size)]


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=300)
    options = parser.parse_args()
    path = warm(text_file(options.words, options.dim))
    results = compare(f"read word2vec text {options.words:,} × {options.dim}", path, options.repeats)
    report(results, packages=["foreword", "gensim", "numpy", "numba"], as_json=options.json)


if __name__ == "__main__":
    main()
