"""Claim: prepare takes time in proportion to the corpus, and memory that does not grow with it.

1 GB against 100 MB of real text (the same documents drawn again), and 1 GB of words that never come twice (each word
is new to the engine, whose cache would grow without bound); two workers, each run a fresh process, peak memory of it
(it starts no other). Linux only.

    python benchmarks/corpus/scale.py [--megabytes 1000] [--json]
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.real_text import real_text
from runner import arguments, machine

CODE = """
import sys, time
from foreword.tokens import prepare
start = time.perf_counter()
store = prepare(sys.argv[1], sys.argv[2], workers=2)
seconds = time.perf_counter() - start
with open("/proc/self/status") as status:  # threads only: no other processes
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
print(len(store), seconds, peak)
"""


def main() -> None:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--megabytes", type=int, default=1000)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in (
            ("real text", options.megabytes // 10),
            ("real text", options.megabytes),
            ("new words", options.megabytes),
        ):
            folder = Path(temporary) / "corpus"
            folder.mkdir()
            origin = write_real(folder, size) if name == "real text" else write_words(folder, size)
            out = Path(temporary) / "out"
            done = subprocess.run([sys.executable, "-c", CODE, folder, out], check=True, capture_output=True, text=True)
            tokens, seconds, peak = map(float, done.stdout.split())
            rows.append({"corpus": origin, "MB": size, "tokens": int(tokens), "seconds": seconds, "peak MB": peak})
            subprocess.run(["rm", "-r", folder, out], check=True)
    facts = machine(["foreword", "gigatoken", "numpy"])
    if options.json:
        print(json.dumps({"machine": facts, "rows": rows}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print("| corpus | MB | tokens | seconds | MB/s | peak memory, MB |\n|---|---|---|---|---|---|")
    for row in rows:
        speed = row["MB"] / row["seconds"]
        print(
            f"| {row['corpus']} | {row['MB']:,} | {row['tokens']:,} | {row['seconds']:.2f} | {speed:.0f} "
            f"| {row['peak MB']:.0f} |"
        )
    print(f"\ntime ratio, {rows[1]['MB']:,} MB to {rows[0]['MB']:,} MB: {rows[1]['seconds'] / rows[0]['seconds']:.2f}")


def write_real(folder: Path, megabytes: int) -> str:
    text, origin = real_text(70_000_000)
    documents = [text[start : start + 50_000] for start in range(0, len(text), 50_000)]
    draw, written = random.Random(0), 0
    for number in range(1 << 30):
        data = draw.choice(documents).encode()
        (folder / f"{number:06}.txt").write_bytes(data)
        written += len(data)
        if written >= megabytes * 1_000_000:
            return f"documents of {origin}, drawn again"
    raise AssertionError


def write_words(folder: Path, megabytes: int) -> str:
    draw = np.random.default_rng(0)
    for number in range(megabytes):
        letters = draw.integers(97, 123, size=(100_000, 10), dtype=np.uint8)
        letters[:, 9] = 32
        (folder / f"{number:06}.txt").write_bytes(letters.tobytes())
    return "random words of nine letters"


if __name__ == "__main__":
    main()
