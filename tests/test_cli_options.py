"""Options of the commands that mean nothing without another one, or beside it: refused, and nothing is written."""

import pytest
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import ArgumentError, UnknownNameError

IDLE = [
    ("inspect STORE --stride 4", "--windows, --trace or --when"),
    ("inspect STORE --context-length 4", "--windows, --trace or --when"),
    ("inspect STORE --packing best-fit", "--windows, --trace or --when"),
    ("inspect STORE --windows --shuffle", "--trace or --when"),
    ("inspect STORE --windows --epoch 1", "--trace or --when"),
    ("inspect STORE --when 0 --rank 0", "goes with --trace"),
    ("similar king --method tsne", "goes with --map"),
    ("similar king --dark", "goes with --map"),
    ("similar king --map a.png --plot a.png", "one file"),
    ("embed text.txt out --static model --unknown zero", "goes with word vectors"),
    ("embed text.txt a.png --plot a.png", "one file"),
    ("vectors train text.txt out --buckets 10", "fasttext"),
    ("vectors train text.txt out --method cbow --min-n 2", "fasttext"),
    ("prepare text.txt out --split val=0.1 --split val=0.2", "comes twice"),
]


@pytest.mark.parametrize(("line", "said"), IDLE, ids=[line for line, _ in IDLE])
def test_an_option_that_would_say_nothing_is_refused(monkeypatch, tmp_path, line, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("a king and a queen\n", encoding="utf-8")
    refused = CliRunner().invoke(app, line.split())
    assert isinstance(refused.exception, ArgumentError), refused.exception
    assert said in str(refused.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["text.txt"]


def test_a_name_that_is_none_is_refused_before_the_first_is_downloaded(monkeypatch):
    from foreword import downloader

    monkeypatch.setattr(downloader, "load", lambda *_, **__: pytest.fail("downloaded"))
    refused = CliRunner().invoke(app, ["vectors", "download", "glove-twitter-25", "nope"])
    assert isinstance(refused.exception, UnknownNameError)
