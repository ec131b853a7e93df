"""Spelling: the keys nearest to one that isn't there, for the error that says so.

After P. Norvig, How to Write a Spelling Corrector (2007): all strings one edit away are made and looked up, rather than
all keys compared. Keys of low index come first, since files list frequent words first. Where the key is there in other
case, or joined otherwise, no edit is tried.

Not for: searching by meaning. Costs: some thousand look-ups, a few milliseconds, whatever the number of keys.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

__all__ = ["nearest_spellings"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LONGEST = 40  # no suggestions for what is no word
_ONE_EDIT, _TWO_EDITS = 3, 4  # letters that a key must have, or little of it would be left


def nearest_spellings(key: object, key_to_index: Mapping[str, int], *, count: int = 3) -> list[str]:
    """Up to ``count`` keys that ``key`` may have been meant to be, the likeliest first.

    >>> nearest_spellings("quees", {"the": 0, "queen": 1, "queens": 2})
    ['queen', 'queens']
    """
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST:
        return []
    found: dict[str, int] = {}
    for letters, spellings in ((1, _variants), (_ONE_EDIT, _edits), (_TWO_EDITS, _two_edits)):
        if len(key) < letters or (found and letters == _ONE_EDIT):  # the same word in other case is what was meant
            break
        for spelling in itertools.chain.from_iterable(map(spellings, dict.fromkeys((key, key.lower())))):
            row = key_to_index.get(spelling, -1) if spelling and spelling not in found else -1
            if row >= 0:
                found[spelling] = row
        if len(found) >= count:
            break
    return sorted(found, key=found.__getitem__)[:count]


def _variants(key: str) -> Iterator[str]:
    """The same letters in other case, and words joined otherwise."""
    for joined in (key, key.replace(" ", "_"), key.replace(" ", "-"), key.replace("_", " "), key.replace("-", "")):
        yield from (joined, joined.lower(), joined.capitalize(), joined.title(), joined.upper())
    yield key.strip()
    yield key.strip().lower()


def _edits(key: str) -> Iterator[str]:
    """Every string one deletion, swap, replacement or insertion away."""
    for i in range(len(key) + 1):
        head, tail = key[:i], key[i:]
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in _LETTERS)
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        yield from (head + letter + tail for letter in _LETTERS)


def _two_edits(key: str) -> Iterator[str]:
    """Every string a deletion and one more edit away: some of those two edits away."""
    for i in range(len(key)):
        yield from _edits(key[:i] + key[i + 1 :])
