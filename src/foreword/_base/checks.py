"""The one rule of what an argument that is an integer, or any number, may be.

Any type of integers (``int``, numpy's, a tensor of one integer) that is not a bool; never a float, not even 2.0. Where
any number will do, it must be finite.

Not for: arrays. Costs: nothing.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from foreword.errors import ArgumentError, ArgumentTypeError

__all__ = ["integer", "number"]


def integer(name: str, value: Any, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """``value`` as an ``int``.

    Args:
        name: of the argument, for the error.
        value: what was given.
        at_least: the smallest that will do.
        at_most: the largest that will do.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is too small or too large.

    >>> import numpy as np
    >>> integer("topn", np.uint8(10), at_least=1)
    10
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        raise ArgumentTypeError(f"{name} must be an integer", got=f"{value!r} ({type(value).__name__})")
    if at_least is not None and number < at_least:
        raise ArgumentError(f"{name} must be at least {at_least:,}", got=f"{number:,}")
    if at_most is not None and number > at_most:
        raise ArgumentError(f"{name} must be at most {at_most:,}", got=f"{number:,}")
    return number


def number(name: str, value: Any, *, at_least: float, at_most: float) -> float:
    """``value`` as a ``float``.

    Args:
        name: of the argument, for the error.
        value: what was given.
        at_least: the smallest that will do.
        at_most: the largest that will do.

    Raises:
        ArgumentTypeError: it is no number.
        ArgumentError: it is not finite, or out of range.
    """
    try:
        found = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if math.isnan(found) and not isinstance(value, float):
        raise ArgumentTypeError(f"{name} must be a number", got=f"{value!r} ({type(value).__name__})")
    if not math.isfinite(found) or not at_least <= found <= at_most:
        raise ArgumentError(f"{name} is out of range", got=repr(value), expected=f"{at_least:g} to {at_most:g}")
    return found
