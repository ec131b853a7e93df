"""How rotary positions reach past the context that a model was trained with: the frequencies of every kind in use.

    linear         positions ÷ factor                                                    Chen et al. 2023
    ntk            a larger base: fast pairs keep their speed, the slowest is slowed     bloc97 2023
    dynamic        ntk by as much as the sequence at hand is too long                    emozilla 2023
    yarn           slow pairs slowed, fast ones kept, a ramp between; scores scaled      Peng et al. 2023
    longrope       a factor for each pair, one list for short sequences, one for long    Ding et al. 2024
    llama3         like yarn, by wavelength, scores not scaled                           Llama 3.1
    proportional   the first pairs turn, the others don't                                Gemma 4

Not for: turning anything (``rotary``). Costs: a few numbers a pair.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from torch import Tensor

from foreword.errors import ArgumentError

__all__ = ["RotaryScaling", "frequencies"]

Kind = Literal["linear", "ntk", "dynamic", "yarn", "longrope", "llama3", "proportional"]

# Kinds that need to know the context the model was trained with.
_NEED_ORIGINAL = ("dynamic", "yarn", "longrope", "llama3")


@dataclasses.dataclass(frozen=True)
class RotaryScaling:
    """A kind of scaling with its numbers; those that a kind doesn't use are ignored.

    Attributes:
        kind: see the head of this module.
        factor: how many times longer the context gets, ≥ 1.
        original_context_length: the context that the model was trained with; needed by "dynamic", "yarn", "longrope"
            and "llama3".
        low_frequency: "llama3": pairs that turn less often than this in the original context are slowed by ``factor``.
        high_frequency: "llama3": pairs that turn more often than this are kept.
        beta_fast: "yarn": pairs that turn more often than this in the original context are kept.
        beta_slow: "yarn": pairs that turn less often than this are slowed by ``factor``.
        truncate: "yarn": whether the ramp begins and ends at whole pairs.
        attention_factor: "yarn" and "longrope": cosines and sines are multiplied by it, which scales scores by its
            square; None for the paper's value.
        short_factors: "longrope": a divisor for each pair, for sequences within the original context.
        long_factors: "longrope": a divisor for each pair, for longer ones.
        rotated: "proportional": the share of the pairs that turn, the fastest ones.
    """

    kind: Kind
    factor: float = 1.0
    original_context_length: int | None = None
    low_frequency: float = 1.0
    high_frequency: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    rotated: float = 1.0

    def __post_init__(self) -> None:
        kinds = ("linear", "ntk", "dynamic", "yarn", "longrope", "llama3", "proportional")
        if self.kind not in kinds:
            raise ArgumentError(
                "unknown scaling", got=repr(self.kind), expected="None, " + ", ".join(f'"{kind}"' for kind in kinds)
            )
        if not 1 <= self.factor < math.inf:
            raise ArgumentError(
                "factor can't be used", got=f"factor={self.factor!r}", expected="factor ≥ 1, how many times longer"
            )
        if self.kind in _NEED_ORIGINAL and (self.original_context_length is None or self.original_context_length < 1):
            raise ArgumentError(
                f'original_context_length and scaling="{self.kind}" go together',
                got=f"original_context_length={self.original_context_length!r}",
            )
        if self.kind == "longrope" and not (self.short_factors and len(self.short_factors) == len(self.long_factors)):
            raise ArgumentError(
                "short_factors and long_factors need a number for each pair",
                got=f"{len(self.short_factors)} and {len(self.long_factors)}",
            )
        if self.kind == "llama3" and not 0 < self.low_frequency < self.high_frequency:
            raise ArgumentError(
                "low_frequency must be below high_frequency", got=f"{self.low_frequency!r} and {self.high_frequency!r}"
            )
        if not 0 < self.rotated <= 1:
            raise ArgumentError("rotated is a share of the pairs", got=repr(self.rotated), expected="0 < rotated ≤ 1")

    @property
    def by_length(self) -> bool:
        """Whether the frequencies depend on the length of the sequence at hand."""
        return self.kind in ("dynamic", "longrope")

    @property
    def magnitude(self) -> float:
        """What cosines and sines are multiplied by."""
        if self.kind not in ("yarn", "longrope"):
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor <= 1:
            return 1.0
        if self.kind == "yarn":
            return 0.1 * math.log(self.factor) + 1.0
        return math.sqrt(1 + math.log(self.factor) / math.log(self.original_context_length or 0))


def frequencies(dim: int, base: float, scaling: RotaryScaling | None = None, *, length: int | None = None) -> Tensor:
    """The angle of each pair at position 1, float64 [dim/2]: base^(−2i/dim), scaled.

    Args:
        dim: dimensions that are turned, even.
        base: above 0.
        scaling: how they are scaled; None, not at all.
        length: the sequence's, for the kinds that depend on it; None for one within the original context.
    """
    if not 0 < base < math.inf:
        raise ArgumentError("base must be above 0", got=repr(base))
    plain = base ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    if scaling is None:
        return plain
    original = scaling.original_context_length or 0
    match scaling.kind:
        case "linear":
            return plain / scaling.factor
        case "ntk":
            return frequencies(dim, base * scaling.factor ** (dim / _slower(dim)))
        case "dynamic":
            if length is None or length <= original:
                return plain
            grown = scaling.factor * length / original - (scaling.factor - 1)
            return frequencies(dim, base * grown ** (dim / _slower(dim)))
        case "llama3":
            turns = original * plain / (2 * math.pi)
            kept = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
            return _mixed(plain, kept.clamp(0, 1), scaling.factor)
        case "yarn":
            return _mixed(plain, _ramp(dim, base, scaling, original), scaling.factor)
        case "longrope":
            factors = scaling.long_factors if length is not None and length > original else scaling.short_factors
            if len(factors) != dim // 2:
                raise ArgumentError(
                    "short_factors and long_factors need a number for each pair",
                    got=f"{len(factors)} numbers",
                    expected=f"{dim // 2}, half of the {dim} dimensions that are turned",
                )
            return plain / torch.tensor(factors, dtype=torch.float64)
        case "proportional":
            turned = int(scaling.rotated * dim // 2)
            return torch.cat([plain[:turned], torch.zeros_like(plain[turned:])]) / scaling.factor


def _slower(dim: int) -> int:
    if dim == 2:
        raise ArgumentError('scaling="ntk" and "dynamic" need a head_dim above 2', got="head_dim=2")
    return dim - 2


def _mixed(plain: Tensor, kept: Tensor, factor: float) -> Tensor:
    """The plain frequency where ``kept`` is 1, a ``factor``-th of it where it is 0."""
    return plain * (kept + (1 - kept) / factor)


def _ramp(dim: int, base: float, scaling: RotaryScaling, original: int) -> Tensor:
    """YaRN's ramp over the pairs: 1 for those that turn often in the original context, 0 for those that hardly do."""

    def pair(turns: float) -> float:
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    slowed = (torch.arange(dim // 2, dtype=torch.float64) - low) / (high - low if high != low else 0.001)
    return 1 - slowed.clamp(0, 1)
