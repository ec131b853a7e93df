"""Models that old gensims wrote, as gensim's own test data has them: the same vectors as gensim, or as the arrays say.

The plain way beside it: the standard unpickler with a stand-in for every class, so that it runs nothing of the models'.
"""

import gzip
import logging
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import foreword as fw
from foreword.errors import FormatError

gensim = pytest.importorskip("gensim", reason="gensim isn't installed")
DATA = Path(gensim.__file__).parent / "test" / "test_data"


def some(pattern):
    """Names of the data's files."""
    return sorted(
        str(path.relative_to(DATA)) for path in DATA.glob(pattern) if path.suffix != ".npy" and path.stat().st_size
    )


WORDS = [
    *some("old_w2v_models/*"),
    *some("word2vec_*"),
    *("w2v-lee-v0.12.0", "model-from-gensim-3.8.0.w2v", "old_keyedvectors_320.dat"),
]
WORDS.remove("word2vec_pre_kv_c")  # a file of the C program, as text
SUBWORDS = [
    *some("fasttext_old*"),
    "lee_fasttext",
    "ft_model_2.3.0",
    "ft_kv_3.6.0.model.gz",
    "compatible-hash-true.model",
]
DOCUMENTS = [*some("old_d2v_models/*"), *some("doc2vec_old*"), *some("*_tag_doc_*"), "d2v-lee-v0.13.0"]
OTHERS = {
    "phrases-3.6.0.model": "Phrases",
    "phrases-no-common-terms.pkl": "Phrases",
    "phraser-3.6.0.model": "Phraser",
    "phraser-no-scoring.pkl": "Phraser",
    "lda_3_0_1_model": "LdaModel",
    "ldamodel_python_2_7": "LdaModel",
    "ldamodel_python_3_5.state": "LdaState",
    "lda_3_0_1_model.id2word": "Dictionary",
    "atmodel_3_0_1_model": "AuthorTopicModel",
    "tfidf_model.tst": "TfidfModel",
    "nmf_model": "Nmf",
    "ensemblelda": "EnsembleLda",
    "poincare_test_3.4.0": "PoincareModel",
    "testcorpus.mm.index": "a pickle of a list",
}


class Stub:
    """Stands for any class."""

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        if isinstance(state, dict):
            vars(self).update(state)

    def __setitem__(self, key, value):
        pass


class Plain(pickle.Unpickler):
    """The standard unpickler: numpy's arrays are made, everything else is a stand-in."""

    def find_class(self, module, name):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.zeros(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding)
        return type(name, (Stub,), {})


def plain(name):
    with (gzip.open if name.endswith(".gz") else open)(DATA / name, "rb") as file:
        return Plain(file, encoding="latin1").load()


