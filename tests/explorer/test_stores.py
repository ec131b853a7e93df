"""Stores that others write, cut short, replace or make up: no answer is a 5xx that isn't said, and the server lives."""

import contextlib
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import foreword as fw
from explorer.client import DOCUMENTS, Client, serving
from foreword.explorer import Settings
from foreword.explorer.api import stores as stores_api
from foreword.explorer.library import Library
from foreword.tokens.store import finding
from foreword.tokens.store.manifest import seal


@pytest.fixture
def folder(tmp_path):
    fw.prepare(DOCUMENTS, tmp_path / "all" / "one")
    return tmp_path / "all"


@pytest.fixture
def served(folder):
    with serving(Settings(stores=(folder,))) as client:
        yield client


def everything(client, store="all/one"):
    """An answer of each operation, by its name."""
    query = {"store": store}
    return {
        "list": client.get("stores"),
        "account": client.get("stores/account", query=query),
        "documents": client.get("stores/documents", query=query),
        "read": client.get("stores/read", query=query),
        "find": client.post("stores/find", {"store": store, "ids": [6109]}),
        "find text": client.post("stores/find", {"store": store, "text": "Every"}),
    }


def statuses(client, store="all/one"):
    return {name: answer.status for name, answer in everything(client, store).items()}


@contextlib.contextmanager
def _process(*arguments):
    """A server of its own; a fault that ends it must not end the tests."""
    command = [sys.executable, "-m", "foreword", "serve", "--port", "0", *map(str, arguments)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Client(next(int(found[1]) for line in server.stdout if (found := re.search(r"localhost:(\d+)", line))))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.parametrize("file", ["00000.tokens", "00000.offsets"])
def test_a_file_cut_short_or_copied_over_is_an_error_not_the_end(folder, file):
    with _process("--store", folder) as client:
        assert set(statuses(client).values()) == {200}
        whole = (folder / "one" / file).read_bytes()
        for broken in (whole[:-2], b"", whole + whole):
            (folder / "one" / file).write_bytes(broken)  # the same inode
            told = everything(client)
            assert told["list"].json[0]["problem"] == "a file of the store has the wrong size"
            assert {answer.status for name, answer in told.items() if name != "list"} == {422}
        (folder / "one" / file).write_bytes(whole)
        assert set(statuses(client).values()) == {200}


def test_a_file_is_an_error_where_it_is_cut_while_it_is_read(folder):
    store = Library(Settings(stores=(folder,))).store("all/one")
    os.truncate(folder / "one" / "00000.tokens", 4)
    os.truncate(folder / "one" / "00000.offsets", 8)
    for read in (
        lambda: store[:],
        lambda: store.document(0),
        lambda: next(store.find([6109])),
        lambda: store.starts[1],
    ):
        with pytest.raises(fw.errors.StoreError, match="wrong size"):
            read()


def test_a_pipe_in_a_files_place_holds_nobody(folder, served):
    tokens = folder / "one" / "00000.tokens"
    tokens.unlink()
    os.mkfifo(tokens)
    assert served.get("stores/read", query={"store": "all/one"}).status == 422
    shutil.copytree(folder / "one", folder / "two", ignore=lambda *_: ["00000.tokens", "manifest.json"])
    os.mkfifo(folder / "two" / "manifest.json")
    assert [one["name"] for one in served.get("stores").json] == ["all/one"]


def test_what_is_served_is_what_the_store_holds(tmp_path):
    """Over several shards; places, documents and lengths are ``TokenStore``'s."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ab "), rng.integers(1, 9))) for _ in range(60)]
    store = fw.prepare(texts, tmp_path / "all" / "one", shard_tokens=50, append_end_of_text=False, tokenizer="bytes")
    assert len(store.shards) > 3
    served = Library(Settings(stores=(tmp_path / "all",))).store("all/one")
    offsets = store.offsets.astype(int)
    assert [served.starts[i] for i in range(len(served.starts))] == offsets.tolist()
    for first, stop in rng.integers(0, len(offsets) + 1, (50, 2)):
        assert served.starts.read(first, stop).tolist() == offsets[first:stop].tolist()
    with serving(Settings(stores=(tmp_path / "all",))) as client:
        for start, count in zip(rng.integers(0, len(store), 30), rng.integers(1, 90, 30), strict=True):
            piece = client.get("stores/read", query={"store": "all/one", "start": start, "count": count}).json
            assert piece["ids"] == store[start : start + count].tolist()
            assert piece["document"] == np.searchsorted(offsets, start, side="right") - 1
            end = start + len(piece["ids"])
            assert piece["starts"] == [int(place) - start for place in offsets if start <= place < end]
        page = client.get("stores/documents", query={"store": "all/one", "start": 7, "limit": 50}).json["page"]
        assert [one["text"] for one in page] == texts[7:57]
        account = client.get("stores/account", query={"store": "all/one"}).json
        assert (account["shortest"], account["longest"]) == (min(map(len, texts)), max(map(len, texts)))
        assert account["median"] == np.median(list(map(len, texts)))


def test_a_search_stops_in_time_with_the_place_to_go_on_from(tmp_path, monkeypatch):
    """999 ids in equal tokens, with a last one that is not there and then is: all places, in several answers."""
    fw.prepare([" " * 3_000 + "!" + " " * 2_000], tmp_path / "all" / "one", tokenizer="bytes")
    monkeypatch.setattr(stores_api, "SEARCH_SECONDS", 0)
    monkeypatch.setattr(stores_api, "_SEARCH_TOKENS", 500)
    with serving(Settings(stores=(tmp_path / "all",))) as client:
        body = {"store": "all/one", "ids": [32] * 998 + [33], "limit": 3}
        places, asked = [], 0
        while body.get("start", 0) is not None:
            told = client.post("stores/find", body).json
            places += told["places"]
            asked += 1
            assert told["next"] is None or told["next"] > body.get("start", 0)
            body["start"] = told["next"]
        assert (places, asked) == ([3_000 - 998], 9)


def test_the_places_of_a_common_id_are_not_held_all_at_once(tmp_path, monkeypatch):
    fw.prepare([" " * 50_000], tmp_path / "one", tokenizer="bytes")
    held = []
    places = finding._places
    monkeypatch.setattr(finding, "_places", lambda *given: held.append(len(places(*given))) or places(*given))
    monkeypatch.setattr(finding, "_SLICE", 1_000)
    found = fw.TokenStore.open(tmp_path / "one").find([32])
    assert [next(found) for _ in range(1_500)] == list(range(1_500))
    assert held == [1_000, 1_000]


def test_folders_are_listed_once_for_a_list(folder, served, monkeypatch):
    for i in range(5):
        shutil.copytree(folder / "one", folder / f"more-{i}")
    listed = []
    stores = Library.stores
    monkeypatch.setattr(Library, "stores", lambda self: listed.append(1) or stores(self))
    assert len(served.get("stores").json) == 6
    assert len(listed) == 1


def test_two_folders_of_one_name_are_numbered(tmp_path):
    fw.prepare(["One."], tmp_path / "p1" / "train")
    fw.prepare(["The second one."], tmp_path / "p2" / "train")
    given = tuple(tmp_path / part for part in ("p1/train", "p2/train", "p1/../p1/train"))
    with serving(Settings(stores=given)) as client:
        listed = client.get("stores").json
        assert [(one["name"], one["source"]) for one in listed] == [
            ("train", str(given[0])),
            ("train-2", str(given[1])),
        ]
        told = client.get("stores/documents", query={"store": "train-2"}).json
        assert told["page"][0]["text"].startswith("The second one.")


def test_nothing_is_kept_of_stores(folder):
    library = Library(Settings(stores=(folder,)))
    opened = []
    for i in range(20):
        os.utime(folder / "one" / "manifest.json", ns=(i, i))
        opened.append(weakref.ref(library.store("all/one")))
    gc.collect()
    assert not any(store() for store in opened)


def test_a_store_that_is_replaced_meanwhile_is_never_a_fault(folder, served):
    end = threading.Event()

    def churn():
        while not end.is_set():
            shutil.copytree(folder / "one", folder / "churn", dirs_exist_ok=True)
            shutil.rmtree(folder / "churn")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            assert served.get("stores").status == 200
            assert served.get("stores/read", query={"store": "all/one"}).status == 200
            assert served.get("stores/account", query={"store": "all/churn"}).status in (200, 404, 422)
    finally:
        end.set()
        thread.join()


def test_loops_and_foreign_manifests_hide_no_store(folder, served):
    (folder / "loop").mkdir()
    (folder / "loop" / "manifest.json").write_text("{}")
    (folder / "loop" / "self").symlink_to("self")
    (folder / "loop2").mkdir()
    (folder / "loop2" / "manifest.json").symlink_to("manifest.json")
    (folder / "manifest.json").symlink_to("manifest.json")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / "web").mkdir()
    (folder / "web" / "manifest.json").write_text('{"name": "my web app", "start_url": "/"}')
    (folder / "large").mkdir()
    with open(folder / "large" / "manifest.json", "wb") as file:
        file.truncate(1 << 32)
    listed = {one["name"]: one.get("problem") for one in served.get("stores").json}
    assert listed.pop("all/one") is None
    assert listed.keys() <= {"all/loop", "all/web", "all/large"}
    assert all(listed.values())
    assert set(statuses(served).values()) == {200}


def rewrite(store, change):
    manifest = json.loads((store / "manifest.json").read_bytes())
    del manifest["checksum"]
    change(manifest)
    (store / "manifest.json").write_bytes(seal(json.dumps(manifest).encode()))


def shards(*of):
    def change(manifest):
        manifest["shards"] = list(of)
        manifest.update({name: sum(shard[name] for shard in of) for name in ("tokens", "documents")})

    return change


deep: list = []
for _ in range(700):
    deep = [deep]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest, name=name: manifest["tokenizer"].update(name=name), id=f"name {i}")
        for i, name in enumerate(
            [None, 5, ["a"], "", "/etc/passwd", "/dev/zero", "../../x", "a\0b", "\ud800", "x" * 100_000]
        )
    ]
    + [
        pytest.param(lambda manifest, value=value: manifest["tokenizer"].update(value), id=str(value)[:30])
        for value in ({"fingerprint": 5}, {"fingerprint": None}, {"vocab_size": 0}, {"vocab_size": -(10**400)})
    ]
    + [
        pytest.param(lambda manifest, policies=policies: manifest.update(policies=policies), id=f"policies {i}")
        for i, policies in enumerate(
            [{"x": float("nan"), "y": [-float("inf")]}, {"x": "\ud800"}, [1], None, {"x": deep}, {"x": 10**400}]
        )
    ]
    + [
        pytest.param(lambda manifest: manifest.pop("policies"), id="no policies"),
        pytest.param(shards(), id="no shards"),
        pytest.param(shards({"tokens": -1, "documents": 1}), id="negative"),
        pytest.param(shards({"tokens": 10**30, "documents": 3}), id="many tokens"),
        pytest.param(shards({"tokens": 27, "documents": 10**30}), id="many documents"),
    ],
)
def test_no_manifest_makes_a_fault(folder, served, change):
    rewrite(folder / "one", change)
    for answer in everything(served).values():
        assert answer.status in (200, 422)
        json.loads(answer.body, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "offsets", [[0, 10**15, 2**63, 2**64 - 1], [20, 10, 5, 0], [0, 0, 0, 2**40], [2**64 - 1] * 4, [0] * 4]
)
def test_no_offsets_make_a_fault(folder, served, offsets):
    np.array(offsets, "<u8").tofile(folder / "one" / "00000.offsets")
    assert set(statuses(served).values()) <= {200, 422}


def test_ids_beyond_the_vocabulary_are_a_problem(folder, served):
    path = folder / "one" / "00000.tokens"
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert statuses(served)["read"] == 422


@pytest.mark.parametrize("name", ["cl100k_base", "", "/etc/passwd", "tokenizer.json", "owner/repo"])
def test_a_manifest_opens_no_file_and_no_network(folder, served, name, monkeypatch):
    def change(manifest):
        manifest["tokenizer"] |= {"name": name, "fingerprint": "0" * 64}

    rewrite(folder / "one", change)
    import foreword.tokens.tokenizers.opening as module

    for way in ("open_file", "open_folder", "_from_hub", "_from_tiktoken"):
        monkeypatch.setattr(module, way, lambda *_: pytest.fail("opened"))
    told = everything(served)
    assert told["list"].json[0]["tokenizer"] == name
    assert [told[what].status for what in ("account", "find")] == [200, 200]
    for what in ("read", "documents", "find text"):
        assert told[what].status == 422
        assert "--tokenizer" in told[what].json["fix"]


def test_a_tokenizer_named_at_start_is_known_by_its_ids_whatever_its_name(tmp_path):
    """A file of ranks: the store calls it by a path that there is no more."""
    import base64

    ranks = b"".join(base64.b64encode(bytes([i])) + b" %d\n" % i for i in range(256))
    for name in ("made.tiktoken", "named.tiktoken"):
        (tmp_path / name).write_bytes(ranks)
    made = fw.get_tokenizer(tmp_path / "made.tiktoken", pattern="gpt2")
    fw.prepare(["a text"], tmp_path / "all" / "one", tokenizer=made)
    (tmp_path / "made.tiktoken").unlink()
    (tmp_path / "gpt2.tiktoken").write_bytes(ranks)
    at_start = (str(tmp_path / "no such.json"), str(tmp_path / "gpt2.tiktoken"))
    with serving(Settings(stores=(tmp_path / "all",), tokenizers=at_start)) as client:
        piece = client.get("stores/read", query={"store": "all/one", "count": 6}).json
        assert "".join(piece["texts"]) == "a text"
        assert [one["name"] for one in client.get("tokenizers").json if one.get("problem")] == ["no such"]


def test_a_served_store_does_all_that_a_store_does(tmp_path):
    """Read and not mapped, of one shard and of several: what ``TokenStore`` gives."""
    for shard_tokens in (8, 1 << 20):
        path = tmp_path / str(shard_tokens)
        store = fw.prepare(["one two three four"] * 9, path / "one", shard_tokens=shard_tokens)
        served = Library(Settings(stores=(path,))).store(f"{shard_tokens}/one")
        np.testing.assert_array_equal(served.offsets, store.offsets)
        np.testing.assert_array_equal(served.document(-1), store.document(-1))
        assert (served[3], served[-1], list(served.find([store[1]]))) == (
            store[3],
            store[-1],
            list(store.find([store[1]])),
        )
        assert served._repr_html_() == store._repr_html_().replace(str(store.path), str(served.path))
