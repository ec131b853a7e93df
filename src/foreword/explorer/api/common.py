"""What operations share: the library and limits of the application, arrays as JSON.

Not for: anything that one topic alone needs. Costs: nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Depends, Query, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from pydantic_core import PydanticCustomError

from foreword.errors import ArgumentError, ForewordError
from foreword.explorer.library import Library
from foreword.explorer.settings import Limits

__all__ = [
    "Array",
    "Body",
    "Encoding",
    "EncodingQuery",
    "First",
    "Id",
    "InLibrary",
    "Listed",
    "Place",
    "Text",
    "WithinLimits",
    "answer",
    "array",
    "check_size",
    "listed",
]

First = FailFast()  # of a list: its first fault is told, and no others are looked for
Id = Annotated[int, Field(ge=0, lt=1 << 32)]
Place = Annotated[int, Field(ge=0, lt=1 << 53)]  # what JavaScript can count


class Body(BaseModel):
    """A request's body: a member that isn't known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        """Only the first unknown member is told: pydantic would make an error of each."""
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                shown = name[:100].encode(errors="replace").decode()  # pydantic's text holds no lone surrogates
                raise PydanticCustomError("extra_forbidden", "no such member: {name}", {"name": shown})
        return given


class Listed(BaseModel):
    """What may be named; where it can't be opened, why."""

    name: str = Field(description="what requests call it by")
    source: str = Field(description="the same as it was given at start, for the library's own function")
    problem: str | None = Field(None, description="why it can't be opened; nothing but this and the names is told then")


class Array(BaseModel):
    """An array: nested lists, or little-endian bytes in base64."""

    shape: list[int] = Field(description="elements along each axis", examples=[[2, 4, 256]])
    dtype: Literal["float32"] = Field(description="of each element")
    values: list[Any] | None = Field(None, description="nested lists, with encoding=json")
    base64: str | None = Field(None, description="little-endian bytes, the last axis fastest, with encoding=base64")


Encoding = Literal["json", "base64"]
Text = Annotated[str, Field(description="any text", examples=["Every effort moves you"])]


async def _library(request: Request) -> Library:
    library: Library = request.app.state.library
    return library


async def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.limits
    return limits


InLibrary = Annotated[Library, Depends(_library)]
WithinLimits = Annotated[Limits, Depends(_limits)]
EncodingQuery = Annotated[Encoding, Query(description="how arrays are written: nested lists, or base64 of their bytes")]


def array(values: NDArray[np.floating[Any]], encoding: Encoding) -> dict[str, Any]:
    """An array as ``Array`` describes it; as JSON, rounded to six decimals."""
    layout: dict[str, Any] = {"shape": list(values.shape), "dtype": "float32"}
    if encoding == "base64":
        return layout | {"base64": base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()}
    return layout | {"values": np.round(values.astype(np.float64), 6).tolist()}


def answer(content: object) -> Response:
    """JSON as it is, past the framework's checks: the operation's own types are tested against its schema."""
    return Response(
        json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace"),
        media_type="application/json",
    )


def listed(sources: Iterable[tuple[str, str]], tell: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """What ``tell`` tells of each name, with its source; why it can't be opened, where that is so."""
    every = []
    for name, source in sources:
        try:
            facts = tell(name)
        except ForewordError as error:
            facts = {"problem": error.problem}
        every.append({"name": name, "source": source} | facts)
    return every


def check_size(what: str, size: int, limit: int) -> None:
    """Refuse what is over a limit.

    Raises:
        ArgumentError: it is.
    """
    if size > limit:
        raise ArgumentError(f"{what}: too much for one request", got=f"{size:,}", expected=f"at most {limit:,}")
