"""Tables that grow, in place: other sizes, another vocabulary, a longer context.

A weight stays the same parameter and gets other rows, so whatever shares it, such as a tied head, sees them. Its
gradient is dropped. An optimizer that holds it has moments of the old rows: make it after, or hand it over.

Not for: tables that are wrapped by an adapter, sharded or quantized. Costs: the table once more while it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from foreword._base.checks import integer
from foreword._base.words import counted
from foreword.embeddings._checks import positive
from foreword.embeddings._tables import plain_weight
from foreword.embeddings.positions import LearnedPositions, SinusoidalPositions
from foreword.embeddings.rotary import RotaryByLayer, RotaryPositions
from foreword.embeddings.vocabulary import VocabularyReport, check, match, token_ids
from foreword.errors import ArgumentError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding
    from foreword.embeddings.vocabulary import Vocabulary

__all__ = ["extend_context", "extend_vocabulary", "resize"]

_CHUNK = 1 << 22  # elements of pieces' rows that are gathered at once


def resize(layer: InputEmbedding, vocab_size: int, multiple_of: int, noise: float) -> None:
    """See ``InputEmbedding.resize``."""
    rows = _rounded_up(positive("vocab_size", vocab_size), multiple_of)
    if layer.padding_id is not None and layer.padding_id >= rows:
        raise ArgumentError(
            "the padding row would be dropped", got=f"{counted(rows, 'row')}, padding_id={layer.padding_id}"
        )
    weight = plain_weight(layer.token_embedding, "resize")
    kept = min(rows, layer.vocab_size)
    _replace(weight, torch.cat([weight[:kept], _average(weight, rows - kept, noise)]))
    layer.token_embedding.num_embeddings = layer._sizes["num_embeddings"] = rows


def extend_vocabulary(
    layer: InputEmbedding,
    old: Vocabulary,
    new: Vocabulary,
    vectors: Mapping[str | int, Any] | None,
    head: nn.Linear | None,
    optimizers: torch.optim.Optimizer | Iterable[torch.optim.Optimizer],
    multiple_of: int,
    noise: float,
) -> VocabularyReport:
    """See ``InputEmbedding.extend_vocabulary``. Nothing is changed before all is known to go well."""
    check("old", old)
    check("new", new)
    weight = plain_weight(layer.token_embedding, "extend_vocabulary")
    changed: list[nn.Parameter] = [weight]
    if head is not None:
        changed += _head_weights(head, weight)
    several = [optimizers] if isinstance(optimizers, torch.optim.Optimizer) else optimizers
    states = [_row_state(optimizer, each) for optimizer in several for each in changed]
    if old.vocab_size > layer.vocab_size:
        raise ArgumentError(
            "the old tokenizer isn't the one that the layer was made for",
            got=f"{counted(old.vocab_size, 'token')}, and a table of {counted(layer.vocab_size, 'row')}",
        )
    given = _given(vectors or {}, new, layer.embedding_dim)
    rows = _rounded_up(new.vocab_size, multiple_of)
    report = match(old, new, old_rows=layer.vocab_size, rows=rows, given=frozenset(given))
    if layer.ngrams is not None and any(
        id_ >= len(report.how) or report.how[id_] != "kept" or report.sources[id_] != (id_,)
        for id_ in range(old.vocab_size)
    ):
        raise ArgumentError(
            "the rows of n-grams belong to the old token ids",
            got="a new vocabulary in which old tokens have other ids, or are gone",
            fix="set layer.ngrams and layer.ngram_projection to None, or give a vocabulary that only adds tokens",
        )
    padding = {id_: _new_place(report, id_) for id_ in (layer.padding_id, layer._padding) if id_ is not None}

    table = _remade(weight, report, noise)
    for id_, vector in given.items():
        table[id_] = vector.to(table)
    others = [_remade(each, report, noise) for each in changed[1:]]
    moments = [(state, name, _moved(state[name], report)) for state, names in states for name in names]

    for each, made in zip(changed, [table, *others], strict=True):
        _replace(each, made)
    for state, name, made in moments:
        state[name] = made
    layer.token_embedding.num_embeddings = layer._sizes["num_embeddings"] = rows
    if layer.padding_id is not None:
        layer.token_embedding.padding_idx = layer._sizes["padding_idx"] = padding[layer.padding_id]
    if layer._padding is not None:
        layer._padding = layer.position_embedding.padding_id = padding[layer._padding]  # type: ignore[union-attr]
    if head is not None:
        head.out_features = rows
    return report


def extend_context(layer: InputEmbedding, context_length: int) -> None:
    """See ``InputEmbedding.extend_context``."""
    old_length = layer.context_length
    if old_length is None:
        return
    if positive("context_length", context_length) < old_length:
        raise ArgumentError("extend_context can't shorten", got=repr(context_length), expected=f"{old_length} or more")
    module = layer.position_embedding
    if isinstance(module, LearnedPositions):
        weight = plain_weight(module, "extend_context")
        stretched = functional.interpolate(
            weight[module.start :].float().T.unsqueeze(0), size=context_length, mode="linear", align_corners=True
        )
        _replace(weight, torch.cat([weight[: module.start], stretched[0].T.to(weight.dtype)]))
        module.num_embeddings = module.start + context_length
    elif isinstance(module, SinusoidalPositions | RotaryPositions | RotaryByLayer):
        module.extend(context_length)
    layer.context_length = context_length


def _rounded_up(size: int, multiple_of: int) -> int:
    multiple_of = positive("multiple_of", multiple_of)
    return -(-size // multiple_of) * multiple_of


def _replace(weight: nn.Parameter, rows: Tensor) -> None:
    weight.grad, weight.data = None, rows


def _wide(rows: Tensor) -> Tensor:
    return rows if rows.dtype == torch.float64 else rows.float()


def _average(weight: Tensor, count: int, noise: float) -> Tensor:
    """``count`` rows around the mean one, no two alike."""
    if not count:
        return weight[:0]
    wide = _wide(weight)
    spread = wide.std() if wide.numel() > 1 else wide.new_zeros(())
    drawn = wide.mean(0) + noise * spread * torch.randn(count, *wide.shape[1:], dtype=wide.dtype, device=wide.device)
    return drawn.to(weight.dtype)


def _remade(weight: Tensor, report: VocabularyReport, noise: float) -> Tensor:
    """The rows of a weight [V, …] for the new vocabulary."""
    made = _moved(weight, report)
    for ids in _chunks(report, _CHUNK // max(1, weight[0].numel())):
        pieces = torch.tensor([piece for id_ in ids for piece in report.sources[id_]], device=weight.device)
        counts = torch.tensor([len(report.sources[id_]) for id_ in ids], device=weight.device)
        gathered = _wide(weight[pieces]).view(len(pieces), -1)
        means = functional.embedding_bag(
            torch.arange(len(pieces), device=weight.device), gathered, counts.cumsum(0) - counts, mode="mean"
        )
        made[torch.tensor(ids, device=weight.device)] = means.view(len(ids), *weight.shape[1:]).to(weight.dtype)
    lone = [id_ for id_, sources in enumerate(report.sources) if not sources]
    if lone:
        made[torch.tensor(lone, device=weight.device)] = _average(weight, len(lone), noise)
    return made


def _moved(rows: Tensor, report: VocabularyReport) -> Tensor:
    """Kept rows where they belong now; the others are zero."""
    kept = [id_ for id_, how in enumerate(report.how) if how == "kept"]
    made = rows.new_zeros(report.vocab_size, *rows.shape[1:])
    there = torch.tensor(kept, dtype=torch.int64, device=rows.device)
    made[there] = rows[torch.tensor([report.sources[id_][0] for id_ in kept], dtype=torch.int64, device=rows.device)]
    return made


def _chunks(report: VocabularyReport, pieces: int) -> Iterable[list[int]]:
    """Ids of rows that are means, so many that they have about that many pieces together."""
    chunk: list[int] = []
    count = 0
    for id_, (how, sources) in enumerate(zip(report.how, report.sources, strict=True)):
        if how != "kept" and sources:
            chunk.append(id_)
            count += len(sources)
            if count >= pieces:
                yield chunk
                chunk, count = [], 0
    if chunk:
        yield chunk


def _new_place(report: VocabularyReport, old_id: int) -> int:
    """The new id of a padding token."""
    places = [id_ for id_, how in enumerate(report.how) if how == "kept" and report.sources[id_] == (old_id,)]
    if not places:
        raise ArgumentError(
            "the padding token would be dropped", got=f"id {old_id}", fix="give the new vocabulary this token, too"
        )
    return old_id if old_id in places else places[0]


def _head_weights(head: nn.Linear, weight: nn.Parameter) -> list[nn.Parameter]:
    """What of a head has a row for each token, beside the table itself."""
    own = dict(head.named_parameters(recurse=False)) if isinstance(head, nn.Linear) else {}
    parts = [*own.values()]
    if "weight" not in own or any(type(p) is not nn.Parameter or p.is_meta or len(p) != len(weight) for p in parts):
        raise ArgumentError(
            "head must be an nn.Linear with weights of its own and a row for each token",
            got=repr(head),
            expected=f"out_features={len(weight)}",
        )
    return [part for part in parts if part is not weight]


def _row_state(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> tuple[dict[str, Any], Sequence[str]]:
    """An optimizer's state of a weight, and the names of what in it has a row for each token."""
    state: dict[str, Any] = optimizer.state.get(weight, {})
    names = []
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.dim() == 0:
            continue  # a count of steps
        if value.dim() == weight.dim() and len(value) == 1 < len(weight):
            continue  # what is kept for each column
        if value.dim() != weight.dim() or len(value) != len(weight):
            raise ArgumentError(
                "an optimizer's state that isn't by row",
                got=f"{type(optimizer).__name__}: {name} {list(value.shape)}",
                expected=f"[{len(weight)}, …]",
                fix="make the optimizer anew, after extend_vocabulary",
            )
        names.append(name)
    return state, names


def _given(vectors: Mapping[str | int, Any], new: Vocabulary, dim: int) -> dict[int, Tensor]:
    """The vectors that are given, by id."""
    texts = [token for token in vectors if isinstance(token, str)]
    id_of: dict[str | int, int] = dict(zip(texts, token_ids(new, texts), strict=True))
    given: dict[int, Tensor] = {}
    for token, vector in vectors.items():
        id_ = integer("a token id of vectors", id_of.get(token, token), at_least=0, at_most=new.vocab_size - 1)
        values = torch.as_tensor(vector)
        if values.shape != (dim,) or not values.isfinite().all():
            raise ArgumentError(
                "a vector that can't be a row", got=f"{token!r}: {list(values.shape)}", expected=f"[{dim}], finite"
            )
        if id_ in given:
            raise ArgumentError("two vectors for one token", got=f"{token!r}, id {id_}")
        given[id_] = values
    return given
