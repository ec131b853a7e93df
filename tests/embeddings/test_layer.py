"""InputEmbedding: what it computes, its options, its place in torch, its errors."""

import contextlib
import copy
import math
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from foreword import errors
from foreword.embeddings import AlibiBias, InputEmbedding, LearnedPositions, RotaryPositions, SinusoidalPositions

SCHEMES = ["learned", "sinusoidal", "rotary", "alibi", "none"]


def make(position="learned", **options):
    torch.manual_seed(0)
    return InputEmbedding(
        **{"vocab_size": 11, "embedding_dim": 8, "context_length": 6, "num_heads": 2, **options}, position=position
    )


def reference(layer, ids, positions):
    """Element by element, in float64."""
    table = layer.token_embedding.weight.detach().double().numpy()
    added = np.zeros((layer.context_length, layer.embedding_dim))
    if isinstance(layer.position_embedding, SinusoidalPositions) or hasattr(layer.position_embedding, "weight"):
        added = layer.position_embedding().detach().double().numpy()
    out = np.empty((*ids.shape, layer.embedding_dim))
    for place in np.ndindex(ids.shape):
        out[place] = table[ids[place]] * layer.scale + added[positions[place]]
    return out


@settings(deadline=None, max_examples=60)
@given(data=st.data(), position=st.sampled_from(SCHEMES), scale=st.sampled_from([1.0, math.sqrt(8)]))
def test_forward_is_the_reference(data, position, scale):
    layer = make(position, scale=scale)
    shape = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 6)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ids, positions = rng.integers(0, 11, shape), rng.integers(0, 6, shape)
    offset = data.draw(st.integers(0, 6 - shape[1]))
    dtype = data.draw(st.sampled_from([torch.int64, torch.int32]))
    inputs = torch.tensor(ids, dtype=dtype)

    got = layer(inputs, offset=offset)
    want = reference(layer, ids, np.broadcast_to(np.arange(offset, offset + shape[1]), shape))
    np.testing.assert_allclose(got.detach().numpy(), want, atol=1e-6)

    got = layer(inputs, torch.tensor(positions, dtype=dtype))
    np.testing.assert_allclose(got.detach().numpy(), reference(layer, ids, positions), atol=1e-6)


def test_one_row_of_ids_and_one_row_of_positions():
    layer = make()
    ids, positions = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([0, 1, 0])
    assert torch.equal(layer(ids[0]), layer(ids)[0])
    assert torch.equal(layer(ids, positions), layer(ids, positions.expand(2, -1)))


def test_documents_that_restart_in_a_row_are_embedded_as_if_alone():
    layer = make()
    first, second = torch.tensor([1, 2, 3]), torch.tensor([4, 5])
    packed = layer(torch.cat([first, second]), torch.tensor([0, 1, 2, 0, 1]))
    assert torch.equal(packed, torch.cat([layer(first), layer(second)]))


def test_token_types_are_added():
    layer = make(num_types=3)
    ids, types = torch.tensor([[1, 2, 3]]), torch.tensor([[0, 2, 1]])
    tables = [
        layer.token_embedding.weight[ids],
        layer.type_embedding.weight[types],
        layer.position_embedding.weight[:3],
    ]
    torch.testing.assert_close(layer(ids, types=types), tables[0] + tables[1] + tables[2])
    assert torch.equal(layer(ids), layer(ids, types=torch.zeros_like(ids)))
    for wrong in (types[0], types.float()):
        with pytest.raises(errors.ArgumentError, match="types don't fit the ids"):
            layer(ids, types=wrong)
    with pytest.raises(errors.ArgumentError, match="token type is outside"):
        layer(ids, types=types + 1)
    with pytest.raises(errors.ArgumentError, match="has no token types"):
        make()(ids, types=types)


