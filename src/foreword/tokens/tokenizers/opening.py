"""``get_tokenizer``: a name, a file, a folder or another library's object → the tokenizer.

Not for: encoding. Costs: opening "gpt2" reads 366 KB of the package, and needs no network and no writable folder. A
tokenizer got by its name is kept, and given again.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.resources
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreword._base import system
from foreword._base.files import explained
from foreword._base.words import first_line
from foreword.errors import DownloadError, FileError, UnknownNameError
from foreword.tokens.tokenizers.byte_tokenizer import ByteTokenizer
from foreword.tokens.tokenizers.engines import PATTERNS, format_ranks
from foreword.tokens.tokenizers.files import Options, as_before, open_file
from foreword.tokens.tokenizers.folder import chat_of, open_folder
from foreword.tokens.tokenizers.hub import Place, obtain
from foreword.tokens.tokenizers.objects import from_object, is_object_name
from foreword.tokens.tokenizers.tokenizer import RankTokenizer, Tokenizer

__all__ = ["get_tokenizer", "tokenizer_of"]

# Files of a folder's tokenizer, which say nothing without the others.
_PARTS = {"vocab.json", "merges.txt", "vocab.txt"}


def get_tokenizer(
    name: str | os.PathLike[str] | Tokenizer | Any,
    *,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Tokenizer:
    """The tokenizer called ``name``; a ``Tokenizer`` is given back as it is.

    Args:
        name: one of

            * "gpt2" and "r50k_base" (carried in the package), "bytes", or a name that tiktoken knows, of an encoding
              ("cl100k_base", …: downloaded once, through tiktoken's cache) or of a model ("gpt-4o");
            * a file: tokenizer.json (needs the package tokenizers), tiktoken's ranks (.tiktoken, .model), or a
              SentencePiece .model (needs sentencepiece). A file that is called otherwise is known by its contents;
            * a folder that holds one of these, or vocab.json and merges.txt, or vocab.txt;
            * a repository of the Hugging Face hub, "OWNER/REPO", "hf://OWNER/REPO@REVISION" or "hf://OWNER/REPO/FILE":
              from the cache of huggingface_hub, or fetched once. "bert-base-uncased", without an owner, only from that
              cache; "hf://bert-base-uncased" is fetched;
            * an object: tiktoken.Encoding, tokenizers.Tokenizer, or a fast tokenizer of transformers.
        pattern: for a file of ranks, which holds nothing else: the name of the tokenizer whose split pattern it uses,
            or a regular expression. Not needed where the file is called after such a name. For vocab.json and
            merges.txt of which no file says whose they are: "gpt2".
        special_tokens: for a file of ranks, the id of each special token, such as {"<|im_end|>": 151645}; where it is
            None, those of the published encoding whose ranks they are, or "<|endoftext|>" with the next id after them.

    Raises:
        UnknownNameError: there is no such tokenizer; the message lists those there are.
        ArgumentError: ``pattern`` or ``special_tokens`` for what is no file of ranks, or such as can't be used.
        ArgumentTypeError: an object that is no tokenizer whose ids can be known.
        FileError: its file can't be read, or can't be downloaded.
        FormatError: its file is not what its name says, or it is of a class that is not known.
        MissingPackageError: the package that reads it is not installed.
    """
    options = Options(pattern, None if special_tokens is None else dict(special_tokens))
    if isinstance(name, Tokenizer):
        options.refuse(name.name)
        return name
    if not isinstance(name, str | os.PathLike):
        tokenizer = from_object(name)
        options.refuse(tokenizer.name)
        return tokenizer
    text = os.fspath(name)
    path = Path(text)
    with explained("open the tokenizer", path):
        folder = path.is_dir()
    if isinstance(name, str) and text in _opened:
        options.refuse(text)
        return _opened[text]
    if isinstance(name, str) and text in {"gpt2", "r50k_base"}:
        tokenizer = _built_in(text)
    elif isinstance(name, str) and text == "bytes":
        tokenizer = ByteTokenizer()
    elif folder:
        return _with_chat(open_folder(path.absolute(), options), path.absolute())
    elif path.is_file() and path.name in _PARTS:
        return _with_chat(open_folder(path.absolute().parent, options), path.absolute().parent)
    elif path.is_file() or (path.suffix in {".json", ".tiktoken", ".model"} and not text.startswith("hf://")):
        return _with_chat(open_file(path.absolute(), options), path.absolute().parent)
    elif (encoding := _encoding_of(text)) is not None:
        if encoding != text:
            return get_tokenizer(encoding, pattern=pattern, special_tokens=special_tokens)
        tokenizer = _from_tiktoken(text)
    else:
        return _from_hub(text, options)
    options.refuse(text)
    tokenizer.reopen = get_tokenizer, (text,)
    return _opened.setdefault(text, tokenizer)


_opened: dict[str, Tokenizer] = {}


def tokenizer_of(named: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a store's manifest names: its name, options and fingerprint.

    Where another has that name now, it is given, and its fingerprint is another.
    """
    tokenizer = get_tokenizer(named["name"], **named.get("options", {}))
    earlier = tokenizer if tokenizer.fingerprint == named["fingerprint"] else as_before(tokenizer)
    return earlier if earlier.fingerprint == named["fingerprint"] else tokenizer


def _built_in(name: str) -> Tokenizer:
    """GPT-2 and r50k_base are the same ranks."""
    packed = importlib.resources.files("foreword").joinpath("tokens", "data", "gpt2.tiktoken.gz").read_bytes()
    return RankTokenizer(name, gzip.decompress(packed), PATTERNS[name], {"<|endoftext|>": 50256})


def _from_hub(name: str, options: Options) -> Tokenizer:
    place = Place.parse(name)
    found = None if place is None else obtain(place)
    if place is None or found is None:
        raise _unknown(name, place)
    path, commit = found
    tokenizer = (open_folder if place.file is None else open_file)(path, options, place.named(commit))
    return _with_chat(tokenizer, path if place.file is None else path.parent)


def _with_chat(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """The tokenizer, which finds its chat template in ``folder`` if it is asked for one."""
    tokenizer.chat_source = functools.partial(chat_of, folder)
    return tokenizer


def _unknown(name: str, place: Place | None) -> UnknownNameError:
    import tiktoken.registry

    if is_object_name(name):
        return UnknownNameError(
            f"the tokenizer {name!r} was given as an object, and can't be got by its name",
            fix="give the object, or save it and give its file: TokenStore.open(path, tokenizer=…)",
        )
    known = ", ".join(map(repr, sorted({*tiktoken.registry.list_encoding_names(), "bytes"})))
    return UnknownNameError(
        f"unknown tokenizer {name!r}",
        expected=f"one of {known}, a model that tiktoken knows, a tokenizer's file or folder, or a hub's repository",
        fix=None if place is None else f"if it is a repository of the Hugging Face hub: hf://{name}",
    )


def _encoding_of(name: str) -> str | None:
    """The encoding that tiktoken knows by a name, its own or a model's."""
    import tiktoken.model
    import tiktoken.registry

    if name in tiktoken.registry.list_encoding_names():
        return name
    try:
        return tiktoken.model.encoding_name_for_model(name)
    except KeyError:
        return None


def _from_tiktoken(name: str) -> Tokenizer:
    import tiktoken.registry

    try:
        with _unless_offline():
            parts = (tiktoken.registry.ENCODING_CONSTRUCTORS or {})[name]()
    except DownloadError:
        raise
    except (OSError, ValueError) as cause:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        raise FileError(
            f"can't get the merge ranks of {name!r}",
            got=first_line(cause),
            where="the download through tiktoken's cache",
            fix="check the network; or put the file into the folder that TIKTOKEN_CACHE_DIR names, "
            f"or give the ranks themselves: get_tokenizer('{name}.tiktoken')",
        ) from cause
    return RankTokenizer(name, format_ranks(parts["mergeable_ranks"]), parts["pat_str"], parts["special_tokens"])


_fetching = system.guard()


@contextlib.contextmanager
def _unless_offline() -> Iterator[None]:
    """Have tiktoken refuse to fetch what isn't in its cache, where FOREWORD_OFFLINE is set: it knows no such wish.

    Raises:
        DownloadError: inside the block, in place of a download.
    """
    import tiktoken.load

    from foreword._base.urls import offline

    def read(blobpath: str) -> bytes:
        if offline() and "://" in blobpath:
            raise DownloadError(
                "the merge ranks are not on this machine, and FOREWORD_OFFLINE forbids fetching them",
                where=blobpath,
                fix="unset FOREWORD_OFFLINE, or put the file into the folder that TIKTOKEN_CACHE_DIR names",
            )
        return fetch(blobpath)

    with _fetching:
        fetch = tiktoken.load.read_file
        tiktoken.load.read_file = read
        try:
            yield
        finally:
            tiktoken.load.read_file = fetch
