"""What the tree 8489cc7 made: this one makes the same bytes, opens its stores, and takes up its killed run.

tests/data/made-by-8489cc7.zip holds two corpora, and what came of them there.
"""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import foreword as fw
from foreword.vectors.store.store import VectorStore

ARCHIVE = Path(__file__).parent / "data" / "made-by-8489cc7.zip"
WORDS = ["the", "of", "king", "naïve", "我"]
ROWS = np.arange(20, dtype=np.float32).reshape(5, 4) / 7 - 1


@pytest.fixture
def before(tmp_path, monkeypatch):
    """The folder of the archive's contents; the working folder is another."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path / "before")
    (tmp_path / "now").mkdir()
    monkeypatch.chdir(tmp_path / "now")
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "cache"))
    return tmp_path / "before"


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("corpus", "name", "options"),
    [
        ("corpus", "store", {}),
        ("corpus", "deduplicated", {"deduplicate": True, "split": {"val": 0.3}, "documents": "line"}),
        ("long", "whole", {"shard_tokens": 1000}),
    ],
)
def test_token_stores_have_the_same_bytes(before, corpus, name, options):
    fw.prepare(before / corpus, name, tokenizer="gpt2", **options)
    assert content(name) == content(before / name)


def test_token_stores_open(before):
    store = fw.TokenStore.open(before / "store")
    store.verify()
    assert (len(store), store.documents) == (176, 6)
    assert store.tokenizer.decode(store.document(1)).startswith("Document 0: 我第一次听见")


def test_a_run_that_was_killed_is_taken_up(before):
    journal = json.loads((before / "killed" / ".journal").read_text())
    assert journal["position"] == [0, 3]
    at = journal["reading"]["time"]
    os.utime(before / "long" / "0.txt", ns=(at, at))  # which the archive does not keep
    fw.prepare(before / "long", before / "killed", shard_tokens=1000)
    assert content(before / "killed") == content(before / "whole")


def test_vector_stores_have_the_same_bytes(before):
    fw.load(before / "v.txt").save("saved")
    made = fw.KeyedVectors(4)
    made.add_vectors(WORDS, ROWS)
    made.set_vecattr("the", "count", 7)
    made.set_vecattr("of", "label", "x")
    made.save("made")
    for name in ("saved", "made"):
        now, then = content(name), content(before / name)
        if name == "made":  # a zip file, which bears the hour
            with np.load(f"{name}/attributes.npz") as a, np.load(before / name / "attributes.npz") as b:
                assert {k: v.tobytes() for k, v in a.items()} == {k: v.tobytes() for k, v in b.items()}
            del now["attributes.npz"], then["attributes.npz"]
        assert now == then


def test_a_file_is_converted_to_the_same_store(before, tmp_path):
    """Less what its manifest says of the file's place and time."""
    fw.load(before / "v.txt")
    (store,) = (tmp_path / "cache" / "vectors").glob("v.txt-*")
    now, then = content(store), content(before / "cached")
    manifests = [json.loads(made.pop("manifest.json")) for made in (now, then)]
    for manifest in manifests:
        del manifest["source"]["state"], manifest["source"]["place"]
    assert manifests[0] == manifests[1]
    assert now == then


@pytest.mark.parametrize("name", ["saved", "made", "cached"])
def test_vector_stores_open(before, name):
    store = VectorStore.open(before / name)
    np.testing.assert_array_equal(store.vectors, ROWS)
    wv = fw.KeyedVectors.load(before / name)
    assert list(wv.index_to_key) == WORDS
    assert wv.most_similar("king", topn=1)[0][0] == "naïve"
    if name == "made":
        assert (wv.get_vecattr("the", "count"), wv.get_vecattr("of", "label")) == (7, "x")
