"""Ranges of bytes over HTTP, received straight into the memory where they belong.

Connections are kept for the next request. The body of an answer goes from the socket into the caller's memory (aiohttp
gathers it from pieces, which are copied twice, in a thread that all requests share).

Not for: whole objects, redirects, other protocols (``remote`` has them from fsspec). Costs: importing ``http.client``.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import functools
import http.client
import os
import ssl
from collections.abc import Iterator
from typing import Any

__all__ = ["answer", "receive"]

_SERVERS = 4  # to which connections are kept
_IDLE = 32  # connections to each
_kept: dict[tuple[Any, ...], collections.deque[http.client.HTTPConnection]] = {}


@contextlib.contextmanager
def answer(url: Any, start: int, stop: int, seconds: float) -> Iterator[http.client.HTTPResponse]:
    """What a server answers to a request for the bytes of an object from ``start`` to ``stop``.

    Args:
        url: of the object, a ``yarl.URL``.
        start, stop: in bytes.
        seconds: that the server may be silent.

    Raises:
        OSError, http.client.HTTPException: the server does not answer.
    """
    idle = _idle(url)
    connection = _connection(idle, url, seconds)
    headers = {"Range": f"bytes={start}-{stop - 1}", "User-Agent": "foreword", "Accept-Encoding": "identity"}
    kept = connection.sock is not None
    try:
        found = _ask(connection, url.raw_path_qs, headers)
    except ConnectionError:
        if not kept:
            raise
        found = _ask(connection, url.raw_path_qs, headers)  # the server had closed it, as servers do
    try:
        yield found
    finally:
        if not found.isclosed():  # something of the body is left
            found.close()
            connection.close()
        elif len(idle) < _IDLE:
            idle.append(connection)
        else:
            connection.close()


def _ask(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse()
    except BaseException:
        connection.close()
        raise


def receive(found: http.client.HTTPResponse, memory: memoryview) -> int:
    """Put the body of an answer into ``memory``; how many bytes, fewer where it ends before.

    Raises:
        OSError, http.client.HTTPException: it breaks off.
    """
    size = 0
    while size < len(memory):
        count = found.readinto(memory[size:])
        if not count:
            if found.length:
                raise http.client.IncompleteRead(b"", found.length)
            break
        size += count
    return size


def _idle(url: Any) -> collections.deque[http.client.HTTPConnection]:
    """The connections to a server that nobody uses; a forked child has its own."""
    server = (os.getpid(), url.scheme, url.raw_host, url.port)
    idle = _kept.get(server)
    if idle is None:
        for other in list(_kept)[: 1 - _SERVERS]:
            _close(_kept.pop(other, collections.deque()))
        idle = _kept.setdefault(server, collections.deque())
    return idle


def _connection(
    idle: collections.deque[http.client.HTTPConnection], url: Any, seconds: float
) -> http.client.HTTPConnection:
    with contextlib.suppress(IndexError):
        return idle.pop()
    if url.scheme == "https":
        return http.client.HTTPSConnection(url.raw_host, url.port, timeout=seconds, context=_encryption())
    return http.client.HTTPConnection(url.raw_host, url.port, timeout=seconds)


@atexit.register
def _close_all() -> None:
    for idle in list(_kept.values()):
        _close(idle)


def _close(idle: collections.deque[http.client.HTTPConnection]) -> None:
    """Close connections that nobody uses; each is taken first, as another thread may be about to use it."""
    with contextlib.suppress(IndexError):
        while True:
            idle.pop().close()


@functools.cache
def _encryption() -> ssl.SSLContext:
    return ssl.create_default_context()
