"""The commands of tokens, run in this process: what they print, and that a clear error ends them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import ArgumentError, ForewordError, MissingPackageError, StoreError
from foreword.tokens import TokenStore, get_tokenizer, prepare
from foreword.tokens.store.inspection import inspect
from foreword.tokens.tokenizers.train import train_tokenizer

from .conftest import real_text

TEXTS = ["Every effort moves you", "moves you", "you", "you you you"]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS) + "{broken\n")
    return path


def test_prepare_inspect_export(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    with pytest.raises(ForewordError, match="line 5"):
        run("prepare", corpus, out)
    said = run("prepare", corpus, out, "--bad-records", "skip", "--workers", 1)
    assert "4 documents" in said
    assert "1 bad record" in said
    assert "complete already" not in said
    again = run("prepare", corpus, out, "--bad-records", "skip")
    assert "complete already" in again
    with pytest.raises(StoreError, match="another documents"):
        run("prepare", corpus, out, "--bad-records", "skip", "--documents", "line")
    said = run("inspect", out, "--verify")
    for words in ("gpt2", "every byte is as it was written", "Every effort moves you<|endoftext|>", "most frequent"):
        assert words in said.replace("\n", "")
    told = json.loads(run("inspect", out, "--json", "--top", 1))
    assert told["tokens"] == len(TokenStore.open(out))
    assert told["top"] == [[345, " you", 4]]
    run("export", out, tmp_path / "x", "--format", "llmc")
    assert json.loads(run("inspect", tmp_path / "x.bin", "--json"))["tokens"] == told["tokens"]
    data = bytearray((out / "00000.tokens").read_bytes())
    data[3] ^= 1
    (out / "00000.tokens").write_bytes(data)
    with pytest.raises(StoreError, match=r"00000\.tokens, bytes 0"):
        run("inspect", out, "--verify")


def test_no_command_but_prepare_writes_to_a_url(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("prepare", corpus, tmp_path / "store", "--bad-records", "skip")
    text, vectors = tmp_path / "a.txt", tmp_path / "v.txt"
    text.write_text("every effort moves you")
    vectors.write_text("every 0.5 1\neffort 1 2\n")
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path.parent / "cache"))
    for command in (
        ["export", "store", "s3://bucket/out"],
        ["tokens", "train", text, "s3://bucket/tokenizer.json", "--vocab-size", 300],
        ["tokens", "show", "you", "--plot", "s3://bucket/a.png"],
        ["inspect", "store", "--plot", "s3://bucket/a.png"],
        ["embed", text, "s3://bucket/out", "--vectors", vectors],
        ["embed", text, "s3://bucket/out.safetensors", "--vectors", vectors],
        ["vectors", "convert", vectors, "s3://bucket/store"],
        ["vectors", "export", vectors, "s3://bucket/out.txt"],
    ):
        with pytest.raises(ArgumentError, match="not to a URL") as error:
            run(*command)
        assert "s3://bucket/" in str(error.value)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ArgumentError, match="web server can't be written"):
        run("prepare", corpus, "https://example.org/store", "--append")
    with pytest.raises(ArgumentError, match="web server can't be written"):
        prepare(["x"], Path("https://example.org/store"))


def test_prepare_names_what_it_passes_over(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "photo.png").write_bytes(b"\x89PNG")
    said = run("prepare", folder, tmp_path / "s")
    assert "1 passed over: photo.png (.png is no known format)" in said
    assert "photo.png" in run("inspect", tmp_path / "s")
    (folder / "b.txt").write_text("two")
    (folder / "c.txt").write_text("one")
    said = run("prepare", folder, tmp_path / "s", "--append")
    assert "2 documents" in said
    assert "in the store already: 2 sources" in said
    (folder / "b.txt").write_text("three")
    assert "added: 1 source of a name that the store has" in run("prepare", folder, tmp_path / "s", "--append")
    told = json.loads(run("prepare", folder, tmp_path / "s", "--append", "--json"))
    assert (told["already"], told["passed_over"]) == (3, ["photo.png (.png is no known format)"])


def test_a_separator_is_taken_with_its_escapes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n\ntwo\tand\\n\n\nthree")
    cases = [(r"\n\n", 3), (r"\t", 2), (r"\x09", 2), (r"\u0074", 3), (r"\\", 2), ("and", 2)]
    for number, (separator, count) in enumerate(cases):
        out = tmp_path / f"s{number}"
        told = json.loads(run("prepare", tmp_path / "a.txt", out, "--separator", separator, "--json"))
        assert told["stores"][0]["documents"] == count, separator
    assert TokenStore.open(tmp_path / "s0").manifest["policies"]["separator"] == "\n\n"
    with pytest.raises(ArgumentError, match="no such escape"):
        run("prepare", tmp_path / "a.txt", tmp_path / "s", "--separator", r"\q")
    with pytest.raises(ArgumentError, match="no such escape"):
        run("prepare", tmp_path / "a.txt", tmp_path / "s", "--separator", "\\")


def test_prepare_with_a_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"line {i}" for i in range(200)))
    options = ["--documents", "line", "--split", "val=0.2", "--json"]
    told = json.loads(run("prepare", tmp_path / "a.txt", tmp_path / "s", *options))
    assert [Path(store["path"]).name for store in told["stores"]] == ["train", "val"]
    assert sum(store["documents"] for store in told["stores"]) == 200
    with pytest.raises(ArgumentError, match="a name and a share"):
        run("prepare", tmp_path / "a.txt", tmp_path / "s", "--split", "val")


def test_inspection_counts(tmp_path: Path) -> None:
    store = prepare(TEXTS, tmp_path / "s", shard_tokens=4)
    found = inspect(store, first=2, top=2)
    assert found.beginning == [(6109, "Every"), (3626, " effort")]
    assert found.top == [(345, " you", 4), (50256, "<|endoftext|>", 4)]
    assert sum(count for _, _, count in found.histogram) == found.documents == 4
    assert found.lengths == {"shortest": 2, "median": 4.0, "mean": 3.8, "longest": 5}
    assert found.shards == len(store.shards) > 1
    assert found.used == len({*store[:].tolist()})


def test_interrupted_it_says_how_to_go_on(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foreword.tokens.preparing import prepare as module

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "prepared", interrupted)
    done = CliRunner().invoke(app, ["prepare", str(corpus), str(tmp_path / "store")])
    assert done.exit_code == 130
    assert done.stderr.endswith("Interrupted. The same command resumes where it stopped.\n")
    done = CliRunner().invoke(app, ["prepare", str(corpus), str(tmp_path / "store"), "--restart"])
    assert "The same command without --restart resumes" in done.stderr


def test_one_is_said_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    assert "1 document\n" in run("prepare", tmp_path / "a.txt", tmp_path / "store")
    assert "in 1 shard\n" in "\n".join(line.rstrip() for line in run("inspect", tmp_path / "store").splitlines()) + "\n"


def test_show() -> None:
    lines = run("tokens", "show", "Every effort").splitlines()
    assert lines == ["    6109  'Every'", "    3626  ' effort'", "2 tokens of gpt2, 12 characters"]
    assert json.loads(run("tokens", "show", "a<|endoftext|>", "--special", "--json"))["tokens"][1]["id"] == 50256
    assert json.loads(run("tokens", "show", "a<|endoftext|>", "--json"))["count"] == 8


def test_train(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "a.txt").write_text(real_text()[:200_000])
    said = run("tokens", "train", tmp_path / "a.txt", tmp_path / "tokenizer.json", "--vocab-size", 600)
    assert "vocab_size 600" in said
    tokenizer = get_tokenizer(tmp_path / "tokenizer.json")
    text = "The import statement — né 🙂"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) < len(text.encode())
    assert tokenizer.end_of_text_id == 0
    store = prepare(tmp_path / "a.txt", tmp_path / "s", tokenizer=tmp_path / "tokenizer.json")
    assert store.tokenizer.decode(store[:-1]) == real_text()[:200_000]
    with pytest.raises(ArgumentError, match="at least 257"):
        train_tokenizer(["x"], tmp_path / "t.json", vocab_size=10)
    with pytest.raises(ArgumentError, match=r"ends in \.json"):
        train_tokenizer(["x"], tmp_path / "t.bin", vocab_size=300)


def test_train_names_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingPackageError, match="pip install tokenizers"):
        train_tokenizer(["x"], tmp_path / "t.json", vocab_size=300)


@pytest.mark.parametrize("command", [["prepare"], ["inspect"], ["export"], ["tokens", "show"], ["tokens", "train"]])
def test_help_has_an_example(command: list[str]) -> None:
    assert f"Example: foreword {' '.join(command)}" in run(*command, "--help")


def test_names_that_would_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "\x1b[31ma.txt").write_text("one two three four five six")
    (tmp_path / "corpus" / "\x1b[31mb.zzz").write_text("x")
    assert r"1 passed over: \x1b[31mb.zzz" in run("prepare", tmp_path / "corpus", tmp_path / "s")
    for said in (
        run("inspect", tmp_path / "s", "--trace", 0, "--context-length", 2, "--batch-size", 1),
        run("inspect", tmp_path / "s", "--when", 0, "--context-length", 2, "--batch-size", 1),
        run("inspect", tmp_path / "s"),
    ):
        assert "\x1b" not in said
        assert r"\x1b[31m" in said


def test_standard_input_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ForewordError, match="standard input"):
        run("prepare", "-", tmp_path / "s")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ForewordError, match="1 source, no text"):
        run("prepare", tmp_path / "empty.txt", tmp_path / "s")
