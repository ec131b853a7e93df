"""Tables that something may hang on: adapters, parametrizations, sharding, offloading, quantization.

Not for: looking single rows up; that is a module's call. Costs: ``looked_up`` copies the table.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from foreword.errors import ArgumentError

__all__ = ["is_bare", "is_plain", "looked_up", "only_calls", "plain_weight"]


def is_plain(table: nn.Module, kind: type[nn.Embedding]) -> bool:
    """Whether a table is of exactly that kind and holds its weights: nothing wraps, offloads or quantizes it."""
    return type(table) is kind and not table.weight.is_meta and is_bare(table.weight)


def is_bare(weight: Tensor) -> bool:
    """Whether a weight is numbers and nothing more: of what is sharded or quantized only lookups are sure to work."""
    return type(weight) in (nn.Parameter, Tensor, fx.Proxy)  # fx draws a graph of what is bare


def looked_up(table: nn.Module, rows: int, first: int = 0) -> Tensor:
    """The rows ``first`` … ``rows`` − 1 of a table, as calling it gives them, whatever hangs on it."""
    device = next(table.parameters()).device
    # What offloads a table takes ids from anywhere.
    found: Tensor = table(torch.arange(first, rows, device="cpu" if device.type == "meta" else device))
    return found


def plain_weight(table: nn.Module, what: str) -> nn.Parameter:
    """The weight of a table, if it is the table's own and whole; else ArgumentError."""
    weight = dict(table.named_parameters(recurse=False)).get("weight")
    if not isinstance(table, nn.Embedding) or weight is None or weight.is_meta or not is_bare(weight):
        raise ArgumentError(
            f"{what} needs a table of its own",
            got=f"{type(table).__name__}" + (f" with a {type(weight).__name__}" if weight is not None else ""),
            fix=f"call {what} before adapters, parametrizations, offloading, sharding or quantization",
        )
    return weight


def only_calls(wrapper: nn.Module, start: int) -> None:
    """Nothing, if what stands in the place of a table of positions has none beside it; else ArgumentError.

    An adapter looks up by position in tables of its own and is merged by row: position 0 must be at row 0.
    """
    tables = [module for module in wrapper.modules() if getattr(module, "start", None) == start]
    known = {id(weight) for table in tables for weight in table.parameters()}
    if not tables or any(id(weight) not in known for weight in wrapper.parameters()):
        raise ArgumentError(
            f"an adapter can't hang on a table whose position 0 is at row {start}",
            got=f"{type(wrapper).__name__} in the place of position_embedding",
            fix="leave position_embedding out of the adapter's target_modules; modules_to_save may name it",
        )
