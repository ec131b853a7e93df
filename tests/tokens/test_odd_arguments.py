"""Arguments that nobody means: one error of ours each."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foreword.cli import app, main
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.recipes import embed
from foreword.tokens import get_tokenizer, prepare


@pytest.mark.parametrize("name", ["gpt2", "bytes"])
def test_tokenizers(name: str) -> None:
    tokenizer = get_tokenizer(name)
    with pytest.raises(ArgumentTypeError, match="a batch is a list of texts"):
        tokenizer.encode_batch("abc")
    for ids in ([[64], [65]], np.ones((2, 3), int), [[64]]):
        with pytest.raises(ArgumentError, match="use decode_batch"):
            tokenizer.decode(ids)
    assert tokenizer.decode_batch([[64], [65]]) == [tokenizer.decode([64]), tokenizer.decode(65)]
    text = "a<|endoftext|>"
    for option in ("allowed_special", "disallowed_special"):
        with pytest.raises(ArgumentError, match=rf"{option} is \"all\", or a set of texts"):
            tokenizer.encode(text, **{option: "<|endoftext|>"})
        with pytest.raises(ArgumentError, match=rf"{option} is \"all\", or a set of texts"):
            tokenizer.encode_batch([text, text], workers=2, **{option: "<|endoftext|>"})
    assert tokenizer.encode(text, allowed_special="all")[-1] == tokenizer.end_of_text_id


def test_places_in_a_store(tmp_path: Path) -> None:
    store = prepare([{"prompt": "ab", "completion": "cd"}], tmp_path / "s", records="completion", tokenizer="bytes")
    for read in (store.read, store.read_loss):
        for start, stop in ((-1, 3), (0, -1)):
            with pytest.raises(ArgumentError, match="must be at least 0"):
                read(start, stop)
        for start, stop in (("a", 1), (0, 1.5), (None, None)):
            with pytest.raises(ArgumentTypeError, match="must be an integer"):
                read(start, stop)
        assert len(read(0, 10**9)) == len(store) == 5
        assert len(read(np.uint64(3), np.int8(1))) == 0


def test_warnings_of_commands_say_no_line_of_code(tmp_path: Path, monkeypatch, capfd) -> None:
    prepare(["one two three"], tmp_path / "s")
    monkeypatch.setattr(
        "sys.argv", ["foreword", "inspect", str(tmp_path / "s"), "--trace", "0", "--context-length", "1"]
    )
    monkeypatch.setattr("warnings.formatwarning", None)  # and given back
    with pytest.warns(UserWarning, match="gives no batch"), pytest.raises(SystemExit):
        main()
    said = warnings.formatwarning(UserWarning("the loader gives \x1b no batch"), UserWarning, "file.py", 3)
    assert said == "warning: the loader gives \\x1b no batch\n"
    assert "expected: none" in capfd.readouterr().err
    assert CliRunner().invoke(app, ["inspect", str(tmp_path / "s")]).exit_code == 0


def test_options_of_prepare(tmp_path: Path) -> None:
    for options in ({"workers": 0}, {"workers": 1.5}, {"shard_tokens": "9"}, {"shard_tokens": -1}, {"workers": True}):
        with pytest.raises(ArgumentError, match="must be a"):
            prepare(["x"], tmp_path / "s", **options)
    with pytest.raises(ArgumentError, match="Ray cluster's"):
        prepare(["x"], tmp_path / "s", address="ray://there")
    assert prepare(["x"], tmp_path / "s", workers=np.int8(1), shard_tokens=np.uint16(9)).documents == 1


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two")
    corpus, out = str(tmp_path / "a.txt"), str(tmp_path / "s")
    for arguments, message in (
        (["--no-end-of-text", "--end-of-text-token", "<|endoftext|>"], "leave one of them out"),
        (["--split", "val=0.1,test=0.2"], "--split val=0.01 --split test=0.01"),
    ):
        error = CliRunner().invoke(app, ["prepare", corpus, out, *arguments]).exception
        assert isinstance(error, ArgumentError)
        assert message in str(error)


def test_a_tokenizer_of_words(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a tokenizer goes with a layer"):
        embed(prepare(["one two"], tmp_path / "s"), tmp_path / "out", tokenizer="bytes")
