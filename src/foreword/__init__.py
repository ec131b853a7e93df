"""Foreword: everything before the first transformer block.

Text in, model-ready embeddings out, and pretrained word vectors that answer at once:

>>> import foreword as fw
>>> tokenizer = fw.get_tokenizer("gpt2")
>>> tokenizer.encode("Every effort moves you")
array([6109, 3626, 6100,  345], dtype=uint32)

Four packages, each useful alone: ``foreword.vectors``, ``foreword.tokens``, ``foreword.windows``,
``foreword.embeddings``. Importing this one imports none of them: a name is looked up in its package when
it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from foreword._base.version import __version__
from foreword._moved import install

install()

# Each public name and the module it lives in; a name equal to its module's last part is the module.
_HOME = {
    "FastText": "foreword.vectors",
    "ForewordError": "foreword.errors",
    "InputEmbedding": "foreword.embeddings",
    "KeyedVectors": "foreword.vectors",
    "NgramTable": "foreword.embeddings",
    "TokenStore": "foreword.tokens",
    "Tokenizer": "foreword.tokens",
    "WindowDataset": "foreword.windows",
    "WindowLoader": "foreword.windows",
    "Word2Vec": "foreword.vectors",
    "create_dataloader": "foreword.recipes",
    "downloader": "foreword.downloader",
    "errors": "foreword.errors",
    "get_tokenizer": "foreword.tokens",
    "load": "foreword.vectors",
    "prepare": "foreword.tokens",
}

__all__ = [
    "FastText",
    "ForewordError",
    "InputEmbedding",
    "KeyedVectors",
    "NgramTable",
    "TokenStore",
    "Tokenizer",
    "WindowDataset",
    "WindowLoader",
    "Word2Vec",
    "__version__",
    "create_dataloader",
    "downloader",
    "errors",
    "get_tokenizer",
    "load",
    "prepare",
]

if TYPE_CHECKING:
    from foreword import downloader, errors
    from foreword.embeddings import InputEmbedding, NgramTable
    from foreword.errors import ForewordError
    from foreword.recipes import create_dataloader
    from foreword.tokens import Tokenizer, TokenStore, get_tokenizer, prepare
    from foreword.vectors import FastText, KeyedVectors, Word2Vec, load
    from foreword.windows import WindowDataset, WindowLoader


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'foreword' has no attribute {name!r}")
    module = importlib.import_module(home)
    value = module if home == f"foreword.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
