"""Ctrl-C at every line: what a test does is run again and again, and interrupted one line later each time; or ended."""

from __future__ import annotations

import itertools
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any


def at_each_line(
    modules: list[ModuleType], work: Callable[[], object], *, start: int = 1, step: int = 1
) -> Iterator[int]:
    """Run ``work`` until it comes to its end, with KeyboardInterrupt raised before the first, second, … line of
    ``modules`` that this thread comes to; after each time that it was raised, its number, for the caller to look at
    what is left. Or from the ``start``-th line on, at one in ``step``.

    Not at a line that begins a ``with``, which is come to again at its end, or a ``try``: there Python itself lets no
    signal come between.
    """
    files = {str(module.__file__) for module in modules}
    for number in itertools.count(start, step):
        if not _interrupted(files, work, number):
            return
        yield number


def killed_at_line(modules: list[ModuleType], work: Callable[[], object], number: int) -> bool:
    """Whether a forked child that does ``work`` was killed before its ``number``-th line of ``modules``."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        _interrupted({str(module.__file__) for module in modules}, work, number, lambda: os.kill(os.getpid(), 9))
    finally:
        os._exit(0)


def _ctrl_c() -> None:
    raise KeyboardInterrupt


def _interrupted(
    files: set[str], work: Callable[[], object], number: int, happens: Callable[[], object] = _ctrl_c
) -> bool:
    left, came = number, False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left, came
        if frame.f_code.co_filename not in files:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not line.startswith(("with ", "try:")):
            left -= 1
            if not left:
                came = True
                happens()  # KeyboardInterrupt ends the tracing, too
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        if not came:
            raise
    finally:
        sys.settrace(before)
    return came
