"""Tokenizers: text to token ids and back, with special tokens as tiktoken treats them.

    text ── split on the allowed special tokens ──▶ pieces ── engine ──▶ ids

Special text in the input never becomes a special token unless it is allowed. ``Tokenizer`` is the one interface;
``RankTokenizer``, here, is byte-pair encoding by merge ranks (GPT-2 and all that tiktoken knows); those of other
libraries are in ``hugging_face`` and ``sentence_piece``, and ``opening`` finds any of them.

Not for: training a vocabulary (``train``). Costs: 60–200 MB/s a thread by ranks.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword._base.checks import integer
from foreword._base.words import first_line
from foreword.errors import ArgumentError, ArgumentTypeError, SpecialTokenError, TokenIdError
from foreword.tokens.tokenizers.engines import PATTERNS, Engine, make_engine, parse_ranks
from foreword.tokens.tokenizers.merging import MergeRules
from foreword.tokens.tokenizers.special import Special, any_of, chosen

__all__ = [
    "END_OF_TEXT",
    "ChatTemplate",
    "RankTokenizer",
    "Special",
    "Tokenizer",
    "byte_to_character_offsets",
    "to_utf8",
    "valid_text",
]

# The texts of special tokens that end a document, in the order they are looked for.
END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "[SEP]")


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """How a tokenizer's files write conversations.

    Attributes:
        text: the template, in Jinja's language.
        tokens: the texts of special tokens that it finds by name, such as "eos_token".
    """

    text: str
    tokens: Mapping[str, str]


class Tokenizer(abc.ABC):
    """Text to token ids and back. Made by ``get_tokenizer``; safe to use from many threads; can be pickled.

    Attributes:
        name: the name it was got by, or the absolute path of its file.
        vocab_size: V, one more than the largest token id. Every id is below it.
        special_tokens: the id of each special token.
        fingerprint: a hash of all that decides its ids. Two tokenizers with one fingerprint give the same ids.
        cuttable: whether a text may be cut before a space between two words, and the parts encoded one by one.

    >>> from foreword import get_tokenizer
    >>> tokenizer = get_tokenizer("gpt2")
    >>> tokenizer
    Tokenizer('gpt2', vocab_size=50257)
    >>> ids = tokenizer.encode("king - man")
    >>> ids
    array([3364,  532,  582], dtype=uint32)
    >>> tokenizer.decode(ids)
    'king - man'
    """

    name: str
    special_tokens: dict[str, int]
    cuttable: bool
    vocab_size: int
    fingerprint: str
    chat_source: Callable[[], ChatTemplate | None] | None = None  # reads what its files say of conversations
    options: Mapping[str, Any] = {}  # of ``get_tokenizer``, without which it could not be got again by its name
    reopen: tuple[Callable[[str], Tokenizer], tuple[str]] | None = None  # how another process gets it by its name

    @property
    def chat(self) -> ChatTemplate | None:
        """The chat template that its files have, if they have one.

        Raises:
            FormatError: they can't be read, or have several and none of them is the default.
        """
        return None if self.chat_source is None else self.chat_source()

    @abc.abstractmethod
    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        """The ids of a valid Unicode string, no special tokens."""

    @abc.abstractmethod
    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of several UTF-8 texts, one after another, uint32 [n], and how many are each text's, int64 [texts].

        No special tokens; the GIL is released where the library allows it. For texts by the thousand.
        """

    @abc.abstractmethod
    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a valid Unicode string, no special tokens, and where each starts and ends in it, int64 [n, 2]."""

    @abc.abstractmethod
    def _decode_known(self, ids: list[int]) -> bytes:
        """The bytes of ids; KeyError(id) where no token has that id."""

    @abc.abstractmethod
    def __reduce__(self) -> tuple[Any, ...]: ...

    def merge_rules(self) -> MergeRules | None:
        """What ``merges_of`` needs; None where the tokenizer does not work by merges."""
        return None

    @property
    def end_of_text_id(self) -> int:
        """The id of the token that ends a document: "<|endoftext|>", "</s>" or what its family calls it.

        Raises:
            ArgumentError: it has no such token.
        """
        for text in END_OF_TEXT:
            if text in self.special_tokens:
                return self.special_tokens[text]
        raise ArgumentError(
            f"the tokenizer {self.name!r} has no end-of-text token",
            got=f"special tokens {sorted(self.special_tokens)[:10]}",
            expected="one of " + ", ".join(END_OF_TEXT),
            fix='name the token that ends a text: append_end_of_text="<|im_end|>" (--end-of-text-token), or prepare '
            "with append_end_of_text=False (--no-end-of-text)",
        )

    def special_id(self, text: str) -> int:
        """The id of the special token ``text``, or of another token that its file names so.

        Raises:
            ArgumentError: there is none.
        """
        id_ = self._named_id(text)
        if id_ is None:
            raise ArgumentError(
                f"no special token {text!r} in the tokenizer {self.name!r}",
                expected="one of " + ", ".join(sorted(self.special_tokens)[:20]),
            )
        return id_

    def _named_id(self, text: str) -> int | None:
        return self.special_tokens.get(text)

    def find_special(self, text: str) -> str | None:
        """The first special token that the text holds, if there is one."""
        found = self._find_any(text, frozenset(self.special_tokens)) if self.special_tokens else None
        return None if found is None else found[0]

    def encode(
        self, text: str, *, allowed_special: Special = (), disallowed_special: Special = "all"
    ) -> NDArray[np.uint32]:
        """The token ids of ``text``, uint32 [n].

        Args:
            text: any string; a lone surrogate becomes U+FFFD, as in tiktoken.
            allowed_special: special tokens that their text stands for ("all", or a set of texts).
            disallowed_special: texts that are an error ("all": every special token that is not allowed).
                A special token in neither set is ordinary text.

        Raises:
            SpecialTokenError: a disallowed special token stands in the text.

        >>> from foreword import get_tokenizer
        >>> tokenizer = get_tokenizer("gpt2")
        >>> tokenizer.encode("one<|endoftext|>two", allowed_special={"<|endoftext|>"})
        array([  505, 50256, 11545], dtype=uint32)
        >>> tokenizer.encode("<|endoftext|>", disallowed_special=())
        array([  27,   91,  437, 1659, 5239,   91,   29], dtype=uint32)
        """
        allowed = self._allowed(text, allowed_special, disallowed_special)
        return self._encode_special(text, allowed) if allowed else self.encode_ordinary(text)

    def encode_ordinary(self, text: str) -> NDArray[np.uint32]:
        """The token ids of ``text`` with no special tokens at all, uint32 [n]."""
        return _with_valid(self._encode_valid, text)

    def encode_batch(
        self,
        texts: Iterable[str],
        *,
        allowed_special: Special = (),
        disallowed_special: Special = "all",
        workers: int = 1,
    ) -> list[NDArray[np.uint32]]:
        """The token ids of each text, as ``encode`` gives them; on ``workers`` threads, which run in parallel.

        >>> from foreword import get_tokenizer
        >>> get_tokenizer("gpt2").encode_batch(["one", "two words"])
        [array([505], dtype=uint32), array([11545,  2456], dtype=uint32)]
        """
        if isinstance(texts, str):
            raise ArgumentTypeError("a batch is a list of texts", got="one text", fix="give [text], or use encode")
        every = list(texts)
        workers = integer("workers", workers, at_least=1)
        if workers == 1 or len(every) < 2:
            return [
                self.encode(t, allowed_special=allowed_special, disallowed_special=disallowed_special) for t in every
            ]
        from concurrent.futures import ThreadPoolExecutor

        def encode_part(part: list[str]) -> list[NDArray[np.uint32]]:
            allowed = [self._allowed(text, allowed_special, disallowed_special) for text in part]
            return self._encode_part(part, allowed)

        size = -(-len(every) // (4 * workers))
        with ThreadPoolExecutor(workers) as pool:
            parts = pool.map(encode_part, [every[i : i + size] for i in range(0, len(every), size)])
            return [ids for part in parts for ids in part]

    def encode_with_offsets(
        self, text: str, *, allowed_special: Special = (), disallowed_special: Special = "all"
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The token ids of ``text``, uint32 [n], and which characters each stands for: [start, end), int64 [n, 2].

        A token that holds only a part of a character's bytes has that whole character. A lone surrogate counts as the
        U+FFFD that it becomes.

        >>> from foreword import get_tokenizer
        >>> ids, offsets = get_tokenizer("gpt2").encode_with_offsets("so naïve")
        >>> offsets.tolist()
        [[0, 2], [2, 8]]
        """
        allowed = self._allowed(text, allowed_special, disallowed_special)
        return self._offsets_special(text, allowed) if allowed else self._offsets(valid_text(text))

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The bytes that the token ids stand for.

        Raises:
            TokenIdError: an id that no token has.
            ArgumentError: they are no integers, or several sequences.
        """
        array = np.asarray(ids)
        if array.ndim > 1:
            raise ArgumentError("ids are one sequence", got=f"shape {array.shape}", fix="use decode_batch for several")
        array = array.reshape(-1)
        if array.size and array.dtype.kind not in "ui":
            raise ArgumentTypeError("token ids must be integers", got=f"dtype {array.dtype}")
        try:
            return self._decode_known(array.tolist())
        except KeyError as missing:
            id_ = missing.args[0]
            raise TokenIdError(
                f"no token has the id {id_}",
                expected=f"an id from 0 to {self.vocab_size - 1} of {self.name!r}",
                where=f"position {array.tolist().index(id_)} of {array.size}",
            ) from None

    def decode(self, ids: ArrayLike, *, errors: str = "replace") -> str:
        """The text that the token ids stand for.

        A token may end inside a character, so that a slice of ids need not be valid UTF-8; ``errors`` says what
        becomes of such bytes, as in ``bytes.decode``.
        """
        return self.decode_bytes(ids).decode("utf-8", errors=errors)

    def decode_batch(self, batch: Iterable[ArrayLike], *, errors: str = "replace") -> list[str]:
        """The text of each sequence of token ids, as ``decode`` gives it.

        >>> from foreword import get_tokenizer
        >>> get_tokenizer("gpt2").decode_batch([[505], [11545, 2456]])
        ['one', 'two words']
        """
        return [self.decode(ids, errors=errors) for ids in batch]

    def token_text(self, id_: int) -> str:
        r"""How one token reads: its text in quotes, or its bytes where they are a part of a character.

        Raises:
            TokenIdError: no token has that id.

        >>> from foreword import get_tokenizer
        >>> tokenizer = get_tokenizer("gpt2")
        >>> [tokenizer.token_text(id_) for id_ in tokenizer.encode("so 我").tolist()]
        ["'so'", "b' \\xe6'", "b'\\x88'", "b'\\x91'"]
        """
        data = self._token_bytes(id_)
        try:
            return repr(data.decode())
        except UnicodeDecodeError:
            return repr(data)

    def _token_bytes(self, id_: int) -> bytes:
        """The bytes that a token stands for inside a text."""
        return self.decode_bytes([id_])

    def _allowed(self, text: str, allowed_special: Special, disallowed_special: Special) -> frozenset[str]:
        """The special tokens that may be found in ``text``; SpecialTokenError where a disallowed one stands."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {type(text).__name__}")
        allowed = chosen("allowed_special", allowed_special, self.special_tokens)
        disallowed = chosen("disallowed_special", disallowed_special, self.special_tokens.keys() - allowed)
        if disallowed and (found := self._find_any(text, frozenset(disallowed))):
            special, where = found
            raise SpecialTokenError(
                f"the text holds the special token {special!r}, which is not allowed",
                where=where,
                fix=f"pass allowed_special={{{special!r}}} to encode it as one token, "
                "or disallowed_special=() to encode it as ordinary text",
            )
        return frozenset(allowed & self.special_tokens.keys())

    def _find_any(self, text: str, special: frozenset[str]) -> tuple[str, str] | None:
        """The first of the special tokens in ``text``, and where it stands."""
        found = any_of(special).search(text)
        return (found.group(), f"character {found.start():,}") if found else None

    # Special tokens are found in a text by their own text, and what lies between them is encoded apart.
    def _encode_special(self, text: str, allowed: frozenset[str]) -> NDArray[np.uint32]:
        """The ids of any text, with the special tokens ``allowed``, of which there is at least one."""
        pieces = any_of(allowed).split(text)
        if len(pieces) == 1:
            return self.encode_ordinary(text)
        return np.concatenate(
            [self._special(piece) if i % 2 else self.encode_ordinary(piece) for i, piece in enumerate(pieces)]
        )

    def _encode_part(self, texts: list[str], allowed: list[frozenset[str]]) -> list[NDArray[np.uint32]]:
        """The ids of several texts, each with the special tokens that are allowed in it."""
        split = [any_of(some).split(text) if some else [text] for text, some in zip(texts, allowed, strict=True)]
        flat, lengths = self.encode_many([to_utf8(piece) for pieces in split for piece in pieces[::2]])
        ordinary = iter(np.split(flat, np.cumsum(lengths)[:-1]))
        ids = [[self._special(p) if i % 2 else next(ordinary) for i, p in enumerate(pieces)] for pieces in split]
        return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in ids]

    def _offsets_special(self, text: str, allowed: frozenset[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """As ``_offsets``, for any text, with the special tokens ``allowed``."""
        ids, offsets, start = [], [], 0
        for i, piece in enumerate(any_of(allowed).split(text)):
            if i % 2:
                ids.append(self._special(piece))
                offsets.append(np.array([[start, start + len(piece)]], np.int64))
                start += len(piece)
            else:
                valid = valid_text(piece)
                piece_ids, piece_offsets = self._offsets(valid)
                ids.append(piece_ids)
                offsets.append(piece_offsets + start)
                start += len(valid)
        return np.concatenate(ids), np.concatenate(offsets)

    def _special(self, text: str) -> NDArray[np.uint32]:
        return np.array([self.special_tokens[text]], np.uint32)

    def __repr__(self) -> str:
        return f"Tokenizer({self.name!r}, vocab_size={self.vocab_size})"


class RankTokenizer(Tokenizer):
    """Byte-pair encoding by merge ranks: a pair of neighbours is merged where its rank is the lowest.

    Args:
        name: see ``Tokenizer``.
        ranks: merge ranks in tiktoken's text format, sorted by rank.
        pattern: the split pattern, a regular expression.
        special_tokens: the id of each.
        options: those of ``get_tokenizer`` that decided pattern and special tokens.
    """

    def __init__(
        self,
        name: str,
        ranks: bytes,
        pattern: str,
        special_tokens: Mapping[str, int],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.options = dict(options or {})
        self.special_tokens = dict(special_tokens)
        self.pattern = pattern
        self.cuttable = pattern in PATTERNS.values()
        self._ranks = ranks

    def check_pattern(self) -> None:
        """Refuse a split pattern that the engine can't use.

        Raises:
            ArgumentError: says why.
        """
        if self.pattern in PATTERNS.values():
            return
        try:
            self._engine.encode("a")
        except Exception as cause:  # the library says what is wrong with it
            raise ArgumentError(
                "a split pattern that can't be used",
                got=repr(self.pattern),
                expected=f"a regular expression: {first_line(cause)}",
            ) from cause

    @functools.cached_property
    def _engine(self) -> Engine:
        return make_engine(self._ranks, self.pattern)

    @functools.cached_property
    def _bytes_of(self) -> dict[int, bytes]:
        """The bytes of each token id, special tokens included."""
        return {rank: token for token, rank in self._rank_of.items()} | {
            id_: text.encode() for text, id_ in self.special_tokens.items()
        }

    def merge_rules(self) -> MergeRules:
        """As ``Tokenizer.merge_rules``: two parts are merged where they are a token together."""
        return MergeRules.of_ranks(self._rank_of, self._bytes_of)

    @functools.cached_property
    def _rank_of(self) -> dict[bytes, int]:
        return parse_ranks(self._ranks, where=self.name)

    @functools.cached_property
    def vocab_size(self) -> int:  # type: ignore[override]
        """One more than the largest token id."""
        return max(self.last_rank, *self.special_tokens.values(), 0) + 1

    @property
    def last_rank(self) -> int:
        """The largest id that is no special token's."""
        return int(self._ranks.rstrip().rpartition(b"\n")[2].split()[-1])  # they are sorted

    def with_special_tokens(self, special_tokens: Mapping[str, int]) -> RankTokenizer:
        """The same ranks and pattern with other special tokens."""
        return RankTokenizer(self.name, self._ranks, self.pattern, special_tokens, self.options)

    @functools.cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """The SHA-256 of ranks, pattern and special tokens."""
        rest = json.dumps({"pattern": self.pattern, "special_tokens": self.special_tokens}, sort_keys=True)
        return hashlib.sha256(self._ranks + rest.encode()).hexdigest()

    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        return self._engine.encode(text)

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """As ``Tokenizer.encode_many``; the GIL is released."""
        return self._engine.encode_many(texts)

    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        ids = self._engine.encode(text)
        sizes = np.array([len(self._bytes_of[id_]) for id_ in ids.tolist()], np.int64)
        return ids, byte_to_character_offsets(text.encode(), np.cumsum(sizes) - sizes, np.cumsum(sizes))

    def _decode_known(self, ids: list[int]) -> bytes:
        table = self._bytes_of
        return b"".join([table[id_] for id_ in ids])

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is not None:
            return self.reopen
        return RankTokenizer, (self.name, self._ranks, self.pattern, self.special_tokens, self.options)


def byte_to_character_offsets(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Byte ranges of UTF-8 ``data`` as ranges of characters, [n, 2]; a character cut by a range belongs to it whole."""
    leads = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    before = np.concatenate([[0], np.cumsum(leads)])  # characters that begin before byte i
    inside = np.append(~leads, False)[starts]  # the range starts inside a character
    return np.stack([before[starts] - inside, before[ends]], axis=1).astype(np.int64)


def to_utf8(text: str) -> bytes:
    """``text`` as UTF-8; a lone surrogate as U+FFFD, a pair of them as the character they stand for, as in tiktoken."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return valid_text(text).encode()


def valid_text(text: str) -> str:
    """``text`` with U+FFFD for each lone surrogate, and with the character that a pair of them stands for."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _with_valid(encode: Callable[[str], NDArray[np.uint32]], text: str) -> NDArray[np.uint32]:
    """``encode(text)``, surrogates replaced only where there are any."""
    try:
        return encode(text)
    except (TypeError, UnicodeEncodeError):
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {type(text).__name__}") from None
        return encode(valid_text(text))
