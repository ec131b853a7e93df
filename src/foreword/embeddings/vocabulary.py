"""From one vocabulary to another: which row of the old table each token of the new one begins with.

    the same token, at the same id or another     its row
    a new token                                   the mean of its pieces: what the old tokenizer makes of it
    a new token that can't be put together        an average row

Tokens are the same if they stand for the same bytes within a text: "▁foo" and "foo" of one vocabulary differ, and so do
"ing" and "##ing". A token may be a part of a character, so it is put together by bytes where it is no text.

Not for: moving the rows (``growing``); no torch here. Costs: two decodings a token, and an encoding a new one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.errors import ArgumentError, ArgumentTypeError

__all__ = ["How", "Vocabulary", "VocabularyReport", "check", "match", "token_ids"]

How = Literal["kept", "composed", "given", "average", "unused"]

# Whatever begins a text with a space of its own has begun before what stands behind this.
_BEGINNING = b"\n"


class Vocabulary(Protocol):
    """What a tokenizer must have; those of ``get_tokenizer`` do."""

    @property
    def vocab_size(self) -> int:
        """V, one more than the largest token id."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The id of each special token."""
        ...

    def encode_many(self, texts: Sequence[bytes], /) -> tuple[NDArray[Any], NDArray[Any]]:
        """The ids of several UTF-8 texts, one after another, and how many are each text's."""
        ...

    def decode_bytes(self, ids: Any, /) -> bytes:
        """The bytes that token ids stand for; an error that is an IndexError where no token has an id."""
        ...


@dataclasses.dataclass(frozen=True, repr=False)
class VocabularyReport:
    """How each row of a table began when its vocabulary was changed.

    Attributes:
        how: for each row "kept": the row of the same token (or, where neither vocabulary has a token, of the same id);
            "composed": the mean of the rows of its pieces; "given": a vector that was given; "average": a token that
            has no pieces, drawn around the mean row; "unused": no token has this id, drawn alike.
        sources: for each row the ids of the old rows it began with: of a "kept" one its own, of a "composed" one its
            pieces; of a "given" one the pieces that an untied head's row is the mean of.
        moved: tokens that have another id than before.
        dropped: tokens of the old vocabulary that the new one doesn't have.

    >>> report = VocabularyReport(("kept", "kept", "composed"), ((0,), (2,), (0, 0)), moved=1, dropped=1)
    >>> report
    VocabularyReport(3 rows: 2 kept (1 at another id), 1 composed of pieces; 1 token dropped)
    >>> report.how[2], report.sources[2]
    ('composed', (0, 0))
    """

    how: tuple[How, ...]
    sources: tuple[tuple[int, ...], ...]
    moved: int
    dropped: int

    @property
    def vocab_size(self) -> int:
        """V, rows of the table."""
        return len(self.how)

    def count(self, how: How) -> int:
        """How many rows began so."""
        return self.how.count(how)

    def __repr__(self) -> str:
        counts = Counter(self.how)
        words: dict[How, str] = {
            "kept": f"kept ({self.moved:,} at another id)" if self.moved else "kept",
            "composed": "composed of pieces",
            "given": "of given vectors",
            "average": "average",
            "unused": "unused",
        }
        parts = ", ".join(f"{counts[how]:,} {word}" for how, word in words.items() if counts[how])
        dropped = f"; {self.dropped:,} token{'s' * (self.dropped != 1)} dropped" if self.dropped else ""
        return f"VocabularyReport({counted(self.vocab_size, 'row')}: {parts}{dropped})"


