"""Training a vocabulary: a corpus to a tokenizer.json, by the trainer of the library tokenizers.

Byte-level byte-pair encoding with GPT-2's split pattern (Sennrich et al. 2016; Radford et al. 2019): the 256 bytes are
the first tokens, then the pair of neighbours that is most frequent is merged, over and over, until there are enough.

Not for: other algorithms. Costs: a few seconds for each 10 MB of text, and memory for its distinct words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from foreword._base.files import atomic_write
from foreword._base.progress import progress
from foreword.errors import ArgumentError, MissingPackageError
from foreword.tokens.preparing.corpus import open_corpus
from foreword.tokens.preparing.documents import Reader, Reading
from foreword.tokens.tokenizers.opening import get_tokenizer
from foreword.tokens.tokenizers.tokenizer import Tokenizer, to_utf8

__all__ = ["train_tokenizer"]


def train_tokenizer(
    corpus: object,
    out: str | os.PathLike[str],
    *,
    vocab_size: int,
    special_tokens: tuple[str, ...] = ("<|endoftext|>",),
    min_frequency: int = 2,
    reading: Reading | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
) -> Tokenizer:
    """Train a byte-pair vocabulary on ``corpus``, write it as the tokenizer.json ``out``, and open it.

    Args:
        corpus: as for ``prepare``.
        out: the file to write; it ends in ".json".
        vocab_size: V, the 256 bytes and the special tokens included; fewer where the text does not give as many pairs.
        special_tokens: they get the first ids, in this order.
        min_frequency: a pair that comes less often is not merged.
        reading: how documents are told apart; see ``foreword.tokens.preparing.documents.Reading``.
        format: "text", "jsonl", "parquet" or "csv", whatever the files are called.

    Raises:
        ArgumentError: a vocab_size that can't hold the bytes and special tokens; ``out`` is called otherwise.
        MissingPackageError: the package tokenizers is not installed.
        MissingFileError, FileError, FormatError, TextDecodeError: the corpus can't be read.
    """
    path = Path(out)
    least = 256 + len(special_tokens)
    if vocab_size < least:
        raise ArgumentError(
            "vocab_size is too small", got=vocab_size, expected=f"at least {least}: every byte is a token"
        )
    if path.suffix != ".json":
        raise ArgumentError("a tokenizer's file ends in .json", got=path.name, fix="tokenizer.json")
    try:
        from tokenizers import Tokenizer as Library
        from tokenizers import decoders, models, pre_tokenizers, trainers
    except ImportError as cause:
        raise MissingPackageError(
            "training needs the package tokenizers", fix="pip install 'foreword[tokenizers]'"
        ) from cause
    sources = open_corpus(corpus, format=format)
    sizes = [source.size for source in sources]
    made = Library(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with progress("reading", None if None in sizes else sum(size or 0 for size in sizes)) as bar:
        reader = Reader(reading or Reading(), cuttable=True, advance=bar.advance)

        def texts() -> Iterator[str]:
            for source in sources:
                for text, _ in reader.read(source):
                    yield to_utf8(text).decode()

        made.train_from_iterator(texts(), trainer)
    with atomic_write(path) as file:
        file.write(made.to_str(pretty=True).encode())
    return get_tokenizer(path)
