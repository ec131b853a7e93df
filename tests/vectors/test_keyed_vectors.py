"""KeyedVectors: lookup, queries and their options, editing, copies; on small tables made here."""

import copy
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword import KeyedVectors
from foreword._base import system
from foreword.errors import ArgumentError, FileError, FormatError, StoreError, UnknownKeyError
from foreword.vectors.search.index import cosines, unit_query
from foreword.vectors.spelling import nearest_spellings

WORDS = ["king", "queen", "man", "woman", "throne", "apple", "pear", "the"]


@pytest.fixture
def wv():
    table = KeyedVectors(12)
    table.add_vectors(WORDS, np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32))
    return table


@pytest.fixture
def stored(wv, tmp_path):
    wv.save(tmp_path / "store")
    return KeyedVectors.load(tmp_path / "store")


def brute(wv, positive, negative, topn, admitted=None, floor=-2.0):
    """The neighbours by an obvious loop."""
    total = np.zeros(wv.vector_size)
    for sign, words in ((1, positive), (-1, negative)):
        for word in words:
            total += sign * unit_query(wv[word], wv.vector_size)
    scores = cosines(wv.get_normed_vectors(), unit_query(total, wv.vector_size))
    found = [
        (key, scores[i])
        for i, key in enumerate(wv.index_to_key)
        if key not in (*positive, *negative) and (admitted is None or i in admitted) and scores[i] >= floor
    ]
    return sorted(found, key=lambda pair: -pair[1])[:topn]


def same(got, wanted):
    return [k for k, _ in got] == [k for k, _ in wanted] and np.allclose(
        [s for _, s in got], [s for _, s in wanted], atol=1e-6
    )


# Lookup.


def test_lookup(wv, stored):
    for table in (wv, stored):
        assert len(table) == 8
        assert table.vector_size == 12
        assert list(table.index_to_key) == WORDS
        assert table.key_to_index["man"] == 2
        assert "man" in table
        assert "men" not in table
        assert 7 in table
        assert 8 not in table
        assert [] not in table
        assert table["man"].shape == (12,)
        assert np.array_equal(table["man"], table[2])
        assert np.array_equal(table["man", "king"], table.vectors[[2, 0]])
        assert np.array_equal(table[["man", "king"]], table.vectors[[2, 0]])
        assert table[[]].shape == (0, 12)
        assert table.get_index("queen") == 1
        assert table.get_index("nothing", default=-5) == -5
        assert table.has_index_for("queen")
        assert not table["man"].flags.writeable
        assert np.allclose(np.linalg.norm(table.get_vector("man", norm=True)), 1)
        assert np.allclose(table.get_normed_vectors(), table.vectors / table.norms[:, None], atol=1e-6)
        assert str(table) == "KeyedVectors<vector_size=12, 8 keys>"


def test_an_unknown_key_is_told_with_its_nearest_spellings(wv):
    with pytest.raises(KeyError) as caught:
        wv["quene"]
    assert isinstance(caught.value, UnknownKeyError)
    assert "'quene'" in str(caught.value)
    assert "'queen'" in str(caught.value)
    with pytest.raises(UnknownKeyError):
        wv[8]
    with pytest.raises(UnknownKeyError, match="zzzz"):
        wv.most_similar(["king", "zzzz"])


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("KING", "king"),
        ("kinng", "king"),
        ("knig", "king"),
        ("kxng", "king"),
        ("ing", "king"),
        (" king", "king"),
        ("kigs", "king"),
    ],
)
def test_spellings(key, wanted):
    assert nearest_spellings(key, {"king": 3, "xyzzy": 0}) == [wanted]


def test_the_same_word_in_other_case_is_all_that_is_suggested():
    keys = {"few": 0, "jew": 1, "new": 2, "a": 3, "i": 4, "ii": 5, "king": 6}
    assert nearest_spellings("New", keys) == ["new"]
    assert nearest_spellings("词", keys) == []
    assert nearest_spellings("Ki", keys) == []
    assert nearest_spellings("Kingg", keys) == ["king"]


