"""Numbers with the word that they count.

Not for: words of vectors. Costs: nothing.
"""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, word: str, plural: str | None = None) -> str:
    """A count and what is counted, in the singular where there is one.

    >>> counted(1, "shard"), counted(1_200, "shard"), counted(2, "batch", "batches")
    ('1 shard', '1,200 shards', '2 batches')
    """
    return f"{count:,} {word if count == 1 else plural or f'{word}s'}"
