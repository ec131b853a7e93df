"""Characters new in Unicode 17, which gigatoken and tiktoken cut differently: docs/tokens.md lists all of them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from foreword.tokens.tokenizers.engines import PATTERNS, _Gigatoken, _Tiktoken, format_ranks

PAGE = Path(__file__).parents[2] / "docs" / "tokens.md"
ALL = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]


def listed(name: str) -> set[int]:
    """The code points that the page lists for a split pattern."""
    blocks = re.findall(r"^    (all|o200k_base also), .+?:((?:\s+[0-9A-F–]+)+)", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [title for title, _ in blocks] == ["all", "o200k_base also"]
    points: set[int] = set()
    for _, text in blocks if name == "o200k_base" else blocks[:1]:
        for part in text.split():
            first, _, last = part.partition("–")
            points |= set(range(int(first, 16), int(last or first, 16) + 1))
    return points


def differing(name: str, points: list[int]) -> set[int]:
    """The code points around which the two engines cut differently, by ranks that join what is around to them."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for pair in [bytes([a, b]) for a in b"a1! " for b in range(128, 256)] + [
        bytes([a, b]) for a in range(128, 192) for b in b"a1!"
    ]:
        ranks[pair] = len(ranks)
    engines = [engine(format_ranks(ranks), PATTERNS[name]) for engine in (_Gigatoken, _Tiktoken)]
    found = set()
    for i in range(0, len(points), 2048):
        some = points[i : i + 2048]
        texts = [f"{chr(point)} a{chr(point)}a 1{chr(point)}1 !{chr(point)}!".encode() for point in some]
        (ids, lengths), (other, others) = (engine.encode_many(texts) for engine in engines)
        pairs = zip(some, np.split(ids, np.cumsum(lengths)[:-1]), np.split(other, np.cumsum(others)[:-1]), strict=True)
        found |= {point for point, one, two in pairs if not np.array_equal(one, two)}
    return found


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base"])
def test_those_that_the_page_lists_and_their_neighbours(name: str) -> None:
    expected = listed(name)
    assert len(expected) == (4699 if name == "o200k_base" else 4657)
    near = {point + step for point in expected for step in (-1, 1)} | set(random.Random(name).sample(ALL, 20_000))
    assert differing(name, sorted(expected | near)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base"])
def test_all_of_unicode(name: str) -> None:
    assert differing(name, ALL) == listed(name)
