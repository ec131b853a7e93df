"""Similarity: cosines and distances between given words, sets of words and documents.

Not for: searching the whole table (``neighbours.py``). Costs: the rows named, and ``distances`` without other words all
rows.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.errors import ArgumentError, MissingPackageError
from foreword.vectors.search.cosines import cosines, unit_query, unit_rows
from foreword.vectors.table import VectorTable, _checked_vector, as_array, is_key, listed

__all__ = ["Similarities"]

logger = logging.getLogger(__name__)

_AT_ONCE = 4096  # keys whose vectors are in memory at once, however many are given


class Similarities(VectorTable):
    """Comparing what is given; all cosines in float64, and 0 where a vector is zero."""

    def similarity(self, w1: Any, w2: Any) -> np.float32:
        """The cosine of two words, −1…1.

        Raises:
            UnknownKeyError: one isn't there.
        """
        return np.float32(self._cosine(self._vector(w1), self._vector(w2)))

    def distance(self, w1: Any, w2: Any) -> float:
        """1 − cosine of two words, 0…2."""
        return 1 - self._cosine(self._vector(w1), self._vector(w2))

    def _cosine(self, a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
        return float(cosines(a[None], unit_query(b, self.vector_size))[0])

    @staticmethod
    def cosine_similarities(vector_1: NDArray[Any], vectors_all: NDArray[Any]) -> NDArray[np.floating[Any]]:
        """The cosines of one vector [D] with each of several [n, D]: [n], float64 where one of them is, else float32;
        0 where a vector is zero.
        """
        rows = np.asarray(vectors_all)
        if rows.ndim != 2:
            raise ArgumentError("expected a matrix of vectors", got=f"shape {rows.shape}", expected="shape (n, D)")
        scores = cosines(rows, unit_query(vector_1, rows.shape[1]))
        return scores if np.float64 in (rows.dtype, np.asarray(vector_1).dtype) else scores.astype(np.float32)

    def distances(self, word_or_vector: Any, other_words: Iterable[Any] | None = ()) -> NDArray[np.float32]:
        """1 − cosine of a word or vector with each of ``other_words``, or, if there are none, with every key: float32.

        Raises:
            UnknownKeyError: a word isn't there.
        """
        if is_key(word_or_vector):
            vector = self._vector(word_or_vector).astype(np.float64)
        else:
            vector = _checked_vector(as_array(word_or_vector), self.vector_size)
        others = [] if other_words is None else listed(other_words)
        if not others:
            return 1 - self._search().scores(vector)
        return 1 - self._cosines(self._kept(others), unit_query(vector, self.vector_size)).astype(np.float32)

    def _cosines(self, keys: list[Any], unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cosines of keys' vectors with a unit vector, some thousand keys at a time."""
        scores = np.empty(len(keys))
        for i in range(0, len(keys), _AT_ONCE):
            scores[i : i + _AT_ONCE] = cosines(self._vectors(keys[i : i + _AT_ONCE]), unit)
        return scores

    def n_similarity(self, ws1: Sequence[Any], ws2: Sequence[Any]) -> np.float32:
        """The cosine between the mean vectors of two lists of words; words that aren't there are left out.

        Raises:
            ArgumentError, which is a ValueError, and ZeroDivisionError as in gensim: a list is empty.
        """
        ws1, ws2 = _words(ws1), _words(ws2)
        if not ws1 or not ws2:
            raise _NoWordsError(
                "can't compare with no words", got="an empty list", expected="at least one word in each list"
            )
        one, two = (self._mean(ws, None, pre_normalize=False, ignore_missing=True) for ws in (ws1, ws2))
        return np.float32(self._cosine(one, two))

    def most_similar_to_given(self, key1: Any, keys_list: Sequence[Any]) -> Any:
        """The one of ``keys_list`` nearest to ``key1``; of equals the first.

        Raises:
            ArgumentError: the list is empty.
        """
        known = self._kept(keys_list)
        if not known:
            raise ArgumentError(
                "can't choose from no keys", got=f"{counted(len(keys_list), 'key')}, none of which has a vector"
            )
        return known[int(np.argmin(self.distances(key1, known)))]

    def rank_by_centrality(self, words: Iterable[Any], use_norm: bool = True) -> list[tuple[np.float32, Any]]:
        """(similarity, word) for each word, nearest to the mean of all first; words that aren't there are left out.

        Args:
            words: the words.
            use_norm: scale their vectors to length 1, both for the mean and for the similarity; without it both are
                of the vectors as they are, so that long vectors count for more.
        """
        words = _words(words)
        known = [word for word in words if self._has_vector(word)]
        if len(known) < len(words):
            logger.warning(
                "left out, as they have no vectors: %s", sorted({str(w) for w in words} - {str(w) for w in known})
            )
        if not known:
            raise ArgumentError("can't rank no words", got=f"{counted(len(words), 'word')}, none of which has a vector")

        def directions(i: int) -> NDArray[np.float64]:
            rows = self._vectors(known[i : i + _AT_ONCE])
            return unit_rows(rows) if use_norm else rows.astype(np.float64)

        parts = range(0, len(known), _AT_ONCE)
        total = sum((directions(i).sum(axis=0) for i in parts), np.zeros(self.vector_size))
        unit = unit_query(total / len(known), self.vector_size)
        scores = np.concatenate([(directions(i) * unit).sum(axis=1) for i in parts]).astype(np.float32)
        return sorted(zip(scores, known, strict=True), key=lambda pair: (pair[0], str(pair[1])), reverse=True)

    def doesnt_match(self, words: Iterable[Any]) -> Any:
        """The word farthest from the mean of all of them."""
        return self.rank_by_centrality(words)[-1][1]

    def wmdistance(self, document1: Iterable[str], document2: Iterable[str], norm: bool = True) -> float:
        """The Word Mover's Distance of two documents, lists of words: how far the words of one must travel to the
        other.

        Args:
            document1: the words of one; those without a vector are left out.
            document2: the words of the other.
            norm: scale vectors to length 1 first.

        Returns:
            The distance; inf where a document has no words left, 0 where both have the same shares of the same words.

        Raises:
            MissingPackageError: POT, the solver, isn't installed.

        Kusner et al., From Word Embeddings to Document Distances (2015).
        """
        try:
            from ot import emd2
        except ImportError as cause:
            raise MissingPackageError("Word Mover's Distance needs POT", fix="pip install POT") from cause
        counts = [
            Counter(word for word in document if self._has_vector(word))
            for document in (_words(document1), _words(document2))
        ]
        if not all(counts):
            return float("inf")
        places = []
        shares = []
        for count in counts:
            vectors = [self._vector(word).astype(np.float64) for word in count]
            places.append(np.stack([unit_query(v, self.vector_size) for v in vectors] if norm else vectors))
            shares.append(np.array(list(count.values()), dtype=np.float64) / count.total())
        between = np.stack([np.sqrt(((place - places[1]) ** 2).sum(axis=1)) for place in places[0]])
        return float(emd2(*shares, between))


def _words(words: Iterable[Any]) -> list[Any]:
    if isinstance(words, (str, bytes)):  # its characters are never what was meant
        raise ArgumentError(
            "expected a list of words", got=f"{type(words).__name__} {words!r}", fix="split it into words"
        )
    return listed(words)


class _NoWordsError(ArgumentError, ZeroDivisionError):
    """An ArgumentError that gensim's users catch as ZeroDivisionError."""
