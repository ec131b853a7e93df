"""Rotary positions: queries and keys turned by an angle that grows with the position (Su et al. 2021, RoFormer).

    RotaryPositions     one way of turning, for every layer of a model
    RotaryByLayer       several, and which layer turns by which; or not at all

Not for: attention itself. Costs: cosines and sines of context_length positions, with "longrope" twice; beyond
LONGEST_TABLE of them none, and some time at each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from foreword._base.checks import integer
from foreword.embeddings._checks import even, positive, within
from foreword.embeddings._computed import Computed, angles, outside, rows, traced, usable
from foreword.embeddings.scaling import Kind, RotaryScaling, frequencies
from foreword.errors import ArgumentError

__all__ = ["Layout", "RotaryByLayer", "RotaryPositions"]

Layout = Literal["half", "interleaved", "regrouped"]

LONGEST_TABLE = 1 << 18
"""Positions up to which cosines and sines are kept; for longer contexts they are computed at each call."""


class RotaryPositions(Computed):
    """Queries and keys turned by an angle that grows with the position (Su et al. 2021, RoFormer).

    Pair i of the dimensions that are turned goes by p·ω_i at position p, with ω_i = base^(−2i/rotary_dim); a query's
    product with a key then depends on the distance of the two alone.

    Args:
        context_length: positions in the table.
        head_dim: dimensions of one attention head.
        base: 10,000 in the paper and Llama 2; 500,000 in Llama 3.
        layout: which two dimensions make pair i: "half" i and i + rotary_dim/2 (Llama, GPT-NeoX), or "interleaved" 2i
            and 2i + 1 (the paper, GPT-J, Cohere, GLM); "regrouped" takes pairs as "interleaved" does and puts them
            where "half" has them (DeepSeek V3). They are not interchangeable: weights are trained for one of them.
        rotary_dim: how many of a head's dimensions are turned, the first ones; even. By default all.
        reverse: turned the other way round (nanochat).
        scaling: how to reach past the context that a model was trained with: a ``RotaryScaling``, or "linear", "ntk",
            "dynamic", "yarn" or "llama3" with ``factor`` and ``original_context_length``. "dynamic" and "longrope" turn
            by the length of the sequence at hand: the last position that a call is given, plus 1.
        factor: how many times longer, ≥ 1.
        original_context_length: the context that the model was trained with.
        device: as in torch.

    >>> rotary = RotaryPositions(context_length=16, head_dim=8)
    >>> q = k = torch.ones(1, 2, 16, 8)                       # [B, H, T, head_dim]
    >>> q, k = rotary.rotate(q, k)
    >>> scores = q @ k.transpose(-1, -2)                      # depends on the distance alone
    >>> bool(torch.allclose(scores[0, 0, 5, 3], scores[0, 0, 12, 10]))
    True
    """

    cos: Tensor
    sin: Tensor
    long_cos: Tensor
    long_sin: Tensor

    def __init__(
        self,
        context_length: int,
        head_dim: int,
        *,
        base: float = 10000.0,
        layout: Layout = "half",
        rotary_dim: int | None = None,
        reverse: bool = False,
        scaling: RotaryScaling | Kind | None = None,
        factor: float = 1.0,
        original_context_length: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.context_length = positive("context_length", context_length)
        self.head_dim = positive("head_dim", head_dim) if rotary_dim is not None else even("head_dim", head_dim)
        self.rotary_dim = self.head_dim if rotary_dim is None else even("rotary_dim", rotary_dim)
        if self.rotary_dim > self.head_dim:
            raise ArgumentError("rotary_dim is above head_dim", got=f"{rotary_dim} of {head_dim}")
        if layout not in ("half", "interleaved", "regrouped"):
            raise ArgumentError("unknown layout", got=repr(layout), expected='"half", "interleaved" or "regrouped"')
        self.base, self.layout, self.reverse = base, layout, reverse
        self.options = _scaling(scaling, factor, original_context_length)
        self._refresh(device, torch.float32)

    @property
    def scaling(self) -> Kind | None:
        """The kind of scaling, or None."""
        return None if self.options is None else self.options.kind

    @property
    def factor(self) -> float:
        """How many times longer the scaling makes the context."""
        return 1.0 if self.options is None else self.options.factor

    @property
    def original_context_length(self) -> int | None:
        """The context that the model was trained with, where the scaling needs it."""
        return None if self.options is None else self.options.original_context_length

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        T, original = self.context_length, self.original_context_length or 0
        if self.scaling == "dynamic":
            T = min(T, original)  # beyond, each length has angles of its own
        if T > LONGEST_TABLE:
            T = 0
        tables = dict(zip(("cos", "sin"), self._tables(T), strict=True))
        if self.scaling == "longrope":
            beyond = self._tables(0 if original >= T else T, length=original + 1)
            tables |= zip(("long_cos", "long_sin"), beyond, strict=True)
        wide = dtype if dtype == torch.float64 else torch.float32  # a turn rounded to bfloat16 is off by up to 0.4 %
        return {name: table.to(device, wide) for name, table in tables.items()}

    def _tables(self, positions: int | Tensor, *, length: int | None = None) -> tuple[Tensor, Tensor]:
        """Cosines and sines, float64 [..., F], as for a sequence of ``length``."""
        turns = angles(positions, frequencies(self.rotary_dim, self.base, self.options, length=length))
        magnitude = 1.0 if self.options is None else self.options.magnitude
        return turns.cos() * magnitude, turns.sin() * (-magnitude if self.reverse else magnitude)

    def forward(
        self, positions: Tensor | None = None, *, offset: int = 0, length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the angles, float32, each [T, rotary_dim/2] (or positions.shape + [rotary_dim/2])."""
        cos, sin = self._rows(positions, offset, length)
        return cos.clone(), sin.clone()

    def _rows(self, positions: Tensor | None, offset: int, length: int | None) -> tuple[Tensor, Tensor]:
        if (self.options is not None and self.options.by_length) or self.context_length > LONGEST_TABLE:
            return self._rows_by_length(positions, offset, length)
        return rows(self.cos, positions, offset, length), rows(self.sin, positions, offset, length)

    def _rows_by_length(self, positions: Tensor | None, offset: int, length: int | None) -> tuple[Tensor, Tensor]:
        """The rows as the length of the sequence says, for kinds of scaling that go by it; or without a table."""
        T, original = self.context_length, self.original_context_length or 0
        has_long = self.scaling == "longrope" and original < T
        if positions is None:
            length = T - offset if length is None else length
            within(T, offset=offset, length=length)
            end = offset + length
        else:
            usable(positions, offset, length)
            if has_long and len(self.cos) and positions.numel():  # chosen by a tensor: a compiled graph goes on
                is_long = positions.max() >= original
                pairs = ((self.long_cos, self.cos), (self.long_sin, self.sin))
                cos, sin = (
                    torch.where(is_long, rows(far, positions, 0, None), rows(near, positions, 0, None))
                    for far, near in pairs
                )
                return cos, sin
            outside(positions, T)
            end = int(positions.max()) + 1 if positions.numel() else 0
        if end <= len(self.cos) and (end <= original or not has_long):
            return rows(self.cos, positions, offset, length), rows(self.sin, positions, offset, length)
        if has_long and end <= len(self.long_cos):
            return rows(self.long_cos, positions, offset, length), rows(self.long_sin, positions, offset, length)
        if positions is None:
            positions = torch.arange(offset, end, device=self.cos.device)
        cos, sin = self._tables(positions, length=end)
        return cos.to(self.cos.dtype), sin.to(self.sin.dtype)

    def rotate(
        self,
        q: Tensor,
        k: Tensor,
        positions: Tensor | None = None,
        *,
        offset: int = 0,
        layer: int | None = None,  # noqa: ARG002 (for callers who don't know whether layers differ)
    ) -> tuple[Tensor, Tensor]:
        """Queries and keys [B, H, T, head_dim] (heads of the two may differ), turned; in their own dtypes.

        Dimensions past ``rotary_dim`` go through as they are. Code that has cut them off already may pass tensors
        [B, H, T, rotary_dim].

        Args:
            q: queries of the T new tokens.
            k: keys of the same tokens.
            positions: [T], or [B, T] where the rows differ (packed documents).
            offset: the position of the first token, where ``positions`` is not given (tokens already in the cache).
            layer: number of the model's layer, from 0; all turn alike here (see ``RotaryByLayer``).

        Raises:
            ArgumentError: another head_dim, or a position at or past context_length.
        """
        if not traced(q):
            self._check(q, k)
        cos, sin = self._rows(positions, offset, q.shape[-2])
        if positions is not None and positions.dim() > 1:  # [B, T, F] → [B, 1, T, F], one for all heads
            cos, sin = cos.unsqueeze(-3), sin.unsqueeze(-3)
        return self._turn(q, cos, sin), self._turn(k, cos, sin)

    def _check(self, q: Tensor, k: Tensor) -> None:
        widths = {self.head_dim, self.rotary_dim}
        if q.shape[-1] not in widths or k.shape[-1] not in widths or q.shape[-2] != k.shape[-2]:
            raise ArgumentError(
                "queries and keys don't fit",
                got=f"q {list(q.shape)}, k {list(k.shape)}",
                expected=f"[B, H, T, {self.head_dim}] for both, with one T",
            )

    def _turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        turning = wide[..., : self.rotary_dim]
        if self.layout == "half":
            a, b = turning.chunk(2, dim=-1)
        else:
            a, b = turning[..., 0::2], turning[..., 1::2]
        pair = (a * cos - b * sin, b * cos + a * sin)
        turned = torch.stack(pair, dim=-1).flatten(-2) if self.layout == "interleaved" else torch.cat(pair, dim=-1)
        if self.rotary_dim < self.head_dim:
            turned = torch.cat([turned, wide[..., self.rotary_dim :]], dim=-1)
        return turned.to(x.dtype)

    def extra_repr(self) -> str:  # noqa: D102
        part = f", rotary_dim={self.rotary_dim}" if self.rotary_dim < self.head_dim else ""
        way = ", reverse=True" if self.reverse else ""
        scaled = f", scaling={self.scaling!r}, factor={self.factor:g}" if self.scaling else ""
        return (
            f"{self.context_length}, head_dim={self.head_dim}{part}, base={self.base:g}, layout={self.layout!r}"
            f"{way}{scaled}"
        )


