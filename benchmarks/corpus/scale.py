"""Claim: prepare takes time in proportion to the corpus, and memory that does not grow with it.

1 GB against 100 MB of real text (the same documents drawn again), and 1 GB of words that never come twice (each word
is new to the engine, whose cache would grow without bound); two workers, each run a fresh process, peak memory of it
(it starts no other). Linux only.

    python benchmarks/corpus/scale.py [--megabytes 1000] [--repeats 1] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.real_text import real_text
from runner import Result, fresh_process, main

CODE = """
import sys, time
from foreword.tokens import prepare
start = time.perf_counter()
prepare(sys.argv[1], sys.argv[2], workers=2)
seconds = time.perf_counter() - start
with open("/proc/self/status") as status:  # threads only: no other processes
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
print(seconds, peak)
"""


def measure(options: argparse.Namespace) -> list[Result]:
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    large, small = options.megabytes, options.megabytes // 10
    sizes = {"Foreword": small, "ten times as much": large, "ten times as much, new words": large}
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in sizes.items():
            folder, out = Path(temporary) / "corpus", Path(temporary) / "out"
            folder.mkdir()
            (write_words if "new words" in name else write_real)(folder, size)
            runs = []
            for _ in range(options.repeats):
                runs.append([float(word) for word in fresh_process(CODE, folder, out)])
                shutil.rmtree(out)
            shutil.rmtree(folder)
            seconds[name], peaks[name] = map(list, zip(*runs, strict=True))
    claim = f"prepare {small:,} MB of real text, two workers"
    notes = f"real text: documents of {real_text(1)[1]}, drawn again; new words: random, of nine letters"
    return [Result(claim, seconds, notes=notes), Result(f"{claim}, peak memory", peaks, unit="MB")]


def write_real(folder: Path, megabytes: int) -> None:
    text, _ = real_text(70_000_000)
    documents = [text[start : start + 50_000] for start in range(0, len(text), 50_000)]
    draw, written = random.Random(0), 0
    for number in range(1 << 30):
        data = draw.choice(documents).encode()
        (folder / f"{number:06}.txt").write_bytes(data)
        written += len(data)
        if written >= megabytes * 1_000_000:
            return


def write_words(folder: Path, megabytes: int) -> None:
    draw = np.random.default_rng(0)
    for number in range(megabytes):
        letters = draw.integers(97, 123, size=(100_000, 10), dtype=np.uint8)
        letters[:, 9] = 32
        (folder / f"{number:06}.txt").write_bytes(letters.tobytes())


if __name__ == "__main__":
    main(measure, __doc__, repeats=1, sizes={"megabytes": (1000, 10)})
