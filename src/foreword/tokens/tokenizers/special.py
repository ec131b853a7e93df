"""Special tokens in a text: which ones are meant, and a pattern that finds them.

Not for: what becomes of them (``tokenizer``). Costs: a compiled pattern for each set of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from foreword.errors import ArgumentError

__all__ = ["Special", "any_of", "chosen"]

Special = Literal["all"] | Collection[str]


def chosen(option: str, given: Special, every: Iterable[str]) -> set[str]:
    """The special tokens that an option names: "all" is ``every`` one.

    Raises:
        ArgumentError: a text by itself, whose letters would be the tokens.

    >>> chosen("allowed_special", {"<a>"}, ["<a>", "<b>"]), len(chosen("allowed_special", "all", ["<a>", "<b>"]))
    ({'<a>'}, 2)
    """
    if isinstance(given, str) and given not in ("all", ""):
        raise ArgumentError(f'{option} is "all", or a set of texts', got=repr(given), fix=f"{option}={{{given!r}}}")
    return set(every if given == "all" else given)


@functools.lru_cache(maxsize=64)
def any_of(texts: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds any of the texts, the longest first, in one group."""
    ordered: Sequence[str] = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")")
