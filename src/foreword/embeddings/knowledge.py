"""Knowledge from word vectors: a first vector for each token of a subword tokenizer.

A token that is a word takes the word's vector. Any other can take the mean of the words it is a piece of, or what the
vectors themselves make of its text. The result is centred, brought to D dimensions and to the spread of first weights.

Not for: models' own embeddings (``checkpoint``). Costs: with method="mean" each word is tokenised three times, as it
stands in running text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError

__all__ = ["Coverage", "Method", "TokenVectors", "Tokens", "Words", "fitted", "token_vectors"]

Method = Literal["exact", "mean", "subword", "ids"]

_CHUNK = 8192  # words tokenised at once


class Words(Protocol):
    """What word vectors must have: gensim's interface."""

    @property
    def key_to_index(self) -> Mapping[str, int]:
        """The row of each word."""
        ...

    @property
    def index_to_key(self) -> Sequence[str]:
        """The words, the most frequent first."""
        ...

    @property
    def vectors(self) -> NDArray[Any]:
        """One row a word, [N, d]."""
        ...

    def __getitem__(self, key: str, /) -> NDArray[Any]: ...


class Tokens(Protocol):
    """What a tokenizer must have."""

    @property
    def vocab_size(self) -> int:
        """V, one more than the largest token id."""
        ...

    def encode(self, text: str, /) -> Any:
        """The token ids of a text, 1-D."""
        ...

    def decode_bytes(self, ids: Any, /) -> bytes:
        """The bytes that token ids stand for."""
        ...


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How many tokens got a vector, and how.

    Attributes:
        vocab_size: V.
        exact: tokens that are a word.
        composed: tokens given the mean of words, or a vector made of subwords.
        random: the rest, drawn at random.

    >>> print(Coverage(vocab_size=50257, exact=25000, composed=20000, random=5257))
    exact 25,000 (50 %), composed 20,000 (40 %), random 5,257 (10 %) of 50,257 tokens
    """

    vocab_size: int
    exact: int
    composed: int
    random: int

    def __str__(self) -> str:
        parts = ("exact", "composed", "random")
        shown = (
            f"{p} {getattr(self, p):,} ({getattr(self, p) / self.vocab_size:.0%})".replace("%", " %") for p in parts
        )
        return f"{', '.join(shown)} of {self.vocab_size:,} tokens"


@dataclasses.dataclass(frozen=True)
class TokenVectors:
    """A vector for each token: ``vectors`` float32 [V, d], ``known`` bool [V] (rows of the others are zero)."""

    vectors: NDArray[np.float32]
    known: NDArray[np.bool_]
    coverage: Coverage


def token_vectors(wv: Words, tokenizer: Tokens, *, method: Method = "mean") -> TokenVectors:
    """The vector of each token id, from the vectors of words.

    A token is a word if its text, without one leading space, is a key, as it stands or in lower case. Without that
    space it may be a piece of other words as well ("ing" is also a bank): with "mean" it takes the mean of them all.

    Args:
        wv: word vectors whose keys are sorted by frequency, as files of word vectors are.
        tokenizer: a subword tokenizer.
        method: what other tokens get: "exact" nothing; "mean" the mean of the words that the token is a piece of, each
            weighted by its frequency, which by Zipf's law is 1/rank; "subword" what ``wv[text]`` gives for a text
            that is no key (fastText composes it of n-grams). "ids": the keys are not words but token ids, as of
            vectors trained on a token store; each has its own vector, and no other token has one.

    Raises:
        ArgumentError: an unknown method; with "ids" a key that is no token id.
    """
    if method not in get_args(Method):
        raise ArgumentError("unknown method", got=repr(method), expected=", ".join(map(repr, get_args(Method))))
    V = tokenizer.vocab_size
    if method == "ids":
        return _by_id(wv, V)
    pieces = [_bytes_of(tokenizer, id_) for id_ in range(V)]
    vectors = np.zeros((V, wv.vectors.shape[1]), dtype=np.float32)
    index = wv.key_to_index

    words = [piece.decode("utf-8", errors="ignore").removeprefix(" ") for piece in pieces]
    rows = np.array([index.get(word, index.get(word.lower(), -1)) if word else -1 for word in words])
    exact = rows >= 0
    composed = np.zeros(V, dtype=bool)
    if method == "mean":
        means, frequency = _means(wv, tokenizer, np.array([len(piece) for piece in pieces]))
        own = np.zeros(V)
        own[exact] = 1.0 / (rows[exact] + 1)
        own[exact & np.array([piece.startswith(b" ") for piece in pieces])] = np.inf
        composed = frequency > own
        exact &= ~composed
        vectors[composed] = means[composed]
    vectors[exact] = np.asarray(wv.vectors[rows[exact]], dtype=np.float32)
    if method == "subword":
        for id_ in np.flatnonzero(~exact):
            if words[id_].strip():
                try:
                    vectors[id_] = wv[words[id_]]
                    composed[id_] = True
                except KeyError:
                    continue
    known = exact | composed
    coverage = Coverage(V, int(exact.sum()), int(composed.sum()), int((~known).sum()))
    return TokenVectors(vectors, known, coverage)


def _by_id(wv: Words, vocab_size: int) -> TokenVectors:
    """The vectors of token ids, where those are the keys: integers, or their digits as text formats have them."""
    ids = np.empty(len(wv.index_to_key), dtype=np.int64)
    for row, key in enumerate(wv.index_to_key):
        number = int(key) if isinstance(key, int) or (key.isascii() and key.isdecimal()) else -1
        if not 0 <= number < vocab_size:
            raise ArgumentError(
                "a key of the vectors is no token id",
                got=repr(key),
                expected=f"0 … {vocab_size - 1}",
                fix='method="mean" is for vectors of words',
            )
        ids[row] = number
    vectors, known = np.zeros((vocab_size, wv.vectors.shape[1]), dtype=np.float32), np.zeros(vocab_size, dtype=bool)
    vectors[ids] = wv.vectors
    known[ids] = True
    return TokenVectors(vectors, known, Coverage(vocab_size, int(known.sum()), 0, int((~known).sum())))


def fitted(known: TokenVectors, embedding_dim: int, *, std: float, seed: int) -> NDArray[np.float32]:
    """First weights [V, D] from token vectors [V, d].

    The known rows are centred on their mean; then brought to D dimensions, for d < D by a random isometry (which keeps
    every length and angle), for d > D by their first D principal components; then scaled so that the root mean square
    of their elements is ``std``. The other rows are drawn with that standard deviation.
    """
    rng = np.random.default_rng(seed)
    V, d = known.vectors.shape
    weight = rng.normal(0, std, (V, embedding_dim)).astype(np.float32)
    rows = known.vectors[known.known].astype(np.float64)
    if not len(rows):
        return weight
    rows -= rows.mean(axis=0)
    if d < embedding_dim:
        isometry, _ = np.linalg.qr(rng.normal(size=(embedding_dim, d)))
        rows = rows @ isometry.T
    elif d > embedding_dim:
        _, axes = np.linalg.eigh(rows.T @ rows)  # ascending
        rows = rows @ axes[:, ::-1][:, :embedding_dim]
    spread = np.sqrt(np.mean(rows**2))
    weight[known.known] = rows * (std / spread if spread > 0 else 0.0)
    return weight


def _means(wv: Words, tokenizer: Tokens, lengths: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """For each token the weighted mean of the words that it is a piece of, float32 [V, d], and their weight, [V]."""
    sums = np.zeros((len(lengths), wv.vectors.shape[1]))
    weights = np.zeros(len(lengths))
    keys = wv.index_to_key
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        table = np.asarray(wv.vectors[start : start + _CHUNK], dtype=np.float64)
        frequency = 1.0 / np.arange(start + 1, start + len(chunk) + 1)
        for texts in _as_written(chunk):
            ids, word = _pieces(tokenizer, texts, lengths)
            if not len(ids):
                continue
            order = np.argsort(ids, kind="stable")
            ids, word = ids[order], word[order]
            tokens, first = np.unique(ids, return_index=True)
            weight = frequency[word]
            sums[tokens] += np.add.reduceat(table[word] * weight[:, None], first, axis=0)
            weights[tokens] += np.add.reduceat(weight, first)
    sums[weights > 0] /= weights[weights > 0, None]
    return sums.astype(np.float32), weights


def _as_written(words: Sequence[str]) -> Iterator[list[str]]:
    """The words as text shows them: within a sentence, at its beginning, after a line break."""
    # A key with a marker of special tokens could be refused by the tokenizer; no word of a language has one.
    plain = ["" if "<|" in word else word for word in words]
    yield [f" {word}" if word else "" for word in plain]
    yield [f" {word[:1].upper()}{word[1:]}" if word else "" for word in plain]
    yield [f"\n{word}" if word else "" for word in plain]


def _pieces(
    tokenizer: Tokens, texts: Sequence[str], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The token ids of the texts, and the number of the text that each is a piece of.

    All are encoded at once, as running text, and told apart by their bytes; texts that share a token are left out.
    """
    ends = np.cumsum([len(text.encode("utf-8", "replace")) for text in texts])
    ids = np.asarray(tokenizer.encode("".join(texts)), dtype=np.int64)
    stops = np.cumsum(lengths[ids]) if len(ids) else ids
    if len(ids) == 0 or stops[-1] != ends[-1]:  # a tokenizer that changes text: one at a time
        each = [np.asarray(tokenizer.encode(text), dtype=np.int64) for text in texts]
        return np.concatenate(each), np.repeat(np.arange(len(each)), [len(e) for e in each])
    word = np.searchsorted(ends, stops, side="left")
    begins_in = np.searchsorted(ends, stops - lengths[ids], side="right")
    shared = np.unique(np.concatenate([word[word != begins_in], begins_in[word != begins_in]]))
    keep = ~np.isin(word, shared)
    return ids[keep], word[keep]


def _bytes_of(tokenizer: Tokens, id_: int) -> bytes:
    try:
        return tokenizer.decode_bytes([id_])
    except (KeyError, IndexError, ValueError):
        return b""  # an id that no token has
