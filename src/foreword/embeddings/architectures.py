"""What is known of models' first layers: which tables are added, scaled and normalised, and how queries and keys turn.

A model type that isn't here is refused, and so is a config.json with a key that could change the first layer and that
nothing here reads: a wrong layer gives no error later. ``docs/embeddings.md`` has the table; a test runs every row
against transformers.

Not for: reading files (``checkpoint``), or turning what config.json says into positions (``rotary_config``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from foreword.embeddings.rotary import Layout
from foreword.errors import ArgumentError

__all__ = ["ARCHITECTURES", "REFUSED", "WRAPPERS", "Architecture", "Rotary", "architecture", "text_config"]

Layers = Literal["all", "by type", "sliding", "sliding if any", "no_rope_layers", "layer_rope_theta"]


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How a model's queries and keys turn, and what config.json leaves unsaid.

    Attributes:
        theta: the base, where config.json doesn't say.
        layout: which dimensions make a pair.
        head_dim: dimensions of a head, where config.json doesn't say; None for hidden_size / heads.
        head_dim_key: the key of config.json that says it.
        partial: the share of a head's dimensions that turns, where config.json doesn't say; None, the model has none.
        layers: which layers turn, and by which parameters.
        thetas: with layers "by type", the bases by type, where config.json doesn't say; {} where it must.
        pattern: every so manieth layer is of full attention, where config.json has no layer_types; 0, it must have.
        reverse: turned the other way round.
        partial_key: an older key that says how many dimensions turn.
        theta_key: the key that says the base, beside rope_parameters.
        share_key: the key that says the share of a head's dimensions that turns, beside rope_parameters.
        kinds: the kinds of scaling that the model knows; None, all of transformers'.
        explicit: whether config.json must say the parameters: without them the model has some of its own.
    """

    theta: float = 10_000.0
    layout: Layout = "half"
    head_dim: int | None = None
    head_dim_key: str = "head_dim"
    partial: float | None = None
    layers: Layers = "all"
    thetas: Mapping[str, float] = dataclasses.field(default_factory=dict)
    pattern: int = 0
    reverse: bool = False
    partial_key: str = ""
    theta_key: str = "rope_theta"
    share_key: str = "partial_rotary_factor"
    kinds: tuple[str, ...] | None = None
    explicit: bool = False


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a model's first layer does.

    Attributes:
        rotary: how queries and keys turn; None where they don't.
        positions: what tells positions apart.
        tokens: names of the token table, without what whole models put before them.
        scale: what token embeddings are multiplied by: a number; a key of config.json and the number where it doesn't
            say; "root" for √D in the table's dtype, "root, bfloat16" in that, "root, exact" as it is;
            ("root", a key, what it is by default) for √D where the key is true.
        position_table: name of the table of learned positions; of sinusoids, where a file holds them.
        start: its row of position 0.
        past_padding: positions count tokens that are no padding; position 0 is at the row behind that of pad_token_id.
        type_table: name of the table of token types.
        norm: name of the norm.
        norm_kind: what it is; "rms, bare" has no weights.
        norm_eps: key of config.json for its ε, and the number where it doesn't say.
        extra_rows: rows of the table beyond vocab_size.
        elsewhere: tensors that are named like a first layer's and are none.
        known: keys of config.json, beside the usual ones, that are read or don't change the first layer.
        needs: keys with the values that they must have, where they are there; else the first layer is another.
    """

    rotary: Rotary | None = None
    positions: Literal["rotary", "learned", "sinusoidal", "alibi", "none"] = "rotary"
    tokens: tuple[str, ...] = ("embed_tokens.weight",)
    scale: float | str | tuple[Any, ...] = 1.0
    position_table: str = ""
    start: int = 0
    past_padding: bool = False
    type_table: str = ""
    norm: str = ""
    norm_kind: Literal["layer", "rms, bare"] = "layer"
    norm_eps: tuple[str, float] = ("", 1e-5)
    extra_rows: int = 0
    elsewhere: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    needs: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)


ARCHITECTURES: dict[str, Architecture] = {}
"""By model_type."""


def _add(types: str, known: str = "", needs: Mapping[str, tuple[Any, ...]] | None = None, **options: Any) -> None:
    own = frozenset(known.split())
    for name in types.split():
        ARCHITECTURES[name] = Architecture(known=own, needs=needs or {}, **options)


def _turn(
    types: str, known: str = "", *, scale: float | str | tuple[Any, ...] = 1.0, tokens: str = "", **options: Any
) -> None:
    needs = options.pop("needs", None)
    named = {"tokens": tuple(tokens.split())} if tokens else {}
    _add(types, known, needs, rotary=Rotary(**options), scale=scale, **named)


# Turned in halves, the whole head, every layer alike.
_turn(
    "aria_text arcee diffllama doge hunyuan_v1_dense hunyuan_v1_moe jais2 llama ministral mistral olmo olmo2 olmoe "
    "olmo_hybrid qwen2 qwen2_moe qwen3_moe starcoder2"
)
_turn("qwen3 internlm3 iquestcoder lara_mini seed_oss", head_dim=128)
_turn("bitnet flex_olmo", theta=5e5)
_turn("exaone", tokens="wte.weight embed_tokens.weight", theta=5e5)
_turn("emu3_text_model lfm2 lfm2_moe minimax mixtral", theta=1e6)
_turn("phimoe", theta=1e6, kinds=("default",))
_turn("hy_v3", theta=11_158_840.0, head_dim=128)
_turn("jetmoe", head_dim=128, head_dim_key="kv_channels")
_turn("apertus apertus1p5_text", theta=1.2e7, explicit=True)
_turn("cwm", theta=1e6, head_dim=128, explicit=True)
_turn("gpt_oss", theta=1.5e5, head_dim=64, explicit=True)
_turn("ministral3", head_dim=128, explicit=True)

# The same, and embeddings multiplied.
_turn(
    "falcon_h1 granite granitemoe granitemoeshared hyperclovax",
    "embedding_multiplier",
    scale=("embedding_multiplier", 1.0),
)
_turn(
    "granitemoehybrid",
    "embedding_multiplier position_embedding_type",
    scale=("embedding_multiplier", 1.0),
    needs={"position_embedding_type": ("rope",)},
)
_turn(
    "granite_swa granitemoe_swa",
    "embedding_multiplier layer_rope_theta",
    scale=("embedding_multiplier", 1.0),
    layers="layer_rope_theta",
)
_turn("minicpm3", "scale_emb", scale=("scale_emb", 12.0), head_dim=32, head_dim_key="qk_rope_head_dim")
_turn("gemma gemma2 vaultgemma", scale="root", head_dim=256)

# Pairs of neighbours.
_turn("cohere", theta=5e5, layout="interleaved")
_turn("ernie4_5", theta=5e5, layout="interleaved", head_dim=128)
_turn("ernie4_5_moe", theta=5e5, layout="interleaved")
_turn("helium", theta=1e5, layout="interleaved", head_dim=128)
_turn("glm glm4", layout="interleaved", head_dim=128, partial=0.5)
_turn(
    "codegen gptj",
    "rotary_dim",
    tokens="wte.weight",
    layout="interleaved",
    partial_key="rotary_dim",
    kinds=("default",),
)

# A part of the head.
_turn("glm4_moe nemotron persimmon phi", partial=0.5)
_turn("bamba", partial=0.5)
_turn("stablelm", partial=0.25)
_NEOX: dict[str, Any] = {"tokens": "embed_in.weight", "theta_key": "rotary_emb_base", "share_key": "rotary_pct"}
_turn("gpt_neox", "rotary_pct rotary_emb_base", **_NEOX, partial=0.25)
_turn("gpt_neox_japanese", "rotary_pct rotary_emb_base", **_NEOX, partial=1.0)
_turn("phi3", partial=1.0, kinds=("default", "longrope"))
_turn("minimax_m2", "rotary_dim", theta=5e6, head_dim=128, partial=1.0, partial_key="rotary_dim")
_turn("sarvam_moe", tokens="word_embeddings.weight embed_tokens.weight", theta=8e6, head_dim=64, partial=1.0)
_turn("solar_open", theta=1e6, head_dim=128, partial=1.0)
_turn("qwen3_next qwen3_5_text qwen3_5_moe_text", head_dim=256, partial=0.25)
_turn("recurrent_gemma", scale="root, bfloat16", partial=0.5, kinds=("default",))

# Multi-head latent attention: a part of its own that turns, [B, H, T, qk_rope_head_dim], one key for all heads.
_MLA: dict[str, Any] = {"head_dim": 64, "head_dim_key": "qk_rope_head_dim", "layout": "regrouped"}
_turn("axk1 deepseek_v3 glm4_moe_lite sarvam_mla youtu", "rope_interleave", **_MLA)
_turn("glm_moe_dsa", **_MLA)
_turn("longcat_flash", **_MLA | {"theta": 1e7})
_turn("deepseek_v2", **_MLA | {"layout": "interleaved"})

# Layers that don't turn, and layers that turn in different ways.
_turn("afmoe", "mup_enabled", scale=("root", "mup_enabled", False), head_dim=128, layers="sliding")
_turn("cohere2", layout="interleaved", layers="sliding", pattern=4)
_turn("flint", head_dim=128, layers="sliding")
_turn("exaone4 exaone_moe", layers="sliding if any")
_turn("kolibri1", head_dim=128, layers="sliding if any")
_turn("smollm3", "no_rope_layers no_rope_layer_interval", theta=2e6, layers="no_rope_layers")
_turn(
    "llama4_text",
    "no_rope_layers no_rope_layer_interval",
    theta=5e5,
    head_dim=128,
    layout="interleaved",
    layers="no_rope_layers",
)
_GEMMA3 = {"sliding_attention": 1e4, "full_attention": 1e6}
_turn("gemma3_text", "rope_local_base_freq", scale="root", head_dim=256, layers="by type", thetas=_GEMMA3, pattern=6)
_add("mllama_text_model", rotary=Rotary(theta=5e5), extra_rows=8)
_add(
    "nanochat",
    rotary=Rotary(reverse=True),
    norm_kind="rms, bare",
    norm_eps=("rms_norm_eps", 1e-6),
)
_add(
    "modernbert-decoder",
    rotary=Rotary(layers="by type"),
    tokens=("embeddings.tok_embeddings.weight",),
    norm="embeddings.norm",
    norm_eps=("norm_eps", 1e-5),
)
_turn("olmo3", layers="by type", thetas={"sliding_attention": 5e5, "full_attention": 5e5}, pattern=4)
_turn("beam", head_dim=128, layers="by type")
_turn("mellum", head_dim=128, layers="by type")
_turn("laguna", head_dim=128, partial=1.0, layers="by type")
_turn("lfm3", head_dim=128, layers="by type")
_turn("mimo_v2_flash", head_dim=192, partial=0.334, layers="by type")

# ALiBi, learned positions, none.
_turn("falcon", "alibi", tokens="word_embeddings.weight", needs={"alibi": (False,)})
_add(
    "bloom",
    tokens=("word_embeddings.weight",),
    positions="alibi",
    norm="word_embeddings_layernorm",
    norm_eps=("layer_norm_epsilon", 1e-5),
)
_add(
    "mpt",
    "learned_pos_emb embedding_fraction attn_config",
    tokens=("wte.weight",),
    positions="alibi",
)
_add("jamba", positions="none")
_add("nemotron_h", "rope_theta partial_rotary_factor", positions="none", tokens=("embeddings.weight",))
_add("xlstm", positions="none", tokens=("embeddings.weight",))

_add(
    "gpt2 gpt-sw3 gpt_bigcode gpt_neo",
    positions="learned",
    tokens=("wte.weight",),
    position_table="wpe.weight",
)
_add("openai-gpt", positions="learned", tokens=("tokens_embed.weight",), position_table="positions_embed.weight")
_add(
    "biogpt",
    "scale_embedding",
    positions="learned",
    position_table="embed_positions.weight",
    start=2,
    scale=("root", "scale_embedding", True),
)
_add(
    "opt",
    "word_embed_proj_dim",
    {"word_embed_proj_dim": ("hidden_size",)},
    positions="learned",
    tokens=("decoder.embed_tokens.weight",),
    position_table="decoder.embed_positions.weight",
    start=2,
)
_BART: dict[str, Any] = {
    "positions": "learned",
    "tokens": ("decoder.embed_tokens.weight",),
    "position_table": "decoder.embed_positions.weight",
    "scale": ("root", "scale_embedding", False),
}
_SCALED = _BART | {"scale": ("root", "scale_embedding", True)}
_add("blenderbot", "scale_embedding", **_BART)
_add("marian pegasus", "scale_embedding", **_BART | {"positions": "sinusoidal"})
_add("ctrl", positions="sinusoidal", tokens=("w.weight",), scale="root, exact")
_add("bart mbart mvp", "scale_embedding", norm="decoder.layernorm_embedding", start=2, **_BART)
_add("plbart", "scale_embedding", norm="decoder.layernorm_embedding", start=2, **_SCALED)
_add("bigbird_pegasus", "scale_embedding", elsewhere=("decoder.layernorm_embedding.weight",), **_SCALED)
_add("whisper", "scale_embedding", **_BART | {"scale": 1.0})
_add(
    "trocr",
    "scale_embedding use_learned_position_embeddings layernorm_embedding",
    {"use_learned_position_embeddings": (True,), "layernorm_embedding": (True,)},
    norm="decoder.layernorm_embedding",
    start=2,
    **_BART,
)

_BERT: dict[str, Any] = {
    "positions": "learned",
    "tokens": ("embeddings.word_embeddings.weight",),
    "position_table": "embeddings.position_embeddings.weight",
    "type_table": "embeddings.token_type_embeddings.weight",
    "norm": "embeddings.LayerNorm",
    "norm_eps": ("layer_norm_eps", 1e-12),
}
_TYPED = "type_vocab_size position_embedding_type"
_ABSOLUTE = {"position_embedding_type": ("absolute",)}
_add("bert", _TYPED, _ABSOLUTE, **_BERT)
_add("megatron-bert", _TYPED, _ABSOLUTE, **_BERT | {"norm": ""})
_add("bert-generation", _TYPED, _ABSOLUTE, **_BERT | {"type_table": ""})
_add("ernie", f"{_TYPED} use_task_id task_type_vocab_size", _ABSOLUTE | {"use_task_id": (False,)}, **_BERT)
_add("electra", f"{_TYPED} embedding_size", _ABSOLUTE | {"embedding_size": ("hidden_size",)}, **_BERT)

_add("big_bird", f"{_TYPED} rescale_embeddings", _ABSOLUTE | {"rescale_embeddings": (False,)}, **_BERT)
_ROBERTA = _BERT | {"past_padding": True}
_add("camembert data2vec-text roberta roberta-prelayernorm xlm-roberta xmod", _TYPED, _ABSOLUTE, **_ROBERTA)
_add("xlm-roberta-xl", _TYPED, _ABSOLUTE, **_ROBERTA | {"norm": ""})

WRAPPERS = frozenset({"emu3", "fuyu", "gemma3", "got_ocr2", "llama4", "mllama", "qwen3_5", "qwen3_5_moe"})
"""Models of pictures and sound around one of these: text alone goes through the first layer of that."""


def _because(reason: str, types: str) -> dict[str, str]:
    return dict.fromkeys(types.split(), reason)


REFUSED: dict[str, str] = (
    _because("its indexer turns in another way than its attention", "axk2 deepseek_v32 dots3_note dots3_note_text")
    | _because("its first block takes several streams, not one vector a token", "deepseek_v4 hy_v4")
    | _because("its sinusoids are laid out in a way of its own", "xglm xlm musicgen musicgen_melody")
    | _because(
        "it normalises embeddings in a way of its own",
        "inkling_text inkling2_text inkling2_loop_text blenderbot-small",
    )
    | _because(
        "it has embeddings for each layer",
        "gemma3n gemma3n_text gemma4 gemma4_text gemma4_unified gemma4_unified_text qwen4_exp qwen4_exp_text",
    )
    | _because("it reads along with another model", "gemma4_assistant gemma4_unified_assistant")
    | _because("its layers run in loops", "dory hrm_text")
    | _because("it reads sound along with text", "moshi")
    | _because("its first block changes what it takes", "zaya mamba mamba2 falcon_mamba rwkv")
    | _because("it takes bytes and makes patches of them", "blt")
    | _because("its attention turns by a rule of its own", "cohere2_moe minimax_m3_vl_text roformer")
    | _because(
        "its first layer is of a kind of its own",
        "cpmant xlnet reformer prophetnet rembert roc_bert git zamba zamba2",
    )
)
"""Why a model type of transformers isn't here, where there is a reason to tell."""


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json that describes the language model: all of it, or text_config of a model around one."""
    inner = config.get("text_config")
    if config.get("model_type") in WRAPPERS and isinstance(inner, Mapping):
        return inner
    return config


def architecture(config: Mapping[str, Any], where: str) -> Architecture:
    """What is known of the model that config.json (its ``text_config``) describes.

    Raises:
        ArgumentError: nothing; or a key that could change the first layer isn't known to, or has a value that does.
    """
    name = config.get("model_type")
    known = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if known is None:
        reason = REFUSED.get(str(name))
        raise ArgumentError(
            "nothing is known of this model's first layer" if reason is None else f"not supported: {reason}",
            got=f"model_type {name!r}",
            expected="a model type of the table in docs/embeddings.md",
            where=where,
            fix="pass table_only=True for the token table alone, as it is stored",
        )
    for key, allowed in known.needs.items():
        value = config.get(key)
        if value is not None and value not in {config.get(str(each), each) for each in allowed}:
            raise _unsupported(key, value, where)
    for key, value in config.items():
        if value is None or value is False or key in known.known:
            continue
        if key in _HARMLESS or (key in _ROPE and known.rotary is not None):
            continue
        if _SUSPICIOUS.search(key):
            raise _unsupported(key, value, where)
    return known


def _unsupported(key: str, value: object, where: str) -> ArgumentError:
    return ArgumentError(
        f"not supported: config.json has {key}, which may change the first layer",
        got=f"{key} = {value!r}",
        where=where,
        fix="pass table_only=True for the token table alone, as it is stored",
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Keys that speak of positions, of embeddings, or of multiplying.
_SUSPICIOUS = re.compile(
    r"rope|rotar|posit|embed|emb_|_emb|embd|alibi|mup|multiplier|scal|token_type|type_vocab|partial|theta|sinus|nope|yarn|ntk"
    r"|longrope|base_freq|pos_|interleav",
    re.IGNORECASE,
)
# Keys that ``rotary_config`` reads, whatever the model.
_ROPE = _words(
    "rope_theta rope_scaling rope_parameters partial_rotary_factor original_max_position_embeddings qk_rope_head_dim"
)
_HARMLESS = _words(
    """
    max_position_embeddings n_positions n_embd qk_nope_head_dim tie_word_embeddings embd_pdrop emb_pdrop embed_dropout
    embedding_dropout embeddings_dropout embedding_initializer_range share_encoder_decoder_embeddings
    attention_multiplier attention_in_multiplier attention_out_multiplier key_multiplier lm_head_multiplier
    residual_multiplier ssm_in_multiplier ssm_out_multiplier ssm_multipliers mlp_multipliers block_ffn_dim_multiplier
    embedding_dim
    logit_scale logits_scaling logits_scale routed_scaling_factor router_scaling_factor moe_routed_scaling_factor
    route_scale attn_scale floor_scale scale_attn_weights scale_attn_by_inverse_layer_idx
    scale_attention_softmax_in_fp32 attention_value_scale time_step_scale rescale_prenorm_residual scale_depth
    query_pre_attn_scalar mtp_loss_scaling_factor interleave_moe_layer_step max_source_positions max_target_positions
    w_init_variance_scale final_w_init_variance_scale image_token_id image_token_index
    """
)
