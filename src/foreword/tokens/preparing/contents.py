"""What a record holds: a text, or token ids (``supervised`` has the rest); and how it is encoded.

    record ── payload ──▶ str or bytes ── encode, on a worker ──▶ ids, loss

A payload is all that decides what a document becomes, so its hash tells duplicates and parts of a split.

Not for: finding records (``records``). Costs: a copy of the ids.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.json_objects import Repeating
from foreword._base.words import counted
from foreword.errors import FormatError
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["FIELDS", "Contents", "Ids", "Text", "Tokens", "look_up"]

# What records may hold, and the field that is read where none is named.
FIELDS = {"text": "text", "ids": "input_ids", "messages": "messages", "completion": "prompt,completion"}


class Tokens(NamedTuple):
    """Several documents' ids one after another, uint32 [n], and how many are each one's, int64 [documents].

    Of supervised records, also whether each id is trained on as a target, uint8 [n], 0 or 1.
    """

    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    loss: NDArray[np.uint8] | None = None


class Contents(Protocol):
    """What a record holds; can be pickled.

    Attributes:
        fields: the fields, or columns, that are read.
        optional: those of them that a record may lack.
        kind: what their values are, in words, for errors.
        supervised: whether some tokens are trained on and others are not.
    """

    supervised: ClassVar[bool]

    @property
    def fields(self) -> tuple[str, ...]:
        """See above."""

    @property
    def optional(self) -> tuple[str, ...]:
        """See above."""

    @property
    def kind(self) -> str:
        """See above."""

    def payload(self, values: Sequence[Any]) -> str | bytes:
        """What the values of the fields come to; FormatError where they can't."""

    def encode(self, tokenizer: Tokenizer, payloads: Sequence[bytes]) -> Tokens:
        """The ids of payloads, texts as UTF-8."""

    def close(self) -> None:
        """Give back what reading records takes; it is taken again where it is needed."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A text in one field."""

    field: str = "text"
    kind: str = "text"
    optional: ClassVar[tuple[str, ...]] = ()
    supervised: ClassVar[bool] = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The field."""
        return (self.field,)

    def payload(self, values: Sequence[Any]) -> str:
        """The text."""
        (value,) = values
        if not isinstance(value, str):
            raise FormatError(f"the field {self.field!r} is no text", got=_type(value))
        return value

    def encode(self, tokenizer: Tokenizer, payloads: Sequence[bytes]) -> Tokens:
        """By the tokenizer, without special tokens."""
        return Tokens(*tokenizer.encode_many(payloads))

    def close(self) -> None:
        """Nothing."""


@dataclasses.dataclass(frozen=True)
class Ids:
    """Token ids in one field: text that was tokenized already.

    Attributes:
        field: which.
        vocab_size: every id is below it.
        ending: the id that will be put after each document, so that one that is there is taken for it.
    """

    field: str
    vocab_size: int
    ending: int | None = None
    kind: str = "token ids"
    optional: ClassVar[tuple[str, ...]] = ()
    supervised: ClassVar[bool] = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The field."""
        return (self.field,)

    def payload(self, values: Sequence[Any]) -> bytes:
        """The ids as uint32, little-endian."""
        (value,) = values
        try:
            ids = np.asarray(value) if value is not None else None
        except (ValueError, TypeError, OverflowError):
            ids = None
        if isinstance(value, list) and bool in set(map(type, value)):  # which numpy makes 0 and 1
            ids = np.zeros(len(value), bool)
        if ids is not None and ids.size == 0 and ids.ndim == 1:
            ids = ids.astype(np.uint32)
        if ids is None or ids.ndim != 1 or ids.dtype.kind not in "ui":
            raise FormatError(
                f"the field {self.field!r} holds no token ids",
                got=_type(value) if ids is None else f"{_type(value)} of {ids.dtype}, {counted(ids.ndim, 'dimension')}",
                expected="integers in one list",
            )
        if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= self.vocab_size):
            bad = int(np.flatnonzero((ids < 0) | (ids >= self.vocab_size))[0])
            raise FormatError(
                "a token id that is none of the tokenizer's",
                got=f"{int(ids[bad]):,} at place {bad:,} of {ids.size:,}",
                expected=f"0 to {self.vocab_size - 1:,}",
            )
        if ids.size and self.ending is not None and int(ids[-1]) == self.ending:
            ids = ids[:-1]
        return ids.astype("<u4").tobytes()

    def encode(self, tokenizer: Tokenizer, payloads: Sequence[bytes]) -> Tokens:  # noqa: ARG002 - they are ids
        """As they are."""
        lengths = np.array([len(payload) // 4 for payload in payloads], np.int64)
        return Tokens(np.frombuffer(b"".join(payloads), "<u4").astype(np.uint32), lengths)

    def close(self) -> None:
        """Nothing."""


def look_up(record: Mapping[str, Any], field: str) -> Any:
    """The value of a field; of one within others by a path, unless a field is called like the whole path.

    Raises:
        KeyError: there is none.
        FormatError: a key that leads to it comes twice in its object.

    >>> look_up({"meta": {"text": "a"}}, "meta.text"), look_up({"meta.text": "b", "meta": {"text": "a"}}, "meta.text")
    ('a', 'b')
    """
    if field in record and not isinstance(record, Repeating):
        return record[field]
    value: Any = record
    for part in [field] if field in record else field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(field)
        if isinstance(value, Repeating) and part in value.repeated:
            raise FormatError(f"a record in which the key {part!r} comes twice")
        value = value[part]
    return value


def _type(value: Any) -> str:
    return "null" if value is None else type(value).__name__
