"""Numbers with the word that they count, and what exceptions of others say.

Not for: words of vectors. Costs: nothing.
"""

from __future__ import annotations

__all__ = ["counted", "first_line"]


def counted(count: int, word: str, plural: str | None = None) -> str:
    """A count and what is counted, in the singular where there is one.

    >>> counted(1, "shard"), counted(1_200, "shard"), counted(2, "batch", "batches")
    ('1 shard', '1,200 shards', '2 batches')
    """
    return f"{count:,} {word if count == 1 else plural or f'{word}s'}"


def first_line(cause: BaseException) -> str:
    """The first line of what an exception says, at most 200 letters; of one that says nothing, its kind.

    >>> first_line(OSError("no way\\nout")), first_line(TimeoutError())
    ('no way', 'TimeoutError')
    """
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)[:200]
