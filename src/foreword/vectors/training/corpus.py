"""Corpora: what words are trained on, counted and then written as the numbers that a trainer reads.

    TextCorpus     bytes of text, a line a sentence, words by white space ─┐
    TokenLists     an iterable of lists of words (``token_lists``)         ├── count ──▶ WordCounts
    StoreCorpus    a token store (``foreword.recipes``)                   ─┴── encode ─▶ uint32 [n] in a file

An encoded corpus has one uint32 for each word of the vocabulary that the corpus holds, in order: its index, with the
top bit set where it is the first of a sentence. Other words are left out, as word2vec does.

A text is read once for each pass, in blocks that end between two words, so a line may be of any length; threads count
blocks in tables of their own. Counts and order don't depend on how many there are.

Not for: which words stay (``vocabulary``). Costs: a few megabytes a thread besides the tables; text at 100 to 200 MB/s
a thread.
"""

from __future__ import annotations

import abc
import codecs
import dataclasses
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write, explained
from foreword._base.words import counted
from foreword.errors import FileError, FormatError, TextDecodeError
from foreword.vectors.training.vocabulary import TrimRule, WordCounts, stays
from foreword.vectors.training.word_table import Ends, WordTable

__all__ = ["FIRST", "Corpus", "Encoded", "TextCorpus", "open_encoded"]

FIRST = 1 << 31
"""The bit that marks the first word of a sentence."""

Advance = Callable[[int], object]
Block = tuple[int, NDArray[np.uint8]]

_BLOCK = 1 << 21  # bytes
_LONGEST = 1 << 26  # bytes between two blanks; no word is as long, so that a table can hold it


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A corpus as a trainer reads it.

    Attributes:
        words: uint32 [n], mapped: the indices of its words, the top bit set on the first of each sentence.
        total: words in the corpus, those that the vocabulary has not included.
    """

    words: NDArray[np.uint32]
    total: int

    @property
    def sentences(self) -> int:
        """Its sentences that have a word of the vocabulary."""
        step = _BLOCK // 4
        return sum(int((self.words[i : i + step] >= FIRST).sum()) for i in range(0, len(self.words), step))


class Corpus(abc.ABC):
    """What can be counted and encoded, as often as is asked.

    Attributes:
        name: what it is called in errors.
        size: what ``advance`` comes to in one pass; None where that is not known.
        unit: of ``size``: "B" for bytes, else what is counted.
    """

    name: str
    size: int | None = None
    unit = "B"

    @abc.abstractmethod
    def count(
        self,
        *,
        workers: int = 1,
        max_vocab_size: int | None = None,
        trim_rule: TrimRule | None = None,
        advance: Advance = lambda _: None,
    ) -> WordCounts:
        """How often each word occurs.

        Args:
            workers: threads. The counts don't depend on it.
            max_vocab_size: once more words than this are known, rare ones are dropped, ever more frequent ones, as
                gensim does; by one thread.
            trim_rule: has the last word on which are dropped so.
            advance: called with how much was read.
        """

    @abc.abstractmethod
    def encode(
        self, words: Sequence[Any], path: Path, *, workers: int = 1, advance: Advance = lambda _: None
    ) -> Encoded:
        """Write the corpus as indices of ``words``, whole or not at all.

        Args:
            words: the vocabulary.
            path: the file.
            workers: threads. The file doesn't depend on it.
            advance: as above.
        """

    def check_passes(self, passes: int) -> None:  # noqa: B027 - nothing to check, of most
        """Refuse what can't be gone through so often."""


