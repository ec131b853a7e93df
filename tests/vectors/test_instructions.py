"""The compiled loops with each kind of instructions that this processor has, against the same loops in Python."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors import loops

from foreword.vectors.search import assembly, batch, instructions, kernels, scans
from foreword.vectors.search.analogies import nearest_of_analogies
from foreword.vectors.search.assembly_many import COLUMNS
from foreword.vectors.search.codes import quantise, quantise_query
from foreword.vectors.search.cosines import unit_query
from foreword.vectors.search.index import Index

llvm = pytest.importorskip("llvmlite.binding")
KINDS = [instructions.VNNI_512, instructions.VNNI_256, instructions.SDOT, instructions.GENERIC]
HERE = kernels.available()
if instructions.VNNI_512 in HERE:  # it has those of 256 bits under another code
    features = instructions.VNNI_512.features
    HERE = [*HERE, dataclasses.replace(instructions.VNNI_256, name="vnni256-evex", features=features)]


@pytest.fixture(scope="module", params=HERE, ids=lambda how: how.name)
def compiled(request):
    return kernels.compiled(request.param)


def table(seed, n, dim, hard):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    if hard:  # the ends of what codes and queries can be: 127 and −127 in each place
        rows[::3] = rng.choice([-1, 1], (len(rows[::3]), dim))
        rows[1::5] = 0
        rows[2::7] = rows[0]
    return rows, rng


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(64, 300), st.sampled_from([1, 50, 64, 65, 300]), st.booleans(), st.data())
def test_a_scan_keeps_what_it_keeps_in_python(compiled, seed, n, dim, hard, data):
    rows, rng = table(seed, n, dim, hard)
    codes = quantise(rows)
    unit = unit_query(rows[0] if hard else rng.standard_normal(dim), dim)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(max(start + 1, 64), n)) if start < n - 1 or n > 64 else n
    k, floor = data.draw(st.integers(1, 20)), data.draw(st.sampled_from([-np.inf, -0.1, 0.3]))
    band = scans.scan_compiled(codes, unit, k, floor, compiled)(iter([(start, stop)]))
    expected = loops.scan(codes, quantise_query(unit), start, stop, k, floor)
    assert band.rows.tolist() == [row for row, _, _ in expected]
    assert band.lower.tolist() == [low for _, low, _ in expected]
    assert band.upper.tolist() == [high for _, _, high in expected]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(4, 150), st.sampled_from([1, 50, 64, 65]), st.integers(1, 70), st.data())
def test_a_tile_of_queries_keeps_what_it_keeps_in_python(compiled, seed, n, dim, count, data):
    if not compiled.how.tile:
        pytest.skip("matrix products do this")
    rows, rng = table(seed, n, dim, True)
    codes = quantise(rows)
    units = np.stack([unit_query(query, dim) for query in rng.standard_normal((count, dim))])
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    queries = [quantise_query(unit, levels=127) for unit in units]
    pool = batch._of_codes(codes, units, n, -np.inf, compiled)(iter([(start, stop)]))
    got = sorted(zip(*(np.concatenate(column).tolist() for column in zip(*pool._parts, strict=True)), strict=True))
    assert got == sorted(loops.pairs(codes, queries, start, stop, [-np.inf] * count))
    floor = float(np.float32(0.2))
    pool = batch._of_codes(codes, units, n, floor, compiled)(iter([(start, stop)]))
    got = [pair for pairs, _, _ in pool._parts for pair in pairs.tolist()]
    assert sorted(got) == sorted(pair for pair, _, _ in loops.pairs(codes, queries, start, stop, [floor] * count))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 4))
def test_analogies_are_the_best_sums(compiled, seed, questions, strips):
    rng = np.random.default_rng(seed)
    strip = rng.integers(-10_001, 10_002, (7, strips * COLUMNS)).astype(np.int16)
    pairs = rng.integers(0, 7, (5, 2))
    pair, third = np.sort(rng.integers(0, 5, questions)), rng.integers(0, 7, questions)
    tops = np.empty(questions, np.int16)
    turned = np.empty(strip.shape[1], np.int16)
    compiled.analogies(
        kernels.address(strip, np.int16), strip.shape[1], *(kernels.address(x, np.int64) for x in (pairs, pair, third)),
        questions, kernels.address(turned, np.int16), kernels.address(tops, np.int16),
    )  # fmt: skip
    assert tops.tolist() == loops.analogies(strip, pairs, pair, third).tolist()


@pytest.mark.parametrize("dim", [50, 300])
def test_answers_are_the_same_bits_with_all_of_them(monkeypatch, dim):
    rows, rng = table(5, 20_000, dim, True)
    codes, queries = quantise(rows), rng.standard_normal((70, dim))
    answers = []
    for how in [None, *HERE]:
        monkeypatch.setattr(kernels, "ready", lambda how=how: how and kernels.compiled(how))
        index = Index(rows, codes.norms, codes)
        answers.append([*index.nearest_batch(queries, 10), *(index.nearest(query, 10) for query in queries[:5])])
    for answer in answers[1:]:
        for hit, first in zip(answer, answers[0], strict=True):
            assert hit.rows.tolist() == first.rows.tolist()
            assert hit.scores.tolist() == first.scores.tolist()


def test_arrays_that_a_kernel_cannot_take_are_refused():
    array = np.zeros((4, 4), np.int8)
    with pytest.raises(ValueError, match="contiguous int8"):
        kernels.address(array[:, ::2], np.int8)
    with pytest.raises(ValueError, match="contiguous int16, not int8"):
        kernels.address(array, np.int16)


@pytest.mark.parametrize("how", KINDS, ids=lambda how: how.name)
def test_every_text_compiles_for_its_processor(how):
    """Also those that this machine can't run."""
    arm = how is instructions.SDOT
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(assembly.text(how))
    module.verify()
    target = llvm.Target.from_triple("aarch64-linux-gnu" if arm else "x86_64-linux-gnu")
    features = ",".join(f"+{name}" for name in how.features)
    machine = target.create_target_machine(cpu="cortex-a76" if arm else "x86-64-v3", features=features, opt=3)
    code = machine.emit_assembly(module)
    used = {"vnni512": "vpdpbusd", "vnni256": "vpdpbusd", "sdot": "sdot", "generic": "vpmaddwd"}[how.name]
    assert used in code


def test_nothing_of_numba_is_loaded_by_a_search(tmp_path):
    code = """
import sys, numpy as np
from foreword import KeyedVectors
from foreword.vectors.search import kernels
table = KeyedVectors(4)
table.add_vectors([f"w{i}" for i in range(500)], np.random.default_rng(0).normal(size=(500, 4)))
table.save(sys.argv[1])
table = KeyedVectors.load(sys.argv[1])
table.most_similar("w3")
print(kernels.ready().how.name, "numba" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        env={**os.environ, "FOREWORD_KERNELS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{kernels.available()[0].name} False\n", "")


def test_thousands_of_analogies_are_the_same_with_all_of_them(monkeypatch):
    """Enough that memory which a kernel writes to, and nobody holds, would be somebody else's."""
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((6000, 20)).astype(np.float32)
    index = Index(rows, quantise(rows).norms)
    questions = rng.integers(0, 400, (4000, 3))
    none = (np.repeat(np.arange(4000), 3), questions.reshape(-1))
    answers = []
    for how in [None, *HERE]:
        monkeypatch.setattr(kernels, "ready", lambda how=how: how and kernels.compiled(how))
        answers.append(nearest_of_analogies(index, questions, 6000, none).tolist())
    assert all(answer == answers[0] for answer in answers[1:])
