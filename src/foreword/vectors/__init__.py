"""Word vectors: ``load`` opens pretrained ones by name or path, ``KeyedVectors`` searches them.

    name, URL, file ── sources/ ──▶ store/ ──▶ KeyedVectors ── search/ ──▶ nearest keys
                          └─ formats/ ─┘

Read in this order: ``keyed_vectors`` and its parts (``table``, ``neighbours``, ``similarity``, ``evaluation``,
``editing``, ``encoding``), ``search/``, ``store/``, ``formats/``, ``sources/``, ``layout/``. Importing this package
reads no file and imports neither numba nor pyarrow; a name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "KeyedVectors": "foreword.vectors.keyed_vectors",
    "WordMap": "foreword.vectors.projection",
    "draw_word_map": "foreword.vectors.projection",
    "lay_out": "foreword.vectors.layout.laying_out",
    "load": "foreword.vectors.loading",
    "word_map": "foreword.vectors.projection",
}

__all__ = ["KeyedVectors", "WordMap", "draw_word_map", "lay_out", "load", "word_map"]

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors
    from foreword.vectors.layout.laying_out import lay_out
    from foreword.vectors.loading import load
    from foreword.vectors.projection import WordMap, draw_word_map, word_map


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'foreword.vectors' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
