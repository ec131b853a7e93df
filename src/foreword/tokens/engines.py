"""Engines: byte-pair encoding (BPE) of ordinary text, by a library.

An engine knows merge ranks and a split pattern, and nothing of special tokens: to an engine "<|endoftext|>" is
thirteen characters of text. gigatoken is the engine; where it has no wheel, tiktoken gives the same ids, slower.

Costs: about 50 ms and 15 MB to build; then 100–600 MB/s (gigatoken) or 6–15 MB/s (tiktoken) on one thread.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword.errors import FormatError

__all__ = ["Engine", "make_engine", "parse_ranks"]

# The split pattern of GPT-2 (Radford et al. 2019), in the form tiktoken publishes: contractions, words, numbers, other
# signs, each with one leading space; then runs of white space.
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# gigatoken remembers each word it has seen, without bound: on random words that is about nine bytes of memory for each
# byte of text. A new engine after this much text bounds it, and costs 50 ms.
RENEW_AFTER_CHARACTERS = 64_000_000


class Engine(Protocol):
    """Encodes ordinary text; safe to call from many threads."""

    name: str

    def encode(self, text: str) -> NDArray[np.uint32]:
        """The token ids of ``text``, a valid Unicode string, uint32 [n]."""


def make_engine(ranks: bytes) -> Engine:
    """The fastest engine that is installed, for GPT-2's split pattern and ``ranks`` in tiktoken's text format."""
    try:
        return _Gigatoken(ranks)
    except ImportError:
        return _Tiktoken(ranks)


def parse_ranks(ranks: bytes, *, where: str) -> dict[bytes, int]:
    """Merge ranks from tiktoken's text format: lines of base64 token, space, rank.

    >>> parse_ranks(b"aGVsbG8= 0\\nIHdvcmxk 1\\n", where="an example")
    {b'hello': 0, b' world': 1}
    """
    parsed: dict[bytes, int] = {}
    for number, line in enumerate(ranks.splitlines(), start=1):
        try:
            token, rank = line.split()
            parsed[b64decode(token, validate=True)] = int(rank)
        except ValueError:
            raise FormatError(
                "not a file of merge ranks",
                got=repr(line[:60]),
                expected="a token in base64, a space, its rank",
                where=f"{where}, line {number:,}",
            ) from None
    return parsed


class _Gigatoken:
    name = "gigatoken"

    def __init__(self, ranks: bytes) -> None:
        from gigatoken.gigatoken_rs import BPETokenizer

        self._build: Any = BPETokenizer.from_tiktoken
        self._ranks = ranks
        self._renew()

    def _renew(self) -> None:
        with _as_path(self._ranks) as path:
            # special_tokens={}: with them it would also encode those found in ordinary text.
            self._bpe = self._build(path, "gpt2", {})
        self._seen = 0

    def encode(self, text: str) -> NDArray[np.uint32]:
        self._seen += len(text)
        if self._seen > RENEW_AFTER_CHARACTERS and self._seen > len(text):
            self._renew()
            self._seen = len(text)
        ids: NDArray[np.uint32] = self._bpe.encode(text)
        return ids


class _Tiktoken:
    name = "tiktoken"

    def __init__(self, ranks: bytes) -> None:
        import tiktoken

        self._bpe = tiktoken.Encoding(
            "ordinary",
            pat_str=GPT2_PATTERN,
            mergeable_ranks=parse_ranks(ranks, where="the merge ranks"),
            special_tokens={},
        )

    def encode(self, text: str) -> NDArray[np.uint32]:
        return np.asarray(self._bpe.encode_ordinary(text), dtype=np.uint32)


@contextlib.contextmanager
def _as_path(data: bytes) -> Iterator[str]:
    """A path that reads as ``data``: in memory on Linux, so that no writable folder is needed."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("merge-ranks"), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "merge-ranks.tiktoken")  # noqa: PTH118
            with open(path, "wb") as file:
                file.write(data)
            yield path
