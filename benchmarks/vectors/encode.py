"""Claim: ``encode`` of 100,000 short texts by a static embedding model, against model2vec: the same vectors, sooner.

The model has BERT's kind of tokenizer, of the 30,000 first words of GloVe and their letters, and 256 dimensions. Texts
have 3–20 words of the 400,000. They are drawn by two laws: as in English, where the r-th word's chance falls as 1/r up
to r = 5,000 and as 1/r² from there (Ferrer i Cancho and Solé, Two Regimes in the Frequency of Words, 2001), which gives
40,000 different ones in a million; and by Zipf's law alone, 190,000. Foreword begins each turn with a table that has
seen no text, but where the claim says so.

    python benchmarks/vectors/encode.py [--texts 100000] [--repeats 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, main, race, timed


def model(words: list[str], folder: Path) -> Any:
    """A model of model2vec over pieces of ``words``, saved in ``folder``."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    letters = sorted({letter for word in words for letter in word})
    pieces = ["[PAD]", "[UNK]", *letters, *(f"##{letter}" for letter in letters), *words]
    pieces += [f"##{word}" for word in words[:3000] if word.isalpha()]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    rows = np.random.default_rng(0).normal(size=(len(vocab), 256)).astype(np.float32)
    made = StaticModel(rows, tokenizer, normalize=True)
    made.save_pretrained(folder)
    return made


def drawn(count: int, words: list[str], *, zipf: bool = False) -> list[str]:
    """Texts of 3–20 words, by one of the laws."""
    rng = np.random.default_rng(5)
    rank = np.arange(1, len(words) + 1)
    chances = 1 / rank if zipf else 1 / (rank * np.maximum(1, rank / 5000))
    lengths = rng.integers(3, 21, count)
    picked = iter(rng.choice(len(words), int(lengths.sum()), p=chances / chances.sum()).tolist())
    return [" ".join([words[next(picked)] for _ in range(length)]) for length in lengths.tolist()]


def measure(options: argparse.Namespace) -> list[Result]:
    import foreword

    words = list(foreword.load("glove-wiki-gigaword-50").index_to_key)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        theirs = model(words[:30_000], Path(folder) / "model")

        def add(claim: str, texts: list[str], *, seen: bool = False) -> None:
            ours = foreword.load(Path(folder) / "model")
            assert np.allclose(ours.encode(texts), theirs.encode(texts), atol=2e-6), "the vectors differ"

            def run() -> Any:
                return (ours if seen else foreword.load(Path(folder) / "model")).encode(texts)

            contenders = [
                Contender("Foreword", timed(run)),
                Contender("model2vec", timed(lambda: theirs.encode(texts))),
            ]
            kind = {"work": len(texts), "rate": "texts/s", "repeats": options.repeats}
            results.append(race(f"encode {len(texts):,} short texts, {claim}", contenders, **kind))

        texts = drawn(options.texts, words)
        add("256 dimensions", texts)
        add("words seen before", texts, seen=True)
        add("words by Zipf's law", drawn(options.texts, words, zipf=True))
    return results


if __name__ == "__main__":
    main(measure, __doc__, needs=["model2vec"], sizes={"texts": (100_000, 3_000)})
