"""Long lists: whatever is given many words answers as if given one at a time, in memory that doesn't grow with them."""

import tracemalloc

import numpy as np
import pytest

from foreword import KeyedVectors
from foreword.vectors import neighbours, similarity
from foreword.vectors.search import analogies
from foreword.vectors.search.codes import row_norms
from foreword.vectors.search.index import Index

N, DIM = 20_000, 32


@pytest.fixture(scope="module")
def wv():
    table = KeyedVectors(DIM, dtype=np.float32)
    table.add_vectors([f"w{i}" for i in range(N)], np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32))
    table.most_similar("w0")
    return table


def peak(call):
    """The most memory that a call takes beyond what was taken before, and its result."""
    call()
    tracemalloc.start()
    result = call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, result


def test_a_long_batch(wv):
    words = wv.index_to_key[:4500]
    most, answers = peak(lambda: wv.most_similar_batch(words, topn=3, exclude=wv.index_to_key[-3000:]))
    assert most < 30e6
    assert len(answers) == 4500
    for i in (0, 4095, 4096, 4499):
        assert answers[i] == wv.most_similar(words[i], topn=3, exclude=wv.index_to_key[-3000:])


def test_a_batch_may_be_an_iterator(wv):
    assert wv.most_similar_batch(iter(["w1", "w2"]), topn=2) == [wv.most_similar(w, topn=2) for w in ("w1", "w2")]


def test_distances_to_all_words_by_name(wv):
    most, distances = peak(lambda: wv.distances("w5", wv.index_to_key))
    assert most < 5e6  # the vectors themselves are 2.6 MB, in float64 5.1
    assert np.array_equal(distances, [wv.distances("w5", [word])[0] for word in wv.index_to_key])
    assert np.allclose(distances, wv.distances("w5"), atol=1e-6)


def test_the_words_of_an_array(wv):
    assert np.array_equal(wv.distances("w5", np.array(["w1", "w2"])), wv.distances("w5", ["w1", "w2"]))


def test_cosines_of_a_matrix(wv):
    most, cosines = peak(lambda: wv.cosine_similarities(wv["w3"], wv.vectors))
    assert most < 5e6
    assert np.array_equal(cosines[:50], [wv.cosine_similarities(wv["w3"], wv.vectors[i : i + 1])[0] for i in range(50)])


def test_a_cosmul_of_many_words(wv):
    words = wv.index_to_key[:300]
    most, answers = peak(lambda: wv.most_similar_cosmul(words, topn=3))
    assert most < 5e6
    assert len(answers) == 3


def test_centrality_of_many_words(wv, monkeypatch):
    words = wv.index_to_key[:15_000]
    most, ranked = peak(lambda: wv.rank_by_centrality(words))
    assert most < 12e6
    monkeypatch.setattr(similarity, "_AT_ONCE", 7)
    for norm in (True, False):
        few = wv.rank_by_centrality(words[:100], use_norm=norm)
        monkeypatch.setattr(similarity, "_AT_ONCE", 4096)
        assert [word for _, word in few] == [word for _, word in wv.rank_by_centrality(words[:100], use_norm=norm)]
    assert len(ranked) == 15_000


def test_long_documents(wv):
    pytest.importorskip("ot")
    most, distance = peak(lambda: wv.wmdistance(wv.index_to_key[:300], wv.index_to_key[200:500]))
    assert most < 15e6
    assert 0 < distance < 2


def test_normed_vectors(wv):
    most, normed = peak(wv.get_normed_vectors)
    assert most < 5e6
    assert np.allclose(np.linalg.norm(normed, axis=1), 1, atol=1e-6)


def test_batches_in_parts_are_the_same(wv, monkeypatch):
    queries = [*wv.index_to_key[:20], {"positive": ["w1", "w2"], "negative": ["w3"]}, wv["w9"], 4]
    whole = wv.most_similar_batch(queries, topn=4)
    monkeypatch.setattr(neighbours, "_AT_ONCE", 3)
    assert wv.most_similar_batch(queries, topn=4) == whole


def test_analogies_in_parts_are_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(900, 8)).astype(np.float32)
    index = Index(rows, row_norms(rows))
    questions = rng.integers(0, 200, (90, 3))
    left = np.repeat(np.arange(90), 3), questions.ravel()
    whole = analogies.nearest_of_analogies(index, questions, 900, left)
    for words, at_once in ((3, 1000), (50, 1000), (4096, 7)):
        monkeypatch.setattr(analogies, "_WORDS", words)
        monkeypatch.setattr(analogies, "_QUESTIONS", at_once)
        assert np.array_equal(analogies.nearest_of_analogies(index, questions, 900, left), whole)


def test_analogies_that_leave_no_row():
    rows = np.eye(3, dtype=np.float32)
    questions = np.array([[0, 1, 2], [2, 1, 0]])
    left = np.repeat(np.arange(2), 3), questions.ravel()
    assert analogies.nearest_of_analogies(Index(rows, row_norms(rows)), questions, 3, left).tolist() == [-1, -1]


@pytest.mark.parametrize("policy", ["error", "skip", "lower"])
def test_each_word_is_looked_up_once(monkeypatch, policy):
    """For its vector and for its exclusion together."""
    wv = KeyedVectors(3)
    wv.add_vectors(["a", "b", "c", "d"], np.random.default_rng(0).normal(size=(4, 3)))
    wv.oov = policy
    asked, find = [], KeyedVectors._find
    monkeypatch.setattr(KeyedVectors, "_find", lambda self, key: asked.append(key) or find(self, key))
    assert [word for word, _ in wv.most_similar(["a", ("b", 0.5)], ["c"])] == ["d"]
    assert asked == ["a", "b", "c"]
    asked.clear()
    wv.most_similar_batch(["a", {"positive": ["b"], "negative": ["c"]}], exclude=["d"])
    assert sorted(asked) == ["a", "b", "c", "d"]
    asked.clear()
    assert [word for word, _ in wv.most_similar_cosmul(["a"], ["c"])] in (["b", "d"], ["d", "b"])
    assert asked == ["a", "c"]
