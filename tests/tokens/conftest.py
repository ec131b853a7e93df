"""What the tests of tokens share: odd strings, real text, tiktoken's own encoding as the oracle."""

from __future__ import annotations

import functools
import gzip
import importlib.resources
import pydoc_data.topics

import hypothesis.strategies as st
import pytest
import tiktoken

from foreword.tokens.tokenizers.engines import GPT2_PATTERN, parse_ranks

SPECIAL = "<|endoftext|>"


def gpt2_ranks() -> bytes:
    data = importlib.resources.files("foreword.tokens").joinpath("data", "gpt2.tiktoken.gz")
    return gzip.decompress(data.read_bytes())


@functools.cache
def gpt2_oracle() -> tiktoken.Encoding:
    """tiktoken's encoder on our own ranks (its download needs a network)."""
    ranks = parse_ranks(gpt2_ranks(), where="gpt2")
    return tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={SPECIAL: 50256})


@functools.cache
def real_text() -> str:
    """1 MB of English prose, code and tables: the standard library's own documentation, repeated."""
    text = "\n".join(pydoc_data.topics.topics.values())
    return (text * (1_000_000 // len(text) + 1))[:1_000_000]


@pytest.fixture(scope="session")
def oracle() -> tiktoken.Encoding:
    return gpt2_oracle()


_PIECES = st.one_of(
    st.text(max_size=12),  # any Unicode, lone surrogates too
    st.text(st.characters(categories=["Cs"]), max_size=3),
    st.text(" \t\r\n\v\f\x1c\x85\xa0\u2003\u2028\u3000", max_size=8),
    st.sampled_from(
        [
            SPECIAL,
            "<|endof",
            "text|>",
            "👩‍👩‍👧‍👦",
            "🇩🇪",
            "é",
            "'s",
            "'LL",
            "don’t",
            "ſ",
            "①",
            "\ufeff",
            "\0",
            "漢字",
            "नमस्ते",
        ]
    ),
    st.text("abcXYZ019 '.,-_/\\\"", max_size=20),
)

odd_strings = st.lists(_PIECES, max_size=8).map("".join)
