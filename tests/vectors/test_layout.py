"""Places in the plane: what is fast against a slow reference, and what is kept in the cache."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError
from foreword.vectors import lay_out
from foreword.vectors.layout import graph, laying_out, placing
from foreword.vectors.layout.coarse import components


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def fewer_iterations(monkeypatch):
    for phase, iterations in (("_GATHERING", 40), ("_SETTLING", 80), ("_JOINING", 30)):
        monkeypatch.setattr(placing, phase, iterations)


def groups(count, dim=12, many=8, seed=0):
    """Unit rows around a few centres, and which centre each has."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, many, count)
    return unit(rng.normal(size=(many, dim))[of] + 0.3 * rng.normal(size=(count, dim))), of


def push_by_pairs(places):
    """All pairs, in float64."""
    apart = places[:, None].astype(np.float64) - places[None]
    q = 1 / (1 + (apart**2).sum(axis=2))
    np.fill_diagonal(q, 0)
    return (q[:, :, None] ** 2 * apart).sum(axis=1) / q.sum()


@given(st.integers(20, 200), st.floats(0.01, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_the_push_on_a_grid_is_that_of_all_pairs(count, spread, seed):
    places = (np.random.default_rng(seed).normal(size=(count, 2)) * spread).astype(np.float32)
    expected = push_by_pairs(places)
    for step, off in ((0.7, 0.15), (0.1, 0.01)):  # a finer grid comes nearer
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(placing, "_COARSEST", step)
            patch.setattr(placing, "_FINEST", min(step, placing._FINEST))
            error = np.linalg.norm(placing.push(places) - expected) / np.linalg.norm(expected)
        assert error < off, step


def test_the_pull_is_the_sum_over_edges():
    rows, _ = groups(50)
    near = graph.neighbours(rows, 5)
    starts, others, weights = graph.edges(near)
    places = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    into = np.zeros_like(places)
    placing.kernel.pull(places, starts, others, weights, into, 0, 50)
    expected = np.zeros((50, 2))
    for i in range(50):
        for j in range(50):
            weight = (int(j in near[i]) + int(i in near[j])) / (2 * 50 * 5)
            apart = places[i].astype(float) - places[j]
            expected[i] += weight * apart / (1 + apart @ apart)
    np.testing.assert_allclose(into, expected, atol=1e-6)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("count", [5, 700, 3_000])
def test_neighbours_of_few_rows_are_exact(count):
    rows = unit(np.random.default_rng(2).normal(size=(count, 9)))
    near = graph.neighbours(rows, 4)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -2)
    assert (near == np.argsort(-scores, axis=1, kind="stable")[:, :4]).mean() > 0.999  # but for rounding


def test_most_neighbours_of_many_rows_are_found(monkeypatch):
    monkeypatch.setattr(graph, "_LIST", 50)  # as of a vocabulary sixteen times as large
    rows, _ = groups(4_000, many=60)
    near = graph.neighbours(rows, 10)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -2)
    best = np.argsort(-scores, axis=1)[:, :10]
    found = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near, best, strict=True)])
    assert found > 0.9
    assert all(i not in row for i, row in enumerate(near))


def kept(rows, places, k=10):
    """The share of each row's k nearest that are among the k nearest of its place."""
    scores = rows @ rows.T
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(scores, -2)
    np.fill_diagonal(apart, np.inf)
    near, close = np.argsort(-scores, axis=1)[:, :k], np.argsort(apart, axis=1)[:, :k]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(near, close, strict=True)])


def test_places_keep_neighbourhoods_that_components_lose():
    rows = fw.load("glove-wiki-gigaword-50").get_normed_vectors()[:1000]
    ours, plain = kept(rows, placing.place(rows)), kept(rows, components(rows))
    assert ours > 0.35
    assert plain < 0.15


def test_rarer_words_are_placed_where_their_neighbours_are(monkeypatch):
    monkeypatch.setattr(placing, "FIRST", 600)
    rows, of = groups(1200)
    told = []
    places = placing.place(rows, lambda what, share: told.append((what, share)))
    middles = np.stack([np.median(places[:600][of[:600] == k], axis=0) for k in range(8)])
    nearest = ((places[600:, None] - middles[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == of[600:]).mean() > 0.9
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert len({what for what, _ in told}) == 4


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rows, _ = groups(500)
    monkeypatch.setenv("FOREWORD_THREADS", "1")
    one = placing.place(rows)
    monkeypatch.setenv("FOREWORD_THREADS", "2")
    np.testing.assert_array_equal(placing.place(rows), one)


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path))
    table = fw.KeyedVectors(6)
    rows, _ = groups(60, dim=6)
    table.add_vectors([f"w{i}" for i in range(60)], rows)
    return table


def test_a_layout_is_made_once(table, tmp_path, monkeypatch):
    made = []
    place = placing.place
    monkeypatch.setattr(placing, "place", lambda rows, tick: made.append(len(rows)) or place(rows, tick))
    first = lay_out(table)
    assert first.shape == (60, 2)
    np.testing.assert_array_equal(lay_out(table), first)
    assert made == [60]
    assert lay_out(table, count=20).shape == (20, 2)
    assert made == [60, 20]
    table.add_vectors(["w0"], [table["w1"]], replace=True)  # other rows, another layout
    lay_out(table)
    assert made == [60, 20, 60]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_a_damaged_layout_is_made_anew(table, tmp_path, damage):
    first = lay_out(table)
    (file,) = (tmp_path / "layouts").glob("*.npy")
    if damage is None:
        np.save(file, np.full((60, 2), np.nan, np.float32))
    else:
        file.write_bytes(damage)
    np.testing.assert_array_equal(lay_out(table), first)
    assert np.load(file).shape == (60, 2)


def test_what_tick_raises_ends_the_work_and_keeps_nothing(table, tmp_path):
    def stop(what, share):
        raise RuntimeError(what)

    with pytest.raises(RuntimeError, match="comparing"):
        lay_out(table, tick=stop)
    assert not list((tmp_path / "layouts").glob("*.npy"))
    assert lay_out(table).shape == (60, 2)  # its lock is free


def test_only_the_last_layouts_are_kept(table, tmp_path, monkeypatch):
    monkeypatch.setattr(laying_out, "_KEPT", 2)
    for count in (5, 6, 7):
        lay_out(table, count=count)
    assert len(list((tmp_path / "layouts").glob("*.npy"))) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_words_and_words_alike(table, count):
    assert np.isfinite(lay_out(table, count=count)).all()
    alike = fw.KeyedVectors(3)
    alike.add_vectors(["a", "b", "c", "d", "e", "f"], np.ones((6, 3)))
    assert np.isfinite(lay_out(alike)).all()
    with pytest.raises(ArgumentError, match="needs words"):
        lay_out(fw.KeyedVectors(3))
    with pytest.raises(ArgumentError, match="at least 1"):
        lay_out(table, count=0)


def test_wide_rows_are_reduced_first(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path))
    rows, of = groups(300, dim=100)
    table = fw.KeyedVectors(100)
    table.add_vectors([f"w{i}" for i in range(300)], rows)
    places = lay_out(table)
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (of[apart.argmin(axis=1)] == of).mean() > 0.95
