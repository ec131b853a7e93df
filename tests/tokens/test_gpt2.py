"""GPT-2 exactly as tiktoken encodes it, whatever the text, by either engine."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from foreword.errors import FormatError, SpecialTokenError, TokenIdError, UnknownNameError
from foreword.tokens import get_tokenizer
from foreword.tokens.tokenizers.engines import _Gigatoken, _Tiktoken, parse_ranks

from .conftest import SPECIAL, gpt2_oracle, gpt2_ranks, odd_strings, real_text

GPT2 = get_tokenizer("gpt2")
ENGINES = [_Gigatoken(gpt2_ranks()), _Tiktoken(gpt2_ranks())]


def as_text(text: str) -> str:
    """The Unicode string that a text with lone surrogates stands for: tiktoken's own rule."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_one(text: str) -> None:
    oracle = gpt2_oracle()
    ordinary = oracle.encode_ordinary(text)
    assert GPT2.encode_ordinary(text).tolist() == ordinary
    assert GPT2.decode(GPT2.encode_ordinary(text)) == as_text(text)
    for engine in ENGINES:
        assert engine.encode(as_text(text)).tolist() == ordinary, engine.name
    allowed = oracle.encode(text, allowed_special="all")
    assert GPT2.encode(text, allowed_special="all").tolist() == allowed
    assert GPT2.encode(text, allowed_special={SPECIAL}).tolist() == allowed
    assert GPT2.encode(text, disallowed_special=()).tolist() == ordinary
    if SPECIAL in text:
        with pytest.raises(SpecialTokenError, match="not allowed"):
            GPT2.encode(text)
    else:
        assert GPT2.encode(text).tolist() == ordinary


@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd_strings)
def test_odd_strings(text: str) -> None:
    check_one(text)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd_strings)
def test_odd_strings_in_full(text: str) -> None:
    check_one(text)


def test_a_megabyte_of_real_text() -> None:
    text = real_text()
    expected = np.array(gpt2_oracle().encode_ordinary(text))
    for engine in ENGINES:
        np.testing.assert_array_equal(engine.encode(text), expected)
    assert GPT2.decode(expected) == text


@pytest.mark.parametrize(
    "sizes", [(9_000, 17_000, 12_000), (9_000, 200_000), (50_000, 8_000, 5), (20, 0, 300), ()], ids=str
)
def test_many_texts_at_once_are_each_alone(sizes: tuple[int, ...]) -> None:
    """Large ones of like length in one call, others one by one, small ones in another way."""
    texts = [real_text()[i : i + size] for i, size in enumerate(sizes)]
    for engine in ENGINES:
        ids, lengths = engine.encode_many([text.encode() for text in texts])
        alone = [engine.encode(text).tolist() for text in texts]
        assert lengths.tolist() == list(map(len, alone)), engine.name
        assert ids.tolist() == [i for one in alone for i in one], engine.name


def test_every_code_point_alone() -> None:
    """Each of the 1,112,064 code points, by blocks with a separator, so that every class of the pattern is met."""
    oracle = gpt2_oracle()
    for start in range(0, 0x110000, 4096):
        text = "a".join(map(chr, filter(lambda c: not 0xD800 <= c < 0xE000, range(start, start + 4096))))
        assert GPT2.encode_ordinary(text).tolist() == oracle.encode_ordinary(text), hex(start)


def test_known_ids() -> None:
    """The worked example of the GPT-2 literature: the ids that the notebook prints."""
    text = "Hello, do you like tea? <|endoftext|> In the sunlit terraces of someunknownPlace."
    ids = GPT2.encode(text, allowed_special={SPECIAL})
    hello = [
        15496,
        11,
        466,
        345,
        588,
        8887,
        30,
        220,
        50256,
        554,
        262,
        4252,
        18250,
        8812,
        2114,
        286,
        617,
        34680,
        27271,
        13,
    ]
    assert ids.tolist() == hello
    assert GPT2.decode(ids) == text


