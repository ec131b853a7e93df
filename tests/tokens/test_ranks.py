"""Files of merge ranks: gaps, what other tools write, other names, special tokens; tokens that end a document."""

from __future__ import annotations

import json
import pickle
from base64 import b64encode
from pathlib import Path

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import ArgumentError, FormatError, StoreError
from foreword.tokens import TokenStore, get_tokenizer, inspect, prepare
from foreword.tokens.tokenizers.engines import PATTERNS, format_ranks, parse_ranks

from .conftest import gpt2_ranks, odd_strings, real_text
from .test_tokenizers import as_text

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
BYTES = {bytes([i]): i for i in range(256)}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("gaps", ["one", "first", "many", "last bytes"])
def test_ranks_with_gaps(gaps: str, tmp_path: Path) -> None:
    """As p50k_base's, which leaves 50256 free for its special token."""
    dense = sorted(parse_ranks(gpt2_ranks(), where="gpt2").items(), key=lambda item: item[1])[:40_000]
    move = {
        "one": lambda rank: rank + (rank >= 20_000),
        "first": lambda rank: rank + 3,
        "many": lambda rank: 5 * rank,
        "last bytes": lambda rank: rank + 1_000_000 * (rank >= 200),
    }[gaps]
    ranks = {token: move(rank) for token, rank in dense}
    free = next(i for i in range(10**7) if i not in set(ranks.values()))
    oracle = tiktoken.Encoding("x", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={"<e>": free})
    path = tmp_path / "x.tiktoken"
    path.write_bytes(format_ranks(ranks))
    tokenizer = get_tokenizer(path, pattern="gpt2", special_tokens={"<e>": free})
    assert tokenizer._engine.name == "gigatoken", "the fast engine"

    @QUICK
    @given(odd_strings)
    def check(text: str) -> None:
        assert tokenizer.encode(text, allowed_special="all").tolist() == oracle.encode(text, allowed_special="all")
        ids = tokenizer.encode_ordinary(text)
        assert tokenizer.decode(ids) == as_text(text)
        assert tokenizer.encode_many([as_text(text).encode(), b"x y"])[0].tolist()[: len(ids)] == ids.tolist()

    check()
    text = real_text()[:100_000]
    assert tokenizer.encode(text).tolist() == oracle.encode(text)
    assert tokenizer.vocab_size == oracle.max_token_value + 1
    assert prepare([text], tmp_path / "s", tokenizer=tokenizer, append_end_of_text=False)[:].tolist() == oracle.encode(
        text
    )


def test_the_end_of_p50k_is_in_its_gap(tmp_path: Path) -> None:
    ranks = parse_ranks(gpt2_ranks(), where="gpt2") | {b" " * n: 50255 + n for n in range(2, 26)}
    path = tmp_path / "p50k_base.tiktoken"
    path.write_bytes(format_ranks(ranks))
    assert get_tokenizer(path).end_of_text_id == 50256


def test_what_other_tools_write(tmp_path: Path) -> None:
    ranks = BYTES | {b"ab": 256, b"abc": 300}
    lines = [b64encode(token) + b" %d" % rank for token, rank in ranks.items()]
    path = tmp_path / "x.tiktoken"
    for data in (
        b"\n".join(lines),
        b"\r\n".join(lines) + b"\r\n",
        b"\xef\xbb\xbf" + b"\n".join(lines) + b"\n\n\n",
        b"\n".join(reversed(lines)),
        b"\n\n".join(lines),
        b"\n".join(line.replace(b" ", b"\t") for line in lines[1:] + lines[:1]),
    ):
        path.write_bytes(data)
        tokenizer = get_tokenizer(path, pattern="gpt2")
        assert tokenizer.encode("abc ab").tolist() == [300, 32, 256]
        assert tokenizer.vocab_size == 302
    for line in (
        b"YWI= 300",
        b"YWI= 256",
        b"eHk= 256",
        b"eHk= -1",
        b"eHk= 1_000",
        b"eHk= +9",
        b"eHk= 4294967295",
        b"= 400",
    ):
        path.write_bytes(b"\n".join([*lines, line]))
        with pytest.raises(FormatError):
            get_tokenizer(path, pattern="gpt2")


