"""Each scheme against a slow reference in float64, written from its paper, and rotary against transformers."""

import cmath
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword import errors
from foreword.embeddings import (
    AlibiBias,
    InputEmbedding,
    LearnedPositions,
    RotaryByLayer,
    RotaryPositions,
    RotaryScaling,
    SinusoidalPositions,
)

DIMS = st.integers(1, 24).map(lambda half: 2 * half)


def sinusoidal(length, dim, base=10000.0):
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i + 1) = cos(…): Vaswani et al. 2017, section 3.5."""
    table = np.empty((length, dim))
    for pos in range(length):
        for i in range(dim // 2):
            table[pos, 2 * i] = math.sin(pos / base ** (2 * i / dim))
            table[pos, 2 * i + 1] = math.cos(pos / base ** (2 * i / dim))
    return table


def rotary(x, position, layout, base=10000.0, scaling=None, factor=1.0):
    """One vector: pair i as a complex number, times e^(i·m·θ_i): Su et al. 2021, section 3.2."""
    D = len(x)
    if scaling == "ntk":
        base = base * factor ** (D / (D - 2))
    if scaling == "linear":
        position = position / factor
    out = np.empty(D)
    for i in range(D // 2):
        a, b = (i, i + D // 2) if layout == "half" else (2 * i, 2 * i + 1)
        theta = base ** (-2 * i / D)
        if scaling == "llama3":
            theta = llama3(theta, factor)
        turned = complex(x[a], x[b]) * cmath.exp(1j * position * theta)
        out[a], out[b] = turned.real, turned.imag
    return out


def llama3(theta, factor, original=40, low=1, high=4):
    """Told by wavelengths, in tokens, as Llama 3.1's own code does."""
    wavelength = 2 * math.pi / theta
    if wavelength < original / high:
        return theta
    if wavelength > original / low:
        return theta / factor
    smooth = (original / wavelength - low) / (high - low)
    return (1 - smooth) * theta / factor + smooth * theta


