"""The layer in models and tools that read, place and draw a module's tensors in ways of their own."""

import copy

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint.state_dict as dcp
from torch import nn
from torch.func import functional_call, grad, vmap

from foreword import errors
from foreword.embeddings import AlibiBias, InputEmbedding, LearnedPositions, NgramTable, RotaryPositions, RowAdam

pytestmark = pytest.mark.filterwarnings("ignore")  # what these packages warn of is not ours
IDS = torch.tensor([[3, 1, 2, 3], [9, 0, 5, 3]])


def with_ngrams(seed=0, **options):
    torch.manual_seed(0)
    table = NgramTable(orders=(2, 3), rows=64, dim=4, heads=2, seed=seed)
    nn.init.normal_(table.table.weight)
    return InputEmbedding(20, 8, 6, ngrams=table, **options)


# ---------------------------------------------------------------- Hugging Face's models


@pytest.fixture(scope="module")
def hf():
    """A model of Hugging Face's kind over the layer, tied; what is computed has a part in its logits."""
    transformers = pytest.importorskip("transformers", reason="of the extra clients")

    class Config(transformers.PretrainedConfig):
        model_type = "foreword-test"
        hidden_size = 8

    class Model(transformers.PreTrainedModel):
        config_class = Config
        _tied_weights_keys = {"head.weight": "embed.token_embedding.weight"}  # noqa: RUF012
        make = staticmethod(lambda: InputEmbedding(20, 8, 6))

        def __init__(self, config):
            super().__init__(config)
            self.embed = self.make()
            self.head = nn.Linear(8, 20, bias=False)
            self.post_init()

        def get_input_embeddings(self):
            return self.embed.token_embedding

        def set_input_embeddings(self, table):
            self.embed.token_embedding = table

        def get_output_embeddings(self):
            return self.head

        def set_output_embeddings(self, head):
            self.head = head

        def forward(self, input_ids):
            x_BTD, places = self.embed(input_ids), self.embed.position_embedding
            if isinstance(places, RotaryPositions):
                x_BTD = sum(places.rotate(x_BTD.unsqueeze(1), x_BTD.unsqueeze(1))).squeeze(1)
            if isinstance(places, AlibiBias):
                x_BTD = x_BTD + places(x_BTD.shape[1], causal=False).sum((0, 1)).unsqueeze(-1)
            return self.head(x_BTD.to(self.head.weight.dtype))

    def model(make):
        made = type("Made", (Model,), {"make": staticmethod(make)})
        return made, lambda: made(Config(vocab_size=20, tie_word_embeddings=True))

    return model


@pytest.mark.parametrize(
    "options", [{}, {"device_map": "cpu"}, {"dtype": torch.bfloat16}], ids=["plain", "map", "half"]
)
@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "dynamic", "alibi", "none"])
def test_hugging_face_s_from_pretrained(hf, tmp_path, position, options):
    """It makes models on the meta device, and puts empty memory in the place of what is in no file."""

    def make():
        if position == "dynamic":
            scaled = RotaryPositions(12, 8, scaling="dynamic", factor=2.0, original_context_length=6)
            return InputEmbedding(20, 8, position=scaled)
        return InputEmbedding(20, 8, 6, position=position, num_heads=1)

    kind, new = hf(make)
    model = new()
    model.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path, **options)
    assert loaded.head.weight is loaded.embed.token_embedding.weight
    like = model.to(options.get("dtype", torch.float32))
    torch.testing.assert_close(loaded(IDS), like(IDS))
    for (name, ours), theirs in zip(loaded.named_buffers(), like.buffers(), strict=True):
        assert torch.equal(ours, theirs), name


def test_hugging_face_s_resizing(hf):
    _, new = hf(lambda: InputEmbedding(20, 8, 6))
    model = new()
    before = model(IDS)
    for rows in (32, 24):
        model.resize_token_embeddings(rows)
        assert model.embed.vocab_size == rows
        assert model.head.weight is model.embed.token_embedding.weight
        torch.testing.assert_close(model(IDS)[..., :20], before)
        with pytest.raises(errors.TokenIdError, match=f"{rows} is outside"):
            model(torch.tensor([[rows]]))
    model.embed.resize(30)
    assert model.head.weight is model.embed.token_embedding.weight
    torch.testing.assert_close(model(IDS)[..., :20], before)


def test_hugging_face_s_from_pretrained_with_n_grams(hf, tmp_path):
    kind, new = hf(with_ngrams)
    model = new()
    model.save_pretrained(tmp_path / "with")
    torch.testing.assert_close(kind.from_pretrained(tmp_path / "with")(IDS), model(IDS))
    other, _ = hf(lambda: with_ngrams(seed=1))
    with pytest.raises(errors.ArgumentError, match="belong to other n-grams"):
        other.from_pretrained(tmp_path / "with")
    _, without = hf(lambda: InputEmbedding(20, 8, 6))
    without().save_pretrained(tmp_path / "without")
    begun = kind.from_pretrained(tmp_path / "without")  # the table is new there, and its identity its own
    begun.save_pretrained(tmp_path / "begun")
    torch.testing.assert_close(kind.from_pretrained(tmp_path / "begun")(IDS), begun(IDS))


def test_a_layer_that_is_read_where_hugging_face_makes_a_model(hf, tmp_path):
    InputEmbedding(20, 8, 6).save_pretrained(tmp_path / "layer")
    kind, new = hf(lambda: InputEmbedding.from_pretrained(tmp_path / "layer"))
    new().save_pretrained(tmp_path / "model")
    with pytest.raises(errors.ArgumentError, match="read on the meta device"):
        kind.from_pretrained(tmp_path / "model")


