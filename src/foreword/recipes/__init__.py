"""Recipes: what takes more than one of the packages below.

``dataloader``: text to batches in one call. ``corpus_embeddings``: the embeddings of a whole corpus to a file, by way
of ``encoders`` (what gives ids and rows) and ``output`` (files that grow).

    text ── documents ──▶ words or token ids ── rows of a table ──▶ [N, D], ids, offsets      (a row for each)
    store ────────────────────────────────┘                   └──▶ mean ──▶ [documents, D]    (a row for each document)

Not for: training, or searching what is written.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Embedded": "foreword.recipes.corpus_embeddings",
    "create_dataloader": "foreword.recipes.dataloader",
    "embed": "foreword.recipes.corpus_embeddings",
}

__all__ = ["Embedded", "create_dataloader", "embed"]

if TYPE_CHECKING:
    from foreword.recipes.corpus_embeddings import Embedded, embed
    from foreword.recipes.dataloader import create_dataloader


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'foreword.recipes' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
