"""How good vectors are after as many epochs, Foreword's and gensim's by their defaults: WordSim-353, SimLex-999, and
analogies among the 20,000 most frequent words; a value a seed, higher is better.

Same arguments as in speed.py. Takes a quarter of an hour: gensim's three runs are most of it.
"""

from __future__ import annotations

import argparse
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


def measure(args: argparse.Namespace) -> list[runner.Result]:
    found: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {"Foreword": [], "gensim": []}
    with tempfile.TemporaryDirectory() as folder:
        text = corpus.words(Path(folder), most=args.words, min_count=1 if args.quick else 10, quick=args.quick)
        for seed in range(1, args.repeats + 1):
            trainer, took = speed.ours(text, args.kind, epochs=args.epochs, seed=seed)
            model, longer = speed.theirs(text, args.kind, epochs=args.epochs, seed=seed)
            seconds["Foreword"].append(took)
            seconds["gensim"].append(longer)
            for name, vocabulary, vectors in (
                ("Foreword", text.vocabulary, trainer.vectors()),
                ("gensim", model.wv.index_to_key, model.wv.vectors),
            ):
                for of, score in scores(vocabulary, vectors).items():
                    found.setdefault(of, {"Foreword": [], "gensim": []})[name].append(score)
                    print(f"seed {seed}, {name}, {of}: {score:.4f}", flush=True)
    notes = (
        f"{args.kind}, {args.epochs} epochs over {text.length:,} words of {text.origin}; a vocabulary of "
        f"{len(text.vocabulary):,}; a value a seed"
    )
    return [
        *(runner.Result(f"{args.kind}: {of}", values, unit="", notes=notes) for of, values in found.items()),
        runner.Result(
            f"{args.kind}: {args.epochs} epochs",
            seconds,
            work=args.epochs * text.length / 1e6,
            rate="million words/s",
            notes=notes,
        ),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=speed.KINDS, default="skip-gram", help="(default: %(default)s)")


if __name__ == "__main__":
    runner.main(
        measure,
        __doc__,
        repeats=3,
        needs=("gensim",),
        sizes={"words": (30_000_000, 20_000), "epochs": (3, 1)},
        add=options,
    )
