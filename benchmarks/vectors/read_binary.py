"""Claim: word2vec binary to usable vectors, against gensim: 400,000 words × 300 dimensions.

As read_text.py, whose code this runs on the binary file.

    python benchmarks/vectors/read_binary.py [--words 400000] [--dim 300] [--repeats 5] [--json]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import arguments, report
from vectors.inputs import binary_file, warm
from vectors.read_text import compare


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--dim", type=int, default=300)
    options = parser.parse_args()
    path = warm(binary_file(options.words, options.dim))
    results = compare(f"read word2vec binary {options.words:,} × {options.dim}", path, options.repeats)
    report(results, packages=["foreword", "gensim", "numpy"], as_json=options.json)


if __name__ == "__main__":
    main()
