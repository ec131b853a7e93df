"""Arguments: integers of every type, floors that are exact."""

import numpy as np
import pytest

import foreword as fw
from foreword import KeyedVectors
from foreword.errors import ArgumentError
from foreword.vectors.search import kernels

KINDS = [int, np.uint8, np.int8, np.int16, np.uint64, np.int64, np.array]
NOT_INTEGERS = [3.0, np.float32(3), "3", True, np.True_, None.__class__, [3]]


class Index:
    """An integer by its ``__index__`` alone."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


@pytest.fixture(scope="module")
def wv():
    table = KeyedVectors(4)
    table.add_vectors([f"w{i}" for i in range(300)], np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32))
    return table


@pytest.fixture(scope="module")
def file(tmp_path_factory, wv):
    path = tmp_path_factory.mktemp("a") / "v.txt"
    wv.export(path)
    path.with_suffix(".questions").write_text(": s\nw1 w2 w3 w4\n")
    path.with_suffix(".pairs").write_text("w1\tw2\t3\nw3\tw4\t5\nw5\tw1\t1\n")
    return path


CALLS = {
    "most_similar topn": lambda wv, file, n: wv.most_similar("w0", topn=n),
    "most_similar restrict": lambda wv, file, n: wv.most_similar("w0", restrict_vocab=n),
    "most_similar clip_start": lambda wv, file, n: wv.most_similar("w0", clip_start=n),
    "most_similar clip_end": lambda wv, file, n: wv.most_similar("w0", clip_end=n),
    "batch topn": lambda wv, file, n: wv.most_similar_batch(["w0"], topn=n),
    "batch restrict": lambda wv, file, n: wv.most_similar_batch(["w0"], restrict_vocab=n),
    "batch clip": lambda wv, file, n: wv.most_similar_batch(["w0"], clip_start=n),
    "similar_by_word": lambda wv, file, n: wv.similar_by_word("w0", n),
    "similar_by_key": lambda wv, file, n: wv.similar_by_key("w0", 5, n),
    "similar_by_vector": lambda wv, file, n: wv.similar_by_vector(wv["w0"], n),
    "cosmul topn": lambda wv, file, n: wv.most_similar_cosmul("w0", topn=n),
    "cosmul restrict": lambda wv, file, n: wv.most_similar_cosmul("w0", restrict_vocab=n),
    "cosmul clip": lambda wv, file, n: wv.most_similar_cosmul("w0", clip_end=n),
    "relative": lambda wv, file, n: wv.relative_cosine_similarity("w0", "w1", n),
    "analogies": lambda wv, file, n: wv.evaluate_word_analogies(file.with_suffix(".questions"), restrict_vocab=n),
    "pairs": lambda wv, file, n: wv.evaluate_word_pairs(file.with_suffix(".pairs"), restrict_vocab=n),
    "load limit": lambda wv, file, n: fw.load(file, limit=n).index_to_key,
    "load_word2vec_format limit": lambda wv, file, n: KeyedVectors.load_word2vec_format(file, limit=n).index_to_key,
    "save_word2vec_format total": lambda wv, file, n: wv.save_word2vec_format(file.with_name("total"), total_vec=n),
    "vector_size": lambda wv, file, n: KeyedVectors(n).vectors,
    "count": lambda wv, file, n: KeyedVectors(2, count=n).vectors,
    "seed": lambda wv, file, n: KeyedVectors(2, count=2).resize_vectors(seed=n),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_integers_of_every_type_will_do(wv, file, call):
    wanted = call(wv, file, 100)
    for kind in (*KINDS, Index):
        got = call(wv, file, kind(100))
        assert np.array_equal(got, wanted) if isinstance(wanted, np.ndarray) else got == wanted


@pytest.mark.parametrize("bad", NOT_INTEGERS, ids=repr)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_else_will(wv, file, call, bad):
    with pytest.raises(ArgumentError, match="must be an integer"):
        call(wv, file, bad)


def test_gensims_term_similarity_index_may_ask(wv):
    """It passes topn as the smallest unsigned type that holds it."""
    assert wv.most_similar("w0", topn=np.uint8(10)) == wv.most_similar("w0", topn=10)
    assert wv.most_similar("w0", topn=np.uint8(0)) == []


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_a_floor_at_the_best_score_keeps_it(monkeypatch, tmp_path, compiled, stored):
    monkeypatch.setattr(kernels, "ready", kernels.load if compiled else lambda: None)
    rng = np.random.default_rng(5)
    table = KeyedVectors(50)
    table.add_vectors([f"w{i}" for i in range(3000)], rng.normal(size=(3000, 50)).astype(np.float32))
    if stored:
        table.save(tmp_path / "store")
        table = KeyedVectors.load(tmp_path / "store")
    among = table.index_to_key[:2000]
    for word in among[:40]:
        best = table.most_similar(word, topn=1)
        floor = best[0][1]
        assert table.most_similar(word, min_similarity=floor) == best
        assert table.most_similar(word, min_similarity=np.nextafter(floor, 2)) == []
        assert table.most_similar_batch([word] * 9, min_similarity=floor) == [best] * 9
        assert table.most_similar_batch([word] * 2, min_similarity=np.nextafter(floor, 2)) == [[]] * 2
        kept = np.flatnonzero(table.most_similar(word, topn=None, min_similarity=floor, exclude=word) > -np.inf)
        assert [table.index_to_key[row] for row in kept] == [best[0][0]]
        best = table.most_similar(word, topn=1, among=among)
        assert table.most_similar(word, among=among, min_similarity=best[0][1]) == best
        assert table.most_similar_batch([word] * 9, among=among, min_similarity=best[0][1]) == [best] * 9
        best = table.most_similar_cosmul([word, "w1"], "w2", topn=1)
        floor = best[0][1]
        assert table.most_similar_cosmul([word, "w1"], "w2", min_similarity=floor) == best
        asked = [word, "w1", "w2"]
        every = table.most_similar_cosmul([word, "w1"], "w2", topn=None, min_similarity=floor, exclude=asked)
        assert np.flatnonzero(every > -np.inf).tolist() == [table.key_to_index[best[0][0]]]


@pytest.mark.parametrize("option", [{"among": ["w1"]}, {"exclude": ["w1"]}, {"exclude": "w1"}, {"min_similarity": 0.5}])
def test_what_an_indexer_can_not_do_is_refused(wv, option):
    class Indexer:
        def most_similar(self, vector, topn):
            return [("w7", 1.0)][:topn]

    assert wv.most_similar("w0", indexer=Indexer()) == [("w7", 1.0)]
    with pytest.raises(ArgumentError, match="indexer"):
        wv.most_similar("w0", indexer=Indexer(), **option)
