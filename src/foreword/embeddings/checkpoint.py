"""Checkpoints: the input layer out of a model's files, bit for bit.

A model's config.json says what its first layer does, once one knows the model's type: ``architectures`` does.
What isn't known is refused. ``docs/embeddings.md`` has the list.

A folder as Hugging Face lays it out (config.json beside model.safetensors, or shards with model.safetensors.index.json;
or the folder of its cache), one file (.safetensors; .pt, .pth, .bin or .ckpt, read with weights_only=True), or a
state_dict in memory. Only the tensors of the input layer are read.

Not for: writing (``saving``); the rest of the model; code (a pickle that would run some is refused); names on a hub
(nothing is downloaded). Costs: the layer's bytes, once more while reading.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from foreword._base.words import counted
from foreword.embeddings.architectures import ARCHITECTURES, Architecture, architecture, text_config
from foreword.embeddings.ngram_table import NgramTable
from foreword.embeddings.positions import (
    AlibiBias,
    LearnedPositions,
    PositionModule,
    Scheme,
    SinusoidalPositions,
    make_position,
)
from foreword.embeddings.rotary import RotaryByLayer, RotaryPositions
from foreword.embeddings.rotary_config import rotary_from
from foreword.embeddings.saving import NGRAMS, NORM, POSITION, PROJECTION, TOKEN, TYPE
from foreword.embeddings.scaling import RotaryScaling
from foreword.embeddings.tensors import Tensors, open_tensors
from foreword.errors import ArgumentError, ForewordError, FormatError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding

__all__ = ["load"]

_CONFIG = "config.json"
# Tensors that speak of embeddings or positions, and those of them that are no part of the first layer.
_ADDED = re.compile(r"(embed\w*|embd\w*|wpe|wte|position\w*)(\.\w+)*\.weight$")
_ELSEWHERE = re.compile(
    r"(^|\.)(layers?|h|blocks?|encoder)\.\d|(^|\.)(lm_head|embed_out|embedding_norm|rotary_emb|vision\w*|visual|audio\w*|image\w*"
    r"|vqmodel|multi_modal_projector|predictions|mtp\w*)(\.|$)"
)


def load(
    layer_class: type[InputEmbedding],
    path: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    position: Scheme | PositionModule | None = None,
    table_only: bool = False,
    token_tensor: str | None = None,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> InputEmbedding:
    """The input layer of a saved model.

    Args:
        layer_class: the class to make, ``InputEmbedding``.
        path: a folder with config.json and safetensors, a model's folder in Hugging Face's cache, one file, or a
            state_dict.
        position: a position scheme or module to take instead of what the checkpoint says.
        table_only: take the token table as it is stored and ask nothing else of the checkpoint: no scale, no norm, and
            no positions but those given by ``position``. For models that aren't known.
        token_tensor: the name of the token table, where it has another than its model's, or there are several.
        config: what config.json would say (``model.config.to_dict()``), for a state_dict or a file without one.
        options: any option of ``InputEmbedding`` (dropout, sparse, dtype, device, …), over what the checkpoint says.
            The dtype is by default that of the stored table.

    Raises:
        MissingFileError, FileError: a file is not there or can't be read.
        FormatError: not the tensors of a model, cut short, no tensor of the name, a shape that doesn't fit, NaN or
            infinity.
        ArgumentError: a model whose first layer isn't known, or does what Foreword doesn't have; the meta device.
    """
    if torch.empty(0).is_meta:
        raise ArgumentError(
            "a layer can't be read on the meta device",
            got='from_pretrained() under torch.device("meta"), as where transformers makes a model',
            fix="make InputEmbedding(…) of those sizes there, and load its weights after",
        )
    tensors = open_tensors(path, config)
    whole = tensors.config
    with _described(tensors):
        found = _ours(tensors) if "foreword" in whole else _of_model(tensors, position, table_only, token_tensor)
    read = {part: tensors.read(name) for part, name in found.names.items()}
    token = read[TOKEN]
    with _described(tensors):
        _check_shapes(tensors, found, read)
    V, D = token.shape

    dtype = options.get("dtype") or token.dtype
    with _described(tensors):
        stored = {"norm": found.norm(D, dtype), **found.options, "scale": found.scale(D, dtype)}
        stored["ngrams"] = found.ngrams(dtype)
    known = {"dtype": dtype, **stored, **options}
    factory: dict[str, Any] = {"device": known.pop("device", None) or "cpu", "dtype": dtype}
    T = known.pop("context_length", None) or found.context_length(read)
    heads = known.pop("num_heads", None) or found.num_heads
    if not isinstance(position, nn.Module):
        position = found.position(T, D, factory) if position is None else make_position(position, T, D, heads, factory)
    # The table is not drawn only to be overwritten: it begins on the meta device, which holds nothing.
    layer = layer_class(
        V,
        D,
        T,
        position="none" if position is None else position,
        **{**known, "num_heads": heads, "device": "meta"},
    )
    given = "ngrams" in options  # a table that is given begins anew, or where it stands, and so does its projection
    ours = [layer.token_embedding, layer.type_embedding, layer.ngram_projection, layer.norm]
    for module in ours if given else [*ours, layer.ngrams]:
        if module is not None:
            module.to_empty(device=factory["device"])
    if layer.ngram_projection is not None:
        layer.ngram_projection.reset_parameters()
    wanted = set(layer.state_dict()) - ({NGRAMS, PROJECTION} if given else set())
    read = {part: tensor for part, tensor in read.items() if part in wanted}
    lacking = layer.load_state_dict(read, strict=False).missing_keys
    if any(part.startswith("norm.") for part in lacking):
        raise FormatError(
            "the checkpoint holds no weights for the norm", got=f"norm={known['norm']!r}", where=tensors.where
        )
    if found.known is not None and found.known.positions == "sinusoidal":
        layer.freeze("position")
    layer._tensor_names = {part: found.names[part] for part in read}
    return layer


@contextlib.contextmanager
def _described(tensors: Tensors, what: str = "the first layer") -> Iterator[None]:
    """Values in config.json that aren't of their kind, as one error."""
    try:
        yield
    except ForewordError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as cause:
        raise FormatError(
            f"{_CONFIG} doesn't describe {what}",
            got=f"{type(cause).__name__}: {cause}",
            where=tensors.where,
            fix='mend it, or pass position="none" and other options yourself',
        ) from cause