# ---------------------------------------------------------------- torch


def test_what_reads_a_state_key_by_key():
    layer = with_ngrams()
    state = dcp.get_model_state_dict(layer)
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        name: tensor.tolist() for name, tensor in layer.state_dict().items()
    }
    again = with_ngrams()
    nn.init.zeros_(again.ngrams.table.weight)
    dcp.set_model_state_dict(again, state)
    torch.testing.assert_close(again(IDS), layer(IDS))
    with pytest.raises(errors.ArgumentError, match="belong to other n-grams"):
        dcp.set_model_state_dict(with_ngrams(seed=1), state)


def test_the_state_of_steps_by_rows_in_torch_s_distributed_checkpoint():
    def begin():
        layer = InputEmbedding(20, 8, 6, sparse=True)
        return layer, RowAdam(layer.parameter_groups().sparse, lr=0.1)

    def step(layer, optimizer, ids):
        optimizer.zero_grad()
        layer(ids).square().sum().backward()
        optimizer.step()

    layer, optimizer = begin()
    step(layer, optimizer, IDS)
    model, moments = dcp.get_state_dict(layer, optimizer)
    again, resumed = begin()
    dcp.set_state_dict(again, resumed, model_state_dict=model, optim_state_dict=copy.deepcopy(moments))
    for one in ((layer, optimizer), (again, resumed)):
        step(*one, IDS + 3)
        step(*one, IDS)
    assert torch.equal(again.token_embedding.weight, layer.token_embedding.weight)
    assert resumed.state_dict()["state"][0]["step"] == 3
    again.token_embedding.weight.grad = torch.zeros(20, 8)  # a layer that has trained by rows goes on so
    with pytest.raises(errors.ArgumentError, match="needs row-sparse gradients"):
        resumed.step()
    fresh, optimizer = begin()
    fresh.token_embedding.weight.grad = torch.ones(20, 8)
    with pytest.raises(errors.ArgumentError, match="needs row-sparse gradients"):
        optimizer.step()


def test_accelerate_places_a_table_of_n_grams(tmp_path):
    accelerate = pytest.importorskip("accelerate", reason="of the extra clients")
    safetensors = pytest.importorskip("safetensors.torch")
    layer = with_ngrams()
    safetensors.save_file(layer.state_dict(), tmp_path / "model.safetensors")
    with accelerate.init_empty_weights():
        empty = with_ngrams()
    placed = accelerate.load_checkpoint_and_dispatch(empty, str(tmp_path / "model.safetensors"), device_map={"": "cpu"})
    torch.testing.assert_close(placed(IDS), layer(IDS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_n_grams_of_another_dtype_than_the_layer(dtype):
    layer = with_ngrams(dtype=dtype)
    added = layer.ngrams(layer.ngrams.row_ids(IDS)).to(dtype) @ layer.ngram_projection.weight.T
    want = layer.token_embedding.weight[IDS] + added + layer.position_embedding.weight[:4]
    assert layer(IDS).dtype == dtype
    torch.testing.assert_close(layer(IDS), want)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("position", ["learned", "sinusoidal", "opt"])
def test_export_with_positions(position, strict):
    torch.manual_seed(0)
    module = LearnedPositions(6, 8, start=2) if position == "opt" else position
    layer = InputEmbedding(20, 8, 6, position=module).eval()
    places = torch.tensor([[0, 0, 1, 2], [5, 2, 1, 0]])
    size = {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}
    program = torch.export.export(
        layer, (IDS, places), dynamic_shapes={"ids": size, "positions": size}, strict=strict
    ).module()
    for rows, columns in ((2, 4), (1, 3)):
        ids, at = IDS[:rows, :columns], places[:rows, :columns]
        torch.testing.assert_close(program(ids, at), layer(ids, at))
    for outside in (6, -1):
        with pytest.raises(IndexError):
            program(IDS, torch.full_like(IDS, outside))


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_positions_counted_past_padding(strict):
    torch.manual_seed(0)
    layer = InputEmbedding(20, 8, position=LearnedPositions(6, 8, start=2, padding_id=1), padding_id=1).eval()
    sizes = {"ids": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}}
    program = torch.export.export(layer, (IDS,), dynamic_shapes=sizes, strict=strict).module()
    for ids in (IDS, torch.tensor([[1, 1, 4]]), torch.ones(3, 9, dtype=torch.int64)):
        torch.testing.assert_close(program(ids), layer(ids))


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary"])
def test_gradients_of_each_sample(position):
    torch.manual_seed(0)
    layer = InputEmbedding(20, 8, 6, position=position, num_heads=2, scale=2.0, norm="layer", padding_id=3)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(weights, ids):
        return functional_call(layer, weights, (ids,)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(weights, IDS)
    for row, ids in enumerate(IDS):
        layer.zero_grad()
        layer(ids).square().sum().backward()
        for name, weight in layer.named_parameters():
            torch.testing.assert_close(each[name][row], weight.grad)


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("offset", [1.0, 1.5, None, "1"])
def test_an_offset_that_is_no_integer(position, offset):
    layer = InputEmbedding(20, 8, 6, position=position, num_heads=2)
    with pytest.raises(errors.ArgumentTypeError, match="offset must be an integer"):
        layer(IDS, offset=offset)


@pytest.mark.parametrize("offset", [np.int64(1), torch.tensor(1)])
def test_an_offset_of_another_kind_of_integer(offset):
    for position in ("learned", "sinusoidal"):
        layer = InputEmbedding(20, 8, 6, position=position)
        assert torch.equal(layer(IDS, offset=offset), layer(IDS, offset=1))
