"""Encoders: what turns a text into ids, and ids into rows of a table.

``WordEncoder`` looks words up in word vectors: static embeddings, about a million words a second, and no torch.
``LayerEncoder`` encodes with a tokenizer and reads the token table of an ``InputEmbedding``.
``StaticEncoder`` has a static embedding model encode whole texts.

Not for: contextual embeddings; a word has one vector, wherever it stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.errors import ArgumentError

if TYPE_CHECKING:
    from foreword.embeddings import InputEmbedding
    from foreword.tokens import Tokenizer
    from foreword.vectors import KeyedVectors

__all__ = ["Encoder", "LayerEncoder", "StaticEncoder", "Unknown", "WordEncoder", "check_unknown"]

Unknown = Literal["skip", "zero", "error"]

# Words as GloVe's vocabulary has them: "don't" is "do" and "n't", "it's" is "it" and "'s", punctuation stands alone.
_WORD = re.compile(r"\w+?(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|\w+|[^\w\s]")
_REMEMBERED = 1 << 20  # words whose row is kept at hand


def check_unknown(unknown: str) -> None:
    """Raise an ArgumentError where there is no such policy."""
    if unknown not in get_args(Unknown):
        raise ArgumentError("no such policy", got=repr(unknown), expected='"skip", "zero" or "error"')


class Encoder(Protocol):
    """Text to ids, ids to rows.

    Attributes:
        dim: D.
        cuttable: whether a text may be cut before a space between two words.
    """

    dim: int
    cuttable: bool

    def ids(self, text: str) -> NDArray[np.int64]:
        """An id for each word or token of ``text``, int64 [n]; −1 for a word without a vector."""
        ...

    def of_store(self, ids: NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.int64]:
        """The same for a document of token ids that ``tokenizer`` made."""
        ...

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n, D]; zeros for −1."""
        ...


class WordEncoder:
    """Words by a table of word vectors.

    A word is looked up as it stands, then in lower case.

    Args:
        wv: the vectors.
        unknown: what becomes of a word without a vector: "skip" leaves it out, "zero" gives it zeros, "error" stops.
    """

    cuttable = True

    def __init__(self, wv: KeyedVectors, *, unknown: Unknown = "skip") -> None:
        check_unknown(unknown)
        self._wv, self._unknown = wv, unknown
        self._known: dict[str, int] = {}
        self.dim = int(wv.vectors.shape[1])

    def ids(self, text: str) -> NDArray[np.int64]:  # noqa: D102
        words = _WORD.findall(text)
        known = self._known
        try:
            rows = [known[word] for word in words]
        except KeyError:
            if len(known) > _REMEMBERED:
                known.clear()
            for word in set(words) - known.keys():
                known[word] = self._row(word)
            rows = [known[word] for word in words]
        if self._unknown == "error" and -1 in rows:
            self._wv.get_index(words[rows.index(-1)])  # says the nearest spellings
        return np.array(rows, dtype=np.int64)

    def _row(self, word: str) -> int:
        index, plain = self._wv.key_to_index, word.replace("’", "'")
        row = index.get(plain, -1)
        return row if row >= 0 else index.get(plain.lower(), -1)

    def of_store(self, ids: NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.int64]:  # noqa: D102
        special = list(tokenizer.special_tokens.values())
        return self.ids(tokenizer.decode(ids[~np.isin(ids, special)]))

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:  # noqa: D102
        rows = np.asarray(self._wv.vectors[ids], dtype=np.float32)
        rows[ids < 0] = 0
        return rows


class LayerEncoder:
    """Tokens by the token table of an ``InputEmbedding``, times its scale; positions are not added.

    Args:
        layer: the layer.
        tokenizer: what it was made for.

    Raises:
        ArgumentError: the tokenizer has ids that the layer has no row for.
    """

    def __init__(self, layer: InputEmbedding, tokenizer: Tokenizer) -> None:
        if tokenizer.vocab_size > layer.vocab_size:
            raise ArgumentError(
                "the tokenizer doesn't fit the layer",
                got=f"{tokenizer.name!r} of {counted(tokenizer.vocab_size, 'id')}, "
                f"a table of {counted(layer.vocab_size, 'row')}",
                fix="name the tokenizer that the layer was made for",
            )
        self._layer, self._tokenizer = layer, tokenizer
        self.dim, self.cuttable = layer.embedding_dim, tokenizer.cuttable

    def ids(self, text: str) -> NDArray[np.int64]:  # noqa: D102
        return self._tokenizer.encode_ordinary(text).astype(np.int64)

    def of_store(self, ids: NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.int64]:  # noqa: D102
        if tokenizer.fingerprint != self._tokenizer.fingerprint:
            raise ArgumentError(
                "the store was made by another tokenizer than the layer's",
                got=repr(tokenizer.name),
                expected=repr(self._tokenizer.name),
                fix=f"pass tokenizer={tokenizer.name!r} if the layer was made for it, or prepare the text again",
            )
        return ids.astype(np.int64)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:  # noqa: D102
        import torch

        with torch.no_grad():
            rows = self._layer.token_embedding(torch.from_numpy(ids)).float() * self._layer.scale
        result: NDArray[np.float32] = rows.numpy()
        return result


class StaticEncoder:
    """Whole texts by a static embedding model.

    Args:
        wv: the vectors of its tokens.

    Raises:
        ArgumentError: they are of no such model.
    """

    cuttable = False

    def __init__(self, wv: KeyedVectors) -> None:
        wv.encode([])
        self._wv = wv
        self.dim = wv.vector_size

    def vectors(self, texts: list[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The vectors of texts, float32 [n, D], and how many tokens each is the mean of, int64 [n]."""
        return self._wv._encoded(texts)
