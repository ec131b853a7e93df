"""Tokenizers of other libraries, behind the one interface: tokenizer.json, SentencePiece; and plain bytes.

Special tokens are split off by ``Tokenizer``, and the library is told to see none, so that special-token text inside a
document stays ordinary text here too. Nothing is added at either end (no "[CLS]", no "<s>").

Not for: speed. Costs: those libraries', 2–10 MB/s a thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.errors import FormatError, MissingPackageError
from foreword.tokens.tokenizers.tokenizer import Tokenizer, byte_to_character_offsets

__all__ = ["ByteTokenizer", "HuggingFaceTokenizer", "SentencePieceTokenizer"]


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


class _LibraryTokenizer(Tokenizer):
    """What the tokenizers of other libraries share: one text at a time, and a file that says it all."""

    cuttable = False

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """As ``Tokenizer.encode_many``."""
        ids = self._encode_batch([text.decode() for text in texts])
        flat = np.concatenate(ids) if ids else np.empty(0, np.uint32)
        return flat, np.array([len(i) for i in ids], np.int64)

    def _encode_batch(self, texts: list[str]) -> list[NDArray[np.uint32]]:
        return [self._encode_valid(text) for text in texts]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self._data)

    _data: bytes


class HuggingFaceTokenizer(_LibraryTokenizer):
    """A tokenizer.json, by the library tokenizers.

    Raises:
        MissingPackageError: tokenizers is not installed.
        FormatError: the library can't read the file.
    """

    def __init__(self, name: str, data: bytes) -> None:
        try:
            import tokenizers
        except ImportError as cause:
            raise MissingPackageError(
                "tokenizer.json files need the package tokenizers", fix="pip install 'foreword[tokenizers]'"
            ) from cause
        self.name, self._data = name, data
        try:
            self._library = tokenizers.Tokenizer.from_buffer(data)
            told = json.loads(data)
        except Exception as cause:  # tokenizers raises bare Exceptions
            raise FormatError(
                "the tokenizer's file can't be read", got=str(cause)[:200], expected="a tokenizer.json", where=name
            ) from cause
        self._library.no_truncation()
        self._library.no_padding()
        # Special tokens in a text are ordinary text to the library: Tokenizer splits off those that are allowed.
        self._library.encode_special_tokens = True
        self.special_tokens = {
            token["content"]: token["id"] for token in told.get("added_tokens") or [] if token.get("special")
        }
        self._token_of = {id_: token for token, id_ in self._library.get_vocab(with_added_tokens=True).items()}
        self.vocab_size = max(self._token_of, default=-1) + 1
        self.fingerprint = hashlib.sha256(data).hexdigest()
        added = {token["id"] for token in told.get("added_tokens") or []}
        self._byte_level = (told.get("decoder") or {}).get("type") == "ByteLevel"
        self._bytes_of = (
            {id_: token.encode() if id_ in added else _bytes_of_letters(token) for id_, token in self._token_of.items()}
            if self._byte_level
            else {}
        )

    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        return np.array(self._library.encode(text, add_special_tokens=False).ids, np.uint32)

    def _encode_batch(self, texts: list[str]) -> list[NDArray[np.uint32]]:
        batch = self._library.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in batch]

    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        encoding = self._library.encode(text, add_special_tokens=False)
        return np.array(encoding.ids, np.uint32), np.array(encoding.offsets, np.int64).reshape(-1, 2)

    def _decode_known(self, ids: list[int]) -> bytes:
        for id_ in ids:
            if id_ not in self._token_of:
                raise KeyError(id_)
        if self._byte_level:
            return b"".join([self._bytes_of[id_] for id_ in ids])
        text: str = self._library.decode(ids, skip_special_tokens=False)
        return text.encode()


class SentencePieceTokenizer(_LibraryTokenizer):
    """A SentencePiece .model file, by the library sentencepiece.

    Raises:
        MissingPackageError: sentencepiece is not installed.
        FormatError: the library can't read the file.
    """

    def __init__(self, name: str, data: bytes) -> None:
        try:
            import sentencepiece
        except ImportError as cause:
            raise MissingPackageError(
                "SentencePiece models need the package sentencepiece", fix="pip install 'foreword[sentencepiece]'"
            ) from cause
        self.name, self._data = name, data
        self._library = sentencepiece.SentencePieceProcessor()
        try:
            self._library.LoadFromSerializedProto(data)
            self.vocab_size = int(self._library.vocab_size())
        except (RuntimeError, OSError) as cause:
            raise FormatError(
                "the tokenizer's file can't be read", got=str(cause)[:200], expected="a SentencePiece model", where=name
            ) from cause
        if not self.vocab_size:
            raise FormatError("the tokenizer's file can't be read", expected="a SentencePiece model", where=name)
        self.fingerprint = hashlib.sha256(data).hexdigest()
        self.special_tokens = {
            self._library.id_to_piece(id_): id_ for id_ in range(self.vocab_size) if self._library.is_control(id_)
        }

    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        return np.array(self._library.encode(text, out_type=int), np.uint32)

    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        mapping = self._library.encode(text, out_type="offset_mapping")
        return np.array(mapping["ids"], np.uint32), np.array(mapping["offsets"], np.int64).reshape(-1, 2)

    def _decode_known(self, ids: list[int]) -> bytes:
        special = {id_: text for text, id_ in self.special_tokens.items()}
        parts: list[str] = []
        run: list[int] = []
        for id_ in [*ids, None]:
            if id_ is not None and not 0 <= id_ < self.vocab_size:
                raise KeyError(id_)
            if id_ is None or id_ in special:
                parts.append(self._library.decode(run))
                parts.append("" if id_ is None else special[id_])
                run = []
            else:
                run.append(id_)
        return "".join(parts).encode()


def _bytes_of_letters(token: str) -> bytes:
    """The bytes of a byte-level token: GPT-2 writes each byte as a printable letter."""
    return bytes([_BYTE_OF_LETTER[letter] for letter in token])


def _byte_letters() -> dict[str, int]:
    """GPT-2's letter of each byte: itself where it is printable Latin-1, else the next free one from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + i): byte for i, byte in enumerate(b for b in range(256) if b not in printable)}


_BYTE_OF_LETTER = _byte_letters()