def test_ranks_by_another_name(tmp_path: Path) -> None:
    """Llama 3's ranks are called tokenizer.model: the contents tell."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(format_ranks(BYTES | {b"ab": 256}))
    with pytest.raises(ArgumentError, match="which split pattern") as error:
        get_tokenizer(path)
    assert "--pattern" in str(error.value)
    special = {"<|begin_of_text|>": 300, "<|end_of_text|>": 301}
    tokenizer = get_tokenizer(path, pattern="cl100k_base", special_tokens=special)
    assert tokenizer.encode("ab<|end_of_text|>", allowed_special="all").tolist() == [256, 301]
    assert (tokenizer.end_of_text_id, tokenizer.vocab_size) == (301, 302)
    clone = pickle.loads(pickle.dumps(tokenizer))
    assert (clone.fingerprint, clone.options) == (tokenizer.fingerprint, tokenizer.options)
    store = prepare(["ab"], tmp_path / "s", tokenizer=tokenizer, beginning="<|begin_of_text|>")
    assert store[:].tolist() == [300, 256, 301]
    assert TokenStore.open(tmp_path / "s").tokenizer.fingerprint == tokenizer.fingerprint, "opened again by its name"
    for name in ("ranks", "ranks.txt", "x.bpe"):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert get_tokenizer(tmp_path / name, pattern="gpt2").encode("ab").tolist() == [256]
    assert "256  'ab'" in run("tokens", "show", "ab", "--tokenizer", path, "--pattern", "gpt2")
    run("prepare", tmp_path / "x.bpe", tmp_path / "t", "--tokenizer", path, "--pattern", "gpt2", "--format", "text")
    assert "every byte" in run("inspect", tmp_path / "t", "--verify", "--tokenizer", path, "--pattern", "gpt2")


def test_a_name_that_contents_contradict(tmp_path: Path) -> None:
    ranks, spec = format_ranks(BYTES), b'{"model": {}}'
    for name, data in (("x.json", ranks), ("x.tiktoken", spec), ("x.model", spec), ("x.tiktoken", b"\n\x07\n\x01a")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FormatError, match="another kind than its name says"):
            get_tokenizer(tmp_path / name)
    (tmp_path / "x.bin").write_bytes(bytes(100))
    with pytest.raises(FormatError, match="not a tokenizer's file"):
        get_tokenizer(tmp_path / "x.bin")


def test_options_that_do_not_go(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_bytes(format_ranks(BYTES))
    for name in ("gpt2", "bytes", get_tokenizer("gpt2")):
        for options in ({"pattern": "gpt2"}, {"special_tokens": {}}):
            with pytest.raises(ArgumentError, match="file of merge ranks only"):
                get_tokenizer(name, **options)
    for special in (
        {"<a>": 255},
        {"<a>": 300, "<b>": 300},
        {"": 300},
        {"<a>": -1},
        {"<a>": "300"},
        {"<a>": True},
        {3: 300},
    ):
        with pytest.raises(ArgumentError):
            get_tokenizer(path, pattern="gpt2", special_tokens=special)
    with pytest.raises(ArgumentError, match="split pattern that can't be used"):
        get_tokenizer(path, pattern="(")
    assert get_tokenizer(path, pattern="gpt2", special_tokens={}).special_tokens == {}


def test_the_token_that_ends_a_document_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_bytes(format_ranks(BYTES))
    tokenizer = get_tokenizer(path, pattern="gpt2", special_tokens={"<|im_end|>": 256, "<EOS_TOKEN>": 257})
    with pytest.raises(ArgumentError, match="no end-of-text token") as error:
        prepare(["a"], tmp_path / "s", tokenizer=tokenizer)
    assert "--end-of-text-token" in str(error.value)
    store = prepare(["a", "b"], tmp_path / "s", tokenizer=tokenizer, append_end_of_text="<|im_end|>")
    assert store[:].tolist() == [97, 256, 98, 256]
    with pytest.raises(StoreError, match="another append_end_of_text"):
        prepare(["a", "b"], tmp_path / "s", tokenizer=tokenizer, append_end_of_text="<EOS_TOKEN>")
    with pytest.raises(ArgumentError, match="no special token '<none>'"):
        prepare(["a"], tmp_path / "t", tokenizer=tokenizer, append_end_of_text="<none>")
    (tmp_path / "a.txt").write_text("a")
    run("prepare", tmp_path / "a.txt", tmp_path / "u", "--end-of-text-token", "<|endoftext|>")
    assert TokenStore.open(tmp_path / "u")[:].tolist() == [64, 50256]


def test_a_named_end_of_a_tokenizer_json(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    library = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    library.add_special_tokens(["<|im_end|>"])
    library.add_tokens(["<EOS_TOKEN>"])
    library.save(str(tmp_path / "tokenizer.json"))
    for i, name in enumerate(("<|im_end|>", "<EOS_TOKEN>")):
        store = prepare(["a"], tmp_path / str(i), tokenizer=tmp_path / "tokenizer.json", append_end_of_text=name)
        assert store[:].tolist() == [0, 1 + i]


def test_parts_of_characters_read_as_bytes(tmp_path: Path) -> None:
    said = run("tokens", "show", "我 é")
    assert r"b'\xe6\x88'" in said
    assert "\\\\" not in said
    assert "' é'" in said
    rows = json.loads(run("tokens", "show", "我", "--json"))["tokens"]
    assert [row["reads"] for row in rows] == [r"b'\xe6\x88'", r"b'\x91'"]
    store = prepare(["我们在这里，我们很好"] * 3, tmp_path / "s")
    found = inspect(store, first=5, top=30)
    texts = [text for _, text, _ in found.top]
    assert len(set(texts)) == len(texts), "every token reads as itself"
    assert "�" not in "".join(texts)
    assert found.text == store.tokenizer.decode(store[:5])
    assert found.text.startswith("我们")
    said = run("inspect", tmp_path / "s", "--first", 5)
    assert "'我们" in said
    assert r"b'\x91'" in said
    assert "\\\\" not in said
