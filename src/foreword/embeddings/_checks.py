"""Checks that more than one module of this package makes of its arguments, and of the tables it is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from foreword._base.checks import integer
from foreword.errors import ArgumentError

__all__ = ["INTEGERS", "even", "is_plain", "looked_up", "positive", "within"]

# What torch looks rows up by.
INTEGERS = (torch.int64, torch.int32)


def positive(name: str, value: Any) -> int:
    """``value`` as an ``int``, if it is an integer of at least 1."""
    return integer(name, value, at_least=1)


def even(name: str, value: Any) -> int:
    """``value`` as an ``int``, if it is an even integer of at least 2."""
    number = integer(name, value)
    if number < 2 or number % 2:
        raise ArgumentError(f"{name} must be even, and at least 2", got=repr(number))
    return number


def within(context_length: int, *, offset: int, length: int) -> None:
    """Nothing, if the positions offset … offset + length − 1 are in the context."""
    if offset < 0:
        raise ArgumentError("offset must be at least 0", got=repr(offset))
    if offset + length > context_length:
        raise ArgumentError(
            "the sequence is longer than the context",
            got=f"{length} tokens" + (f" from position {offset}" if offset else ""),
            expected=f"positions 0 … {context_length - 1} (context_length {context_length})",
            fix=f"cut it into windows of at most {context_length} tokens, or make the layer longer",
        )


def is_plain(table: nn.Module, kind: type[nn.Embedding]) -> bool:
    """Whether a table is of exactly that kind, and holds its weights: no adapter, parametrization, sharding, offload."""
    return type(table) is kind and not table.weight.is_meta  # type: ignore[union-attr]


def looked_up(table: nn.Module, rows: int) -> Tensor:
    """All rows of a table, [rows, D], as calling it gives them, whatever hangs on it."""
    device = next(table.parameters()).device
    # What offloads a table takes ids from anywhere.
    found: Tensor = table(torch.arange(rows, device="cpu" if device.type == "meta" else device))
    return found
