"""FastText: vectors of n-grams, unknown words, and models on disk."""

import gzip
import pickle

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, ArgumentTypeError, FormatError
from foreword.vectors.store.subwords import subword_rows
from foreword.vectors.training.fasttext import FastText
from foreword.vectors.training.word2vec import Word2Vec
from vectors.formats import fasttext

from .test_word2vec import SENTENCES, gensim_data, same

SMALL = {"vector_size": 10, "min_count": 1, "bucket": 500, "seed": 2}
WORDS = [["walking", "walked", "walks"], ["talking", "talked", "talks"], ["</s>", "x"]] * 40


@pytest.fixture(scope="module")
def model():
    return FastText(WORDS, **SMALL, epochs=5, sample=0)


def test_a_vector_is_the_mean_of_its_own_row_and_its_ngrams(model):
    for word, row in model.wv.key_to_index.items():
        rows = [] if word == "</s>" else subword_rows(word.encode(), minn=3, maxn=6, bucket=500)
        parts = np.concatenate([model.vectors_vocab[row][None], model.vectors_ngrams[rows]])
        assert np.allclose(model.wv[word], parts.mean(axis=0), atol=1e-6)


def test_unknown_words_have_the_mean_of_their_ngrams(model):
    rows = subword_rows(b"walker", minn=3, maxn=6, bucket=500)
    assert np.allclose(model.wv["walker"], model.vectors_ngrams[rows].mean(axis=0), atol=1e-6)
    assert "walker" not in model.wv.key_to_index


def test_the_bits_do_not_depend_on_workers(model):
    again = FastText(WORDS, **SMALL, epochs=5, sample=0, workers=1)
    assert same(again, model)
    assert np.array_equal(again.vectors_ngrams, model.vectors_ngrams)


def test_without_ngrams_it_is_word2vec_but_for_first_vectors():
    model = FastText(WORDS, **SMALL, min_n=4, max_n=3)
    assert model.bucket == 0
    assert model.wv.oov == "error"
    assert np.array_equal(model.wv.vectors, model.vectors_vocab)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="n-grams of words"):
        FastText(word_ngrams=2)
    with pytest.raises(ArgumentTypeError, match="no text"):
        FastText([[1, 2]], **SMALL)
    with pytest.raises(ArgumentError, match="min_n"):
        FastText(min_n=0)
    with pytest.raises(TypeError, match="compute_loss"):  # as gensim's
        FastText(compute_loss=True)


def test_a_vocabulary_that_grows_keeps_rows_of_words_and_ngrams(model, tmp_path):
    model.save(tmp_path / "model")
    grown = FastText.load(tmp_path / "model")
    grown.build_vocab([["walker", "walks"]], update=True)
    assert grown.wv.index_to_key[-1] == "walker"
    assert np.array_equal(grown.vectors_vocab[:-1], model.vectors_vocab)
    assert np.array_equal(grown.vectors_ngrams, model.vectors_ngrams)
    before = grown.wv["walking"].copy()
    grown.train([["walker", "walks"]] * 50, total_examples=50, epochs=2)
    assert not np.array_equal(grown.wv["walking"], before)  # it shares n-grams


@pytest.mark.parametrize("options", [{}, {"min_n": 2, "max_n": 4, "sg": 1}, {"min_n": 5, "max_n": 3}])
def test_a_model_comes_back_and_goes_on(tmp_path, options):
    model = FastText(WORDS, **SMALL, epochs=2, **options)
    model.save(tmp_path / "model")
    again = FastText.load(tmp_path / "model")
    with pytest.raises(ArgumentError, match="no Word2Vec"):
        Word2Vec.load(tmp_path / "model")
    assert same(again, model)
    assert np.array_equal(again.vectors_ngrams, model.vectors_ngrams)
    for each in (model, again):
        each.train(WORDS, total_examples=120, epochs=2)
    assert same(again, model)
    loaded = fw.load(tmp_path / "model" / "vectors")
    if not options.get("min_n", 3) > options.get("max_n", 6):
        assert np.array_equal(loaded["walker"], FastText.load(tmp_path / "model").wv["walker"])


@pytest.mark.parametrize("cls", [Word2Vec, FastText])
def test_a_model_survives_pickle_and_goes_on(cls):
    options = {name: value for name, value in SMALL.items() if name != "bucket" or cls is FastText}
    model = cls(WORDS, **options, epochs=1)
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        each.build_vocab([["brand", "new"]], update=True)
        each.train(WORDS, total_examples=120, epochs=2)
    assert same(again, model)


@pytest.mark.parametrize("file", ["own.npy", "vectors/subwords.npy", "vectors/vectors.npy", "vectors/manifest.json"])
def test_damaged_parts_are_refused(tmp_path, model, file):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / file
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FormatError):
        FastText.load(tmp_path / "model")


