"""Training a vocabulary: beside, so that it ends at once; its result as tokenizer.json and as merge ranks."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import ArgumentError, ForewordError, MissingFileError
from foreword.tokens import get_tokenizer, train_tokenizer
from foreword.tokens.tokenizers import train, training
from foreword.tokens.tokenizers.engines import PATTERNS, parse_ranks

from .conftest import odd_strings, real_text
from .test_tokenizers import as_text

pytest.importorskip("tokenizers")
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
TEXT = real_text()[:150_000] + "漢字 né 👩‍👩‍👧 don't I'LL 12345 \r\n\r\n  \t x\n" * 50


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k_base", "o200k_base", r"\w+|\W", r"[^\r\n]{1,20}|[\r\n]+"])
def test_ranks_are_the_same_tokenizer(pattern: str, tmp_path: Path) -> None:
    special = ("<|endoftext|>", "<|im_end|>")
    out = tmp_path / "tokenizer.json"
    tokenizer = train_tokenizer([TEXT], out, vocab_size=1_500, pattern=pattern, special_tokens=special)
    assert tokenizer.special_tokens == {"<|endoftext|>": 0, "<|im_end|>": 1}
    assert tokenizer.vocab_size == 1_500
    ranks = parse_ranks((tmp_path / "tokenizer.tiktoken").read_bytes(), where="ranks")
    by_ranks = get_tokenizer(tmp_path / "tokenizer.tiktoken", pattern=pattern, special_tokens=tokenizer.special_tokens)
    split = PATTERNS.get(pattern, pattern)
    oracle = tiktoken.Encoding("x", pat_str=split, mergeable_ranks=ranks, special_tokens=tokenizer.special_tokens)

    @QUICK
    @given(odd_strings)
    def check(text: str) -> None:
        ids = tokenizer.encode(text, allowed_special="all").tolist()
        assert ids == by_ranks.encode(text, allowed_special="all").tolist()
        assert ids == oracle.encode(text, allowed_special="all")
        assert tokenizer.decode(ids) == as_text(text)

    check()
    assert tokenizer.encode(TEXT).tolist() == oracle.encode(TEXT)


def test_repeated_letters_give_plain_ranks(tmp_path: Path) -> None:
    """Where the same token could come about in several ways."""
    texts = ["a" * n + " " + "ab" * n + " " * n for n in range(1, 60)] * 5
    tokenizer = train_tokenizer(texts, tmp_path / "t.json", vocab_size=330, min_frequency=1)
    by_ranks = get_tokenizer(tmp_path / "t.tiktoken", pattern="gpt2", special_tokens=tokenizer.special_tokens)
    for text in ("a" * 997, "ab" * 333, " " * 500 + "b", "aab" * 50 + "baa" * 50):
        assert tokenizer.encode(text).tolist() == by_ranks.encode(text).tolist()


def test_what_ranks_cannot_say_is_not_written() -> None:
    letters = {chr(byte): byte for byte in range(256)}
    vocab = {letter: train.BYTE_OF_LETTER[letter] for letter in train.BYTE_OF_LETTER}
    assert len(letters) == len(vocab)

    def spec(merges: list[tuple[str, str]]) -> dict:
        tokens = {a + b: 256 + i for i, (a, b) in enumerate(merges)}
        return {"model": {"vocab": vocab | tokens, "merges": [list(merge) for merge in merges]}}

    assert train._plain_ranks(spec([("a", "b"), ("ab", "c")]), set()) is not None
    assert train._plain_ranks(spec([("b", "c"), ("a", "b"), ("ab", "c")]), set()) is None, "abc would be a, bc"
    assert train._plain_ranks(spec([("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")]), set()) is None, "two ways"


def test_what_was_trained_before_is_trained_again(tmp_path: Path) -> None:
    """The result is the library's own, word for word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": ["<|endoftext|>"], "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=900, min_frequency=2, **options))
    train_tokenizer([TEXT], tmp_path / "t.json", vocab_size=900)
    assert (tmp_path / "t.json").read_text(encoding="utf-8") == made.to_str(pretty=True)


@pytest.mark.parametrize("text", ["a" * 1_000_000, "ab" * 500_000, " " * 1_000_000, "é" * 500_000])
def test_one_word_of_a_megabyte(text: str, tmp_path: Path) -> None:
    tokenizer = train_tokenizer([text, "some words " * 10], tmp_path / "t.json", vocab_size=300)
    assert max(len(tokenizer.decode_bytes([id_])) for id_ in range(tokenizer.vocab_size)) <= training.LONGEST_WORD
    assert len(tokenizer.encode(text[:10_000])) < 100


