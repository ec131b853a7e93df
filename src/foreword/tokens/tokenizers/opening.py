"""``get_tokenizer``: a name or a file → the tokenizer.

Not for: encoding. Costs: opening "gpt2" reads 366 KB of the package, and needs no network and no writable folder. A
tokenizer got by its name is kept, and given again.
"""

from __future__ import annotations

import gzip
import importlib.resources
import os
from pathlib import Path

from foreword._base.files import explained
from foreword.errors import ArgumentError, FileError, FormatError, UnknownNameError
from foreword.tokens.tokenizers.byte_tokenizer import ByteTokenizer
from foreword.tokens.tokenizers.engines import PATTERNS, format_ranks, parse_ranks
from foreword.tokens.tokenizers.hugging_face import HuggingFaceTokenizer
from foreword.tokens.tokenizers.sentence_piece import SentencePieceTokenizer
from foreword.tokens.tokenizers.tokenizer import RankTokenizer, Tokenizer

__all__ = ["get_tokenizer"]


def get_tokenizer(name: str | os.PathLike[str] | Tokenizer, *, pattern: str | None = None) -> Tokenizer:
    """The tokenizer called ``name``; a ``Tokenizer`` is given back as it is.

    Args:
        name: "gpt2" and "r50k_base" (carried in the package), "bytes", a name that tiktoken knows ("cl100k_base",
            "o200k_base", …: downloaded once, through tiktoken's cache), or a file: tokenizer.json (needs the package
            tokenizers), .tiktoken, or a SentencePiece .model (needs sentencepiece).
        pattern: for a .tiktoken file, which holds ranks only: the name of the tokenizer whose split pattern it uses,
            or a regular expression. Not needed where the file is called after such a name.

    Raises:
        UnknownNameError: there is no such tokenizer; the message lists those there are.
        FileError: its file can't be read, or can't be downloaded.
        FormatError: its file is not what its name says.
        MissingPackageError: the package that reads it is not installed.
    """
    if isinstance(name, Tokenizer):
        return name
    text = os.fspath(name)
    if isinstance(name, str) and pattern is None and text in _opened:
        return _opened[text]
    if isinstance(name, str) and text in {"gpt2", "r50k_base"}:
        tokenizer: Tokenizer = _built_in(text)
    elif isinstance(name, str) and text == "bytes":
        tokenizer = ByteTokenizer()
    elif (path := Path(text)).is_file() or path.suffix in {".json", ".tiktoken", ".model"} or path.is_dir():
        return _from_file(path.absolute(), pattern)
    else:
        tokenizer = _from_tiktoken(text)
    tokenizer.reopen = get_tokenizer, (text,)
    return _opened.setdefault(text, tokenizer)


_opened: dict[str, Tokenizer] = {}


def _built_in(name: str) -> Tokenizer:
    """GPT-2 and r50k_base are the same ranks."""
    packed = importlib.resources.files("foreword").joinpath("tokens", "data", "gpt2.tiktoken.gz").read_bytes()
    return RankTokenizer(name, gzip.decompress(packed), PATTERNS[name], {"<|endoftext|>": 50256})


def _from_file(path: Path, pattern: str | None) -> Tokenizer:
    if path.is_dir():
        path = path / "tokenizer.json"
    with explained("read the tokenizer", path):
        data = path.read_bytes()
    if path.suffix in {".json", ".model"}:
        kind = HuggingFaceTokenizer if path.suffix == ".json" else SentencePieceTokenizer
        return kind(str(path), data)
    if path.suffix != ".tiktoken":
        raise FormatError(
            "not a tokenizer's file", got=path.name, expected="tokenizer.json, *.tiktoken or *.model", where=path
        )
    ranks = parse_ranks(data, where=str(path))
    like = pattern or path.stem
    if pattern is None and like not in PATTERNS:
        raise ArgumentError(
            "a .tiktoken file holds ranks only: which split pattern goes with them?",
            where=path,
            fix='say whose pattern it is: get_tokenizer(path, pattern="cl100k_base"), or give a regular expression',
        )
    special = {"<|endoftext|>": max(ranks.values()) + 1}
    return RankTokenizer(str(path), format_ranks(ranks), PATTERNS.get(like, like), special)


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
