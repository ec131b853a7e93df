"""What ``prepare`` reads, and token stores, as corpora to train vectors on.

    file, folder, pattern, URL, texts ── documents ──▶ words by white space    a document is a sentence
    token store ── documents ──▶ token ids, which are the words                likewise

Not for: training (``vector_training``). Costs: a pass over the corpus each time it is counted or encoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write, explained
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.tokens import Reading, TokenStore
from foreword.tokens.preparing.corpus import FileSource, Source, TextsSource, open_corpus, warn_passed_over
from foreword.tokens.preparing.documents import Reader
from foreword.tokens.preparing.kinds import HEAD
from foreword.tokens.preparing.streams import refuse_other_kind
from foreword.vectors.training.corpus import FIRST, Advance, Corpus, Encoded, TextCorpus, open_encoded
from foreword.vectors.training.token_lists import refuse_iterator
from foreword.vectors.training.vocabulary import TrimRule, WordCounts

__all__ = ["StoreCorpus", "open_words", "word_corpus"]

_BLOCK = 1 << 20  # bytes of text, tokens of a store
_LINES = Reading(documents="line")


def word_corpus(
    source: object,
    *,
    reading: Reading | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
) -> Corpus:
    """A corpus to train vectors on, for ``Word2Vec``, ``FastText`` and ``train_vectors``.

    Args:
        source: a file, folder, pattern or URL of text, or an iterable of texts, as ``prepare`` reads them: words are
            parted by white space, and a document is a sentence. Or a token store, or its folder: its token ids are the
            words, as integers.
        reading: how documents are told apart; None for a line each, in text files.
        format: of the files, whatever they are called.

    Raises:
        MissingFileError, FileError, FormatError, TextDecodeError: it can't be read.
        ArgumentError, ArgumentTypeError: a reading of other things than texts; or no corpus.

    >>> corpus = word_corpus(["the king", "the queen"])
    >>> corpus.count().as_dict()
    {'the': 2, 'king': 1, 'queen': 1}
    """
    return open_words(source, reading, format)[0]


def open_words(
    source: object,
    reading: Reading | None,
    format: str | None,  # noqa: A002
    out: Sequence[Path] = (),
) -> tuple[Corpus, list[Any] | None]:
    """The corpus, and what tells whether it is the same in another run: names, sizes and times of change, or a store's
    fingerprint; None of objects.

    Args:
        source: as in ``word_corpus``, which also says what is raised.
        reading: as there.
        format: as there.
        out: folders and files that are no part of the corpus, wherever they are.
    """
    reading = reading or _LINES
    if not isinstance(reading, Reading):
        raise ArgumentTypeError(
            "reading says where documents end", got=repr(reading), expected="a foreword.tokens.Reading"
        )
    if isinstance(source, TokenStore) or (isinstance(source, str | os.PathLike) and _is_store(source)):
        if reading != _LINES or format is not None:
            raise ArgumentError("a token store says itself what a document is", fix="leave the options of reading out")
        store = source if isinstance(source, TokenStore) else TokenStore.open(source)
        return StoreCorpus(store), ["store", store.fingerprint]
    if reading.records != "text":
        raise ArgumentError(
            "vectors are trained on texts", got=f"records={reading.records!r}", fix="prepare a token store of it first"
        )
    sources = open_corpus(source, format=format, out=out)
    warn_passed_over(sources, "train on", stacklevel=3)
    first = sources.sources[0]
    if isinstance(first, TextsSource):
        return _Texts(first, reading), None
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the corpus"
    identity = [reading.described() | ({} if format is None else {"format": format}), *map(_stamp, sources)]
    if len(sources) == 1 and (path := _plain_lines(first, reading)) is not None:
        return TextCorpus.of_file(path), identity
    sizes = [each.size for each in sources]
    size = None if None in sizes else sum(n or 0 for n in sizes)
    return TextCorpus(_chunks(sources.sources, reading), name, size), identity


def _stamp(source: Source) -> list[Any]:
    """What tells whether a file is the same."""
    assert isinstance(source, FileSource)
    changed = source.stamp if source.remote is not None else os.stat(source.path).st_mtime_ns  # noqa: PTH116
    return [source.name, source.size, changed]


def _is_store(path: str | os.PathLike[str]) -> bool:
    # a URL is no Path
    return os.path.exists(f"{os.fspath(path)}/manifest.json")  # noqa: PTH110


def _plain_lines(source: Source, reading: Reading) -> str | None:
    """The path of a file that can be read as it is: text on this machine, a line a document."""
    if not isinstance(source, FileSource) or source.remote is not None or source.compression is not None:
        return None
    utf8 = reading.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    as_lines = reading.documents == "line" and reading.separator is None
    if source.format != "text" or not utf8 or not as_lines:
        return None
    with explained("read the corpus", source.path), open(source.path, "rb") as file:
        refuse_other_kind(file.read(HEAD), source, "utf-8")
    return source.path


def _chunks(sources: Sequence[Source], reading: Reading) -> Callable[[], Iterator[bytes]]:
    """What opens the sources as bytes of text, a line a document."""

    def chunks() -> Iterator[bytes]:
        reader = Reader(reading, cuttable=True)
        held: list[str] = []
        size = 0
        for source in sources:
            for text, ends in reader.texts(source):
                held.append(text.replace("\n", " "))
                if ends:
                    held.append("\n")
                size += len(text) + 1
                if size >= _BLOCK:
                    # What JSON has of halves of surrogate pairs becomes a question mark: no text can hold it.
                    yield "".join(held).encode("utf-8", "replace")
                    held, size = [], 0
        yield "".join(held).encode("utf-8", "replace")

    return chunks


class _Texts(TextCorpus):
    """An iterable of texts, each a sentence."""

    def __init__(self, source: TextsSource, reading: Reading) -> None:
        super().__init__(_chunks([source], reading), "the texts")
        self._texts = source.texts

    def check_passes(self, passes: int) -> None:
        refuse_iterator(self._texts, "texts", passes)


class StoreCorpus(Corpus):
    """The token ids of a store, as words that are integers; each document is a sentence.

    Args:
        store: the store.
    """

    unit = "tokens"

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self.name, self.size = str(store.path), len(store)

    def _blocks(self, advance: Advance) -> Iterator[tuple[int, NDArray[Any]]]:
        for start in range(0, len(self._store), _BLOCK):
            ids = self._store.read(start, min(start + _BLOCK, len(self._store)))
            yield start, ids
            advance(len(ids))

    def count(
        self,
        *,
        workers: int = 1,  # noqa: ARG002 - as fast as the disk
        max_vocab_size: int | None = None,
        trim_rule: TrimRule | None = None,  # noqa: ARG002 - only where words are dropped on the way
        advance: Advance = lambda _: None,
    ) -> WordCounts:
        """See ``Corpus``.

        Raises:
            ArgumentError: ``max_vocab_size``: what a store's tokenizer has of tokens is bounded.
            StoreError: a file of ids holds some that are none.
        """
        if max_vocab_size is not None:
            raise ArgumentError("max_vocab_size is not for token stores: their ids are bounded", fix="leave it out")
        counts, first = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        for start, ids in self._blocks(advance):
            found = np.bincount(ids, minlength=len(counts)).astype(np.int64)
            found[: len(counts)] += counts
            first = np.concatenate([first, np.full(len(found) - len(first), -1, dtype=np.int64)])
            counts = found
            fresh = np.flatnonzero(first[ids] < 0)
            if len(fresh):
                tokens, places = np.unique(ids[fresh], return_index=True)
                first[tokens] = start + fresh[places]
        seen = np.flatnonzero(counts)
        order = seen[np.argsort(first[seen], kind="stable")]
        total = int(counts.sum())
        return WordCounts(counts[order], lambda rows: order[rows].tolist(), total, self._store.documents)

    def encode(
        self,
        words: Sequence[Any],
        path: Path,
        *,
        workers: int = 1,  # noqa: ARG002
        advance: Advance = lambda _: None,
    ) -> Encoded:
        """See ``Corpus``."""
        known = [(word, i) for i, word in enumerate(words) if isinstance(word, int)]
        index = np.full(max((word for word, _ in known), default=-1) + 2, -1, dtype=np.int64)
        if known:
            index[[word for word, _ in known]] = [i for _, i in known]
        starts = self._store.offsets[:-1]
        pending = False
        with atomic_write(path) as file:
            for start, ids in self._blocks(advance):
                numbers = index[np.minimum(ids, len(index) - 1)]
                kept = numbers >= 0
                here = np.searchsorted(starts, [start, start + len(ids)])
                begins = starts[here[0] : here[1]].astype(np.int64) - start
                # The place of a document's first known word is the number of known words before its start.
                before = np.concatenate([[0], np.cumsum(kept)])
                places = before[begins]
                out = numbers[kept].astype("<u4")
                out[places[places < len(out)]] |= FIRST
                if pending and len(out):
                    out[0] |= FIRST
                pending = bool((places == len(out)).any()) or (pending and not len(out))
                file.write(out.tobytes())
        return Encoded(open_encoded(path), len(self._store))
