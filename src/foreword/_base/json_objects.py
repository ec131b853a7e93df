"""Objects of JSON in which a key comes twice, with different values: Python's ``json`` takes the last and says nothing.

    json.JSONDecoder(object_pairs_hook=with_repeats)        records: only a key that is asked for must be unique
    json.loads(text, object_pairs_hook=without_repeats)     files that say what something is: every key must be

A key that comes twice with one value contradicts nothing, and passes.

Not for: other faults of JSON. Costs: an eighth of a microsecond an object.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Repeating", "with_repeats", "without_repeats"]


class Repeating(dict[str, Any]):
    """An object of which ``repeated`` are the keys that came with several values; it holds their last ones."""

    repeated: frozenset[str] = frozenset()


def with_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a ``dict``; as a ``Repeating`` where a key has several values.

    >>> with_repeats([("a", 1), ("b", 2), ("a", 3), ("b", 2)]).repeated
    frozenset({'a'})
    """
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = frozenset(key for key, value in pairs if (type(value), value) != (type(found[key]), found[key]))
    if not repeated:
        return found
    repeating = Repeating(found)
    repeating.repeated = repeated
    return repeating


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a ``dict``.

    Raises:
        ValueError: a key has several values, as where text is no JSON.
    """
    found = with_repeats(pairs)
    if isinstance(found, Repeating):
        raise ValueError(f"the key {min(found.repeated)!r:.60} comes twice in one object")
    return found
