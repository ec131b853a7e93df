"""Word vectors: ``load`` opens pretrained ones by name or path, ``KeyedVectors`` searches them.

Importing this package reads no file and imports neither numba nor pyarrow; a name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["KeyedVectors", "load"]

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors
    from foreword.vectors.loading import load


_HOME = {"KeyedVectors": "foreword.vectors.keyed_vectors", "load": "foreword.vectors.loading"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'foreword.vectors' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value