def test_spellings_of_what_is_no_word():
    assert nearest_spellings("x" * 5000, {"king": 3}) == []
    assert nearest_spellings(17, {"king": 3}) == []
    assert nearest_spellings("", {"king": 3}) == []


# Queries.


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        (["king"], []),
        (["king", "woman"], ["man"]),
        (["pear"], ["apple", "the"]),
        ([], ["king"]),
        (["king", "king"], []),
    ],
)
def test_most_similar(wv, stored, positive, negative):
    for table in (wv, stored):
        for topn in (1, 3, 8, 100):
            got = table.most_similar(positive, negative, topn=topn)
            assert same(got, brute(table, positive, negative, topn))
            assert got == table.most_similar_batch([{"positive": positive, "negative": negative}], topn=topn)[0]


def test_every_form_of_input(wv):
    wanted = wv.most_similar(positive=["king", "woman"], negative=["man"])
    unit = {word: wv.get_vector(word, norm=True) for word in WORDS}
    assert wv.most_similar(["king", 3], [2]) == wanted
    assert wv.most_similar(("king", "woman"), "man") == wanted
    assert wv.most_similar([("king", 1.0), ("woman", 1), ("man", -1.0)]) == wanted
    assert same(wv.most_similar([("king", 2), ("woman", 2.0)], [("man", -2)]), wanted)
    assert same(wv.most_similar([unit["king"], "woman"], "man", exclude="king"), wanted)
    assert wv.similar_by_word("king") == wv.similar_by_key("king") == wv.most_similar("king") == wv.most_similar(0)
    assert wv.similar_by_vector(wv["king"])[0] == ("king", 1.0)
    assert wv.similar_by_vector(list(wv["king"]))[0][0] == "king"
    assert wv.most_similar(wv.vectors[:2]) == wv.most_similar([wv[0], wv[1]])
    assert wv.most_similar_batch(["king", wv["king"], ["king", "man"]]) == [
        wv.most_similar("king"), wv.most_similar([wv["king"]]), wv.most_similar(["king", "man"])
    ]  # fmt: skip


def test_topn(wv):
    scores = wv.most_similar("king", topn=None)
    assert scores.shape == (8,)
    assert scores.dtype == np.float32
    assert np.allclose(scores, cosines(wv.vectors, unit_query(wv["king"], 12)), atol=1e-6)
    assert wv.most_similar("king", topn=0) == []
    assert wv.most_similar("king", topn=-3) == []
    assert len(wv.most_similar("king", topn=np.int64(3))) == 3
    assert wv.most_similar_batch(["king"], topn=0) == [[]]
    assert wv.most_similar_batch([]) == []
    for bad in (2.5, 3.0, "3", True, np.True_):
        with pytest.raises(ArgumentError, match="topn must be an integer"):
            wv.most_similar("king", topn=bad)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_options_hold_everywhere(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    n = data.draw(st.integers(1, 60))
    wv = KeyedVectors(5)
    wv.add_vectors([f"w{i}" for i in range(n)], rng.standard_normal((n, 5)))
    word = f"w{data.draw(st.integers(0, n - 1))}"
    options = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "restrict_vocab": st.sampled_from([None, 0, 1, 7, 1000]),
                "clip_start": st.integers(0, 70),
                "clip_end": st.none() | st.integers(0, 70),
                "among": st.lists(st.sampled_from(wv.index_to_key), max_size=9),
                "exclude": st.lists(st.sampled_from([*wv.index_to_key, "unknown"]), max_size=9),
                "min_similarity": st.sampled_from([-0.5, 0.1, 0.7]),
            },
        )
    )
    start, stop = options.get("clip_start", 0), options.get("clip_end") or n
    if options.get("restrict_vocab"):
        start, stop = 0, options["restrict_vocab"]
    admitted = {
        i
        for i in range(start, min(stop, n))
        if f"w{i}" in options.get("among", wv.index_to_key) and f"w{i}" not in options.get("exclude", ())
    }
    floor = options.get("min_similarity", -2)
    wanted = brute(wv, [word], [], 10, admitted, floor)
    assert same(wv.most_similar(word, **options), wanted)
    assert wv.most_similar_batch([word], **options)[0] == wv.most_similar(word, **options)
    every = wv.most_similar(word, topn=None, **options)
    full = cosines(wv.vectors, unit_query(wv[word], 5))
    assert len(every) == max(0, min(stop, n) - start)
    for i, score in enumerate(every.tolist(), start):
        assert (score == -np.inf) == (i not in admitted or full[i] < floor)
        assert score == -np.inf or abs(score - full[i]) < 1e-6
    cosmul = wv.most_similar_cosmul(word, **{**options, "min_similarity": None})
    assert [key for key, _ in cosmul] == [key for key, _ in brute(wv, [word], [], 10, admitted)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), topn=st.integers(1, 30), positives=st.integers(1, 3), negatives=st.integers(0, 2))