class TextCorpus(Corpus):
    """A text: a line a sentence, words parted by white space as ``str.split`` does.

    Args:
        chunks: opens the text, and gives its bytes, in pieces of any size.
        name: what it is called in errors.
        size: its bytes, where they are known.
    """

    def __init__(self, chunks: Callable[[], Iterator[bytes]], name: str, size: int | None = None) -> None:
        self._chunks, self.name, self.size = chunks, name, size

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> TextCorpus:
        """The text in a file; a byte-order mark is dropped.

        Raises:
            MissingFileError, FileError: it can't be read.
        """
        name = os.fspath(path)
        with explained("read the corpus", name):
            found = Path(name).stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise FileError(
                "the corpus is no regular file",
                got="a pipe, a socket or a device, which can't be read twice",
                where=name,
                fix="write it to a file first",
            )

        def chunks() -> Iterator[bytes]:
            with explained("read the corpus", name), open(name, "rb") as file:
                chunk = file.read(_BLOCK)
                if chunk.startswith(codecs.BOM_UTF8):  # blanks in its place, so that places stay what they are
                    chunk = b"   " + chunk[3:]
                yield chunk
                while chunk := file.read(_BLOCK):
                    yield chunk

        return cls(chunks, name, found.st_size)

    def count(
        self,
        *,
        workers: int = 1,
        max_vocab_size: int | None = None,
        trim_rule: TrimRule | None = None,
        advance: Advance = lambda _: None,
    ) -> WordCounts:
        """See ``Corpus``.

        Raises:
            TextDecodeError: a word is not UTF-8; says the line and the byte.
            FormatError: it has stretches of 64 MB without a blank.
            MissingPackageError: numba is not there.
        """
        ends: dict[int, Ends] = {}
        if max_vocab_size is None:
            table = self._count_in_threads(workers, ends, advance)
        else:
            table = self._count_pruned(max_vocab_size, trim_rule, ends, advance)
        sentences, pending = 0, True
        for base in sorted(ends):
            first, pending = ends[base].follow(pending)
            sentences += ends[base].starts + first
        slots, counts, places = table.entries()
        at = 0
        for blob in table.blobs(slots):
            try:
                blob.decode()
            except UnicodeDecodeError:
                bad = next(i for i, word in enumerate(blob.split(b"\n")) if not _is_text(word))
                self._refuse(at + bad, places)
            at += blob.count(b"\n")

        def words(rows: NDArray[np.int64]) -> list[str]:
            return [word for blob in table.blobs(slots[rows]) for word in blob.decode().split("\n")[:-1]]

        return WordCounts(counts, words, sum(each.words for each in ends.values()), sentences)

    def _count_in_threads(self, workers: int, ends: dict[int, Ends], advance: Advance) -> WordTable:
        """The table of all words."""
        left = _Shared(_blocks(self._chunks(), self.name))

        def count() -> WordTable:
            table = WordTable()
            try:
                while (block := left.take()) is not None:
                    base, text = block
                    ends[base] = table.count(text, base)
                    advance(len(text))
            finally:
                left.close()  # at the end, or where this thread fails
            return table

        with ThreadPoolExecutor(workers, thread_name_prefix="foreword-count") as pool:
            futures = [pool.submit(count) for _ in range(workers)]
            try:
                tables = [future.result() for future in futures]
            finally:
                left.close()  # where this thread is interrupted
        tables.sort(key=len)
        whole = tables.pop()
        while tables:
            whole.merge(tables.pop())
        return whole

    def _count_pruned(
        self, most: int, trim_rule: TrimRule | None, ends: dict[int, Ends], advance: Advance
    ) -> WordTable:
        """The table of the words that are left when rare ones are dropped on the way."""
        table, least = WordTable(), 0

        def prune() -> None:
            nonlocal least
            least += 1
            slots, counts, _ = table.entries()
            kept = counts >= least
            if trim_rule is not None:
                names = [
                    word.decode("utf-8", "replace") for blob in table.blobs(slots) for word in blob.split(b"\n")[:-1]
                ]
                pairs = zip(names, counts.tolist(), strict=True)
                kept = np.array([stays(word, count, least, trim_rule) for word, count in pairs], dtype=bool)
            table.keep(slots[kept])

        for base, text in _blocks(self._chunks(), self.name):
            ends[base] = table.count(text, base, limit=most, prune=prune)
            advance(len(text))
        if len(table) > most and table.in_line:
            prune()
        return table

    def _refuse(self, row: int, places: NDArray[np.int64]) -> None:
        """Say where the word stands that is not UTF-8."""
        place, line = int(places[row]), 1
        for base, text in _blocks(self._chunks(), self.name):
            if base + len(text) <= place:
                line += int((text == 10).sum())
                continue
            line += int((text[: place - base] == 10).sum())
            word = bytes(text[place - base :].tobytes().split(None, 1)[0])
            try:
                word.decode()
            except UnicodeDecodeError as cause:
                raise TextDecodeError(
                    "the corpus is not UTF-8 text",
                    cause=cause,
                    got=f"the byte 0x{word[cause.start]:02x} ({cause.reason})",
                    where=f"{self.name}, byte {place + cause.start:,}, line {line:,}",
                    fix="convert it to UTF-8 (iconv -f latin1 -t utf-8), or name its encoding: --encoding latin-1 of "
                    "foreword vectors train",
                ) from cause
            break
        raise FormatError("the corpus has changed while it was read", where=self.name)

    def encode(
        self, words: Sequence[Any], path: Path, *, workers: int = 1, advance: Advance = lambda _: None
    ) -> Encoded:
        """See ``Corpus``; raises as ``count``, but for bytes that are no UTF-8: words that the vocabulary has not are
        left out whatever they are.
        """
        table = WordTable.of(words)

        def number(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], Ends]:
            out = np.empty(len(text) // 2 + 1, dtype=np.uint32)
            ends = table.number(text, out)
            return out[: ends.words], ends

        pending, total = True, 0
        with (
            atomic_write(path) as file,
            ThreadPoolExecutor(workers, thread_name_prefix="foreword-encode") as pool,
        ):
            waiting: deque[tuple[int, Future[tuple[NDArray[np.uint32], Ends]]]] = deque()

            def write() -> None:
                nonlocal pending, total
                size, future = waiting.popleft()
                numbers, ends = future.result()
                first, pending = ends.follow(pending)
                total += ends.total
                if first:
                    numbers[0] |= FIRST
                file.write(numbers.data)
                advance(size)

            try:
                for _, text in _blocks(self._chunks(), self.name):
                    waiting.append((len(text), pool.submit(number, text)))
                    if len(waiting) > 2 * workers:
                        write()
                while waiting:
                    write()
            finally:
                for _, future in waiting:
                    future.cancel()
        return Encoded(open_encoded(path), total)


def open_encoded(path: Path) -> NDArray[np.uint32]:
    """An encoded corpus, mapped: uint32 [n].

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: it is cut short.
    """
    with explained("read the encoded corpus", path):
        size = path.stat().st_size
        if size % 4:
            raise FormatError(
                "the encoded corpus is cut short", got=counted(size, "byte"), expected="4 a word", where=path
            )
        if not size:  # nothing can be mapped
            return np.empty(0, dtype=np.uint32)
        return np.memmap(path, dtype="<u4", mode="r")


def _blocks(chunks: Iterator[bytes], name: str) -> Iterator[Block]:
    """The text in blocks that end after a blank, but for the last; the place where each begins, and its bytes."""
    held = b""
    base = 0
    for chunk in (whole[i : i + _BLOCK] for whole in chunks for i in range(0, len(whole), _BLOCK)):
        if len(held) + len(chunk) >= _LONGEST:
            raise FormatError(
                "a stretch of the corpus has no blank: is this text?",
                got=f"some {_LONGEST >> 20} MB without a space, tab or newline",
                where=f"{name}, byte {base:,}",
            )
        cut = _last_blank(chunk)
        if cut < 0:
            held += chunk
            continue
        text = np.frombuffer(held + chunk[: cut + 1] if held else memoryview(chunk)[: cut + 1], dtype=np.uint8)
        yield base, text
        base += len(text)
        held = chunk[cut + 1 :]
    if held:
        yield base, np.frombuffer(held, dtype=np.uint8)


def _last_blank(chunk: bytes) -> int:
    """Where the last space, tab or end of a line is; −1 where there is none."""
    return max(chunk.rfind(b" "), chunk.rfind(b"\n"), chunk.rfind(b"\t"), chunk.rfind(b"\r"))


class _Shared:
    """An iterator that threads take from in turn."""

    def __init__(self, items: Iterator[Block]) -> None:
        self._items, self._lock, self._over = items, threading.Lock(), False

    def take(self) -> Block | None:
        """The next item; None at the end, or once it is closed."""
        with self._lock:
            item = None if self._over else next(self._items, None)
            self._over = item is None
            return item

    def close(self) -> None:
        self._over = True


def _is_text(word: bytes) -> bool:
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True
