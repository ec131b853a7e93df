"""Rounds of training: a step against float64, rounds against plain numpy, the same bits for any number of threads."""

import ctypes
import itertools

import numpy as np
import pytest

from foreword.errors import ArgumentError
from foreword.vectors.training.assembly import step
from foreword.vectors.training.options import Subwords, TrainingOptions
from foreword.vectors.training.tables import alias_table, keep_thresholds
from foreword.vectors.training.trainer import Trainer
from vectors.training.corpora import bits, drawn, spellings
from vectors.training.reference import Reference

SMALL = {"dim": 20, "epochs": 2, "lanes": 4, "stretch": 64, "pool": 48, "alpha": 0.05, "damping": 3}
METHODS = [
    {},
    {"negative": 1},
    {"negative": 12},
    {"negative": 20, "shrink_windows": False, "window": 2},
    {"method": "cbow"},
    {"method": "cbow", "cbow_mean": False, "alpha": 0.01},
    {"subwords": Subwords(min_n=2, max_n=4, buckets=300)},
    {"method": "cbow", "subwords": Subwords(buckets=300)},
    {"method": "cbow", "cbow_mean": False, "subwords": Subwords(buckets=300), "alpha": 0.01},
]


def _step(dim, count, contexts, *, cpu="", twice=False):
    """Tables before, tables after a step and the loss; which rows took part, and which noise counted."""
    rng = np.random.default_rng(0)
    inputs = (rng.standard_normal((40, dim)) * 0.3).astype(np.float32)
    targets = (rng.standard_normal((60, dim)) * 0.3).astype(np.float32)
    x = rng.permutation(40)[:contexts].astype(np.int32)
    x[-1] = x[0] if twice else x[-1]  # a context may come twice
    k = rng.integers(0, 60, count).astype(np.int32)  # the same noise word may come twice
    right = (int(rng.integers(0, 1 << count)) & ~2) | 1
    before = inputs.copy(), targets.copy()
    compiled = step(dim, count, cpu=cpu)
    function = ctypes.CFUNCTYPE(
        ctypes.c_double,
        *[ctypes.c_void_p] * 3,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_float,
        ctypes.c_void_p,
    )(compiled.address)
    padded = np.append(x, x[-1:])
    scratch = np.zeros(48 * (contexts + 1), np.float32)
    arrays = [array.ctypes.data for array in (inputs, targets, padded, k, scratch)]
    loss = function(arrays[0], arrays[1], arrays[2], contexts, arrays[3], right, 0.5, arrays[4])
    return before, (inputs, targets), loss, (x, k, right)


@pytest.mark.parametrize(("dim", "count"), [(16, 4), (112, 12), (112, 32), (304, 16)])
@pytest.mark.parametrize("contexts", [1, 2, 7])
def test_step_follows_the_gradient(dim, count, contexts):
    (inputs, targets), after, loss, (x, k, right) = _step(dim, count, contexts)
    rows, others = inputs[x].astype(np.float64), targets[k].astype(np.float64)
    labels = np.eye(1, count)[0]
    counted = np.array([right >> i & 1 for i in range(count)])
    scores = rows @ others.T
    signed = np.where(labels == 1, scores, -scores)
    assert loss == pytest.approx((np.log1p(np.exp(-signed)) * counted).sum(), rel=1e-6)
    gradient = (labels - 1 / (1 + np.exp(-scores))) * counted
    expected = inputs.astype(np.float64)
    expected[x] += 0.5 * gradient @ others
    assert np.allclose(after[0], expected, atol=2e-6)
    expected = targets.astype(np.float64)
    np.add.at(expected, k, 0.5 * gradient.T @ rows)
    assert np.allclose(after[1], expected, atol=2e-6)


def test_gradient_is_the_slope_of_the_loss():
    """The step against finite differences of the loss in float64."""
    (inputs, targets), after, _, (x, k, right) = _step(16, 8, 3)

    def loss(rows, others):
        scores = rows[x] @ others[k].T
        signed = np.where(np.arange(8) == 0, scores, -scores)
        return (np.log1p(np.exp(-signed)) * [right >> i & 1 for i in range(8)]).sum()

    moved = (after[0] - inputs) / 0.5
    for i in (int(x[0]), int(x[2])):
        for d in (0, 7, 15):
            high, low = inputs.astype(np.float64), inputs.astype(np.float64)
            high[i, d] += 1e-5
            low[i, d] -= 1e-5
            slope = (loss(high, targets.astype(np.float64)) - loss(low, targets.astype(np.float64))) / 2e-5
            assert moved[i, d] == pytest.approx(-slope, abs=2e-6)


