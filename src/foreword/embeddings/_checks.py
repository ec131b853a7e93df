"""Checks that more than one module of this package makes of its arguments, and of the tables it is given."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from foreword._base.checks import integer
from foreword.errors import ArgumentError

__all__ = ["INTEGERS", "bad_ids", "even", "is_plain", "looked_up", "plain_weight", "positive", "within"]

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
    """Whether a table is of exactly that kind, and holds its weights: not wrapped, parametrized or offloaded."""
    return type(table) is kind and not table.weight.is_meta


def looked_up(table: nn.Module, rows: int) -> Tensor:
    """All rows of a table, [rows, D], as calling it gives them, whatever hangs on it."""
    device = next(table.parameters()).device
    # What offloads a table takes ids from anywhere.
    found: Tensor = table(torch.arange(rows, device="cpu" if device.type == "meta" else device))
    return found


def plain_weight(table: nn.Module, what: str) -> nn.Parameter:
    """The weight of a table, if it is the table's own and whole; else ArgumentError."""
    weight = dict(table.named_parameters(recurse=False)).get("weight")
    if not isinstance(table, nn.Embedding) or weight is None or weight.is_meta or hasattr(weight, "device_mesh"):
        raise ArgumentError(
            f"{what} needs a table of its own",
            got=f"{type(table).__name__}" + (f" with a {type(weight).__name__}" if weight is not None else ""),
            fix=f"call {what} before adapters, parametrizations, offloading or sharding",
        )
    return weight


def bad_ids(ids: object) -> NoReturn:
    """Raise the error that says what token ids are."""
    if not isinstance(ids, Tensor):
        kind = type(ids).__name__
        raise TypeError(f"token ids are a torch tensor of integers, got {kind}: torch.as_tensor(ids).long()")
    whole = not (ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool)
    raise ArgumentError(
        "these are not token ids",
        got=f"{ids.dtype}, shape {list(ids.shape)}",
        expected="torch.int64 or torch.int32, shape [B, T] or [T]",
        fix="pass ids.long()" if whole and ids.dim() else None,
    )