def beside(name, holder, attribute):
    """An attribute, in the pickle or beside it."""
    file = DATA / f"{name}.{attribute}.npy"
    return np.load(file) if file.exists() else getattr(holder, attribute)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREWORD_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def theirs(name):
    """What gensim 4.4 makes of it, or None."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = gensim.utils.SaveLoad.load(str(DATA / name))
            return getattr(model, "wv", model)
    except (AttributeError, TypeError, ImportError):
        return None
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", [*WORDS, *SUBWORDS, *DOCUMENTS])
def test_words(name):
    wv = fw.load(DATA / name)
    model = plain(name)
    holder = getattr(model, "wv", model)
    rows = beside(name, holder, "syn0" if hasattr(holder, "syn0") or "_sep_" in name else "vectors")
    assert list(wv.index_to_key) == holder.index2word
    assert wv.vectors.tobytes() == rows.astype(np.float32).tobytes()
    assert [wv.get_vecattr(word, "count") for word in wv.index_to_key] == [
        holder.vocab[word].count for word in holder.index2word
    ]
    if (gensims := theirs(name)) is not None:
        assert list(wv.index_to_key) == gensims.index_to_key
        assert np.array_equal(wv.vectors, gensims.vectors)


def test_gensim_itself_loads_some_of_them():
    assert len([*WORDS, *SUBWORDS, *DOCUMENTS]) == 65
    assert sum(theirs(name) is not None for name in [*WORDS, *SUBWORDS]) >= 18


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(name):
    documents = fw.load(DATA / name, vectors="documents")
    held = plain(name).docvecs
    rows = held.vectors_docs if hasattr(held, "vectors_docs") else held.doctag_syn0
    tags = getattr(held, "offset2doctag", None) or getattr(held, "index2doctag", None) or list(range(held.count))
    assert list(documents.index_to_key) == tags
    assert documents.vectors.tobytes() == rows.tobytes()
    for row, tag in enumerate(tags):
        assert np.array_equal(documents[tag], rows[row])
    last = tags[-1]
    assert type(last) is (int if name not in ("large_tag_doc_10_iter50", "small_tag_doc_5_iter50") else str)
    found = documents.most_similar(last, topn=3)
    assert last not in dict(found)
    assert all(type(tag) is type(last) for tag, _ in found)


@pytest.mark.parametrize("name", SUBWORDS)
def test_unknown_words_have_the_mean_of_the_ngrams_that_the_model_has(name):
    wv, model = fw.load(DATA / name), plain(name)
    held = getattr(model, "wv", model)
    grams = next(getattr(held, n) for n in ("vectors_ngrams", "syn0_ngrams", "syn0_all") if hasattr(held, n))

    def row(gram):
        if hasattr(held, "ngrams"):
            return held.ngrams.get(gram)
        value = 2166136261
        for character in gram:
            value = (value ^ ord(character)) * 16777619 % 2**32
        return held.hash2index.get(value % held.bucket)

    def expected(word):
        text = f"<{word}>"
        runs = [text[i : i + n] for n in range(3, 7) for i in range(len(text) - n + 1)]
        found = [grams[at] for run in runs if (at := row(run)) is not None]
        return np.mean(found, axis=0) if found else None

    unknown = ["computing", "treesand", "surveying", "anarchistically", "systematically", "zqzqzq"]
    assert not any(word in wv for word in unknown)
    for word in unknown:
        mean = expected(word)
        if mean is None:
            with pytest.raises(KeyError):
                wv[word]
            with pytest.raises(KeyError):
                wv.most_similar(word)
            assert np.array_equal(wv.get_mean_vector([wv.index_to_key[0], word]), wv.get_mean_vector([0]))
        else:
            assert np.allclose(wv[word], mean, atol=1e-6)
    assert any(expected(word) is not None for word in unknown)
    # Known words are the means of their own row and their n-grams', which shows that the n-grams are found right.
    own = next((getattr(held, n) for n in ("vectors_vocab", "syn0_vocab") if hasattr(held, n)), None)
    if own is not None:
        for i, word in enumerate(wv.index_to_key):
            n = sum(max(0, len(word) + 2 - size + 1) for size in range(3, 7))
            assert np.allclose((own[i] + n * expected(word)) / (n + 1), wv[word], atol=1e-6)


@pytest.mark.parametrize("name", ["fasttext_old", "ft_kv_3.6.0.model.gz", "compatible-hash-true.model"])
def test_old_subwords_outlive_saving_and_pickling(name, tmp_path):
    wv = fw.load(DATA / name)
    wanted = np.array(wv["computing"])
    wv.save(tmp_path / "saved")
    again = fw.load(tmp_path / "saved")
    again_edited = fw.load(tmp_path / "saved")
    again_edited["fresh"] = np.ones(again.vector_size)
    for table in (again, pickle.loads(pickle.dumps(wv)), pickle.loads(pickle.dumps(again_edited))):
        assert np.array_equal(table["computing"], wanted)


@pytest.mark.parametrize(("name", "kind"), OTHERS.items())
def test_other_models_are_refused_by_name(name, kind):
    with pytest.raises(FormatError, match=kind):
        fw.load(DATA / name)


def test_words_and_documents_of_one_model_are_two_tables():
    name = DATA / "doc2vec_old"
    assert (len(fw.load(name)), len(fw.load(name, vectors="documents"))) == (3955, 300)
    assert (len(fw.load(name)), len(fw.load(name, vectors="words"))) == (3955, 3955)
    with pytest.raises(FormatError, match=r"(?s)no vectors of documents.*Word2Vec"):
        fw.load(DATA / "word2vec_old", vectors="documents")
    with pytest.raises(FormatError, match="no vectors of documents"):
        fw.load(DATA / "euclidean_vectors.bin", vectors="documents")
    with pytest.raises(fw.errors.ArgumentError, match="words"):
        fw.load(name, vectors="tags")
