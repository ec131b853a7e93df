"""Tokenizers of one file: tokenizer.json, tiktoken's merge ranks, a SentencePiece model.

A suffix that is known says what a file is, and the file is refused if its contents contradict that; a file of another
name is known by its contents.

Not for: names and folders (``opening``, ``folder``). Costs: reading the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from foreword._base.checks import integer
from foreword._base.files import read_regular
from foreword.errors import ArgumentError, FormatError
from foreword.tokens.tokenizers.engines import MOST_RANKS, PATTERNS, format_ranks, looks_like_ranks, parse_ranks
from foreword.tokens.tokenizers.hugging_face import HuggingFaceTokenizer
from foreword.tokens.tokenizers.sentence_piece import SentencePieceTokenizer
from foreword.tokens.tokenizers.tokenizer import RankTokenizer, Tokenizer

__all__ = ["Options", "as_before", "open_file"]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a file of ranks doesn't say itself."""

    pattern: str | None = None
    special_tokens: dict[str, int] | None = None

    @property
    def given(self) -> dict[str, object]:
        """Those that were given, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def refuse(self, name: str) -> None:
        """Refuse them where the tokenizer has its own."""
        for option, value in self.given.items():
            raise ArgumentError(
                f"{option} goes with a file of merge ranks only",
                got=f"{option}={value!r} for the tokenizer {name!r}, which has its own",
                fix=f"leave {option} out",
            )

    def special(self, ranks: Mapping[bytes, int], known: str) -> dict[str, int]:
        """The special tokens that go with ``ranks``, of which no id is one of theirs; ``known`` is whose they are."""
        if self.special_tokens is None:
            return _PUBLISHED_SPECIAL.get(known) or {_END_OF_TEXT: max(ranks.values()) + 1}
        taken = {id_: repr(token) for token, id_ in ranks.items()}
        special = {}
        for text, id_ in self.special_tokens.items():
            if not isinstance(text, str) or not text:
                raise ArgumentError("a special token is a text that is not empty", got=repr(text))
            special[text] = integer(f"the id of {text!r}", id_, at_least=0, at_most=MOST_RANKS - 1)
            if other := taken.get(special[text]):
                raise ArgumentError(
                    f"two tokens with the id {special[text]:,}",
                    got=f"{text!r} and {other}",
                    expected=f"ids that no rank has, such as {max(ranks.values()) + 1:,} and up",
                )
            taken[special[text]] = repr(text)
        return special


_END_OF_TEXT = "<|endoftext|>"
_FILL = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
# The special tokens of published ranks, which do not all stand right after them; and the ranks by the SHA-256 of their
# file as tiktoken has it.
_PUBLISHED_SPECIAL = {
    "r50k_base": {_END_OF_TEXT: 50256},
    "p50k_base": {_END_OF_TEXT: 50256},
    "cl100k_base": {_END_OF_TEXT: 100257, **_FILL, "<|endofprompt|>": 100276},
    "o200k_base": {_END_OF_TEXT: 199999, "<|endofprompt|>": 200018},
}
_PUBLISHED = {
    "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930": "r50k_base",
    "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069": "p50k_base",
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7": "cl100k_base",
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d": "o200k_base",
}
_KINDS = {"json": "tokenizer.json", "ranks": "tiktoken's merge ranks", "model": "a SentencePiece model"}
# What a file may be, by its suffix; one of another name may be anything.
_BY_SUFFIX = {".json": ("json",), ".tiktoken": ("ranks",), ".model": ("model", "ranks")}


def _kind(data: bytes) -> str | None:
    """What a file holds, by how it begins."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return "json"
    if looks_like_ranks(data):
        return "ranks"
    return "model" if data[:1] == b"\n" else None  # the first field of a SentencePiece model: a piece


def open_file(path: Path, options: Options, name: str | None = None) -> Tokenizer:
    """The tokenizer in a file.

    Args:
        path: the file.
        options: what a file of ranks does not say.
        name: what the tokenizer is called; its path where it is None.
    """
    data, name = read_regular(path, "read the tokenizer"), name or str(path)
    kind = _kind(data)
    may = _BY_SUFFIX.get(path.suffix)
    if kind is None and may is not None:
        kind = may[0]  # which then says what is wrong with it
    if kind is None or (may is not None and kind not in may):
        raise FormatError(
            "not a tokenizer's file" if kind is None else "a tokenizer's file of another kind than its name says",
            got=path.name if kind is None else f"{path.name}, which holds {_KINDS[kind]}",
            expected="tokenizer.json, *.tiktoken or *.model" if may is None else _KINDS[may[0]],
            where=path,
            fix=None if kind is None else "rename the file",
        )
    if kind != "ranks":
        options.refuse(name)
        return (HuggingFaceTokenizer if kind == "json" else SentencePieceTokenizer)(name, data)
    return _of_ranks(path, data, options, name)


def _of_ranks(path: Path, data: bytes, options: Options, name: str) -> RankTokenizer:
    parsed = parse_ranks(data, where=str(path))
    like = options.pattern or path.stem
    if options.pattern is None and like not in PATTERNS:
        raise ArgumentError(
            "a file of merge ranks holds nothing else: which split pattern goes with them?",
            where=path,
            fix='say whose pattern it is: get_tokenizer(path, pattern="cl100k_base") (--pattern cl100k_base), '
            "or give a regular expression",
        )
    ranks = format_ranks(parsed)
    published = _PUBLISHED.get(hashlib.sha256(ranks).hexdigest(), "")
    special = options.special(parsed, published)
    tokenizer = RankTokenizer(name, ranks, PATTERNS.get(like, like), special, options.given)
    tokenizer.check_pattern()
    return tokenizer


def as_before(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer of published ranks, opened from a file, as version 0.1.0 had it at first: end-of-text right after
    the ranks, and no other special token. Any other tokenizer as it is.

    Stores that were made then name no special tokens.
    """
    if isinstance(tokenizer, RankTokenizer) and "special_tokens" not in tokenizer.options and tokenizer.reopen is None:
        return tokenizer.with_special_tokens({_END_OF_TEXT: tokenizer.last_rank + 1})
    return tokenizer
