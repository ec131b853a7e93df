"""Claim: ``encode`` of 100,000 short texts by a static embedding model, against model2vec: the same vectors, sooner.

The model has BERT's kind of tokenizer, of the 30,000 first words of GloVe and their letters, and 256 dimensions. Texts
have 3–20 words of the 400,000, drawn by Zipf's law. Foreword begins each turn with a table that has seen no text.

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


def drawn(count: int, words: list[str]) -> list[str]:
    rng = np.random.default_rng(5)
    chances = 1 / np.arange(1, len(words) + 1)
    lengths = rng.integers(3, 21, count)
    picked = iter(rng.choice(len(words), int(lengths.sum()), p=chances / chances.sum()).tolist())
    return [" ".join([words[next(picked)] for _ in range(length)]) for length in lengths.tolist()]


def measure(options: argparse.Namespace) -> list[Result]:
    import foreword

    words = list(foreword.load("glove-wiki-gigaword-50").index_to_key)
    texts = drawn(options.texts, words)
    with tempfile.TemporaryDirectory() as folder:
        theirs = model(words[:30_000], Path(folder) / "model")
        ours = foreword.load(Path(folder) / "model")
        assert np.allclose(ours.encode(texts), theirs.encode(texts), atol=2e-6), "the vectors differ"

        def fresh() -> Any:
            return foreword.load(Path(folder) / "model").encode(texts)

        rivals = [Contender("model2vec", timed(lambda: theirs.encode(texts)))]
        kind = {"work": len(texts), "rate": "texts/s", "repeats": options.repeats}
        claim = f"encode {len(texts):,} short texts, 256 dimensions"
        return [
            race(claim, [Contender("Foreword", timed(fresh)), *rivals], **kind),
            race(
                f"{claim}, words seen before",
                [Contender("Foreword", timed(lambda: ours.encode(texts))), *rivals],
                **kind,
            ),
        ]


if __name__ == "__main__":
    main(measure, __doc__, needs=["model2vec"], sizes={"texts": (100_000, 3_000)})