class _Found:
    """What a checkpoint says of its first layer.

    Attributes:
        names: the tensor behind each parameter of the layer.
        options: of ``InputEmbedding``.
        num_heads: attention heads, if it says.
    """

    def __init__(self, tensors: Tensors, config: Mapping[str, Any], known: Architecture | None) -> None:
        self.tensors, self.config, self.known = tensors, config, known
        self.names: dict[str, str] = {}
        self.options: dict[str, Any] = {}
        self.num_heads = _first(config, "num_attention_heads", "n_head", "num_heads", "n_heads")

    def scale(self, D: int, dtype: torch.dtype) -> float:
        """What token embeddings are multiplied by."""
        if self.known is None:
            return float(self.options.pop("scale", 1.0))
        match self.known.scale:
            case "root":
                return float(torch.tensor(math.sqrt(D), dtype=dtype))
            case "root, exact":
                return math.sqrt(D)
            case "root, bfloat16":
                return float(torch.tensor(math.sqrt(D), dtype=torch.bfloat16))
            case ("root", str(key), default):
                return math.sqrt(D) if self.config.get(key, default) else 1.0
            case (str(key), default):
                return float(self.config.get(key, default))
            case number:
                return float(number)  # type: ignore[arg-type]

    def context_length(self, read: Mapping[str, Tensor]) -> int | None:
        if POSITION in read:
            return read[POSITION].shape[0] - self.start
        T = _first(self.config, "context_length", "max_position_embeddings", "n_positions", "max_seq_len")
        return None if self.known is not None and self.known.positions in ("alibi", "none") else T

    @property
    def start(self) -> int:
        """The row of position 0."""
        if self.known is None:
            return 0
        return self.padding_id + 1 if self.padding_id is not None else self.known.start

    @property
    def padding_id(self) -> int | None:
        """The id of tokens that have no position, if there are such."""
        if self.known is None or not self.known.past_padding:
            return None
        return int(self.config.get("pad_token_id") or 0)

    def ngrams(self, dtype: torch.dtype) -> NgramTable | None:  # noqa: ARG002
        """The table of n-grams, on the meta device."""
        return None

    def norm(self, D: int, dtype: torch.dtype) -> nn.Module | None:
        """The norm, on the meta device."""
        known = self.known
        if known is None or not (known.norm or known.norm_kind != "layer"):
            return None
        key, eps = known.norm_eps
        eps = float(self.config.get(key, eps))
        if not 0 <= eps < math.inf:
            raise ArgumentError("the norm's ε is no number", got=f"{key} = {eps!r}", where=self.tensors.where)
        if known.norm_kind == "rms, bare":
            return nn.RMSNorm(D, eps, elementwise_affine=False)
        return nn.LayerNorm(D, eps, bias="norm.bias" in self.names, device="meta", dtype=dtype)

    def position(self, T: int | None, D: int, factory: dict[str, Any]) -> PositionModule | None:
        """The position module that the model has; its weights come later."""
        assert self.known is not None
        with _described(self.tensors, "positions"):
            match "learned" if POSITION in self.names else self.known.positions:
                case "learned":
                    return LearnedPositions(T or 0, D, start=self.start, padding_id=self.padding_id, **factory)
                case "alibi":
                    self._check_alibi()
                    return AlibiBias(self.num_heads or 0, device=factory["device"])
                case "none":
                    return None
                case "sinusoidal" if T is not None:
                    return SinusoidalPositions(T, D, layout="concatenated", **factory)
            if T is None:
                raise ArgumentError(
                    "config.json doesn't say how long a sequence can be",
                    got="no max_position_embeddings",
                    where=self.tensors.where,
                    fix="pass context_length=…",
                )
            assert self.known.rotary is not None
            return rotary_from(self.config, self.known.rotary, T, D, factory["device"], self.tensors.where)

    def _check_alibi(self) -> None:
        """MPT's attention may have other slopes, or none."""
        said = self.config.get("attn_config") or {}
        if not said.get("alibi", True) or said.get("alibi_bias_max", 8) != 8:
            raise ArgumentError(
                "not supported: another bias than ALiBi's own",
                got=f"alibi = {said.get('alibi')!r}, alibi_bias_max = {said.get('alibi_bias_max')!r}",
                where=self.tensors.where,
                fix='pass position="none"',
            )


