"""The norm of a layer, by its name.

Not for: what a checkpoint's norm is (``checkpoint``). Costs: nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from foreword.errors import ArgumentError

__all__ = ["Norm", "make_norm"]

Norm = Literal["layer", "rms"]


def make_norm(norm: Norm | nn.Module | None, eps: float | None, dim: int, factory: dict[str, Any]) -> nn.Module | None:
    """The norm of a name over ``dim`` elements, or a module as it is; None without one."""
    given: dict[str, Any] = {} if eps is None else {"eps": eps}
    match norm:
        case None:
            return None
        case nn.Module() if eps is None:
            return norm
        case nn.Module():
            raise ArgumentError("give norm_eps in the norm's module", got=f"norm_eps={eps!r}")
        case "layer":
            return nn.LayerNorm(dim, **given, **factory)
        case "rms":
            return nn.RMSNorm(dim, **given, **factory)
    raise ArgumentError("unknown norm", got=repr(norm), expected='"layer", "rms", None, or a module')
