"""Compiling a function with numba for a known signature, cached where a folder takes the cache.

Not for: deciding whether compiling pays. Costs: importing numba, 0.3 s; compiling, a second the first time on a
machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from foreword._base.machine_code import compiling

__all__ = ["compiled"]


def compiled(signature: Any, function: Callable[..., Any], *, fastmath: bool | set[str] = False) -> Callable[..., Any]:
    """``function`` compiled for ``signature``; it releases the interpreter's lock. ``fastmath`` as numba takes it.

    Raises:
        ImportError: numba is not there, can't compile here, or is unwanted (``FOREWORD_KERNELS=0``).
    """
    if os.environ.get("FOREWORD_KERNELS") == "0":
        raise ImportError("FOREWORD_KERNELS=0: no compiled kernels")
    import numba

    try:
        with compiling(), _without_extensions():
            try:
                return numba.njit([signature], nogil=True, fastmath=fastmath, cache=True)(function)  # type: ignore[no-any-return]
            except Exception:  # no folder takes the cache, or it is damaged
                return numba.njit([signature], nogil=True, fastmath=fastmath)(function)  # type: ignore[no-any-return]
    except numba.core.errors.NumbaError as cause:
        raise ImportError(f"numba can't compile here: {cause}") from cause


@contextlib.contextmanager
def _without_extensions() -> Iterator[None]:
    """Have numba not load what other packages teach it of their types: ours need none, and awkward's take 0.1 s.

    Whoever compiles something in this process later has them loaded then; a first compilation in another thread, in
    this very moment, does without.
    """
    from numba.core import entrypoints

    loaded = getattr(entrypoints, "_already_initialized", True)
    entrypoints._already_initialized = True
    try:
        yield
    finally:
        entrypoints._already_initialized = loaded