class _Ours(_Found):
    """What a checkpoint of ``save_pretrained`` says: every option, under "foreword"."""

    def __init__(self, tensors: Tensors) -> None:
        self.ours = dict(tensors.config["foreword"])
        super().__init__(tensors, tensors.config | {"context_length": self.ours.get("context_length")}, None)
        stored = dict(self.ours.get("position", {}))
        self.scheme, self.stored = stored.pop("scheme", None), stored
        names = ("scale", "num_types", "dropout", "padding_id", "sparse")
        self.options = {name: self.ours[name] for name in names if name in self.ours}

    @property
    def start(self) -> int:
        """The row of position 0."""
        return int(self.stored.get("start", 0))

    def ngrams(self, dtype: torch.dtype) -> NgramTable | None:
        """The table of n-grams, on the meta device."""
        return NgramTable(**self.ours["ngrams"], device="meta", dtype=dtype) if "ngrams" in self.ours else None

    def norm(self, D: int, dtype: torch.dtype) -> nn.Module | None:
        """The norm, on the meta device."""
        given = {"eps": self.ours["norm_eps"]} if "norm_eps" in self.ours else {}
        options: dict[str, Any] = {**given, "elementwise_affine": self.ours.get("norm_weight", True), "device": "meta"}
        match self.ours.get("norm"):
            case None:
                return None
            case "layer":
                return nn.LayerNorm(D, **options, bias=self.ours.get("norm_bias", True), dtype=dtype)
            case _:
                return nn.RMSNorm(D, **options, dtype=dtype)

    def position(self, T: int | None, D: int, factory: dict[str, Any]) -> PositionModule | None:
        with _described(self.tensors, "positions"):
            match self.scheme:
                case "learned":
                    return LearnedPositions(T or 0, D, **self.stored, **factory)
                case "sinusoidal":
                    return SinusoidalPositions(T or 0, D, **self.stored, **factory)
                case "rotary" if "layers" in self.stored:
                    kinds = {name: _stored_rotary(T, kind, factory) for name, kind in self.stored["kinds"].items()}
                    return RotaryByLayer(kinds, self.stored["layers"])
                case "rotary":
                    return _stored_rotary(T, self.stored, factory)
                case "alibi":
                    return AlibiBias(**self.stored, device=factory["device"])
                case _:
                    return make_position(self.scheme, T, D, None, factory)


