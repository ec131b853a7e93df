"""Claim: word2vec binary to usable vectors, against gensim: 400,000 words × 300 dimensions.

As read_text.py, whose code this runs on the binary file.

    python benchmarks/vectors/read_binary.py [--words 400000] [--dim 300] [--repeats 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Result, main
from vectors.inputs import binary_file, warm
from vectors.read_text import compare


def measure(options: argparse.Namespace) -> list[Result]:
    path = warm(binary_file(options.words, options.dim))
    return compare(f"read word2vec binary, {options.words:,} × {options.dim}", path, options.repeats)


if __name__ == "__main__":
    main(measure, __doc__, needs=["gensim"], sizes={"words": (400_000, 4_000), "dim": (300, 50)})