def test_cosmul_against_the_formula(seed, topn, positives, negatives):
    rng = np.random.default_rng(seed)
    wv = KeyedVectors(6)
    wv.add_vectors([f"w{i}" for i in range(400)], rng.standard_normal((400, 6)))
    words = [f"w{i}" for i in rng.choice(400, positives + negatives, replace=False)]
    factors = [(1 + cosines(wv.vectors, unit_query(wv[word], 6))) / 2 for word in words]
    scores = np.prod(factors[:positives], axis=0) / (np.prod(factors[positives:], axis=0) + 1e-6)
    order = [i for i in np.lexsort((np.arange(400), -scores)) if f"w{i}" not in words][:topn]
    got = wv.most_similar_cosmul(words[:positives], words[positives:], topn=topn)
    assert [key for key, _ in got] == [f"w{i}" for i in order]
    assert np.allclose([score for _, score in got], scores[order])
    assert np.allclose(wv.most_similar_cosmul(words[:positives], words[positives:], topn=None), scores, rtol=1e-3)


def test_an_indexer_is_asked(wv):
    class Indexer:
        def most_similar(self, vector, topn):
            assert abs(np.linalg.norm(vector) - 1) < 1e-6
            return [("asked", topn)]

    assert wv.most_similar("king", topn=4, indexer=Indexer()) == [("asked", 4)]


@pytest.mark.parametrize(
    "call",
    [
        lambda wv: wv.most_similar(),
        lambda wv: wv.most_similar([]),
        lambda wv: wv.most_similar([3.5]),
        lambda wv: wv.most_similar([("king", "much")]),
        lambda wv: wv.most_similar([None]),
        lambda wv: wv.most_similar(b"king"),
        lambda wv: wv.most_similar([b"king"]),
        lambda wv: wv.most_similar([b"ab"]),  # not the word 97 of weight 98
        lambda wv: wv.most_similar(3.5),
        lambda wv: wv.most_similar_batch(b"king"),
        lambda wv: wv.doesnt_match(b"king"),
        lambda wv: wv.most_similar(np.ones(5)),
        lambda wv: wv.most_similar([np.array([np.nan] * 12)]),
        lambda wv: wv.most_similar("king", restrict_vocab=-1),
        lambda wv: wv.most_similar("king", min_similarity=float("nan")),
        lambda wv: wv.most_similar_batch("king"),
        lambda wv: wv.most_similar_batch([{"postive": ["king"]}]),
        lambda wv: wv.most_similar_cosmul([]),
        lambda wv: wv.get_mean_vector([]),
        lambda wv: wv.get_mean_vector(["king"], weights=[1, 2]),
        lambda wv: wv.doesnt_match([]),
        lambda wv: wv.doesnt_match("king queen"),
        lambda wv: wv.n_similarity("king", ["queen"]),
        lambda wv: wv.n_similarity([], ["queen"]),
        lambda wv: wv.most_similar_to_given("king", []),
        lambda wv: wv.relative_cosine_similarity("king", "queen", topn=0),
        lambda wv: wv.cosine_similarities(wv["king"], wv["queen"]),
        lambda wv: wv.add_vectors(["a", "b"], np.ones((3, 12))),
        lambda wv: wv.add_vectors(["a"], np.ones((1, 11))),
        lambda wv: wv.add_vectors(["a"], np.full((1, 12), np.nan)),
        lambda wv: wv.add_vectors(["a"], np.ones((1, 12)), extras={"n": np.ones(2)}),
        lambda wv: wv.sort_by_descending_frequency(),
        lambda wv: wv.save_word2vec_format("unused", fvocab="unused"),
        lambda wv: setattr(wv, "vectors", np.ones(3)),
        lambda wv: KeyedVectors(0),
    ],
)
def test_what_cannot_be_used_is_refused(wv, call):
    with pytest.raises(ArgumentError):
        call(wv)
    with pytest.raises(ValueError, match=r"."):  # as gensim's users catch it
        call(wv)


