"""Displays: what a notebook, a terminal or a picture shows of tokens, windows, stores, embeddings and neighbours.

Read in this order: ``displays`` (what is shown, and how much of it), ``forms`` (how it looks as HTML and text),
``drawings`` (how it is drawn by matplotlib).
"""

from foreword.display.displays import (
    Display,
    account,
    batch,
    embedding,
    layer,
    loader,
    neighbours,
    store,
    tokens,
    vectors,
    windows,
)

__all__ = [
    "Display", "account", "batch", "embedding", "layer", "loader", "neighbours", "store", "tokens", "vectors", "windows"
]  # fmt: skip
