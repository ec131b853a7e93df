"""Tables, their key maps and their answers, through every way to another process or a copy: the same there."""

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import foreword as fw
from foreword.errors import MissingFileError, StoreError
from foreword.vectors import word_map
from vectors.formats import fasttext

cloudpickle = pytest.importorskip("cloudpickle")
joblib = pytest.importorskip("joblib")

N, D = 3000, 16
WORDS = [f"w{i}" for i in range(N)]


def through_joblib(value, tmp_path):
    joblib.dump(value, tmp_path / "dumped")
    return joblib.load(tmp_path / "dumped")


WAYS = {
    "pickle": lambda value, _: pickle.loads(pickle.dumps(value)),
    "pickle 2": lambda value, _: pickle.loads(pickle.dumps(value, protocol=2)),
    "cloudpickle": lambda value, _: pickle.loads(cloudpickle.dumps(value)),
    "copy": lambda value, _: copy.copy(value),
    "deepcopy": lambda value, _: copy.deepcopy(value),
    "joblib": through_joblib,
}


def filled():
    table = fw.KeyedVectors(D)
    table.add_vectors(WORDS, np.random.default_rng(0).standard_normal((N, D)))
    for i, word in enumerate(WORDS):
        table.set_vecattr(word, "count", N - i)
    table.set_vecattr("w1", "tag", "noun")
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors") / "saved"
    filled().save(folder)
    return folder


@pytest.fixture(params=["mapped", "edited", "in memory", "with integers"])
def table(request, folder):
    if request.param == "in memory":
        return filled()
    table = fw.load(folder)
    if request.param == "edited":
        table["w3"] = np.ones(D)
    if request.param == "with integers":
        table.add_vectors([7], np.ones((1, D)))
    return table


def answers(table):
    return (
        table.most_similar("w5", topn=4),
        table.most_similar_batch(["w1", "w2"], topn=2),
        table.similarity("w1", "w2"),
        list(table.index_to_key),
        [table.get_vecattr("w1", name) for name in ("count", "tag")],
        table.key_to_index["w9"],
        "w9" in table,
        "x" in table,
        table.oov,
    )


@pytest.mark.parametrize("way", WAYS)
def test_tables(table, way, tmp_path):
    table.oov = "lower"
    twin = WAYS[way](table, tmp_path)
    assert answers(twin) == answers(table)
    assert type(twin) is fw.KeyedVectors
    before = answers(table)
    twin["w5"] = np.ones(D)
    twin.add_vectors(["fresh"], np.ones((1, D)))
    twin.set_vecattr("w1", "count", -1)
    assert answers(table) == before  # a copy of its own


@pytest.mark.parametrize("way", WAYS)
def test_key_maps(table, way, tmp_path):
    rows, keys = (WAYS[way](each, tmp_path) for each in (table.key_to_index, table.index_to_key))
    assert len(rows) == len(keys) == len(table)
    assert "w3" in rows
    assert "king" not in rows
    assert rows["w3"] == 3
    assert (keys[3], keys[-1]) == ("w3", table.index_to_key[-1])
    assert list(keys) == list(table.index_to_key)
    assert dict(rows) == dict(table.key_to_index)


@pytest.mark.parametrize("way", WAYS)
def test_answers(folder, way, tmp_path):
    table = fw.load(folder)
    (tmp_path / "questions").write_text(": all\nw1 w2 w3 w4\n")
    (tmp_path / "pairs").write_text("w1\tw2\t3\nw1\tw3\t2\nw1\tw4\t1\n")
    for result in (
        table.most_similar("w1"),
        table.evaluate_word_analogies(tmp_path / "questions"),
        table.evaluate_word_pairs(tmp_path / "pairs"),
    ):
        assert repr(WAYS[way](result, tmp_path)) == repr(result)
    placed = word_map(table, ["w1", "w2", "w3", "w4"])
    twin = WAYS[way](placed, tmp_path)
    assert twin.words == placed.words
    assert np.array_equal(twin.places, placed.places)
    with pytest.raises(KeyError) as unknown:
        table["W1"]
    if way not in ("copy", "deepcopy"):
        assert str(WAYS[way](unknown.value, tmp_path)) == str(unknown.value)


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_what_is_mapped_travels_as_its_place(folder, dumps):
    table = fw.load(folder)
    table.most_similar("w1")
    table.most_similar("w2")
    for each in (table, table.key_to_index, table.index_to_key):
        assert len(dumps(each)) < 1000
    table.set_vecattr("w1", "tag", "verb")
    assert len(dumps(table)) < 100_000  # with the attribute, without the rest
    twin = pickle.loads(dumps(table))
    assert twin.get_vecattr("w1", "tag") == "verb"
    assert twin.get_vecattr("w1", "count") == N - 1
    del table.expandos["count"]
    assert "count" not in pickle.loads(dumps(table)).expandos


