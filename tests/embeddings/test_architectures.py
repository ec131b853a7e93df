"""Every architecture with a decoder that transformers can build: equal in embeddings and in rotary, or refused."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("transformers", reason="an oracle of the extra clients")

from foreword import errors
from foreword.embeddings import InputEmbedding
from foreword.embeddings.architectures import ARCHITECTURES, REFUSED

from . import models

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what transformers warns of is not ours
]
IDS = torch.randint(4, 99, (2, models.T), generator=torch.Generator().manual_seed(0))
# Models around another: what they are around is what is known.
WRAPPERS = ["emu3", "fuyu", "gemma3", "got_ocr2", "llama4", "mllama", "qwen3_5", "qwen3_5_moe"]
KNOWN = sorted({name for name in models.TYPES if name in ARCHITECTURES} | set(WRAPPERS))


def check(layer, states, turns):
    """The layer gives what the model gave."""
    torch.testing.assert_close(layer.eval()(IDS), states, atol=1e-5, rtol=1e-5)
    for turn in turns:
        q, k = turn.before[0], turn.before[-1]  # models that turn one tensor at a time have the same twice
        got = layer.position_embedding.rotate(q, k, layer=turn.layer)
        for ours, theirs in zip(got, turn.after, strict=False):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def loaded(model, folder, **options):
    model.save_pretrained(folder)
    return InputEmbedding.from_pretrained(folder, **options)


@pytest.mark.parametrize("model_type", KNOWN)
def test_a_known_model_s_first_layer_is_equal_and_comes_back(tmp_path, model_type):
    model = models.build(models.small_config(model_type))
    states, turns = models.run(model, IDS)
    known = ARCHITECTURES.get(model_type)
    rotary = known is None or known.positions == "rotary"
    assert bool(turns) == rotary
    layer = loaded(model, tmp_path / "model", **({"context_length": 64} if model_type == "recurrent_gemma" else {}))
    check(layer, states, turns)
    layer.save_pretrained(tmp_path / "saved")
    check(InputEmbedding.from_pretrained(tmp_path / "saved"), states, turns)


@pytest.mark.parametrize("model_type", sorted(set(models.TYPES) - set(KNOWN)))
def test_any_other_model_is_refused_and_gives_its_table_alone(tmp_path, model_type):
    table = torch.randn(9, 4)
    safetensors.torch.save_file({"model.embed_tokens.weight": table}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "hidden_size": 4}))
    with pytest.raises(errors.ArgumentError, match=r"not supported|nothing is known") as caught:
        InputEmbedding.from_pretrained(tmp_path)
    assert model_type in str(caught.value)
    assert "table_only=True" in str(caught.value)
    alone = InputEmbedding.from_pretrained(tmp_path, table_only=True)
    assert torch.equal(alone(torch.tensor([3])), table[[3]])


ROPE = {"rope_theta": 7_000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
SCALED = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "factor": 3.0},
    "yarn": YARN,
    "yarn, every number": YARN
    | {"mscale": 0.7, "mscale_all_dim": 1.3, "beta_fast": 8, "beta_slow": 2, "truncate": False},
    "yarn, scores as they are": YARN | {"attention_factor": 1.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 5.0}
    | {"original_max_position_embeddings": 16},
    "longrope, short": {"rope_type": "longrope", "original_max_position_embeddings": 32}
    | {"short_factor": [1.0, 1.5] * 4, "long_factor": [2.0, 4.0] * 4},
    "longrope, long": {"rope_type": "longrope", "original_max_position_embeddings": 4, "factor": 8.0}
    | {"short_factor": [1.0, 1.5] * 4, "long_factor": [2.0, 4.0] * 4},
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "factor": 2.0},
}


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("model_type", ["llama", "cohere"])
def test_every_kind_of_scaling_is_equal(tmp_path, name, model_type):
    head_dim = {"head_dim": 16} if model_type == "llama" else {"hidden_size": 64}
    config = models.small_config(model_type, rope_parameters={**ROPE, **SCALED[name]}, **head_dim)
    model = models.build(config)
    check(loaded(model, tmp_path / "model"), *models.run(model, IDS))
    again = InputEmbedding.from_pretrained(tmp_path / "model")
    again.save_pretrained(tmp_path / "saved")
    check(InputEmbedding.from_pretrained(tmp_path / "saved"), *models.run(model, IDS))


@pytest.mark.parametrize("kind", ["dynamic", "longrope, short"])
def test_scaling_by_length_follows_the_length(tmp_path, kind):
    """Past the context that the model was trained with, angles are others, for all positions."""
    rope = {**ROPE, **SCALED[kind]}
    config = models.small_config("llama", rope_parameters=rope, max_position_embeddings=32)
    model = models.build(config)
    layer = loaded(model, tmp_path, context_length=64)
    for length in (32, 33, 50):
        ids = torch.zeros(1, length, dtype=torch.int64)
        _, turns = models.run(model, ids)
        q, k = turns[0].before
        for offset in ({}, {"positions": torch.arange(length)}, {"positions": torch.arange(length).unsqueeze(0)}):
            got = layer.position_embedding.rotate(q, k, **offset)
            for ours, theirs in zip(got, turns[0].after, strict=True):
                torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    with pytest.raises(errors.ArgumentError, match=r"outside|longer"):
        layer.position_embedding.rotate(q, k, offset=20)


@pytest.mark.parametrize(
    ("model_type", "old"),
    [
        ("llama", {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}),
        ("llama", {}),
        ("phi", {"partial_rotary_factor": 0.25, "rope_theta": 5e4}),
        ("gpt_neox", {"rotary_pct": 0.75, "rotary_emb_base": 5e4}),
        ("gemma3_text", {"rope_theta": 5e5, "rope_local_base_freq": 500.0, "sliding_window_pattern": 2}),
        ("gemma3_text", {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window_pattern": 3}),
        ("cohere2", {"sliding_window_pattern": 2}),
        ("gemma3_text", {"rope_theta": 5e5, "sliding_window_pattern": 1}),
        ("smollm3", {"no_rope_layer_interval": 2}),
        ("minimax_m2", {"rotary_dim": 8}),
        ("stablelm", {"partial_rotary_factor": 0.5}),
        ("olmo3", {"rope_theta": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ],
)
def test_config_json_as_transformers_4_wrote_it(tmp_path, model_type, old):
    new = {"rope_parameters", "layer_types", "no_rope_layers", *(["rotary_dim"] if model_type == "minimax_m2" else [])}
    said = {k: v for k, v in models.small_config(model_type).to_dict().items() if k not in new} | old
    model = models.build(models.CONFIG_MAPPING[model_type].from_dict(dict(said)))
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(said))
    check(InputEmbedding.from_pretrained(tmp_path), *models.run(model, IDS))


@pytest.mark.parametrize("model_type", [name for name in KNOWN if getattr(ARCHITECTURES.get(name), "rotary", None)])
def test_what_config_json_leaves_unsaid_is_the_class_s_own(model_type):
    """A config.json may lack what its class fills in."""
    config = models.CONFIG_MAPPING[model_type]()
    rotary, said = ARCHITECTURES[model_type].rotary, getattr(config, "rope_parameters", None) or {}
    if rotary.head_dim is not None:
        assert getattr(config, rotary.head_dim_key) == rotary.head_dim
    if "rope_theta" in said and not rotary.explicit:
        assert said["rope_theta"] == rotary.theta
    if "rope_theta" in said and rotary.partial is not None:
        assert said.get("partial_rotary_factor", 1.0) == rotary.partial
    for name, theta in rotary.thetas.items():
        assert said[name]["rope_theta"] == theta


LLAMA = {"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2} | {
    "max_position_embeddings": 32,
    "num_hidden_layers": 2,
}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"model_type": "a-new-model"}, "a-new-model"),
        ({"model_type": None}, "None"),
        ({"embedding_multiplier": 12.0}, "embedding_multiplier"),
        ({"scale_embeddings": True}, "scale_embeddings"),
        ({"mup_scale": 2}, "mup_scale"),
        ({"alibi": True}, "alibi"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"type_vocab_size": 2}, "type_vocab_size"),
        ({"rotary_dim": 2}, "rotary_dim"),
        ({"rope_interleaved": True}, "rope_interleaved"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_type": "axial", "rope_theta": 1e4}}, "axial"),
        ({"rope_parameters": {"rope_theta": 1e4, "twist": 3}}, "twist"),
        ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "factor": 3.0}}, "factor"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "full_attention"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0, "alpha": 1000.0}}, "alpha"),
        ({"rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [1.0]}}, "su"),
    ],
)
def test_what_may_change_the_first_layer_and_is_not_known_is_refused(change, names):
    table = {"model.embed_tokens.weight": torch.ones(9, 8)}
    assert InputEmbedding.from_pretrained(table, config=LLAMA).position_embedding.base == 1e4
    with pytest.raises(errors.ArgumentError, match=re.escape(names)):
        InputEmbedding.from_pretrained(table, config=LLAMA | change)
    alone = InputEmbedding.from_pretrained(table, config=LLAMA | change, table_only=True)
    assert (alone.scale, alone.position_embedding) == (1.0, None)


def test_an_option_that_transformers_reads_elsewhere_is_refused():
    """YaRN's truncate, where layers differ: transformers looks for it beside the sets of parameters."""
    config = models.small_config("olmo3").to_dict()
    yarn = YARN | {"rope_theta": 1e4}
    table = {"model.embed_tokens.weight": torch.ones(99, 96)}
    for truncate in (True, False):
        sets = {"sliding_attention": yarn, "full_attention": yarn | {"truncate": truncate}}
        if truncate:
            InputEmbedding.from_pretrained(table, config=config | {"rope_parameters": sets})
        else:
            with pytest.raises(errors.ArgumentError, match="truncate"):
                InputEmbedding.from_pretrained(table, config=config | {"rope_parameters": sets})


