"""Position schemes: what tells a model where in the sequence a token stands.

    added to the token embeddings       LearnedPositions, SinusoidalPositions    [T, D]
    turned into queries and keys        RotaryPositions                          q, k → q, k
    added to the attention scores       AlibiBias                                [H, T_q, T_k]

Each stands alone, or goes into ``InputEmbedding(position=…)``. Positions count from 0. Tables are computed in float64
and rounded once, so that they don't drift with the position.

Not for: attention itself. Costs: a table of context_length rows each (AlibiBias: H slopes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from foreword.embeddings._checks import INTEGERS, even, positive, within
from foreword.errors import ArgumentError

__all__ = [
    "AlibiBias",
    "LearnedPositions",
    "PositionModule",
    "RotaryPositions",
    "Scheme",
    "SinusoidalPositions",
    "make_position",
]

Scheme = Literal["learned", "sinusoidal", "rotary", "alibi", "none"]


class LearnedPositions(nn.Embedding):
    """One learned vector for each position (Gehring et al. 2017; GPT-2): a table [context_length, D], standard normal.

    >>> layer = LearnedPositions(4, 256)
    >>> layer().shape, layer(torch.tensor([3, 0])).shape
    (torch.Size([4, 256]), torch.Size([2, 256]))
    """

    def __init__(self, context_length: int, embedding_dim: int, **factory: Any) -> None:
        super().__init__(
            positive("context_length", context_length), positive("embedding_dim", embedding_dim), **factory
        )

    @property
    def context_length(self) -> int:
        """T, rows of the table."""
        return self.num_embeddings

    def forward(self, positions: Tensor | None = None, *, offset: int = 0, length: int | None = None) -> Tensor:
        """The rows of ``positions`` (any shape, integers), else of offset … offset + length − 1 (by default all)."""
        return _rows(self.weight, positions, offset, length)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.num_embeddings}, {self.embedding_dim}"


class _Computed(nn.Module):
    """A module whose buffers are computed from its options, never stored; computed anew where a move spoilt them."""

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        raise NotImplementedError

    def _refresh(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        where = torch.empty(0, device=device).device
        for name, table in self._compute(where, dtype or torch.get_default_dtype()).items():
            self.register_buffer(name, table, persistent=False)

    def extend(self, context_length: int) -> None:
        """Compute the table for ``context_length`` positions, in place."""
        self.context_length = positive("context_length", context_length)
        table = next(self.buffers())
        self._refresh(table.device, table.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Computed:
        before = next(self.buffers())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = next(self.buffers())
        # .half() would round what was rounded; to_empty() leaves noise where the meta device held nothing.
        if before.dtype != after.dtype or before.is_meta:
            self._refresh(after.device, after.dtype)
        return self


class SinusoidalPositions(_Computed):
    """Fixed sines and cosines (Vaswani et al. 2017, section 3.5): a table [context_length, D], D even.

    Row p is sin(p·ω_0), cos(p·ω_0), sin(p·ω_1), … with ω_i = base^(−2i/D). It has no weights and is in no state_dict.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.context_length = positive("context_length", context_length)
        self.embedding_dim = even("embedding_dim", embedding_dim)
        self.base = base
        self._refresh(device, dtype)

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        angles_TF = _angles(self.context_length, _frequencies(self.embedding_dim, self.base))
        table_TD = torch.stack([angles_TF.sin(), angles_TF.cos()], dim=-1).flatten(1)
        return {"table": table_TD.to(device, dtype)}

    def forward(self, positions: Tensor | None = None, *, offset: int = 0, length: int | None = None) -> Tensor:
        """The rows of ``positions`` (any shape, integers), else of offset … offset + length − 1 (by default all)."""
        return _rows(self.table, positions, offset, length)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.context_length}, {self.embedding_dim}, base={self.base:g}"


