"""Ctrl-C at every line: what a test does is run again and again, and interrupted one line later each time."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any


def at_each_line(
    modules: list[ModuleType], work: Callable[[], object], *, error: type[BaseException] = KeyboardInterrupt
) -> Iterator[int]:
    """Run ``work`` until it comes to its end, with ``error`` raised before the first, second, … line of ``modules``
    that this thread comes to; after each time that it was raised, its number, for the caller to look at what is left.

    Not at a line that begins a ``with``: it is come to again at its end, where Python itself lets nothing come between.
    """
    files = {str(module.__file__) for module in modules}
    for number in range(1, 100_000):
        if not _interrupted(files, work, number, error):
            return
        yield number


def _interrupted(files: set[str], work: Callable[[], object], number: int, error: type[BaseException]) -> bool:
    left, came = number, False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left, came
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and not linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip().startswith(
            "with "
        ):
            left -= 1
            if not left:
                came = True
                raise error  # which ends the tracing, too
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except error:
        if not came:
            raise
    finally:
        sys.settrace(before)
    return came
