"""What the explorer serves, to whom, and how much of it at once.

Not for: reading the command line (``cli/explore.py``). Costs: nothing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

__all__ = ["LOOPBACK", "Limits", "Settings"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on what one request, and all of them together, may cost.

    Attributes:
        body_bytes: the largest body.
        body_seconds: the longest that a body may take to arrive.
        request_seconds: the longest that a request may take, its answer read included.
        head_seconds, head_bytes: the same for a request's head, which the server reads before the application sees it.
        connections: more than these at once are answered 503.
        held_bytes: the bodies and answers of all requests under way; one for which there is no room is answered 503.
        working: how many requests are worked on at once; others wait for their turn.
        text_characters: the longest text.
        answer_floats: the largest array of an answer, in elements.
        table_floats: the largest embedding table that a request may draw, in elements.
        map_words: the most points of a map, and the most neighbours of a batch of words.
        atlas_words: the most words of the map of all.
        store_tokens: the most tokens read from a store at once.
    """

    body_bytes: int = 1_000_000
    body_seconds: float = 10
    request_seconds: float = 60
    head_seconds: float = 10
    head_bytes: int = 32_768
    connections: int = 1_000
    held_bytes: int = 1 << 28
    working: int = 8
    text_characters: int = 100_000
    answer_floats: int = 1 << 19
    table_floats: int = 200_064 * 256  # the largest vocabulary of tiktoken, at the page's D
    map_words: int = 10_000
    atlas_words: int = 400_000
    store_tokens: int = 4_096


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was allowed at start; a request can name nothing else.

    Attributes:
        vectors: word vectors, each a catalogue name or a path.
        tokenizers: tokenizers by name or path, the first being the default.
        stores: token stores, or folders of them. No other folder is ever opened.
        hosts: the host names that a browser may call us by.
        token: what a request must carry; None asks for nothing.
        page: whether the page is served, or the API alone.
        limits: bounds.
    """

    vectors: tuple[str, ...] = ("glove-wiki-gigaword-50",)
    tokenizers: tuple[str, ...] = ("gpt2", "bytes")
    stores: tuple[Path, ...] = ()
    hosts: frozenset[str] = LOOPBACK
    token: str | None = None
    page: bool = True
    limits: Limits = Limits()
