"""What every request must pass before the application sees it, and what every answer carries.

- Its Host must be a name that we go by, or a page elsewhere could reach us through a name of its own that it points at
  this machine (DNS rebinding).
- Its Origin, where it has one, must be the very host that it asks, or any page in the same browser could ask.
- Where a token is set, it must carry the token, as ``Authorization: Bearer``, or as the cookie that a first visit
  with ``?token=`` leaves.
- Its body must not be larger, nor slower, than the limits say.

Answers forbid inline scripts, eval, foreign requests and framing.

Not for: slow heads and idle connections, which are the server's (``server.Connection``). Costs: microseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreword.explorer.problems import problem
from foreword.explorer.settings import Settings

__all__ = ["COOKIE", "POLICY", "Guard", "host_name"]

COOKIE = "foreword_token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Around the whole application, plain ASGI, so that nothing is parsed before it has looked."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._limits = settings.limits

    async def __call__(  # noqa: D102
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out[name] = value
                if "cache-control" not in out:
                    out["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refused(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                await self._app(scope, self._bounded(receive), send_guarded)
        except TimeoutError:
            if started:  # the client reads too slowly: there is no way to tell it but to hang up
                raise
            answer = problem(503, "the answer took too long", expected=f"{self._limits.request_seconds:g} seconds")
            await answer(scope, receive, send_guarded)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass; None to let it."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._settings.hosts:
            return problem(
                421,
                "the Host header is not one of this server's names",
                got=", ".join(hosts)[:100] or "none",
                fix="open the address that the server printed, or start it with --allow-host NAME",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != hosts[0]:
            return problem(403, "the request comes from another origin", got=origin[:100], expected=hosts[0])
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return problem(403, "the request comes from another origin", got="Sec-Fetch-Site: cross-site")
        length = headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            return problem(400, "Content-Length is not a number")
        if length is not None and int(length[:20]) > self._limits.body_bytes:
            return problem(413, "the body is too large", expected=f"at most {self._limits.body_bytes:,} bytes")
        return self._unauthorised(scope, headers) if self._settings.token else None

    def _unauthorised(self, scope: Scope, headers: Headers) -> Response | None:
        token = self._settings.token or ""
        given = headers.get("authorization", "")
        if given[:7].lower() == "bearer " and _same(given[7:], token):
            return None
        if _same(_cookie(headers.getlist("cookie")), _cookie_value(token)):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and any(name == "token" and _same(value, token) for name, value in query):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # Two slashes at the start would name another host.
            answer = RedirectResponse("/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, _cookie_value(token), httponly=True, samesite="strict")
            return answer
        return problem(
            401, "the token is missing or wrong", fix="open the address with ?token= that the server printed"
        )

    def _bounded(self, receive: Receive) -> Receive:
        """``receive`` that counts the body's bytes and seconds."""
        size = 0
        deadline: float | None = None
        complete = False

        async def bounded() -> Message:
            nonlocal size, deadline, complete
            if complete:  # what comes now is the disconnect, whenever it likes
                return await receive()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self._limits.body_seconds if deadline is None else deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body took too long") from None
            size += len(message.get("body", b""))
            if size > self._limits.body_bytes:
                raise HTTPException(413, "the body is too large")
            complete = not message.get("more_body", False)
            return message

        return bounded


def host_name(host: str) -> str:
    """The name in a Host header, without its port, in lower case; empty where it is no such header.

    >>> host_name("Localhost:8765"), host_name("[::1]:8765"), host_name("::1"), host_name("a:b")
    ('localhost', '::1', '', '')
    """
    name, bracket, rest = (
        host.lower().removeprefix("[").partition("]") if host.startswith("[") else (host.lower(), "", "")
    )
    if not bracket:
        name, colon, port = name.partition(":")
        rest = colon + port
    if rest and not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit()):
        return ""
    return name.rstrip(".")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _cookie_value(token: str) -> str:
    """What stands for the token in a cookie: whoever reads the browser's jar must not learn the token itself."""
    return hashlib.sha256(f"foreword explorer {token}".encode()).hexdigest()


def _cookie(headers: Iterable[str]) -> str:
    for header in headers:
        try:
            cookie = SimpleCookie(header)
        except CookieError:
            continue
        if COOKIE in cookie:
            return cookie[COOKIE].value
    return ""
