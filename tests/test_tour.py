"""The tour and the command line, as a person meets them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from foreword.cli import app, main
from foreword.errors import MissingFileError, TextDecodeError, TooShortError
from foreword.tour import take_tour


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "foreword", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment},
    )


@pytest.fixture(scope="module")
def small_vectors(tmp_path_factory):
    """A word2vec text file of a few words that have none of the tour's own."""
    path = tmp_path_factory.mktemp("vectors") / "tiny.txt"
    path.write_text("4 3\nun 1 0 0\ndeux 0.8 0.6 0\ntrois 0 1 0\nquatre 0 0 1\n", encoding="utf-8")
    return path


def gives(steps, expression):
    (value,) = [step["gives"][expression] for step in steps if expression in step["gives"]]
    return value


@pytest.mark.torch
def test_the_tour_prints_the_notebooks_numbers(verdict_path, notebook):
    done = run("tour", "--text", str(verdict_path), "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    assert [name for name, _ in gives(steps, "nearest")] == ["queen", "throne", "prince"]
    assert gives(steps, "len(wv)") == 400_000
    assert gives(steps, "several.shape") == [4, 50]
    weight = gives(steps, "table.token_embedding.weight")
    assert weight["shape"] == [6, 3]
    told = notebook["embedding_6x3"]
    for row, expected in zip(weight["values"], told["weight"], strict=True):
        assert row == pytest.approx(expected, abs=told["tolerance"])
    assert gives(steps, "row")["values"][0] == pytest.approx(told["lookup_of_3"][0], abs=told["tolerance"])
    told = notebook["batches"]
    assert gives(steps, "len(ids)") == told["token_count"]
    assert gives(steps, "len(data)") == told["window_counts"]["4,4"]
    assert gives(steps, "inputs")["values"] == told["inputs"]
    assert gives(steps, "targets")["values"] == told["targets"]
    told = notebook["input_embedding"]
    assert gives(steps, "token.shape") == told["token_embedding_shape"]
    assert gives(steps, "position.shape") == told["position_embedding_shape"]
    assert gives(steps, "total.shape") == told["combined_shape"]
    for expression, key in (
        ("token[0, 0, :5]", "token_embedding_0_0_first5"),
        ("position[0, :5]", "position_embedding_0_first5"),
        ("total[0, 0, :5]", "combined_embedding_0_0_first5"),
    ):
        assert gives(steps, expression)["values"] == pytest.approx(told[key], abs=told["tolerance"])


@pytest.mark.torch
def test_the_tour_works_on_pythons_own_prose_and_any_vectors(small_vectors):
    done = run("tour", "--vectors", str(small_vectors))
    assert done.returncode == 0, done.stderr
    for piece in (
        "Load word vectors",
        "Find neighbours",
        "0.8000  deux",
        "Text to token ids",
        "[8, 4, 256]",
        "8 steps.",
        "What to try next:",
    ):
        assert piece in done.stdout, piece
    assert "\x1b[" not in done.stdout


@pytest.mark.torch
def test_the_readme_shows_the_tour_as_it_is():
    """At 90 columns: its parts between …, each a piece of what is printed. The topics' numbers differ among Pythons."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(1  Load.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    printed = "\n".join(line.rstrip() for line in run("tour", COLUMNS="90").stdout.splitlines())
    parts = re.split(r"^(?=[0-9]  |─)|^ +…$", shown, flags=re.MULTILINE)
    assert len(parts) >= 5
    for part in filter(None, map(str.rstrip, parts)):
        assert re.sub(r"(?m)^ +\w+\[0.*\n?", "", part).strip() in re.sub(r"(?m)^ +\w+\[0.*\n?", "", printed)


@pytest.mark.torch
def test_the_tour_leaves_torchs_random_state_alone(small_vectors, tmp_path):
    import torch

    path = tmp_path / "text.txt"
    path.write_text("one two three four five six seven", encoding="utf-8")
    torch.manual_seed(7)
    before = torch.get_rng_state()
    steps = list(take_tour(text=path, vectors=str(small_vectors)))
    assert torch.equal(torch.get_rng_state(), before)
    assert steps[-2].gives["total.shape"] == (1, 4, 256)  # one window is all there is


@pytest.mark.torch
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "no/such/file.txt"], "can't read the text: no such file or directory"),
        (["--vectors", "no-such-vectors"], "no-such-vectors"),
    ],
)
def test_a_mistake_is_one_clear_message(arguments, message, small_vectors):
    if "--text" in arguments:
        arguments = [*arguments, "--vectors", str(small_vectors)]
    done = run("tour", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error:")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.torch
def test_a_text_shorter_than_a_window_says_what_it_needs(tmp_path, small_vectors):
    (tmp_path / "short.txt").write_text("Hi there", encoding="utf-8")
    done = run("tour", "--text", str(tmp_path / "short.txt"), "--vectors", str(small_vectors))
    assert done.returncode == 1
    assert "got:      2 tokens" in done.stderr
    assert "expected: at least 5" in done.stderr


def test_without_torch_the_tour_ends_before_what_needs_it(tmp_path, small_vectors):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    done = run("tour", "--vectors", str(small_vectors), PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == 0, done.stderr
    assert "Windows of inputs and targets" in done.stdout
    assert "An embedding table" not in done.stdout
    assert "5 steps. Three more, about what a model learns, need torch: pip install torch" in done.stdout
    assert "What to try next:" in done.stdout
    data = run(
        "tour", "--vectors", str(small_vectors), "--json", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path])
    )
    steps = json.loads(data.stdout)
    assert len(steps) == 5
    inputs, targets = gives(steps, "inputs")["values"], gives(steps, "targets")["values"]
    assert [row[1:] for row in inputs] == [row[:-1] for row in targets]
    assert "need torch" in data.stderr


@pytest.mark.torch
def test_reading_a_token_moves_its_row_and_no_other():
    *_, step = take_tour()
    losses = step.gives["losses"]
    assert losses == sorted(losses, reverse=True)
    assert step.gives["int(moved.sum())"] == step.gives["len(inputs.unique())"] > 1


def test_a_bad_text_fails_before_the_first_step(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait, encore une fois")
    with pytest.raises(TextDecodeError):
        take_tour(text=tmp_path / "latin.txt")
    (tmp_path / "short.txt").write_text("Hi", encoding="utf-8")
    with pytest.raises(TooShortError):
        take_tour(text=tmp_path / "short.txt")
    with pytest.raises(MissingFileError):
        take_tour(text=tmp_path / "none.txt")


def test_a_text_of_any_script_in_forty_columns(tmp_path, small_vectors):
    path = tmp_path / "text.txt"
    path.write_text("我第一次听见 سمعتُ النهرَ 👩‍👩‍👧 и ещё немного слов. " * 3, encoding="utf-8")
    done = run("tour", "--text", str(path), "--vectors", str(small_vectors), COLUMNS="40")
    assert done.returncode == 0, done.stderr
    assert "<e6 88> <91>" in done.stdout  # the bytes of a character that two tokens share
    assert max(map(cell_len, done.stdout.splitlines())) <= 40
    rows = [line for line in done.stdout.splitlines() if re.fullmatch(r" +\[{1,2} *\d+(, *\d+){3}\][\],]* *", line)]
    assert len(rows) == 16  # inputs and targets, a row a line


def test_every_command_teaches():
    """Each command has a help text with an example."""
    import typer.main

    root = typer.main.get_command(app)

    def leaves(command, path):
        for name, child in getattr(command, "commands", {}).items():
            yield from leaves(child, [*path, name])
        if not hasattr(command, "commands"):
            yield path, command

    found = list(leaves(root, ["foreword"]))
    assert found
    for path, command in found:
        assert "foreword " in (command.help or ""), f"{' '.join(path)} has no example in its help"
        assert CliRunner().invoke(app, [*path[1:], "--help"]).exit_code == 0


def test_version_and_usage():
    import foreword

    assert CliRunner().invoke(app, ["--version"]).output == f"foreword {foreword.__version__}\n"
    assert CliRunner().invoke(app, ["no-such-command"]).exit_code == 2


def test_main_runs_the_app(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["foreword", "--version"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("foreword ")
