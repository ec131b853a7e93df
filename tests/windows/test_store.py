"""Windows over stores: shards, documents, and files that change or shrink underneath."""

import base64
import os
import pickle

import numpy as np
import pytest
import torch

import foreword as fw
from foreword.errors import ArgumentError, StoreError
from foreword.windows.source import SAMPLE, Source
from windows import reference

TEXTS = [f"Document {i}. " + "Every effort moves you closer to your goal. " * (i % 7) for i in range(60)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of 60 documents in several shards."""
    return fw.prepare(TEXTS, tmp_path_factory.mktemp("stores") / "store", shard_tokens=500)


@pytest.fixture
def token_file(tmp_path):
    """A headerless file of ids, mapped."""
    path = tmp_path / "train.bin"
    np.arange(10_000, dtype=np.uint16).tofile(path)
    return path, np.memmap(path, np.uint16, "r")


@pytest.mark.parametrize(("context_length", "stride"), [(4, 4), (16, 3), (64, 64), (300, 7), (1000, 50)])
def test_windows_cross_shards(store, context_length, stride):
    assert len(store.shards) > 3
    ids = store[:].tolist()
    data = fw.WindowDataset(store, context_length=context_length, stride=stride)
    ours = list(fw.WindowLoader(data, batch_size=3, drop_last=False))
    theirs = reference.notebook_loader(ids, batch_size=3, context_length=context_length, stride=stride, drop_last=False)
    assert reference.same_batches(ours, list(theirs))


@pytest.mark.parametrize("options", [{"tail": "pad"}, {"packing": "best-fit"}])
def test_documents_of_a_store(store, options):
    data = fw.WindowDataset(store, context_length=48, within="document", segments=True, **options)
    pairs = []
    for window in data:
        held = window["targets"] != -100
        for document in window["document_ids"][held].unique().tolist():
            mine = window["document_ids"] == document
            ids = store.document(document).tolist()
            inputs, targets = window["inputs"][mine].tolist(), window["targets"][mine].tolist()
            (at,) = [i for i in range(0, len(ids), 48) if ids[i : i + len(inputs)] == inputs][:1]
            assert targets == ids[at + 1 : at + 1 + len(targets)]
            pairs.append((document, len(inputs)))
    for document in range(store.documents):
        assert sum(n for d, n in pairs if d == document) == len(store.document(document)) - 1
    assert data.account().dropped == store.documents  # of each document, the last token is a target only


def test_a_dataset_travels_to_another_process(store):
    data = fw.WindowDataset(store, context_length=16, stride=3)
    data[5]
    sent = pickle.dumps(data)
    assert len(sent) < 2000 + 8 * store.documents
    again = pickle.loads(sent)
    assert torch.equal(again[5][0], data[5][0])
    assert again.fingerprint == data.fingerprint


def test_the_account_decodes_what_one_trains_on(store):
    data = fw.WindowDataset(store, context_length=8)
    told = fw.WindowLoader(data, batch_size=2).account()
    assert told.first[0] == store.tokenizer.decode(store[:8])
    assert told.accounts["data"] == data.account()
    assert told.samples + told.left_out == len(data)
    text = str(told)
    assert f"{len(store):,} stored" in text
    assert repr(told.first[1]) in text
    shown = fw.WindowLoader(fw.WindowDataset(np.arange(9), context_length=4), batch_size=1).account()
    assert (shown.first, shown.last) == (("0 1 2 3",), ("4 5 6 7",))
    two = fw.WindowLoader({"a": data, "b": data}, batch_size=2, shuffle=True).account()
    assert set(two.accounts) == {"a", "b"}
    assert len(two.first) == 2


def test_the_accounts_first_and_last_batch_are_those_that_come(store):
    data = fw.WindowDataset(store, context_length=8, stride=3)
    loader = fw.WindowLoader(data, batch_size=5, shuffle=True, rank=1, world_size=2, drop_last=False)
    for _ in range(2):
        told = loader.account()
        batches = list(loader)
        for texts, (inputs, _) in ((told.first, batches[0]), (told.last, batches[-1])):
            assert texts == tuple(store.tokenizer.decode(row.numpy()) for row in inputs)


def test_stores_of_other_tokenizers_do_not_mix(store, tmp_path):
    ranks = tmp_path / "bytes.tiktoken"  # another tokenizer: a token a byte
    ranks.write_text("".join(f"{base64.b64encode(bytes([i])).decode()} {i}\n" for i in range(256)))
    tokenizer = fw.get_tokenizer(ranks, pattern="gpt2")
    other = fw.prepare(TEXTS[:5], tmp_path / "other", tokenizer=tokenizer, append_end_of_text=False)
    data = {name: fw.WindowDataset(s, context_length=4) for name, s in (("a", store), ("b", other))}
    with pytest.raises(ArgumentError, match="different tokenizers"):
        fw.WindowLoader(data, batch_size=1)


def shrink(path):
    os.truncate(path, 100)


def rewrite(path):
    data = path.read_bytes()
    path.write_bytes(data[::-1])


def replace(path):
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


@pytest.mark.parametrize("harm", [shrink, rewrite, replace, os.unlink])
def test_a_mapped_file_that_changes_is_noticed_before_it_is_read(token_file, harm):
    path, ids = token_file
    loader = fw.WindowLoader(fw.WindowDataset(ids, context_length=4), batch_size=2, shuffle=True)
    iterator = iter(loader)
    next(iterator)
    harm(path)
    with pytest.raises(StoreError, match="has changed while it was in use") as caught:
        list(iterator)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("harm", [shrink, os.unlink])
def test_a_store_that_changes_is_noticed_before_it_is_read(tmp_path, harm):
    store = fw.prepare(TEXTS, tmp_path / "store", shard_tokens=500)
    data = fw.WindowDataset(store, context_length=4)
    packed = fw.WindowDataset(store, context_length=64, within="document", packing="best-fit")
    data[0], packed[0]
    harm(tmp_path / "store" / "00001.tokens")
    data[0]  # of another shard
    for read in (lambda: list(data), lambda: list(packed)):
        with pytest.raises(StoreError, match="has changed while it was in use"):
            read()


def test_a_store_that_was_only_touched_is_read_on(tmp_path):
    store = fw.prepare(TEXTS, tmp_path / "store", shard_tokens=500)
    loader = fw.WindowLoader(fw.WindowDataset(store, context_length=4), batch_size=2, shuffle=True)
    whole = [batch[0].tolist() for batch in loader]
    loader.set_epoch(0)
    iterator = iter(loader)
    seen = [next(iterator)[0].tolist()]
    for file in (tmp_path / "store").iterdir():
        os.utime(file, (1, 1))
    assert seen + [batch[0].tolist() for batch in iterator] == whole
    os.utime(tmp_path / "store" / "00001.tokens", (2, 2))
    rewrite(tmp_path / "store" / "00001.tokens")
    with pytest.raises(StoreError, match="has changed while it was in use"):
        list(loader)


def test_an_array_file_that_was_touched_is_known_by_its_fingerprint(token_file):
    path, ids = token_file
    loader = fw.WindowLoader(fw.WindowDataset(ids, context_length=4), batch_size=2)
    next(iter(loader))
    os.utime(path, (1, 1))
    with pytest.raises(StoreError, match="has changed"):
        next(iter(loader))  # nobody knows what it held
    loader = fw.WindowLoader(fw.WindowDataset(ids, context_length=4), batch_size=2)
    loader.state_dict()
    os.utime(path, (2, 2))
    assert next(iter(loader))[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    rewrite(path)
    with pytest.raises(StoreError, match="has changed"):
        next(iter(loader))


def test_a_store_opened_by_a_relative_path_is_read_from_anywhere(tmp_path, monkeypatch):
    fw.prepare(TEXTS, tmp_path / "store", shard_tokens=500)
    monkeypatch.chdir(tmp_path)
    store = fw.TokenStore.open("store")
    data = fw.WindowDataset(store, context_length=4)
    expected = data[7][0]
    monkeypatch.chdir("/")
    assert torch.equal(data[7][0], expected)
    assert len(list(fw.WindowLoader(data, batch_size=100))) > 1
    later = fw.WindowDataset(store, context_length=4, within="document", segments=True)
    assert len(later[7]["inputs"]) == 4
    assert store.document(3).tolist() == fw.TokenStore.open(tmp_path / "store").document(3).tolist()
    again = pickle.loads(pickle.dumps(later))
    assert torch.equal(again[7]["inputs"], later[7]["inputs"])
    store.verify()


VIEWS = {
    "whole": lambda ids: ids,
    "slice": lambda ids: ids[1000:9000],
    "slice of a slice": lambda ids: ids[1000:][500:7000],
    "plain array": lambda ids: np.asarray(ids)[10:],
    "other dtype": lambda ids: ids.view(np.uint8),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_mapped_file_travels_by_name(token_file, view):
    path, ids = token_file
    data = fw.WindowDataset(view(ids), context_length=4, stride=2)
    sent = pickle.dumps(data)
    assert len(sent) < 1500
    again = pickle.loads(sent)
    assert again.fingerprint == data.fingerprint
    assert all(torch.equal(again[i][0], data[i][0]) for i in (0, 100, -1))
    os.utime(path, (1, 1))  # a copy elsewhere has other times, but the same ids
    assert pickle.loads(sent).fingerprint == data.fingerprint
    rewrite(path)
    with pytest.raises(StoreError, match="not the one that it was"):
        pickle.loads(sent)
    with pytest.raises(StoreError, match="has changed"):
        pickle.dumps(data)
    path.unlink()
    with pytest.raises(StoreError, match="can't be mapped"):
        pickle.loads(sent)


def test_arrays_that_are_in_no_file_travel_by_value(tmp_path, token_file):
    path, ids = token_file
    private = np.memmap(path, np.uint16, "c")
    private[3] = 77  # in no file
    np.save(tmp_path / "ids.npy", ids)
    for given in (private, ids[::2], np.array(ids), np.frombuffer(path.read_bytes(), np.uint16)):
        data = fw.WindowDataset(given, context_length=4)
        again = pickle.loads(pickle.dumps(data))
        assert torch.equal(again[0][0], data[0][0])
        assert again.fingerprint == data.fingerprint
    saved = np.load(tmp_path / "ids.npy", mmap_mode="r")  # its ids begin after a header
    data = fw.WindowDataset(saved[5:], context_length=4)
    assert len(pickle.dumps(data)) < 1500
    assert pickle.loads(pickle.dumps(data))[0][0].tolist() == [5, 6, 7, 8]


def test_a_view_of_a_mapped_file_that_changes_is_noticed(token_file):
    path, ids = token_file
    data = fw.WindowDataset(np.asarray(ids)[100:], context_length=4)
    data[0]
    rewrite(path)
    with pytest.raises(StoreError, match="has changed"):
        data[0]


def test_an_array_that_changed_is_noticed_on_resume(monkeypatch):
    ids = np.arange(100_000, dtype=np.uint16)
    fingerprint = Source(ids).fingerprint
    ids[77_777] ^= 1
    assert Source(ids).fingerprint != fingerprint
    assert Source(ids[:-1]).fingerprint != fingerprint
    assert Source(ids.astype(np.uint32)).fingerprint != Source(ids).fingerprint
    assert SAMPLE > 1_000_000
    monkeypatch.setattr("foreword.windows.source.SAMPLE", 20_000)  # a long array: by samples of it
    sampled = Source(ids).fingerprint
    for changed in (ids[:-1], ids[1:], np.roll(ids, 1), np.concatenate((ids[:-1], ids[:1]))):
        assert Source(changed).fingerprint != sampled


def test_ids_of_any_integer_type_and_layout():
    for ids in (
        np.arange(50, dtype=np.uint8),
        np.arange(50, dtype=">u4"),
        np.arange(100, dtype=np.int32)[::2] // 2,
        list(range(50)),
        torch.arange(50),
    ):
        inputs, targets = fw.WindowDataset(ids, context_length=4, stride=4)[3]
        assert inputs.tolist() == [12, 13, 14, 15]
        assert targets.tolist() == [13, 14, 15, 16]