def alibi_slopes(heads):
    """A geometric sequence that starts at 2^(−8/n) with that ratio; for other n as in the paper's own code."""
    if heads & (heads - 1) == 0:
        return [(2 ** (-8 / heads)) ** (h + 1) for h in range(heads)]
    below = 1 << (heads.bit_length() - 1)
    return alibi_slopes(below) + alibi_slopes(2 * below)[0::2][: heads - below]


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 40), dim=DIMS)
def test_sinusoidal_is_the_paper_s(length, dim):
    np.testing.assert_allclose(
        SinusoidalPositions(length, dim, dtype=torch.float64)().numpy(), sinusoidal(length, dim), atol=1e-12
    )
    np.testing.assert_allclose(SinusoidalPositions(length, dim)().numpy(), sinusoidal(length, dim), atol=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("layout", ["interleaved", "concatenated"])
def test_sinusoids_of_odd_dimensions_and_one_kind_after_the_other(dim, layout):
    """The last sine of an odd D has no cosine; concatenated, as Marian has them, the columns move alone."""
    whole = sinusoidal(7, dim + dim % 2, base=10000.0)
    table = np.empty((7, dim))
    for pos in range(7):
        for i in range(dim):
            angle = pos / 10000.0 ** (2 * (i // 2) / dim)
            table[pos, i] = math.cos(angle) if i % 2 else math.sin(angle)
    assert dim % 2 or np.allclose(table, whole)
    if layout == "concatenated":
        table = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    got = SinusoidalPositions(7, dim, layout=layout, dtype=torch.float64)().numpy()
    np.testing.assert_allclose(got, table, atol=1e-12)


def test_sinusoidal_does_not_drift_at_far_positions():
    far = SinusoidalPositions(100_001, 8)(torch.tensor([100_000])).numpy()
    exact = [f(100_000 / 10000 ** (2 * i / 8)) for i in range(4) for f in (math.sin, math.cos)]
    np.testing.assert_allclose(far[0], exact, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(
    layout=st.sampled_from(["half", "interleaved"]),
    scaling=st.sampled_from([None, "linear", "ntk", "llama3"]),
    dim=st.integers(2, 12).map(lambda half: 2 * half),
    length=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_rotary_is_the_paper_s(layout, scaling, dim, length, seed):
    factor = 4.0 if scaling else 1.0
    original = {"original_context_length": 40} if scaling == "llama3" else {}
    scheme = RotaryPositions(50, dim, layout=layout, scaling=scaling, factor=factor, **original).double()
    rng = np.random.default_rng(seed)
    q, k = (
        rng.normal(size=(2, 3, length, dim)),
        rng.normal(size=(2, 1, length, dim)),
    )  # grouped heads: fewer keys than queries
    positions = rng.integers(0, 50, (2, length))

    got_q, got_k = scheme.rotate(torch.tensor(q), torch.tensor(k), torch.tensor(positions))

    for got, x in ((got_q, q), (got_k, k)):
        for b, h, t in np.ndindex(x.shape[:3]):
            want = rotary(x[b, h, t], positions[b, t], layout, scaling=scaling, factor=factor)
            np.testing.assert_allclose(got[b, h, t].numpy(), want, atol=1e-12)


@pytest.mark.parametrize("layout", ["half", "interleaved", "regrouped"])
def test_a_part_of_the_head_turns_and_the_rest_goes_through(layout):
    part, whole = RotaryPositions(9, 12, layout=layout, rotary_dim=8), RotaryPositions(9, 8, layout=layout)
    q, k = torch.randn(2, 2, 3, 5, 12)
    for got, x, want in zip(part.rotate(q, k), (q, k), whole.rotate(q[..., :8], k[..., :8]), strict=True):
        assert torch.equal(got, torch.cat([want, x[..., 8:]], dim=-1))
    for got, want in zip(part.rotate(q[..., :8], k[..., :8]), whole.rotate(q[..., :8], k[..., :8]), strict=True):
        assert torch.equal(got, want)  # cut off already
    with pytest.raises(errors.ArgumentError, match="don't fit"):
        part.rotate(q[..., :10], k[..., :10])


def test_layouts_are_one_turn_in_different_places():
    half, pairs, regrouped = (RotaryPositions(9, 8, layout=name) for name in ("half", "interleaved", "regrouped"))
    q, k = torch.randn(2, 1, 2, 5, 8)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.equal(regrouped.rotate(q, k)[0], pairs.rotate(q, k)[0][..., order])
    assert torch.equal(regrouped.rotate(q, k)[0], half.rotate(q[..., order], k[..., order])[0])
    back = RotaryPositions(9, 8, reverse=True)
    torch.testing.assert_close(back.rotate(*half.rotate(q, k))[0], q)


@pytest.mark.parametrize("scaling", [None, "linear", "dynamic", "longrope"])
def test_a_context_too_long_for_a_table_turns_all_the_same(monkeypatch, scaling):
    numbers = {"factor": 2.0, "original_context_length": 6, "short_factors": (1.0, 2.0), "long_factors": (3.0, 4.0)}
    given = None if scaling is None else RotaryScaling(scaling, **numbers)
    table = RotaryPositions(20, 4, scaling=given)
    monkeypatch.setattr("foreword.embeddings.rotary.LONGEST_TABLE", 10)
    direct = RotaryPositions(20, 4, scaling=given)
    assert scaling == "dynamic" or len(direct.cos) == 0
    for length, offset in ((5, 0), (6, 0), (7, 0), (20, 0), (3, 2), (3, 17), (0, 3)):
        q, k = torch.randn(2, 1, 2, length, 4)
        monkeypatch.setattr("foreword.embeddings.rotary.LONGEST_TABLE", 100)
        want = table.rotate(q, k, offset=offset)
        monkeypatch.setattr("foreword.embeddings.rotary.LONGEST_TABLE", 10)
        places = torch.arange(offset, offset + length)
        for options in ({"offset": offset}, {"positions": places}, {"positions": places.expand(1, -1)}):
            for got, expected in zip(direct.rotate(q, k, **options), want, strict=True):
                torch.testing.assert_close(got, expected)
    q = k = torch.ones(1, 1, 2, 4)
    for options in ({"offset": 19}, {"offset": -1}, {"positions": torch.tensor([0, 20])}):
        with pytest.raises(errors.ArgumentError, match=r"outside the context|longer than the context|at least 0"):
            direct.rotate(q, k, **options)
    for places in (torch.tensor([-1, 0]), torch.tensor([0.0, 1.0]), torch.tensor([0])):
        with pytest.raises(errors.ArgumentError, match=r"outside the context|can't be used"):
            direct.rotate(q, k, places)


def test_rows_before_that_of_position_0_are_no_positions():
    scheme = LearnedPositions(4, 2, start=2)
    assert scheme.weight.shape == (6, 2)
    assert torch.equal(scheme(), scheme.weight[2:])
    assert torch.equal(scheme(torch.tensor([0, 3])), scheme.weight[[2, 5]])
    for bad in (-1, -2, 4):
        with pytest.raises(errors.ArgumentError, match=f"position {bad} is outside"):
            scheme(torch.tensor([bad]))
    with pytest.raises(errors.ArgumentError, match="longer than the context"):
        scheme(length=5)


def test_layers_that_turn_in_different_ways():
    near, far = RotaryPositions(9, 8), RotaryPositions(9, 4, base=1e6)
    layers = RotaryByLayer({"near": near, "far": far}, ["near", None, "far"])
    q = k = torch.randn(1, 2, 5, 8)
    assert torch.equal(layers.rotate(q, k, layer=0)[0], near.rotate(q, k)[0])
    assert torch.equal(layers.rotate(q, k, offset=2, layer=np.int64(0))[0], near.rotate(q, k, offset=2)[0])
    assert torch.equal(layers.rotate(q, k, layer=1)[0], q)
    assert torch.equal(layers.rotate(q[..., :4], k[..., :4], layer=2)[0], far.rotate(q[..., :4], k[..., :4])[0])
    assert torch.equal(layers(layer=2, length=3)[0], far(length=3)[0])
    layer = InputEmbedding(20, 8, position=layers)
    assert layer.context_length == 9
    layer.extend_context(30)
    assert near.cos.shape[0] == far.cos.shape[0] == 30
    for call in (lambda: layers.rotate(q, k), lambda: layers(layer=1), lambda: layers.rotate(q, k, layer=3)):
        with pytest.raises(errors.ArgumentError, match="layer"):
            call()
    with pytest.raises(errors.ArgumentError, match="isn't given"):
        RotaryByLayer({"near": near}, ["wide"])
    with pytest.raises(errors.ArgumentError, match="one context_length"):
        RotaryByLayer({"a": RotaryPositions(4, 8), "b": RotaryPositions(5, 8)}, ["a", "b"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RotaryScaling("su"), "unknown scaling"),
        (lambda: RotaryScaling("yarn", factor=2.0), "go together"),
        (lambda: RotaryScaling("linear", factor=float("nan")), "factor can't be used"),
        (lambda: RotaryScaling("longrope", original_context_length=4), "a number for each pair"),
        (lambda: RotaryScaling("llama3", original_context_length=4, low_frequency=4.0), "low_frequency"),
        (lambda: RotaryScaling("proportional", rotated=0.0), "share of the pairs"),
        (
            lambda: RotaryPositions(4, 4, scaling=RotaryScaling("linear", factor=2.0), factor=2.0),
            "in the RotaryScaling",
        ),
        (lambda: RotaryPositions(4, 8, rotary_dim=10), "above head_dim"),
        (lambda: RotaryPositions(4, 8, rotary_dim=3), "must be even"),
        (
            lambda: RotaryPositions(
                4,
                8,
                scaling=RotaryScaling("longrope", original_context_length=4, short_factors=(1.0,), long_factors=(1.0,)),
            ),
            "a number for each pair",
        ),
    ],
)
def test_scaling_that_can_t_be_is_refused(make, says):
    with pytest.raises(errors.ArgumentError, match=says):
        make()


WHOLE = [
    ("vocab_size", lambda n: InputEmbedding(n, 8, 6)),
    ("embedding_dim", lambda n: InputEmbedding(9, n, 6)),
    ("context_length", lambda n: InputEmbedding(9, 8, n)),
    ("num_heads", lambda n: InputEmbedding(9, 8, 6, num_heads=n)),
    ("num_types", lambda n: InputEmbedding(9, 8, 6, num_types=n)),
    ("padding_id", lambda n: InputEmbedding(9, 8, 6, padding_id=n)),
    ("vocab_size", lambda n: InputEmbedding(9, 8, 6).resize(n)),
    ("multiple_of", lambda n: InputEmbedding(9, 8, 6).resize(9, multiple_of=n)),
    ("context_length", lambda n: InputEmbedding(9, 8, 1).extend_context(n)),
    ("context_length", lambda n: LearnedPositions(n, 8)),
    ("start", lambda n: LearnedPositions(6, 8, start=n)),
    ("context_length", lambda n: SinusoidalPositions(n, 8)),
    ("embedding_dim", lambda n: SinusoidalPositions(6, n)),
    ("context_length", lambda n: RotaryPositions(n, 8)),
    ("head_dim", lambda n: RotaryPositions(6, n)),
    ("rotary_dim", lambda n: RotaryPositions(6, 8, rotary_dim=n)),
    ("num_heads", AlibiBias),
]


@pytest.mark.parametrize(("name", "make"), WHOLE)
def test_an_integer_argument_is_any_integer_and_nothing_else(name, make):
    for whole in (2, np.int32(2), torch.tensor(2)):
        make(whole)
    for other in (2.0, 2.5, True, "2", np.float64(2), [2]):
        with pytest.raises(errors.ArgumentTypeError, match=f"{name} must be an integer"):
            make(other)


def test_rotary_scores_depend_on_the_distance_alone():
    scheme = RotaryPositions(64, 16, layout="interleaved").double()
    q, k = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)

    def score(m, n):
        return (scheme.rotate(q, q, offset=m)[0] * scheme.rotate(k, k, offset=n)[0]).sum()

    torch.testing.assert_close(score(3, 1), score(60, 58))
    assert not torch.isclose(score(3, 1), score(3, 2))


def test_rotary_with_a_cache_equals_the_whole():
    scheme = RotaryPositions(10, 8)
    q, k = torch.randn(2, 1, 2, 10, 8)
    whole = torch.stack(scheme.rotate(q, k))
    parts = [torch.stack(scheme.rotate(q[:, :, s], k[:, :, s], offset=s.start)) for s in (slice(0, 7), slice(7, 10))]
    assert torch.equal(torch.cat(parts, dim=3), whole)


def test_ntk_keeps_the_fastest_pair_and_slows_the_slowest_by_the_factor():
    plain, scaled = RotaryPositions(2, 64), RotaryPositions(2, 64, scaling="ntk", factor=8.0)
    angle = lambda scheme: torch.atan2(scheme.sin[1].double(), scheme.cos[1].double())  # noqa: E731
    torch.testing.assert_close(angle(scaled)[0], angle(plain)[0])
    torch.testing.assert_close(angle(scaled)[-1] * 8, angle(plain)[-1], rtol=1e-5, atol=0)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize("scaling", [None, "linear", "llama3"])
def test_rotary_is_that_of_transformers(scaling):
    pytest.importorskip("transformers", reason="an oracle of the extra bench")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    rope = {"rope_type": scaling or "default", "rope_theta": 500.0}
    rope |= {None: {}, "linear": {"factor": 8.0}, "llama3": LLAMA3}[scaling]
    config = LlamaConfig(hidden_size=64, num_attention_heads=4, max_position_embeddings=128, rope_parameters=rope)
    q, k = torch.randn(2, 4, 128, 16), torch.randn(2, 2, 128, 16)
    cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(128).expand(2, -1))
    want = apply_rotary_pos_emb(q, k, cos, sin)
    original = {"original_context_length": 32} if scaling == "llama3" else {}
    ours = RotaryPositions(128, 16, base=500.0, scaling=scaling, factor=8.0 if scaling else 1.0, **original)
    got = ours.rotate(q, k)
    for ours, theirs in zip(got, want, strict=True):
        # They compute angles in float32, off by up to 128·2⁻²⁴ and more after the cosine; ours come from float64.
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_round_the_tables(dtype):
    rotary_, alibi = RotaryPositions(1000, 8), AlibiBias(6)
    cos, slopes = rotary_.cos.clone(), alibi.slopes.clone()
    assert torch.equal(rotary_.to(dtype).cos, cos)
    assert torch.equal(alibi.to(dtype).slopes, slopes)
    assert rotary_.rotate(*torch.randn(2, 1, 1, 5, 8, dtype=dtype))[0].dtype == dtype
    assert torch.equal(SinusoidalPositions(9, 8).to(dtype).table, SinusoidalPositions(9, 8, dtype=dtype).table)


def test_a_module_made_on_the_meta_device_computes_its_tables_when_it_lands():
    layer = InputEmbedding(10, 8, 6, position="rotary", num_heads=2, device="meta").to_empty(device="cpu")
    assert torch.equal(layer.position_embedding.cos, RotaryPositions(6, 4).cos)


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20])
def test_alibi_is_the_paper_s(heads):
    slopes = alibi_slopes(heads)
    want = [[[-m * (q - k) if k <= q else -math.inf for k in range(7)] for q in range(7)] for m in slopes]
    np.testing.assert_allclose(AlibiBias(heads)(7).numpy(), want, rtol=1e-6)
    np.testing.assert_array_equal(AlibiBias(heads)(2, 7).numpy(), AlibiBias(heads)(7)[:, 5:].numpy())