def test_the_ranks_are_openais() -> None:
    assert (
        hashlib.sha256(gpt2_ranks()).hexdigest() == "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
    )
    assert len(parse_ranks(gpt2_ranks(), where="gpt2")) == 50_256
    assert GPT2.vocab_size == 50_257
    assert GPT2.end_of_text_id == 50_256


def test_special_tokens_as_in_tiktoken() -> None:
    text = f"a{SPECIAL}b{SPECIAL}{SPECIAL}"
    oracle = gpt2_oracle()
    for options in (
        {"allowed_special": "all"},
        {"allowed_special": {SPECIAL}},
        {"allowed_special": {SPECIAL}, "disallowed_special": ()},
        {"disallowed_special": ()},
        {"allowed_special": {"<|other|>"}, "disallowed_special": ()},
    ):
        assert GPT2.encode(text, **options).tolist() == oracle.encode(text, **options), options
    for options in ({}, {"disallowed_special": {SPECIAL}}, {"disallowed_special": {"b"}}):
        with pytest.raises(ValueError):  # noqa: PT011 - tiktoken's own error
            oracle.encode(text, **options)
        with pytest.raises(SpecialTokenError):
            GPT2.encode(text, **options)


def test_special_token_error_says_where_and_the_fix() -> None:
    with pytest.raises(SpecialTokenError) as error:
        GPT2.encode("one " + SPECIAL)
    assert "character 4" in str(error.value)
    assert "allowed_special={'<|endoftext|>'}" in str(error.value)


def test_unhappy_arguments() -> None:
    with pytest.raises(TypeError, match="must be a str, got bytes"):
        GPT2.encode(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a str, got int"):
        GPT2.encode_ordinary(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integers"):
        GPT2.decode([1.5])
    with pytest.raises(TokenIdError, match="no token has the id 50257") as error:
        GPT2.decode([1, 50257])
    assert "position 1 of 2" in str(error.value)
    with pytest.raises(IndexError):
        GPT2.decode([-1])
    with pytest.raises(UnknownNameError, match="'gpt9'") as unknown:
        get_tokenizer("gpt9")
    assert "'gpt2'" in str(unknown.value)
    with pytest.raises(FormatError, match="merge ranks") as ranks:
        parse_ranks(b"aGk= 0\nnot base64 at all\n", where="x.tiktoken")
    assert "x.tiktoken, line 2" in str(ranks.value)


def test_empty() -> None:
    assert GPT2.encode("").tolist() == []
    assert GPT2.encode("").dtype == np.uint32
    assert GPT2.decode([]) == ""
    assert GPT2.encode_batch([]) == []


def test_pickle_and_threads() -> None:
    clone = pickle.loads(pickle.dumps(GPT2))
    assert clone.fingerprint == GPT2.fingerprint
    text, expected, wrong = real_text()[:50_000], gpt2_oracle().encode_ordinary(real_text()[:50_000]), []

    def work() -> None:
        wrong.extend(round_ for round_ in range(20) if GPT2.encode(text).tolist() != expected)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


ISOLATED = """
import socket, sys, tempfile, os
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
import builtins, io
from foreword.tokens import get_tokenizer
plain = builtins.open
def read_only(file, mode="r", *args, **kwargs):
    assert not set(mode) & set("wax+") or isinstance(file, int), (file, mode)
    return plain(file, mode, *args, **kwargs)
builtins.open = io.open = read_only
def no_folder(*args, **kwargs): raise AssertionError("a folder was made")
os.mkdir = os.makedirs = tempfile.mkdtemp = tempfile.mkstemp = no_folder
print(get_tokenizer("gpt2").encode("Every effort moves you").tolist())
assert "awkward" not in sys.modules and "torch" not in sys.modules and "pyarrow" not in sys.modules
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the engine reads its ranks from a temporary file")
def test_no_network_and_nothing_written() -> None:
    """A read-only install with no writable cache and no network: gpt2 works all the same."""
    environment = {**os.environ, "FOREWORD_HOME": "/proc/nowhere", "HOME": "/proc/nowhere", "TMPDIR": "/proc/nowhere"}
    done = subprocess.run([sys.executable, "-B", "-c", ISOLATED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[6109, 3626, 6100, 345]"
