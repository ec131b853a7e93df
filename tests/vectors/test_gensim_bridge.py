"""``to_gensim`` and ``from_gensim``: gensim's own type over the same memory, with the same answers, both ways."""

import subprocess
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword import KeyedVectors
from foreword.errors import ArgumentError, ArgumentTypeError
from vectors.formats import fasttext

gensim = pytest.importorskip("gensim", reason="gensim isn't installed")
from gensim.models import FastText, Word2Vec  # noqa: E402
from gensim.models import KeyedVectors as Theirs  # noqa: E402
from gensim.models.fasttext import FastTextKeyedVectors, load_facebook_vectors  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

ROWS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
WORDS = [f"w{i}" for i in range(40)]


def in_memory(rows=ROWS, keys=WORDS):
    wv = KeyedVectors(rows.shape[1], dtype=rows.dtype)
    wv.add_vectors(
        keys, rows, extras={"count": np.arange(len(rows), 0, -1), "tag": np.array([*"ab"] * 20, dtype=object)}
    )
    return wv


@pytest.fixture(params=["memory", "store", "float16", "edited store"])
def table(request, tmp_path):
    wv = in_memory(ROWS.astype(np.float16) if request.param == "float16" else ROWS)
    if "store" in request.param:
        wv.save(tmp_path / "s")
        wv = KeyedVectors.load(tmp_path / "s")
    if request.param == "edited store":
        wv["w3"] = wv["w4"]
    return wv


def test_gensim_has_the_same_memory_keys_attributes_and_answers(table):
    theirs = table.to_gensim()
    assert type(theirs) is Theirs
    assert np.shares_memory(theirs.vectors, table._rows)
    assert theirs.vectors.dtype == table._rows.dtype
    assert type(theirs.index_to_key) is list
    assert type(theirs.key_to_index) is dict
    assert theirs.index_to_key == WORDS
    assert theirs.key_to_index == dict(zip(WORDS, range(40), strict=True))
    assert theirs.get_vecattr("w7", "count") == 33
    assert theirs.get_vecattr("w7", "tag") == "b"
    theirs.set_vecattr("w7", "count", 1)
    assert table.get_vecattr("w7", "count") == 33
    tolerance = 2e-3 if table._rows.dtype == np.float16 else 1e-6  # gensim computes in that
    for query in (["w1"], ["w1", "w2"]):
        ours, found = table.most_similar(query, topn=40), theirs.most_similar(query, topn=40)
        assert dict(ours) == pytest.approx(dict(found), abs=tolerance)
    theirs.add_vectors(["new"], [ROWS[0]])
    assert "new" not in table


def test_mapped_rows_stay_read_only_and_arrays_in_memory_are_shared(tmp_path):
    wv = in_memory()
    theirs = wv.to_gensim()
    theirs.vectors[0] = 7
    assert wv.vectors[0].tolist() == [7] * 6
    assert theirs.get_vector("w0", norm=True) == pytest.approx(np.full(6, 6**-0.5))
    wv.save(tmp_path / "s")
    mapped = KeyedVectors.load(tmp_path / "s").to_gensim()
    with pytest.raises(ValueError, match="read-only"):
        mapped.vectors[0] = 1
    assert mapped.norms.tobytes() == wv.norms.tobytes()


def test_what_checks_the_type_takes_it(monkeypatch):
    """gensim's own AnnoyIndexer, over a stand-in for annoy where that isn't installed."""

    class AnnoyIndex:
        def __init__(self, dim, metric):
            assert metric == "angular"
            self.rows = []

        def add_item(self, row, vector):
            self.rows.append(np.array(vector))

        def build(self, trees):
            self.rows = np.array(self.rows)

        def get_nns_by_vector(self, vector, count, include_distances):
            cosines = self.rows @ (vector / np.linalg.norm(vector))
            order = np.argsort(-cosines)[:count]
            return order.tolist(), np.sqrt(np.maximum(0, 2 - 2 * cosines[order])).tolist()

    try:
        import annoy
    except ImportError:
        annoy = types.ModuleType("annoy")
        annoy.AnnoyIndex = AnnoyIndex
        monkeypatch.setitem(sys.modules, "annoy", annoy)
    from gensim.similarities.annoy import AnnoyIndexer

    wv = in_memory()
    with pytest.raises(ValueError, match="Only a Word2Vec"):
        AnnoyIndexer(wv, 2)
    indexer = AnnoyIndexer(wv.to_gensim(), 40)
    found = wv.most_similar("w1", topn=3, indexer=indexer)
    assert found[0][0] == "w1"
    assert [word for word, _ in found[1:]] == [word for word, _ in wv.most_similar("w1", topn=2)]


