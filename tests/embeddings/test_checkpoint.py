"""Checkpoints: GPT-2's and Llama's layouts in and out bit for bit, and every way in which one can be bad."""

import json
import math
import re

import pytest
import safetensors.torch
import torch

from foreword import errors
from foreword.embeddings import InputEmbedding, RotaryPositions

SCHEMES = ["learned", "sinusoidal", "rotary", "alibi", "none"]


def write(folder, tensors, config=None, shards=1):
    folder.mkdir(parents=True, exist_ok=True)
    if shards == 1:
        safetensors.torch.save_file(tensors, folder / "model.safetensors")
    else:
        weight_map = {}
        for i, (name, tensor) in enumerate(tensors.items()):
            weight_map[name] = f"model-{i + 1:05}-of-{len(tensors):05}.safetensors"
            safetensors.torch.save_file({name: tensor}, folder / weight_map[name])
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def gpt2(dtype=torch.float32, prefix=""):
    torch.manual_seed(0)
    return {
        f"{prefix}wte.weight": torch.randn(11, 8).to(dtype),
        f"{prefix}wpe.weight": torch.randn(6, 8).to(dtype),
        f"{prefix}h.0.ln_1.weight": torch.randn(8).to(dtype),
    }


def llama(dtype=torch.bfloat16):
    torch.manual_seed(0)
    return {"model.embed_tokens.weight": torch.randn(11, 8).to(dtype), "model.norm.weight": torch.ones(8).to(dtype)}


LLAMA = {
    "model_type": "llama",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


def bits(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("prefix", "shards"), [("", 1), ("transformer.", 3)])
def test_gpt2_in_and_out_bit_for_bit(tmp_path, dtype, prefix, shards):
    stored = gpt2(dtype, prefix)
    stored[f"{prefix}wte.weight"][0, :2] = torch.tensor([-0.0, 1e-7])  # a signed zero, and what may be subnormal
    config = {"model_type": "gpt2", "vocab_size": 11, "n_embd": 8, "n_positions": 6}
    layer = InputEmbedding.from_pretrained(write(tmp_path / "in", stored, config, shards))
    assert (layer.vocab_size, layer.embedding_dim, layer.context_length) == (11, 8, 6)
    assert layer.token_embedding.weight.dtype == dtype
    assert layer.token_embedding.weight.requires_grad
    ids = torch.tensor([[3, 1]])
    want = stored[f"{prefix}wte.weight"][ids] + stored[f"{prefix}wpe.weight"][:2]
    assert torch.equal(layer(ids), want)

    layer.save_pretrained(tmp_path / "out")
    back = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert sorted(back) == [f"{prefix}wpe.weight", f"{prefix}wte.weight"]
    for name, tensor in back.items():
        assert tensor.dtype == dtype
        assert bits(tensor) == bits(stored[name])


@pytest.mark.parametrize("shards", [1, 2])
def test_llama_in_and_out_bit_for_bit(tmp_path, shards):
    config = {**LLAMA, "rope_theta": 500_000.0}
    layer = InputEmbedding.from_pretrained(write(tmp_path / "in", llama(), config, shards))
    rotary = layer.position_embedding
    assert isinstance(rotary, RotaryPositions)
    assert (rotary.head_dim, rotary.base, rotary.layout, rotary.context_length) == (4, 500_000.0, "half", 32)
    assert torch.equal(rotary.cos, RotaryPositions(32, 4, base=500_000.0).cos)
    layer.save_pretrained(tmp_path / "out")
    back = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert {name: bits(tensor) for name, tensor in back.items()} == {
        "model.embed_tokens.weight": bits(llama()["model.embed_tokens.weight"])
    }
    again = InputEmbedding.from_pretrained(tmp_path / "out")
    assert again.position_embedding.extra_repr() == rotary.extra_repr()


@pytest.mark.parametrize(
    ("rope", "scaling", "base"),
    [
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, None, 7.0),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 7.0}}, "linear", 7.0),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "linear", 10_000.0),
        ({"rope_scaling": None}, None, 10_000.0),
    ],
)
def test_rotary_options_in_every_place_that_transformers_keeps_them(tmp_path, rope, scaling, base):
    layer = InputEmbedding.from_pretrained(write(tmp_path, llama(), {**LLAMA, **rope}))
    assert (layer.position_embedding.scaling, layer.position_embedding.base) == (scaling, base)
    assert layer.position_embedding.factor == (4.0 if scaling else 1.0)