@pytest.mark.parametrize("key", ["rope_theta", "partial_rotary_factor"])
def test_keys_of_others_that_gpt_neox_passes_over(key):
    """It has names of its own for them, and transformers reads no others; files of transformers 4 may have both."""
    said = {"rotary_emb_base": 500.0, "rotary_pct": 0.5, "rope_theta": 500.0, "partial_rotary_factor": 0.5}
    said |= LLAMA | {"model_type": "gpt_neox"}
    table = {"gpt_neox.embed_in.weight": torch.ones(9, 8)}
    rotary = InputEmbedding.from_pretrained(table, config=said).position_embedding
    assert (rotary.base, rotary.rotary_dim) == (500.0, 2)
    with pytest.raises(errors.ArgumentError, match=key):
        InputEmbedding.from_pretrained(table, config=said | {key: 1.0})


@pytest.mark.parametrize("heads", [4, 6])
@pytest.mark.parametrize("model_type", ["bloom", "mpt"])
def test_alibi_is_what_the_model_adds(tmp_path, model_type, heads):
    """Up to a number for each query, which a softmax doesn't see."""
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    key = "n_head" if model_type == "bloom" else "n_heads"
    model = models.build(models.small_config(model_type, **{key: heads}))
    layer = loaded(model, tmp_path)
    ours = layer.position_embedding(models.T, causal=False)[:, -1]
    if model_type == "bloom":
        theirs = build_alibi_tensor(torch.ones(1, models.T), heads, torch.float32)[:, 0]
    else:
        theirs = build_mpt_alibi_tensor(heads, models.T)[:, 0]
    torch.testing.assert_close(ours - ours[:, :1], theirs - theirs[:, :1])
    said = json.loads((tmp_path / "config.json").read_text()) | {"attn_config": {"alibi": False}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    if model_type == "mpt":
        with pytest.raises(errors.ArgumentError, match="alibi"):
            InputEmbedding.from_pretrained(tmp_path)


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta-xl"])
def test_positions_that_count_past_padding(tmp_path, model_type):
    model = models.build(models.small_config(model_type, pad_token_id=7))
    layer = loaded(model, tmp_path / "model")
    assert layer.context_length == 64 - 8
    ids = torch.tensor([[7, 7, 5, 9, 7, 11, 12], [5, 6, 7, 8, 9, 7, 7]])
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states[0]
    torch.testing.assert_close(layer(ids), states, atol=1e-5, rtol=1e-5)
    parts = [layer(ids[:, 2:3]), layer(ids[:, 3:4], offset=1)]
    torch.testing.assert_close(layer(ids[:, 2:4])[0], torch.cat(parts, dim=1)[0])
    torch.testing.assert_close(torch.fx.symbolic_trace(torch.nn.Sequential(layer))(ids), states, atol=1e-5, rtol=1e-5)
    layer.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(InputEmbedding.from_pretrained(tmp_path / "saved")(ids), states, atol=1e-5, rtol=1e-5)
    with pytest.raises(errors.ArgumentError, match="position -2 is outside"):
        layer(ids[:, :1], torch.tensor([-2]))


JUNK = [None, False, -1, 2.5, float("nan"), float("inf"), "x", [], [1], {"a": 1}, ["full_attention"] * 4]


@pytest.mark.parametrize("model_type", ["gemma3_text", "granite_swa", "roberta", "deepseek_v3", "opt", "gptj", "phi3"])
def test_values_of_no_sense_are_one_clear_error_or_of_no_matter(model_type):
    config = models.small_config(model_type)
    tensors = models.build(config).state_dict()
    for key in config.to_dict():
        for junk in JUNK:
            with contextlib.suppress(errors.ForewordError):
                InputEmbedding.from_pretrained(tensors, config=config.to_dict() | {key: junk})


def test_keys_that_change_nothing_here_are_passed_over():
    harmless = {"hidden_act": "silu", "attention_multiplier": 3.0, "my_note": "x", "rope_scaling": None, "alibi": False}
    assert InputEmbedding.from_pretrained({"embed_tokens.weight": torch.ones(9, 8)}, config=LLAMA | harmless)


def test_gemma_rounds_its_scale_to_the_dtype_that_the_layer_has(tmp_path):
    config = {**LLAMA, "model_type": "gemma", "head_dim": 4}
    layer = InputEmbedding.from_pretrained(
        {"embed_tokens.weight": torch.ones(9, 8)}, config=config, dtype=torch.bfloat16
    )
    assert layer.scale == torch.tensor(8.0).sqrt().bfloat16().item()


def test_the_page_s_table_is_the_whole_truth():
    page = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == 4 and "`" in line]
    equal, refused = set(), set()
    for row in rows:
        _, names, embeddings, _, _ = row.split("|")
        (refused if "refused" in embeddings else equal).update(re.findall(r"`([^`]+)`", names))
    assert set(KNOWN) <= equal
    assert equal & set(models.TYPES) == set(KNOWN)
    assert set(REFUSED) & set(models.TYPES) <= refused
