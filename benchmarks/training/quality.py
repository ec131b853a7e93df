"""How good vectors are after as many epochs, Foreword's and gensim's by their defaults: WordSim-353, SimLex-999, and
analogies among the 20,000 most frequent words; a value a seed, higher is better.

Kinds, texts and arguments are those of speed.py. A small vocabulary's scores scatter more and take seconds: it has
three times as many seeds. All takes half an hour, of which gensim's runs are most.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import runner
from foreword import KeyedVectors
from training import corpus, speed


def scores(vocabulary: list[str], vectors: Any) -> dict[str, float]:
    """The three measures."""
    from gensim.test.utils import datapath

    keyed = KeyedVectors(vectors.shape[1])
    keyed.add_vectors(vocabulary, vectors)
    return {
        "WordSim-353": float(keyed.evaluate_word_pairs(datapath("wordsim353.tsv"))[1][0]),
        "SimLex-999": float(keyed.evaluate_word_pairs(datapath("simlex999.txt"))[1][0]),
        "analogies": float(keyed.evaluate_word_analogies(datapath("questions-words.txt"), restrict_vocab=20_000)[0]),
    }


def of_kind(kind: str, text: corpus.Words, *, epochs: int, seeds: int) -> list[runner.Result]:
    """A kind's scores, and the seconds of its trainings."""
    found: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {"Foreword": [], "gensim": []}
    for seed in range(1, seeds + 1):
        trainer, took = speed.ours(text, kind, epochs=epochs, seed=seed)
        model, longer = speed.theirs(text, kind, epochs=epochs, seed=seed)
        seconds["Foreword"].append(took)
        seconds["gensim"].append(longer)
        for name, vocabulary, vectors in (
            ("Foreword", text.vocabulary, trainer.vectors()),
            ("gensim", model.wv.index_to_key, model.wv.vectors),
        ):
            for of, score in scores(vocabulary, vectors).items():
                found.setdefault(of, {"Foreword": [], "gensim": []})[name].append(score)
                print(f"{kind}, seed {seed}, {name}, {of}: {score:.4f}", flush=True)
    notes = f"{epochs} epochs over {text.length:,} words of {text.origin}; a vocabulary of {len(text.vocabulary):,}"
    return [
        *(
            runner.Result(f"{kind}: {of}", values, unit="", notes=f"{notes}; a value a seed; means {_means(values)}")
            for of, values in found.items()
        ),
        runner.Result(
            f"{kind}: {epochs} epochs", seconds, work=epochs * text.length / 1e6, rate="million words/s", notes=notes
        ),
    ]


def _means(values: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {statistics.mean(some):.4f}" for name, some in values.items())


def measure(args: argparse.Namespace) -> list[runner.Result]:
    results = []
    for kind in args.kind:
        with tempfile.TemporaryDirectory() as folder:
            text = speed.corpus_of(Path(folder), kind, words=args.words, quick=args.quick)
            seeds = args.repeats * (3 if kind == speed.SMALL and not args.quick else 1)
            results += of_kind(kind, text, epochs=args.epochs, seeds=seeds)
    return results


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", nargs="+", choices=speed.KINDS, default=list(speed.KINDS), help="(default: all)")


if __name__ == "__main__":
    runner.main(
        measure,
        __doc__,
        repeats=3,
        needs=("gensim",),
        sizes={"words": (30_000_000, 20_000), "epochs": (3, 1)},
        add=options,
    )