@pytest.mark.parametrize(("dim", "count", "contexts"), [(16, 4, 1), (112, 12, 5), (112, 32, 6), (304, 24, 3)])
def test_the_width_of_vectors_changes_no_bit(dim, count, contexts):
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    kinds = [name for name, feature in (("haswell", "avx2"), ("skylake-avx512", "avx512dq")) if features.get(feature)]
    if not kinds:
        pytest.skip("a processor with neither AVX2 nor AVX-512")
    found = set()
    for cpu in ("", *kinds):
        _, after, loss, _ = _step(dim, count, contexts, cpu=cpu, twice=True)
        found.add((after[0].tobytes(), after[1].tobytes(), loss))
    assert len(found) == 1


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e3])
def test_scores_of_any_size_have_a_loss(scale):
    (inputs, targets), _, _, _ = _step(16, 4, 1)
    encoded, counts = drawn(20, 300)
    tables = (np.resize(inputs, (20, 16)) * np.float32(scale), np.resize(targets, (20, 16)) * np.float32(scale))
    options = TrainingOptions(**SMALL | {"dim": 16, "epochs": 1, "alpha": 1e-4})
    trainer = Trainer(encoded, counts, options, tables=tables)
    if scale > 1:
        with pytest.raises(ArgumentError, match="diverged"):
            trainer.run()
    else:
        trainer.run()
    assert np.isfinite(trainer.loss)


@pytest.mark.parametrize("how", METHODS, ids=str)
def test_rounds_are_those_of_plain_numpy(how):
    encoded, counts = drawn(120, 900, sentence=23)
    encoded[500:560] = 0  # a burst of the commonest word
    options = TrainingOptions(**SMALL | {"sample": 0.02} | how)
    words = spellings(120)
    trainer = Trainer(encoded, counts, options, words=words, workers=2)
    rng = np.random.default_rng(3)
    trainer.input_table[:] = rng.standard_normal(trainer.input_table.shape) * 0.3
    trainer.output_table[:] = rng.standard_normal(trainer.output_table.shape) * 0.3
    grams = None
    if options.subwords:
        offsets, rows = trainer._plan.gram_offsets, trainer._plan.gram_rows
        grams = [rows[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    reference = Reference(
        encoded,
        options,
        keep_thresholds(counts, options.sample),
        *alias_table(counts, options.ns_exponent),
        trainer.input_table,
        trainer.output_table,
        grams,
    )
    trainer.run()
    assert trainer.rounds == 2 * trainer.epoch_rounds == 8
    for number in range(trainer.rounds):
        reference.round(number)
    assert trainer.loss_sums()[1] == reference.predictions > 1000
    assert np.abs(trainer.input_table - reference.inputs).max() < 1e-4
    assert np.abs(trainer.output_table - reference.outputs).max() < 1e-4
    assert trainer.loss_sums()[0] == pytest.approx(reference.loss, rel=1e-5)


@pytest.mark.parametrize("how", METHODS[::3], ids=str)
def test_the_number_of_threads_changes_no_bit(how):
    encoded, counts = drawn(3000, 40_000)
    words = spellings(3000)
    found = set()
    for workers in (1, 2, 3, 8, 20):
        trainer = Trainer(encoded, counts, TrainingOptions(**SMALL | {"lanes": 8} | how), words=words, workers=workers)
        trainer.run()
        found.add(bits(trainer))
    assert len(found) == 1


def test_two_seeds_differ_and_one_does_not():
    encoded, counts = drawn()
    found = []
    for seed in (1, 2, 1):
        trainer = Trainer(encoded, counts, TrainingOptions(**SMALL, seed=seed))
        trainer.run()
        found.append(bits(trainer))
    assert found[0] == found[2] != found[1]


def test_positions_beyond_32_bits(tmp_path):
    """A corpus of 2³³ words, all holes but for its end: a round there is that of plain numpy."""
    path = tmp_path / "corpus"
    length = (1 << 33) + 500
    with open(path, "wb") as file:
        file.truncate(4 * length)
    words = np.memmap(path, np.uint32, mode="r+")
    end, _ = drawn(120, 500)
    words[-500:] = end
    options = TrainingOptions(**SMALL | {"epochs": 3})
    counts = np.bincount(end & 0x7FFFFFFF, minlength=120).astype(np.int64)
    trainer = Trainer(words, counts, options, workers=2)
    assert trainer.epoch_rounds == -(-length // 256)
    reference = Reference(
        words,
        options,
        keep_thresholds(counts, options.sample),
        *alias_table(counts, options.ns_exponent),
        trainer.input_table,
        trainer.output_table,
    )
    for number in (trainer.epoch_rounds - 2, 2 * trainer.epoch_rounds - 1):
        trainer._control[[8, 16]] = number * options.lanes, number * 8
        trainer._segment(number + 1, 2)
        reference.round(number)
    assert trainer.words_read == 2 * length
    assert reference.predictions == trainer.loss_sums()[1] > 500
    assert np.abs(trainer.input_table - reference.inputs).max() < 2e-6


def test_tables_of_more_rows_than_32_bits_are_refused():
    encoded, counts = drawn()
    options = TrainingOptions(**SMALL, subwords=Subwords(buckets=(1 << 31) - 1))
    with pytest.raises(ArgumentError, match="rows"):
        Trainer(encoded, counts, options, words=spellings(400))