def test_n_similarity_of_nothing_is_also_a_zero_division(wv):
    with pytest.raises(ZeroDivisionError):
        wv.n_similarity([], ["king"])


# Zeros, and what float32 can't square.


def test_rows_of_zeros_score_zero(wv):
    wv.add_vectors(["zero"], np.zeros((1, 12)))
    assert wv.similarity("zero", "king") == 0
    assert dict(wv.most_similar("king", topn=20))["zero"] == 0
    assert wv.most_similar("zero", topn=3) == [("king", 0.0), ("queen", 0.0), ("man", 0.0)]
    assert np.array_equal(wv.get_vector("zero", norm=True), np.zeros(12))
    assert not np.isnan(wv.get_normed_vectors()).any()
    assert not np.isnan(wv.distances("zero")).any()
    assert not np.isnan(wv.most_similar_cosmul("king", "zero", topn=None)).any()
    assert wv.doesnt_match(["king", "queen", "zero"]) in ("king", "queen", "zero")


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 1e37])
def test_extreme_rows_have_directions(wv, scale):
    wv.add_vectors(["far"], (wv[["king"]].astype(np.float64) * scale).astype(np.float32))
    assert abs(dict(wv.most_similar("king", topn=20))["far"] - 1) < 1e-2 if scale < 1e-40 else 1e-6
    assert wv.most_similar("king", topn=1)[0][0] == "far"
    assert np.allclose(np.linalg.norm(wv.get_vector("far", norm=True)), 1, atol=1e-6)


# Comparing.


def test_comparing(wv):
    cos = cosines(wv.vectors, unit_query(wv["king"], 12))
    assert np.isclose(wv.similarity("king", "queen"), cos[1])
    assert np.isclose(wv.distance("king", "queen"), 1 - cos[1])
    assert np.allclose(wv.distances("king"), 1 - cos)
    assert np.allclose(wv.distances("king", ["the", "man"]), 1 - cos[[7, 2]])
    assert np.allclose(wv.distances(wv["king"], ["the"]), 1 - cos[[7]])
    assert np.allclose(wv.cosine_similarities(wv["king"], wv.vectors), cos)
    assert wv.most_similar_to_given("king", WORDS[1:]) == wv.most_similar("king", topn=1)[0][0]
    order = [key for key, _ in wv.most_similar("king", topn=7)]
    assert [wv.rank("king", key) for key in order] == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(wv.closer_than("king", order[3])) == sorted(order[:3])
    assert np.isclose(
        wv.relative_cosine_similarity("king", "queen", topn=3),
        cos[1] / sum(s for _, s in wv.most_similar("king", topn=3)),
    )
    assert np.isclose(
        wv.n_similarity(["king", "man"], ["queen", "nowhere"]), cosines((wv[0] + wv[2])[None], unit_query(wv[1], 12))[0]
    )
    ranking = wv.rank_by_centrality(["king", "queen", "apple", "nowhere"])
    assert [word for _, word in ranking][-1] == wv.doesnt_match(["king", "queen", "apple"])
    assert ranking == sorted(ranking, reverse=True)


