"""A table of n-grams whose rows are in a folder: the bits of one in memory; its state; killed over and over."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from foreword import errors
from foreword.embeddings import InputEmbedding, NgramTable, RowAdam, clip_grad_norm_, row_file_plain
from foreword.windows import WindowDataset, WindowLoader

SCRIPT = Path(__file__).with_name("killed_ngrams.py")
OPTIONS = {"orders": (2, 3), "rows": 3000, "dim": 6, "heads": 2, "end_of_text_id": 0}


def table(folder=None, **options):
    return NgramTable(**{**OPTIONS, **options}, path=folder)


def layer_with(ngrams, seed=0):
    torch.manual_seed(seed)
    return InputEmbedding(50, 8, position="none", ngrams=ngrams)


def ids(n=4000):
    return np.random.default_rng(0).integers(0, 50, n).astype(np.uint16)


def rows_of(ngrams):
    if ngrams.path is None:
        return ngrams.table.weight.detach()
    return torch.from_numpy(ngrams.table.weight.mapped.gather(np.arange(ngrams.hash.rows)))


def learn(layer, *, batch=16, steps=8, context=16, micro=1, clip=None, windows=True, prefetch=0):
    """Losses of some steps; each of ``micro`` batches, whose gradients add up."""
    data = WindowDataset(ids(), context_length=context, ngrams=layer.ngrams if windows else None)
    loader = WindowLoader(data, batch_size=batch, shuffle=True, prefetch=prefetch)
    groups = layer.parameter_groups()
    optimizers = [RowAdam(groups.sparse, lr=0.05), torch.optim.AdamW(groups.dense, lr=0.05)]
    losses = []
    for n, (inputs, targets, *rows) in enumerate(loader, 1):
        hidden = layer(inputs, ngram_rows=rows[0] if rows else None)
        loss = functional.cross_entropy(layer.logits(hidden).flatten(0, 1), targets.flatten())
        loss.backward()
        losses.append(loss.item())
        if n % micro == 0:
            if clip is not None:
                clip_grad_norm_(layer.parameters(), clip)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        if n == steps * micro:
            return losses
    return losses


LARGE = {"batch": 64, "context": 60, "steps": 4}


@pytest.mark.parametrize(
    ("how", "compiled"),
    [
        ({"micro": 3, "steps": 3}, True),
        ({"clip": 0.1}, True),
        ({"windows": False}, True),
        ({"prefetch": 2}, True),
        (LARGE, True),
        (LARGE, False),
    ],
)
def test_rows_in_a_folder_have_the_bits_of_rows_in_memory(tmp_path, monkeypatch, how, compiled):
    if not compiled:
        monkeypatch.setattr("foreword.embeddings.ngram_rows._kernel", lambda: row_file_plain)
    here, there = (layer_with(table(folder)) for folder in (None, tmp_path / "t"))
    losses = []
    for layer, threads in ((here, "1"), (there, "3")):
        monkeypatch.setenv("FOREWORD_THREADS", threads)
        losses.append(learn(layer, **how))
    assert losses[0] == losses[1]
    assert torch.equal(rows_of(here.ngrams), rows_of(there.ngrams))
    assert rows_of(there.ngrams).any()
    inputs = torch.from_numpy(ids(40).astype(np.int64))[None]
    with torch.no_grad():
        assert torch.equal(here(inputs), there(inputs))
    there.ngrams.close()


def test_the_model_s_state_names_the_checkpoint_of_the_folder(tmp_path):
    layer = layer_with(table(tmp_path / "t"))
    learn(layer)
    with pytest.raises(errors.StoreError, match="changed since"):
        layer.state_dict()
    layer.ngrams.checkpoint()
    states = [layer.state_dict()]
    want = rows_of(layer.ngrams)
    learn(layer)
    layer.ngrams.checkpoint()
    newest = rows_of(layer.ngrams)
    assert not torch.equal(newest, want)
    layer.ngrams.close()

    again = layer_with(table(tmp_path / "t"), seed=1)
    with pytest.raises(errors.StoreError, match="have learned"):
        learn(again)
    torch.save(states[0], tmp_path / "model.pt")
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))  # it was killed before the second save
    assert torch.equal(rows_of(again.ngrams), want)
    learn(again, steps=1)
    again.ngrams.close()
    # What was lost by going back does not come again.
    assert not torch.equal(rows_of(table(tmp_path / "t")), newest)


def test_a_state_of_memory_does_not_go_into_a_folder_nor_back(tmp_path):
    memory, folder = layer_with(table()), layer_with(table(tmp_path / "t"))
    for to, state in ((folder, memory.state_dict()), (memory, folder.state_dict())):
        with pytest.raises(RuntimeError, match=r"(?s)Missing key.*Unexpected key"):
            to.load_state_dict(state)
    other = layer_with(table(tmp_path / "u"))
    with pytest.raises(errors.StoreError, match="another table"):
        other.load_state_dict(folder.state_dict())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": 1}, "seed=1"),
        ({"orders": (2,)}, "orders=2"),
        ({"heads": 1}, "heads=1"),
        ({"rows": 2999}, "rows=2999"),
        ({"dim": 7}, "dim=7"),
        ({"end_of_text_id": 1}, "end_of_text_id=1"),
        ({"vocabulary": "ab"}, "vocabulary=ab"),
    ],
)
def test_a_folder_of_other_n_grams_or_another_vocabulary_is_refused(tmp_path, options, says):
    table(tmp_path / "t", vocabulary="cd").close()
    with pytest.raises(errors.StoreError, match="another one") as error:
        table(tmp_path / "t", **{"vocabulary": "cd", **options})
    assert says in error.value.fact("expected")


def test_what_rows_in_a_folder_can_not_do_is_said(tmp_path):
    ngrams = table(tmp_path / "t")
    layer = layer_with(ngrams)
    for call in (
        lambda: copy.deepcopy(layer),
        ngrams.reset_parameters,
        lambda: layer.save_pretrained(tmp_path / "saved"),
        lambda: table(tmp_path / "u", device="meta"),
        lambda: table(tmp_path / "u", dtype=torch.bfloat16),
    ):
        with pytest.raises(errors.ArgumentError, match="folder"):
            call()
    assert not (tmp_path / "u").exists()
    assert layer.double().ngrams.table.weight.dtype == torch.float32
    ngrams.close()
    with pytest.raises(errors.StoreError, match="closed"):
        layer(torch.tensor([[1, 2, 3]]))
    reader = layer_with(table(tmp_path / "t", writable=False))
    assert not reader.parameter_groups().sparse
    reader(torch.tensor([[1, 2, 3]])).sum().backward()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_rows_of_windows_are_expected_before_they_are_handed_out(tmp_path, monkeypatch, prefetch):
    ngrams, expected = table(tmp_path / "t"), set()
    monkeypatch.setattr(ngrams.table.weight.mapped, "expect", lambda rows: expected.update(rows.ravel().tolist()))
    data = WindowDataset(ids(), context_length=16, ngrams=ngrams)
    seen = 0
    for _, _, rows in WindowLoader(data, batch_size=8, prefetch=prefetch):
        assert expected >= set(rows.ravel().tolist())
        seen += 1
    assert seen > 20
    expected.clear()
    travelled = pickle.loads(pickle.dumps(data))  # as to another process: without the table
    assert torch.equal(travelled[3][2], data[3][2])
    assert pickle.loads(pickle.dumps(travelled))[3][2].shape == (16, 4)
    assert WindowDataset(ids(), context_length=16, ngrams=table())._expect is None


def test_expecting_rows_changes_nothing_whatever_they_are(tmp_path):
    ngrams = table(tmp_path / "t")
    for rows in (torch.tensor([[-1, 5], [5, 2999]]), np.array([], np.int64), torch.tensor([4000, -7]), ids(5000)):
        for _ in range(50):  # more than may wait
            ngrams.expect(rows)
    before = rows_of(ngrams)
    ngrams.close()
    assert not before.any()
    assert ngrams.table.weight.mapped._behind.failure is None


@pytest.mark.parametrize(
    ("kills", "when"),
    [
        (4, "write"),
        (2, "time"),
        pytest.param(50, "write", marks=pytest.mark.slow),
        pytest.param(50, "time", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_has_the_bits_of_one_that_was_not(tmp_path, kills, when):
    command = [sys.executable, SCRIPT, tmp_path, str(kills), "1", when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] >= kills
    assert all(result["same"])


def test_one_of_several_processes_does_not_learn_in_a_folder(tmp_path, monkeypatch):
    layer = layer_with(table(tmp_path / "t"))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(errors.ArgumentError, match="learned by one process"):
        layer(torch.tensor([[1, 2, 3]]))
    with pytest.raises(errors.ArgumentError, match="learned by one process"):
        table(tmp_path / "u")
    layer.ngrams.close()
    table(tmp_path / "t", writable=False).close()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dim", [6, 8])
def test_its_rows_are_added_in_the_layers_dtype(tmp_path, dtype, dim):
    ngrams = table(tmp_path / "t", dim=dim)
    torch.manual_seed(0)
    layer = InputEmbedding(50, 8, position="none", ngrams=ngrams).to(dtype)
    inputs = torch.from_numpy(ids(40).astype(np.int64))[None]
    optimizer = RowAdam(layer.parameter_groups().sparse, lr=0.5)
    out = layer(inputs)
    out.float().pow(2).sum().backward()
    optimizer.step()
    assert out.dtype == layer(inputs).dtype == dtype
    assert not torch.equal(layer(inputs), out)


@pytest.mark.parametrize("enough", [0, 1 << 60])
def test_a_place_without_any_n_gram_has_nothing_added(tmp_path, monkeypatch, enough):
    monkeypatch.setattr("foreword.embeddings._by_row.ENOUGH", enough)
    layers = [layer_with(table(folder)) for folder in (None, tmp_path / "t")]
    for layer in layers:
        learn(layer)
    stream = torch.from_numpy(ids(12).astype(np.int64))[None]
    for layer in layers:
        whole = layer(stream)
        for place in range(stream.shape[1]):  # one by one, as with a key-value cache; the first has none before it
            left = min(place, 2)
            rows = layer.ngrams.row_ids(stream[:, place - left : place + 1], left=left)
            alone = layer(stream[:, place : place + 1], offset=place, ngram_rows=rows)
            torch.testing.assert_close(alone, whole[:, place : place + 1])
    assert torch.equal(layers[0](stream), layers[1](stream))


def test_whatever_device_is_the_default_its_rows_learn(tmp_path):
    with torch.device("meta"):
        layer = layer_with(table(tmp_path / "t"))
    rows = layer.ngrams.row_ids(torch.from_numpy(ids(40).astype(np.int64))[None])
    layer.ngrams(rows).sum().backward()
    RowAdam(layer.parameter_groups().sparse, lr=0.5).step()
    assert rows_of(layer.ngrams).any()
    assert layer.ngrams(rows.to("meta")).shape == (1, 40, 6)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_what_would_pass_for_its_elements_is_refused(tmp_path):
    layer = layer_with(table(tmp_path / "t"))
    inputs, weight = torch.arange(1, 9)[None], layer.ngrams.table.weight
    layer(inputs).sum().backward()
    for optimizer in (torch.optim.SparseAdam([weight]), torch.optim.SGD([weight])):
        with pytest.raises(errors.ArgumentError, match="RowAdam"):
            optimizer.step()
    for reading in (
        lambda: torch.nn.utils.parameters_to_vector(layer.parameters()),
        lambda: torch.nn.init.normal_(weight),
        weight.detach,
        lambda: weight[0],
        weight.norm,
    ):
        with pytest.raises(errors.ArgumentError, match="not in its weight"):
            reading()
    for saving in (pickle.dumps, lambda model: torch.save(model, tmp_path / "model.pt")):
        with pytest.raises(errors.ArgumentError, match="pickled"):
            saving(layer)
    with torch.no_grad():
        for drawing in (
            lambda: torch.export.export(layer, (inputs,), strict=False),
            lambda: torch.jit.trace(layer, (inputs,)),
        ):
            with pytest.raises(errors.ArgumentError, match="exported"):
                drawing()


def test_an_empty_folder_will_do_and_a_file_will_not(tmp_path):
    (tmp_path / "empty").mkdir()
    learn(layer_with(table(tmp_path / "empty")), steps=1)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(errors.MissingFileError):
        table(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    for path in (5, ""):
        with pytest.raises(errors.ArgumentError, match=r"a path is (a str|empty)"):
            table(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("how", ["lookup", "step", "expect"])
def test_a_full_tmpfs_is_an_error_and_not_the_end_of_the_process(tmp_path, how):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    code = """
import sys, time, torch
from foreword.embeddings import NgramTable, RowAdam
from foreword.errors import FileError
ngrams = NgramTable(rows=100_000, dim=64, path=sys.argv[1])
rows = torch.arange(100_000).view(-1, 100, 4)
optimizer = RowAdam(ngrams.parameters(), lr=0.1)
if sys.argv[2] == "expect":
    ngrams.expect(rows)
try:
    for some in rows:
        summed = ngrams(some)
        if sys.argv[2] == "step":
            summed.sum().backward()
            optimizer.step()
except FileError as error:
    print(error.problem)
"""
    try:
        done = subprocess.run([sys.executable, "-c", code, disk / "t", how], capture_output=True, text=True)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no space left" in done.stdout
