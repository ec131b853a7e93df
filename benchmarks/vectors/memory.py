"""Claim: private memory that opening vectors and one query add to a process, against gensim's native format, mapped.

RssAnon, the resident memory that belongs to the process alone, less that of a process which did the same with ten
words. Linux only.

    python benchmarks/vectors/memory.py [--words 400000] [--dim 300] [--json]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import arguments, machine
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


def anonymous(code: str, path: Path) -> float:
    """RssAnon at the end, in MB."""
    done = subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) * 1024 / 1e6


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--dim", type=int, default=300)
    options = parser.parse_args()
    added = {}
    for name, code, file in (("Foreword", FOREWORD, binary_file), ("gensim, mapped", GENSIM, native_file)):
        full, small = file(options.words, options.dim), file(10, options.dim)
        anonymous(code, full), anonymous(code, small)  # conversions happen here
        added[name] = anonymous(code, full) - anonymous(code, small)
    if options.json:
        print(json.dumps({"machine": machine(["foreword", "gensim"]), "added MB": added}, indent=1))
        return
    print(f"| system | RssAnon added by {options.words:,} × {options.dim} |\n|---|---|")
    for name, megabytes in added.items():
        print(f"| {name} | {megabytes:,.1f} MB |")


if __name__ == "__main__":
    main()
