"""Writing the input layer: model.safetensors and config.json, under the names that the tensors came by.

Not for: reading (``checkpoint``). Costs: the layer's bytes, once more while writing.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from foreword._base.files import atomic_folder
from foreword.embeddings._tables import is_plain, looked_up, only_calls
from foreword.embeddings.positions import AlibiBias, LearnedPositions, SinusoidalPositions
from foreword.embeddings.rotary import RotaryByLayer, RotaryPositions
from foreword.errors import ArgumentError, FileError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding

__all__ = ["NGRAMS", "NORM", "POSITION", "PROJECTION", "TOKEN", "TYPE", "save"]

TOKEN, TYPE, POSITION = "token_embedding.weight", "type_embedding.weight", "position_embedding.weight"
"""The layer's own names of its tables."""
NGRAMS, PROJECTION = "ngrams.table.weight", "ngram_projection.weight"
"""The layer's own names of what n-grams have; in files "foreword." stands before them."""
NORM = "foreword.norm."
"""Before the names of a new layer's norm."""
_FILE, _CONFIG = "model.safetensors", "config.json"


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
    parts = {TOKEN: layer.table()}
    if layer.type_embedding is not None:
        parts[TYPE] = looked_up(layer.type_embedding, layer.type_embedding.num_embeddings)
    module = layer.position_embedding
    if isinstance(module, LearnedPositions) and is_plain(module, LearnedPositions):
        parts[POSITION] = module.weight  # with the rows before that of position 0
    elif layer._adds and not isinstance(module, SinusoidalPositions):
        if layer._start and not isinstance(module, LearnedPositions):
            only_calls(module, layer._start)  # type: ignore[arg-type]
        first = 0 if layer._padding is None else -1  # where what isn't counted stands
        table = looked_up(module, layer.context_length or 0, first)  # type: ignore[arg-type]
        parts[POSITION] = torch.cat([table.new_zeros(_start(layer) + first, table.shape[1]), table])
    if layer.ngrams is not None:
        if layer.ngrams.path is not None:
            raise ArgumentError(
                "the rows of n-grams are in a folder of their own",
                got=f"path={layer.ngrams.path}",
                fix="ngrams.checkpoint(), and torch.save(layer.state_dict(), …), which names that checkpoint",
            )
        parts[NGRAMS] = layer.ngrams.table.weight
        if layer.ngram_projection is not None:
            parts[PROJECTION] = layer.ngram_projection.weight
    if layer.norm is not None:
        parts |= {f"norm.{name}": tensor for name, tensor in layer.norm.state_dict().items()}
    return parts


def _start(layer: InputEmbedding) -> int:
    """The row of position 0."""
    start: int = getattr(layer.position_embedding, "start", layer._start)
    return start


def _default_names(layer: InputEmbedding) -> dict[str, str]:
    learned = layer._adds and not isinstance(layer.position_embedding, SinusoidalPositions)
    names = {
        TOKEN: "wte.weight" if learned else "model.embed_tokens.weight",
        POSITION: "wpe.weight",
        TYPE: "token_type_embeddings.weight",
    }
    names |= {name: f"foreword.{name}" for name in (NGRAMS, PROJECTION)}
    return names | {f"norm.{part}": f"{NORM}{part}" for part in ("weight", "bias")}


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
            options = {"scheme": "learned", "start": _start(layer), "padding_id": layer._padding}
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
    if layer.norm is not None and norm is None:
        raise ArgumentError(
            "a norm that can't be saved", got=type(layer.norm).__name__, expected="nn.LayerNorm or nn.RMSNorm"
        )
    if isinstance(layer.norm, nn.LayerNorm | nn.RMSNorm):
        ours |= {"norm_eps": layer.norm.eps, "norm_weight": layer.norm.weight is not None}
        ours["norm_bias"] = getattr(layer.norm, "bias", None) is not None
    if layer.type_embedding is not None:
        ours["num_types"] = layer.type_embedding.num_embeddings
    if layer.ngrams is not None:
        ours["ngrams"] = layer.ngrams.options
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
