"""What is told of an epoch: ``foreword inspect --windows``, and the bar."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import foreword as fw
from foreword.cli import app

TEXTS = ["Every effort moves you. " * n for n in range(1, 30)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return fw.prepare(TEXTS, tmp_path_factory.mktemp("stores") / "store")


def inspect(*arguments):
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    return result.output if result.exception is None else result.exception


def test_inspect_tells_the_window_account(store):
    output = inspect(store.path, "--windows", "--context-length", 16, "--stride", 4)
    account = fw.WindowDataset(store, context_length=16, stride=4).account()
    assert f"{account.windows:,} windows × 16 tokens (stride 4)" in output
    assert f"{len(store):,} stored = {account.distinct:,} distinct + {account.dropped:,} dropped" in output
    assert "first batch:\n  'Every effort moves you." in output
    assert "windows ×" not in inspect(store.path)


def test_inspect_tells_the_window_account_as_data(store):
    options = ("--windows", "--context-length", 100, "--within", "document", "--packing", "best-fit", "--json")
    told = json.loads(inspect(store.path, *options))["windows"]
    account = fw.WindowDataset(store, context_length=100, within="document", packing="best-fit").account()
    assert told["accounts"]["data"]["padded"] == account.padded
    assert told["accounts"]["data"]["padding"] == account.padding
    assert len(told["first"]) == 4


def test_inspect_shows_ids_where_the_tokenizer_is_not_known(tmp_path):
    np.arange(100, dtype=np.uint16).tofile(tmp_path / "train.bin")
    assert "'0 1 2 3'" in inspect(tmp_path / "train.bin", "--windows", "--context-length", 4)


def test_inspect_refuses_a_cut_that_can_not_be(store):
    assert "within is not known" in str(inspect(store.path, "--windows", "--within", "sentence"))
    assert "at least 1,000,001" in str(inspect(store.path, "--windows", "--context-length", 10**6))


def test_long_windows_are_cropped_when_printed(store):
    told = fw.WindowLoader(fw.WindowDataset(store, context_length=500), batch_size=1).account()
    assert len(told.first[0]) > 1000
    assert max(map(len, str(told).splitlines())) < 200


@pytest.mark.torch
def test_a_bar_for_an_epoch_tells_tokens_a_second(monkeypatch, capsys):
    data = fw.WindowDataset(np.arange(100_000), context_length=8)
    plain = [batch[0][0, 0].item() for batch in fw.WindowLoader(data, batch_size=64)]
    loader = fw.WindowLoader(data, batch_size=64, progress=True)
    assert [batch[0][0, 0].item() for batch in loader] == plain
    assert capsys.readouterr().err == ""  # no terminal, no bar

    monkeypatch.setattr("foreword._base.progress.QUIET_SECONDS", -1)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert [batch[0][0, 0].item() for batch in loader] == plain
    err = capsys.readouterr().err
    assert "epoch 1" in err
    assert "tokens/s" in err


def test_inspect_traces_a_step_and_a_document(store):
    loader = fw.WindowLoader(fw.WindowDataset(store, context_length=16), batch_size=3, shuffle=True, seed=4)
    cut = ("--context-length", 16, "--batch-size", 3, "--shuffle", "--seed", 4)
    output = inspect(store.path, "--trace", 2, "--when", 20, *cut)
    for entry in loader.trace(2):
        assert f"window {entry.window:,}, tokens {entry.start:,} to {entry.stop - 1:,}" in output
        assert repr(store.tokenizer.decode(store[entry.start : entry.stop])) in output
    assert "tokens a document" not in output  # the store is not counted
    assert output.splitlines()[-1].split() == [str(part) for part in loader.when(20)[-1]]
    found = json.loads(inspect(store.path, "--trace", 2, "--when", 20, "--json", *cut))
    assert [entry["documents"] for entry in found["trace"]] == [
        [list(document) for document in entry.documents] for entry in loader.trace(2)
    ]
    assert [tuple(place.values()) for place in found["when"]] == loader.when(20)
    assert found["document"]["text"] == store.tokenizer.decode(store.document(20))


def test_inspect_traces_by_a_state(store, tmp_path):
    data = fw.WindowDataset(store, context_length=32, within="document", packing="best-fit")
    loader = fw.WindowLoader(data, batch_size=4, shuffle=True)
    next(iter(loader))
    (tmp_path / "state.json").write_text(json.dumps(loader.state_dict()))
    cut = ("--context-length", 32, "--within", "document", "--packing", "best-fit", "--batch-size", 2, "--shuffle")
    output = inspect(store.path, "--trace", 0, "--state", tmp_path / "state.json", *cut)
    assert len([line for line in output.splitlines() if "window" in line]) == 4  # it was of another batch size
    (tmp_path / "state.json").write_text("[1")
    assert "the state is no JSON" in str(inspect(store.path, "--trace", 0, "--state", tmp_path / "state.json", *cut))
    assert "has no such step" in str(inspect(store.path, "--trace", 10**6, *cut))


def test_inspect_tells_the_files_of_documents(tmp_path):
    (tmp_path / "corpus").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "corpus" / name).write_text("Every effort moves you. " * 9)
    fw.prepare(tmp_path / "corpus", tmp_path / "store")
    output = inspect(tmp_path / "store", "--trace", 0, "--when", 1, "--context-length", 8)
    assert "document 0, a.txt" in output
    assert "document 1, b.txt\n" in output