def test_integer_keys_and_rows_without_a_key():
    wv = KeyedVectors(2, count=5)
    for key, row in ((7, [1, 0]), ("a", [0, 1]), (0, [1, 1])):
        wv.add_vector(key, row)
    theirs = wv.to_gensim()
    assert theirs.index_to_key == [7, "a", 0, None, None]
    assert theirs[7].tolist() == [1, 0]
    assert theirs[0].tolist() == [1, 1]
    assert theirs.add_vector("b", [5, 5]) == 3
    back = KeyedVectors.from_gensim(theirs)
    assert back.next_index == 4
    assert [back[key].tolist() for key in (7, "a", 0, "b")] == [[1, 0], [0, 1], [1, 1], [5, 5]]
    assert 1 not in back
    theirs.key_to_index, theirs.index_to_key = {}, [np.int64(3), "a", None, None, None]
    assert KeyedVectors.from_gensim(theirs)[3].tolist() == [1, 0]
    assert type(KeyedVectors.from_gensim(theirs).index_to_key[0]) is int


WORD = st.text("abé", min_size=1, max_size=5)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(WORD, min_size=1, max_size=6, unique=True),
    st.integers(0, 3),
    st.integers(0, 4),
    st.integers(1, 9),
    st.data(),
)
def test_fasttext_both_ways(tmp_path_factory, words, minn, more, bucket, data):
    folder = tmp_path_factory.mktemp("f")
    matrix = np.random.default_rng(len(words)).normal(size=(len(words) + 1 + bucket, 3)).astype(np.float32)
    blob = fasttext(
        [b"</s>", *(w.encode() for w in words)],
        [9] * (len(words) + 1),
        matrix,
        minn=minn,
        maxn=minn + more,
        bucket=bucket,
    )
    (folder / "m.bin").write_bytes(blob)
    ours = fw.load(folder / "m.bin")
    theirs = ours.to_gensim()
    if ours.oov != "subwords":
        assert type(theirs) is Theirs
        return
    assert type(theirs) is FastTextKeyedVectors
    assert np.shares_memory(theirs.vectors, ours._rows)
    assert np.shares_memory(theirs.vectors_ngrams, ours._subwords.vectors)
    theirs.save(str(folder / "saved"))  # without the vectors, which gensim makes anew of the words' own rows
    again = FastTextKeyedVectors.load(str(folder / "saved"))
    back = KeyedVectors.from_gensim(theirs)
    assert back.oov == "subwords"
    for word in [*words, "</s>", *data.draw(st.lists(WORD, max_size=4))]:
        for other in (theirs, again, back, fw.load(folder / "saved")):
            if word == "</s>" and isinstance(other, KeyedVectors) and other is not back:
                continue
            assert np.allclose(other.get_vector(word), ours.get_vector(word), atol=2e-6), word
    facebook = load_facebook_vectors(str(folder / "m.bin"))
    assert np.allclose(facebook.vectors_vocab[1:], theirs.vectors_vocab[1:], atol=1e-5)
    assert (facebook.min_n, facebook.max_n, facebook.bucket) == (theirs.min_n, theirs.max_n, theirs.bucket)