def test_refusals(tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    for options in (
        {"vocab_size": 257, "special_tokens": ("<a>", "<b>")},
        {"vocab_size": 300.0},
        {"vocab_size": True},
        {"min_frequency": -1},
        {"special_tokens": ("<a>", "<a>")},
        {"special_tokens": ("",)},
        {"special_tokens": ("a",)},
        {"special_tokens": (3,)},
        {"pattern": ""},
        {"pattern": "("},
        {"pattern": r"\w+$|."},
        {"pattern": r"\d{1,3}+|."},
    ):
        with pytest.raises(ArgumentError):
            train_tokenizer(["x"], out, **{"vocab_size": 300, **options})
    with pytest.raises(MissingFileError):
        train_tokenizer([tmp_path / "none.txt"], out, vocab_size=300)
    with pytest.raises(ArgumentError, match="holds no text"):
        train_tokenizer(["", ""], out, vocab_size=300)

    def never():
        raise AssertionError("the corpus was read before the folder was looked for")
        yield

    with pytest.raises(MissingFileError, match="can't write the tokenizer"):
        train_tokenizer(never(), tmp_path / "none" / "t.json", vocab_size=300)
    assert not list(tmp_path.iterdir()), "nothing is left behind"
    assert train_tokenizer(["x"], out, vocab_size=300, special_tokens="<a>").special_tokens == {"<a>": 0}


def test_a_process_that_ends_is_said(tmp_path: Path, monkeypatch) -> None:
    def reading() -> object:
        yield "a text"
        raise KeyboardInterrupt

    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: started.append(popen(*args, **more)) or started[-1])
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(reading(), tmp_path / "t.json", vocab_size=300)
    assert started[0].returncode is not None, "it goes on alone"

    def killing() -> object:
        yield "a text"
        started[-1].kill()
        yield "more " * 100_000

    with pytest.raises(ForewordError, match="ended before it was done"):
        train_tokenizer(killing(), tmp_path / "t.json", vocab_size=300)
    assert not list(tmp_path.iterdir())


PROGRAM = """
import sys, random
sys.path.insert(0, {here!r})
from foreword.cli import main
main()
"""


def alive(pid: int) -> bool:
    """Whether a process still works."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def child_of(pid: int) -> int:
    """The process that was started by another one, once it works."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError("no process was started")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_it_ends_at_once(how: str, tmp_path: Path) -> None:
    """Ctrl-C while it merges, and with the process that started it."""
    import random

    drawn = random.Random(0)
    text = "".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=3_000_000))
    (tmp_path / "corpus.txt").write_text(" ".join(text[i : i + 900] for i in range(0, len(text), 900)))
    command = [sys.executable, "-m", "foreword", "tokens", "train", tmp_path / "corpus.txt", tmp_path / "t.json"]
    with subprocess.Popen(
        [*command, "--vocab-size", "60000"], stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        child = child_of(process.pid)
        while _bytes_read(child) < len(text):
            time.sleep(0.05)
        time.sleep(0.5)  # now it counts or merges
        assert process.poll() is None
        if how == "interrupt":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        process.wait(20)
        end = time.monotonic() + 20
        while alive(child) and time.monotonic() < end:
            time.sleep(0.02)
        assert not alive(child)
        assert process.returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt"]


def _bytes_read(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return int(lines[0].split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal")
def test_merging_shows_progress(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(TEXT * 4)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "foreword", "tokens", "train", tmp_path / "corpus.txt", tmp_path / "t.json"]
    with subprocess.Popen([*command, "--vocab-size", "3000"], stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                data = os.read(ours, 65_536)
            except OSError:
                break
            if not data:
                break
            said += data
        assert process.wait() == 0
    os.close(ours)
    assert b"merges" in said
    assert b"Pre-processing" not in said, "while it reads, there is one bar only"


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    arguments = ["tokens", "train", str(tmp_path / "a.txt"), str(tmp_path / "t.json"), "--vocab-size", "500"]
    arguments += ["--pattern", "o200k_base", "--special-token", "<|im_start|>", "--special-token", "<|im_end|>"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "vocab_size 500" in result.stdout
    assert "t.tiktoken" in result.stdout
    assert get_tokenizer(tmp_path / "t.json").special_tokens == {"<|im_start|>": 0, "<|im_end|>": 1}