@pytest.mark.parametrize("sep_limit", [10**9, 1])
def test_gensims_own_model_goes_on_here(tmp_path, sep_limit):
    gensim = pytest.importorskip("gensim.models")
    theirs = gensim.FastText(WORDS[:-1], **SMALL, epochs=2)
    theirs.save(str(tmp_path / "model"), sep_limit=sep_limit)
    ours = FastText.load(tmp_path / "model")
    assert (ours.bucket, ours.min_n, ours.max_n) == (500, 3, 6)
    assert np.array_equal(ours.vectors_vocab, theirs.wv.vectors_vocab)
    assert np.array_equal(ours.vectors_ngrams, theirs.wv.vectors_ngrams)
    assert np.array_equal(ours.syn1neg, theirs.syn1neg)
    assert np.allclose(ours.wv["walker"], theirs.wv["walker"], atol=1e-6)
    assert np.allclose(ours.wv["walking"], theirs.wv["walking"], atol=1e-6)
    ours.train(WORDS, total_examples=120, epochs=1)
    with pytest.raises(ArgumentError, match="no FastText"):
        gensim.Word2Vec(SENTENCES, vector_size=3).save(str(tmp_path / "words"))
        FastText.load(tmp_path / "words")


def test_a_model_of_ngrams_in_use_alone_gets_rows_for_the_others():
    model = FastText.load(gensim_data("compatible-hash-true.model"))
    known = fw.load(gensim_data("compatible-hash-true.model"))
    assert np.allclose(model.wv.vectors, known.vectors, atol=1e-6)
    assert model.vectors_ngrams.any(axis=1).all()


# fastText's own files.


def facebooks(**options):
    """A file of fastText's, and its three tables."""
    rng = np.random.default_rng(5)
    words = [b"</s>", b"walking", b"walks", "größer".encode()]
    tables = [rng.standard_normal((n, 8)).astype(np.float32) for n in (4, 40, 4)]
    given = {"minn": 2, "maxn": 4, "bucket": 40, "output": tables[2]} | options
    matrix = np.concatenate(tables[: 1 + (given["bucket"] > 0)])
    return fasttext(words, [9, 7, 5, 3], matrix, **given), *tables


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("options", [{}, {"old": True}, {"model": 1, "minn": 0}, {"bucket": 0, "maxn": 0}])
def test_fasttexts_own_file_goes_on_here(tmp_path, options, packed):
    data, own, grams, output = facebooks(**options)
    path = tmp_path / f"m.bin{'.gz' * packed}"
    path.write_bytes(gzip.compress(data) if packed else data)
    model = FastText.load(path)
    assert model.wv.index_to_key == ["</s>", "walking", "walks", "größer"]
    assert model.wv.expandos["count"].tolist() == [9, 7, 5, 3]
    assert np.array_equal(model.vectors_vocab, own)
    assert np.array_equal(model.vectors_ngrams, grams[: options.get("bucket", 40)])
    assert np.array_equal(model.syn1neg, output)
    assert (model.sg, model.min_count, model.corpus_total_words) == (options.get("model", 2) - 1, 1, 24)
    assert np.allclose(model.wv.vectors, fw.load(path).vectors, atol=1e-6)
    model.build_vocab([["walker"]], update=True)
    model.train([["walker", "walks"]] * 9, total_examples=9, epochs=1)
    model.save(tmp_path / "model")
    assert same(FastText.load(tmp_path / "model"), model)


@pytest.mark.parametrize("options", [{"loss": 1}, {"loss": 3}, {"model": 3, "loss": 3}, {"output": np.zeros((5, 8))}])
def test_files_of_fasttexts_that_cannot_be_trained_on(tmp_path, options):
    (tmp_path / "m.bin").write_bytes(facebooks(**options)[0])
    with pytest.raises((ArgumentError, FormatError), match=r"can't be trained on|output matrix 5 × 8"):
        FastText.load(tmp_path / "m.bin")
    with pytest.raises(ArgumentError, match="no Word2Vec"):
        (tmp_path / "m.bin").write_bytes(facebooks()[0])
        Word2Vec.load(tmp_path / "m.bin")


def test_a_file_of_fasttexts_that_is_cut_short(tmp_path):
    data = facebooks()[0]
    for size in range(0, len(data), 7):
        (tmp_path / "m.bin").write_bytes(data[:size])
        with pytest.raises(FormatError):
            FastText.load(tmp_path / "m.bin")
    quantised = len(data) - 4 * 4 * 8 - 17
    (tmp_path / "m.bin").write_bytes(data[:quantised] + b"\1" + data[quantised + 1 :])
    with pytest.raises(FormatError, match="quantised output"):
        FastText.load(tmp_path / "m.bin")


@pytest.mark.parametrize("name", ["lee_fasttext.bin", "lee_fasttext_new.bin", "cp852_fasttext.bin"])
def test_fasttexts_files_are_read_as_by_gensim(name):
    theirs = pytest.importorskip("gensim.models.fasttext").load_facebook_model(str(gensim_data(name)))
    ours = FastText.load(gensim_data(name))
    assert ours.wv.index_to_key == theirs.wv.index_to_key
    assert np.array_equal(ours.vectors_vocab, theirs.wv.vectors_vocab)
    assert np.array_equal(ours.vectors_ngrams, theirs.wv.vectors_ngrams)
    assert np.array_equal(ours.syn1neg, theirs.syn1neg)
    for label in ("window", "epochs", "min_count", "negative", "sample", "sg", "corpus_total_words", "alpha"):
        assert getattr(ours, label) == getattr(theirs, label), label
