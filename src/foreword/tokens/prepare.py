"""Prepare: a corpus to a token store.

    corpus ──▶ documents ──▶ token ids + end-of-text ──▶ store

Special-token text inside a document is ordinary text; only the end-of-text id that is appended is special.

Costs: one document in memory; the speed of the tokenizer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from foreword._progress import progress
from foreword.tokens.corpus import open_corpus
from foreword.tokens.store import TokenStore, TokenStoreWriter, check_new
from foreword.tokens.tokenizer import Tokenizer, get_tokenizer

__all__ = ["prepare"]


def prepare(
    corpus: str | os.PathLike[str] | Iterable[str],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | Tokenizer = "gpt2",
    append_end_of_text: bool = True,
    encoding: str = "utf-8",
) -> TokenStore:
    """Tokenize a corpus into the new token store ``out``, and open it.

    Args:
        corpus: a text file, a folder of .txt and .md files (each file a document), or an iterable of texts.
        out: the folder to make; it appears only when it is complete.
        tokenizer: a name, or a ``Tokenizer``.
        append_end_of_text: append the tokenizer's end-of-text id to each document.
        encoding: of the files.

    Raises:
        ArgumentError: ``out`` exists.
        MissingFileError, FileError, TextDecodeError: the corpus can't be read, or ``out`` can't be written.

    >>> import tempfile
    >>> store = prepare(["Every effort", "moves you"], tempfile.mkdtemp() + "/store")
    >>> len(store), store.documents, store.dtype
    (7, 2, dtype('uint16'))
    >>> store[:]
    array([ 6109,  3626, 50256,    76,  5241,   345, 50256], dtype=uint16)
    """
    check_new(out)
    tokenizer = get_tokenizer(tokenizer)
    source = open_corpus(corpus, encoding=encoding)
    end = np.array([tokenizer.end_of_text_id] if append_end_of_text else [], np.uint32)
    policies = {"append_end_of_text": append_end_of_text, "encoding": encoding}
    with (
        TokenStoreWriter.create(out, tokenizer, policies=policies) as writer,
        progress("tokenizing", source.bytes) as bar,
    ):
        for document in source.documents:
            writer.append(np.concatenate([tokenizer.encode_ordinary(document.text), end]))
            bar.advance(document.bytes)
    return TokenStore.open(out)