def _stored_rotary(T: int | None, stored: Mapping[str, Any], factory: dict[str, Any]) -> RotaryPositions:
    options = dict(stored)
    if isinstance(options.get("scaling"), dict):
        numbers: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options["scaling"].items()}
        options["scaling"] = RotaryScaling(**numbers)
    return RotaryPositions(T or 0, **options, device=factory["device"])


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if config.get(key)), None)


def _ours(tensors: Tensors) -> _Found:
    """What a checkpoint that ``save_pretrained`` wrote says."""
    found = _Ours(tensors)
    tokens = ["wte.weight", "embed_tokens.weight", *(name for known in ARCHITECTURES.values() for name in known.tokens)]
    found.names[TOKEN] = token = _token_name(tensors, tokens, found.ours.get("tensors", {}).get(TOKEN))
    names = dict(found.ours.get("tensors", {}))
    if found.scheme == "learned":
        before = token.removesuffix("wte.weight")
        found.names[POSITION] = names.get(POSITION, f"{before}wpe.weight" if before != token else "wpe.weight")
        _there(tensors, found.names[POSITION], token)
    if found.options.get("num_types"):
        found.names[TYPE] = names.get(TYPE, "token_type_embeddings.weight")
        _there(tensors, found.names[TYPE], token)
    if "ngrams" in found.ours:
        for part in (NGRAMS, PROJECTION):
            if part == NGRAMS or part in names:
                found.names[part] = names[part]
                _there(tensors, names[part], token)
    for part in ("norm.weight", "norm.bias"):
        name = names.get(part, NORM + part.removeprefix("norm."))
        if name in tensors.names:
            found.names[part] = name
    return found


def _of_model(tensors: Tensors, position: object, table_only: bool, token_tensor: str | None) -> _Found:
    """What the checkpoint of a known model says; of any model, with ``table_only``."""
    if table_only:
        names = [name for known in ARCHITECTURES.values() for name in known.tokens]
        found = _Found(tensors, {}, Architecture(positions="none"))
        found.names[TOKEN] = _token_name(tensors, names, token_tensor)
        return found
    config = text_config(tensors.config)
    known = architecture(config, tensors.where) if "model_type" in config else _by_names(tensors)
    found = _Found(tensors, config, known)
    found.names[TOKEN] = token = _token_name(tensors, known.tokens, token_tensor)
    before = next((token.removesuffix(name) for name in known.tokens if token.endswith(name)), "")
    table = before + known.position_table
    if position is None and (known.positions == "learned" or (known.position_table and table in tensors.names)):
        found.names[POSITION] = table
    if known.type_table:
        found.names[TYPE] = before + known.type_table
    if known.norm:
        parts = {f"norm.{part}": f"{before}{known.norm}.{part}" for part in ("weight", "bias")}
        bare = config.get("norm_bias") is False  # ModernBERT's
        found.names |= {part: name for part, name in parts.items() if part == "norm.weight" or not bare}
    for name in found.names.values():
        _there(tensors, name, token)
    if position is None:
        _nothing_else(
            tensors, before, set(found.names.values()) | {before + name for name in (*known.tokens, *known.elsewhere)}
        )
    if known.type_table:
        found.options["num_types"] = tensors.read(found.names[TYPE]).shape[0]
    return found


