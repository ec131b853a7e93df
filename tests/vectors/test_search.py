"""Exact search: every scan against an obvious float64 reference, on rows that are hard."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreword._base import threads as pool
from foreword.errors import ArgumentError
from foreword.vectors.search import batch, kernels
from foreword.vectors.search import index as search
from foreword.vectors.search import scans as scanning
from foreword.vectors.search.codes import quantise, quantise_query, row_norms
from foreword.vectors.search.index import Index, cosines, unit_query


def reference(rows, query, k, admitted):
    """The k best of the admitted rows, by float64 cosines of longdouble sums; ties to the lower row."""
    exact = rows.astype(np.longdouble)
    q = query.astype(np.longdouble)
    norms, size = np.sqrt((exact * exact).sum(axis=1)), np.sqrt((q * q).sum())
    scores = [float(exact[i] @ q / (norms[i] * size)) if norms[i] > 0 and size > 0 else 0.0 for i in range(len(rows))]
    return sorted(((scores[i], -i) for i in admitted), reverse=True)[:k], scores


def check(hits, rows, query, k, admitted):
    best, scores = reference(rows, query, k, admitted)
    assert len(hits.rows) == len(best) == len(set(hits.rows.tolist()))
    assert set(hits.rows.tolist()) <= set(admitted)
    assert np.allclose(hits.scores, [s for s, _ in best], atol=1e-12)
    # The same rows, except where scores are equal up to rounding.
    for row, score, (wanted, minus) in zip(hits.rows.tolist(), hits.scores.tolist(), best, strict=True):
        assert row == -minus or abs(scores[row] - wanted) < 1e-12
        assert abs(score - scores[row]) < 1e-12
    assert np.array_equal(np.lexsort((hits.rows, -hits.scores)), np.arange(len(hits.rows)))


@st.composite
def tables(draw):
    """Rows with all that is hard: duplicates, near duplicates, zeros, huge, denormal, one-hot; and a query."""
    seed, n, dim = (
        draw(st.integers(0, 2**32)),
        draw(st.integers(1, 300)),
        draw(st.sampled_from([1, 2, 3, 50, 64, 65, 130])),
    )
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    for kind in draw(
        st.lists(st.sampled_from(["same", "near", "zero", "huge", "tiny", "denormal", "hot"]), max_size=4)
    ):
        at = rng.integers(0, n, max(1, n // 3))
        match kind:
            case "same":
                rows[at] = rows[0]
            case "near":
                rows[at] = rows[0] + 1e-6 * rng.standard_normal((len(at), dim)).astype(np.float32)
            case "zero":
                rows[at] = 0
            case "huge":
                rows[at] = np.clip(rng.standard_normal((len(at), dim)), -3, 3) * np.float32(1e38)
            case "tiny":
                rows[at] = rng.standard_normal((len(at), dim)) * np.float32(1e-36)
            case "denormal":
                rows[at] = rng.integers(-9, 9, (len(at), dim)) * np.float32(1.5e-45)
            case "hot":
                rows[at] = np.eye(dim, dtype=np.float32)[rng.integers(0, dim, len(at))]
    if draw(st.booleans()):
        rows = np.clip(rows, -6e4, 6e4).astype(np.float16)
    query = rows[rng.integers(0, n)].astype(np.float64) if draw(st.booleans()) else rng.standard_normal(dim)
    return rows, query


def small_parts(patch):
    """Several blocks, tiles and threads even for a few rows."""
    for module in (search, scanning, batch):
        patch.setattr(module, "BLOCK", 1 << 11)
    patch.setattr(search, "_SMALL", 1 << 11)
    patch.setattr(search, "_LIGHT", 0)
    patch.setattr(batch, "_SMALL", 1 << 11)
    patch.setattr(batch, "_FEW_ROWS", 8)
    patch.setattr(batch, "_CODES", 1 << 13)


@pytest.fixture(params=["numpy", "kernels"])
def scans(request, monkeypatch):
    monkeypatch.setenv("FOREWORD_KERNELS", "0" if request.param == "numpy" else "1")
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "_loaded", None)
        monkeypatch.setattr(search, "_LIGHT", 0)
    elif kernels.load() is None:
        pytest.skip("LLVM can't compile here")
    return request.param


@settings(max_examples=120, deadline=None)
@given(tables(), st.integers(0, 40), st.data())
def test_nearest_is_the_reference(scans_both, table, k, data):
    rows, query = table
    n = len(rows)
    start, stop = data.draw(st.integers(0, n)), data.draw(st.integers(0, n + 3))
    exclude = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=5)), dtype=np.int64)
    among = data.draw(st.none() | st.lists(st.integers(0, n - 1), max_size=20))
    floor = data.draw(st.sampled_from([-np.inf, -0.5, 0.0, 0.3, 0.999]))
    _, scores = reference(rows, query, 0, [])
    while any(abs(score - floor) <= 1e-9 for score in scores):
        floor += 1e-8  # to where the reference's other rounding changes nothing
    admitted = [
        i
        for i in range(start, min(stop, n))
        if i not in exclude and (among is None or i in among) and scores[i] >= floor
    ]
    chosen = None if among is None else np.unique(np.array(among, dtype=np.int64))
    options = {"start": start, "stop": stop, "exclude": exclude, "among": chosen, "at_least": floor}
    answers = []
    for index in scans_both(rows):
        hits = index.nearest(query, k, **options)
        check(hits, rows, query, k, admitted)
        answers.append(hits)
        for queries in ([query, -query], [query, *[-query] * 20]):  # one by one, and as a batch
            together = index.nearest_batch(np.stack(queries), k, **{**options, "exclude": [exclude] * len(queries)})
            answers.append(together[0])
    for hits in answers[1:]:  # bit for bit, whichever way
        assert np.array_equal(hits.rows, answers[0].rows)
        assert np.array_equal(hits.scores, answers[0].scores)


@pytest.fixture(scope="module")
def scans_both():
    """Indexes that scan floats, codes by numpy, and codes with each kind of instructions of this processor."""

    class Forced(Index):
        def __init__(self, rows, norms, codes, compiled):
            super().__init__(rows, norms, codes)
            self.compiled = compiled

        def nearest_batch(self, *args, **options):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(kernels, "ready", lambda: self.compiled)
                small_parts(patch)
                return super().nearest_batch(*args, **options)

        def nearest(self, *args, **options):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(kernels, "ready", lambda: self.compiled)
                small_parts(patch)
                return super().nearest(*args, **options)

    compiled = [] if kernels.load() is None else [kernels.compiled(how) for how in kernels.available()]

    def made(rows):
        codes = quantise(rows)
        yield Index(rows, codes.norms)
        for by in (None, *compiled):
            yield Forced(rows, codes.norms, codes, by)

    return made


@settings(max_examples=200, deadline=None)
@given(tables())
def test_the_certificate_holds(table):
    """Every cosine lies in the interval that the codes give it."""
    rows, query = table
    made = quantise(rows)
    unit = unit_query(query, rows.shape[1])
    coded = quantise_query(unit)
    exact = cosines(rows, unit)
    dots = made.codes.astype(np.int64) @ coded.code.astype(np.int64)
    assert (np.abs(made.codes.astype(np.int64)) @ np.abs(coded.code.astype(np.int64)) < 2**31).all()
    score = (dots * made.scales.astype(np.float64)) * coded.scale
    slack = made.errors.astype(np.float64) * (1 + coded.error) + coded.error
    assert (np.abs(score - exact) <= slack).all()
    directions = np.stack([unit_query(row, rows.shape[1]) for row in rows])
    rounding = np.linalg.norm(
        directions - made.scales[:, None].astype(np.float64) * made.codes[:, : rows.shape[1]], axis=1
    )
    assert (rounding <= made.errors).all()
    assert (made.codes[:, rows.shape[1] :] == 0).all()
    with np.errstate(over="ignore"):
        norms = np.sqrt((rows.astype(np.longdouble) ** 2).sum(axis=1)).astype(np.float32)
    assert np.allclose(made.norms, norms, rtol=1e-6, atol=3e-45)
    assert np.array_equal(row_norms(rows), made.norms)


@pytest.mark.parametrize("dim", [4096, 70_000])
def test_wide_queries_cannot_overflow(dim):
    """The worst case: every code 127 and every query element alike."""
    rows = np.ones((3, dim), dtype=np.float32)
    code = quantise_query(unit_query(rows[0], dim))
    assert 127 * np.abs(code.code.astype(np.int64)).sum() < 2**31
    made = quantise(rows)
    assert np.array_equal(Index(rows, made.norms, made).nearest(rows[0], 3).rows, [0, 1, 2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused(bad):
    rows = np.ones((5, 3), dtype=np.float32)
    rows[3, 1] = bad
    with pytest.raises(ArgumentError, match=r"row 3(.|\n)*element 1"):
        quantise(rows)
    with pytest.raises(ArgumentError, match="finite"):
        row_norms(rows)


@pytest.mark.parametrize("query", [[np.nan, 1], [np.inf, 1], [1, 2, 3], [[1, 2]]])
def test_queries_that_cannot_be_used_are_refused(query):
    rows = np.ones((5, 2), dtype=np.float32)
    with pytest.raises(ArgumentError):
        Index(rows, row_norms(rows)).nearest(np.array(query), 1)


def test_ties_go_to_the_lower_row_at_any_thread_count(monkeypatch, scans):
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((40, 48)).astype(np.float32), 100, axis=0)
    rng.shuffle(rows)
    made = quantise(rows)
    monkeypatch.setattr(search, "_SMALL", 0)  # split even this between threads
    query = rows[7].astype(np.float64)
    expected = np.flatnonzero((rows == rows[7]).all(axis=1))[:60]
    for threads in (1, 2, 3, 7):
        monkeypatch.setenv("FOREWORD_THREADS", str(threads))
        pool._forget()
        hits = Index(rows, made.norms, made).nearest(query, 60)
        assert np.array_equal(hits.rows, expected)
    pool._forget()


def test_scores_do_not_depend_on_the_company_of_a_row():
    rng = np.random.default_rng(1)
    for dim in (1, 2, 7, 50, 300):
        rows, unit = rng.standard_normal((500, dim)).astype(np.float32), unit_query(rng.standard_normal(dim), dim)
        together = cosines(rows, unit)
        alone = np.concatenate([cosines(rows[i : i + 1], unit) for i in range(500)])
        backwards = cosines(rows[::-1], unit)[::-1]
        assert np.array_equal(together, alone)
        assert np.array_equal(together, backwards)


@pytest.mark.parametrize("order", [1, -1], ids=["ever nearer", "ever farther"])
def test_a_scan_whose_room_is_full_makes_more(monkeypatch, order):
    if kernels.load() is None:
        pytest.skip("LLVM can't compile here")
    monkeypatch.setattr(scanning, "_ROOM", scanning.STRIP)
    rng = np.random.default_rng(4)
    rows, query = rng.standard_normal((6000, 12)).astype(np.float32), rng.standard_normal(12)
    rows = rows[np.argsort(order * cosines(rows, unit_query(query, 12)))]
    made, scores = quantise(rows), cosines(rows, unit_query(query, 12))
    for k in (1, 20, 900):
        hits = Index(rows, made.norms, made).nearest(query, k)
        assert np.array_equal(hits.rows, np.lexsort((np.arange(6000), -scores))[:k])


def test_shares_cover_the_range(monkeypatch):
    for threads in (1, 2, 5):
        monkeypatch.setenv("FOREWORD_THREADS", str(threads))
        for start, stop in ((0, 0), (3, 4), (0, 7), (10, 100_003)):
            parts = pool.shares(start, stop)
            assert (parts[0][0], parts[-1][1]) == (start, stop)
            assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))


@example([0, 1, 2], 0)
@given(st.lists(st.integers(0, 100), max_size=5), st.integers(0, 9))
def test_split_covers_the_range(edges, pieces):
    start, stop = min(edges, default=0), max(edges, default=0)
    parts = pool.split(start, stop, pieces=pieces or None)
    assert parts[0][0] == start
    assert parts[-1][1] == stop
    assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize("noise", [0.3, 0.05, 0.01, 1e-3, 1e-6])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_rows_closer_together_than_their_codes_can_tell(scans_both, noise, k):
    """Cosines that differ by less than the codes' rounding: what is kept must be more than the best by code."""
    rng = np.random.default_rng(3)
    for _ in range(4):
        rows = (rng.standard_normal(50) + noise * rng.standard_normal((3000, 50))).astype(np.float32)
        query = rng.standard_normal(50)
        scores = cosines(rows, unit_query(query, 50))
        expected = np.lexsort((np.arange(3000), -scores))[:k]
        for index in scans_both(rows):
            assert np.array_equal(index.nearest(query, k).rows, expected)
            assert np.array_equal(index.nearest_batch(query[None], k)[0].rows, expected)