class RotaryByLayer(nn.Module):
    """Rotary positions of a model whose layers turn in several ways, or of which some don't turn at all.

    Args:
        kinds: the ways of turning, by name; all with one context_length.
        layers: for each layer of the model the name of its way, or None for a layer that doesn't turn.

    Raises:
        ArgumentError: no ways, a layer of an unknown one, or several context lengths.

    >>> near, far = RotaryPositions(16, 8), RotaryPositions(16, 8, base=1e6)
    >>> rotary = RotaryByLayer({"near": near, "far": far}, ["near", "near", "far", None])
    >>> q = k = torch.ones(1, 2, 16, 8)
    >>> torch.equal(rotary.rotate(q, k, layer=2)[0], far.rotate(q, k)[0])
    True
    >>> torch.equal(rotary.rotate(q, k, layer=3)[0], q)
    True
    """

    def __init__(self, kinds: Mapping[str, RotaryPositions], layers: Sequence[str | None]) -> None:
        super().__init__()
        lengths = {kind.context_length for kind in kinds.values()}
        if len(lengths) != 1 or not layers:
            raise ArgumentError(
                "rotary positions by layer need ways of turning with one context_length, and layers",
                got=f"context lengths {sorted(lengths)}, {len(layers)} layers",
            )
        unknown = [name for name in layers if name is not None and name not in kinds]
        if unknown:
            raise ArgumentError(
                "a layer turns in a way that isn't given", got=repr(unknown[0]), expected=", ".join(map(repr, kinds))
            )
        self.kinds = nn.ModuleDict(kinds)
        self.layers = tuple(layers)

    @property
    def context_length(self) -> int:
        """T, positions in the tables."""
        return next(iter(self.kinds.values())).context_length  # type: ignore[return-value]

    def extend(self, context_length: int) -> None:
        """Compute the tables for ``context_length`` positions, in place."""
        for kind in self.kinds.values():
            kind.extend(context_length)  # type: ignore[operator]

    def of(self, layer: int | None) -> RotaryPositions | None:
        """The way in which the layer of that number turns, from 0; None if it doesn't.

        Raises:
            ArgumentError: no number, or none of a layer.
        """
        if layer is None:
            raise ArgumentError(
                "the model's layers turn in different ways",
                got="no layer",
                expected=f"layer=0 … {len(self.layers) - 1}",
                fix="name the layer: rotate(q, k, layer=i)",
            )
        name = self.layers[integer("layer", layer, at_least=0, at_most=len(self.layers) - 1)]
        return None if name is None else self.kinds[name]  # type: ignore[return-value]

    def forward(
        self,
        positions: Tensor | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        layer: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the angles in the layer of that number, as ``RotaryPositions`` gives them.

        Raises:
            ArgumentError: no layer, or one that doesn't turn.
        """
        kind = self.of(layer)
        if kind is None:
            raise ArgumentError("this layer doesn't turn queries and keys", got=f"layer={layer}")
        cos, sin = kind(positions, offset=offset, length=length)
        return cos, sin

    def rotate(
        self, q: Tensor, k: Tensor, positions: Tensor | None = None, *, offset: int = 0, layer: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Queries and keys [B, H, T, head_dim], turned as the layer of that number does; as they are if it doesn't.

        Args:
            q: queries of the T new tokens.
            k: keys of the same tokens.
            positions: [T], or [B, T] where the rows differ.
            offset: the position of the first token, where ``positions`` is not given.
            layer: number of the model's layer, from 0.

        Raises:
            ArgumentError: no layer, another head_dim, or a position at or past context_length.
        """
        kind = self.of(layer)
        return (q, k) if kind is None else kind.rotate(q, k, positions, offset=offset)


def _scaling(scaling: RotaryScaling | Kind | None, factor: float, original: int | None) -> RotaryScaling | None:
    if isinstance(scaling, RotaryScaling):
        if factor != 1 or original is not None:
            raise ArgumentError(
                "give factor and original_context_length in the RotaryScaling",
                got=f"factor={factor!r}, original_context_length={original!r}",
            )
        return scaling
    if scaling is None and factor != 1:
        raise ArgumentError(
            "factor can't be used",
            got=f"factor={factor!r} with scaling=None",
            expected="factor ≥ 1, and a scaling where it is not 1",
        )
    if original is not None and scaling not in ("dynamic", "yarn", "longrope", "llama3"):
        raise ArgumentError(
            "original_context_length and a scaling that uses it go together",
            got=f"original_context_length={original!r} with scaling={scaling!r}",
        )
    return None if scaling is None else RotaryScaling(scaling, factor=factor, original_context_length=original)
