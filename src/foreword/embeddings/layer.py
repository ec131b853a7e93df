"""InputEmbedding: token ids [B, T] to what the first transformer block takes, [B, T, D].

    ids ── token table ──▶ × scale ── + positions ──▶ norm ── dropout ──▶ [B, T, D]

Not for: attention; rotary and ALiBi positions are kept here and used there. Costs: V·D weights, and one pass over the
output where an ``nn.Embedding`` for tokens, one for positions and their sum take three.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional

from foreword.embeddings._checks import INTEGERS, positive
from foreword.embeddings.positions import (
    AlibiBias,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
)
from foreword.errors import ArgumentError, TokenIdError

__all__ = ["InputEmbedding"]

Scheme = Literal["learned", "sinusoidal", "rotary", "alibi", "none"]
PositionModule = LearnedPositions | SinusoidalPositions | RotaryPositions | AlibiBias


class InputEmbedding(nn.Module):
    """Token table plus positions: ids [B, T] to vectors [B, T, D].

    The token table is drawn first and the position table second, both standard normal, as two ``nn.Embedding``s are.

    Args:
        vocab_size: V, rows of the token table. Every id is below it.
        embedding_dim: D.
        context_length: the longest sequence that the positions reach.
        position: "learned", "sinusoidal", "rotary", "alibi", "none", or a module of ``foreword.embeddings.positions``
            with options of its own. Learned and sinusoidal positions are added here; rotary positions turn queries and
            keys (``layer.position_embedding.rotate``), and ALiBi biases scores (``layer.position_embedding(T)``).
        num_heads: attention heads, for "rotary" (head_dim = D / num_heads) and "alibi".
        scale: the token embeddings are multiplied by it before positions are added (√D in Vaswani et al. 2017).
        norm: "layer" (BERT) or "rms" normalises the sum.
        dropout: probability of zeroing an element of the result, in training.
        padding_id: a token id whose row is zero and stays so, without gradient.
        std: standard deviation of the first weights (GPT-2: 0.02).
        device, dtype: as in torch.

    Attributes:
        token_embedding: an ``nn.Embedding`` [V, D].
        position_embedding: the position module, or None.

    Raises:
        ArgumentError: options that can't be used.

    >>> _ = torch.manual_seed(123)
    >>> layer = InputEmbedding(vocab_size=50257, embedding_dim=256, context_length=4)
    >>> layer.token_embedding(torch.tensor([[40, 367]])).shape, layer.position_embedding().shape
    (torch.Size([1, 2, 256]), torch.Size([4, 256]))
    >>> layer(torch.tensor([[40, 367, 50257]]))
    Traceback (most recent call last):
        ...
    foreword.errors.TokenIdError: the token id 50257 is outside the vocabulary
      expected: 0 … 50256 (vocab_size 50257)
      where:    ids[0, 2] of ids [1, 3]
      fix:      encode with the tokenizer that the layer was made for, or resize the layer
    """

    position_embedding: PositionModule | None

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        context_length: int,
        *,
        position: Scheme | PositionModule = "learned",
        num_heads: int | None = None,
        scale: float = 1.0,
        norm: Literal["layer", "rms"] | None = None,
        dropout: float = 0.0,
        padding_id: int | None = None,
        std: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.vocab_size = positive("vocab_size", vocab_size)
        self.embedding_dim = positive("embedding_dim", embedding_dim)
        self.context_length = positive("context_length", context_length)
        self.scale = scale
        self.padding_id = padding_id
        if padding_id is not None and not 0 <= padding_id < vocab_size:
            raise ArgumentError(
                "padding_id is outside the vocabulary", got=repr(padding_id), expected=f"0 … {vocab_size - 1}"
            )
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=padding_id, **factory)
        self.position_embedding = self._make_position(position, num_heads, factory)
        if std != 1.0:
            with torch.no_grad():
                for weight in self.parameters():
                    weight.mul_(std)
        self.norm = _make_norm(norm, embedding_dim, factory)
        self.dropout = dropout
        # Two of the five schemes are added here; the others are for the attention layers.
        self._added = isinstance(self.position_embedding, LearnedPositions | SinusoidalPositions)

    def _make_position(
        self, position: Scheme | PositionModule, num_heads: int | None, factory: dict[str, Any]
    ) -> PositionModule | None:
        T, D = self.context_length, self.embedding_dim
        if isinstance(position, nn.Module):
            if getattr(position, "context_length", T) != T or getattr(position, "embedding_dim", D) != D:
                raise ArgumentError(
                    "the position module doesn't fit", got=repr(position), expected=f"context_length {T}, D {D}"
                )
            return position
        if position in ("rotary", "alibi") and (num_heads is None or num_heads < 1 or D % num_heads):
            raise ArgumentError(
                f'position="{position}" needs num_heads, which divides embedding_dim',
                got=f"num_heads={num_heads!r}, embedding_dim={D}",
            )
        match position:
            case "learned":
                return LearnedPositions(T, D, **factory)
            case "sinusoidal":
                return SinusoidalPositions(T, D, **factory)
            case "rotary":
                return RotaryPositions(T, D // (num_heads or 1), device=factory["device"])
            case "alibi":
                return AlibiBias(num_heads or 1, device=factory["device"])
            case "none":
                return None
        raise ArgumentError(
            "unknown position scheme",
            got=repr(position),
            expected='"learned", "sinusoidal", "rotary", "alibi", "none", or a position module',
        )

    def forward(self, ids: Tensor, positions: Tensor | None = None, *, offset: int = 0) -> Tensor:
        """The input embeddings [B, T, D] of the token ids [B, T].

        Args:
            ids: int64 or int32, [B, T] or [T].
            positions: integers [T] or [B, T], where they are not offset … offset + T − 1: documents that restart within
                a row, packed rows, padding on the left.
            offset: the position of the first token (tokens already in a key-value cache).

        Raises:
            TokenIdError: an id below 0 or at or above vocab_size. On an accelerator, and in a compiled graph, it is
                torch that says so.
            ArgumentError: a sequence or a position past context_length, or a wrong dtype or shape.
        """
        if not isinstance(ids, Tensor) or ids.dtype not in INTEGERS or ids.dim() == 0:
            _bad_ids(ids)
        T = ids.shape[-1]
        if T + offset > self.context_length or offset < 0:
            self._too_long(T, offset)
        try:
            x_BTD = self.token_embedding(ids)
        except IndexError:
            self._outside(ids)
        if self.scale != 1.0:
            x_BTD = x_BTD * self.scale
        if self._added:
            # In place: autograd keeps neither term of a sum, and one pass over the output is saved.
            x_BTD = x_BTD.add_(self.position_embedding(positions, offset=offset, length=T))  # type: ignore[misc]
        if self.norm is not None:
            x_BTD = self.norm(x_BTD)
        return functional.dropout(x_BTD, self.dropout) if self.training and self.dropout else x_BTD

    def logits(self, x: Tensor) -> Tensor:
        """A score for each token of the vocabulary, [..., V], from vectors [..., D], with the token table's weights.

        The tied output head of Press and Wolf (2017): one table reads tokens and writes them.
        """
        return functional.linear(x, self.token_embedding.weight)

    def _too_long(self, length: int, offset: int) -> NoReturn:
        T = self.context_length
        raise ArgumentError(
            "the sequence is longer than the context",
            got=f"{length} tokens" + (f" from position {offset}" if offset else ""),
            expected=f"positions 0 … {T - 1} (context_length {T})",
            fix=f"cut it into windows of at most {T} tokens, or make the layer with a larger context_length",
        )

    def _outside(self, ids: Tensor) -> NoReturn:
        place = ((ids < 0) | (ids >= self.vocab_size)).nonzero()[0].tolist()
        raise TokenIdError(
            f"the token id {ids[tuple(place)].item()} is outside the vocabulary",
            expected=f"0 … {self.vocab_size - 1} (vocab_size {self.vocab_size})",
            where=f"ids[{', '.join(map(str, place))}] of ids {list(ids.shape)}",
            fix="encode with the tokenizer that the layer was made for, or resize the layer",
        ) from None

    def extra_repr(self) -> str:  # noqa: D102
        sizes = (
            f"vocab_size={self.vocab_size}, embedding_dim={self.embedding_dim}, context_length={self.context_length}"
        )
        return sizes + (f", scale={self.scale:g}" if self.scale != 1.0 else "")


def _make_norm(norm: Literal["layer", "rms"] | None, dim: int, factory: dict[str, Any]) -> nn.Module | None:
    if norm is None:
        return None
    if norm == "layer":
        return nn.LayerNorm(dim, **factory)
    if norm == "rms":
        return nn.RMSNorm(dim, **factory)
    raise ArgumentError("unknown norm", got=repr(norm), expected='"layer", "rms" or None')


def _bad_ids(ids: object) -> NoReturn:
    if not isinstance(ids, Tensor):
        raise TypeError(
            f"token ids are a torch tensor of integers, got {type(ids).__name__}: torch.as_tensor(ids).long()"
        )
    whole = not (ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool)
    raise ArgumentError(
        "these are not token ids",
        got=f"{ids.dtype}, shape {list(ids.shape)}",
        expected="torch.int64 or torch.int32, shape [B, T] or [T]",
        fix="pass ids.long()" if whole and ids.dim() else None,
    )
