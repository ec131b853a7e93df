"""The server: uvicorn with patience for no one, on loopback unless told otherwise.

uvicorn bounds neither the time nor the size of a request's head, so a client that sends one byte a minute would hold a
connection for ever, and one that never ends its head would fill the memory. ``Connection`` bounds both.

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
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foreword._files import explained
from foreword.errors import ForewordError
from foreword.explorer.app import create_app
from foreword.explorer.settings import Limits, Settings

__all__ = ["address", "bind", "connection_class", "make_server", "serve"]


def connection_class(limits: Limits) -> type[HttpToolsProtocol]:
    """A uvicorn connection that hangs up on a head that is too slow or too long."""

    class Connection(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._between_requests():
                self._head_bytes += len(data)
                if self._head_bytes > limits.head_bytes:
                    self.transport.close()
                elif self._timer is None:
                    self._watch()
            else:
                self._head_bytes = 0
                self._unwatch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _watch(self) -> None:
            self._timer = self.loop.call_later(limits.head_seconds, self._hang_up)

        def _unwatch(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _hang_up(self) -> None:
            self._timer = None
            if self._between_requests() and self.transport is not None:
                self.transport.close()

    return Connection


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any that is free.

    Raises:
        FileError: the address can't be had (another program has the port, there is no such address).
    """
    with explained("listen", f"{host}:{port}", fix="choose another port: --port 0 takes any that is free"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
        limit_concurrency=settings.limits.connections,
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
        from foreword.vectors import kernels

        kernels.load()  # a server answers often enough for compiled search to pay
