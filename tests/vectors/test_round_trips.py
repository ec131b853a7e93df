"""Every small table, exported to every format and packed in every way, comes back equal, or is refused."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreword import KeyedVectors
from foreword.errors import ArgumentError
from foreword.vectors.formats.text import parse_line

FORMATS = ("word2vec-binary", "word2vec-text", "glove", "safetensors", "npy")

TEXTLIKE = st.sampled_from(
    [b"1.5\n", b" 1 2", b"0.1 ", b"\n\n\n\n", b"a 1\n", b"    ", b"-1e5", b"\n1 1", b"12\n1"]
).map(lambda data: struct.unpack("<f", data)[0])
FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(-3, 12).map(float),
    st.sampled_from([0.1, -0.0, 123.0, 1e-45, 3.4028235e38, 0.5]).map(lambda x: float(np.float32(x))),
    TEXTLIKE,
    st.binary(min_size=4, max_size=4).map(lambda data: struct.unpack("<f", data)[0]).filter(np.isfinite),
)
KEYS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=6),
    st.text("ab 0.1\t\n\r-e\u00a0\ufeff", max_size=6),
    st.sampled_from(
        ["the .1", "windows 10", "to infinity", "1 1", "2 2", "7", "king", "[]", '["a"]', "PAR1", "\ufeffa"]
    ),
    st.sampled_from(["BZh91AY&SY", "PK\x03\x04", "\x1f\x8b\x08", "\x93NUMPY", "\x80\x04", "\x05\0\0\0\0\0\0\0{"]),
)


@st.composite
def tables(draw):
    dim = draw(st.integers(1, 4))
    keys = draw(st.lists(KEYS, min_size=1, max_size=5, unique=True))
    rows = draw(st.lists(st.lists(FLOATS, min_size=dim, max_size=dim), min_size=len(keys), max_size=len(keys)))
    return keys, np.array(rows, dtype=np.float32)


def holds(format_, key, dim):
    """Whether any file of the format can hold a key, said without the writers' code."""
    if format_ == "safetensors":
        return True
    try:
        word = key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    if format_ == "npy":
        return b"\n" not in word and not word.endswith(b"\r")
    if format_ == "word2vec-binary":
        return b" " not in word and not word.startswith(b"\n")
    return b"\n" not in word and not (word.startswith(b" ") or word.endswith(b" "))


def plain(key):
    """Whether no format has a reason to refuse a key."""
    return key.isalpha() and key.isascii()


@settings(deadline=None, max_examples=250)
@given(tables(), st.sampled_from(FORMATS), st.sampled_from(["", ".gz", ".bz2", ".xz", ".zst"]))
@example((["a"], np.array([struct.unpack("<f", b"123\n")], np.float32)), "word2vec-binary", "")
@example((["king"], np.array([[0.1, 0.2]], np.float32)), "word2vec-binary", "")
@example((["a"], np.array([[123]], np.float32)), "word2vec-text", "")
@example((["5"], np.array([[2]], np.float32)), "glove", "")
@example((["a 0", "b"], np.array([[0, 1], [1, 0]], np.float32)), "word2vec-text", "")
@example((["\t", "a\tb", "c\t"], np.eye(3, dtype=np.float32)), "word2vec-text", "")
@example((["BZh91AY&SY"], np.eye(1, dtype=np.float32)), "npy", "")
@example((["PK\x03\x04"], np.eye(1, dtype=np.float32)), "glove", ".gz")
@example((['["a"]'], np.eye(1, dtype=np.float32)), "npy", "")
def test_a_table_comes_back_equal(tmp_path_factory, table, format_, suffix):
    keys, rows = table
    wv = KeyedVectors(rows.shape[1])
    wv.add_vectors(keys, rows)
    path = tmp_path_factory.mktemp("t") / f"v{suffix}"
    try:
        wv.export(path, format=format_)
    except ArgumentError:
        assert not path.exists()
        assert not all(map(plain, keys))
        return
    assert all(holds(format_, key, rows.shape[1]) for key in keys)
    again = KeyedVectors.load(path)
    assert list(again.index_to_key) == keys
    assert np.asarray(again.vectors).tobytes() == rows.tobytes()
    if format_.startswith("word2vec"):
        again = KeyedVectors.load_word2vec_format(path, binary=format_.endswith("binary"))
        assert list(again.index_to_key) == keys
        assert np.asarray(again.vectors).tobytes() == rows.tobytes()


