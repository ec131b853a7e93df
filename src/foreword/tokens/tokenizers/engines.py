"""Engines: byte-pair encoding (BPE) of ordinary text, by a library.

An engine knows merge ranks and a split pattern, and nothing of special tokens: to an engine "<|endoftext|>" is
thirteen characters of text. gigatoken is the engine; where it has no wheel, or does not know the split pattern, or a
token is not two tokens of lower rank, tiktoken gives the same ids, slower.

Costs: about 50 ms and 15 MB to build; then 100–500 MB/s (gigatoken) or 6–17 MB/s (tiktoken) on one thread.
"""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base import system
from foreword.errors import FormatError

__all__ = ["PATTERNS", "Engine", "format_ranks", "looks_like_ranks", "make_engine", "parse_ranks"]

# Split patterns by the tokenizer that published them, in the form tiktoken gives them. Each cuts text into words before
# any merge: contractions, words, numbers, other signs, each with one leading space; then runs of white space.
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CL100K_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"""
    r"""|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
O200K_PATTERN = (
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
PATTERNS = {
    "gpt2": GPT2_PATTERN,
    "r50k_base": GPT2_PATTERN,
    "p50k_base": GPT2_PATTERN,
    "cl100k_base": CL100K_PATTERN,
    "o200k_base": O200K_PATTERN,
}

# gigatoken's name of each pattern.
_SCHEMES = {GPT2_PATTERN: "gpt2", CL100K_PATTERN: "gpt4", O200K_PATTERN: "o200k"}

# gigatoken remembers each word it has seen, without bound: on random words about nine bytes of memory for each byte of
# text. All encoders are renewed (50 ms each) once the process has grown by RENEW_GROWTH since the first was built;
# that is looked at each CHECK_BYTES of text; where a process's size can't be read, after RENEW_TEXT. Growth after less
# than LITTLE_TEXT is not theirs, and becomes the new measure.
RENEW_GROWTH = 120_000_000
RENEW_TEXT = 32_000_000
CHECK_BYTES = 2_000_000
LITTLE_TEXT = 8_000_000
# From this size on, a text is encoded with the GIL released; below, letting go of it costs more than it gives.
LARGE = 8_192
# Ranks are below this: libraries keep them in 32 bits, and mark what is no rank with the last.
MOST_RANKS = (1 << 32) - 1


class _NotMergedError(Exception):
    """Some token is not two tokens of lower rank, so gigatoken can't take the ranks."""


class Engine(Protocol):
    """Encodes ordinary text; safe to call from many threads."""

    name: str

    def encode(self, text: str) -> NDArray[np.uint32]:
        """The token ids of ``text``, a valid Unicode string, uint32 [n]. Large texts are encoded without the GIL."""

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of several UTF-8 texts, one after another, uint32 [n], and how many are each text's, int64 [texts].

        The GIL is released, so that threads run in parallel.
        """


def make_engine(ranks: bytes, pattern: str = GPT2_PATTERN) -> Engine:
    """The fastest engine that is installed, for a split pattern and ``ranks`` in tiktoken's text format, sorted."""
    if pattern in _SCHEMES:
        with contextlib.suppress(ImportError, _NotMergedError):
            return _with_gaps(ranks, pattern)
    return _Tiktoken(ranks, pattern)


def _with_gaps(ranks: bytes, pattern: str) -> Engine:
    """gigatoken, which takes ranks without gaps only."""
    last = int(ranks[ranks.rstrip().rfind(b"\n") + 1 :].split()[1])
    if last + 1 == ranks.rstrip().count(b"\n") + 1:
        return _Gigatoken(ranks, pattern)
    ids = [int(line.split()[1]) for line in ranks.splitlines()]
    dense = b"".join(line.split()[0] + b" %d\n" % i for i, line in enumerate(ranks.splitlines()))
    return _Renumbered(_Gigatoken(dense, pattern), np.array(ids, np.uint32))


class _Renumbered:
    """An engine whose ids stand for others: merges depend on the order of ranks alone."""

    def __init__(self, engine: Engine, ids: NDArray[np.uint32]) -> None:
        self.name = engine.name
        self._engine, self._ids = engine, ids

    def encode(self, text: str) -> NDArray[np.uint32]:
        return self._ids[self._engine.encode(text)]

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        ids, lengths = self._engine.encode_many(texts)
        return self._ids[ids], lengths


def parse_ranks(ranks: bytes, *, where: str) -> dict[bytes, int]:
    """Merge ranks from tiktoken's text format: lines of base64 token, space, rank. Empty lines don't count.

    Raises:
        FormatError: a line that is not so, a token or rank that comes twice, or a single byte that has no rank.

    >>> len(parse_ranks(format_ranks({bytes([i]): i for i in range(256)}), where="an example"))
    256
    """
    parsed: dict[bytes, int] = {}
    for number, line in enumerate(ranks.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            data = b64decode(token, validate=True)
            valid = bool(data) and data not in parsed and rank.isdigit() and int(rank) < MOST_RANKS
        except ValueError:
            valid = False
        if not valid:
            raise FormatError(
                "not a file of merge ranks",
                got=repr(line[:60]),
                expected=f"a token in base64, a space, its rank below {MOST_RANKS:,}; no token twice",
                where=f"{where}, line {number:,}",
            )
        parsed[data] = int(rank)
    missing = [byte for byte in range(256) if bytes([byte]) not in parsed]
    if missing or len(set(parsed.values())) < len(parsed):
        raise FormatError(
            "not a file of merge ranks",
            got=f"no rank for the byte 0x{missing[0]:02x}" if missing else "one rank for several tokens",
            expected="a rank of its own for every token, and for each of the 256 bytes",
            where=where,
        )
    return parsed


def looks_like_ranks(data: bytes) -> bool:
    """Whether a file begins as one of merge ranks does: a token in base64, a space, its rank."""
    for line in data[:4096].removeprefix(b"\xef\xbb\xbf").splitlines():
        if line.strip():
            token, _, rank = line.strip().partition(b" ")
            try:
                return bool(b64decode(token, validate=True)) and rank.strip().isdigit()
            except ValueError:
                return False
    return False


def format_ranks(ranks: Mapping[bytes, int]) -> bytes:
    """``ranks`` in tiktoken's text format, by rank."""
    return b"".join(
        b64encode(token) + b" %d\n" % rank for token, rank in sorted(ranks.items(), key=lambda item: item[1])
    )


class _Gigatoken:
    """gigatoken, as many encoders as threads that encode at once: two threads in one encoder wait for each other."""

    name = "gigatoken"

    def __init__(self, ranks: bytes, pattern: str = GPT2_PATTERN) -> None:
        from gigatoken.gigatoken_rs import BPETokenizer, BytesSource, PadTruncate

        self._ranks, self._scheme = ranks, _SCHEMES[pattern]
        self._build_bpe: Any = BPETokenizer.from_tiktoken
        self._source: Any = BytesSource
        self._no_padding: Any = PadTruncate(0)
        self._generation = self._seen = self._unchecked = 0
        self._counting = system.guard()
        self._idle = [(0, self._build())]  # (generation, encoder); append and pop are atomic
        self._size_at_start = system.resident_bytes()

    def _build(self) -> Any:
        with system.as_path(self._ranks) as path:
            try:
                # special_tokens={}: with them it would also encode those found in ordinary text.
                return self._build_bpe(path, self._scheme, {})
            except BaseException as panic:
                if type(panic).__name__ != "PanicException":  # Rust's, which is no Exception
                    raise
                raise _NotMergedError from panic

    @contextlib.contextmanager
    def _encoder(self, size: int) -> Iterator[Any]:
        current = self._count(size)
        try:
            generation, encoder = self._idle.pop()
        except IndexError:
            generation, encoder = current, self._build()
        if generation != current:
            del encoder  # before the new one is built
            encoder = self._build()
        try:
            yield encoder
        finally:
            self._idle.append((current, encoder))

    def _count(self, size: int) -> int:
        """Count text that is about to be encoded; gives the generation of encoders to do it with."""
        with self._counting:
            self._seen += size
            self._unchecked += size
            if self._unchecked >= CHECK_BYTES:
                self._unchecked = 0
                before, now = self._size_at_start, system.resident_bytes()
                grown = None if now is None or before is None else now - before > RENEW_GROWTH
                if grown and self._seen < LITTLE_TEXT:
                    self._size_at_start = now
                elif self._seen > RENEW_TEXT if grown is None else grown:
                    self._generation += 1
                    self._seen = 0
            return self._generation

    def encode(self, text: str) -> NDArray[np.uint32]:
        with self._encoder(len(text)) as bpe:
            return self._large(bpe, [text.encode()])[0] if len(text) >= LARGE else bpe.encode(text)

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        size = sum(map(len, texts))
        with self._encoder(size) as bpe:
            if size >= LARGE * len(texts):
                # Texts of like length in one call, as the GIL is waited for after each.
                alike = len(texts) * max(map(len, texts), default=0) <= 2 * size
                calls = [list(texts)] if alike else [[text] for text in texts]
                ids = [row for call in calls for row in self._large(bpe, call)]
                return _joined(ids), np.array([len(i) for i in ids], np.int64)
            # One call for all: the GIL is let go of once. It imports awkward, which takes 0.2 s the first time.
            lists = bpe.encode_batch(list(texts), parallel=False).layout
            offsets = np.asarray(lists.offsets.data, np.int64)
            return np.asarray(lists.content.data)[offsets[0] : offsets[-1]], np.diff(offsets)

    def _large(self, bpe: Any, texts: list[bytes]) -> list[NDArray[np.uint32]]:
        # `encode` holds the GIL; a batch whose rows are padded to the longest does not.
        rows, lengths = bpe.encode_batch_padded(self._source(texts), self._no_padding, parallel=False)
        return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]


class _Tiktoken:
    name = "tiktoken"

    def __init__(self, ranks: bytes, pattern: str = GPT2_PATTERN) -> None:
        import tiktoken

        parsed = parse_ranks(ranks, where="the merge ranks")
        self._bpe = tiktoken.Encoding("ordinary", pat_str=pattern, mergeable_ranks=parsed, special_tokens={})

    def encode(self, text: str) -> NDArray[np.uint32]:
        return np.asarray(self._bpe.encode_ordinary(text), dtype=np.uint32)

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        ids = [self.encode(text.decode()) for text in texts]
        return _joined(ids), np.array([len(i) for i in ids], np.int64)


def _joined(arrays: Sequence[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint32)