def test_alibi_s_own_example_of_8_heads():
    assert AlibiBias(8).slopes.tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]


def test_alibi_without_a_mask_counts_both_ways():
    bias = AlibiBias(1)(3, causal=False)[0]
    assert torch.equal(bias, bias.T)
    assert bias[0].tolist() == [0.0, -1 / 256, -2 / 256]


def test_alibi_goes_into_torch_s_attention():
    q = torch.randn(2, 4, 5, 8)
    bias = AlibiBias(4)(5)
    got = torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=bias)
    want = torch.softmax(q @ q.transpose(-1, -2) / math.sqrt(8) + bias, dim=-1) @ q
    torch.testing.assert_close(got, want)


def test_learned_positions_are_rows_of_their_table():
    scheme = LearnedPositions(6, 4)
    assert torch.equal(scheme(), scheme.weight)
    assert torch.equal(scheme(offset=2, length=3), scheme.weight[2:5])
    assert torch.equal(scheme(torch.tensor([[5, 0]])), scheme.weight[torch.tensor([[5, 0]])])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SinusoidalPositions(4, 4, layout="whole"), "unknown layout"),
        (lambda: SinusoidalPositions(0, 4), "context_length must be at least 1"),
        (lambda: SinusoidalPositions(4, 4, base=0.0), "base must be above 0"),
        (lambda: RotaryPositions(4, 3), "head_dim must be even"),
        (lambda: RotaryPositions(4, 4, layout="whole"), "unknown layout"),
        (lambda: RotaryPositions(4, 4, scaling="su"), "unknown scaling"),
        (lambda: RotaryPositions(4, 4, factor=2.0), "factor can't be used"),
        (lambda: RotaryPositions(4, 4, scaling="linear", factor=0.5), "factor can't be used"),
        (lambda: RotaryPositions(4, 2, scaling="ntk", factor=2.0), "head_dim above 2"),
        (lambda: RotaryPositions(4, 4, scaling="llama3", factor=2.0), "go together"),
        (lambda: RotaryPositions(4, 4, original_context_length=2), "go together"),
        (lambda: AlibiBias(0), "num_heads must be at least 1"),
        (lambda: AlibiBias(2)(5, 3), "more queries than keys"),
        (lambda: LearnedPositions(4, 2)(offset=3, length=2), "longer than the context"),
        (lambda: LearnedPositions(4, 2)(offset=-1), "offset must be at least 0"),
        (lambda: LearnedPositions(4, 2)(torch.tensor([1, 4])), "the position 4 is outside"),
        (lambda: LearnedPositions(4, 2)(torch.tensor([-1])), "the position -1 is outside"),
        (lambda: LearnedPositions(4, 2)(torch.tensor([1.0])), "positions can't be used"),
        (lambda: LearnedPositions(4, 2)(torch.tensor([1]), offset=1), "not both"),
        (lambda: RotaryPositions(4, 4).rotate(torch.ones(1, 1, 5, 4), torch.ones(1, 1, 5, 4)), "longer than"),
        (lambda: RotaryPositions(4, 4).rotate(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 3, 4)), "don't fit"),
        (lambda: RotaryPositions(4, 4).rotate(torch.ones(1, 1, 2, 8), torch.ones(1, 1, 2, 8)), "don't fit"),
        (lambda: RotaryPositions(4, 4).rotate(*torch.ones(2, 1, 1, 2, 4), torch.tensor([0])), "can't be used"),
    ],
)
def test_bad_input_is_one_clear_error(make, says):
    with pytest.raises(errors.ArgumentError, match=says):
        make()