def test_every_tiny_table_of_plain_words(tmp_path):
    """All of them are written and come back: no format has a reason to refuse one."""
    numbers = [0.0, -0.0, 1.0, 12.0, 123.0, 0.1, *(struct.unpack("<f", b)[0] for b in (b"123\n", b"0.1 ", b"a 1\n"))]
    for count, dim in itertools.product((1, 2), (1, 2)):
        for i, values in enumerate(itertools.product(numbers, repeat=dim)):
            keys = ["king", "7"][:count] if i % 2 else ["7", "king"][:count]
            rows = np.array([values, values[::-1]][:count], dtype=np.float32)
            wv = KeyedVectors(dim)
            wv.add_vectors(keys, rows)
            for format_ in FORMATS:
                path = tmp_path / f"{count}{dim}{i}{format_}"
                wv.export(path, format=format_)
                again = KeyedVectors.load(path)
                assert list(again.index_to_key) == keys
                assert np.asarray(again.vectors).tobytes() == rows.tobytes()


def test_an_empty_table(tmp_path):
    wv = KeyedVectors(3)
    for format_ in FORMATS:
        path = tmp_path / f"v-{format_}"
        if format_ == "glove":
            with pytest.raises(ArgumentError, match="could not be told"):
                wv.export(path, format=format_)
            continue
        wv.export(path, format=format_)
        again = KeyedVectors.load(path)
        assert len(again) == 0
        assert again.vector_size == 3


def test_a_word_that_ends_with_a_number_is_no_column():
    assert parse_line(b"windows 10 0.5 -2", 2) == (b"windows 10", [0.5, -2.0])
    assert parse_line(b"to infinity 1 2", 2) == (b"to infinity", [1.0, 2.0])
    assert parse_line(b"version 1.5\t0.5\t2", 2) == (b"version 1.5", [0.5, 2.0])
    for line in (b"the .1 .2 .3", b"the 1 2 3", b"the 1e5 .2 .3", b"in -2 .2 .3", b"the\t1\t2\t3"):
        with pytest.raises(ValueError, match="3 numbers"):
            parse_line(line, 2)


@pytest.mark.parametrize("binary", [False, True])
def test_a_table_whose_head_is_more_than_is_looked_at(tmp_path, binary):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(9000, 3)).astype(np.float32)
    wv = KeyedVectors(3)
    wv.add_vectors([f"w{i}" for i in range(9000)], rows)
    wv.export(tmp_path / "v", format="word2vec-binary" if binary else "word2vec-text")
    assert np.asarray(KeyedVectors.load(tmp_path / "v").vectors).tobytes() == rows.tobytes()


def test_numbers_that_a_format_has_no_room_for_are_refused(tmp_path):
    wv = KeyedVectors(2, dtype=np.float64)
    wv.add_vectors(["a"], [[1e300, 1]])
    with pytest.raises(ArgumentError, match="float32 only"):
        wv.export(tmp_path / "v.bin")
    wv.vectors = np.ones((1, 2), dtype=np.longdouble)
    for name in ("v.bin", "v.txt", "v.npy"):
        with pytest.raises(ArgumentError, match="dtype"):
            wv.export(tmp_path / name)
    wv.vectors = np.array([[0.5, 3]], dtype=">f4")
    wv.export(tmp_path / "v.txt")
    assert KeyedVectors.load(tmp_path / "v.txt").vectors.tolist() == [[0.5, 3]]
