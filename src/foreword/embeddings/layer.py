"""InputEmbedding: token ids [B, T] to what the first transformer block takes, [B, T, D].

    ids ── token table ──▶ × scale ── + types ── + positions ──▶ norm ── dropout ──▶ [B, T, D]

The tables are modules and are looked up by calling them, so that what wraps, replaces or shards a module works here.

Not for: attention; rotary and ALiBi positions are kept here and used there. Costs: V·D weights; a call takes what two
``nn.Embedding``s and a sum take, but for the second lookup: positions of a range are a slice of their table.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling, is_exporting
from torch.nn import functional

from foreword._base.checks import integer
from foreword._base.notebook import notebook_html
from foreword.embeddings import growing
from foreword.embeddings._added import ADDED, ngrams_of, places_of, types_of
from foreword.embeddings._checks import INTEGERS, bad_ids, find_outside, positive, within
from foreword.embeddings._computed import Computed, traced
from foreword.embeddings._norms import Norm, make_norm
from foreword.embeddings._sums import LARGE, summed, unseen
from foreword.embeddings._tables import is_plain, looked_up
from foreword.embeddings.learning import ParameterGroups, grouped
from foreword.embeddings.ngram_table import NgramTable
from foreword.embeddings.positions import PositionModule, Scheme, make_position
from foreword.embeddings.vocabulary import VocabularyReport
from foreword.errors import ArgumentError

if TYPE_CHECKING:
    from foreword.embeddings.knowledge import Coverage, Method, Tokens, Words
    from foreword.embeddings.vocabulary import Vocabulary

__all__ = ["InputEmbedding"]

Part = Literal["token", "type", "ngrams", "position", "norm"]


class InputEmbedding(nn.Module):
    """Token table plus positions: ids [B, T] to vectors [B, T, D].

    The token table is drawn first and the position table second, both standard normal, as two ``nn.Embedding``s are.

    Args:
        vocab_size: V, rows of the token table. Every id is below it.
        embedding_dim: D.
        context_length: the longest sequence; None, no limit, only with "alibi" and "none", which have no table.
        position: "learned", "sinusoidal", "rotary", "alibi", "none", or a module of ``foreword.embeddings.positions``
            with options of its own. Learned and sinusoidal positions are added here; rotary positions turn queries and
            keys (``layer.position_embedding.rotate``), and ALiBi biases scores (``layer.position_embedding(T)``).
        num_heads: attention heads, for "rotary" (head_dim = D / num_heads) and "alibi"; ``save_pretrained`` writes it.
        scale: the token embeddings are multiplied by it before positions are added (√D in Vaswani et al. 2017).
        norm: "layer" (BERT) or "rms" normalises the sum; or a module that does.
        norm_eps: of the norm; by default torch's (1e-5 for "layer").
        num_types: rows of a table of token types (BERT's segments), which is added too; None without one.
        ngrams: an ``NgramTable``, whose rows are added too, brought to D dimensions by a matrix where they have others.
        dropout: probability of zeroing an element of the result, in training.
        padding_id: a token id whose row is zero and stays so, without gradient. Its position is still added.
        sparse: row-sparse gradients for the token table, for ``RowAdam`` or ``torch.optim.SparseAdam``.
        std: standard deviation of the first weights (GPT-2: 0.02).
        device: as in torch.
        dtype: as in torch.

    Attributes:
        token_embedding: an ``nn.Embedding`` [V, D].
        type_embedding: an ``nn.Embedding`` [num_types, D], or None.
        ngrams: the ``NgramTable``, or None.
        ngram_projection: an ``nn.Linear`` from its dim to D without bias, or None.
        position_embedding: the position module, or None.
        coverage: what ``from_word_vectors`` could give each token; else None.

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

    type_embedding: nn.Embedding | None
    position_embedding: PositionModule | None
    norm: nn.Module | None
    ngrams: NgramTable | None

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        context_length: int | None = None,
        *,
        position: Scheme | PositionModule = "learned",
        num_heads: int | None = None,
        scale: float = 1.0,
        norm: Norm | nn.Module | None = None,
        norm_eps: float | None = None,
        num_types: int | None = None,
        ngrams: NgramTable | None = None,
        dropout: float = 0.0,
        padding_id: int | None = None,
        sparse: bool = False,
        std: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        vocab_size, embedding_dim = positive("vocab_size", vocab_size), positive("embedding_dim", embedding_dim)
        if not 0 <= dropout < 1:
            raise ArgumentError("dropout is a probability below 1", got=repr(dropout))
        if padding_id is not None:
            padding_id = integer("padding_id", padding_id)
            if not 0 <= padding_id < vocab_size:
                raise ArgumentError(
                    "padding_id is outside the vocabulary", got=repr(padding_id), expected=f"0 … {vocab_size - 1}"
                )
        if not math.isfinite(scale) or (norm_eps is not None and not 0 <= norm_eps < math.inf):
            raise ArgumentError("scale and norm_eps are finite numbers", got=f"scale={scale!r}, norm_eps={norm_eps!r}")
        self.scale, self.dropout = scale, dropout
        self.num_heads = None if num_heads is None else positive("num_heads", num_heads)
        self.coverage: Coverage | None = None
        self._tensor_names: dict[str, str] = {}  # those of the checkpoint it came from, to save it by
        self._sizes: dict[str, Any] = {  # what the table is like, where a module that wraps it doesn't say
            "num_embeddings": vocab_size,
            "embedding_dim": embedding_dim,
            "padding_idx": padding_id,
            "sparse": bool(sparse),
        }
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=padding_id, sparse=sparse, **factory)
        self.position_embedding = make_position(position, context_length, embedding_dim, num_heads, factory)
        self.context_length = getattr(self.position_embedding, "context_length", context_length)
        self.type_embedding = None
        if num_types is not None:
            self.type_embedding = nn.Embedding(positive("num_types", num_types), embedding_dim, **factory)
        if std != 1.0:
            with torch.no_grad():
                drawn = [self.token_embedding, self.type_embedding, self.position_embedding]
                for table in drawn if position == "learned" else drawn[:2]:
                    if table is not None:
                        table.weight.mul_(std)  # type: ignore[operator]
        self.norm = make_norm(norm, norm_eps, embedding_dim, factory)
        self.ngrams = ngrams
        self.ngram_projection = None if ngrams is None else ngrams.projection(embedding_dim, factory)
        self._padding: int | None = getattr(self.position_embedding, "padding_id", None)
        self._start: int = getattr(self.position_embedding, "start", 0)
        # Two of the schemes are added here; the others are for the attention layers.
        self._adds = isinstance(self.position_embedding, ADDED)

    @property
    def vocab_size(self) -> int:
        """V, rows of the token table."""
        value: int = self._of_table("num_embeddings")
        return value

    @property
    def embedding_dim(self) -> int:
        """D."""
        value: int = self._of_table("embedding_dim")
        return value

    @property
    def padding_id(self) -> int | None:
        """The token id whose row stays zero."""
        value: int | None = self._of_table("padding_idx")
        return value

    @property
    def sparse(self) -> bool:
        """Whether the token table gets row-sparse gradients."""
        value: bool = self._of_table("sparse")
        return value

    def _of_table(self, name: str) -> Any:
        """An attribute of the token table; what it was made with, where an adapter in its place doesn't have it."""
        return getattr(self.token_embedding, name, self._sizes[name])

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        *,
        types: Tensor | None = None,
        offset: int = 0,
        ngram_rows: Tensor | None = None,
    ) -> Tensor:
        """The input embeddings [B, T, D] of the token ids [B, T].

        Args:
            ids: int64 or int32, [B, T] or [T].
            positions: integers [T] or [B, T], where they are not offset … offset + T − 1: documents that restart within
                a row, packed rows, padding on the left. Schemes that act in attention take theirs there.
            types: token types, of the shape of ``ids``, for a layer with ``num_types``; by default 0 for all.
            offset: the position of the first token (tokens already in a key-value cache).
            ngram_rows: int64 [B, T, R], for a layer with ``ngrams``: the rows that a ``WindowDataset`` gives beside the
                ids, which knows what stands before a window; by default what the ids alone say (``ngrams.row_ids``).

        Raises:
            TokenIdError: an id below 0 or at or above vocab_size. The lookup itself finds it, so the check is free; on
                an accelerator and in a compiled graph it is torch's own assertion that stops.
            ArgumentError: a sequence or a position past context_length, or a wrong dtype or shape.
        """
        if not isinstance(ids, Tensor):
            if not traced(ids):
                bad_ids(ids)
        elif ids.dtype not in INTEGERS or ids.dim() == 0:
            bad_ids(ids)
        elif not self._adds and self.context_length is not None and not is_exporting():  # else the table checks
            within(self.context_length, offset=offset, length=0 if positions is not None else ids.shape[-1])
        try:
            x_BTD: Tensor = self.token_embedding(ids)
        except IndexError:
            find_outside(ids, self.vocab_size)
            raise
        if self.scale != 1.0:
            x_BTD = x_BTD * self.scale
        if self.type_embedding is not None:
            x_BTD = x_BTD + types_of(self, ids, types)
        elif types is not None:
            raise ArgumentError("the layer has no token types", got="types=…", fix="make it with num_types=…")
        if self.ngrams is not None:
            x_BTD = x_BTD + ngrams_of(self, ids, ngram_rows, positions, offset, x_BTD.dtype)
        elif ngram_rows is not None and not traced(ngram_rows):
            raise ArgumentError("the layer has no n-gram table", got="ngram_rows=…", fix="make it with ngrams=…")
        if self._adds:
            places, graph = self.position_embedding, is_compiling() or not isinstance(ids, Tensor)
            if positions is None and self._padding is None and isinstance(places, ADDED) and isinstance(ids, Tensor):
                # What shards a module makes another class of it, and frees what a view shows.
                copied = graph or type(places) not in ADDED or not unseen(places)
                added = places(offset=offset, length=ids.shape[-1], copy=copied)
            else:
                added = places_of(self, ids, positions, offset)
            if graph or x_BTD.numel() < LARGE:
                x_BTD = x_BTD + added
            else:
                own = self.scale != 1.0 or self.type_embedding is not None or self.ngrams is not None
                x_BTD = summed(x_BTD, added, self.token_embedding, places, own=own)
        if self.norm is not None:
            x_BTD = self.norm(x_BTD)
        return functional.dropout(x_BTD, self.dropout) if self.training and self.dropout else x_BTD

    def logits(self, x: Tensor) -> Tensor:
        """A score for each token of the vocabulary, [..., V], from vectors [..., D], with the token table's weights.

        The tied output head of Press and Wolf (2017): one table reads tokens and writes them. ``scale`` is not applied.
        Where an adapter, a parametrization or offloading hangs on the table, its rows are those that a lookup gives.

        Raises:
            ArgumentError: the layer is sparse and learns: the head's gradient is dense, and would fill the table's.
        """
        table = self.token_embedding
        if self.sparse and torch.is_grad_enabled() and any(weight.requires_grad for weight in table.parameters()):
            raise ArgumentError(
                "a tied head and sparse gradients exclude each other",
                got="logits() of a layer with sparse=True",
                fix="make the layer with sparse=False, or give the model a head of its own",
            )
        return functional.linear(
            x, table.weight if is_plain(table, nn.Embedding) else looked_up(table, self.vocab_size)
        )

    def table(self) -> Tensor:
        """The token table [V, D], as looking up every id gives it: with adapters and whatever else hangs on it."""
        return looked_up(self.token_embedding, self.vocab_size)

    def freeze(self, *parts: Part) -> None:
        """Stop the learning of "token", "type", "ngrams", "position" or "norm"; of all by default."""
        self._set_learning(parts, False)

    def unfreeze(self, *parts: Part) -> None:
        """Let "token", "type", "ngrams", "position" or "norm" learn again; all by default."""
        self._set_learning(parts, True)

    def _set_learning(self, parts: tuple[Part, ...], learning: bool) -> None:
        modules: dict[str, list[nn.Module | None]] = {
            "token": [self.token_embedding],
            "type": [self.type_embedding],
            "ngrams": [self.ngrams, self.ngram_projection],
            "position": [self.position_embedding],
            "norm": [self.norm],
        }
        for part in parts or modules:
            if part not in modules:
                raise ArgumentError("unknown part", got=repr(part), expected=", ".join(map(repr, modules)))
            for module in modules[part]:
                if module is not None:
                    module.requires_grad_(learning)

    def parameter_groups(self, *, weight_decay: float = 0.0) -> ParameterGroups:
        """What learns, sorted by optimizer: ``.sparse`` for RowAdam or SparseAdam, ``.dense`` for AdamW.

        ``weight_decay`` is that of the dense tables; a norm's weights never decay.

        >>> from foreword.embeddings import RowAdam
        >>> layer = InputEmbedding(50257, 256, 4, sparse=True)
        >>> groups = layer.parameter_groups()
        >>> optimizers = RowAdam(groups.sparse, lr=1e-3), torch.optim.AdamW(groups.dense, lr=1e-3, fused=True)
        """
        return grouped(self, weight_decay)

    @torch.no_grad()
    def resize(self, vocab_size: int, *, multiple_of: int = 1, noise: float = 0.1) -> None:
        """Give the token table ``vocab_size`` rows, in place; kept rows keep their values, ties hold.

        New rows are the mean row plus normal noise of ``noise`` times the table's standard deviation, so that a new
        token begins as an average one and no two begin alike (Hewitt 2021). The weight stays the same parameter, with
        more or fewer rows: whatever shares it, such as a tied head, sees them. Its gradient is dropped; make the
        optimizer after, not before.

        Args:
            vocab_size: rows.
            multiple_of: round them up to a multiple of this (64 is quick on some accelerators).
            noise: see above.

        Raises:
            ArgumentError: a size below 1, or one that would drop the padding row; a table that an adapter has wrapped
                or that lies on several devices.
        """
        growing.resize(self, vocab_size, multiple_of, noise)

    @torch.no_grad()
    def extend_vocabulary(
        self,
        old: Vocabulary,
        new: Vocabulary,
        *,
        vectors: Mapping[str | int, Any] | None = None,
        head: nn.Linear | None = None,
        optimizers: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] = (),
        multiple_of: int = 1,
        noise: float = 0.1,
    ) -> VocabularyReport:
        """Give the token table a row for each token of another tokenizer, in place; ties hold.

        Tokens of both vocabularies keep their rows, wherever their ids are now. A new token begins as the mean of the
        rows of its pieces, which are what the old tokenizer makes of its text, or of its bytes where it is a part of a
        character; or with the vector that is given for it. One that the old vocabulary has no pieces for begins as in
        ``resize``. An error leaves everything as it was.

        Args:
            old: the tokenizer that the table was made for, of ``get_tokenizer``.
            new: the one it is for from now on.
            vectors: vectors [D] of new tokens, by their text (" word" with its space) or id.
            head: an output head [V, D] of its own, whose rows and bias change in the same way; one that shares the
                table's weight changes with it, and is given only for its bias.
            optimizers: one or several that hold the table or head: a kept row keeps its moments, a new one begins
                without. All others must be made after, not before.
            multiple_of: round the rows up to a multiple of this.
            noise: as in ``resize``.

        Returns:
            How each row began.

        Raises:
            ArgumentTypeError: not tokenizers of Foreword.
            ArgumentError: the table has fewer rows than the old vocabulary tokens; a padding token that the new one
                doesn't have; a vector of no new token, or of another shape; a head of another size; an optimizer whose
                state isn't by row; a table that an adapter has wrapped, that is quantized, or lies on several devices.

        >>> from foreword import get_tokenizer
        >>> old, new = get_tokenizer("bytes"), get_tokenizer("gpt2")
        >>> layer = InputEmbedding(old.vocab_size, 8, 4)
        >>> report = layer.extend_vocabulary(old, new)
        >>> report
        VocabularyReport(50,257 rows: 257 kept (257 at another id), 50,000 composed of pieces)
        >>> id_ = new.encode(" king")[0]
        >>> bytes(report.sources[id_])
        b' king'
        """
        return growing.extend_vocabulary(self, old, new, vectors, head, optimizers, multiple_of, noise)

    @torch.no_grad()
    def extend_context(self, context_length: int) -> None:
        """Make the context longer, in place.

        Learned positions are interpolated: the first and last keep their rows, and those between are stretched over the
        new length, linearly; the weight stays the same parameter, without its gradient: make the optimizer after.
        Sinusoidal and rotary positions go on as they are; where a model should be given scaled ones, make a
        ``RotaryPositions`` with the scaling.

        Raises:
            ArgumentError: ``context_length`` is below the present one.
        """
        growing.extend_context(self, context_length)

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], **options: Any) -> InputEmbedding:
        """The input layer of a saved model: see ``foreword.embeddings.checkpoint.load``."""
        from foreword.embeddings import checkpoint

        return checkpoint.load(cls, path, **options)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the layer to a new folder, for ``from_pretrained``: see ``foreword.embeddings.saving.save``."""
        from foreword.embeddings import saving

        saving.save(self, folder)

    @classmethod
    def from_word_vectors(
        cls,
        wv: Words,
        tokenizer: Tokens,
        embedding_dim: int | None = None,
        context_length: int | None = None,
        *,
        method: Method = "mean",
        std: float = 0.02,
        seed: int = 0,
        **options: Any,
    ) -> InputEmbedding:
        """A layer whose tokens start from pretrained word vectors: see ``foreword.embeddings.knowledge.token_vectors``.

        Args:
            wv: word vectors with gensim's interface.
            tokenizer: has ``encode``, ``decode_bytes`` and ``vocab_size``.
            embedding_dim: D; by default that of the vectors.
            context_length: as in the constructor, like all ``options``.
            method: "exact", "mean" or "subword"; "ids" where keys are token ids (``vectors train`` on a token store).
            std: the root mean square of a row's elements, as of first weights drawn with it.
            seed: of the rows of tokens that no word speaks for.

        The layer's ``coverage`` tells how many tokens got what.
        """
        from foreword.embeddings import knowledge

        known = knowledge.token_vectors(wv, tokenizer, method=method)
        dim = known.vectors.shape[1] if embedding_dim is None else embedding_dim
        layer = cls(tokenizer.vocab_size, dim, context_length, std=std, **options)
        with torch.no_grad():
            weight = layer.token_embedding.weight
            weight.copy_(torch.from_numpy(knowledge.fitted(known, dim, std=std, seed=seed)))
            if layer.padding_id is not None:
                weight[layer.padding_id] = 0
        layer.coverage = known.coverage
        return layer

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        for module in self.modules():  # before they are called themselves: here the weights' device is known
            if isinstance(module, Computed):
                module.materialise(state_dict, local_metadata)

    def _repr_html_(self) -> str:
        return notebook_html("layer", self)

    def extra_repr(self) -> str:  # noqa: D102
        sizes = (
            f"vocab_size={self.vocab_size}, embedding_dim={self.embedding_dim}, context_length={self.context_length}"
        )
        scale = f", scale={self.scale:g}" if self.scale != 1.0 else ""
        return sizes + scale + (f", dropout={self.dropout:g}" if self.dropout else "")
