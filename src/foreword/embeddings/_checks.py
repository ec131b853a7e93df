"""Checks that more than one module of this room makes of its arguments."""

from __future__ import annotations

import torch

from foreword.errors import ArgumentError

__all__ = ["INTEGERS", "even", "positive", "within"]

# What torch looks rows up by.
INTEGERS = (torch.int64, torch.int32)


def positive(name: str, value: int) -> int:
    """``value``, if it is at least 1."""
    if value < 1:
        raise ArgumentError(f"{name} must be at least 1", got=repr(value))
    return value


def even(name: str, value: int) -> int:
    """``value``, if it is even and at least 2."""
    if value < 2 or value % 2:
        raise ArgumentError(f"{name} must be even", got=repr(value))
    return value


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