@pytest.mark.parametrize("options", [{}, {"start": 2}, {"start": 1, "padding_id": 9}, {"start": 4, "padding_id": 9}])
def test_rows_before_that_of_position_0(options):
    """Against plain lookups; tokens that aren't counted stand at the row before, and the others follow on."""
    scheme = LearnedPositions(6, 8, **options)
    layer, ids = make(scheme), torch.tensor([[9, 1, 2, 9, 3], [1, 2, 3, 4, 5]])
    start, padding = options.get("start", 0), options.get("padding_id")
    rows, table = [], scheme.weight
    for row in ids.tolist():
        counted = [i for i, id_ in enumerate(row) if id_ != padding]
        rows.append([start + counted.index(i) if i in counted else start - 1 for i in range(len(row))])
    tokens = layer.token_embedding.weight[ids]
    assert torch.equal(layer(ids), tokens + table[torch.tensor(rows)])
    assert torch.equal(layer(ids, torch.arange(5)), tokens + table[start : start + 5])
    assert torch.equal(scheme(), table[start:])
    for outside in (6, -1 if padding is None else -2):
        with pytest.raises(errors.ArgumentError, match=f"position {outside} is outside"):
            layer(ids[:, :1], torch.tensor([outside]))


def test_it_draws_what_two_torch_embeddings_draw():
    torch.manual_seed(5)
    token, position = nn.Embedding(11, 8), nn.Embedding(6, 8)
    torch.manual_seed(5)
    layer = InputEmbedding(11, 8, 6)
    assert torch.equal(layer.token_embedding.weight, token.weight)
    assert torch.equal(layer.position_embedding.weight, position.weight)


def test_std_scales_both_tables():
    torch.manual_seed(0)
    plain = InputEmbedding(11, 8, 6)
    torch.manual_seed(0)
    small = InputEmbedding(11, 8, 6, std=0.02)
    for a, b in zip(plain.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(a * 0.02, b)


def test_norm_and_dropout():
    ids = torch.tensor([[1, 2, 3]])
    for norm, reference_norm in (("layer", nn.LayerNorm(8)), ("rms", nn.RMSNorm(8))):
        layer = make(norm=norm, dropout=0.5)
        want = reference_norm(make()(ids))
        torch.testing.assert_close(layer.eval()(ids), want)
        got = layer.train()(ids)
        kept = got != 0
        torch.testing.assert_close(got[kept], 2 * want[kept])
        assert 0 < kept.sum() < kept.numel()


def test_a_padding_row_stays_zero_and_gets_no_gradient():
    for sparse in (False, True):
        layer = make(padding_id=3, sparse=sparse)
        groups = layer.parameter_groups()
        optimizers = [torch.optim.AdamW(groups.dense, lr=0.1)]
        if sparse:
            optimizers.append(torch.optim.SparseAdam(groups.sparse, lr=0.1))
        for _ in range(3):
            layer.zero_grad()
            layer(torch.tensor([[3, 1, 3, 2]])).square().sum().backward()
            grad = layer.token_embedding.weight.grad
            grad = grad.to_dense() if sparse else grad
            assert not grad[3].any()
            assert grad[1].any()
            for optimizer in optimizers:
                optimizer.step()
        assert not layer.token_embedding.weight[3].any()


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_gradients_by_finite_differences(position):
    layer = make(position, norm="layer", scale=2.0, dtype=torch.float64)
    names, weights = zip(*layer.named_parameters(), strict=True)
    ids, positions = torch.tensor([[1, 2, 1], [0, 10, 4]]), torch.tensor([[0, 1, 0], [5, 2, 2]])

    def call(*values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, state, (ids, positions)), torch.func.functional_call(layer, state, ids)

    assert torch.autograd.gradcheck(call, weights)


def test_gradients_of_a_rotation_by_finite_differences():
    for layout in ("half", "interleaved"):
        scheme = RotaryPositions(5, 4, layout=layout).double()
        q, k = torch.randn(2, 1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda q, k, scheme=scheme: scheme.rotate(q, k, offset=2), (q, k))


def test_a_tied_head_reads_and_writes_one_table():
    layer = make()
    hidden = torch.randn(2, 3, 8)
    torch.testing.assert_close(layer.logits(hidden), hidden @ layer.token_embedding.weight.T)
    ids = torch.tensor([[1, 2]])
    layer.logits(layer(ids)).sum().backward()
    assert layer.token_embedding.weight.grad.any(dim=1).all()  # the head reaches every row


def test_a_tied_head_and_sparse_gradients_exclude_each_other():
    layer = make(sparse=True)
    with pytest.raises(errors.ArgumentError, match="exclude each other"):
        layer.logits(torch.ones(1, 8))
    with torch.no_grad():
        assert layer.logits(torch.ones(1, 8)).shape == (1, 11)
    layer.freeze("token")
    assert layer.logits(torch.ones(1, 8)).shape == (1, 11)


@pytest.mark.parametrize("position", SCHEMES)
def test_copies_pickles_and_state_dicts_compute_the_same(position):
    layer = make(position, norm="rms", padding_id=0, scale=3.0)
    ids = torch.tensor([[1, 2, 3]])
    other = make(position, norm="rms", padding_id=0, scale=3.0)
    with torch.no_grad():
        other.token_embedding.weight.zero_()
    other.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other):
        assert torch.equal(twin(ids), layer(ids))
        assert repr(twin) == repr(layer)
        if twin.position_embedding is not None:
            for a, b in zip(twin.position_embedding.buffers(), layer.position_embedding.buffers(), strict=True):
                assert torch.equal(a, b)


