"""Work done ahead by a thread.

Costs: a thread while an iterator lives. Not for: processes.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["ahead"]

T_ = TypeVar("T_")
U_ = TypeVar("U_")


def ahead(function: Callable[[T_], U_], items: Iterator[T_], depth: int) -> Generator[U_, None, None]:
    """``map(function, items)``, computed ``depth`` items ahead by a thread; in this thread where depth is 0.

    A child forked meanwhile has no such thread: it starts one of its own, and computes anew what was waiting.
    """
    if not depth:
        yield from map(function, items)
        return
    waiting: deque[tuple[T_, Future[U_]]] = deque()
    pool, process, finalizing = _pool(), os.getpid(), sys.is_finalizing
    try:
        waiting.extend((item, pool.submit(function, item)) for item in islice(items, depth))
        while waiting:
            if os.getpid() != process:  # the parent's pool and futures may be locked for ever: they are left alone
                pool, process, finalizing = _pool(), os.getpid(), sys.is_finalizing
                waiting = deque([(item, pool.submit(function, item)) for item, _ in waiting])
            _, future = waiting.popleft()
            result = future.result()
            waiting.extend((item, pool.submit(function, item)) for item in islice(items, 1))
            yield result
    finally:
        # Nobody waits for the thread: an iterator that is garbage may be collected in it, or where it is waited for.
        if not finalizing() and os.getpid() == process:  # Python's end has joined the thread
            pool.shutdown(wait=False, cancel_futures=True)


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="foreword-prefetch")