class RotaryPositions(_Computed):
    """Queries and keys turned by an angle that grows with the position (Su et al. 2021, RoFormer).

    Pair i of a head's dimensions is turned by p·ω_i at position p, with ω_i = base^(−2i/head_dim); a query's product
    with a key then depends on the distance of the two alone.

    Args:
        context_length: positions in the table.
        head_dim: dimensions of one attention head, even.
        base: 10,000 in the paper and Llama 2; 500,000 in Llama 3.
        layout: which two dimensions make pair i: "half" i and i + head_dim/2 (Hugging Face, GPT-NeoX), or
            "interleaved" 2i and 2i + 1 (the paper, Meta's own Llama files, GPT-J). The two are not interchangeable:
            weights are trained for one of them.
        scaling: how to reach past the context that a model was trained with: "linear" divides positions by ``factor``
            (Chen et al. 2023), "ntk" raises the base to base·factor^(head_dim/(head_dim − 2)), which keeps the fastest
            pair as it was and slows the slowest one by ``factor`` (bloc97 2023), "llama3" slows by ``factor`` the pairs
            that turn less than once in the original context, not those that turn more than four times, and those
            between by degrees (Llama 3.1).
        factor: how many times longer, ≥ 1.
        original_context_length: the context that the model was trained with, for "llama3".

    >>> rotary = RotaryPositions(context_length=16, head_dim=8)
    >>> q = k = torch.ones(1, 2, 16, 8)                       # [B, H, T, head_dim]
    >>> q, k = rotary.rotate(q, k)
    >>> scores = q @ k.transpose(-1, -2)                      # depends on the distance alone
    >>> bool(torch.allclose(scores[0, 0, 5, 3], scores[0, 0, 12, 10]))
    True
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        context_length: int,
        head_dim: int,
        *,
        base: float = 10000.0,
        layout: Literal["half", "interleaved"] = "half",
        scaling: Literal["linear", "ntk", "llama3"] | None = None,
        factor: float = 1.0,
        original_context_length: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.context_length = positive("context_length", context_length)
        self.head_dim = even("head_dim", head_dim)
        if layout not in ("half", "interleaved"):
            raise ArgumentError("unknown layout", got=repr(layout), expected='"half" or "interleaved"')
        if scaling not in (None, "linear", "ntk", "llama3"):
            raise ArgumentError("unknown scaling", got=repr(scaling), expected='None, "linear", "ntk" or "llama3"')
        if factor < 1 or (scaling is None and factor != 1):
            raise ArgumentError(
                "factor can't be used",
                got=f"factor={factor!r} with scaling={scaling!r}",
                expected="factor ≥ 1, and a scaling where it is not 1",
            )
        if scaling == "ntk" and head_dim == 2:
            raise ArgumentError('scaling="ntk" needs a head_dim above 2', got="head_dim=2")
        if (scaling == "llama3") != (original_context_length is not None):
            raise ArgumentError(
                'original_context_length and scaling="llama3" go together',
                got=f"original_context_length={original_context_length!r} with scaling={scaling!r}",
            )
        self.base, self.layout, self.scaling, self.factor = base, layout, scaling, factor
        self.original_context_length = original_context_length
        self._refresh(device, torch.float32)

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        angles_TF = _angles(self.context_length, self._frequencies())
        wide = dtype if dtype == torch.float64 else torch.float32  # a turn rounded to bfloat16 is off by up to 0.4 %
        return {"cos": angles_TF.cos().to(device, wide), "sin": angles_TF.sin().to(device, wide)}

    def _frequencies(self) -> Tensor:
        if self.scaling == "linear":
            return _frequencies(self.head_dim, self.base) / self.factor
        if self.scaling == "ntk":
            return _frequencies(self.head_dim, self.base * self.factor ** (self.head_dim / (self.head_dim - 2)))
        frequencies_F = _frequencies(self.head_dim, self.base)
        if self.scaling == "llama3":
            turns_F = (self.original_context_length or 0) * frequencies_F / (2 * math.pi)
            kept_F = ((turns_F - 1) / (4 - 1)).clamp(0, 1)
            return frequencies_F * (kept_F + (1 - kept_F) / self.factor)
        return frequencies_F

    def forward(
        self, positions: Tensor | None = None, *, offset: int = 0, length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the angles, float32, each [T, head_dim/2] (or positions.shape + [head_dim/2])."""
        return _rows(self.cos, positions, offset, length), _rows(self.sin, positions, offset, length)

    def rotate(
        self, q: Tensor, k: Tensor, positions: Tensor | None = None, *, offset: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Queries and keys [B, H, T, head_dim] (heads of the two may differ), turned; in their own dtypes.

        Args:
            q: queries of the T new tokens.
            k: keys of the same tokens.
            positions: [T], or [B, T] where the rows differ (packed documents).
            offset: the position of the first token, where ``positions`` is not given (tokens already in the cache).

        Raises:
            ArgumentError: another head_dim, or a position at or past context_length.
        """
        if q.shape[-1] != self.head_dim or k.shape[-1] != self.head_dim or q.shape[-2] != k.shape[-2]:
            raise ArgumentError(
                "queries and keys don't fit",
                got=f"q {list(q.shape)}, k {list(k.shape)}",
                expected=f"[B, H, T, {self.head_dim}] for both, with one T",
            )
        cos, sin = self(positions, offset=offset, length=q.shape[-2])
        if positions is not None and positions.dim() > 1:  # [B, T, F] → [B, 1, T, F], one for all heads
            cos, sin = cos.unsqueeze(-3), sin.unsqueeze(-3)
        return self._turn(q, cos, sin), self._turn(k, cos, sin)

    def _turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        if self.layout == "half":
            a, b = wide.chunk(2, dim=-1)
            turned = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
        else:
            a, b = wide[..., 0::2], wide[..., 1::2]
            turned = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
        return turned.to(x.dtype)

    def extra_repr(self) -> str:  # noqa: D102
        scaled = f", scaling={self.scaling!r}, factor={self.factor:g}" if self.scaling else ""
        return f"{self.context_length}, head_dim={self.head_dim}, base={self.base:g}, layout={self.layout!r}{scaled}"


class AlibiBias(_Computed):
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


PositionModule = LearnedPositions | SinusoidalPositions | RotaryPositions | AlibiBias


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
        positive("context_length", T)
    elif position in ("learned", "sinusoidal", "rotary"):
        raise ArgumentError(f'position="{position}" needs a context_length', got="None")
    if position in ("rotary", "alibi") and (num_heads is None or num_heads < 1 or D % num_heads):
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


def _angles(context_length: int, frequencies_F: Tensor) -> Tensor:
    """Position times frequency, float64 [T, F]."""
    return torch.outer(torch.arange(context_length, dtype=torch.float64), frequencies_F)


def _frequencies(dim: int, base: float) -> Tensor:
    """base^(−2i/dim) for i = 0 … dim/2 − 1, float64."""
    if not base > 0:
        raise ArgumentError("base must be above 0", got=repr(base))
    return base ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)


def _rows(table: Tensor, positions: Tensor | None, offset: int, length: int | None) -> Tensor:
    """Rows of a table of positions: a view for a range, a copy for a tensor of positions."""
    size = table.shape[0]
    if positions is None:
        length = size - offset if length is None else length
        within(size, offset=offset, length=length)
        return table[offset : offset + length]
    if offset:
        raise ArgumentError("give positions or offset, not both", got=f"offset={offset}")
    if positions.dtype not in INTEGERS or (length is not None and positions.shape[-1:] != (length,)):
        raise ArgumentError(
            "the positions can't be used",
            got=f"{positions.dtype}, shape {list(positions.shape)}",
            expected="torch.int64 or torch.int32, shape [T] or [B, T]" + (f" with T = {length}" if length else ""),
        )
    try:
        return torch.embedding(table, positions)
    except IndexError:
        bad = positions[(positions < 0) | (positions >= size)][0].item()
        raise ArgumentError(
            f"the position {bad} is outside the context", expected=f"0 … {size - 1} (context_length {size})"
        ) from None
