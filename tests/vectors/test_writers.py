"""Writers: what is written is read back, the same keys and the same bits; and by the formats' owners."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword import KeyedVectors
from foreword.errors import ArgumentError, FileError
from foreword.vectors.formats.detect import kind_of
from foreword.vectors.formats.writers import write_npy, write_safetensors, write_word2vec
from foreword.vectors.store.keys import encode
from vectors.formats import read, store_of, text

KEYS = ["the", "naïve", ". . .", "", "2010"]
ROWS = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ANY_KEY = st.text(st.characters(exclude_categories=()), max_size=6)


def plain_ends(word):
    """Whether text can hold a word: no space around it, and no number in it that could be a column."""
    return not word.startswith(" ") and not re.search(r" $| [-+.\d]\S*$", word)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.booleans())
def test_word2vec_comes_back_the_same(tmp_path_factory, data, binary):
    forbidden = " \n" if binary else "\n"
    words = st.text(st.characters(codec="utf-8", exclude_characters=forbidden), max_size=6)
    keys = data.draw(st.lists(words.filter(plain_ends), min_size=1, max_size=6, unique=True))
    dim = data.draw(st.integers(1, 4))
    rows = np.array(
        data.draw(st.lists(st.lists(FLOATS, min_size=dim, max_size=dim), min_size=len(keys), max_size=len(keys)))
    )
    rows = rows.astype(np.float32)
    path = tmp_path_factory.mktemp("w") / "v"
    write_word2vec(path, keys, rows, binary=binary)
    got_keys, got = read(path, binary=binary)
    assert got_keys == [encode(key) for key in keys]
    assert got.tobytes() == rows.tobytes()


@settings(deadline=None, max_examples=60)
@given(st.lists(ANY_KEY, min_size=1, max_size=6, unique=True), st.sampled_from(["float16", "float32", "float64"]))
def test_safetensors_come_back_the_same_whatever_the_keys(tmp_path_factory, keys, dtype):
    rows = np.random.default_rng(len(keys)).normal(size=(len(keys), 3)).astype(dtype)
    path = tmp_path_factory.mktemp("w") / "v.safetensors"
    write_safetensors(path, keys, rows)
    got_keys, got = read(path)
    assert got_keys == [encode(key) for key in keys]
    assert got.tobytes() == rows.astype(np.float32).tobytes()


def test_safetensors_are_what_the_library_reads(tmp_path):
    from safetensors.numpy import load_file

    write_safetensors(tmp_path / "v", KEYS, ROWS)
    tensors = load_file(tmp_path / "v")
    assert tensors["vectors"].tobytes() == ROWS.tobytes()
    blob, offsets = tensors["keys"].tobytes(), tensors["key_offsets"].tolist()
    assert [blob[a:b].decode() for a, b in pairwise(offsets)] == KEYS


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy_comes_back_the_same(tmp_path, dtype):
    rows = ROWS.astype(dtype)
    write_npy(tmp_path / "v.npy", KEYS, rows)
    assert np.load(tmp_path / "v.npy").tobytes() == rows.tobytes()
    assert (tmp_path / "v.vocab").read_text(encoding="utf-8").split("\n") == [*KEYS, ""]
    assert read(tmp_path / "v.npy")[0] == [key.encode() for key in KEYS]


def test_text_is_the_shortest(tmp_path):
    write_word2vec(tmp_path / "v", ["a", "b"], np.array([[0.1, -2], [1e-7, 16777216]], np.float32))
    first, *lines = (tmp_path / "v").read_text().splitlines()
    assert first == "2 2"
    assert [re.split(" ", line) for line in lines] == [["a", "0.1", "-2"], ["b", "1e-7", "16777216"]]


def test_variants(tmp_path):
    path = tmp_path / "v"
    write_word2vec(path, KEYS[:2], ROWS[:2], header=False, prefix="*")
    assert read(path)[0] == [b"*the", "*naïve".encode()]
    write_word2vec(path, KEYS[:2], ROWS[:2], total=3)
    write_word2vec(path, KEYS[2:3], ROWS[2:3], header=False, append=True)
    assert read(path)[0] == [key.encode() for key in KEYS[:3]]
    write_word2vec(path, KEYS[:2], ROWS[:2].astype(np.float16))
    assert read(path)[1].astype(np.float16).tobytes() == ROWS[:2].astype(np.float16).tobytes()


def test_bytes_that_were_let_through_become_bytes_again(tmp_path):
    (tmp_path / "v").write_bytes(text([b"K\xf6ln"], ROWS[:1]))
    store = store_of(tmp_path / "v", tmp_path / "store", unicode_errors="surrogateescape")
    write_word2vec(tmp_path / "w", list(store.keys), store.vectors, binary=True)
    assert b"K\xf6ln " in (tmp_path / "w").read_bytes()


@pytest.mark.parametrize(
    ("key", "binary"),
    [("a b", True), ("\na", True), ("a\nb", False), ("a ", False), (" a", False), ("\ud800", True), ("\ud800", False)],
)
def test_keys_that_a_format_can_not_hold(tmp_path, key, binary):
    with pytest.raises(ArgumentError, match="key"):
        write_word2vec(tmp_path / "v", ["ok", key], ROWS[:2], binary=binary)
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_written(tmp_path):
    with pytest.raises(ArgumentError, match="can't hold this key"):
        write_npy(tmp_path / "v.npy", ["a\nb"], ROWS[:1])
    with pytest.raises(ArgumentError, match="dtype"):
        write_safetensors(tmp_path / "v", ["a"], np.ones((1, 2), int))
    with pytest.raises(FileError):
        write_word2vec(tmp_path / "none" / "v", ["a"], ROWS[:1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "chosen", "written"),
    [
        ("v.bin", None, "word2vec-binary"),
        ("v.vec", None, "word2vec-text"),
        ("v.txt", "glove", "glove"),
        ("v.safetensors", None, "safetensors"),
        ("v.npy", None, "npy"),
        ("v", "safetensors", "safetensors"),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_a_table_is_exported_and_loaded_again(tmp_path, monkeypatch, name, chosen, written, stored):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "cache"))
    table = KeyedVectors(4)
    table.add_vectors(["the", "naïve", "2010"], ROWS[:3])
    if stored:
        table.save(tmp_path / "store")
        table = KeyedVectors.load(tmp_path / "store")
    assert table.export(tmp_path / name, format=chosen) == written
    again = KeyedVectors.load(tmp_path / name)
    assert again.index_to_key == ["the", "naïve", "2010"]
    assert again.vectors.tobytes() == ROWS[:3].tobytes()
    kinds = {"word2vec-binary": "word2vec binary", "safetensors": "safetensors", "npy": ".npy"}
    assert kind_of((tmp_path / name).read_bytes()) == kinds.get(written, "text")
    with pytest.raises(ArgumentError, match="unknown format"):
        table.export(tmp_path / name, format="parquet")


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_gensim_reads_what_is_written_and_the_other_way_round(tmp_path, binary):
    gensim = pytest.importorskip("gensim.models")
    keys = ["the", "naïve", "2010"]
    write_word2vec(tmp_path / "v", keys, ROWS[:3], binary=binary)
    theirs = gensim.KeyedVectors.load_word2vec_format(tmp_path / "v", binary=binary)
    assert theirs.index_to_key == keys
    assert theirs.vectors.tobytes() == ROWS[:3].tobytes()
    theirs.save_word2vec_format(tmp_path / "w", binary=binary)
    assert read(tmp_path / "w")[1].tobytes() == ROWS[:3].tobytes()
