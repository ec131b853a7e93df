"""The server: uvicorn with patience for no one, on loopback unless told otherwise.

uvicorn bounds neither the time nor the size of a request's head, nor how many requests may wait in one connection, nor
how long a client may leave an answer unread; a few slow clients would fill its memory or its connections for ever.
``connection_class`` bounds them all.

Not for: what a request may do (``security``). Costs: one process, one event loop, threads for the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
import webbrowser
from http import HTTPStatus
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foreword._base.files import explained
from foreword._base.system import own_port
from foreword.errors import ForewordError
from foreword.explorer.app import create_app
from foreword.explorer.security import BUSY, HANG_UP, POLICY
from foreword.explorer.settings import Limits, Settings

__all__ = ["address", "bind", "connection_class", "make_server", "serve"]

_WAITING = 8  # requests of one connection that may wait for their answers
_LINGER_SECONDS, _LINGER_BYTES = 0.5, 1 << 20  # for what a client still sends that has been refused


def connection_class(limits: Limits) -> type[HttpToolsProtocol]:
    """A uvicorn connection that hangs up on a head that is too slow or too long, and on a client that reads nothing."""

    class Connection(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _close_timer: asyncio.TimerHandle | None = None
        _closing = _refused = False
        _headlike = 0  # bytes since the last that belonged to a body, or since a request began

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch_head()
            self._watch_close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch_head()
            if self._close_timer is not None:
                self._close_timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._headlike += len(data)
            if self._refused:
                if self._headlike > _LINGER_BYTES:
                    self.transport.abort()
                return
            super().data_received(data)
            if self._headlike > limits.head_bytes:  # of a head, of trailers, of what comes before any request
                self._refuse(431, "the request's head is too large")
            elif not self._between_requests():
                self._unwatch_head()
            elif self._head_timer is None:
                self._watch_head()

        def on_message_begin(self) -> None:
            self._headlike = 0
            super().on_message_begin()

        def on_body(self, body: bytes) -> None:
            self._headlike = 0
            super().on_body(body)

        def on_headers_complete(self) -> None:
            if len(self.pipeline) >= _WAITING:
                raise ValueError("too many requests wait in this connection")  # the parser stops, and so do we
            self.scope["state"].update(
                {BUSY: len(self.connections) > limits.connections, HANG_UP: self.transport.abort}
            )
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002
            self._refuse(400, "the request is not HTTP")

        def _refuse(self, status: int, title: str) -> None:
            """Answer what never came to the application, unless an answer is on its way; and hang up."""
            if self._between_requests() and not self.transport.is_closing():
                body = f'{{"type": "about:blank", "title": "{title}", "status": {status}}}'
                self.transport.write(
                    f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/problem+json\r\n"
                    f"Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
                )
                self._refused = True  # what is still on its way is read for a moment: who is cut off sees no answer
                self._headlike = 0
                self.loop.call_later(_LINGER_SECONDS, self.transport.close)
            else:
                self.transport.abort()

        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _watch_head(self) -> None:
            self._head_timer = self.loop.call_later(limits.head_seconds, self._end_slow_head)

        def _unwatch_head(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _end_slow_head(self) -> None:
            self._head_timer = None
            if self._between_requests():
                self.transport.close()

        def _watch_close(self) -> None:
            self._close_timer = self.loop.call_later(limits.head_seconds, self._end_slow_close)

        def _end_slow_close(self) -> None:
            """A transport that closes waits until all is read, for ever: one found so twice is ended."""
            if self._closing:
                self.transport.abort()
                return
            self._closing = self.transport.is_closing()
            self._watch_close()

    return Connection


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any that is free.

    Raises:
        FileError: there is no such address, or another program has the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = explained("listen", host, fix="name an address of this machine: 127.0.0.1, or 0.0.0.0 for every network")
    with address, socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
    with explained("listen", f"{host}:{port}", fix="choose another port: --port 0 takes any that is free"):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            own_port(listener)
            listener.bind((host, port))
            listener.listen(512)
        except BaseException:
            listener.close()
            raise
    return listener


def make_server(settings: Settings) -> uvicorn.Server:
    """A uvicorn server of the explorer, ready to ``run(sockets=[…])``."""
    config = uvicorn.Config(
        create_app(settings),
        http=connection_class(settings.limits),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.limits.head_seconds),
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


def address(listener: socket.socket, settings: Settings) -> str:
    """What to type into a browser, the token included."""
    host, port = listener.getsockname()[:2]
    name = {"127.0.0.1": "localhost", "::1": "localhost", "0.0.0.0": socket.gethostname()}.get(host, host)  # noqa: S104
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={quote(settings.token)}" if settings.token else "")


def serve(settings: Settings, listener: socket.socket, *, open_browser: bool) -> None:
    """Serve until interrupted."""
    server = make_server(settings)
    threading.Thread(target=_warm, args=(server,), daemon=True).start()
    if open_browser:
        threading.Thread(target=_open_when_started, args=(server, address(listener, settings)), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _open_when_started(server: uvicorn.Server, url: str) -> None:
    while not server.started:
        time.sleep(0.02)
    webbrowser.open(url)


def _warm(server: uvicorn.Server) -> None:
    """Open what the page asks for first, so that nobody waits for it."""
    library = server.config.app.state.library  # type: ignore[union-attr]
    with contextlib.suppress(ForewordError, ImportError):  # told to whom asks for it
        for name in library.tokenizers:
            library.tokenizer(name).encode("a")
        import foreword.embeddings  # noqa: F401

        for name in library.vectors:
            library.words(name).complete("a", 1)
        from foreword.vectors.search import kernels

        kernels.load()  # a server answers often enough for compiled search to pay
