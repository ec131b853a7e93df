"""Word vectors: ``load`` opens pretrained ones by name or path, ``KeyedVectors`` searches them.

    name, URL, file ── sources/ ──▶ store/ ──▶ KeyedVectors ── search/ ──▶ nearest keys
                          └─ formats/ ─┘
    corpus ── training/ ──▶ Word2Vec, FastText ── wv ──▶ KeyedVectors

Read in this order: ``keyed_vectors`` and its parts (``table``, ``neighbours``, ``similarity``, ``evaluation``,
``editing``, ``encoding``), ``search/``, ``store/``, ``formats/``, ``sources/``, ``layout/``, ``training/``. Importing
this package reads no file and imports neither numba nor pyarrow; a name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "FastText": "foreword.vectors.training.fasttext",
    "KeyedVectors": "foreword.vectors.keyed_vectors",
    "Word2Vec": "foreword.vectors.training.word2vec",
    "WordMap": "foreword.vectors.projection",
    "draw_word_map": "foreword.vectors.projection",
    "lay_out": "foreword.vectors.layout.laying_out",
    "load": "foreword.vectors.loading",
    "word_map": "foreword.vectors.projection",
}

__all__ = ["FastText", "KeyedVectors", "Word2Vec", "WordMap", "draw_word_map", "lay_out", "load", "word_map"]

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors
    from foreword.vectors.layout.laying_out import lay_out
    from foreword.vectors.loading import load
    from foreword.vectors.projection import WordMap, draw_word_map, word_map
    from foreword.vectors.training.fasttext import FastText
    from foreword.vectors.training.word2vec import Word2Vec


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'foreword.vectors' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
