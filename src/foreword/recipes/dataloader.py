"""Text to batches, in one call.

Not for: corpora that do not fit in memory (``prepare`` them into a ``TokenStore`` first).
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import explained, given_path, read_text
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.tokens import Tokenizer, TokenStore, get_tokenizer
from foreword.tokens.preparing.kinds import format_of, looks_like_a_path
from foreword.tokens.tokenizers.special import Special
from foreword.windows import WindowDataset, WindowLoader

__all__ = ["create_dataloader"]

# The parameters of create_dataloader_v1 in "Build a Large Language Model (From Scratch)", in their order, and ours.
BOOK = {
    "txt": "text",
    "batch_size": "batch_size",
    "max_length": "context_length",
    "stride": "stride",
    "shuffle": "shuffle",
    "drop_last": "drop_last",
    "num_workers": None,
}

P_ = ParamSpec("P_")
R_ = TypeVar("R_")


def _explained(function: Callable[P_, R_]) -> Callable[P_, R_]:
    """The function; called as the book calls its own, it says what to write."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P_.args, **kwargs: P_.kwargs) -> R_:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _other_names(str(error), args, kwargs) from None
        return function(*args, **kwargs)

    return call


def _other_names(problem: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ArgumentTypeError:
    names = list(inspect.signature(create_dataloader).parameters)
    given = dict(zip(BOOK, args, strict=False)) | kwargs
    written = ["text"]
    for name, value in given.items():
        ours = BOOK.get(name, name)
        if ours in names[1:]:
            written.append(f"{ours}={value!r}")
    renamed = [f"{name} is {ours} here" for name, ours in BOOK.items() if name in kwargs and ours not in (None, name)]
    if "num_workers" in given:
        renamed.append("num_workers is left out, since windows need no workers")
    if len(args) > 1:
        renamed.append("all but the text is given by name")
    return ArgumentTypeError(
        f"create_dataloader: {problem}" + "".join(f"; {change}" for change in renamed),
        expected=", ".join(names),
        fix=f"create_dataloader({', '.join(written)})",
    )


@_explained
def create_dataloader(
    text: str | os.PathLike[str] | TokenStore,
    *,
    batch_size: int = 4,
    context_length: int = 256,
    stride: int = 128,
    shuffle: bool = True,
    drop_last: bool = True,
    seed: int = 0,
    tokenizer: str | Tokenizer = "gpt2",
    allowed_special: Special = (),
) -> WindowLoader:
    """Text to a loader of (inputs, targets) batches, two int64 tensors [batch_size, context_length].

    Args:
        text: a text (str), a text file (a ``Path``), or a ``TokenStore``. No end-of-text token is appended.
        batch_size: windows a batch.
        context_length: tokens a window.
        stride: from one window's start to the next one's.
        shuffle: draw each epoch's order from (seed, epoch).
        drop_last: leave out a last batch that is not full.
        seed: any integer.
        tokenizer: a name or a ``Tokenizer``; not used for a store.
        allowed_special: special tokens that their text stands for, as in ``Tokenizer.encode``.

    Raises:
        ArgumentTypeError: an argument of another name, such as the book's ``max_length``; says what to write.
        TooShortError: the text has fewer tokens than one window needs.
        SpecialTokenError: the text holds a special token that is not allowed.
        ArgumentError: a str that can only be meant as a path or a URL; a folder, or a file that holds records.
        ArgumentTypeError: neither a text, nor a Path, nor a store.

    >>> text = "In the heart of the city stood the old library, a relic from a bygone era."
    >>> loader = create_dataloader(text, batch_size=2, context_length=4, stride=4, shuffle=False)
    >>> next(iter(loader))[0]
    tensor([[ 818,  262, 2612,  286],
            [ 262, 1748, 6204,  262]])
    """
    source: TokenStore | NDArray[np.uint32]
    if isinstance(text, TokenStore):
        source = text
    else:
        source = get_tokenizer(tokenizer).encode(_words(text), allowed_special=allowed_special)
    data = WindowDataset(source, context_length=context_length, stride=stride)
    return WindowLoader(data, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)


def _words(text: str | os.PathLike[str]) -> str:
    """The text that is meant, or that the file holds."""
    if isinstance(text, str):
        if looks_like_a_path(text):
            raise ArgumentError(
                "the text is the name of a file, not what is in it",
                got=repr(text),
                fix="pass a file as a Path, Path(name); a corpus or a URL as a store, prepare(name, out)",
            )
        return text
    if not isinstance(text, os.PathLike):
        raise ArgumentTypeError(
            "neither a text, nor the path of one, nor a store",
            got=type(text).__name__,
            expected="str, Path or TokenStore",
            fix="of several texts, make a store: prepare(texts, out); of ids, WindowLoader(WindowDataset(ids, …), …)",
        )
    path = given_path(text)
    with explained("read the text", path):
        folder = path.is_dir()
    if folder:
        fix = f"TokenStore.open({os.fspath(path)!r})" if (path / "manifest.json").exists() else "prepare(path, out)"
        raise ArgumentError("a folder is no text file", where=path, fix=f"pass a store: {fix}")
    if format_of(path.name) not in (None, "text"):
        raise ArgumentError(
            "the file holds no plain text, by its name",
            got=path.name,
            where=path,
            fix="pass a store that is made of it: prepare(path, out)",
        )
    return read_text(path)
