"""Recipes: what takes more than one of the packages below.

``dataloader``: text to batches in one call. ``corpus_embeddings``: the embeddings of a whole corpus to a file, by way
of ``encoders`` (what gives ids and rows) and ``output`` (files that grow). ``vector_training``: a corpus to vectors of
its words, by way of ``word_corpora`` (what ``prepare`` reads, and token stores, as words).

    text ── documents ──▶ words or token ids ── rows of a table ──▶ [N, D], ids, offsets      (a row for each)
    store ────────────────────────────────┘                   └──▶ mean ──▶ [documents, D]    (a row for each document)

Not for: the parts themselves, or searching what is written.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Embedded": "foreword.recipes.corpus_embeddings",
    "Trained": "foreword.recipes.vector_training",
    "create_dataloader": "foreword.recipes.dataloader",
    "embed": "foreword.recipes.corpus_embeddings",
    "train_vectors": "foreword.recipes.vector_training",
    "word_corpus": "foreword.recipes.word_corpora",
}

__all__ = ["Embedded", "Trained", "create_dataloader", "embed", "train_vectors", "word_corpus"]

if TYPE_CHECKING:
    from foreword.recipes.corpus_embeddings import Embedded, embed
    from foreword.recipes.dataloader import create_dataloader
    from foreword.recipes.vector_training import Trained, train_vectors
    from foreword.recipes.word_corpora import word_corpus


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'foreword.recipes' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