def match(old: Vocabulary, new: Vocabulary, *, old_rows: int, rows: int, given: frozenset[int]) -> VocabularyReport:
    """Which old rows each row of a table begins with.

    Args:
        old: the tokenizer that the table was made for.
        new: the one it will be for.
        old_rows: of the table; at least ``old.vocab_size``.
        rows: of the table to come; at least ``new.vocab_size``.
        given: ids of new tokens that have a vector.

    Raises:
        ArgumentError: a vector for a token that both vocabularies have, or for an id without a token.
    """
    before, after = _tokens(old), _tokens(new)
    before += [None] * (old_rows - len(before))
    after += [None] * (rows - len(after))
    sources: list[tuple[int, ...]] = [() for _ in after]
    how: list[How] = ["unused" if token is None else "average" for token in after]
    for id_, old_id in _same(before, after).items():
        how[id_], sources[id_] = "kept", (old_id,)
    added = [id_ for id_ in range(rows) if how[id_] == "average"]
    for id_, pieces in zip(added, _Pieces(old, before).of([after[id_][1] for id_ in added]), strict=True):  # type: ignore[index]
        if pieces:
            how[id_], sources[id_] = "composed", pieces
    for id_ in given:
        if how[id_] in ("kept", "unused"):
            raise ArgumentError(
                "a vector for " + ("a token that keeps its row" if how[id_] == "kept" else "an id that no token has"),
                got=f"id {id_}" + ("" if (token := after[id_]) is None else f", {token[1]!r}"),
                fix="give vectors of new tokens alone",
            )
        how[id_] = "given"
    kept = [id_ for id_ in range(rows) if how[id_] == "kept" and after[id_] is not None]
    stayed = {sources[id_][0] for id_ in kept}
    return VocabularyReport(
        tuple(how),
        tuple(sources),
        moved=sum(sources[id_] != (id_,) for id_ in kept),
        dropped=sum(token is not None and id_ not in stayed for id_, token in enumerate(before)),
    )


def check(name: str, tokenizer: object) -> None:
    """Nothing, if it is a tokenizer.

    Raises:
        ArgumentTypeError: it lacks something.
    """
    if not all(
        hasattr(tokenizer, needed) for needed in ("vocab_size", "special_tokens", "encode_many", "decode_bytes")
    ):
        raise ArgumentTypeError(
            f"{name} must be a tokenizer of Foreword", got=type(tokenizer).__name__, fix="foreword.get_tokenizer(…)"
        )


def token_ids(tokenizer: Vocabulary, texts: Sequence[str]) -> list[int]:
    """The id of the token that stands for each text.

    Raises:
        ArgumentError: no token does, or several do.
    """
    ids = defaultdict[str | bytes, list[int]](list)
    for id_, token in enumerate(_tokens(tokenizer) if texts else []):
        if token is not None:
            ids[token[1].decode() if token[0] else token[1]].append(id_)
    found = [ids.get(text) or ids.get(text.encode()) or [] for text in texts]
    for text, known in zip(texts, found, strict=True):
        if len(known) != 1:
            raise ArgumentError(
                "a vector for a text that isn't one token",
                got=f"{text!r}: {counted(len(known), 'token')}",
                fix="give the token's id in its place",
            )
    return [known[0] for known in found]


# What a token is: whether it is special, and the bytes that it stands for.
_Token = tuple[bool, bytes]


def _tokens(tokenizer: Vocabulary) -> list[_Token | None]:
    """The token of each id; None for an id that no token has."""
    special = {id_: text.encode() for text, id_ in tokenizer.special_tokens.items()}
    tokens: list[_Token | None] = []
    for id_ in range(tokenizer.vocab_size):
        if id_ in special:
            tokens.append((True, special[id_]))
            continue
        try:
            once, twice = tokenizer.decode_bytes([id_]), tokenizer.decode_bytes([id_, id_])
        except IndexError:
            tokens.append(None)
            continue
        tokens.append((False, twice[len(once) :] if twice.startswith(once) else once))  # the first may lose its space
    return tokens


