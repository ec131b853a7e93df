"""Words of messages: numbers with the word that they count, and names that a terminal may show.

Not for: words of vectors. Costs: nothing.
"""

from __future__ import annotations

import re

__all__ = ["counted", "printable"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def counted(count: int, word: str, plural: str | None = None) -> str:
    """A count and what is counted, in the singular where there is one.

    >>> counted(1, "shard"), counted(1_200, "shard"), counted(2, "batch", "batches")
    ('1 shard', '1,200 shards', '2 batches')
    """
    return f"{count:,} {word if count == 1 else plural or f'{word}s'}"


def printable(text: str) -> str:
    r"""A text from elsewhere, as a file's name, without what would steer a terminal: such characters as escapes.

    >>> printable("\x1b[31mred\u202e.txt"), printable("two\nlines")
    ('\\x1b[31mred\\u202e.txt', 'two\nlines')
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
