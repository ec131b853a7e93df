"""Checkpoints: the input layer out of a model's files, and back, bit for bit.

What a model's first layer does is told by its config.json, read by what ``architectures`` knows of the model's type.
What isn't known is refused. ``docs/embeddings.md`` has the list.

A folder as Hugging Face lays it out (config.json beside model.safetensors, or shards with model.safetensors.index.json;
or the folder of its cache), one file (.safetensors; .pt, .pth, .bin or .ckpt, read with weights_only=True), or a
state_dict in memory. Only the tensors of the input layer are read.

Not for: the rest of the model; code (a pickle that would run some is refused); names on a hub (nothing is downloaded).
Costs: the layer's bytes, once more while reading.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from foreword._base.files import atomic_folder
from foreword.embeddings._checks import is_plain, looked_up
from foreword.embeddings.architectures import ARCHITECTURES, Architecture, architecture, text_config
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
from foreword.embeddings.scaling import RotaryScaling
from foreword.embeddings.tensors import Tensors, open_tensors
from foreword.errors import ArgumentError, FileError, FormatError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding

__all__ = ["load", "save"]

_TOKEN, _TYPE, _POSITION = "token_embedding.weight", "type_embedding.weight", "position_embedding.weight"
_NORM = "foreword.norm."
_FILE, _CONFIG = "model.safetensors", "config.json"
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
        ArgumentError: a model whose first layer isn't known, or does what Foreword doesn't have.
    """
    tensors = open_tensors(path, config)
    whole = tensors.config
    found = _ours(tensors) if "foreword" in whole else _of_model(tensors, position, table_only, token_tensor)
    read = {part: tensors.read(name) for part, name in found.names.items()}
    token = read[_TOKEN]
    _check_shapes(tensors, found, read)
    V, D = token.shape

    dtype = options.get("dtype") or token.dtype
    known = {"dtype": dtype, **found.options, "scale": found.scale(D, dtype), **options}
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
    for module in (layer.token_embedding, layer.type_embedding, layer.norm):
        if module is not None:
            module.to_empty(device=factory["device"])
    read = {part: tensor for part, tensor in read.items() if part in layer.state_dict()}
    lacking = layer.load_state_dict(read, strict=False).missing_keys
    if any(part.startswith("norm.") for part in lacking):
        raise FormatError(
            "the checkpoint holds no weights for the norm", got=f"norm={known['norm']!r}", where=tensors.where
        )
    layer._tensor_names = {part: found.names[part] for part in read}
    return layer


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
            case "root, bfloat16":
                return float(torch.tensor(math.sqrt(D), dtype=torch.bfloat16))
            case ("root", str(key), default):
                return math.sqrt(D) if self.config.get(key, default) else 1.0
            case (str(key), default):
                return float(self.config.get(key, default))
            case number:
                return float(number)  # type: ignore[arg-type]

    def context_length(self, read: Mapping[str, Tensor]) -> int | None:
        if _POSITION in read:
            return read[_POSITION].shape[0] - self.start
        T = _first(self.config, "context_length", "max_position_embeddings", "n_positions", "max_seq_len")
        return None if self.known is not None and self.known.positions in ("alibi", "none") else T

    @property
    def start(self) -> int:
        return 0 if self.known is None else self.known.start

    def position(self, T: int | None, D: int, factory: dict[str, Any]) -> PositionModule | None:
        """The position module that the model has; its weights come later."""
        assert self.known is not None
        try:
            match self.known.positions:
                case "learned":
                    return LearnedPositions(T or 0, D, start=self.start, **factory)
                case "alibi":
                    return AlibiBias(self.num_heads or 0, device=factory["device"])
                case "none":
                    return None
            if T is None:
                raise ArgumentError(
                    "config.json doesn't say how long a sequence can be",
                    got="no max_position_embeddings",
                    where=self.tensors.where,
                    fix="pass context_length=…",
                )
            assert self.known.rotary is not None
            return rotary_from(self.config, self.known.rotary, T, D, factory["device"], self.tensors.where)
        except (KeyError, TypeError, AttributeError, ValueError) as cause:
            if isinstance(cause, ArgumentError):
                raise
            raise _undescribed(self.tensors, cause) from cause


class _Ours(_Found):
    """What a checkpoint of ``save_pretrained`` says: every option, under "foreword"."""

    def __init__(self, tensors: Tensors) -> None:
        self.ours = dict(tensors.config["foreword"])
        super().__init__(tensors, tensors.config | {"context_length": self.ours.get("context_length")}, None)
        stored = dict(self.ours.get("position", {}))
        self.scheme, self.stored = stored.pop("scheme", None), stored
        names = ("scale", "norm", "norm_eps", "num_types", "dropout", "padding_id", "sparse")
        self.options = {name: self.ours[name] for name in names if name in self.ours}

    @property
    def start(self) -> int:
        return int(self.stored.get("start", 0))

    def position(self, T: int | None, D: int, factory: dict[str, Any]) -> PositionModule | None:
        try:
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
        except (KeyError, TypeError, AttributeError, ValueError) as cause:
            if isinstance(cause, ArgumentError):
                raise
            raise _undescribed(self.tensors, cause) from cause


