"""What every request must pass before the application sees it, and what every answer carries.

- Its Host must be a name that we go by, or a page elsewhere could reach us through a name of its own that it points at
  this machine (DNS rebinding).
- Its Origin, where it has one, must be the very host that it asks, or any page in the same browser could ask.
- Where a token is set, it must carry the token, as ``Authorization: Bearer``, or as the cookie that a first visit
  with ``?token=`` leaves.
- Its body must not be larger, nor slower, than the limits say, and all that are held at once not larger than theirs.

Answers forbid inline scripts, eval, foreign requests and framing.

Not for: slow heads and idle connections, which are the server's (``server.connection_class``). Costs: microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreword._base.words import counted
from foreword.explorer.problems import as_page, problem, wants_page
from foreword.explorer.settings import Settings

__all__ = ["BUSY", "COOKIE", "HANG_UP", "POLICY", "Guard", "host_name"]

logger = logging.getLogger("uvicorn.error")  # the server's own, which it has set up

COOKIE = "foreword_token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# In a request's state, set by the server: whether there are too many connections, and how to end this one.
BUSY, HANG_UP = "foreword_busy", "foreword_hang_up"
_PIECE = 1 << 16
_DRAIN_SECONDS = 2
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _RefusedError(Exception):
    def __init__(self, answer: Response) -> None:
        self.answer = answer


class _GoneError(Exception):
    """The client hung up before its body had come."""


class Guard:
    """Around the whole application, plain ASGI, so that nothing is parsed before it has looked.

    The body is read first, then one of ``limits.working`` turns is taken, in which the application parses the body
    and writes its answer, and which is given back before the answer is sent: neither a slow body nor a slow reader
    keeps others waiting. Bodies and answers together hold no more than ``limits.held_bytes``.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._limits = settings.limits
        self._hosts = {host_name(f"[{name}]" if name.count(":") > 1 else name) for name in settings.hosts} - {""}
        self._turns = asyncio.Semaphore(settings.limits.working)
        self._held = 0  # bytes of bodies and answers

    async def __call__(  # noqa: D102
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                out = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    out[name] = value
                if scope["path"].startswith("/api/"):
                    out["Cache-Control"] = "no-store"
            await send(message)

        try:
            async with asyncio.timeout(self._limits.request_seconds):
                refusal = self._refused(scope, Headers(scope=scope))
                if refusal is None:
                    try:
                        await self._serve(scope, receive, send_guarded)
                    except _RefusedError as refused:
                        refusal = refused.answer
                if refusal is not None:
                    asked_by_hand = wants_page(scope["method"], scope["path"], Headers(scope=scope))
                    if self._settings.page and asked_by_hand and refusal.status_code >= 400:
                        refusal = as_page(refusal)
                    await _refuse(refusal, scope, receive, send_guarded)
        except _GoneError:
            return
        except TimeoutError:
            if started:  # the client reads too slowly: there is no way to tell it but to hang up
                if (hang_up := scope.get("state", {}).get(HANG_UP)) is None:
                    raise
                hang_up()
                await receive()  # that it is gone
                return
            answer = problem(503, "the answer took too long", expected=f"{self._limits.request_seconds:g} seconds")
            async with asyncio.timeout(self._limits.head_seconds):
                await answer(scope, receive, send_guarded)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._holding() as hold:
            body = await self._read(receive, hold)
            messages = await self._work(scope, body, receive)
            start, answer = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
            messages.clear()
            hold(len(answer))
            await send(start)
            for at in range(0, max(1, len(answer)), _PIECE):  # each waits until the client has taken those before
                more = at + _PIECE < len(answer)
                await send({"type": "http.response.body", "body": answer[at : at + _PIECE], "more_body": more})

    async def _read(self, receive: Receive, hold: Callable[[int], None]) -> list[bytes]:
        """The body, in pieces.

        Raises:
            _RefusedError: it is too large or too slow, or there is no room for it.
            _GoneError: the client is.
        """
        body: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    piece = message.get("body", b"")
                    hold(len(piece))
                    size += len(piece)
                    if size > self._limits.body_bytes:
                        raise _RefusedError(problem(413, "the body is too large"))
                    body.append(piece)
                    if not message.get("more_body", False):
                        return body
        except TimeoutError:
            raise _RefusedError(problem(408, "the body took too long")) from None

    async def _work(self, scope: Scope, body: list[bytes], receive: Receive) -> list[Message]:
        """``_answer`` in its turn, which lasts as long as the work does, even where nobody waits for it any more.

        The pieces of the body are joined when the turn comes, and given up.
        """
        await self._turns.acquire()
        work = asyncio.create_task(self._answer(scope, b"".join(body), receive))
        body.clear()
        work.add_done_callback(lambda _: self._turns.release())
        return await asyncio.shield(work)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive) -> list[Message]:
        """The application's whole answer. A fault of ours that it answered stands in the log, whoever waits for it."""
        messages: list[Message] = []
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:  # what comes now is the disconnect, whenever it likes
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def collect(message: Message) -> None:
            messages.append(message)

        try:
            await self._app(scope, replay, collect)
        except Exception:
            if not messages:
                raise
            logger.exception("an unexpected error, answered %s", messages[0]["status"])
        return messages

    @contextlib.contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """A function that counts bytes as held, until the end of the block.

        Raises:
            _RefusedError: from the function, where there is no room for them.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if size and self._held + size > self._limits.held_bytes:
                raise _RefusedError(problem(503, "the server is busy", fix="ask again in a moment"))
            held += size
            self._held += size

        try:
            yield hold
        finally:
            self._held -= held

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass; None to let it."""
        if scope.get("state", {}).get(BUSY):
            return problem(503, "the server has too many connections", fix="ask again in a moment")
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._hosts:
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
            return problem(413, "the body is too large", expected=f"at most {counted(self._limits.body_bytes, 'byte')}")
        return self._unauthorised(scope, headers) if self._settings.token else None

    def _unauthorised(self, scope: Scope, headers: Headers) -> Response | None:
        token = self._settings.token or ""
        given = headers.get("authorization", "")
        if given[:7].lower() == "bearer " and _same(given[7:], token):
            return None
        name = _cookie_name(scope)
        if any(_same(value, _cookie_value(token)) for value in _cookies(headers.getlist("cookie"), name)):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and any(key == "token" and _same(value, token) for key, value in query):
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            # Two slashes at the start would name another host.
            answer = RedirectResponse("/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(name, _cookie_value(token), httponly=True, samesite="lax")  # a link may lead here
            return answer
        return problem(
            401, "the token is missing or wrong", fix="open the address with ?token= that the server printed"
        )


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


def _cookie_name(scope: Scope) -> str:
    """A name for each port, as browsers keep cookies for a host whatever its port."""
    return f"{COOKIE}_{(scope.get('server') or ('', 0))[1]}"


def _cookies(headers: Iterable[str], name: str) -> Iterator[str]:
    """The values of a cookie; those of others may look as they like."""
    for header in headers:
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name:
                yield value.strip()


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal and hang up. What there is of a body is read for a moment: who is cut off sees no answer."""
    answer.headers["Connection"] = "close"

    async def begin(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await answer(scope, receive, begin)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