def test_without_its_policy_a_table_of_the_words_alone(tmp_path):
    (tmp_path / "m.bin").write_bytes(fasttext([b"ab"], [1], ROWS[:4], minn=2, maxn=3, bucket=3))
    wv = fw.load(tmp_path / "m.bin", oov="error")
    assert type(wv.to_gensim()) is Theirs
    wv.oov = "subwords"
    assert type(wv.to_gensim()) is FastTextKeyedVectors
    wv.add_vectors([5, "\ud800"], ROWS[:2])
    with pytest.raises(ArgumentError, match=r"not text(.|\n)*got: +5"):
        wv.to_gensim()


def test_trained_models_come_over(tmp_path):
    sentences = [["cute", "cat", "say", "meow"], ["cute", "dog", "say", "woof"]] * 3
    model = Word2Vec(sentences, vector_size=5, min_count=1, seed=1, workers=1)
    ours = KeyedVectors.from_gensim(model.wv)
    assert np.shares_memory(ours._rows, model.wv.vectors)
    assert ours.index_to_key == model.wv.index_to_key
    assert ours.get_vecattr("cat", "count") == 3
    assert dict(ours.most_similar("cat")) == pytest.approx(dict(model.wv.most_similar("cat")), abs=1e-6)
    for buckets in (0, 20):
        subword = FastText(sentences, vector_size=5, min_count=1, bucket=buckets, workers=1).wv
        ours = KeyedVectors.from_gensim(subword)
        assert ours.oov == ("subwords" if buckets else "error")
        for word in ["cat", *(["cats", "meows"] if buckets else [])]:
            assert np.allclose(ours[word], subword[word], atol=1e-6)
    ours.save(tmp_path / "s")
    assert np.allclose(fw.load(tmp_path / "s")["cats"], subword["cats"], atol=1e-6)
    model.wv.save(str(tmp_path / "kv"))
    mapped = Theirs.load(str(tmp_path / "kv"), mmap="r")
    mapped.vectors.setflags(write=False)
    ours = KeyedVectors.from_gensim(mapped)
    ours["cat"] = np.ones(5)
    assert mapped["cat"].tobytes() == model.wv["cat"].tobytes()


def test_what_is_no_table_of_gensims_is_refused():
    model = Word2Vec([["a", "b"]] * 3, vector_size=2, min_count=1, workers=1)
    with pytest.raises(ArgumentTypeError, match=r"fix: +give its vectors: model\.wv"):
        KeyedVectors.from_gensim(model)
    for other in (in_memory(), {"a": [1]}, None):
        with pytest.raises(ArgumentTypeError, match="not gensim's KeyedVectors"):
            KeyedVectors.from_gensim(other)
    from gensim.models.poincare import PoincareKeyedVectors

    with pytest.raises(ArgumentTypeError, match="Poincaré"):
        KeyedVectors.from_gensim(PoincareKeyedVectors(2, 1))

    def broken(**changes):
        theirs = Theirs(2)
        theirs.add_vectors(["a", "b"], np.eye(2))
        vars(theirs).update(changes)
        return theirs

    for changes, problem in [
        ({"vectors": np.array([[1, 0], [np.nan, 0]])}, "vector 1 of 2"),
        ({"vectors": np.eye(3)}, "don't fit the keys"),
        ({"vectors": np.eye(2, dtype=int)}, "don't fit the keys"),
        ({"index_to_key": ["a", "a"]}, "two rows have the same key"),
        ({"index_to_key": ["a", ("b",)]}, "not a key"),
    ]:
        with pytest.raises(ArgumentError, match=problem):
            KeyedVectors.from_gensim(broken(**changes))
    with pytest.raises(ArgumentError, match="n-grams"):
        KeyedVectors.from_gensim(FastTextKeyedVectors(2, 1, 2, 5))


def test_without_gensim_it_says_how_to_install_it():
    code = (
        "import sys\nsys.modules['gensim'] = None\nimport foreword as fw\nwv = fw.KeyedVectors(2)\nwv['a'] = [1, 0]\n"
        "try:\n    wv.to_gensim()\nexcept fw.errors.MissingPackageError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install gensim" in said
    code = "import sys, foreword as fw; fw.KeyedVectors(2)['a'] = [1, 0]; assert 'gensim' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