def test_the_rotary_options_of_llama_3_come_and_go(tmp_path):
    rope = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope |= {"original_max_position_embeddings": 8192, "rope_theta": 500_000.0}
    layer = InputEmbedding.from_pretrained(write(tmp_path / "in", llama(), {**LLAMA, "rope_parameters": rope}))
    want = RotaryPositions(32, 4, base=500_000.0, scaling="llama3", factor=32.0, original_context_length=8192)
    assert torch.equal(layer.position_embedding.cos, want.cos)
    layer.save_pretrained(tmp_path / "out")
    assert torch.equal(InputEmbedding.from_pretrained(tmp_path / "out").position_embedding.cos, want.cos)
    rope["high_freq_factor"] = 5.0
    odd = InputEmbedding.from_pretrained(write(tmp_path / "odd", llama(), {**LLAMA, "rope_parameters": rope}))
    assert odd.position_embedding.options.high_frequency == 5.0


def test_gemma_multiplies_by_the_root_of_d_rounded_to_its_dtype(tmp_path):
    layer = InputEmbedding.from_pretrained(write(tmp_path, llama(), {**LLAMA, "model_type": "gemma2"}))
    assert layer.scale == torch.tensor(math.sqrt(8), dtype=torch.bfloat16).item() != math.sqrt(8)


@pytest.mark.parametrize("position", SCHEMES)
def test_every_option_of_a_layer_comes_back(tmp_path, position):
    torch.manual_seed(0)
    layer = InputEmbedding(
        11, 8, 6, position=position, num_heads=2, scale=2.5, norm="layer", dropout=0.1, padding_id=3, sparse=True
    )
    layer.save_pretrained(tmp_path / "saved")
    twin = InputEmbedding.from_pretrained(tmp_path / "saved")
    assert repr(twin) == repr(layer)
    assert (twin.padding_id, twin.sparse, twin.scale, twin.dropout) == (3, True, 2.5, 0.1)
    ids = torch.tensor([[1, 3, 2]])
    assert torch.equal(twin.eval()(ids), layer.eval()(ids))
    assert list(twin.state_dict()) == list(layer.state_dict())


