"""Keys that are integers: keyed by key, kept as integers, never taken for rows; and what is no key."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError, UnknownKeyError
from vectors.formats import native

EYE = np.eye(3, dtype=np.float32)


def swapped():
    table = fw.KeyedVectors(3)
    table.add_vectors([2, 0, 1], EYE)
    return table


@pytest.fixture(params=["memory", "saved", "gensim's", "saved again"])
def table(request, tmp_path):
    """Keys 2, 0, 1 with the rows of the unit matrix."""
    if request.param == "gensim's":
        (tmp_path / "v.kv").write_bytes(native({"index_to_key": [2, 0, 1], "vectors": EYE}))
        return fw.load(tmp_path / "v.kv")
    made = swapped()
    if request.param == "memory":
        return made
    made.save(tmp_path / "saved")
    if request.param == "saved again":
        fw.load(tmp_path / "saved").save(tmp_path / "again")
        return fw.KeyedVectors.load(tmp_path / "again")
    return fw.KeyedVectors.load(tmp_path / "saved")


def test_an_integer_is_a_key(table):
    for row, key in enumerate([2, 0, 1]):
        for asked in (key, np.int64(key), np.uint8(key)):
            assert np.array_equal(table[asked], EYE[row])
            assert table.get_index(asked) == table.key_to_index[asked] == row
            assert asked in table
            assert asked in table.key_to_index
    assert list(table.index_to_key) == [2, 0, 1]
    assert all(type(key) is int for key in table.index_to_key)
    assert np.array_equal(table[[0, 2]], EYE[[1, 0]])
    assert np.array_equal(table[np.array([0, 2])], EYE[[1, 0]])
    assert table.most_similar(2, topn=2) == [(0, 0.0), (1, 0.0)]
    assert table.most_similar([(2, 1.0)], [0], topn=1)[0][0] == 1
    assert table.most_similar(2, among=[1], topn=2) == [(1, 0.0)]
    assert table.most_similar(2, exclude=[0], topn=2) == [(1, 0.0)]
    assert table.most_similar_batch([2, [0]], topn=1) == [[(0, 0.0)], [(2, 0.0)]]
    assert table.similarity(2, 2) == 1
    assert table.similarity(2, 0) == 0
    assert table.most_similar_to_given(2, [1, 2]) == 2
    assert table.vectors_for_all([1, 2]).index_to_key == [1, 2]
    assert table.closer_than(2, 0) == []


def test_an_integer_that_is_no_key_is_no_row(table):
    one = fw.KeyedVectors(3)
    one.add_vectors([7, 8, 9], EYE)
    for asked in (one, table.vectors_for_all([2, 1])):
        for number in (0, np.int64(0)):
            with pytest.raises(UnknownKeyError, match=r"one of [23] keys$"):
                asked[number]
            assert number not in asked
        with pytest.raises(UnknownKeyError):
            asked.most_similar(0)


def test_words_and_integers_in_one_table(tmp_path):
    mixed = fw.KeyedVectors(3)
    mixed.add_vectors([1, "1", "x"], EYE)
    mixed.save(tmp_path / "saved")
    for table in (mixed, fw.load(tmp_path / "saved")):
        assert list(table.index_to_key) == [1, "1", "x"]
        assert [table.get_index(key) for key in (1, "1", "x")] == [0, 1, 2]
        for absent in (0, 2, "0"):
            assert absent not in table
        with pytest.raises(ArgumentError, match="written alike"):
            table.export(tmp_path / "v.txt")
    assert fw.KeyedVectors.load(tmp_path / "saved")["1"].tolist() == [0, 1, 0]


def test_indexes_of_words_are_as_in_gensim(tmp_path):
    words = fw.KeyedVectors(3)
    words.add_vectors(["a", "b", "c"], EYE)
    words.save(tmp_path / "saved")
    for table in (words, fw.load(tmp_path / "saved")):
        assert np.array_equal(table[1], table["b"])
        assert table.most_similar(1, topn=1) == [("a", 0.0)]
        assert 3 not in table
    words.add_vectors([1], 5 * EYE[:1])  # now an integer is a key
    assert np.array_equal(words[1], 5 * EYE[0])
    assert 0 not in words


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers() | st.text(), unique_by=lambda key: (type(key), key), min_size=1, max_size=20))
def test_any_integers_are_kept(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("any")
    table = fw.KeyedVectors(2)
    table.add_vectors(keys, np.arange(2 * len(keys)).reshape(-1, 2))
    table.save(folder / "saved")
    again = fw.load(folder / "saved")
    assert [(type(key), key) for key in again.index_to_key] == [(type(key), key) for key in keys]
    assert [again.get_index(key) for key in keys] == list(range(len(keys)))


def test_integers_of_any_type_become_pythons(tmp_path):
    table = fw.KeyedVectors(3)
    table.add_vectors(np.array([2, 0], dtype=np.uint16), EYE[:2])
    with pytest.warns(UserWarning, match="copies the table"):
        table.add_vector(np.int8(1), EYE[2])
    table[np.int64(5)] = EYE[0]
    assert table.index_to_key == [2, 0, 1, 5]
    assert all(type(key) is int for key in table.index_to_key)
    table.export(tmp_path / "v.txt")
    assert list(fw.load(tmp_path / "v.txt").index_to_key) == ["2", "0", "1", "5"]


def test_another_process_sees_the_same(tmp_path):
    swapped().save(tmp_path / "saved")
    code = "import foreword, sys; print(foreword.load(sys.argv[1])[2].tolist())"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "saved"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.0, 0.0, 0.0]"


# What is no key.

NO_KEYS = [b"king", bytearray(b"ab"), memoryview(b"\0\1"), True, np.True_, 1.5, None]


@pytest.fixture(params=["memory", "saved"])
def words(request, tmp_path):
    table = fw.KeyedVectors(3)
    table.add_vectors(["king", "queen", "man"], EYE)
    table.save(tmp_path / "saved")
    return table if request.param == "memory" else fw.load(tmp_path / "saved")


@pytest.mark.parametrize("value", NO_KEYS, ids=repr)
def test_what_is_no_key_is_refused_everywhere(words, value):
    for ask in (
        lambda: words[value],
        lambda: words.get_vector(value),
        lambda: words.get_index(value),
        lambda: words.most_similar(value),
        lambda: words.most_similar(["king"], value) if value is not None else words[value],
        lambda: words.most_similar([value]),
        lambda: words.most_similar([(value, 1.0)]),
        lambda: words.most_similar_batch(value),
        lambda: words.most_similar_batch([value]),
        lambda: words.most_similar_cosmul(value),
        lambda: words.most_similar_cosmul([value]),
        lambda: words.similar_by_word(value),
        lambda: words.most_similar("king", among=value) if value is not None else words[value],
        lambda: words.most_similar("king", among=[value]),
        lambda: words.most_similar("king", exclude=value),
        lambda: words.similarity("king", value),
        lambda: words.distance(value, "king"),
        lambda: words.distances("king", value) if value is not None else words[value],
        lambda: words.distances("king", [value]),
        lambda: words.distances(value),
        lambda: words.n_similarity(["king"], value),
        lambda: words.doesnt_match(value),
        lambda: words.doesnt_match([value]),
        lambda: words.rank_by_centrality(value),
        lambda: words.most_similar_to_given("king", value),
        lambda: words.get_mean_vector(value),
        lambda: words.closer_than("king", value),
        lambda: words.set_vecattr(value, "count", 1),
        lambda: words.vectors_for_all(value),
        lambda: words.add_vectors([value], EYE[:1]),
        lambda: words.add_vector(value, EYE[0]),
    ):
        with pytest.raises((ArgumentError, UnknownKeyError)):
            ask()
    assert value not in words
    assert value not in list(words.key_to_index)
    assert len(words.vectors_for_all([value, "king", 1])) == 2
    assert np.array_equal(words.most_similar("king", exclude=[value]), words.most_similar("king"))
    assert np.array_equal(words.get_mean_vector(["king", value]), words.get_mean_vector(["king"]))
    assert list(words.index_to_key) == ["king", "queen", "man"]
