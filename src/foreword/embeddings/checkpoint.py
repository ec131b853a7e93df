"""Checkpoints: the input layer out of a model's safetensors, and back, bit for bit.

    GPT-2       [transformer.]wte.weight [V, D], [transformer.]wpe.weight [T, D]      learned positions
    Llama       [model.]embed_tokens.weight [V, D], config.json: rope_theta, …         rotary positions, half layout
    Foreword    either, with a "foreword" part in config.json that holds every option

A folder as Hugging Face lays it out (config.json beside model.safetensors, or shards with model.safetensors.index.json;
or the folder of its cache), or one .safetensors file. Only the tensors of the input layer are read.

Not for: the rest of the model, pickled files (.bin, .pth: no code runs here), names on a hub (nothing is downloaded).
Costs: the layer's bytes, once more while reading.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from foreword._base.files import atomic_folder, explained, read_text
from foreword.embeddings.positions import (
    AlibiBias,
    LearnedPositions,
    PositionModule,
    RotaryPositions,
    Scheme,
    SinusoidalPositions,
    make_position,
)
from foreword.errors import ArgumentError, FileError, FormatError, MissingFileError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding

__all__ = ["load", "save"]

_GPT2 = {"wte.weight": "wpe.weight", "transformer.wte.weight": "transformer.wpe.weight"}
_LLAMA = ("model.embed_tokens.weight", "embed_tokens.weight", "model.language_model.embed_tokens.weight")
_NORM = "foreword.norm."
_TOKEN, _POSITION = "token_embedding.weight", "position_embedding.weight"
# Tables of positions or segments that a model adds besides, which this layer would leave out.
_UNKNOWN = ("embed_positions", "position_embeddings", "token_type_embeddings")

_FILE, _INDEX, _CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where each tensor lies, and what config.json says."""

    path: Path
    files: dict[str, Path]  # tensor name → file
    config: dict[str, Any]


def load(
    layer_class: type[InputEmbedding],
    path: str | os.PathLike[str],
    *,
    position: Scheme | PositionModule | None = None,
    **options: Any,
) -> InputEmbedding:
    """The input layer of a saved model.

    Args:
        layer_class: the class to make, ``InputEmbedding``.
        path: a folder with config.json and safetensors, a model's folder in Hugging Face's cache, or one .safetensors.
        position: a position scheme or module to take instead of what the checkpoint says.
        options: any option of ``InputEmbedding`` (dropout, sparse, dtype, device, …), over what the checkpoint says.
            The dtype is by default that of the stored table.

    Raises:
        MissingFileError, FileError: a file is not there or can't be read.
        FormatError: not safetensors, cut short, no tensor of a known name, a shape that doesn't fit, NaN or infinity.
        ArgumentError: position scaling of a kind that Foreword doesn't have.
    """
    source = _open(Path(path))
    names = _names(source, position)
    tensors = {part: _read(source, name) for part, name in names.items()}
    _check_shapes(source, names, tensors)
    token = tensors[_TOKEN]
    V, D = token.shape

    ours = source.config.get("foreword", {})
    known = {k: ours[k] for k in ("scale", "norm", "dropout", "padding_id", "sparse") if k in ours}
    known = {"dtype": token.dtype, "scale": _scale(source.config, token), **known, **options}
    factory = {"device": known.pop("device", "cpu"), "dtype": known["dtype"]}
    T = known.pop("context_length", None) or _context_length(source, tensors)
    if not isinstance(position, nn.Module):
        heads = known.pop("num_heads", source.config.get("num_attention_heads"))
        position = (
            _from_config(source, T, D, factory) if position is None else make_position(position, T, D, heads, factory)
        )
    # The table is not drawn only to be overwritten: it begins on the meta device, which holds nothing.
    layer = layer_class(V, D, T, position="none" if position is None else position, **{**known, "device": "meta"})
    for module in (layer.token_embedding, layer.norm):
        if module is not None:
            module.to_empty(device=factory["device"])
    tensors = {part: tensor for part, tensor in tensors.items() if part in layer.state_dict()}
    lacking = layer.load_state_dict(tensors, strict=False).missing_keys
    if any(part.startswith("norm.") for part in lacking):
        raise FormatError(
            "the checkpoint holds no weights for the norm", got=f"norm={known['norm']!r}", where=str(path)
        )
    layer._tensor_names = {part: names[part] for part in tensors}
    return layer


def save(layer: InputEmbedding, folder: str | os.PathLike[str]) -> None:
    """Write the layer to ``folder``: model.safetensors and config.json, whole or not at all.

    Tensors keep the names they were read by; those of a new layer are GPT-2's with learned positions, else Llama's.

    Raises:
        FileError: the folder exists and is not empty (so that no whole model is overwritten by its input layer), or
            can't be written.
    """
    import safetensors
    import safetensors.torch

    names = _default_names(layer) | layer._tensor_names
    tensors = {names[part]: tensor.detach().cpu().contiguous() for part, tensor in layer.state_dict().items()}
    with atomic_folder(folder) as partial:
        try:
            safetensors.torch.save_file(tensors, partial / _FILE, metadata={"format": "pt"})
        except safetensors.SafetensorError as cause:
            raise FileError(f"can't write the tensors: {cause}", where=os.fspath(folder)) from cause
        (partial / _CONFIG).write_text(json.dumps(_config_of(layer), indent=2) + "\n", encoding="utf-8")


