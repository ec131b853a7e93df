"""The application: the API, the page, and what guards both.

    request ── Guard ──▶ /api/v1/…  one module of api/ a topic
                     └─▶ /, /words, /store, a script for each, and the files in static/

Not for: sockets (``server``). Costs: building it is about 50 ms, most of it FastAPI's import.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from collections.abc import Callable, Coroutine
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.types import ASGIApp

from foreword._base.version import __version__
from foreword.errors import ForewordError
from foreword.explorer import problems
from foreword.explorer.api import flow, stores, vectors
from foreword.explorer.bundle import bundle
from foreword.explorer.library import Library
from foreword.explorer.problems import Problem
from foreword.explorer.security import Guard
from foreword.explorer.settings import Settings

__all__ = ["create_app"]

VIEWS = {"/": "flow", "/words": "words", "/store": "store"}


class Explorer(FastAPI):
    """FastAPI inside its guard, and with the schema of a problem in its document."""

    def build_middleware_stack(self) -> ASGIApp:
        """All that FastAPI builds, its own handling of faults included, inside the guard."""
        return Guard(super().build_middleware_stack(), self.state.settings)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document. No operation returns a problem by its type, so its schema is added here."""
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        return document


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"] = Field(description="always the same")
    version: str = Field(description="Foreword's version", examples=["0.1.0"])


def create_app(settings: Settings | None = None) -> FastAPI:
    """The explorer as an ASGI application.

    >>> app = create_app(Settings(page=False))
    >>> "/api/v1/tokenize" in app.openapi()["paths"]
    True
    """
    settings = settings or Settings()
    app = Explorer(
        title="Foreword",
        version=__version__,
        summary="Everything before the first transformer block.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page loads scripts from a network
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.library = Library(settings)
    app.state.limits = settings.limits
    api = APIRouter(prefix="/api/v1", responses=problems.PROBLEMS)

    @api.get("/health", response_model=Health, tags=["server"], summary="Whether the server answers")
    async def health() -> Health:
        """That it does, and which version of Foreword it is."""
        return Health(status="ok", version=__version__)

    for topic in (flow, vectors, stores):
        api.include_router(topic.router)
    app.include_router(api)
    if settings.page:
        _serve_page(app)
    app.add_exception_handler(ForewordError, problems.on_foreword_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    app.add_exception_handler(Exception, problems.on_unexpected)
    return app


def _serve_page(app: FastAPI) -> None:
    folder = _static()
    for path, view in VIEWS.items():
        app.add_api_route(path, _page(folder / f"{view}.html"), include_in_schema=False)
        app.add_api_route(f"/{view}.js", _script(folder, view), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=folder), name="static")


def _page(file: Path) -> Callable[[], Coroutine[None, None, Response]]:
    async def page() -> Response:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return page


def _script(folder: Path, view: str) -> Callable[[Request], Coroutine[None, None, Response]]:
    """All modules of a view as one script, put together when it is first asked for."""

    @functools.cache
    def script() -> tuple[bytes, str]:
        text = bundle(f"{view}.js", lambda name: (folder / name).read_text(encoding="utf-8"), {}).encode()
        return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'

    async def answer(request: Request) -> Response:
        text, etag = script()
        headers = {"Cache-Control": "no-cache", "ETag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(text, media_type="text/javascript", headers=headers)

    return answer


def _static() -> Path:
    folder: Traversable = importlib.resources.files("foreword") / "explorer" / "static"
    return Path(str(folder))