def test_mean(wv):
    assert np.allclose(wv.get_mean_vector(["king", "man"]), (wv.get_normed_vectors()[[0, 2]]).mean(axis=0), atol=1e-6)
    assert np.allclose(wv.get_mean_vector(["king", 2], pre_normalize=False), wv.vectors[[0, 2]].mean(axis=0), atol=1e-6)
    assert np.allclose(
        wv.get_mean_vector(["king", "man"], weights=[1, -1], pre_normalize=False), (wv[0] - wv[2]) / 2, atol=1e-6
    )
    assert np.allclose(np.linalg.norm(wv.get_mean_vector(["king", wv["man"]], post_normalize=True)), 1)
    assert np.array_equal(wv.get_mean_vector(["king", "nowhere"]), wv.get_mean_vector("king"))
    with pytest.raises(UnknownKeyError):
        wv.get_mean_vector(["king", "nowhere"], ignore_missing=False)


# Changing.


def test_no_search_sees_what_was_overwritten(wv, stored):
    for table in (wv, stored):
        assert table.most_similar("king", topn=1)[0][0] != "the"
        _ = table.norms
        table["the"] = 3 * table["king"]
        assert table.most_similar("king", topn=1)[0] == ("the", pytest.approx(1))
        assert np.isclose(table.norms[7], np.linalg.norm(table["the"]))
        table.add_vectors(["new"], -table[["king"]])
        assert len(table.norms) == 9
        assert table.most_similar(negative=["king"], topn=1)[0][0] == "new"
        table.vectors[0] = -table.vectors[0]
        assert table.most_similar(positive=["king"], topn=1)[0][0] == "new"
        table.vectors = np.eye(9, dtype=np.float32)
        assert table.vector_size == 9
        assert table.most_similar("king", topn=1)[0] == ("queen", 0.0)


def test_a_store_is_never_written_to(stored, tmp_path):
    files = sorted((tmp_path / "store").rglob("*"))
    before = [path.read_bytes() for path in files]
    with pytest.raises(ValueError, match="read-only"):
        stored.vectors[0] = 0
    stored["king"] = np.ones(12)
    stored.add_vectors(["new"], np.ones((1, 12)))
    stored.unit_normalize_all()
    stored.set_vecattr("king", "count", 3)
    stored.fill_norms(force=True)
    assert np.allclose(stored.norms, 1)
    assert [path.read_bytes() for path in files] == before
    assert len(KeyedVectors.load(tmp_path / "store")) == 8


def test_adding(wv):
    wv.add_vectors(["king", "new", "new"], np.stack([np.zeros(12), np.ones(12), np.full(12, 2)]))
    assert wv["king"].any()  # left as it was
    assert wv["new"][0] == 1  # of equals the first
    assert len(wv) == len(wv.vectors) == 9
    wv.add_vectors(["king", "newer"], np.stack([np.zeros(12), np.ones(12)]), replace=True)
    assert not wv["king"].any()
    wv["a", "b"] = np.ones((2, 12))
    wv[["c"]] = np.ones((1, 12))
    wv["d"] = np.arange(12)
    assert wv["d"][3] == 3
    assert len(wv) == 14
    wv.add_vectors("alone", np.ones(12))
    wv.add_vectors([], [])
    assert wv.index_to_key[-1] == "alone"


def test_allocated_rows_fill_up():
    wv = KeyedVectors(3, count=2)
    assert wv.add_vector("a", [1, 0, 0]) == 0
    assert wv.most_similar("a") == []  # a row without a key is no neighbour
    assert wv.most_similar([np.ones(3)], topn=None)[1] == -np.inf
    assert wv.add_vector("b", [0, 1, 0]) == 1
    with pytest.warns(UserWarning, match="copies"):
        assert wv.add_vector("c", [1, 1, 0]) == 2
    assert wv.add_vector("a", [0, 0, 1]) == 0
    assert len(wv) == 3
    assert wv["a"][2] == 1
    assert wv.most_similar("b", topn=1)[0][0] == "c"


