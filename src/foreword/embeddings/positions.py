"""Position schemes: what tells a model where in the sequence a token stands.

    added to the token embeddings       LearnedPositions, SinusoidalPositions    [T, D]
    turned into queries and keys        RotaryPositions, RotaryByLayer           q, k → q, k    (in ``rotary``)
    added to the attention scores       AlibiBias                                [H, T_q, T_k]

Each stands alone, or goes into ``InputEmbedding(position=…)``. Positions count from 0. Tables are computed in float64
and rounded once, so that they don't drift with the position. What a call returns is the caller's: no view of a table.

Not for: attention itself. Costs: a table of context_length rows each (AlibiBias: H slopes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from foreword._base.checks import integer
from foreword.embeddings._checks import positive
from foreword.embeddings._computed import Computed, angles, rows
from foreword.embeddings.rotary import RotaryByLayer, RotaryPositions
from foreword.embeddings.scaling import frequencies
from foreword.errors import ArgumentError

__all__ = [
    "AlibiBias",
    "LearnedPositions",
    "PositionModule",
    "Scheme",
    "SinusoidalPositions",
    "make_position",
]

Scheme = Literal["learned", "sinusoidal", "rotary", "alibi", "none"]


class LearnedPositions(nn.Embedding):
    """One learned vector for each position (Gehring et al. 2017; GPT-2): a table [context_length, D], standard normal.

    Args:
        context_length: T, positions.
        embedding_dim: D.
        start: rows of the table before that of position 0 (2 in OPT and BART): it has ``start`` more of them.
        padding_id: tokens of this id are not counted, and all stand at −1, whose row is the one before that of position
            0 (RoBERTa): a layer that is given no positions counts them so. None, every token counts.
        factory: device and dtype, as in torch.

    >>> layer = LearnedPositions(4, 256)
    >>> layer().shape, layer(torch.tensor([3, 0])).shape
    (torch.Size([4, 256]), torch.Size([2, 256]))
    """

    def __init__(
        self,
        context_length: int,
        embedding_dim: int,
        *,
        start: int = 0,
        padding_id: int | None = None,
        **factory: Any,
    ) -> None:
        self.start = integer("start", start, at_least=0 if padding_id is None else 1)
        self.padding_id = None if padding_id is None else integer("padding_id", padding_id, at_least=0)
        super().__init__(
            positive("context_length", context_length) + self.start,
            positive("embedding_dim", embedding_dim),
            **factory,
        )

    @property
    def context_length(self) -> int:
        """T, rows of the table from that of position 0 on."""
        return self.num_embeddings - self.start

    def forward(
        self,
        positions: Tensor | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        copy: bool = True,
    ) -> Tensor:
        """The rows of ``positions`` (any shape, integers), else of offset … offset + length − 1 (by default all).

        Without ``copy`` rows of a range may be a view of the table, to be read and dropped.
        """
        # A view would outlive the call, and the table with it: FSDP frees or moves the weights behind it.
        least = 0 if self.padding_id is None else -1
        return rows(self.weight, positions, offset, length, start=self.start, least=least, copy=copy)

    def extra_repr(self) -> str:  # noqa: D102
        start = f", start={self.start}" if self.start else ""
        return f"{self.context_length}, {self.embedding_dim}{start}" + (
            "" if self.padding_id is None else f", padding_id={self.padding_id}"
        )


class SinusoidalPositions(Computed):
    """Fixed sines and cosines (Vaswani et al. 2017, section 3.5): a table [context_length, D].

    Row p is sin(p·ω_0), cos(p·ω_0), sin(p·ω_1), … with ω_i = base^(−2i/D). It has no weights and is in no state_dict.

    Args:
        context_length: T, positions.
        embedding_dim: D.
        base: 10,000 in the paper.
        layout: "interleaved", as above; or "concatenated", all sines before all cosines (fairseq, Marian, CTRL).
        device: as in torch.
        dtype: as in torch.

    >>> SinusoidalPositions(2, 4)()
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """

    table: Tensor

    def __init__(
        self,
        context_length: int,
        embedding_dim: int,
        *,
        base: float = 10000.0,
        layout: Literal["interleaved", "concatenated"] = "interleaved",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.context_length = positive("context_length", context_length)
        self.embedding_dim = positive("embedding_dim", embedding_dim)
        if layout not in ("interleaved", "concatenated"):
            raise ArgumentError("unknown layout", got=repr(layout), expected='"interleaved" or "concatenated"')
        self.base, self.layout = base, layout
        self._refresh(device, dtype)

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        # With odd D the last sine has no cosine beside it.
        turns = angles(self.context_length, frequencies(self.embedding_dim, self.base))
        sines, cosines = turns.sin(), turns[:, : self.embedding_dim // 2].cos()
        if self.layout == "concatenated":
            table = torch.cat([sines, cosines], dim=-1)
        else:
            table = sines.new_empty(self.context_length, self.embedding_dim)
            table[:, 0::2], table[:, 1::2] = sines, cosines
        return {"table": table.to(device, dtype)}

    def forward(
        self,
        positions: Tensor | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        copy: bool = True,
    ) -> Tensor:
        """The rows of ``positions`` (any shape, integers), else of offset … offset + length − 1 (by default all).

        Without ``copy`` rows of a range may be a view of the table, to be read and dropped.
        """
        return rows(self.table, positions, offset, length, copy=copy)

    def extra_repr(self) -> str:  # noqa: D102
        layout = "" if self.layout == "interleaved" else f", layout={self.layout!r}"
        return f"{self.context_length}, {self.embedding_dim}, base={self.base:g}{layout}"


class AlibiBias(Computed):
    """A penalty on attention scores that grows with the distance (Press et al. 2022, ALiBi).

    Head h adds −m_h · (distance) to its scores. For H a power of two, m_h = 2^(−8h/H), h = 1 … H; else, as in the
    paper's code, those of the power of two below H and then every other one of twice that.

    >>> AlibiBias(8).slopes[:3]
    tensor([0.5000, 0.2500, 0.1250])
    >>> AlibiBias(1)(3)[0]
    tensor([[ 0.0000,    -inf,    -inf],
            [-0.0039,  0.0000,    -inf],
            [-0.0078, -0.0039,  0.0000]])
    """

    slopes: Tensor

    def __init__(self, num_heads: int, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.num_heads = positive("num_heads", num_heads)
        self._refresh(device, torch.float32)

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        wide = dtype if dtype == torch.float64 else torch.float32  # distances above 256 don't fit bfloat16
        return {"slopes": torch.tensor(_slopes(self.num_heads), dtype=wide, device=device)}

    def forward(self, queries: int, keys: int | None = None, *, causal: bool = True) -> Tensor:
        """The bias [H, queries, keys], float32, to be passed as ``attn_mask`` of scaled_dot_product_attention.

        Args:
            queries: new tokens, the last ones of the sequence.
            keys: tokens to look at, those in the cache included (default: as many as queries).
            causal: −inf where a key comes after its query; without it the distance counts both ways.
        """
        keys = queries if keys is None else keys
        if not 0 <= queries <= keys:
            raise ArgumentError("more queries than keys", got=f"queries={queries}, keys={keys}")
        place_q = torch.arange(keys - queries, keys, device=self.slopes.device)
        ahead_QK = torch.arange(keys, device=self.slopes.device) - place_q.unsqueeze(1)
        bias_HQK = -ahead_QK.abs() * self.slopes.view(-1, 1, 1)
        return bias_HQK.masked_fill(ahead_QK > 0, -math.inf) if causal else bias_HQK

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.num_heads}"


PositionModule = LearnedPositions | SinusoidalPositions | RotaryPositions | RotaryByLayer | AlibiBias


def make_position(
    position: Scheme | PositionModule,
    context_length: int | None,
    embedding_dim: int,
    num_heads: int | None,
    factory: dict[str, Any],
) -> PositionModule | None:
    """The module of a scheme's name, or a module as it is if it fits.

    Raises:
        ArgumentError: an unknown scheme, sizes that it needs and doesn't have, or a module of other sizes.
    """
    T, D = context_length, embedding_dim
    if isinstance(position, nn.Module):
        if getattr(position, "embedding_dim", D) != D or (T and getattr(position, "context_length", T) != T):
            raise ArgumentError(
                "the position module doesn't fit the layer", got=repr(position), expected=f"context_length {T}, D = {D}"
            )
        return position
    if T is not None:
        T = positive("context_length", T)
    elif position in ("learned", "sinusoidal", "rotary"):
        raise ArgumentError(f'position="{position}" needs a context_length', got="None")
    if num_heads is not None:
        num_heads = positive("num_heads", num_heads)
    if position in ("rotary", "alibi") and (num_heads is None or D % num_heads):
        raise ArgumentError(
            f'position="{position}" needs num_heads, which divides embedding_dim',
            got=f"num_heads={num_heads!r}, embedding_dim={D}",
        )
    match position:
        case "learned":
            return LearnedPositions(T or 0, D, **factory)
        case "sinusoidal":
            return SinusoidalPositions(T or 0, D, **factory)
        case "rotary":
            return RotaryPositions(T or 0, D // (num_heads or 1), device=factory["device"])
        case "alibi":
            return AlibiBias(num_heads or 0, device=factory["device"])
        case "none":
            return None
    raise ArgumentError(
        "unknown position scheme",
        got=repr(position),
        expected='"learned", "sinusoidal", "rotary", "alibi", "none", or a position module',
    )


def _slopes(num_heads: int) -> Sequence[float]:
    power = 2 ** int(math.log2(num_heads))
    slopes = [2.0 ** (-8 * h / power) for h in range(1, power + 1)]
    return slopes + [2.0 ** (-8 * h / (2 * power)) for h in range(1, 2 * (num_heads - power), 2)]
