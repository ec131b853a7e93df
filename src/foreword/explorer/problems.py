"""Errors as problem details (RFC 9457): ``application/problem+json``, the same four facts that a ``ForewordError`` has.

Not for: raising them. Costs: nothing until something goes wrong; nearest spellings are computed here, in a thread.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from foreword import errors

__all__ = [
    "PROBLEMS",
    "Problem",
    "as_page",
    "on_foreword_error",
    "on_http_error",
    "on_invalid",
    "on_unexpected",
    "problem",
    "wants_page",
]


class Problem(BaseModel):
    """What went wrong, as RFC 9457 says; the facts of Foreword's own errors stand beside it."""

    type: str = Field(description="the kind of problem", examples=["urn:foreword:error:UnknownNameError"])
    title: str = Field(description="what went wrong, in a line")
    status: int = Field(description="the HTTP status, once more", examples=[404])
    detail: str | None = Field(None, description="what is wrong with the request's form")
    got: str | None = Field(None, description="what was given")
    expected: str | None = Field(None, description="what would have done")
    where: str | None = Field(None, description="the member, parameter, file or place that it is about")
    fix: str | None = Field(None, description="what to do")


_MOST = 1_000  # characters of a fact that are sent


_DESCRIPTIONS = {
    401: "the token is missing or wrong",
    403: "the request comes from another origin",
    404: "there is no such thing",
    405: "the path has another method",
    408: "the body took too long",
    413: "the body is too large",
    421: "the Host header is not one of this server's names",
    422: "the request can't be used",
    503: "the server is busy, or the answer took too long",
}
# What every operation of the API may answer beside its result.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, description in {400: "the request is malformed", **_DESCRIPTIONS}.items()
}

_STATUS: dict[type[errors.ForewordError], int] = {
    errors.UnknownKeyError: 404,
    errors.UnknownNameError: 404,
    errors.MissingFileError: 404,
    errors.FileError: 503,
    errors.MissingPackageError: 503,
}


def problem(status: int, title: str, *, kind: str = "about:blank", **facts: object) -> Response:
    """A problem as a response; facts that are None are left out, long ones are cut short."""
    problem_json: dict[str, Any] = {"type": kind, "title": _short(title), "status": status}
    problem_json |= {name: _short(str(value)) for name, value in facts.items() if value is not None}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    body = json.dumps(problem_json, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, headers, "application/problem+json")


def wants_page(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a person's browser asks, for an address that it shows; not a program, and not a script of the page."""
    return method == "GET" and not path.startswith("/api/") and "text/html" in headers.get("accept", "")


def as_page(refusal: Response) -> Response:
    """A problem as a page: what is wrong, what to do, and where the views are."""
    facts = json.loads(bytes(refusal.body))
    title = html.escape(f"{facts['status']}: {facts['title']}")
    lines = [facts[name] for name in ("detail", "expected", "where", "fix") if name in facts]
    text = "".join(f"<p>{html.escape(line)}</p>\n" for line in lines)
    body = _PAGE.format(title=title, text=text).encode("utf-8", "replace")
    kept = {name: value for name, value in refusal.headers.items() if not name.startswith("content-")}
    return Response(body, refusal.status_code, kept, "text/html")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} · Foreword</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
<script src="/static/theme.js"></script>
</head>
<body>
<div class="page">
<header class="masthead"><a class="name" href="/">Foreword</a></header>
<main>
<h1 class="lede">{title}</h1>
{text}<p>The views are <a href="/">Flow</a>, <a href="/words">Words</a> and <a href="/store">Store</a>.</p>
</main>
</div>
</body>
</html>
"""


def _short(text: str) -> str:
    return text if len(text) <= _MOST else text[:_MOST] + " …"


def on_foreword_error(_: Request, error: Exception) -> Response:
    """An error of ours: what the client asked for can't be done.

    No coroutine, so that it runs in a thread: to find the nearest spellings may take a quarter of a second.
    """
    assert isinstance(error, errors.ForewordError)
    kind = next((cls for cls in type(error).__mro__ if cls in _STATUS), None)
    facts = {name: error.fact(name) for name in ("got", "expected", "where", "fix")}
    return problem(
        _STATUS[kind] if kind else 422, error.problem, kind=f"urn:foreword:error:{type(error).__name__}", **facts
    )


async def on_invalid(_: Request, error: Exception) -> Response:
    """A request that doesn't fit the schema: the first fault is told."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return problem(
        422,
        "the request can't be used",
        kind="urn:foreword:error:invalid-request",
        detail=first["msg"],
        where="/".join(str(part) for part in first["loc"]),
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """An error of the framework: no such path, another method. A page, where there are pages and a browser asks."""
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    answer = problem(error.status_code, "there is no such address" if missing else str(error.detail))
    if request.app.state.settings.page and wants_page(request.method, request.url.path, request.headers):
        answer = as_page(answer)
    answer.headers.update(error.headers or {})
    return answer


async def on_unexpected(_: Request, __: Exception) -> Response:
    """A fault of ours; uvicorn logs its traceback, the client learns nothing of it."""
    return problem(500, "an unexpected error; the server's log tells more")
