"""Words a second of training vectors, the vocabulary given: gensim reads a corpus file, Foreword an encoded one.

Same arguments: D = 100, window 5, 5 negatives (Foreword's are shared: see docs/training.md), sample 1e-3, two workers.
The last work is the lanes' worst case: two million words, of which ten are a quarter; of the 3,000 commonest, which are
trained on, 1.5 million are left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import runner
from foreword.vectors.training.options import Subwords, TrainingOptions
from foreword.vectors.training.trainer import Trainer
from training import corpus

WORKERS = 2
SMALL = "skip-gram, a vocabulary of 3,000"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "skip-gram": ("Word2Vec", {"sg": 1}),
    "cbow": ("Word2Vec", {"sg": 0}),
    "fastText skip-gram": ("FastText", {"sg": 1}),
    SMALL: ("Word2Vec", {"sg": 1}),
}


def corpus_of(folder: Path, kind: str, *, words: int, quick: bool) -> corpus.Words:
    """The text that a kind of training is measured on: of so many words, or of a quarter, where gensim takes long."""
    if kind == SMALL:
        return corpus.words(folder, most=min(words, 2_000_000), min_count=1, vocabulary=3000, quick=quick)
    most = words // 4 if kind.startswith("fastText") and not quick else words
    return corpus.words(folder, most=most, min_count=3 if quick else 10, quick=quick)


def options(kind: str, *, epochs: int = 1, seed: int = 1) -> TrainingOptions:
    """Foreword's options of a kind of training."""
    method, subwords = ("cbow" if kind == "cbow" else "skip-gram"), kind.startswith("fastText")
    return TrainingOptions(method=method, subwords=Subwords() if subwords else None, epochs=epochs, seed=seed)


def ours(text: corpus.Words, kind: str, *, epochs: int = 1, seed: int = 1) -> tuple[Trainer, float]:
    """Foreword's training, and its seconds."""
    choice = options(kind, epochs=epochs, seed=seed)
    trainer = Trainer(text.encoded, text.counts, choice, words=text.vocabulary, workers=WORKERS)
    start = time.perf_counter()
    trainer.run()
    return trainer, time.perf_counter() - start


def theirs(text: corpus.Words, kind: str, *, epochs: int = 1, seed: int = 1) -> tuple[Any, float]:
    """gensim's training, and its seconds."""
    import gensim.models

    name, arguments = KINDS[kind]
    model = getattr(gensim.models, name)(
        vector_size=100, window=5, negative=5, min_count=1, sample=1e-3, workers=WORKERS, seed=seed, **arguments
    )
    model.build_vocab(corpus_file=str(text.file))
    start = time.perf_counter()
    model.train(
        corpus_file=str(text.file),
        total_words=model.corpus_total_words,
        total_examples=model.corpus_count,
        epochs=epochs,
    )
    return model, time.perf_counter() - start


def measure(args: argparse.Namespace) -> list[runner.Result]:
    results = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            text = corpus_of(Path(folder), kind, words=args.words, quick=args.quick)
            contenders = [
                runner.Contender("Foreword", lambda text=text, kind=kind: ours(text, kind)[1]),
                runner.Contender("gensim", lambda text=text, kind=kind: theirs(text, kind)[1]),
            ]
            notes = (
                f"{text.length:,} words of {text.origin}; a vocabulary of {len(text.vocabulary):,}; {WORKERS} workers"
            )
            results.append(
                runner.race(
                    f"train {kind}",
                    contenders,
                    repeats=args.repeats,
                    warmup=0,
                    work=text.length / 1e6,
                    rate="million words/s",
                    notes=notes,
                )
            )
    return results


if __name__ == "__main__":
    runner.main(measure, __doc__, repeats=3, needs=("gensim",), sizes={"words": (4_000_000, 20_000)})
