"""Checks that more than one module of this room makes of its arguments."""

from __future__ import annotations

import torch

from foreword.errors import ArgumentError

__all__ = ["INTEGERS", "even", "positive"]

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
