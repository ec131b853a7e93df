"""SentencePiece .model files, by the library sentencepiece.

Special tokens (control pieces) are split off by ``Tokenizer``; the library never gives one for text. Nothing is added
at either end. Bytes of a character that is no piece ("<0xE4>") decode to these bytes, and stand for that character.

Not for: speed. Costs: the library's, 2–12 MB/s a thread, and about 50 bytes of memory for each character of a text.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from foreword.errors import FormatError, MissingPackageError
from foreword.tokens.tokenizers.library import GrowingIds, LibraryTokenizer

__all__ = ["SentencePieceTokenizer"]

_SPACE = "▁"
_DENORMALIZER = 5  # the field of a model that changes a text once it is decoded


class SentencePieceTokenizer(LibraryTokenizer):
    """A SentencePiece .model file, by the library sentencepiece.

    Args:
        name: see ``Tokenizer``.
        data: the file.

    Raises:
        MissingPackageError: sentencepiece is not installed.
        FormatError: the library can't read the file.
    """

    cuttable = False

    def __init__(self, name: str, data: bytes) -> None:
        try:
            import sentencepiece
        except ImportError as cause:
            raise MissingPackageError(
                "SentencePiece models need the package sentencepiece", fix="pip install sentencepiece"
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
        self._denormalizes = any(number == _DENORMALIZER and size > 2 for number, size in _fields(data))

    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        return np.array(self._library.encode(text, out_type=int), np.uint32)

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """As ``Tokenizer.encode_many``."""
        flat = GrowingIds()
        lengths = np.zeros(len(texts), np.int64)
        for number, text in enumerate(texts):
            ids = self._library.encode(text.decode(), out_type=int)
            flat.extend(ids)
            lengths[number] = len(ids)
        return flat.array(), lengths

    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        mapping = self._library.encode(text, out_type="offset_mapping")
        ids = np.array(mapping["ids"], np.uint32)
        offsets = np.array(mapping["offsets"], np.int64).reshape(-1, 2)
        self._fill_offsets(text, ids.tolist(), offsets)
        return ids, offsets

    def _fill_offsets(self, text: str, ids: list[int], offsets: NDArray[np.int64]) -> None:
        """Give tokens that the library leaves without a character the one that they are a part of, in place.

        Of the bytes of an unknown piece, and of several pieces that one character was normalized to, the library says
        of the last alone what it stands for.
        """
        run: list[int] = []  # places of the bytes of one unknown piece
        for place, id_ in enumerate(ids):
            start, end = offsets[place].tolist()
            if id_ in self._byte_of:
                run.append(place)
                last = start < end or place + 1 == len(ids) or ids[place + 1] not in self._byte_of
                if not last:
                    continue
                end += start == end < len(text)
                offsets[run] = self._ranges(text, bytes(self._byte_of[ids[p]] for p in run), start, end)
                run = []
            elif start == end < len(text) and (place or self._library.id_to_piece(id_) != _SPACE):
                offsets[place, 1] = start + 1  # but not the space that is put before the first word

    @staticmethod
    def _ranges(text: str, data: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """The characters of each byte of an unknown piece, which stands for ``text[start:end]``."""
        piece, whole = data.decode("utf-8", "replace"), text[start:end]
        for skipped in (0, 1):  # a piece may begin with the space before the first word
            if piece[skipped:].replace(_SPACE, " ") == whole.replace(_SPACE, " ") and piece[:skipped] in ("", _SPACE):
                places = [(start, start)] * skipped + [(start + i, start + i + 1) for i in range(len(whole))]
                return [at for letter, at in zip(piece, places, strict=True) for _ in letter.encode()]
        return [(start, end)] * len(data)

    @functools.cached_property
    def _byte_of(self) -> dict[int, int]:
        """The byte that a token stands for, of tokens that stand for one."""
        pieces = ((id_, self._library.id_to_piece(id_)) for id_ in range(self.vocab_size) if self._library.is_byte(id_))
        return {id_: int(piece[3:5], 16) for id_, piece in pieces}

    @functools.cached_property
    def _bytes_of(self) -> list[bytes]:
        """The bytes of each token inside a text."""
        return [self._piece_bytes(id_) for id_ in range(self.vocab_size)]

    def _piece_bytes(self, id_: int) -> bytes:
        if id_ in self._byte_of:
            return bytes([self._byte_of[id_]])
        if self._library.is_unknown(id_):
            return str(self._library.decode([id_])).encode()
        return str(self._library.id_to_piece(id_)).replace(_SPACE, " ").encode()

    def _decode_known(self, ids: list[int]) -> bytes:
        for id_ in ids:
            if not 0 <= id_ < self.vocab_size:
                raise KeyError(id_)
        special = set(self.special_tokens.values())
        parts: list[bytes] = []
        run: list[int] = []
        for id_ in ids:
            if id_ in special:
                parts += [self._decode_run(run), self._bytes_of[id_]]
                run = []
            else:
                run.append(id_)
        return b"".join([*parts, self._decode_run(run)])

    def _decode_run(self, ids: list[int]) -> bytes:
        """The bytes of tokens that are text."""
        if self._denormalizes:  # the text as a whole decides
            return str(self._library.decode(ids)).encode()
        text = b""
        i = 0
        while i < len(ids) and not text:  # the library drops white space until something else has come
            byte = self._byte_of.get(ids[i])
            text = str(self._library.decode(ids[: i + 1])).encode() if byte is None else bytes([byte])
            i += 1
        table = self._bytes_of
        return text + b"".join([table[id_] for id_ in ids[i:]])

    def _token_bytes(self, id_: int) -> bytes:
        self.decode_bytes([id_])  # refuses what is no token
        return self._bytes_of[id_]


def _fields(data: bytes) -> Iterator[tuple[int, int]]:
    """The fields of a protocol buffer's message: number, and size in bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while place < len(data):
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return value

    while place < len(data):
        key = varint()
        start = place
        kind = key & 7
        if kind == 0:
            varint()
        elif kind == 2:
            place += varint()
        else:
            place += {1: 8, 5: 4}.get(kind, len(data))
        yield key >> 3, place - start