def _same(before: Sequence[_Token | None], after: Sequence[_Token | None]) -> dict[int, int]:
    """For each new id of an old token its old id.

    Of several tokens with the same bytes ("A" and "<0x41>") the first becomes the first, and so on.
    """
    ids = defaultdict[_Token, list[int]](list)
    for id_, token in enumerate(before):
        if token is not None:
            ids[token].append(id_)
    same: dict[int, int] = {}
    taken = Counter[_Token]()
    for id_, token in enumerate(after):
        if token is None:
            if id_ < len(before) and before[id_] is None:
                same[id_] = id_
            continue
        known = ids.get(token) or ids.get((not token[0], token[1])) or []  # marked as special, or no longer
        if known:
            same[id_] = id_ if id_ in known else known[min(taken[token], len(known) - 1)]
            taken[token] += 1
    return same


class _Pieces:
    """What a tokenizer makes of bytes."""

    def __init__(self, tokenizer: Vocabulary, tokens: Sequence[_Token | None]) -> None:
        self._tokenizer, self._tokens = tokenizer, tokens
        # of two tokens for one byte the later: files begin with those that stand for bytes alone
        self._ids = {token[1]: id_ for id_, token in enumerate(tokens) if token is not None and not token[0]}
        self._longest = max(map(len, self._ids), default=0)
        self._every_byte = all(bytes([byte]) in self._ids for byte in range(256))

    def of(self, many: Sequence[bytes]) -> list[tuple[int, ...]]:
        """The pieces of each, old ids; () where there are none."""
        texts = [data for data in many if _is_text(data)]
        own = dict(zip(texts, self._encoded(texts), strict=True))
        # what the tokenizer puts a space before is not what stands inside a text
        spaced = [data for data in texts if self._bytes(own[data]) == b" " + data]
        inside = dict(zip(spaced, self._encoded([_BEGINNING + data for data in spaced]), strict=True))
        head = self._encoded([_BEGINNING])[0] if spaced else ()
        found = []
        for data in many:
            pieces = self._known(own.get(data, ()))
            if data in inside:
                rest = self._known(inside[data][len(head) :]) if inside[data][: len(head)] == head else ()
                pieces = rest if self._bytes(rest) == data else self._by_bytes(data) or pieces
            found.append(pieces or self._by_bytes(data))
        return found

    def _encoded(self, texts: Sequence[bytes]) -> list[tuple[int, ...]]:
        if not texts:
            return []
        flat, lengths = self._tokenizer.encode_many(texts)
        return [tuple(ids.tolist()) for ids in np.split(flat, np.cumsum(lengths)[:-1])]

    def _known(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """``ids``, or () if one of them is special: what the tokenizer gives for what it doesn't know."""
        tokens = [self._tokens[id_] for id_ in ids]
        return ids if all(token is not None and not token[0] for token in tokens) else ()

    def _bytes(self, ids: tuple[int, ...]) -> bytes:
        return b"".join(token[1] for id_ in ids if (token := self._tokens[id_]) is not None)

    def _by_bytes(self, data: bytes) -> tuple[int, ...]:
        """The pieces of bytes that need not be text.

        By byte-pair encoding, whose ids are in the order of its merges; where not every byte is a token, the longest
        token that fits first, as WordPiece does. () where nothing fits.
        """
        parts: list[bytes] = []
        if self._every_byte:
            parts = [bytes([byte]) for byte in data]
            while len(parts) > 1:
                ids = [self._ids.get(a + b, len(self._tokens)) for a, b in itertools.pairwise(parts)]
                first = min(range(len(ids)), key=ids.__getitem__)
                if ids[first] == len(self._tokens):
                    break
                parts[first : first + 2] = [parts[first] + parts[first + 1]]
        while not self._every_byte and data:
            ends = range(min(len(data), self._longest), 0, -1)
            part = next((data[:end] for end in ends if data[:end] in self._ids), b"")
            if not part:
                return ()
            parts.append(part)
            data = data[len(part) :]
        return tuple(self._ids[part] for part in parts)


def _is_text(data: bytes) -> bool:
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False
