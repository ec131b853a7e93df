"""Text to batches, in one call.

Not for: corpora that do not fit in memory (``prepare`` them into a ``TokenStore`` first).
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import read_text
from foreword.tokens import Tokenizer, TokenStore, get_tokenizer
from foreword.tokens.tokenizers.tokenizer import Special
from foreword.windows import WindowDataset, WindowLoader

__all__ = ["create_dataloader"]


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
        TooShortError: the text has fewer tokens than one window needs.
        SpecialTokenError: the text holds a special token that is not allowed.

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
        words = text if isinstance(text, str) else read_text(text)
        source = get_tokenizer(tokenizer).encode(words, allowed_special=allowed_special)
    data = WindowDataset(source, context_length=context_length, stride=stride)
    return WindowLoader(data, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)