def test_state_dict_holds_weights_only():
    assert list(make().state_dict()) == ["token_embedding.weight", "position_embedding.weight"]
    assert list(make("rotary").state_dict()) == ["token_embedding.weight"]
    assert list(make("sinusoidal", norm="layer").state_dict()) == ["token_embedding.weight", "norm.weight", "norm.bias"]


def test_autocast_and_half_precision():
    ids = torch.tensor([[1, 2, 3]])
    layer = make(norm="layer")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.logits(layer(ids)).dtype == torch.bfloat16
    half = make("sinusoidal", dtype=torch.bfloat16)
    assert half(ids).dtype == torch.bfloat16
    torch.testing.assert_close(half(ids).float(), make("sinusoidal").to(torch.bfloat16)(ids).float())


def test_hooks_on_the_tables_keep_what_the_tables_gave():
    layer, seen = make(), []
    layer.token_embedding.register_forward_hook(lambda _module, _args, out: seen.append(out))
    layer.position_embedding.register_forward_hook(lambda _module, _args, out: seen.append(out))
    total = layer(torch.tensor([[1]]))
    token, position = seen
    assert torch.equal(token[0, 0], layer.token_embedding.weight[1])
    assert torch.equal(total, token + position)


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
@pytest.mark.parametrize("where", ["on the table", "on all modules", "backward", "none"])
@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_a_large_sum_leaves_what_hooks_keep_alone(position, where):
    """A sum of that size is written into what the table gave, where nobody holds that."""
    torch.manual_seed(0)
    layer = InputEmbedding(50, 64, 300, position=position)
    ids, seen = torch.randint(0, 50, (8, 300)), []
    assert ids.numel() * 64 > 1 << 16
    keep = lambda module, _arguments, out: seen.append((type(module), out.detach()))  # noqa: E731
    undo = contextlib.ExitStack()
    with undo:
        if where == "on the table":
            undo.enter_context(layer.token_embedding.register_forward_hook(keep))
            undo.enter_context(layer.position_embedding.register_forward_hook(keep))
        elif where == "on all modules":
            undo.enter_context(nn.modules.module.register_module_forward_hook(keep))
        elif where == "backward":
            layer.token_embedding.register_full_backward_hook(lambda *_: None)
        total = layer(ids)
    tokens = layer.token_embedding.weight.detach()[ids]
    places = layer.position_embedding().detach()
    torch.testing.assert_close(total, tokens + places)
    total.square().sum().backward()
    with torch.no_grad():
        layer.token_embedding.weight.zero_()
        if position == "learned":
            layer.position_embedding.weight.zero_()
    kept = dict(seen)
    assert bool(kept) == where.startswith("on ")
    if kept:
        assert torch.equal(kept[nn.Embedding], tokens)
        assert torch.equal(kept[type(layer.position_embedding)], places)


def test_a_large_sum_in_torch_s_transforms():
    """An ensemble by torch.func: one table of tokens, two of positions."""
    layer = InputEmbedding(50, 64, 300)
    ids, several = torch.randint(0, 50, (8, 300)), torch.randn(2, 300, 64)

    def call(weight):
        return torch.func.functional_call(layer, {"position_embedding.weight": weight}, (ids,))

    want = torch.stack([layer.token_embedding(ids) + weight for weight in several])
    torch.testing.assert_close(torch.func.vmap(call)(several), want)


def test_a_large_sum_has_the_dtype_of_a_small_one():
    layer = InputEmbedding(50, 64, 300, position="sinusoidal")
    layer.token_embedding.bfloat16()
    assert layer(torch.zeros(8, 300, dtype=torch.int64)).dtype == layer(torch.zeros(1, 2, dtype=torch.int64)).dtype