def _open(path: Path) -> _Source:
    path = _snapshot(path)
    if path.is_file():
        files = dict.fromkeys(_tensor_names(path), path)
        beside = path.parent / _CONFIG
        return _Source(path, files, _json(beside) if beside.exists() else {})
    if (path / _INDEX).exists():
        weight_map = _json(path / _INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
            raise FormatError("no weight_map in the index of shards", where=str(path / _INDEX))
        outside = [file for file in weight_map.values() if Path(file).name != file]
        if outside:
            raise FormatError("a shard lies outside the folder", got=outside[0], where=str(path / _INDEX))
        files = {name: path / file for name, file in weight_map.items()}
    elif (path / _FILE).exists():
        files = dict.fromkeys(_tensor_names(path / _FILE), path / _FILE)
    else:
        raise MissingFileError(
            "no safetensors to read",
            expected=f"{_FILE} or {_INDEX} in the folder, or a .safetensors file",
            where=str(path),
            fix="check the path; a pickled checkpoint (.bin, .pth) must be converted by its owner's tools first",
        )
    return _Source(path, files, _json(path / _CONFIG) if (path / _CONFIG).exists() else {})


def _snapshot(path: Path) -> Path:
    """The newest snapshot, if ``path`` is a model's folder in Hugging Face's cache."""
    main = path / "refs" / "main"
    return path / "snapshots" / read_text(main).strip() if main.is_file() else path


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as cause:
        raise FormatError("not JSON", got=str(cause), where=str(path)) from cause
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", got=type(value).__name__, where=str(path))
    return value


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file, with its errors in our words."""
    import safetensors

    with explained("read the tensors", path):
        open(path, "rb").close()  # an OSError of safetensors has no errno
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                yield file
        except safetensors.SafetensorError as cause:
            raise FormatError("not a whole safetensors file", got=str(cause), where=str(path)) from cause


def _tensor_names(path: Path) -> list[str]:
    with _opened(path) as file:
        return list(file.keys())


def _read(source: _Source, name: str) -> Tensor:
    path = source.files[name]
    with _opened(path) as file:
        tensor: Tensor = file.get_tensor(name)
    if not tensor.dtype.is_floating_point:
        raise FormatError(f"the tensor {name!r} doesn't hold real numbers", got=str(tensor.dtype), where=str(path))
    finite = torch.isfinite(tensor)
    if not finite.all():
        place = (~finite).nonzero()[0].tolist()
        raise FormatError(
            f"the tensor {name!r} holds NaN or infinity",
            got=f"{int((~finite).sum()):,} such elements, the first at {place}",
            where=str(path),
            fix="get the file again, or take an earlier checkpoint",
        )
    return tensor


def _names(source: _Source, position: object) -> dict[str, str]:
    """The tensor behind each parameter of the layer; without positions, where the caller brings other ones."""
    token = next((name for name in (*_GPT2, *_LLAMA) if name in source.files), None)
    if token is None:
        raise FormatError(
            "no token table of a known name",
            got=", ".join(sorted(source.files)[:8]) or "no tensors",
            expected="one of " + ", ".join([*_GPT2, *_LLAMA]),
            where=str(source.path),
        )
    names = {_TOKEN: token}
    ours = source.config.get("foreword", {}).get("position", {}).get("scheme")
    if position is None and (ours == "learned" or (ours is None and token in _GPT2)):
        names[_POSITION] = _GPT2.get(token, "wpe.weight")
        if names[_POSITION] not in source.files:
            raise FormatError(f"no tensor {names[_POSITION]!r} beside {token!r}", where=str(source.path))
    others = [name for name in source.files if any(part in name for part in _UNKNOWN)]
    if position is None and others:
        raise FormatError(
            "the model adds embeddings of a kind that Foreword doesn't have",
            got=others[0],
            where=str(source.path),
            fix='pass position="none" to load the token table alone',
        )
    return names | {f"norm.{name.removeprefix(_NORM)}": name for name in source.files if name.startswith(_NORM)}


def _check_shapes(source: _Source, names: dict[str, str], tensors: dict[str, Tensor]) -> None:
    token = tensors[_TOKEN]
    if token.dim() != 2 or 0 in token.shape:
        raise _misshapen(source, names[_TOKEN], token, "[V, D]")
    V, D = token.shape
    if source.config.get("vocab_size", V) != V:
        raise _misshapen(source, names[_TOKEN], token, f"[{source.config['vocab_size']}, D] (vocab_size in {_CONFIG})")
    for part, tensor in tensors.items():
        if part != _TOKEN and (tensor.shape[-1:] != (D,) or tensor.dim() != 1 + (part == _POSITION)):
            raise _misshapen(source, names[part], tensor, f"[T, {D}]" if part == _POSITION else f"[{D}]")


def _misshapen(source: _Source, name: str, tensor: Tensor, expected: str) -> FormatError:
    return FormatError(
        f"the tensor {name!r} has another shape",
        got=str(list(tensor.shape)),
        expected=expected,
        where=str(source.files[name]),
    )


def _context_length(source: _Source, tensors: dict[str, Tensor]) -> int | None:
    if _POSITION in tensors:
        return tensors[_POSITION].shape[0]
    ours: int | None = source.config.get("foreword", source.config).get("context_length")
    return ours or source.config.get("max_position_embeddings")


def _scale(config: dict[str, Any], token: Tensor) -> float:
    """Gemma multiplies its token embeddings by √D, rounded to their dtype; GPT-2 and Llama don't."""
    if str(config.get("model_type", "")).startswith("gemma"):
        return float(torch.tensor(math.sqrt(token.shape[1]), dtype=token.dtype))
    return 1.0


def _from_config(source: _Source, T: int | None, D: int, factory: dict[str, Any]) -> PositionModule | None:
    try:
        return _stored_position(source, T, D, factory)
    except (KeyError, TypeError, AttributeError) as cause:
        raise FormatError(
            f"{_CONFIG} doesn't describe positions",
            got=f"{type(cause).__name__}: {cause}",
            where=str(source.path),
            fix='mend it, or pass position="none" and other options yourself',
        ) from cause


def _stored_position(source: _Source, T: int | None, D: int, factory: dict[str, Any]) -> PositionModule | None:
    """The position module that the checkpoint was saved with; its weights come later."""
    config = source.config
    ours = dict(config.get("foreword", {}).get("position", {}))
    match ours.pop("scheme", None):
        case None:
            pass
        case "sinusoidal":
            return SinusoidalPositions(T or 0, D, **ours, **factory)
        case "rotary":
            return RotaryPositions(T or 0, **ours, device=factory["device"])
        case "alibi":
            return AlibiBias(**ours, device=factory["device"])
        case scheme:
            return make_position(scheme, T, D, None, factory)
    if any(name in _GPT2 for name in source.files):
        return LearnedPositions(T or 0, D, **factory)
    if T is None or not config.get("num_attention_heads"):
        return None  # a bare file of tensors says nothing of positions
    # transformers 5 keeps all of this under rope_parameters, transformers 4 in two places
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    bounds = (rope.get("low_freq_factor"), rope.get("high_freq_factor"))
    if kind not in ("default", "linear", "llama3") or (kind == "llama3" and bounds != (1, 4)):
        raise ArgumentError(
            "rotary scaling of a kind that Foreword doesn't have",
            got=repr(kind) + (f" with bounds {bounds}" if kind == "llama3" else ""),
            expected='"default", "linear", or "llama3" with bounds (1, 4)',
            where=str(source.path),
            fix='pass position="none", or a RotaryPositions of your own',
        )
    return RotaryPositions(
        T,
        config.get("head_dim") or D // config["num_attention_heads"],
        base=rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        scaling=None if kind == "default" else kind,
        factor=1.0 if kind == "default" else rope["factor"],
        original_context_length=rope["original_max_position_embeddings"] if kind == "llama3" else None,
        device=factory["device"],
    )


def _default_names(layer: InputEmbedding) -> dict[str, str]:
    learned = isinstance(layer.position_embedding, LearnedPositions)
    names = {_TOKEN: "wte.weight" if learned else _LLAMA[0], _POSITION: "wpe.weight"}
    return names | {f"norm.{part}": f"{_NORM}{part}" for part in ("weight", "bias")}


def _config_of(layer: InputEmbedding) -> dict[str, Any]:
    """config.json: what Hugging Face calls the sizes, and all of our options."""
    position = layer.position_embedding
    V, D, T = layer.vocab_size, layer.embedding_dim, layer.context_length
    theirs: dict[str, Any] = {"model_type": "foreword", "vocab_size": V, "hidden_size": D}
    match position:
        case LearnedPositions():
            options: dict[str, Any] = {"scheme": "learned"}
            theirs = {"model_type": "gpt2", "vocab_size": V, "n_embd": D, "n_positions": T}
        case SinusoidalPositions():
            options = {"scheme": "sinusoidal", "base": position.base}
        case RotaryPositions():
            names = ("head_dim", "base", "layout", "scaling", "factor", "original_context_length")
            options = {"scheme": "rotary", **{name: getattr(position, name) for name in names}}
        case AlibiBias():
            options = {"scheme": "alibi", "num_heads": position.num_heads}
        case _:
            options = {"scheme": "none"}
    norm = {nn.LayerNorm: "layer", nn.RMSNorm: "rms"}.get(type(layer.norm))
    ours = {"position": options, "context_length": T, "norm": norm}
    ours |= {name: getattr(layer, name) for name in ("scale", "dropout", "padding_id", "sparse")}
    return theirs | {"torch_dtype": str(layer.token_embedding.weight.dtype).removeprefix("torch."), "foreword": ours}
