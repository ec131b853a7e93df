"""What an input layer adds to its token embeddings: types, n-grams, and positions that are given one by one.

Not for: positions of a range, which the layer takes from their table itself. Costs: a lookup each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.compiler import is_exporting

from foreword.embeddings._checks import INTEGERS
from foreword.embeddings._computed import traced
from foreword.embeddings._tables import only_calls
from foreword.embeddings.positions import LearnedPositions, SinusoidalPositions
from foreword.errors import ArgumentError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding

__all__ = ["ADDED", "ngrams_of", "places_of", "types_of"]

ADDED = (LearnedPositions, SinusoidalPositions)
"""Positions that are added to the tokens; the others act in attention."""


def types_of(layer: InputEmbedding, ids: Tensor, types: Tensor | None) -> Tensor:
    """What is added for token types, [B, T, D]."""
    if types is None:
        types = torch.zeros_like(ids)
    elif not traced(ids) and (types.shape != ids.shape or types.dtype not in INTEGERS):
        raise ArgumentError(
            "types don't fit the ids",
            got=f"{types.dtype}, shape {list(types.shape)}",
            expected=f"torch.int64 or torch.int32, shape {list(ids.shape)}",
        )
    try:
        added: Tensor = layer.type_embedding(types)  # type: ignore[misc]
    except IndexError:
        raise ArgumentError(
            "a token type is outside the table",
            expected=f"0 … {layer.type_embedding.num_embeddings - 1}",  # type: ignore[union-attr]
        ) from None
    return added


def ngrams_of(
    layer: InputEmbedding,
    ids: Tensor,
    rows: Tensor | None,
    positions: Tensor | None,
    offset: int,
    dtype: torch.dtype,
) -> Tensor:
    """What is added for n-grams, [B, T, D]: by the rows [B, T, R] that are given, else by what the ids alone say.

    ``dtype`` is that of what it is added to.
    """
    table = layer.ngrams
    assert table is not None
    if traced(ids):
        raise ArgumentError("fx can't draw a layer with a table of n-grams", fix="use torch.export or torch.compile")
    if rows is None:
        if isinstance(offset, int) and offset and not is_exporting():
            raise ArgumentError(
                "the n-grams of tokens after those in a cache are not known from their ids alone",
                got=f"offset={offset}, and no ngram_rows",
                fix=f"keep the last {table.hash.context} ids, and pass ngram_rows=layer.ngrams.row_ids(theirs and "
                f"these, left={table.hash.context})",
            )
        rows = table.row_ids(ids, positions=positions)
    elif rows.shape[:-1] != ids.shape:
        raise ArgumentError(
            "ngram_rows don't fit the ids",
            got=f"shape {list(rows.shape)}",
            expected=f"{[*ids.shape, table.hash.width]}",
        )
    added: Tensor = table(rows).to(dtype)  # the rows of a folder stay float32, whatever the layer is made
    return added if layer.ngram_projection is None else layer.ngram_projection(added)


def places_of(layer: InputEmbedding, ids: Tensor, positions: Tensor | None, offset: int) -> Tensor:
    """What is added for positions that are given, or by a module that wraps a table: [T, D] or [B, T, D]."""
    module, T = layer.position_embedding, ids.shape[-1]
    if layer._start and not isinstance(module, LearnedPositions):
        only_calls(module, layer._start)  # type: ignore[arg-type]
    if positions is None and layer._padding is not None:
        real = ids.ne(layer._padding)
        positions = ((real.cumsum(-1) + offset) * real) - 1
        offset = 0
    if traced(ids):  # in a graph that fx draws no length is known: positions are counted
        counted = torch.ones_like(ids).cumsum(-1) - 1 + offset
        drawn: Tensor = module(counted if positions is None else positions)  # type: ignore[misc]
        return drawn
    if positions is None:
        positions = torch.arange(offset, offset + T, device=ids.device)
    elif positions.shape not in (ids.shape, ids.shape[-1:]):
        raise ArgumentError(
            "positions don't fit the ids",
            got=f"positions {list(positions.shape)}, ids {list(ids.shape)}",
            expected="the shape of the ids, or [T]",
        )
    elif isinstance(module, ADDED):
        places: Tensor = module(positions, offset=offset, length=T)
        return places
    # What wraps a table is called as the table of torch would be, by position alone.
    wrapped: Tensor = module(positions)  # type: ignore[misc]
    return wrapped
