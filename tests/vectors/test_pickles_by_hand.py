"""Pickles written opcode by opcode, with what no model of gensim's test data has: read as data, nothing is run."""

import pickle
import struct

import numpy as np
import pytest

import foreword as fw
from foreword.errors import FormatError
from foreword.vectors.formats.pickles import is_pickle
from vectors.formats import native


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))


def pickled(*attributes, name="gensim.models.word2vec\nWord2Vec\n", protocol=b"\x80\x02"):
    """A model with the vectors of two words, and more attributes, each the opcodes of its value."""
    rows = pickle.dumps(np.eye(2, dtype=np.float32), protocol=2)[2:-1]
    # The memo of that piece is its own: what follows must not refer to it.
    body = b"X\x0c\0\0\0index_to_key](X\x01\0\0\0aX\x01\0\0\0beX\x07\0\0\0vectors" + rows
    for i, value in enumerate(attributes):
        key = f"more{i}".encode()
        body += b"X" + struct.pack("<I", len(key)) + key + value
    return protocol + b"c" + name.encode() + b")\x81}(" + body + b"ub."


@pytest.mark.parametrize(
    "value",
    [
        b"cnumpy.random\n__RandomState_ctor\n)R(K\x01K\x02tb",
        b"c__builtin__\nlong\n",
        b"c__builtin__\nhash\n",
        b"cmy.own.module\nhash_words\n",
        b"c__main__\nMyCallback\n)\x81}X\x01\0\0\0nK\x05sb",
        b"c__main__\nmake\nK\x01K\x02\x86R}K\x01K\x02sb",
        b"ccollections\ndefaultdict\nc__builtin__\nint\n\x85R(K\x01K\x02\x86K\x07K\x03K\x04\x86K\x05u",
        b"ccollections\ndeque\n)R(K\x01K\x02eK\x03a",
        b"(K\x01imy.old\nKlass\n}b",
        b"(cmy.old\nKlass\nK\x01o}b",
        b"c__builtin__\ngetattr\nc__main__\nMyCallback\n)\x81X\x02\0\0\0on\x86R",
        b"c__builtin__\ngetattr\nc__main__\nOuter\nX\x05\0\0\0Inner\x86R)\x81",
        b"cfunctools\npartial\nc__main__\nf\n\x85R(c__main__\nf\n)}Ntb",
        b"ccloudpickle.cloudpickle\n_make_function\n(NNtR",
        b"cmy\nKlass\n)}\x92",
        b"cmy\nKlass\n)R",
        b"]q\x01h\x01a",
        b"(lp5\nI1\naI01\na",
        b"cos\nsystem\n",  # named, not called
    ],
)
def test_what_vectors_do_not_need_is_left_alone(tmp_path, value):
    (tmp_path / "m").write_bytes(pickled(value))
    assert list(fw.load(tmp_path / "m").index_to_key) == ["a", "b"]
    (tmp_path / "n").write_bytes(pickled(value, name="my.own\nSubclass\n"))
    assert np.array_equal(fw.load(tmp_path / "n").vectors, np.eye(2))


@pytest.mark.parametrize(
    "value",
    [
        b"cos\nsystem\nX\x02\0\0\0ls\x85R",
        b"cposix\nsystem\nX\x02\0\0\0ls\x85R",
        b"c__builtin__\neval\nX\x01\0\0\0x\x85R",
        b"csubprocess\nPopen\n)\x81",
        b"(X\x02\0\0\0lsios\nsystem\n",
        b"(cos\nsystem\nX\x02\0\0\0lso",
        b"c__builtin__\ngetattr\nX\x01\0\0\0aX\x05\0\0\0upper\x86R",
        b"cimportlib\nimport_module\nX\x02\0\0\0os\x85R",
    ],
)
def test_what_is_there_to_run_is_refused(tmp_path, value):
    (tmp_path / "m").write_bytes(pickled(value))
    with pytest.raises(FormatError, match=r"(?s)could run code.*got:"):
        fw.load(tmp_path / "m")


def test_pickles_are_known_by_their_first_bytes():
    assert all(is_pickle(native({"a": 1}, protocol=p)) for p in range(6))
    assert not is_pickle(b"copy_reg 1 2\n")
    assert not is_pickle(b"\x80\x01")
