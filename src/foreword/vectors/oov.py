"""Out of vocabulary: what stands in for a word that the vectors don't hold.

    error      nothing: UnknownKeyError, with the nearest spellings
    skip       nothing: in a list the word is left out; where it stands alone, UnknownKeyError
    subwords   the mean of its n-grams' vectors, where the file had them (fastText)
    lower      the word in lower case
    fold       the word in lower case, without its accents, or without both

Lookup and queries ask ``KeyedVectors.oov``; ``in``, ``key_to_index`` and ``get_index`` mean the vocabulary whatever the
policy. Source of the subword vectors: Bojanowski et al., Enriching Word Vectors with Subword Information (2017).

Not for: finding the n-grams (``subwords.py``), suggesting spellings (``spelling.py``). Costs: a look-up a spelling; 5
µs an n-gram.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError
from foreword.vectors.store.subwords import Subwords

__all__ = ["POLICIES", "check_policy", "infer", "spellings"]

POLICIES = ("error", "skip", "subwords", "lower", "fold")

_END_OF_SENTENCE = "</s>"  # has no n-grams, as in fastText


def check_policy(policy: str | None, subwords: Subwords | None) -> str:
    """The policy; of None "subwords" where there are some, as in gensim, else "error".

    Raises:
        ArgumentError: there is no such policy, or there are no subwords.
    """
    if policy is None:
        return "error" if subwords is None else "subwords"
    if policy not in POLICIES:
        raise ArgumentError(
            "unknown policy for words out of vocabulary", got=repr(policy), expected=", ".join(POLICIES)
        )
    if policy == "subwords" and subwords is None:
        raise ArgumentError(
            "these vectors have no subwords", got="oov='subwords'", expected="a fastText .bin file", fix="oov='lower'"
        )
    return policy


def spellings(policy: str, word: str) -> Iterator[str]:
    """The spellings to look for in place of ``word``, the nearest first.

    >>> list(spellings("fold", "Éclair"))
    ['éclair', 'Eclair', 'eclair']
    """
    if policy == "lower":
        yield word.lower()
    elif policy == "fold":
        yield word.lower()
        yield without_accents(word)
        yield without_accents(word.lower())


def without_accents(word: str) -> str:
    """``word`` less the marks that decompose from its letters (NFKD), and those alone.

    >>> without_accents("naïve Łódź"), without_accents("がく")
    ('naive Łodz', 'かく')
    """
    letters = unicodedata.normalize("NFKD", word)
    return unicodedata.normalize("NFC", "".join(letter for letter in letters if not unicodedata.combining(letter)))


def infer(word: str, subwords: Subwords) -> NDArray[np.float32]:
    """The vector of an unknown word, float32 [D]: the mean of its n-grams' vectors; of a word without any, zeros, as in
    fastText.
    """
    rows = [] if word == _END_OF_SENTENCE else subwords.rows(word)
    if not rows:
        return np.zeros(subwords.vectors.shape[1], dtype=np.float32)
    mean: NDArray[np.float64] = subwords.vectors[rows].mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)