def test_what_hangs_on_a_table_is_called():
    """An adapter in the table's place, a parametrization, max_norm: the quick path must not pass them by."""

    class Doubled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.num_embeddings = inner, inner.num_embeddings

        def forward(self, ids, **options):
            return 2 * self.inner(ids, **options)

    ids = torch.tensor([[1, 2]])
    tables = make().token_embedding.weight, make().position_embedding.weight
    layer = make()
    layer.token_embedding = Doubled(layer.token_embedding)
    assert torch.equal(layer(ids), 2 * tables[0][ids] + tables[1][:2])
    with pytest.raises(errors.TokenIdError, match="11 is outside"):
        layer(torch.tensor([[11]]))

    layer = make()
    nn.utils.parametrize.register_parametrization(layer.token_embedding, "weight", Negated())
    assert torch.equal(layer(ids), tables[1][:2] - tables[0][ids])

    layer = make("none")
    layer.token_embedding.max_norm = 0.5
    assert layer(ids).norm(dim=-1).max() <= 0.5 + 1e-6


class Negated(nn.Module):
    def forward(self, weight):
        return -weight


def test_freeze_by_part():
    layer = make(norm="layer")
    learning = lambda: [name for name, p in layer.named_parameters() if p.requires_grad]  # noqa: E731
    layer.freeze("token")
    assert learning() == ["position_embedding.weight", "norm.weight", "norm.bias"]
    layer.freeze()
    assert learning() == []
    layer.unfreeze("position")
    assert learning() == ["position_embedding.weight"]
    with pytest.raises(errors.ArgumentError, match="unknown part"):
        layer.freeze("tokens")


def test_resize_keeps_rows_and_adds_average_ones():
    torch.manual_seed(0)
    layer = InputEmbedding(1000, 64, 4)
    with torch.no_grad():
        layer.token_embedding.weight.add_(5.0)
    old = layer.token_embedding.weight.detach().clone()
    layer.resize(1001)
    assert layer.vocab_size == 1001
    layer.resize(1000)
    layer.resize(1001, multiple_of=64)
    assert layer.vocab_size == 1024
    new = layer.token_embedding.weight.detach()
    assert torch.equal(new[:1000], old)
    added = new[1000:]
    torch.testing.assert_close(added.mean(0), old.mean(0), atol=0.1, rtol=0)
    assert 0.09 < (added - old.mean(0)).std() / old.std() < 0.11
    assert len(added.unique(dim=0)) == 24
    assert layer(torch.tensor([[1023]])).shape == (1, 1, 64)
    with pytest.raises(errors.TokenIdError, match="1024 is outside"):
        layer(torch.tensor([[1024]]))
    layer.resize(5)
    assert torch.equal(layer.token_embedding.weight, old[:5])


def test_resize_keeps_the_padding_row_and_the_dtype():
    layer = make(padding_id=10, dtype=torch.bfloat16)
    layer.freeze("token")
    layer.resize(12)
    assert not layer.token_embedding.weight[10].any()
    assert layer.token_embedding.weight.dtype == torch.bfloat16
    assert not layer.token_embedding.weight.requires_grad
    with pytest.raises(errors.ArgumentError, match="padding row"):
        layer.resize(4)


def test_extend_context_interpolates_learned_positions():
    layer = make(context_length=3)
    a, b, c = layer.position_embedding.weight.detach().clone()
    layer.extend_context(5)
    torch.testing.assert_close(layer.position_embedding(), torch.stack([a, (a + b) / 2, b, (b + c) / 2, c]))
    assert layer(torch.zeros(1, 5, dtype=torch.int64)).shape == (1, 5, 8)
    with pytest.raises(errors.ArgumentError, match="can't shorten"):
        layer.extend_context(4)


@pytest.mark.parametrize("position", ["sinusoidal", "rotary", "alibi", "none"])
def test_extend_context_of_computed_positions_equals_a_longer_layer(position):
    layer, longer = make(position), make(position, context_length=9)
    layer.extend_context(9)
    ids = torch.zeros(1, 9, dtype=torch.int64)
    assert torch.equal(layer(ids), longer(ids))
    if layer.position_embedding is not None:
        for a, b in zip(layer.position_embedding.buffers(), longer.position_embedding.buffers(), strict=True):
            assert torch.equal(a, b)


