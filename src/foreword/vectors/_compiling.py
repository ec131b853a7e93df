"""Compiling a function with numba for a known signature, cached where a folder takes the cache.

Not for: deciding whether compiling pays. Costs: importing numba, 0.3 s; compiling, a second the first time on a
machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["compiled"]


def compiled(signature: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` compiled for ``signature``; it releases the interpreter's lock.

    Raises:
        ImportError: numba is not there, can't compile here, or is unwanted (``FOREWORD_KERNELS=0``).
    """
    if os.environ.get("FOREWORD_KERNELS") == "0":
        raise ImportError("FOREWORD_KERNELS=0: no compiled kernels")
    import numba

    try:
        try:
            return numba.njit([signature], nogil=True, cache=True)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder takes the cache
            return numba.njit([signature], nogil=True)(function)  # type: ignore[no-any-return]
    except numba.core.errors.NumbaError as cause:
        raise ImportError(f"numba can't compile here: {cause}") from cause
