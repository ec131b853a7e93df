"""The threads that searches share: one small pool a process, made when first needed.

The calling thread takes parts of the work itself, and parts never wait for other parts, so any number of threads may
call at once. A forked child makes its own pool.

Not for: work that holds the interpreter's lock. Costs: 10–50 µs to hand work over.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from foreword._base import system

__all__ = ["count", "run", "serial_blas", "shares", "split"]

T = TypeVar("T")
P = TypeVar("P")

_guard = threading.Lock()
_waiting: queue.SimpleQueue[Callable[[], None]] | None = None


def count() -> int:
    """How many threads work uses: ``FOREWORD_THREADS``, else the processors this process may run on."""
    wish = os.environ.get("FOREWORD_THREADS", "")
    if wish.isdecimal() and int(wish) > 0:
        return int(wish)
    return system.processors()


def split(start: int, stop: int, *, pieces: int | None = None) -> list[tuple[int, int]]:
    """start…stop in equal contiguous pieces, one a thread; none is empty unless all is.

    >>> split(0, 10, pieces=3)
    [(0, 3), (3, 6), (6, 10)]
    """
    pieces = max(1, min(pieces or count(), stop - start))
    edges = [start + (stop - start) * i // pieces for i in range(pieces + 1)]
    return list(itertools.pairwise(edges))


def shares(start: int, stop: int) -> list[tuple[int, int]]:
    """start…stop in ever smaller pieces, four a thread: a thread that is held up leaves the small ones to the others.

    For one thread, 800 rows are taken as 400, 200, 100 and 100.
    """
    parts: list[tuple[int, int]] = []
    for _ in range(3):
        middle = start + (stop - start) // 2
        parts += split(start, middle)
        start = middle
    return parts + split(start, stop)


def run(work: Callable[[Iterator[P]], T], parts: Sequence[P]) -> list[T]:
    """Have threads share the parts; what ``work`` made of those that fell to each, in no order.

    ``work`` is called at most once a thread, with an iterator that gives it the next part that nobody has taken, at
    least one; what it keeps from one part helps it with the next. The calling thread waits for no thread that has not
    begun by the time that nothing is left. When one fails, no more parts are taken, and nobody is at work any more when
    its exception is raised here.
    """
    left = collections.deque(parts)
    started: list[threading.Lock] = []
    results: list[T] = []
    failures: list[BaseException] = []

    def rest() -> Iterator[P]:
        with contextlib.suppress(IndexError):
            while True:
                yield left.popleft()

    def take() -> None:
        mine = rest()
        results.extend([work(itertools.chain((first,), mine)) for first in mine])

    def help_out() -> None:
        done = threading.Lock()
        with done:
            started.append(done)  # before a part is taken: whoever finds none left knows of all that have started
            try:
                take()
            except BaseException as failure:
                failures.append(failure)
                left.clear()

    try:
        for _ in range(min(count(), len(parts)) - 1):
            _helpers().put(help_out)
        take()
    except BaseException:
        left.clear()  # who has not begun finds none left, and does not begin after the failure has been seen
        raise
    finally:
        for done in started:
            done.acquire()
    if failures:
        raise failures[0]
    return results


_serial_users = 0
_serial_limits: Any = None


@contextlib.contextmanager
def serial_blas() -> Iterator[None]:
    """Have BLAS use no threads of its own inside the block, where ours call it: they would wait for one another.

    It holds for the whole process until the last block ends. Without threadpoolctl nothing changes.
    """
    global _serial_users, _serial_limits
    with _guard:
        if _serial_users == 0:
            try:
                from threadpoolctl import threadpool_limits
            except ImportError:
                threadpool_limits = None
            _serial_limits = threadpool_limits and threadpool_limits(1, user_api="blas")
        _serial_users += 1
    try:
        yield
    finally:
        with _guard:
            _serial_users -= 1
            if _serial_users == 0 and _serial_limits is not None:
                _serial_limits.restore_original_limits()
                _serial_limits = None


def _helpers() -> queue.SimpleQueue[Callable[[], None]]:
    """Where the pool's threads wait for work; they are started when this is first asked for."""
    global _waiting
    with _guard:
        if _waiting is None:
            _waiting = queue.SimpleQueue()
            for i in range(max(1, count() - 1)):
                threading.Thread(target=_serve, args=(_waiting,), name=f"foreword-search-{i}", daemon=True).start()
        return _waiting


def _serve(waiting: queue.SimpleQueue[Callable[[], None]]) -> None:
    while True:
        waiting.get()()


def _forget() -> None:
    global _waiting, _guard, _serial_users, _serial_limits
    _waiting, _guard = None, threading.Lock()
    if _serial_limits is not None:
        _serial_limits.restore_original_limits()
    _serial_users, _serial_limits = 0, None


system.after_fork(_forget)