def _stored_rotary(T: int | None, stored: Mapping[str, Any], factory: dict[str, Any]) -> RotaryPositions:
    options = dict(stored)
    if isinstance(options.get("scaling"), dict):
        numbers: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options["scaling"].items()}
        options["scaling"] = RotaryScaling(**numbers)
    return RotaryPositions(T or 0, **options, device=factory["device"])


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if config.get(key)), None)


def _undescribed(tensors: Tensors, cause: Exception) -> FormatError:
    return FormatError(
        f"{_CONFIG} doesn't describe positions",
        got=f"{type(cause).__name__}: {cause}",
        where=tensors.where,
        fix='mend it, or pass position="none" and other options yourself',
    )


def _ours(tensors: Tensors) -> _Found:
    """What a checkpoint that ``save_pretrained`` wrote says."""
    found = _Ours(tensors)
    tokens = ["wte.weight", "embed_tokens.weight", *(name for known in ARCHITECTURES.values() for name in known.tokens)]
    found.names[_TOKEN] = token = _token_name(tensors, tokens, found.ours.get("tensors", {}).get(_TOKEN))
    names = dict(found.ours.get("tensors", {}))
    if found.scheme == "learned":
        before = token.removesuffix("wte.weight")
        found.names[_POSITION] = names.get(_POSITION, f"{before}wpe.weight" if before != token else "wpe.weight")
        _there(tensors, found.names[_POSITION], token)
    if found.options.get("num_types"):
        found.names[_TYPE] = names.get(_TYPE, "token_type_embeddings.weight")
        _there(tensors, found.names[_TYPE], token)
    for part in ("norm.weight", "norm.bias"):
        name = names.get(part, _NORM + part.removeprefix("norm."))
        if name in tensors.names:
            found.names[part] = name
    return found


def _of_model(tensors: Tensors, position: object, table_only: bool, token_tensor: str | None) -> _Found:
    """What the checkpoint of a known model says; of any model, with ``table_only``."""
    if table_only:
        names = [name for known in ARCHITECTURES.values() for name in known.tokens]
        found = _Found(tensors, {}, Architecture(positions="none"))
        found.names[_TOKEN] = _token_name(tensors, names, token_tensor)
        return found
    config = text_config(tensors.config)
    known = architecture(config, tensors.where) if "model_type" in config else _by_names(tensors)
    found = _Found(tensors, config, known)
    found.names[_TOKEN] = token = _token_name(tensors, known.tokens, token_tensor)
    before = next((token.removesuffix(name) for name in known.tokens if token.endswith(name)), "")
    if known.positions == "learned" and position is None:
        found.names[_POSITION] = before + known.position_table
    if known.type_table:
        found.names[_TYPE] = before + known.type_table
    if known.norm:
        found.names |= {f"norm.{part}": f"{before}{known.norm}.{part}" for part in ("weight", "bias")}
        key, eps = known.norm_eps
        found.options |= {"norm": "layer", "norm_eps": config.get(key, eps)}
    for name in found.names.values():
        _there(tensors, name, token)
    if position is None:
        _nothing_else(
            tensors, before, set(found.names.values()) | {before + name for name in (*known.tokens, *known.elsewhere)}
        )
    if known.type_table:
        found.options["num_types"] = tensors.read(found.names[_TYPE]).shape[0]
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
    token = read[_TOKEN]
    if token.dim() != 2 or 0 in token.shape:
        raise _misshapen(tensors, found.names[_TOKEN], token, "[V, D]")
    V, D = token.shape
    said = found.config.get("vocab_size", V)
    if said != V:
        raise _misshapen(tensors, found.names[_TOKEN], token, f"[{said}, D] (vocab_size in {_CONFIG})")
    for part, tensor in read.items():
        rows = part in (_TYPE, _POSITION)
        if part != _TOKEN and (tensor.shape[-1:] != (D,) or tensor.dim() != 1 + rows):
            raise _misshapen(tensors, found.names[part], tensor, f"[T, {D}]" if rows else f"[{D}]")
    if _POSITION in read and read[_POSITION].shape[0] <= found.start:
        raise _misshapen(tensors, found.names[_POSITION], read[_POSITION], f"more than {found.start} rows")


def _misshapen(tensors: Tensors, name: str, tensor: Tensor, expected: str) -> FormatError:
    return FormatError(
        f"the tensor {name!r} has another shape",
        got=str(list(tensor.shape)),
        expected=expected,
        where=tensors.place(name),
    )


