"""Claims: private memory that opening vectors and one query add to a process, against gensim's native format, mapped;
and the most that a batch of 2,000 words takes besides, beside a numpy product of the whole batch.

RssAnon, the resident memory that belongs to the process alone: for opening, less that of a process which did the same
with ten words; for the batch, its most in the meantime less that before. Linux only.

    python benchmarks/vectors/memory.py [--words 400000] [--dim 300] [--batch_dim 50] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Result, fresh_process, main
from vectors.inputs import binary_file, native_file

READ = """
with open("/proc/self/status") as file:
    print(next(line for line in file if line.startswith("RssAnon")).split()[1])
"""

FOREWORD = f"""
import sys
from foreword.vectors.loading import load
wv = load(sys.argv[1])
wv.most_similar("w7", topn=3)
{READ}
"""

GENSIM = f"""
import sys
from gensim.models import KeyedVectors
wv = KeyedVectors.load(sys.argv[1], mmap="r")
wv.most_similar("w7", topn=3)
{READ}
"""


PEAK = """
import sys, threading
import numpy as np
from foreword.vectors.loading import load
def anonymous():
    with open("/proc/self/status") as file:
        return next(line for line in file if line.startswith("RssAnon")).split()[1]
wv = load(sys.argv[1])
words = [f"w{{i}}" for i in np.random.default_rng(3).integers(0, len(wv), 2000)]
{before}
before, most, done = int(anonymous()), [0], threading.Event()
def watch():
    while not done.wait(0.002):
        most[0] = max(most[0], int(anonymous()))
thread = threading.Thread(target=watch)
thread.start()
{call}
done.set()
thread.join()
print(max(most[0] - before, 0))
"""
BATCH = PEAK.format(before="wv.most_similar_batch(words[:10])", call="wv.most_similar_batch(words)")
PRODUCT = PEAK.format(
    before="unit, queries = wv.get_normed_vectors(), np.stack([wv.get_vector(word, norm=True) for word in words])",
    call="scores = unit @ queries.T",
)


def anonymous(code: str, path: Path) -> float:
    """What the code prints, in MB: RssAnon at its end, or how far it rose."""
    return int(fresh_process(code, path)[0]) * 1024 / 1e6


def measure(options: argparse.Namespace) -> list[Result]:
    added: dict[str, list[float]] = {}
    for name, code, file in (("Foreword", FOREWORD, binary_file), ("gensim, mapped", GENSIM, native_file)):
        full, small = file(options.words, options.dim), file(10, options.dim)
        anonymous(code, full), anonymous(code, small)  # conversions happen here
        added[name] = [anonymous(code, full) - anonymous(code, small) for _ in range(options.repeats)]
    claim = f"private memory added by opening {options.words:,} × {options.dim} and one query"
    file = binary_file(options.words, options.batch_dim)
    peaks = {
        name: [anonymous(code, file) for _ in range(options.repeats)]
        for name, code in (("Foreword", BATCH), ("numpy, all products", PRODUCT))
    }
    batch = f"private memory added by a batch of 2,000 words, {options.words:,} × {options.batch_dim}"
    return [Result(claim, added, unit="MB"), Result(batch, peaks, unit="MB")]


if __name__ == "__main__":
    sizes = {"words": (400_000, 4_000), "dim": (300, 50), "batch_dim": (50, 50)}
    main(measure, __doc__, repeats=3, needs=["gensim"], sizes=sizes)
