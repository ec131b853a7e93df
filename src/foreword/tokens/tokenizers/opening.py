"""``get_tokenizer``: a name or a file → the tokenizer.

Not for: encoding. Costs: opening "gpt2" reads 366 KB of the package, and needs no network and no writable folder. A
tokenizer got by its name is kept, and given again.
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path

from foreword._base.checks import integer
from foreword._base.files import read_regular
from foreword.errors import ArgumentError, FileError, FormatError, UnknownNameError
from foreword.tokens.tokenizers.byte_tokenizer import ByteTokenizer
from foreword.tokens.tokenizers.engines import MOST_RANKS, PATTERNS, format_ranks, looks_like_ranks, parse_ranks
from foreword.tokens.tokenizers.hugging_face import HuggingFaceTokenizer
from foreword.tokens.tokenizers.sentence_piece import SentencePieceTokenizer
from foreword.tokens.tokenizers.tokenizer import RankTokenizer, Tokenizer

__all__ = ["get_tokenizer"]


def get_tokenizer(
    name: str | os.PathLike[str] | Tokenizer,
    *,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Tokenizer:
    """The tokenizer called ``name``; a ``Tokenizer`` is given back as it is.

    Args:
        name: "gpt2" and "r50k_base" (carried in the package), "bytes", a name that tiktoken knows ("cl100k_base",
            "o200k_base", …: downloaded once, through tiktoken's cache), or a file: tokenizer.json (needs the package
            tokenizers), tiktoken's ranks (.tiktoken, .model), or a SentencePiece .model (needs sentencepiece). A file
            that is called otherwise is known by its contents.
        pattern: for a file of ranks, which holds nothing else: the name of the tokenizer whose split pattern it uses,
            or a regular expression. Not needed where the file is called after such a name.
        special_tokens: for a file of ranks, the id of each special token, such as {"<|im_end|>": 151645}; where it is
            None, "<|endoftext|>" has the next id after the ranks.

    Raises:
        UnknownNameError: there is no such tokenizer; the message lists those there are.
        ArgumentError: ``pattern`` or ``special_tokens`` for what is no file of ranks, or such as can't be used.
        FileError: its file can't be read, or can't be downloaded.
        FormatError: its file is not what its name says.
        MissingPackageError: the package that reads it is not installed.
    """
    options = _Options(pattern, None if special_tokens is None else dict(special_tokens))
    if isinstance(name, Tokenizer):
        options.refuse(name.name)
        return name
    text = os.fspath(name)
    if isinstance(name, str) and text in _opened:
        options.refuse(text)
        return _opened[text]
    if isinstance(name, str) and text in {"gpt2", "r50k_base"}:
        tokenizer: Tokenizer = _built_in(text)
    elif isinstance(name, str) and text == "bytes":
        tokenizer = ByteTokenizer()
    elif (path := Path(text)).is_file() or path.suffix in {".json", ".tiktoken", ".model"} or path.is_dir():
        return _from_file(path.absolute(), options)
    else:
        tokenizer = _from_tiktoken(text)
    options.refuse(text)
    tokenizer.reopen = get_tokenizer, (text,)
    return _opened.setdefault(text, tokenizer)


_opened: dict[str, Tokenizer] = {}


def _built_in(name: str) -> Tokenizer:
    """GPT-2 and r50k_base are the same ranks."""
    packed = importlib.resources.files("foreword").joinpath("tokens", "data", "gpt2.tiktoken.gz").read_bytes()
    return RankTokenizer(name, gzip.decompress(packed), PATTERNS[name], {"<|endoftext|>": 50256})


@dataclasses.dataclass(frozen=True)
class _Options:
    """What a file of ranks doesn't say itself."""

    pattern: str | None
    special_tokens: dict[str, int] | None

    def refuse(self, name: str) -> None:
        """Refuse them where the tokenizer has its own."""
        for option, value in (("pattern", self.pattern), ("special_tokens", self.special_tokens)):
            if value is not None:
                raise ArgumentError(
                    f"{option} goes with a file of merge ranks only",
                    got=f"{option}={value!r} for the tokenizer {name!r}, which has its own",
                    fix=f"leave {option} out",
                )

    def special(self, ranks: Mapping[bytes, int], known: str) -> dict[str, int]:
        """The special tokens that go with ``ranks``, of which no id is one of theirs."""
        if self.special_tokens is None:
            return {"<|endoftext|>": _END_OF_TEXT.get(known, max(ranks.values()) + 1)}
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


# The end-of-text ids of published ranks that have a gap for it.
_END_OF_TEXT = {"p50k_base": 50256}
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


def _from_file(path: Path, options: _Options) -> Tokenizer:
    if path.is_dir():
        path = path / "tokenizer.json"
    data = read_regular(path, "read the tokenizer")
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
        options.refuse(str(path))
        return (HuggingFaceTokenizer if kind == "json" else SentencePieceTokenizer)(str(path), data)
    ranks = parse_ranks(data, where=str(path))
    like = options.pattern or path.stem
    if options.pattern is None and like not in PATTERNS:
        raise ArgumentError(
            "a file of merge ranks holds nothing else: which split pattern goes with them?",
            where=path,
            fix='say whose pattern it is: get_tokenizer(path, pattern="cl100k_base") (--pattern cl100k_base), '
            "or give a regular expression",
        )
    special = options.special(ranks, path.stem if options.pattern is None else "")
    given = {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
    tokenizer = RankTokenizer(str(path), format_ranks(ranks), PATTERNS.get(like, like), special, given)
    tokenizer.check_pattern()
    return tokenizer


def _from_tiktoken(name: str) -> Tokenizer:
    import tiktoken.registry

    known = tiktoken.registry.list_encoding_names()
    if name not in known:
        raise UnknownNameError(
            f"unknown tokenizer {name!r}",
            expected="one of " + ", ".join(map(repr, sorted({*known, "bytes"}))) + ", or a tokenizer's file",
        )
    try:
        parts = (tiktoken.registry.ENCODING_CONSTRUCTORS or {})[name]()
    except (OSError, ValueError) as cause:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        raise FileError(
            f"can't get the merge ranks of {name!r}",
            got=str(cause).splitlines()[0][:200],
            where="the download through tiktoken's cache",
            fix="check the network; or put the file into the folder that TIKTOKEN_CACHE_DIR names, "
            f"or give the ranks themselves: get_tokenizer('{name}.tiktoken')",
        ) from cause
    return RankTokenizer(name, format_ranks(parts["mergeable_ranks"]), parts["pat_str"], parts["special_tokens"])
