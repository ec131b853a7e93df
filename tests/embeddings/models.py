"""Tiny models with random weights of every architecture with a decoder that transformers can build; what they did.

Offline: a model's config class, made small, and no weights but those that are drawn.
"""

import contextlib
import dataclasses
import inspect
import re
import sys

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

transformers.utils.logging.disable_progress_bar()

TYPES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
T = 7

# hidden_size / heads = 24 and head_dim = 16 differ, and √96 is no whole number.
_SMALL = """
vocab_size=99 hidden_size=96 d_model=96 n_embd=96 dim=96 embedding_size=96 word_embed_proj_dim=96
n_layer=4 n_layers=4 num_layers=4 num_hidden_layers=4 decoder_layers=4 encoder_layers=1
num_attention_heads=4 num_heads=4 n_head=4 n_heads=4 attention_heads=4
decoder_attention_heads=4 encoder_attention_heads=4
num_key_value_heads=2 num_kv_heads=2 head_dim=16 kv_channels=16 multi_query_group_num=2
intermediate_size=32 ffn_dim=32 ffn_hidden_size=32 decoder_ffn_dim=32 encoder_ffn_dim=32 n_inner=32 d_ff=32
moe_intermediate_size=16 shared_expert_intermediate_size=16 num_experts=4 num_local_experts=4 n_routed_experts=4
moe_num_experts=4 num_experts_per_tok=2 moe_topk=2 n_group=1 topk_group=1 moe_k=2
max_position_embeddings=64 n_positions=64 max_seq_len=64 n_ctx=64 max_target_positions=64 max_source_positions=64
state_size=8 mamba_d_state=8 mamba_n_heads=6 mamba_d_head=16 mamba_n_groups=1 conv_kernel=2
linear_num_key_heads=2 linear_num_value_heads=2 linear_key_head_dim=8 linear_value_head_dim=8
q_lora_rank=24 kv_lora_rank=16 qk_rope_head_dim=8 qk_nope_head_dim=16 v_head_dim=16 rotary_dim=8
pad_token_id=1 bos_token_id=2 eos_token_id=3 decoder_start_token_id=2 type_vocab_size=3
"""
_SMALL = {key: int(value) for key, value in (pair.split("=") for pair in _SMALL.split())}

# What a class of configs needs beside, to be small.
_MLA = "axk1 deepseek_v2 deepseek_v3 glm4_moe_lite glm_moe_dsa minicpm3 sarvam_mla youtu"
_MAMBA = {"mamba_n_heads": 12}
_BESIDE = {
    **{name: {"num_key_value_heads": 4} for name in _MLA.split()},
    **{name: {"head_dim": 24} for name in ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral", "helium")},
    "bamba": {"attn_layer_indices": [1, 3], **_MAMBA},
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 192, **_MAMBA},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "position_embedding_type": "rope", **_MAMBA},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "longcat_flash": {"num_key_value_heads": 4, "head_dim": 8, "ffn_hidden_size": 32, "expert_ffn_hidden_size": 16}
    | {"zero_expert_num": 2, "n_routed_experts": 4},
    "mimo_v2_flash": {"head_dim": 24},
    "xmod": {"default_language": "en_XX"},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 24},
}
_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_PICTURES = {
    "gemma3": {"vision_config": {"model_type": "siglip_vision_model", **_VISION}},
    "got_ocr2": {"vision_config": {**_VISION, "output_channels": 16, "mlp_dim": 16, "global_attn_indexes": [0]}},
}
# Values that differ from the default, so that a layer that ignores them is another.
ODD = {"embedding_multiplier": 12.0, "scale_emb": 3.0, "scale_embedding": True, "mup_enabled": True}


def small_config(model_type, **options):
    """A config of the class, small; ``options`` over it."""
    whole = CONFIG_MAPPING[model_type]
    made = whole()
    inner = made.get_text_config(decoder=True) if getattr(made, "text_config", None) is not None else None
    shrunk = _shrunk(inner if inner is not None else made, model_type) | options
    if inner is None:
        return whole(**shrunk)
    return whole(text_config={**shrunk, "model_type": inner.model_type}, **_PICTURES.get(model_type, {}))


def _shrunk(config, model_type):
    said = config.to_dict()
    names = said.keys() | {field.name for field in dataclasses.fields(config)}
    small = {
        key: value
        for key, value in _SMALL.items()
        if key in names and (type(said.get(key)) is int or key.endswith("token_id") or key == "head_dim")
    }
    if not isinstance(said.get("head_dim"), int) or "qk_rope_head_dim" in said:
        small.pop("head_dim", None)
    for key in ("layer_types", "mlp_layer_types"):
        if isinstance(said.get(key), list):
            small[key] = (list(dict.fromkeys(said[key])) * 4)[:4]
    small |= {key: value for key, value in ODD.items() if key in names}
    return small | _BESIDE.get(model_type, {})


def build(config):
    """A model of the config, with weights drawn, in float32."""
    torch.manual_seed(0)
    with contextlib.suppress(Exception):
        config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # biases, norms and padding rows too: those that begin as 0 or 1 show nothing
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
        table = getattr(model.get_input_embeddings(), "weight", None)
        if table is not None:
            table[table.abs().sum(1) == 0] = 0.02
    return model.float().eval()


@dataclasses.dataclass
class Turn:
    """A call of the attention's rotary function: [B, H, T, d] before and after, and the number of its layer."""

    layer: int
    before: list[torch.Tensor]
    after: list[torch.Tensor]


def run(model, ids):
    """hidden_states[0], and what turned."""
    turns, current = [], [None]
    undo = []
    modules = {sys.modules[type(m).__module__] for m in model.modules() if "transformers.models" in type(m).__module__}
    for module in modules:
        for name, function in list(vars(module).items()):
            if (
                inspect.isfunction(function)
                and re.match(r"apply_(rot|.*rope)", name)
                and "vision" not in name
                and function.__module__ == module.__name__
            ):
                setattr(module, name, _recording(function, turns, current))
                undo.append((module, name, function))
    hooks = [
        module.register_forward_pre_hook(_entering(current, module.layer_idx))
        for module in model.modules()
        if isinstance(getattr(module, "layer_idx", None), int)
    ]
    try:
        with torch.no_grad():
            out = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    finally:
        for module, name, function in undo:
            setattr(module, name, function)
        for hook in hooks:
            hook.remove()
    states = out.hidden_states if getattr(out, "hidden_states", None) is not None else out.decoder_hidden_states
    return states[0], turns


def _entering(current, layer):
    return lambda _module, _arguments: current.__setitem__(0, layer)


def _recording(function, turns, current):
    names = list(inspect.signature(function).parameters)
    moved = [name for name in names if name in ("q", "k", "xq", "xk", "x", "tensor")]

    def call(*arguments, **options):
        given = dict(zip(names, arguments, strict=False)) | options
        before = [given[name].clone() for name in moved if given.get(name) is not None]
        result = function(*arguments, **options)
        after = [tensor.clone() for tensor in (result if isinstance(result, tuple) else (result,))]
        # [B, T, H, d] in models that turn before they part the heads
        flat = [t.transpose(1, 2) if t.shape[1] == T and t.shape[2] != T else t for t in before + after]
        turns.append(Turn(current[0], flat[: len(before)], flat[len(before) :]))
        return result

    return call