def test_attributes(wv):
    wv.set_vecattr("king", "count", 10)
    wv.set_vecattr("queen", "note", "the first")
    wv.add_vectors(["x", "king"], np.ones((2, 12)), extras={"count": np.array([99, 5]), "seen": np.array([0.5, 1])})
    assert wv.get_vecattr("x", "count") == 99
    assert wv.get_vecattr("king", "count") == 10
    assert wv.get_vecattr("x", "seen") == 0.5
    assert wv.get_vecattr("queen", "note") == "the first"
    assert len(wv.expandos["note"]) == 9
    with pytest.raises(TypeError):
        wv.set_vecattr("king", "count", "many")
    with pytest.raises(KeyError):
        wv.get_vecattr("king", "nothing")
    with pytest.raises(UnknownKeyError):
        wv.set_vecattr("nowhere", "count", 1)
    vector = wv["king"].copy()
    wv.sort_by_descending_frequency()
    assert list(wv.index_to_key[:3]) == ["x", "king", "queen"]
    assert wv.key_to_index["king"] == 1
    assert np.array_equal(wv["king"], vector)
    assert wv.get_vecattr("queen", "note") == "the first"
    part = wv.vectors_for_all(["queen", "nowhere", "x", "queen"], copy_vecattrs=True)
    assert part.index_to_key == ["queen", "x"]
    assert part.get_vecattr("x", "count") == 99
    assert np.array_equal(part["queen"], wv["queen"])


def test_resize(wv):
    kept = wv["king"].copy()
    wv.index_to_key.extend(["p", "q"])
    wv.key_to_index.update(p=8, q=9)
    wv.resize_vectors(seed=5)
    assert wv.vectors.shape == (10, 12)
    assert np.array_equal(wv["king"], kept)
    assert (np.abs(wv["p"]) <= 1 / 12).all()
    assert wv["p"].any()


def test_unit_normalize(wv):
    wv.unit_normalize_all()
    assert np.allclose(np.linalg.norm(wv.vectors, axis=1), 1)
    with pytest.warns(DeprecationWarning, match="fill_norms"):
        wv.init_sims()


def test_old_names_tell_the_new_ones(wv):
    for name in ("vocab", "index2word", "index2entity", "vectors_norm"):
        with pytest.raises(AttributeError, match="gone"):
            getattr(wv, name)
    with pytest.warns(DeprecationWarning, match="get_vector"):
        assert np.array_equal(wv.word_vec("king"), wv["king"])
    wv.add_lifecycle_event("tested", note=1)
    assert wv.lifecycle_events[-1]["event"] == "tested"
    with pytest.raises(NotImplementedError):
        wv.similarity_unseen_docs()


# Files and copies.


