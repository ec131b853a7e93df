"""WindowDataset inside torch's DataLoader, torchdata's StatefulDataLoader and Hugging Face's Trainer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import foreword as fw

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def data():
    return fw.WindowDataset(np.arange(400, dtype=np.uint16), context_length=4, stride=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_dataloader(data, workers):
    ours = list(fw.WindowLoader(data, batch_size=8))
    theirs = list(DataLoader(data, batch_size=8, drop_last=True, num_workers=workers))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_torchs_dataloader_shuffles_and_collates_segments():
    data = fw.WindowDataset(
        np.arange(400), context_length=8, within="document", packing="best-fit", offsets=range(0, 401, 5), segments=True
    )
    seen = []
    for batch in DataLoader(data, batch_size=4, shuffle=True):
        assert batch["cu_seqlens"].shape == (len(batch["inputs"]), 9)
        seen += batch["inputs"][batch["targets"] != -100].tolist()
    assert sorted(seen) == [i for i in range(400) if i % 5 != 4]


def test_kept_tails_collate():
    data = fw.WindowDataset(np.arange(10), context_length=4, tail="keep")
    (batch,) = DataLoader(data, batch_size=9)
    assert batch[1].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, -100, -100, -100]]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it, torch 2.13 warns
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdatas_stateful_dataloader_resumes(data, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        torch.manual_seed(0)
        return stateful.StatefulDataLoader(data, batch_size=8, shuffle=True, num_workers=workers)

    whole = [batch[0].tolist() for batch in loader()]
    stopped = loader()
    iterator = iter(stopped)
    before = [next(iterator)[0].tolist() for _ in range(3)]
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    assert before + [batch[0].tolist() for batch in resumed] == whole


def test_a_window_loader_is_stateful_by_torchs_protocol(data):
    stateful = pytest.importorskip("torch.distributed.checkpoint.stateful")
    assert isinstance(fw.WindowLoader(data, batch_size=2), stateful.Stateful)


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("torch_dataloader.py", []),
        ("stateful_dataloader.py", ["torchdata"]),
        ("hf_trainer.py", ["transformers", "accelerate"]),
    ],
)
def test_the_examples_run(name, packages, tmp_path):
    for package in packages:
        pytest.importorskip(package)
    done = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the same" in done.stdout or "loss" in done.stdout
