"""The merges that make one token, in order: how byte-pair encoding comes to it.

Not for: encoding, which an engine does. Costs: the square of the token's length; the first time, a table of all merges
(some 50 ms for 50,000).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from foreword.errors import ArgumentError

if TYPE_CHECKING:
    from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["Merge", "MergeRules", "merges_of"]


class MergeRules(NamedTuple):
    """What a tokenizer knows of merges. Its parts are bytes or text, as its file has them.

    Attributes:
        parts_of: the parts that a token has before any merge.
        rank_of: the rank of two neighbours, None where they are never merged.
        to_bytes: the bytes of a part.
    """

    parts_of: Callable[[int], Sequence[Any]]
    rank_of: Callable[[Any, Any], int | None]
    to_bytes: Callable[[Any], bytes] = bytes

    @classmethod
    def of_ranks(cls, ranks: Mapping[bytes, int], bytes_of: Mapping[int, bytes]) -> MergeRules:
        """Two parts are merged where they are a token together, by its rank; at the start each byte is a part."""
        return cls(lambda id_: [bytes([byte]) for byte in bytes_of[id_]], lambda a, b: ranks.get(a + b))


@dataclasses.dataclass(frozen=True)
class Merge:
    """One merge, and what there is after it.

    Attributes:
        rank: the merge's place in the tokenizer's list; of the merges that are possible, the lowest is next.
        left, right: the bytes of the two that it merges.
        at: which of ``parts`` it made of them.
        parts: the bytes of every part after it, from the left.
    """

    rank: int
    left: bytes
    right: bytes
    at: int
    parts: tuple[bytes, ...]


def merges_of(tokenizer: Tokenizer, id_: int) -> tuple[Merge, ...]:
    """The merges that make a token, in the order in which byte-pair encoding applies them.

    At the start each byte is a part of its own (each character, in a tokenizer.json that is not of bytes); after the
    last merge one part is left, the token. A single byte and a special token have none. A token that no text gives may
    be one that its own merges don't lead to: then several parts are left.

    Args:
        tokenizer: one of byte-pair encoding: "gpt2" and others by ranks, or a tokenizer.json whose model is BPE.
        id_: the token id.

    Raises:
        TokenIdError: no token has that id.
        ArgumentError: the tokenizer has no merges.

    >>> from foreword import get_tokenizer
    >>> for merge in merges_of(get_tokenizer("gpt2"), 341):
    ...     print(merge.rank, merge.left, merge.right, merge.parts)
    261 b'o' b'n' (b'a', b't', b'i', b'on')
    265 b'a' b't' (b'at', b'i', b'on')
    295 b'i' b'on' (b'at', b'ion')
    341 b'at' b'ion' (b'ation',)
    """
    tokenizer.decode_bytes([id_])  # an id that no token has is refused here
    rules = tokenizer.merge_rules()
    if rules is None:
        raise ArgumentError(
            "the tokenizer has no merges",
            got=repr(tokenizer),
            expected="one of byte-pair encoding: 'gpt2', a file of ranks, a tokenizer.json whose model is BPE",
        )
    if id_ in tokenizer.special_tokens.values():
        return ()
    parts = list(rules.parts_of(id_))
    merges: list[Merge] = []
    while True:
        pairs = ((rules.rank_of(*parts[at : at + 2]), at) for at in range(len(parts) - 1))
        ranked = [(rank, at) for rank, at in pairs if rank is not None]
        if not ranked:
            return tuple(merges)
        rank, at = min(ranked)
        left, right = parts[at : at + 2]
        parts[at : at + 2] = [left + right]
        merges.append(Merge(rank, rules.to_bytes(left), rules.to_bytes(right), at, tuple(map(rules.to_bytes, parts))))
