"""fastText's binary models, ``.bin``: words, their counts, their vectors, and the subwords that unknown words are
made of.

Layout (little-endian): magic, version; the arguments of training; the dictionary; the input matrix, a row for each
word and after them one for each bucket of n-grams; then the output matrix, which training goes on from. A word's
vector is the mean of its row and its n-grams' rows; that of ``</s>``, the end of a sentence, is its row alone. Files
older than 2017 begin with the arguments, and lack pruning and the quantisation flag. Source: the program fastText
(fasttext.cc, dictionary.cc).

A quantised model (``.ftz``) has its matrix in codes (``fasttext_quantised``), and may be pruned: then pairs of numbers
after the dictionary say which buckets of n-grams are left, and the row of each.

Not for: labels of classifiers, which are passed over. Costs: the file is mapped; a compressed or quantised one is first
unpacked to a temporary file, for words need rows from all of it.
"""

from __future__ import annotations

import functools
import logging
import math
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import explained
from foreword._base.words import counted
from foreword.errors import ArgumentError, FormatError, TextDecodeError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader, check_keys
from foreword.vectors.formats.fasttext_quantised import read_quantised
from foreword.vectors.formats.gensim_native import NativeModel
from foreword.vectors.formats.source import Source
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack
from foreword.vectors.store.keys import decode
from foreword.vectors.store.subwords import Subwords, add_subwords

__all__ = ["is_classifier", "is_fasttext", "read_fasttext", "read_fasttext_model"]

logger = logging.getLogger(__name__)

_MAGIC = struct.pack("<i", 793712314)
_ARGUMENTS = struct.Struct("<12i d")
_END_OF_SENTENCE = b"</s>"
_MAX_WORD = 1 << 16
_SUPERVISED = 3
_SKIP_GRAM = 2
_LOSSES = {1: "hierarchical softmax", 2: "negative sampling", 3: "softmax", 4: "one-vs-all"}


@dataclass(frozen=True, slots=True)
class _Arguments:
    """The arguments of training that matter here, as their bytes have them."""

    dim: int
    window: int
    epochs: int
    min_count: int
    negative: int
    word_ngrams: int
    loss: int
    model: int
    bucket: int
    minn: int
    maxn: int
    sample: float
    plausible: bool

    @property
    def supervised(self) -> bool:
        return self.model == _SUPERVISED

    @classmethod
    def parse(cls, data: bytes) -> _Arguments:
        dim, ws, epoch, least, neg, word_ngrams, loss, model, bucket, minn, maxn, _, t = _ARGUMENTS.unpack(data)
        plausible = (
            1 <= dim <= MAX_DIM
            and 0 <= ws < 1 << 20
            and 0 <= epoch < 1 << 20
            and 0 <= neg < 1 << 20
            and 0 <= word_ngrams < 1 << 10
            and 1 <= loss <= 4
            and 1 <= model <= 3
            and bucket >= 0
            and 0 <= minn <= 1 << 10
            and 0 <= maxn <= 1 << 10
            and math.isfinite(t)
        )
        return cls(dim, ws, epoch, least, neg, word_ngrams, loss, model, bucket, minn, maxn, t, plausible)


def is_fasttext(head: bytes) -> bool:
    """Whether a file that begins so is a fastText model: by its magic or, of an old one, by its arguments."""
    if head.startswith(_MAGIC):
        return True
    return len(head) > _ARGUMENTS.size and _Arguments.parse(head[: _ARGUMENTS.size]).plausible


def is_classifier(head: bytes) -> bool:
    """Whether a file that begins so is a fastText model that was trained on labels."""
    start = 8 if head.startswith(_MAGIC) else 0
    return (
        is_fasttext(head)
        and len(head) >= start + _ARGUMENTS.size
        and _Arguments.parse(head[start : start + _ARGUMENTS.size]).supervised
    )


