"""A sum written into one of its terms, where that is large and nobody else can hold it.

A second output of that size is mapped by the system anew at each call, which takes longer than looking the rows up.

Not for: anything that torch compiles, traces or transforms; there a sum is a sum. Costs: half a microsecond.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as modules

__all__ = ["LARGE", "summed", "unseen"]

LARGE = 1 << 16
"""Elements from which on it is worth asking ``summed``."""


def summed(x: Tensor, added: Tensor, table: nn.Module, places: nn.Module | None, *, own: bool) -> Tensor:
    """x + added, [B, T, D].

    Args:
        x: what ``table`` gave, or, with ``own``, a tensor that only the caller has.
        added: [T, D] or [B, T, D].
        table: the token table.
        places: the module of positions.
        own: see ``x``.
    """
    may_write = (
        x.dtype == added.dtype
        # what torch.func puts in a weight's place may be a batch of them, that can't be written into one output
        and all(isinstance(getattr(module, "weight", _A_WEIGHT), nn.Parameter) for module in (table, places))
        and (own or _only_ours(x, table))
    )
    return x.add_(added) if may_write else x + added


def unseen(module: nn.Module) -> bool:
    """Whether nothing but the caller gets what a call of ``module`` gives: it has no forward hooks, no other forward.

    Should torch no longer say so by these names, this is never so, and only the time is lost.
    """
    return (
        not getattr(module, "_forward_hooks", True)
        and not getattr(modules, "_global_forward_hooks", True)
        and "forward" not in module.__dict__
    )


def _only_ours(x: Tensor, table: nn.Module) -> bool:
    """Whether the table is an embedding and nothing more, and ``x`` what it gave, not a backward hook's view of it."""
    given: Any = x.grad_fn
    return type(table) is nn.Embedding and unseen(table) and (given is None or given.name() == "EmbeddingBackward0")


_A_WEIGHT = nn.Parameter()
