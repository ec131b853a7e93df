"""Tokenizers that another library has opened: tiktoken's, tokenizers' and transformers' objects.

The object is asked for what decides its ids, once: later changes to it change nothing here. Only what its class is
called is looked at, so that no library is imported for it.

Not for: files and names (``opening``). Costs: a copy of the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from foreword.errors import ArgumentTypeError, FormatError
from foreword.tokens.tokenizers.engines import format_ranks, parse_ranks
from foreword.tokens.tokenizers.hugging_face import HuggingFaceTokenizer
from foreword.tokens.tokenizers.tokenizer import ChatTemplate, RankTokenizer, Tokenizer

__all__ = ["from_object", "is_object_name"]

_EXPECTED = (
    "a name, a path, a foreword Tokenizer, or an object: tiktoken.Encoding, tokenizers.Tokenizer, "
    "transformers' PreTrainedTokenizerFast"
)


def from_object(given: Any) -> Tokenizer:
    """The tokenizer that an object of another library is.

    Raises:
        ArgumentTypeError: it is of no class whose ids can be known: names it.
        FormatError: it holds parts that are Python code.
    """
    classes = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(given).__mro__}
    if "tiktoken.Encoding" in classes:
        return _of_encoding(given)
    if "tokenizers.Tokenizer" in classes:
        return _of_library(given, "tokenizers.Tokenizer")
    if "tokenizers.BaseTokenizer" in classes:  # ByteLevelBPETokenizer and its like
        return _of_library(given._tokenizer, f"tokenizers.{type(given).__name__}")
    if classes & {"transformers.PreTrainedTokenizerFast", "transformers.TokenizersBackend"}:
        tokenizer = _of_library(given.backend_tokenizer, f"transformers.{type(given).__name__}")
        tokenizer.chat_source = _chat_of(given)
        return tokenizer
    if "transformers.PreTrainedTokenizerBase" in classes:
        raise ArgumentTypeError(
            "a tokenizer of transformers that is Python code, not the library tokenizers",
            got=type(given).__name__,
            expected="a fast one (is_fast), whose tokenizer.json says all of it",
            fix="AutoTokenizer.from_pretrained(name, use_fast=True), or give its file: tokenizer.json or *.model",
        )
    raise ArgumentTypeError(
        "not a tokenizer", got=f"{type(given).__module__}.{type(given).__name__}", expected=_EXPECTED
    )


def is_object_name(name: str) -> bool:
    """Whether ``name`` is what a tokenizer is called that was given as an object: it can't be got by it again."""
    return name.startswith(("tokenizers.", "transformers.")) and "/" not in name


def _chat_of(given: Any) -> Callable[[], ChatTemplate | None]:
    template, tokens = given.chat_template, given.special_tokens_map
    if isinstance(template, dict):
        template = template.get("default")
    named = {name: str(text) for name, text in tokens.items() if isinstance(text, str)}
    return lambda: None if template is None else ChatTemplate(template, named)


def _of_encoding(given: Any) -> RankTokenizer:
    ranks = format_ranks(given._mergeable_ranks)
    parse_ranks(ranks, where=f"tiktoken.Encoding {given.name!r}")  # each byte has a rank, or it can't be used
    tokenizer = RankTokenizer(given.name, ranks, given._pat_str, given._special_tokens)
    tokenizer.check_pattern()
    return tokenizer


def _of_library(given: Any, name: str) -> HuggingFaceTokenizer:
    try:
        data = given.to_str().encode()
    except Exception as cause:  # tokenizers raises bare Exceptions
        raise FormatError(
            "the tokenizer can't be written as a tokenizer.json: a part of it is Python code",
            got=str(cause)[:200],
            where=name,
            fix="use the parts that the library tokenizers has",
        ) from cause
    # What the tokenizer was last told to do with a batch decides no ids.
    spec = json.loads(data) | {"truncation": None, "padding": None}
    return HuggingFaceTokenizer(name, json.dumps(spec, ensure_ascii=False).encode())