class _Bytes:
    """Reads a source piece by piece, and knows where it is."""

    def __init__(self, source: Source) -> None:
        self.source, self.position = source, 0
        self._buffer, self._at = b"", 0

    def take(self, n: int) -> bytes:
        if len(self._buffer) - self._at < n:
            self._fill(n)
        data = self._buffer[self._at : self._at + n]
        self._at += n
        self.position += n
        return data

    def take_word(self) -> bytes:
        """Bytes up to a NUL, which is passed over."""
        end = self._buffer.find(b"\0", self._at)
        if end < 0:
            self._fill(1)
            while (end := self._buffer.find(b"\0", self._at)) < 0 and len(self._buffer) - self._at < _MAX_WORD:
                self._fill(len(self._buffer) - self._at + 1)
            if end < 0:
                raise _damaged(self.source, "a word without an end")
        word = self.take(end - self._at)
        self.take(1)
        return word

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def take_some(self, n: int) -> bytes:
        """Of the next ``n`` bytes some; none at the end alone."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self.source.read(min(n, BLOCK_BYTES)), 0
        return self.take(min(n, len(self._buffer) - self._at))

    def skip(self, n: int) -> None:
        """Pass over the next ``n`` bytes."""
        ahead = len(self._buffer) - self._at
        self.position += n
        self._at += min(n, ahead)
        self.source.skip(n - ahead)

    def _fill(self, n: int) -> None:
        more = self.source.read(max(n, 1 << 20))
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        if len(self._buffer) < n:
            raise FormatError("the fastText model is cut short", where=self.source.name, fix="get the file again")


@dataclass(frozen=True, slots=True)
class _Model:
    """A file up to its output matrix.

    Attributes:
        data: what reads on.
        new: whether it is of 2017 or later.
        arguments: of training.
        total: words of the corpus.
        words, counts: V of them.
        matrix: float32 [V (+ n-grams), D], the input matrix.
        subwords: what n-grams it has, or None.
        quantised: whether the matrix was.
    """

    data: _Bytes
    new: bool
    arguments: _Arguments
    total: int
    words: list[bytes]
    counts: list[int]
    matrix: NDArray[np.float32]
    subwords: Subwords | None
    quantised: bool


def _read(source: Source) -> _Model:
    data = _Bytes(source)
    new, version = source.head.startswith(_MAGIC), None
    if new:
        version = data.unpack("ii")[1]
        if version not in (11, 12):
            raise FormatError("unknown version of fastText", got=version, expected="11 or 12", where=source.name)
    arguments = _Arguments.parse(data.take(_ARGUMENTS.size))
    if not arguments.plausible:
        raise _damaged(source, "impossible arguments")
    size, n_words, n_labels = data.unpack("iii")
    total = data.unpack("q")[0]
    pruned = data.unpack("q")[0] if new else -1
    if size < 0 or n_words < 1 or n_labels < 0 or size != n_words + n_labels:
        raise _damaged(
            source,
            f"a dictionary of {counted(size, 'entry', 'entries')}, {counted(n_words, 'word')} "
            f"and {counted(n_labels, 'label')}",
        )
    if source.size is not None and 10 * n_words > source.size:
        raise _damaged(source, f"{counted(source.size, 'byte')} for {counted(n_words, 'word')}")
    if not -1 <= pruned <= arguments.bucket:
        raise _damaged(source, f"{counted(pruned, 'n-gram')} of {arguments.bucket:,}")
    words, counts = [], []
    for i in range(size):
        word = data.take_word()
        count, kind = data.unpack("qb")
        if kind != (i >= n_words):
            raise _damaged(source, f"entry {i:,} of the dictionary is of kind {kind}")
        if i < n_words:
            words.append(word)
            counts.append(count)
    listed = _listed(source, data, pruned, arguments.bucket)
    quantised = data.take(1) if new else b"\0"
    if quantised not in (b"\0", b"\1") or (listed is not None and quantised == b"\0"):
        raise _damaged(source, f"a matrix of kind {quantised[0]}, {counted(pruned, 'n-gram')}")
    dim = arguments.dim
    if quantised == b"\1":
        matrix = _quantised(source, data, n_words, arguments.bucket if listed is None else len(listed), dim)
    else:
        n_rows, own_dim = data.unpack("qq")
        if own_dim != dim or n_rows - n_words not in (0, arguments.bucket):
            raise _damaged(source, f"a matrix {n_rows:,} × {own_dim:,}")
        matrix = _matrix(source, data, n_rows, dim)
    maxn = arguments.maxn
    if arguments.supervised and version == 11:  # which had no n-grams of letters, whatever its arguments say
        maxn = 0
    buckets = arguments.bucket if listed else 0
    subwords = Subwords.of(arguments.minn, maxn, matrix[n_words:], buckets=buckets, listed=listed or None)
    return _Model(data, new, arguments, total, words, counts, matrix, subwords, quantised == b"\1")


def read_fasttext(source: Source, options: Options) -> Reader:
    """A reader of a fastText model.

    Raises:
        FormatError: it is damaged or cut short.
    """
    model = _read(source)
    words, counts, matrix, subwords = model.words, model.counts, model.matrix, model.subwords
    dim, wanted = model.arguments.dim, options.most(len(words))

    def blocks() -> Iterator[Pending]:
        at_once = max(1, BLOCK_BYTES // (4 * dim))
        for start in range(0, wanted, at_once):
            stop = min(start + at_once, wanted)
            yield stop - start, functools.partial(make, start, stop)

    def make(start: int, stop: int) -> Block:
        def where(i: int) -> str:
            return f"{source.name}, word {start + i + 1:,}"

        part = words[start:stop]
        rows = np.array(matrix[start:stop])
        if subwords is not None:
            ends = [i for i, word in enumerate(part) if word == _END_OF_SENTENCE]
            own = rows[ends].copy()
            if subwords.as_in_fasttext:
                add_subwords(rows, part, subwords.vectors, minn=subwords.minn, maxn=subwords.maxn, many=wanted)
            else:
                _add_listed(rows, part, subwords)
            rows[ends] = own
        blob, lengths = _text(part, options, where)
        return Block(blob, lengths, rows, where, np.array(counts[start:stop], dtype=np.int64))

    arguments = model.arguments
    return Reader(dim, blocks, subwords, word_ngrams=arguments.word_ngrams if arguments.supervised else None)


def read_fasttext_model(source: Source) -> NativeModel:
    """A fastText model to train on, its options by gensim's names.

    Raises:
        FormatError: it is damaged or cut short.
        ArgumentError: it was not trained by negative sampling, or is quantised.
    """
    model = _read(source)
    arguments, data = model.arguments, model.data
    loss = _LOSSES[arguments.loss]
    if arguments.supervised or model.quantised or loss != "negative sampling":
        kind = "quantised" if model.quantised else f"a classifier, trained by {loss}" if arguments.supervised else loss
        raise ArgumentError(
            "this model can't be trained on",
            got=f"a fastText model: {kind}",
            expected="skip-gram or cbow by negative sampling, not quantised",
            where=source.name,
            fix="foreword.load opens its vectors",
        )
    if source.plain:
        data.skip(model.matrix.nbytes)
    if model.new and data.take(1) != b"\0":
        raise _damaged(source, "a quantised output matrix beside an input matrix that is none")
    count = len(model.words)
    if (shape := data.unpack("qq")) != (count, arguments.dim):
        raise _damaged(source, f"an output matrix {shape[0]:,} × {shape[1]:,}")
    output = _matrix(source, data, count, arguments.dim)
    blob, lengths = _text(model.words, Options(), lambda i: f"{source.name}, word {i + 1:,}")
    ends = np.cumsum(lengths).tolist()
    keys = [decode(blob[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)]
    min_n = max(1, arguments.minn)  # as fastText takes it
    options = {
        "window": arguments.window,
        "epochs": arguments.epochs,
        "min_count": arguments.min_count,
        "negative": arguments.negative,
        "sample": arguments.sample,
        "sg": int(arguments.model == _SKIP_GRAM),
        "min_n": min_n,
        "max_n": arguments.maxn,
        "corpus_total_words": model.total,
    }
    subwords = model.subwords and replace(model.subwords, minn=min_n)
    counts = np.array(model.counts, dtype=np.int64)
    return NativeModel("fastText", keys, counts, model.matrix[:count], output, subwords, options)


def _text(words: list[bytes], options: Options, where: Callable[[int], str]) -> tuple[bytes, NDArray[np.int64]]:
    """The words as they are kept. fastText cuts long words at any byte, so its models hold some that are no text:
    unless the options say otherwise, bytes that are none become backslashes and digits, as in gensim.
    """
    try:
        return check_keys(*pack(words), options, where)
    except TextDecodeError as cause:
        if options.unicode_errors is not None:
            raise
        logger.warning("words that are not %s text are kept with backslashes: %s", options.encoding, cause.fact("got"))
    return check_keys(*pack(words), replace(options, unicode_errors="backslashreplace"), where)


def _matrix(source: Source, data: _Bytes, n_rows: int, dim: int) -> NDArray[np.float32]:
    """The matrix that comes next, mapped from the file, or from a temporary file where that is compressed."""
    needed = n_rows * dim * 4
    shape = (n_rows, dim)
    if source.plain:
        if source.size is not None and data.position + needed > source.size:
            raise FormatError("the fastText model is cut short", where=source.name, fix="get the file again")
        with explained("read the vectors", source.path):
            return np.asarray(np.memmap(source.path, "<f4", "r", data.position, shape))
    with explained("unpack the vectors to a temporary file", tempfile.gettempdir()), tempfile.TemporaryFile() as file:
        while piece := data.take_some(needed):
            needed -= file.write(piece)
        if needed:
            raise FormatError("the fastText model is cut short", where=source.name, fix="get the file again")
        return np.asarray(np.memmap(file, "<f4", "r", 0, shape))


def _damaged(source: Source, got: str) -> FormatError:
    return FormatError("the fastText model is damaged", got=got, where=source.name, fix="get the file again")


def _listed(source: Source, data: _Bytes, pruned: int, bucket: int) -> dict[int, int] | None:
    """The n-grams that a pruned model has kept, by hash, and the row of each; None of a model that is not pruned."""
    if pruned < 0:
        return None
    pairs = np.frombuffer(data.take(8 * pruned), "<i4").reshape(-1, 2)
    listed = dict(pairs.tolist())
    if len(listed) != pruned or (
        pruned and (pairs.min() < 0 or pairs[:, 0].max() >= bucket or pairs[:, 1].max() >= pruned)
    ):
        raise _damaged(source, "n-grams that don't fit their rows")
    return listed


def _quantised(source: Source, data: _Bytes, n_words: int, buckets: int, dim: int) -> NDArray[np.float32]:
    """The quantised input matrix, decoded."""
    try:
        return read_quantised(data, n_words + buckets, dim)
    except ValueError as cause:
        if isinstance(cause, FormatError):
            raise
        raise _damaged(source, str(cause)) from None


def _add_listed(rows: NDArray[np.float32], words: list[bytes], subwords: Subwords) -> None:
    """``add_subwords`` where only some n-grams have a row."""
    for row, word in zip(rows, words, strict=True):
        found = subwords.rows(word)
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is refused when it is written
            for gram in found:
                row += subwords.vectors[gram]  # noqa: PLW2901 - in place
        row /= np.float32(len(found) + 1)  # noqa: PLW2901
