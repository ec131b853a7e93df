"""Plain bytes as tokens: no vocabulary, no file.

Not for: short sequences; a text has as many tokens as bytes. Costs: a copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.tokens.tokenizers.tokenizer import Tokenizer, byte_to_character_offsets

__all__ = ["ByteTokenizer"]


class ByteTokenizer(Tokenizer):
    """Every byte of UTF-8 is a token, its own id; 256 ends a text.

    >>> from foreword import get_tokenizer
    >>> get_tokenizer("bytes").encode("né")
    array([110, 195, 169], dtype=uint32)
    """

    name = "bytes"
    cuttable = True
    vocab_size = 257
    fingerprint = hashlib.sha256(b"foreword: bytes, 256 ends a text").hexdigest()

    def __init__(self) -> None:
        self.special_tokens = {"<|endoftext|>": 256}

    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        return np.frombuffer(text.encode(), np.uint8).astype(np.uint32)

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """As ``Tokenizer.encode_many``."""
        ids = np.frombuffer(b"".join(texts), np.uint8).astype(np.uint32)
        return ids, np.array([len(text) for text in texts], np.int64)

    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        ids = self._encode_valid(text)
        starts = np.arange(len(ids), dtype=np.int64)
        return ids, byte_to_character_offsets(text.encode(), starts, starts + 1)

    def _decode_known(self, ids: list[int]) -> bytes:
        parts = []
        for id_ in ids:
            if not 0 <= id_ <= 256:
                raise KeyError(id_)
            parts.append(b"<|endoftext|>" if id_ == 256 else bytes([id_]))
        return b"".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reopen or (ByteTokenizer, ())