def test_batches_split_between_threads_are_the_same(monkeypatch):
    rng = np.random.default_rng(6)
    rows, queries = rng.standard_normal((5000, 30)).astype(np.float32), rng.standard_normal((40, 30))
    index = Index(rows, row_norms(rows))
    among = np.sort(rng.choice(5000, 2000, replace=False))
    wanted = [[index.nearest(query, 20, start=100, among=chosen) for query in queries] for chosen in (None, among)]
    small_parts(monkeypatch)
    monkeypatch.setenv("FOREWORD_THREADS", "3")
    pool._forget()
    for chosen, answers in zip((None, among), wanted, strict=True):
        for got, answer in zip(index.nearest_batch(queries, 20, start=100, among=chosen), answers, strict=True):
            assert np.array_equal(got.rows, answer.rows)
            assert np.array_equal(got.scores, answer.scores)
    pool._forget()


@settings(max_examples=150, deadline=None)
@given(tables(), st.integers(1, 40), st.data())
def test_a_floor_keeps_what_reaches_it_exactly(scans_both, table, k, data):
    """The floor is compared with the float64 score: one bit above a score it loses that row, at it it doesn't."""
    rows, query = table
    n = len(rows)
    scores = cosines(rows, unit_query(query, rows.shape[1]))
    floor = scores[data.draw(st.integers(0, n - 1))]
    floor = data.draw(st.sampled_from([floor, np.nextafter(floor, np.inf), np.nextafter(floor, -np.inf)]))
    chosen = data.draw(st.none() | st.lists(st.integers(0, n - 1), max_size=60))
    among = None if chosen is None else np.unique(np.array(chosen, dtype=np.int64))
    admitted = np.arange(n) if among is None else among
    expected = np.array(sorted(admitted[scores[admitted] >= floor], key=lambda row: (-scores[row], row))[:k], np.int64)
    options = {"among": among, "at_least": float(floor)}
    for index in scans_both(rows):
        hits = [index.nearest(query, k, **options), *index.nearest_batch(np.stack([query] * 9), k, **options)]
        for hit in hits:
            assert np.array_equal(hit.rows, expected)
            assert np.array_equal(hit.scores, scores[expected])


