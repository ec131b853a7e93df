"""examples/train_gpt.py: a run stopped in the middle of an epoch and resumed has the losses of one that was not."""

import importlib.util
from pathlib import Path

import pytest
import torch

import foreword as fw

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_gpt.py"
SMALL = ["--batch", "4", "--context", "16", "--dim", "16", "--layers", "1"]


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("train_gpt", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"The quick brown fox number {i} jumps over {i + 1} lazy dogs." for i in range(60)))
    return path


def run(example, *options):
    example.main([*SMALL, *map(str, options)])


def losses(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["losses"]


def test_a_resumed_run_is_bit_identical(example, text, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(example, "--text", text, "--out", whole, "--steps", 16, "--every", 8)
    # 4 steps past the last checkpoint are lost, as when a process is killed; 16 steps are more than an epoch
    run(example, "--text", text, "--out", parts, "--steps", 9, "--every", 5)
    assert len(losses(parts)) == 5
    run(example, "--text", text, "--out", parts, "--steps", 16, "--every", 8, "--resume")
    assert losses(parts) == losses(whole)
    assert "epoch 1" in capsys.readouterr().out, "the run should cross into a second epoch"
    assert (whole / "loss.svg").read_bytes() == (parts / "loss.svg").read_bytes()
    ends = [torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in (whole, parts)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_resumed_run_with_n_grams_is_bit_identical(example, text, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ["--text", text, "--ngrams", 2000]
    run(example, *options, "--out", whole, "--steps", 9, "--every", 9)
    run(example, *options, "--out", parts, "--steps", 6, "--every", 5)
    run(example, *options, "--out", parts, "--steps", 9, "--every", 9, "--resume")
    assert losses(parts) == losses(whole)
    ends = [torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in (whole, parts)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert ends[0]["embedding.ngrams.table.weight"].any()


def test_it_learns(example, text, tmp_path):
    run(example, "--text", text, "--out", tmp_path / "run", "--steps", 40, "--every", 40, "--lr", "0.02")
    curve = losses(tmp_path / "run")
    assert sum(curve[-5:]) < 0.6 * sum(curve[:5])


def write(path, paragraphs):
    path.write_text(
        "\n\n".join(f"The quick brown fox number {i} jumps over {i + 1} lazy dogs." for i in range(paragraphs))
    )


@pytest.mark.filterwarnings("ignore:prepare. the split leaves no document")  # meant so here
@pytest.mark.parametrize("paragraphs", [1, 3, 8])
def test_a_text_too_short_for_a_batch_is_refused(example, tmp_path, paragraphs):
    write(tmp_path / "tiny.txt", paragraphs)
    with pytest.raises(fw.errors.TooShortError, match=r"too short to train on|too few tokens for one window"):
        example.main(["--text", str(tmp_path / "tiny.txt"), "--out", str(tmp_path / "run"), "--steps", "1"])


@pytest.mark.filterwarnings("ignore:prepare. the split leaves no document")  # meant so here
@pytest.mark.parametrize("paragraphs", [9, 60])
def test_a_validation_text_shorter_than_a_batch_is_validated_on(example, tmp_path, capsys, paragraphs):
    write(tmp_path / "short.txt", paragraphs)
    run(example, "--text", tmp_path / "short.txt", "--out", tmp_path / "run", "--steps", 1)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "no text to validate on" or 5 < float(last.removeprefix("validation loss ")) < 15


@pytest.mark.slow
def test_the_comparison_of_starts(example, text, tmp_path, capsys):
    run(example, "--text", text, "--out", tmp_path / "run", "--steps", 2, "--every", 2, "--compare", 1)
    assert "random  validation loss" in (out := capsys.readouterr().out)
    assert "glove   validation loss" in out