def _by_names(tensors: Tensors) -> Architecture:
    """What is known of a model without config.json: GPT-2's two tables are added, and nothing else is done."""
    known = ARCHITECTURES["gpt2"]
    tables = [name for name in tensors.names if name.endswith("wte.weight")]
    if tables:
        return known
    _token_name(tensors, [name for each in ARCHITECTURES.values() for name in each.tokens], None)
    _nothing_else(tensors, "", {name for name in tensors.names if name.endswith("embed_tokens.weight")})
    raise ArgumentError(
        "nothing is known of this model's first layer: there is no config.json, or it has no model_type",
        got=", ".join(sorted(tensors.names)[:4]),
        where=tensors.where,
        fix="pass config=model.config.to_dict(), or table_only=True for the token table alone, as it is stored",
    )


def _token_name(tensors: Tensors, known: Any, given: str | None) -> str:
    """The name of the token table."""
    if given is not None:
        if given not in tensors.names:
            raise FormatError(
                f"no tensor {given!r}", got=", ".join(sorted(tensors.names)[:8]) or "no tensors", where=tensors.where
            )
        return given
    ends = tuple(dict.fromkeys(known))
    matching = [
        name
        for name in tensors.names
        if any(name == end or name.endswith(f".{end}") for end in ends) and not _ELSEWHERE.search(name)
    ]
    if not matching:
        raise FormatError(
            "no token table of a known name",
            got=", ".join(sorted(tensors.names)[:8]) or "no tensors",
            expected="one of " + ", ".join(ends),
            where=tensors.where,
            fix='name it: token_tensor="…"',
        )
    if len(matching) > 1:
        raise FormatError(
            "several tensors could be the token table",
            got=", ".join(sorted(matching)),
            where=tensors.where,
            fix='name it: token_tensor="…"',
        )
    return matching[0]


def _there(tensors: Tensors, name: str, token: str) -> None:
    if name not in tensors.names:
        raise FormatError(f"no tensor {name!r} beside {token!r}", where=tensors.where)


def _nothing_else(tensors: Tensors, before: str, used: set[str]) -> None:
    """Nothing, if the model adds no tables but those that are used."""
    for name in tensors.names:
        if name.startswith(before) and name not in used and _ADDED.search(name) and not _ELSEWHERE.search(name):
            raise FormatError(
                "the model adds embeddings of a kind that Foreword doesn't have",
                got=name,
                where=tensors.where,
                fix="pass table_only=True for the token table alone, as it is stored",
            )


def _check_shapes(tensors: Tensors, found: _Found, read: Mapping[str, Tensor]) -> None:
    token = read[TOKEN]
    if token.dim() != 2 or 0 in token.shape:
        raise _misshapen(tensors, found.names[TOKEN], token, "[V, D]")
    V, D = token.shape
    said = found.config.get("vocab_size", V)
    if said + (found.known.extra_rows if found.known is not None else 0) != V and "vocab_size" in found.config:
        raise _misshapen(tensors, found.names[TOKEN], token, f"[{said}, D] (vocab_size in {_CONFIG})")
    table = found.ngrams(torch.float32)
    shapes = {} if table is None else {NGRAMS: [table.hash.rows, table.dim], PROJECTION: [D, table.dim]}
    for part, tensor in read.items():
        rows = part in (TYPE, POSITION)
        if part in shapes:
            if list(tensor.shape) != shapes[part]:
                raise _misshapen(tensors, found.names[part], tensor, str(shapes[part]))
        elif part != TOKEN and (tensor.shape[-1:] != (D,) or tensor.dim() != 1 + rows):
            raise _misshapen(tensors, found.names[part], tensor, f"[T, {D}]" if rows else f"[{D}]")
    if POSITION in read and read[POSITION].shape[0] <= found.start:
        raise _misshapen(tensors, found.names[POSITION], read[POSITION], f"more than {counted(found.start, 'row')}")


def _misshapen(tensors: Tensors, name: str, tensor: Tensor, expected: str) -> FormatError:
    return FormatError(
        f"the tensor {name!r} has another shape",
        got=str(list(tensor.shape)),
        expected=expected,
        where=tensors.place(name),
    )
