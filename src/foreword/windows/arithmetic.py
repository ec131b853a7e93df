"""Which tokens a window holds: pure arithmetic, no data.

Window i of context length T and stride S has the inputs tokens[i·S : i·S + T] and the targets, shifted by one,
tokens[i·S + 1 : i·S + T + 1]. So it needs T + 1 tokens, and nothing has to be materialised:

    tokens    a b c d e f g h i      T = 4, S = 2
    window 0  a b c d → b c d e
    window 1      c d e f → d e f g
    window 2          e f g h → f g h i
"""

from __future__ import annotations

import dataclasses

from foreword.errors import ArgumentError

__all__ = ["TokenAccount", "account", "count_windows", "positive"]


def count_windows(tokens: int, context_length: int, stride: int) -> int:
    """How many whole windows ``tokens`` tokens give.

    >>> count_windows(9, 4, 2), count_windows(5145, 4, 4), count_windows(4, 4, 1)
    (3, 1286, 0)
    """
    return max(0, (tokens - context_length - 1) // stride + 1)


@dataclasses.dataclass(frozen=True)
class TokenAccount:
    """What becomes of every stored token, over the inputs of one epoch.

    windows × context_length = distinct + repeated + padded, and stored = distinct + dropped.

    Attributes:
        windows, context_length, stride: the cut.
        stored: tokens in the source.
        distinct: stored tokens that stand in at least one window's inputs.
        repeated: how often a token stands in inputs beyond its first time.
        padded: places in inputs that hold no stored token.
        dropped: stored tokens in no window's inputs (a tail, gaps, the last target).
    """

    windows: int
    context_length: int
    stride: int
    stored: int
    distinct: int
    repeated: int
    padded: int
    dropped: int

    def __post_init__(self) -> None:
        assert self.windows * self.context_length == self.distinct + self.repeated + self.padded
        assert self.stored == self.distinct + self.dropped


def account(tokens: int, context_length: int, stride: int) -> TokenAccount:
    """The token account of whole windows over one stream.

    >>> account(9, 4, 2)
    TokenAccount(windows=3, context_length=4, stride=2, stored=9, distinct=8, repeated=4, padded=0, dropped=1)
    """
    windows = count_windows(tokens, context_length, stride)
    # Each window but the last brings min(S, T) tokens that the next one does not repeat.
    distinct = (windows - 1) * min(stride, context_length) + context_length if windows else 0
    return TokenAccount(
        windows=windows,
        context_length=context_length,
        stride=stride,
        stored=tokens,
        distinct=distinct,
        repeated=windows * context_length - distinct,
        padded=0,
        dropped=tokens - distinct,
    )


def positive(name: str, value: int) -> int:
    """``value`` if it is an integer of at least 1.

    Raises:
        ArgumentError: it is below 1.
        TypeError: it is no integer.
    """
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ArgumentError(f"{name} must be at least 1", got=value)
    return int(value)