def test_a_bare_file_and_a_folder_of_the_hub_s_cache(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = write(tmp_path / "models--gpt2" / "snapshots" / commit, gpt2())
    (tmp_path / "models--gpt2" / "refs").mkdir()
    (tmp_path / "models--gpt2" / "refs" / "main").write_text(commit)
    for path in (tmp_path / "models--gpt2", folder, folder / "model.safetensors"):
        assert torch.equal(InputEmbedding.from_pretrained(path).token_embedding.weight, gpt2()["wte.weight"])
    bare = write(tmp_path / "llama", llama()) / "model.safetensors"
    with pytest.raises(errors.ArgumentError, match="nothing is known of this model"):  # it may be Gemma's, scaled
        InputEmbedding.from_pretrained(bare)
    assert InputEmbedding.from_pretrained(bare, config=LLAMA).position_embedding.head_dim == 4
    alone = InputEmbedding.from_pretrained(bare, table_only=True)
    assert torch.equal(alone.token_embedding.weight, llama()["model.embed_tokens.weight"])
    assert (alone.position_embedding, alone.scale) == (None, 1.0)


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_s_own_files_and_tensors_in_memory(tmp_path, suffix, zipped):
    path = tmp_path / f"model.{suffix}"
    torch.save({"state_dict": gpt2(), "step": 3}, path, _use_new_zipfile_serialization=zipped)
    ids = torch.tensor([[3, 1]])
    want = gpt2()["wte.weight"][ids] + gpt2()["wpe.weight"][:2]
    assert torch.equal(InputEmbedding.from_pretrained(path)(ids), want)
    assert torch.equal(InputEmbedding.from_pretrained(gpt2())(ids), want)
    module = torch.nn.ModuleDict({"emb": torch.nn.Embedding(11, 8)})
    alone = InputEmbedding.from_pretrained(module.state_dict(), table_only=True, token_tensor="emb.weight")
    assert torch.equal(alone(ids), module["emb"](ids))
    assert alone.token_embedding.weight.data_ptr() != module["emb"].weight.data_ptr()
    with pytest.raises(errors.FormatError, match="no tensor 'x'"):
        InputEmbedding.from_pretrained(path, token_tensor="x")
    with pytest.raises(TypeError, match="state_dict"):
        InputEmbedding.from_pretrained(module)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("what", [Evil(), [1, 2], 3, torch.ones(2), b"\x80\x04", b"", b"PK\x03\x04"])
def test_a_pickle_that_would_run_code_or_holds_no_tensors_is_refused(tmp_path, what, capsys):
    path = tmp_path / "model.pt"
    if isinstance(what, bytes):
        path.write_bytes(what)
    else:
        torch.save(what, path)
    with pytest.raises(errors.FormatError, match="tensors"):
        InputEmbedding.from_pretrained(path)
    assert capsys.readouterr().out == ""


def test_several_tables_that_could_be_meant(tmp_path):
    tensors = {f"model.{part}.embed_tokens.weight": torch.full((9, 8), i) for i, part in enumerate(("a", "b"), 1)}
    folder = write(tmp_path, {name: tensor.float() for name, tensor in tensors.items()}, {**LLAMA, "vocab_size": 9})
    with pytest.raises(errors.FormatError, match=r"several tensors.*\n.*model.a.*model.b"):
        InputEmbedding.from_pretrained(folder)
    layer = InputEmbedding.from_pretrained(folder, token_tensor="model.b.embed_tokens.weight")
    assert layer(torch.tensor([0])).unique() == 2


def test_gpt2_s_heads_are_written_for_transformers(tmp_path):
    """transformers' own default, 12, divides few D."""
    for i, (options, heads) in enumerate(
        [({"num_heads": 4}, 4), ({}, 1), ({"embedding_dim": 128}, 2), ({"embedding_dim": 12, "num_heads": 3}, 3)]
    ):
        layer = InputEmbedding(**{"vocab_size": 11, "embedding_dim": 8, "context_length": 6, **options})
        layer.save_pretrained(tmp_path / str(i))
        assert json.loads((tmp_path / str(i) / "config.json").read_text())["n_head"] == heads
        assert InputEmbedding.from_pretrained(tmp_path / str(i)).num_heads == heads
    config = {"model_type": "gpt2", "n_head": 2, "n_embd": 8}
    InputEmbedding.from_pretrained(write(tmp_path / "in", gpt2(), config)).save_pretrained(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_head"] == 2


def test_options_over_what_the_checkpoint_says(tmp_path):
    folder = write(tmp_path, gpt2())
    layer = InputEmbedding.from_pretrained(folder, position="none", dtype=torch.float64, sparse=True)
    assert layer.position_embedding is None
    assert layer.sparse
    assert torch.equal(layer.token_embedding.weight, gpt2()["wte.weight"].double())
    torch.manual_seed(1)
    fresh = InputEmbedding.from_pretrained(folder, position="learned", context_length=3)
    torch.manual_seed(1)
    assert torch.equal(fresh.position_embedding.weight, torch.nn.Embedding(3, 8).weight)
    rotary = InputEmbedding.from_pretrained(folder, position="rotary", context_length=9, num_heads=2)
    assert torch.equal(rotary.position_embedding.cos, RotaryPositions(9, 4).cos)


def test_transformers_reads_what_we_write(tmp_path):
    transformers = pytest.importorskip("transformers", reason="an oracle of the extra clients")
    torch.manual_seed(0)
    layer = InputEmbedding(11, 8, 6)
    layer.save_pretrained(tmp_path / "out")
    config = transformers.GPT2Config.from_pretrained(tmp_path / "out", n_layer=1)
    model = transformers.GPT2Model.from_pretrained(tmp_path / "out", config=config)
    assert torch.equal(model.wte.weight, layer.token_embedding.weight)
    assert torch.equal(model.wpe.weight, layer.position_embedding.weight)
    model.save_pretrained(tmp_path / "whole")
    assert torch.equal(
        InputEmbedding.from_pretrained(tmp_path / "whole")(torch.tensor([[1]])), layer(torch.tensor([[1]]))
    )


def damaged(change):
    """A GPT-2 checkpoint with its tensors changed."""

    def make(folder):
        tensors = gpt2()
        change(tensors)
        return write(folder, tensors)

    return make


def poisoned(value):
    def change(tensors):
        tensors["wte.weight"][7, 2] = value

    return damaged(change)


def cut(folder):
    path = write(folder, gpt2()) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    return folder


def file_of(data, name="model.safetensors"):
    def make(folder):
        write(folder, gpt2())
        (folder / name).write_bytes(data)
        return folder

    return make


def without_a_shard(folder):
    write(folder, gpt2(), shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    return folder


def shard_outside(folder):
    write(folder, gpt2(), shards=3)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": "../evil"}}))
    return folder


def empty(folder):
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    return folder


BAD = {
    "not there": (lambda folder: folder / "nowhere", errors.MissingFileError, "no safetensors to read"),
    "pickled": (empty, errors.MissingFileError, "must be converted"),
    "NaN": (poisoned(math.nan), errors.FormatError, r"'wte.weight' holds NaN or infinity\n.*1 such.*\[7, 2\]"),
    "infinity": (poisoned(-math.inf), errors.FormatError, "holds NaN or infinity"),
    "no wpe": (damaged(lambda t: t.pop("wpe.weight")), errors.FormatError, "no tensor 'wpe.weight' beside"),
    "no table": (damaged(lambda t: t.pop("wte.weight")), errors.FormatError, "no token table of a known name"),
    "wpe of another D": (
        damaged(lambda t: t.update({"wpe.weight": torch.ones(6, 4)})),
        errors.FormatError,
        r"'wpe.weight' has another shape\n.*\[6, 4\]\n.*\[T, 8\]",
    ),
    "a flat table": (damaged(lambda t: t.update({"wte.weight": torch.ones(8)})), errors.FormatError, r"\[V, D\]"),
    "no rows": (damaged(lambda t: t.update({"wte.weight": torch.ones(0, 8)})), errors.FormatError, r"\[V, D\]"),
    "quantised": (
        damaged(lambda t: t.update({"wte.weight": torch.ones(11, 8, dtype=torch.int8)})),
        errors.FormatError,
        "doesn't hold real numbers",
    ),
    "another vocab_size": (
        lambda folder: write(folder, gpt2(), {"vocab_size": 12}),
        errors.FormatError,
        r"\[11, 8\]\n.*\[12, D\] \(vocab_size in config.json\)",
    ),
    "cut short": (cut, errors.FormatError, "not a whole safetensors file"),
    "empty file": (file_of(b""), errors.FormatError, "not a whole safetensors file"),
    "zip": (file_of(b"PK\x03\x04" * 99), errors.FormatError, "not a whole safetensors file"),
    "config no JSON": (file_of(b"{", "config.json"), errors.FormatError, "not JSON"),
    "config a list": (file_of(b"[]", "config.json"), errors.FormatError, "not a JSON object"),
    "config no text": (file_of(b"\xff\xfe", "config.json"), errors.TextDecodeError, "not utf-8"),
    "index no map": (file_of(b"{}", "model.safetensors.index.json"), errors.FormatError, "no weight_map"),
    "a shard gone": (without_a_shard, errors.MissingFileError, "model-00002-of-00003"),
    "a shard outside": (shard_outside, errors.FormatError, "outside the folder"),
    "axial": (
        lambda folder: write(folder, llama(), {**LLAMA, "rope_scaling": {"rope_type": "axial", "factor": 2.0}}),
        errors.ArgumentError,
        "'axial'",
    ),
    "rope without its factor": (
        lambda folder: write(folder, llama(), {**LLAMA, "rope_scaling": {"rope_type": "linear"}}),
        errors.FormatError,
        "doesn't describe positions\n.*factor",
    ),
    "rope a list": (
        lambda folder: write(folder, llama(), {**LLAMA, "rope_scaling": [1]}),
        errors.FormatError,
        "doesn't describe positions",
    ),
    "other positions": (
        lambda folder: write(folder, {f"embed_{part}.weight": torch.ones(9, 8) for part in ("tokens", "positions")}),
        errors.FormatError,
        "of a kind that Foreword doesn't have",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_is_one_clear_error(tmp_path, name):
    make, error, says = BAD[name]
    with pytest.raises(error) as caught:
        InputEmbedding.from_pretrained(make(tmp_path / "bad"))
    assert re.search(says, str(caught.value)), str(caught.value)


def test_a_norm_without_weights(tmp_path):
    with pytest.raises(errors.FormatError, match="no weights for the norm"):
        InputEmbedding.from_pretrained(write(tmp_path, gpt2()), norm="layer")


def test_saving_refuses_a_folder_with_files_and_leaves_nothing_behind(tmp_path, monkeypatch):
    folder = write(tmp_path / "model", gpt2())
    layer = InputEmbedding(11, 8, 6)
    with pytest.raises(errors.FileError):
        layer.save_pretrained(folder)
    assert sorted(safetensors.torch.load_file(folder / "model.safetensors")) == sorted(gpt2())

    def full(*_args, **_kwargs):
        raise safetensors.SafetensorError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(errors.FileError, match="No space left"):
        layer.save_pretrained(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