def save(layer: InputEmbedding, folder: str | os.PathLike[str]) -> None:
    """Write the layer to ``folder``: model.safetensors and config.json, whole or not at all.

    Tensors keep the names they were read by; those of a new layer are GPT-2's with learned positions, else Llama's.
    Tables that an adapter, a parametrization or sharding hangs on are written as looking up gives them.

    Raises:
        FileError: the folder exists and is not empty (so that no whole model is overwritten by its input layer), or
            can't be written.
        ArgumentError: weights that are nowhere (on the meta device).
    """
    import safetensors
    import safetensors.torch

    names = _default_names(layer) | layer._tensor_names
    with torch.no_grad():
        parts = _parts(layer)
        if any(tensor.is_meta for tensor in parts.values()):
            raise ArgumentError("the layer holds no weights to save", got="tensors on the meta device")
        # Copies, for safetensors refuses tensors that share memory, such as tied ones.
        tensors = {names[part]: tensor.detach().cpu().contiguous() for part, tensor in parts.items()}
    with atomic_folder(folder) as partial:
        try:
            safetensors.torch.save_file(tensors, partial / _FILE, metadata={"format": "pt"})
        except safetensors.SafetensorError as cause:
            raise FileError(f"can't write the tensors: {cause}", where=os.fspath(folder)) from cause
        config = json.dumps(_config_of(layer, {part: names[part] for part in parts}), indent=2)
        (partial / _CONFIG).write_text(config + "\n", encoding="utf-8")


def _parts(layer: InputEmbedding) -> dict[str, Tensor]:
    """The tensors of the layer, by the names of a layer that nothing hangs on."""
    parts = {_TOKEN: layer.table()}
    if layer.type_embedding is not None:
        parts[_TYPE] = looked_up(layer.type_embedding, layer.type_embedding.num_embeddings)
    module = layer.position_embedding
    if isinstance(module, LearnedPositions) and is_plain(module, LearnedPositions):
        parts[_POSITION] = module.weight  # with the rows before that of position 0
    elif layer._adds and not isinstance(module, SinusoidalPositions):
        table = looked_up(module, layer.context_length or 0)  # type: ignore[arg-type]
        parts[_POSITION] = torch.cat([table.new_zeros(getattr(module, "start", 0), table.shape[1]), table])
    if layer.norm is not None:
        parts |= {f"norm.{name}": tensor for name, tensor in layer.norm.state_dict().items()}
    return parts


def _default_names(layer: InputEmbedding) -> dict[str, str]:
    learned = layer._adds and not isinstance(layer.position_embedding, SinusoidalPositions)
    names = {
        _TOKEN: "wte.weight" if learned else "model.embed_tokens.weight",
        _POSITION: "wpe.weight",
        _TYPE: "token_type_embeddings.weight",
    }
    return names | {f"norm.{part}": f"{_NORM}{part}" for part in ("weight", "bias")}


def _config_of(layer: InputEmbedding, names: dict[str, str]) -> dict[str, Any]:
    """config.json: what Hugging Face calls the sizes, and all of our options."""
    position = layer.position_embedding
    V, D, T = layer.vocab_size, layer.embedding_dim, layer.context_length
    theirs: dict[str, Any] = {"model_type": "foreword", "vocab_size": V, "hidden_size": D}
    match position:
        case SinusoidalPositions():
            options: dict[str, Any] = {"scheme": "sinusoidal", "base": position.base, "layout": position.layout}
        case RotaryPositions():
            options = {"scheme": "rotary", **_rotary_options(position)}
        case RotaryByLayer():
            kinds = {name: _rotary_options(kind) for name, kind in position.kinds.items()}  # type: ignore[arg-type]
            options = {"scheme": "rotary", "kinds": kinds, "layers": list(position.layers)}
        case AlibiBias():
            options = {"scheme": "alibi", "num_heads": position.num_heads}
        case _ if layer._adds:
            options = {"scheme": "learned", "start": getattr(position, "start", 0)}
            theirs = {"model_type": "gpt2", "vocab_size": V, "n_embd": D, "n_positions": T}
            # GPT-2's heads have 64 dimensions; transformers wants a number that divides D.
            heads = layer.num_heads if layer.num_heads and D % layer.num_heads == 0 else None
            theirs["n_head"] = heads or (D // 64 if D % 64 == 0 else 1)
        case _:
            options = {"scheme": "none"}
    if layer.num_heads and "n_head" not in theirs:
        theirs["num_attention_heads"] = layer.num_heads
    norm = {nn.LayerNorm: "layer", nn.RMSNorm: "rms"}.get(type(layer.norm))
    ours = {"position": options, "context_length": T, "norm": norm}
    if layer.norm is not None:
        ours["norm_eps"] = layer.norm.eps
    if layer.type_embedding is not None:
        ours["num_types"] = layer.type_embedding.num_embeddings
    ours |= {name: getattr(layer, name) for name in ("scale", "dropout", "padding_id", "sparse")}
    ours["tensors"] = names
    dtype = next(layer.token_embedding.parameters()).dtype
    return theirs | {"torch_dtype": str(dtype).removeprefix("torch."), "foreword": ours}


def _rotary_options(rotary: RotaryPositions) -> dict[str, Any]:
    options = {name: getattr(rotary, name) for name in ("head_dim", "base", "layout", "reverse")}
    if rotary.rotary_dim < rotary.head_dim:
        options["rotary_dim"] = rotary.rotary_dim
    options["scaling"] = None if rotary.options is None else dataclasses.asdict(rotary.options)
    return options
