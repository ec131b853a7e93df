"""Readers: every format of word vectors → words and rows, block by block, in bounded memory.

``base`` says what a reader gives, ``source`` undoes compression, ``detect`` chooses by content among ``word2vec``,
``text``, ``fasttext``, ``gensim_native``, ``arrays`` (.npy, safetensors, ``static_model``). The formats are imported
when a file is opened, for a store that is there needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foreword.vectors.formats.base import Options, Reader
from foreword.vectors.store.blocks import Block

if TYPE_CHECKING:
    from foreword.vectors.formats.detect import open_vectors

__all__ = ["Block", "Options", "Reader", "open_vectors"]


def __getattr__(name: str) -> Any:
    if name != "open_vectors":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from foreword.vectors.formats.detect import open_vectors

    return open_vectors