def test_a_relative_path_is_found_from_another_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    table = fw.load(folder.name)
    monkeypatch.chdir(tmp_path)
    assert answers(pickle.loads(pickle.dumps(table))) == answers(table)


@pytest.mark.parametrize("what", ["table", "key_to_index", "index_to_key"])
def test_a_store_that_has_gone_or_changed_is_refused(what, tmp_path):
    filled().save(tmp_path / "saved")
    table = fw.load(tmp_path / "saved")
    kept = pickle.dumps(table if what == "table" else getattr(table, what))
    edited = fw.load(tmp_path / "saved")
    edited["w5"] = np.ones(D)
    whole = pickle.dumps(edited)
    edited.save(tmp_path / "saved")
    with pytest.raises(StoreError, match=r"(?s)another store lies by now.*saved.*load the vectors again"):
        pickle.loads(kept)
    os.rename(tmp_path / "saved", tmp_path / "elsewhere")
    with pytest.raises(MissingFileError, match=r"(?s)none any more.*saved.*load the vectors again"):
        pickle.loads(kept)
    # What was opened goes on, copies of it and what was edited need no store.
    for twin in (copy.copy(table), copy.deepcopy(table)):
        assert answers(twin) == answers(table)
    assert np.array_equal(pickle.loads(whole)["w5"], np.ones(D))


def test_keys_of_a_table_whose_vectors_were_replaced_travel_whole(tmp_path):
    filled().save(tmp_path / "saved")
    table = fw.load(tmp_path / "saved")
    table.vectors = np.array(table.vectors) * 2
    kept = pickle.dumps(table)
    os.rename(tmp_path / "saved", tmp_path / "elsewhere")
    twin = pickle.loads(kept)
    assert list(twin.index_to_key) == WORDS
    assert np.array_equal(twin.vectors, table.vectors)


def ask(table):
    return answers(table)


def look_up(rows):
    return len(rows), rows["w3"], "w3" in rows, "king" in rows


@pytest.fixture(scope="module")
def workers():
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_processes_that_are_spawned(table, workers):
    assert workers.submit(ask, table).result() == answers(table)
    assert workers.submit(look_up, table.key_to_index).result() == (len(table), 3, True, False)
    assert workers.submit(table.most_similar, "w5", topn=3).result() == table.most_similar("w5", topn=3)
    with pytest.raises(KeyError, match="did you mean"):
        workers.submit(table.most_similar, "w99999").result()


def test_joblibs_workers(table):
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(table.most_similar)(word, topn=3) for word in ("w1", "w2"))
    assert found == [table.most_similar(word, topn=3) for word in ("w1", "w2")]


def test_subwords_travel(tmp_path):
    words = [b"king", b"queen"]
    matrix = np.random.default_rng(1).normal(size=(52, 8)).astype(np.float32)
    (tmp_path / "ft.bin").write_bytes(fasttext(words, [2, 1], matrix, minn=2, maxn=4, bucket=50))
    table = fw.load(tmp_path / "ft.bin")
    for name, way in WAYS.items():
        assert np.array_equal(way(table, tmp_path)["kingly"], table["kingly"]), name


def test_pickles_made_before(folder):
    """Of the tree 8489cc7: the state held the path of the store."""
    table = fw.load(folder)
    twin = fw.KeyedVectors.__new__(fw.KeyedVectors)
    state = {"vector_size": D, "mapfile_path": None, "next_index": N, "expandos": {}, "_oov": "error", "_searches": 0}
    twin.__setstate__(state | {"_store": folder})
    assert twin.most_similar("w5") == table.most_similar("w5")


def test_a_script_started_anew(folder, tmp_path):
    (tmp_path / "kept").write_bytes(pickle.dumps((fw.load(folder), fw.load(folder).key_to_index)))
    code = "import pickle, sys; wv, rows = pickle.load(open(sys.argv[1], 'rb')); print(len(wv), rows['w7'], wv.oov)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "kept"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3000", "7", "error"]