@pytest.mark.parametrize("fails", [1, 2])
def test_a_store_that_can_not_be_replaced_stays(wv, tmp_path, monkeypatch, fails):
    """As on Windows, where a folder that holds an open file can't be renamed, and two can't change places."""
    monkeypatch.setattr(system, "exchange", lambda *_: False)
    wv.save(tmp_path / "a")
    calls, rename = [], os.rename

    def refusing(source, target):
        if Path(source).parent == Path(target).parent == tmp_path and not Path(source).name.endswith(".partial"):
            calls.append(source)
            if len(calls) == fails:
                raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refusing)
    with pytest.raises(FileError, match="replace the store"):
        KeyedVectors(vector_size=3).save(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert list(KeyedVectors.load(tmp_path / "a").index_to_key) == WORDS


def test_save_and_load(wv, tmp_path):
    wv.set_vecattr("king", "count", 5)
    wv.set_vecattr("queen", "note", "ä note")
    wv.set_vecattr("queen", "weight", 0.25)
    wv.save(tmp_path / "a")
    wv.save(tmp_path / "a")  # again, over it
    back = KeyedVectors.load(tmp_path / "a")
    assert list(back.index_to_key) == WORDS
    assert np.array_equal(back.vectors, wv.vectors)
    assert back.get_vecattr("king", "count") == 5
    assert back.get_vecattr("queen", "note") == "ä note"
    assert back.get_vecattr("queen", "weight") == 0.25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "precious").touch()
    with pytest.raises(FileError):
        wv.save(tmp_path / "b")
    (tmp_path / "a" / "attributes.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(StoreError):
        KeyedVectors.load(tmp_path / "a")


@pytest.mark.parametrize("binary", [False, True])
def test_word2vec_files(wv, tmp_path, binary):
    path, counts = tmp_path / "v", tmp_path / "c"
    for i, word in enumerate(WORDS):
        wv.set_vecattr(word, "count", i)
    wv.save_word2vec_format(path, fvocab=counts, binary=binary)
    assert counts.read_text().splitlines()[0] == "the 7"
    back = KeyedVectors.load_word2vec_format(path, fvocab=counts, binary=binary)
    assert list(back.index_to_key) == WORDS[::-1]
    assert np.array_equal(back["king"], wv["king"])
    assert back.get_vecattr("the", "count") == 7
    assert KeyedVectors.load_word2vec_format(path, binary=binary, limit=3).index_to_key == WORDS[:4:-1]
    assert KeyedVectors.load_word2vec_format(path, binary=binary).get_vecattr("the", "count") == 8
    counts.write_text("the many\n")
    with pytest.raises(FormatError, match="line 1"):
        KeyedVectors.load_word2vec_format(path, fvocab=counts, binary=binary)


@pytest.mark.parametrize("binary", [False, True])
def test_intersect(wv, tmp_path, binary):
    other = KeyedVectors(12)
    other.add_vectors(["queen", "elsewhere", "the"], np.arange(36, dtype=np.float32).reshape(3, 12))
    other.save_word2vec_format(tmp_path / "v", binary=binary)
    wv.vectors_lockf = np.ones(8)
    before = wv["king"].copy()
    wv.most_similar("queen")
    wv.intersect_word2vec_format(tmp_path / "v", lockf=0.5, binary=binary)
    assert np.array_equal(wv["queen", "the"], other["queen", "the"])
    assert np.array_equal(wv["king"], before)
    assert wv.vectors_lockf.tolist() == [1, 0.5, 1, 1, 1, 1, 1, 0.5]
    assert "elsewhere" not in wv
    assert np.allclose(wv.norms, np.linalg.norm(wv[WORDS], axis=1))
    assert same(wv.most_similar("queen"), brute(wv, ["queen"], [], 10))
    narrow = KeyedVectors(3)
    narrow.add_vectors(["a"], np.ones((1, 3)))
    with pytest.raises(FormatError, match="size"):
        narrow.intersect_word2vec_format(tmp_path / "v", binary=binary)


def test_copies_and_pickles(wv, stored):
    for table in (wv, stored):
        wanted = table.most_similar("king")
        for twin in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
            assert twin.most_similar("king") == wanted
            assert list(twin.index_to_key) == WORDS
            twin["king"] = np.ones(12)
            assert table.most_similar("king") == wanted
    assert len(pickle.dumps(stored)) < 1000  # its path, not its rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_other_dtypes(dtype):
    rng = np.random.default_rng(4)
    wv = KeyedVectors(7, dtype=dtype)
    wv.add_vectors([f"w{i}" for i in range(200)], rng.standard_normal((200, 7)))
    assert wv["w3"].dtype == dtype
    assert wv.vectors.dtype == dtype
    assert same(wv.most_similar("w3"), brute(wv, ["w3"], [], 10))


def test_large_tables_in_memory_get_codes_and_answer_the_same(monkeypatch):
    monkeypatch.setattr("foreword.vectors.table._WORTH_CODES", 1000)
    rng = np.random.default_rng(5)
    wv = KeyedVectors(20)
    wv.add_vectors([f"w{i}" for i in range(5000)], rng.standard_normal((5000, 20)))
    answers = [wv.most_similar("w7", topn=20) for _ in range(3)]
    assert wv._search().codes is not None
    assert answers[0] == answers[1] == answers[2]
    assert same(answers[0], brute(wv, ["w7"], [], 20))


def test_word_movers_distance(wv):
    pytest.importorskip("ot", reason="POT isn't installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert wv.wmdistance(["king"], ["king"]) == 0
        assert wv.wmdistance(["king"], ["nowhere"]) == float("inf")
        # One word against two, half of each: the mean of the two distances.
        a, b, c = (wv.get_vector(word, norm=True).astype(np.float64) for word in ("king", "queen", "man"))
        assert np.isclose(
            wv.wmdistance(["king"], ["queen", "man"]), (np.linalg.norm(a - b) + np.linalg.norm(a - c)) / 2, atol=1e-6
        )
