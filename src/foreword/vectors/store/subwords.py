"""fastText's subwords: which rows of its n-gram matrix a word is made of.

The n-grams of a word are the runs of ``minn`` to ``maxn`` code points of ``<word>``, the single ``<`` and ``>``
excepted. An n-gram's row is the 32-bit FNV-1a hash of its UTF-8 bytes, each sign-extended as C's ``char`` was where
fastText grew up, modulo the number of rows. Source: Bojanowski et al., 2017, and the program fastText
(dictionary.cc).

gensim before 3.8 had other ways, which its old files need: only the buckets in use have a row (``hash2index``), n-grams
are hashed by code points, or stand in a table by their spelling.

``add_subwords`` does it for many words at once, compiled where numba can be had; in the same order of float32
additions, so that both ways give the same bits.

Not for: reading fastText's files (``readers.fasttext``). Costs: 5 µs an n-gram in Python; compiled, that of fetching
its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreword.vectors.store.keys import encode, hash_key

__all__ = ["BYTES", "CHARACTERS", "SPELLING", "Subwords", "add_subwords", "fnv1a", "ngram_hash", "subword_rows"]

BYTES, CHARACTERS, SPELLING = "bytes", "characters", "spelling"
"""How an n-gram becomes a number: by a hash of its UTF-8 bytes, of its code points, or as itself."""

_FNV_START = 2166136261
_COMPILED = 20_000  # words from which loading the compiled kernel pays


@dataclass(frozen=True, slots=True)
class Subwords:
    """What makes vectors of words that were never seen: the rows of n-grams.

    Attributes:
        minn, maxn: the lengths of n-grams, in code points.
        vectors: float32 [n, D].
        hashing: how an n-gram becomes a number: BYTES as in fastText, CHARACTERS or SPELLING as in older gensims.
        buckets: what hashes are taken modulo.
        numbers, rows_of: of n-grams that have a row: uint64 [m], rising, and uint32 [m], the row of each; None where
            each number is itself a row.
    """

    minn: int
    maxn: int
    vectors: NDArray[np.float32]
    hashing: str = BYTES
    buckets: int = 0
    numbers: NDArray[np.uint64] | None = None
    rows_of: NDArray[np.uint32] | None = None

    @classmethod
    def of(
        cls,
        minn: int,
        maxn: int,
        vectors: NDArray[np.float32],
        *,
        hashing: str = BYTES,
        buckets: int = 0,
        listed: Mapping[int, int] | None = None,
    ) -> Subwords | None:
        """Subwords, or None where no word can have any: there are no rows, or no length that an n-gram may have.

        Args:
            minn: see the class; so are the others.
            maxn: as there.
            vectors: as there.
            hashing: as there.
            buckets: as there.
            listed: number → row, where only some numbers have one.
        """
        if not len(vectors) or maxn < max(minn, 1):
            return None
        numbers = rows = None
        if listed is not None:
            numbers = np.fromiter(listed, dtype=np.uint64, count=len(listed))
            order = np.argsort(numbers)
            numbers = numbers[order]
            rows = np.fromiter(listed.values(), dtype=np.uint32, count=len(listed))[order]
        return cls(minn, maxn, vectors, hashing, buckets or len(vectors), numbers, rows)

    def __copy__(self) -> Subwords:  # nothing of it can be changed
        return self

    def __deepcopy__(self, _: object) -> Subwords:
        return self

    @property
    def as_in_fasttext(self) -> bool:
        """Whether each n-gram has the row of its hash."""
        return self.hashing == BYTES and self.numbers is None

    def rows(self, word: str | bytes) -> list[int]:
        """The rows of ``vectors`` that the n-grams of ``word`` have; their mean is the vector of an unknown word.

        Bytes are a word's UTF-8, or what stands there, where n-grams are hashed by their bytes.
        """
        bucket = self.buckets or len(self.vectors)
        if isinstance(word, bytes):
            found = subword_rows(word, minn=self.minn, maxn=self.maxn, bucket=bucket)
        elif self.hashing == BYTES:
            found = subword_rows(encode(word), minn=self.minn, maxn=self.maxn, bucket=bucket)
        elif self.hashing == CHARACTERS:
            found = [hash_characters(gram) % bucket for gram in _ngrams(word, self.minn, self.maxn)]
        else:
            found = [ngram_hash(gram) for gram in _ngrams(word, self.minn, self.maxn)]
        if self.numbers is None or self.rows_of is None or not found:
            return found
        places = np.searchsorted(self.numbers, np.array(found, dtype=np.uint64))
        places[places == len(self.numbers)] = 0
        known = places[self.numbers[places] == np.array(found, dtype=np.uint64)]
        return list(map(int, self.rows_of[known]))

    def cover(self, word: str) -> bool:
        """Whether ``word`` has a vector: of fastText any word; where only some n-grams have a row, as in older gensims
        and pruned models, one with such an n-gram.
        """
        return self.numbers is None or bool(self.rows(word))


def _ngrams(word: str, minn: int, maxn: int) -> Iterator[str]:
    """The n-grams of a word as gensim up to 3.7 took them: runs of characters of ``<word>``, all of a length first."""
    text = f"<{word}>"
    for length in range(minn, min(len(text), maxn) + 1):
        yield from (text[i : i + length] for i in range(len(text) - length + 1))


def ngram_hash(gram: str) -> int:
    """The number of an n-gram that is told by its spelling: the hash of a key."""
    return hash_key(encode(gram))


def hash_characters(gram: str) -> int:
    """The hash of an n-gram in gensim 3.3–3.7: FNV-1a over code points where fastText has it over bytes.

    >>> hash_characters("foobar") == fnv1a(b"foobar")
    True
    """
    value = _FNV_START
    for character in gram:
        value = (value ^ ord(character)) * 16777619 & 0xFFFFFFFF
    return value


def fnv1a(data: bytes, value: int = _FNV_START) -> int:
    """The hash of an n-gram, or of what follows one with the hash ``value``; of ASCII the usual 32-bit FNV-1a.

    >>> hex(fnv1a(b"foobar"))
    '0xbf9cf968'
    """
    for byte in data:
        value = (value ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619 & 0xFFFFFFFF
    return value


def subword_rows(word: bytes, *, minn: int, maxn: int, bucket: int) -> list[int]:
    """The rows, 0 ≤ row < bucket, of the n-grams of a word's UTF-8 bytes, in fastText's order.

    >>> subword_rows(b"at", minn=3, maxn=6, bucket=2_000_000) == [
    ...     fnv1a(gram) % 2_000_000 for gram in (b"<at", b"<at>", b"at>")
    ... ]
    True
    """
    if bucket < 1:
        return []
    text = b"<" + word + b">"
    # Where characters start: bytes that don't continue one. Damaged UTF-8 is cut as fastText cuts it.
    starts = [i for i, byte in enumerate(text) if byte & 0xC0 != 0x80]
    ends = [*starts[1:], len(text)]
    letters = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    rows = []
    for first in range(len(letters)):
        value = _FNV_START
        for last in range(first, min(first + maxn, len(letters))):
            value = fnv1a(letters[last], value)  # an n-gram's hash goes on from that of the shorter one
            if last - first + 1 >= minn and (first != last or 0 < first < len(letters) - 1):
                rows.append(value % bucket)
    return rows


def add_subwords(
    rows: NDArray[np.float32], words: list[bytes], grams: NDArray[np.float32], *, minn: int, maxn: int, many: int
) -> None:
    """Make ``rows`` float32 [n, D], the words' own rows, the means of those and their n-grams' rows, in place.

    Args:
        rows: the words' own rows; changed.
        words: their UTF-8 bytes.
        grams: float32 [bucket, D], the rows of n-grams; need not be aligned.
        minn, maxn: the lengths of n-grams.
        many: how many words there will be in all calls together; says whether compiling pays.
    """
    if many >= _COMPILED:
        try:
            from foreword.vectors.store.subwords_kernel import add_rows
        except ImportError:
            pass
        else:
            offsets = np.zeros(len(words) + 1, dtype=np.int64)
            np.cumsum(np.fromiter(map(len, words), dtype=np.int64, count=len(words)), out=offsets[1:])
            add_rows(rows, np.frombuffer(b"".join(words), dtype=np.uint8), offsets, grams, minn, maxn)
            return
    for row, word in zip(rows, words, strict=True):
        found = subword_rows(word, minn=minn, maxn=maxn, bucket=len(grams))
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is refused when it is written
            for gram in found:
                row += grams[gram]  # noqa: PLW2901 - in place
        row /= np.float32(len(found) + 1)  # noqa: PLW2901
