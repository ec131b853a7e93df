"""Claim: the whole process of ``foreword similar king woman --minus man``, the store converted, against gensim's.

gensim's process loads the same vectors from its native format, mapped, and prints the same words.

    python benchmarks/vectors/similar.py [--repeats 7] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, timed

FOREWORD = [sys.executable, "-m", "foreword", "similar", "king", "woman", "--minus", "man"]

GENSIM = """
import sys
from gensim.models import KeyedVectors
wv = KeyedVectors.load(sys.argv[1], mmap="r")
for word, score in wv.most_similar(["king", "woman"], ["man"]):
    print(f"  {score:7.4f}  {word}")
"""


def run(command: list[str]) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-10:]


def measure(options: argparse.Namespace) -> list[Result]:
    from gensim.models import KeyedVectors

    import foreword

    ours = foreword.load("glove-wiki-gigaword-50")
    with tempfile.TemporaryDirectory() as folder:
        native = f"{folder}/glove"
        theirs = KeyedVectors(ours.vector_size)
        theirs.add_vectors(list(ours.index_to_key), ours.vectors)
        theirs.save(native)
        gensim = [sys.executable, "-c", GENSIM, native]
        assert run(FOREWORD) == run(gensim), "the words differ"
        contenders = [
            Contender("Foreword", timed(lambda: run(FOREWORD))),
            Contender("gensim, mapped", timed(lambda: run(gensim))),
        ]
        return [race("king + woman − man, whole process", contenders, repeats=options.repeats)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=7, needs=["gensim"])