def test_without_a_table_of_positions_the_context_may_be_unbounded():
    for position in ("alibi", "none"):
        layer = make(position, context_length=None)
        assert layer(torch.zeros(1, 500, dtype=torch.int64)).shape == (1, 500, 8)


@pytest.mark.parametrize(("ids", "id_", "place"), [
    ([[1, 2], [3, 11]], 11, "[1, 1]"),
    ([[1, -1], [99, 1]], -1, "[0, 1]"),
    ([-(2**62)], -(2**62), "[0]"),
])  # fmt: skip
@pytest.mark.parametrize("sparse", [False, True])
def test_an_id_outside_the_vocabulary_is_named_with_its_place(ids, id_, place, sparse):
    with pytest.raises(errors.TokenIdError) as caught:
        make(sparse=sparse)(torch.tensor(ids))
    assert isinstance(caught.value, IndexError)
    for fact in (f"the token id {id_} is outside", "vocab_size 11", f"ids{place}"):
        assert fact in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_id_outside_is_found_in_a_large_batch():
    ids = torch.zeros(16, 1024, dtype=torch.int64)
    ids[13, 777] = 11
    with pytest.raises(errors.TokenIdError, match=r"ids\[13, 777\]"):
        make(context_length=1024)(ids)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: make()(torch.ones(1, 2)), "not token ids"),
        (lambda: make()(torch.ones(1, 2, dtype=torch.bool)), "not token ids"),
        (lambda: make()(torch.ones(1, 2, dtype=torch.uint8)), "pass ids.long()"),
        (lambda: make()(torch.tensor(3)), "not token ids"),
        (lambda: make()(torch.zeros(1, 7, dtype=torch.int64)), r"7 tokens\n.*context_length 6"),
        (lambda: make("rotary")(torch.zeros(1, 7, dtype=torch.int64)), "longer than the context"),
        (lambda: make()(torch.zeros(1, 2, dtype=torch.int64), offset=5), "2 tokens from position 5"),
        (lambda: make()(torch.zeros(1, 2, dtype=torch.int64), offset=-1), "offset must be"),
        (lambda: make()(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[0, 6]])), "position 6 is outside"),
        (lambda: make()(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([0, 1, 2])), "don't fit the ids"),
        (lambda: make()(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.int64)), "don't fit"),
        (lambda: make()(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2)), "can't be used"),
        (lambda: make(vocab_size=0), "vocab_size must be at least 1"),
        (lambda: make(embedding_dim=0), "embedding_dim must be at least 1"),
        (lambda: make(context_length=0), "context_length must be at least 1"),
        (lambda: make(context_length=None), "needs a context_length"),
        (lambda: make("absolute"), "unknown position scheme"),
        (lambda: make("rotary", num_heads=None), "needs num_heads"),
        (lambda: make("alibi", num_heads=3), "needs num_heads"),
        (lambda: make(SinusoidalPositions(6, 4)), "doesn't fit the layer"),
        (lambda: make(RotaryPositions(9, 4)), "doesn't fit the layer"),
        (lambda: make(norm="batch"), "unknown norm"),
        (lambda: make(scale=float("nan")), "finite"),
        (lambda: make(norm="layer", norm_eps=-1.0), "finite"),
        (lambda: make(dropout=1.0), "dropout is a probability"),
        (lambda: make(padding_id=11), "padding_id is outside"),
        (lambda: make().resize(0), "vocab_size must be"),
        (lambda: make().resize(8, multiple_of=0), "multiple_of must be"),
    ],
)
def test_bad_input_is_one_clear_error(call, says):
    with pytest.raises(errors.ArgumentError) as caught:
        call()
    assert re.search(says.replace("()", r"\(\)"), str(caught.value))


def test_ids_that_are_no_tensor():
    for ids in ([[1, 2]], np.array([[1, 2]])):
        with pytest.raises(TypeError, match="torch tensor"):
            make()(ids)


def test_a_position_module_with_options_of_its_own():
    scheme = RotaryPositions(6, 4, layout="interleaved", base=500_000.0)
    layer = make(scheme)
    assert layer.position_embedding is scheme
    assert make(AlibiBias(4), context_length=None).position_embedding.num_heads == 4
    assert InputEmbedding(11, 8, position=SinusoidalPositions(9, 8)).context_length == 9
