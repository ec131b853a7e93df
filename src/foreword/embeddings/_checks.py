"""Checks that more than one module of this package makes of its arguments."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, fx

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError, TokenIdError

__all__ = ["INTEGERS", "bad_ids", "even", "find_outside", "positive", "whole", "within"]

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


def whole(offset: Any) -> None:
    """Nothing, if ``offset`` is an integer, or stands for one: in a graph, or on a device."""
    if not isinstance(offset, (int, torch.SymInt, Tensor, fx.Proxy)):
        integer("offset", offset)


def within(context_length: int, *, offset: int, length: int) -> None:
    """Nothing, if the positions offset … offset + length − 1 are in the context."""
    whole(offset)
    if offset < 0:
        raise ArgumentError("offset must be at least 0", got=repr(offset))
    if offset + length > context_length:
        raise ArgumentError(
            "the sequence is longer than the context",
            got=f"{length} tokens" + (f" from position {offset}" if offset else ""),
            expected=f"positions 0 … {context_length - 1} (context_length {context_length})",
            fix=f"cut it into windows of at most {context_length} tokens, or make the layer longer",
        )


def bad_ids(ids: object) -> NoReturn:
    """Raise the error that says what token ids are."""
    if not isinstance(ids, Tensor):
        raise ArgumentTypeError(
            "token ids are a torch tensor of integers", got=type(ids).__name__, fix="torch.as_tensor(ids).long()"
        )
    whole = not (ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool)
    raise ArgumentError(
        "these are not token ids",
        got=f"{ids.dtype}, shape {list(ids.shape)}",
        expected="torch.int64 or torch.int32, shape [B, T] or [T]",
        fix="pass ids.long()" if whole and ids.dim() else None,
    )


def find_outside(ids: Tensor, vocab_size: int) -> None:
    """Raise TokenIdError if an id is outside the vocabulary."""
    for place in ((ids < 0) | (ids >= vocab_size)).nonzero()[:1].tolist():
        raise TokenIdError(
            f"the token id {ids[tuple(place)].item()} is outside the vocabulary",
            expected=f"0 … {vocab_size - 1} (vocab_size {vocab_size})",
            where=f"ids[{', '.join(map(str, place))}] of ids {list(ids.shape)}",
            fix="encode with the tokenizer that the layer was made for, or resize the layer",
        ) from None
