"""``load`` by name and by path, the catalogue, the downloader that replaces gensim's."""

import numpy as np
import pytest
from vectors_formats import text, word2vec_binary

import foreword
import foreword.downloader as api
from foreword.errors import ArgumentError, FileError, MissingFileError, StoreError, UnknownNameError
from foreword.vectors import load
from foreword.vectors.formats import Options
from foreword.vectors.sources.convert import cached_store

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
    assert api.load(NAME, return_path=True).endswith("glove_6B_50d_emb.npy")
    assert api.info(NAME)["parameters"] == {"dimension": 50}
    assert set(api.info()["models"]) == set(api.info(name_only=True)["models"]) >= {NAME, "word2vec-google-news-300"}
    with pytest.raises(UnknownNameError):
        api.info("glove")


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
