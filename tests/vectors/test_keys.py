"""The key table: against a dict, for any keys, with collisions."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreword.vectors.store import keys as module
from foreword.vectors.store.keys import IndexToKey, KeyToIndex, MappedKeys, decode, encode, hash_key, hash_keys

ANY_KEY = st.text(st.characters(exclude_categories=()), max_size=12) | st.text(max_size=200) | st.integers()


def mapped(words):
    data = [encode(word) for word in words]
    blob = np.frombuffer(b"".join(data), dtype=np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in data], dtype=np.int64)]).astype(np.int64)
    hashes = hash_keys(blob, offsets)
    order = np.argsort(hashes, kind="stable")
    return MappedKeys(blob, offsets, hashes[order], order.astype(np.uint32))


@given(st.lists(ANY_KEY, unique=True, max_size=60), st.lists(ANY_KEY, max_size=10))
def test_a_table_is_a_dict_and_a_list(words, others):
    table = mapped(words)
    rows = {word: row for row, word in enumerate(words)}
    assert list(table) == words
    assert [table[row] for row in range(len(table))] == words
    asked = words + others + [str(word) for word in words]
    assert table.find_many(asked).tolist() == [rows.get(word, -1) for word in asked]
    assert dict(KeyToIndex(table)) == rows
    assert KeyToIndex(table) == rows
    assert IndexToKey(table) == words
    assert IndexToKey(table)[1:4] == words[1:4]
    for back in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        assert list(back) == words
        assert back.find_many(asked).tolist() == table.find_many(asked).tolist()


@given(st.lists(st.binary(max_size=150), max_size=40))
def test_all_hashes_are_the_hash_of_each(data):
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in data])]).astype(np.int64)
    made = hash_keys(np.frombuffer(b"".join(data), dtype=np.uint8), offsets)
    assert made.tolist() == [hash_key(d) for d in data]


def test_equal_hashes_are_told_apart_by_the_key(monkeypatch):
    monkeypatch.setattr(module, "PRIME", 7)
    words = [f"w{i}" for i in range(200)]
    table = mapped(words)
    assert len(set(table._hashes)) <= 7
    assert [table.find(word) for word in words] == list(range(200))
    assert table.find("w200") == -1


@given(st.text(st.characters(exclude_categories=())) | st.integers())
def test_keys_are_kept_whole(word):
    kept = decode(encode(word))
    assert (kept, type(kept)) == (word, type(word))


def test_an_integer_is_no_word_and_no_truth_value_a_key():
    table = mapped(["1", 1, "x"])
    assert [table.find(key) for key in ("1", 1, np.int64(1), np.uint8(1))] == [0, 1, 1, 1]
    assert [table.find(key) for key in (True, np.True_, 1.0, b"1", None, 0)] == [-1] * 6


def test_the_views_behave_like_what_they_stand_for():
    table = mapped(["the", "of", "and"])
    to_key, to_index = IndexToKey(table), KeyToIndex(table)
    assert to_key[-1] == "and"
    assert to_key[::-1] == ["and", "of", "the"]
    assert to_key.index("of") == 1
    assert "of" in to_key
    assert to_key != ["the", "of"]
    assert to_key != "the"
    assert to_index["of"] == 1
    assert to_index.get("it") is None
    assert 3 not in to_index
    for bad in (lambda: to_index["it"], lambda: to_key[3], lambda: to_key[-4], lambda: to_key.index("it")):
        with pytest.raises((KeyError, IndexError, ValueError)):
            bad()
    with pytest.raises(ValueError, match="not among"):
        to_key.index("the", 1)
    assert to_key.copy() + ["it"] == to_key + ["it"] == ["the", "of", "and", "it"]  # noqa: RUF005
    assert ["it"] + to_key == ["it", "the", "of", "and"]  # noqa: RUF005
    assert to_index.copy() == to_index | {} == {} | to_index == {"the": 0, "of": 1, "and": 2}
    assert (to_index | {"of": 9})["of"] == 9
    assert ({"of": 9} | to_index)["of"] == 1
    assert repr(to_key) == "['the', 'of', 'and']"
    assert "3 keys" in repr(to_index)
    assert table.find(7) == -1