def test_a_floor_in_a_batch_over_codes(scans):
    rng = np.random.default_rng(8)
    rows = (rng.standard_normal(50) + 0.2 * rng.standard_normal((6000, 50))).astype(np.float32)
    made = quantise(rows)
    index = Index(rows, made.norms, made)
    queries = rows[:9].astype(np.float64)
    own = [np.array([i]) for i in range(9)]
    best = [index.nearest(query, 1, exclude=row).scores[0] for query, row in zip(queries, own, strict=True)]
    for i, floor in enumerate(best):
        alone = index.nearest(queries[i], 1, exclude=own[i], at_least=floor)
        together = index.nearest_batch(queries, 1, exclude=own, at_least=floor)[i]
        assert alone.scores.tolist() == together.scores.tolist() == [floor]


def test_a_batch_of_any_size_takes_little_memory():
    rng = np.random.default_rng(9)
    rows, queries = rng.standard_normal((20_000, 16)).astype(np.float32), rng.standard_normal((3000, 16))
    index = Index(rows, row_norms(rows))
    index.nearest_batch(queries[:300], 5)
    tracemalloc.start()
    hits = index.nearest_batch(queries, 5, exclude_all=np.arange(3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
    for i in (0, 299, 2999):
        assert np.array_equal(hits[i].rows, index.nearest(queries[i], 5, exclude=np.arange(3)).rows)


def test_a_batch_over_many_equal_rows_takes_little_memory(monkeypatch):
    rows = np.ones((200_000, 4), dtype=np.float32)
    rows[::7] = 0
    index = Index(rows, row_norms(rows))
    queries = np.ones((20, 4))
    queries[3] = 0
    monkeypatch.setattr(batch, "_KEPT", 1 << 17)
    tracemalloc.start()
    hits = index.nearest_batch(queries, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    assert hits[0].rows.tolist() == [1, 2, 3, 4, 5]
    assert hits[3].rows.tolist() == [0, 1, 2, 3, 4]


def test_float64_rows_too_small_for_float32_are_searched():
    rows = np.array([[1e-320, 2e-320], [1, 0], [0, 1e-200], [1, 1], [0, 0]] * 30)
    index = Index(rows, row_norms(rows))
    query = np.array([1e-322, 2e-322])
    for hits in (index.nearest(query, 3), index.nearest_batch([query] * 20, 3)[19]):
        assert hits.rows.tolist() == [0, 5, 10]
        assert np.allclose(hits.scores, 1, atol=1e-3)
