"""Tokenizers: text to token ids and back, with special tokens as tiktoken treats them.

    text ── split on the allowed special tokens ──▶ pieces ── engine ──▶ ids

Special text in the input never becomes a special token unless it is allowed. Not for: training a vocabulary.

Costs: opening "gpt2" reads 366 KB of the package and needs no network and no writable folder.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import SpecialTokenError, TokenIdError, UnknownNameError
from foreword.tokens.engines import GPT2_PATTERN, Engine, make_engine, parse_ranks

__all__ = ["Tokenizer", "get_tokenizer"]

Special = Literal["all"] | Collection[str]


class Tokenizer:
    """Text to token ids and back. Made by ``get_tokenizer``; safe to use from many threads; can be pickled.

    Attributes:
        name: the name it was got by.
        vocab_size: V, one more than the largest token id. Every id is below it.
        special_tokens: the id of each special token.
        fingerprint: a hash of all that decides its ids: merge ranks, split pattern, special tokens. Two tokenizers
            with one fingerprint give the same ids.

    >>> tokenizer = get_tokenizer("gpt2")
    >>> tokenizer
    Tokenizer('gpt2', vocab_size=50257)
    >>> ids = tokenizer.encode("king - man")
    >>> ids
    array([3364,  532,  582], dtype=uint32)
    >>> tokenizer.decode(ids)
    'king - man'
    """

    def __init__(self, name: str, ranks: bytes, special_tokens: Mapping[str, int]) -> None:
        self.name = name
        self.special_tokens = dict(special_tokens)
        self._ranks = ranks
        self._end_of_text = "<|endoftext|>"

    @functools.cached_property
    def _engine(self) -> Engine:
        return make_engine(self._ranks)

    @functools.cached_property
    def _bytes_of(self) -> dict[int, bytes]:
        """The bytes of each token id, special tokens included."""
        ordinary = {rank: token for token, rank in parse_ranks(self._ranks, where=self.name).items()}
        return ordinary | {id_: text.encode() for text, id_ in self.special_tokens.items()}

    @functools.cached_property
    def vocab_size(self) -> int:
        return max(self._bytes_of) + 1

    @functools.cached_property
    def fingerprint(self) -> str:
        rest = json.dumps({"pattern": GPT2_PATTERN, "special_tokens": self.special_tokens}, sort_keys=True)
        return hashlib.sha256(self._ranks + rest.encode()).hexdigest()

    @property
    def end_of_text_id(self) -> int:
        """The id of the token that ends a document, "<|endoftext|>"."""
        return self.special_tokens[self._end_of_text]

    def encode(
        self, text: str, *, allowed_special: Special = (), disallowed_special: Special = "all"
    ) -> NDArray[np.uint32]:
        """The token ids of ``text``, uint32 [n].

        Args:
            text: any string; a lone surrogate becomes U+FFFD, as in tiktoken.
            allowed_special: special tokens that their text stands for ("all", or a set of texts).
            disallowed_special: texts that are an error ("all": every special token that is not allowed).
                A special token in neither set is ordinary text.

        Raises:
            SpecialTokenError: a disallowed special token stands in the text.

        >>> tokenizer = get_tokenizer("gpt2")
        >>> tokenizer.encode("one<|endoftext|>two", allowed_special={"<|endoftext|>"})
        array([  505, 50256, 11545], dtype=uint32)
        >>> tokenizer.encode("<|endoftext|>", disallowed_special=())
        array([  27,   91,  437, 1659, 5239,   91,   29], dtype=uint32)
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {type(text).__name__}")
        allowed = set(self.special_tokens if allowed_special == "all" else allowed_special)
        disallowed = set(self.special_tokens) - allowed if disallowed_special == "all" else set(disallowed_special)
        if disallowed and (found := _any_of(frozenset(disallowed)).search(text)):
            raise SpecialTokenError(
                f"the text holds the special token {found.group()!r}, which is not allowed",
                where=f"character {found.start():,}",
                fix=f"pass allowed_special={{{found.group()!r}}} to encode it as one token, "
                "or disallowed_special=() to encode it as ordinary text",
            )
        allowed &= self.special_tokens.keys()
        if not allowed or not (pattern := _any_of(frozenset(allowed))).search(text):
            return self.encode_ordinary(text)
        # re.split with a group gives ordinary, special, ordinary, special, …, ordinary
        pieces = pattern.split(text)
        return np.concatenate(
            [
                np.array([self.special_tokens[piece]], np.uint32) if i % 2 else self.encode_ordinary(piece)
                for i, piece in enumerate(pieces)
            ]
        )

    def encode_ordinary(self, text: str) -> NDArray[np.uint32]:
        """The token ids of ``text`` with no special tokens at all, uint32 [n]."""
        try:
            return self._engine.encode(text)
        except (TypeError, UnicodeEncodeError):
            if not isinstance(text, str):
                raise TypeError(f"text must be a str, got {type(text).__name__}") from None
            valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return self._engine.encode(valid)

    def encode_batch(
        self, texts: Iterable[str], *, allowed_special: Special = (), disallowed_special: Special = "all"
    ) -> list[NDArray[np.uint32]]:
        """The token ids of each text, as ``encode`` gives them."""
        return [
            self.encode(text, allowed_special=allowed_special, disallowed_special=disallowed_special) for text in texts
        ]

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The bytes that the token ids stand for.

        Raises:
            TokenIdError: an id that no token has.
        """
        table = self._bytes_of
        array = np.asarray(ids).reshape(-1)
        if array.size and array.dtype.kind not in "ui":
            raise TypeError(f"token ids must be integers, got dtype {array.dtype}")
        try:
            return b"".join([table[id_] for id_ in array.tolist()])
        except KeyError as missing:
            id_ = missing.args[0]
            raise TokenIdError(
                f"no token has the id {id_}",
                expected=f"an id from 0 to {self.vocab_size - 1} of {self.name!r}",
                where=f"position {array.tolist().index(id_)} of {array.size}",
            ) from None

    def decode(self, ids: ArrayLike, *, errors: str = "replace") -> str:
        """The text that the token ids stand for.

        A token may end inside a character, so that a slice of ids need not be valid UTF-8; ``errors`` says what
        becomes of such bytes, as in ``bytes.decode``.
        """
        return self.decode_bytes(ids).decode("utf-8", errors=errors)

    def __repr__(self) -> str:
        return f"Tokenizer({self.name!r}, vocab_size={self.vocab_size})"

    def __reduce__(self) -> tuple[Any, ...]:
        return get_tokenizer, (self.name,)


def get_tokenizer(name: str | Tokenizer) -> Tokenizer:
    """The tokenizer called ``name``; a ``Tokenizer`` is given back as it is.

    Raises:
        UnknownNameError: there is no such tokenizer; the message lists those there are.
    """
    if isinstance(name, Tokenizer):
        return name
    if name not in _BUILT_IN:
        raise UnknownNameError(
            f"unknown tokenizer {name!r}", expected="one of " + ", ".join(map(repr, sorted(_BUILT_IN)))
        )
    return _built_in(name)


# Special tokens by tokenizer; the ranks of NAME lie in data/NAME.tiktoken.gz.
_BUILT_IN: dict[str, dict[str, int]] = {"gpt2": {"<|endoftext|>": 50256}}


@functools.cache
def _built_in(name: str) -> Tokenizer:
    packed = importlib.resources.files("foreword.tokens").joinpath("data", f"{name}.tiktoken.gz").read_bytes()
    return Tokenizer(name, gzip.decompress(packed), _BUILT_IN[name])


@functools.cache
def _any_of(texts: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds any of the texts, the longest first, in one group."""
    ordered: Sequence[str] = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")")
