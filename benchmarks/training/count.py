"""Counting the words of a corpus: Foreword's threads against gensim's scan of the same file, counts compared.

Also the peak memory of counting and encoding a large corpus, beside what a process takes that has only imported both.
The text is what corpus.py has fetched, else words drawn by Zipf's law, which is said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import runner
from foreword.vectors.training.corpus import TextCorpus
from foreword.vectors.training.vocabulary import choose

WORKERS = 2
MEMORY = """
import re, sys
from pathlib import Path
from foreword.vectors.training.corpus import TextCorpus
from foreword.vectors.training.vocabulary import choose
from foreword.vectors.training import words_kernel
path, folder, only_import = sys.argv[1:]
if only_import != "yes":
    corpus = TextCorpus.of_file(path)
    chosen = choose(corpus.count(workers=2), min_count=10)
    corpus.encode(chosen.words, Path(folder) / "corpus.u32", workers=2)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def words_file(folder: Path, words: int, vocabulary: int) -> Path:
    """A file of so many words of a vocabulary of that size, drawn by Zipf's law, 20 a line; the first five million are
    repeated.
    """
    rng = np.random.default_rng(1)
    names = np.array([f"w{i:x}" + "abcdefgh"[: i % 9] for i in range(vocabulary)])
    weights = 1.0 / np.arange(1, vocabulary + 1)
    edges = np.cumsum(weights / weights.sum())
    ranks = np.searchsorted(edges, rng.random(min(5_000_000, words)))
    drawn = names[np.minimum(ranks, vocabulary - 1)].tolist()
    text = "".join(" ".join(drawn[i : i + 20]) + "\n" for i in range(0, len(drawn), 20)).encode()
    path = folder / f"{words}.txt"
    with path.open("wb") as file:
        for _ in range(words // len(drawn)):
            file.write(text)
    return path


def measure(options: argparse.Namespace) -> Sequence[runner.Result]:
    from gensim.models import Word2Vec

    from foreword._base.files import cache_folder

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = cache_folder("benchmark-words") / "words.txt"
        path, origin = (real, "Debian's dictionaries, Bible and manuals") if real.exists() else (None, "")
        if path is None or options.quick:
            path, origin = words_file(folder, options.words, 75_000), "words drawn by Zipf's law"
        corpus = TextCorpus.of_file(path)

        def ours() -> None:
            counted = corpus.count(workers=WORKERS)
            found["Foreword"] = counted.as_dict(), counted.total

        def gensims() -> None:
            model = Word2Vec(min_count=10)
            total, _ = model.scan_vocab(corpus_file=str(path))
            found["gensim"] = dict(model.raw_vocab), total

        found: dict[str, tuple[dict[str, int], int]] = {}
        ours()
        words = found["Foreword"][1]
        contenders = [runner.Contender("Foreword", ours), runner.Contender("gensim", gensims)]
        note = f"{words:,} words ({origin}), {WORKERS} threads"
        counting = runner.race(
            "count the words of a file",
            contenders,
            repeats=options.repeats,
            warmup=0,
            work=words / 1e6,
            rate="million words/s",
            notes=note,
        )
        if found["Foreword"] != found["gensim"]:
            raise AssertionError("the counts differ")
        large = words_file(folder, options.large, 200_000)
        size = large.stat().st_size
        base = float(runner.fresh_process(MEMORY, large, folder, "yes")[0])
        peak = float(runner.fresh_process(MEMORY, large, folder, "no")[0])
        memory = runner.Result(
            "peak memory of counting and encoding, beside the imports",
            {"Foreword": [peak - base]},
            unit="MB",
            notes=f"{size / 1e9:.2f} GB of text, a vocabulary of 200,000 words, {WORKERS} threads",
        )
        chosen = choose(corpus.count(workers=WORKERS), min_count=10)

        def encode() -> None:
            corpus.encode(chosen.words, folder / "x.u32", workers=WORKERS)

        encoding = runner.race(
            "encode the file",
            [
                runner.Contender("Foreword", encode),
            ],
            repeats=options.repeats,
            work=words / 1e6,
            rate="million words/s",
            notes=note,
        )
    return [counting, encoding, memory]


if __name__ == "__main__":
    sizes = {"words": (20_000_000, 200_000), "large": (300_000_000, 400_000)}
    runner.main(measure, __doc__, repeats=3, needs=["gensim"], sizes=sizes)
