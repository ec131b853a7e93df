"""Token stores: list, account, documents, browse, find.

Costs: reading a place costs what it reads. A search goes through the tokens a slice at a time, and stops after about
SEARCH_SECONDS with the place to go on from.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from bisect import bisect_right
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from foreword._base.histogram import length_histogram
from foreword.errors import ArgumentError
from foreword.explorer.api.common import (
    Body,
    First,
    Id,
    InLibrary,
    Listed,
    Place,
    WithinLimits,
    answer,
    check_size,
    listed,
)
from foreword.explorer.library import ServedStore

__all__ = ["router"]

router = APIRouter(prefix="/stores", tags=["stores"])

SEARCH_SECONDS = 1.0
_SEARCH_TOKENS = 1 << 18  # of a slice; between two of them the time is looked at
_MOST_DOCUMENTS = 5_000_000  # documents that a histogram reads the lengths of
_FIRST_CHARACTERS = 120
_HISTOGRAM = threading.Lock()  # its lengths take up to 200 MB

StoreName = Annotated[
    str,
    Query(max_length=1_000, description="the name of a store, as the list gives it", examples=["corpus/train"]),
]


class StoreInfo(Listed):
    """A store in a line."""

    tokens: int = Field(description="how many token ids it holds")
    documents: int = Field(description="how many documents they are")
    dtype: str = Field(description="of its ids", examples=["uint16"])
    tokenizer: str = Field(description="the name of the tokenizer that made it; ? where it names none")


class Bin(BaseModel):
    """Documents of low … high − 1 tokens."""

    low: int = Field(description="the fewest tokens")
    high: int = Field(description="one more than the most tokens")
    documents: int = Field(description="how many documents have so many")


class StoreAccount(StoreInfo):
    """A store in full."""

    vocab_size: int = Field(description="V of its tokenizer; every id is below it")
    bytes: int = Field(description="of its token ids on disk")
    shortest: int = Field(description="tokens of the shortest document; 0 where there is none")
    median: float = Field(description="tokens of the median document")
    longest: int = Field(description="tokens of the longest document")
    histogram: list[Bin] = Field(description="documents by length, from the first bin that holds any")
    policies: dict[str, Any] = Field(description="the options that it was prepared with")


class Document(BaseModel):
    """A document: where it starts, how long it is, how it begins."""

    index: int = Field(description="its number, from 0")
    start: int = Field(description="where it starts in the stream of tokens")
    tokens: int = Field(description="how long it is, with what was appended to it")
    text: str = Field(description="its first characters")


class Documents(BaseModel):
    """A page of documents."""

    documents: int = Field(description="how many the store holds")
    page: list[Document] = Field(description="those asked for, as far as there are any")


class Piece(BaseModel):
    """Tokens at a place of the stream."""

    start: int = Field(description="the place of the first token")
    tokens: int = Field(description="how many the store holds")
    document: int = Field(description="the document that the first token belongs to; −1 where no token was read")
    ids: list[int] = Field(description="token ids")
    texts: list[str] = Field(description="each token by itself, U+FFFD where it ends inside a character")
    bytes: list[str] = Field(description="each token's bytes in hexadecimal")
    starts: list[int] = Field(description="where documents start in this piece, counted from its first token")


class FindRequest(Body):
    """A token sequence, as text or as ids."""

    store: Annotated[
        str, Field(max_length=1_000, description="the name of a store, as the list gives it", examples=["corpus/train"])
    ]
    text: Annotated[
        str, Field(max_length=1_000, description="a text, by the store's tokenizer", examples=["Every effort"])
    ] = ""
    ids: Annotated[
        list[Id],
        First,
        Field(
            max_length=1_000, default_factory=list, description="token ids; text is not read then", examples=[[6109]]
        ),
    ]
    start: Annotated[Place, Field(description="the place to begin at", examples=[0])] = 0
    limit: Annotated[int, Field(ge=1, le=1_000, description="the most places to give", examples=[20])] = 20


class Found(BaseModel):
    """The places of a token sequence."""

    ids: list[int] = Field(description="what was looked for")
    places: list[int] = Field(description="where it starts, in order")
    next: int | None = Field(
        description="where to go on, after limit places or a second of search; null at the end of the store"
    )


@router.get("", response_model=list[StoreInfo | Listed], summary="The stores that may be named")
def stores(library: InLibrary) -> Response:
    """Those in the folders that were allowed at start; one that can't be opened has a problem in place of counts."""
    places = library.stores()
    sources = ((name, place.source) for name, place in places.items())
    return answer(listed(sources, lambda name: _info(library.open_store(places[name]))))


@router.get("/account", response_model=StoreAccount, summary="What a store holds")
def account(store: StoreName, library: InLibrary) -> Response:
    """Counts, policies, and the lengths of its documents as a histogram with steps of a power of two."""
    opened = library.store(store)
    check_size("documents of a histogram", opened.documents, _MOST_DOCUMENTS)
    with _HISTOGRAM:
        lengths = np.diff(opened.starts.read(0, len(opened.starts)))
        low, median, high = (
            (int(lengths.min()), float(np.median(lengths)), int(lengths.max())) if len(lengths) else (0, 0.0, 0)
        )
        bins = [{"low": a, "high": b, "documents": count} for a, b, count in length_histogram(lengths)]
    policies = opened.manifest.get("policies")
    return answer(
        {"name": store, "source": opened.place.source}
        | _info(opened)
        | {
            "vocab_size": opened.vocab_size,
            "bytes": len(opened) * opened.dtype.itemsize,
            "shortest": low,
            "median": median,
            "longest": high,
            "histogram": bins,
            "policies": _plain(policies) if isinstance(policies, dict) else {},
        }
    )


@router.get("/documents", response_model=Documents, summary="A page of a store's documents")
def documents(
    store: StoreName,
    library: InLibrary,
    start: Annotated[Place, Query(description="the first document of the page")] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="the most documents of the page")] = 20,
) -> Response:
    """Documents ``start`` … ``start + limit − 1``: where each starts, its length, its first words."""
    opened = library.store(store)
    start = min(start, opened.documents)
    starts = opened.starts.read(start, min(start + limit, opened.documents) + 1).tolist()
    page = []
    for i, (first, last) in enumerate(itertools.pairwise(starts), start):
        text = opened.tokenizer.decode(opened[first : min(last, first + _FIRST_CHARACTERS)])
        page.append({"index": i, "start": first, "tokens": last - first, "text": text[:_FIRST_CHARACTERS]})
    return answer({"documents": opened.documents, "page": page})


@router.get("/read", response_model=Piece, summary="Tokens at a place")
def read(
    store: StoreName,
    library: InLibrary,
    limits: WithinLimits,
    start: Annotated[Place, Query(description="the place of the first token")] = 0,
    count: Annotated[int, Query(ge=1, le=4_096, description="the most tokens to read")] = 256,
) -> Response:
    """``store[start : start + count]``, decoded token by token, and where documents start in it."""
    check_size("tokens", count, limits.store_tokens)
    opened = library.store(store)
    start = min(start, len(opened))
    ids = opened[start : start + count].tolist()
    first = min(bisect_right(opened.starts, start), opened.documents) - 1 if ids else -1
    starts = opened.starts.read(first, min(first + len(ids) + 1, opened.documents)) if ids else np.empty(0, np.int64)
    pieces = [opened.tokenizer.decode_bytes([id_]) for id_ in ids]
    return answer(
        {
            "start": start,
            "tokens": len(opened),
            "document": first,
            "ids": ids,
            "texts": [piece.decode("utf-8", "replace") for piece in pieces],
            "bytes": [piece.hex(" ") for piece in pieces],
            "starts": [place - start for place in starts.tolist() if start <= place < start + len(ids)],
        }
    )


@router.post("/find", response_model=Found, summary="Where a token sequence stands")
def find(request: FindRequest, library: InLibrary) -> Response:
    """``store.find(ids)``: the first ``limit`` places, from ``start`` on, of ids or of a text's tokens.

    After about a second of search the places found so far are given, perhaps none, with the one to go on from.
    """
    deadline = time.monotonic() + SEARCH_SECONDS
    opened = library.store(request.store)
    wanted = request.ids or opened.tokenizer.encode(request.text, disallowed_special=()).tolist()
    if not wanted:
        raise ArgumentError("nothing to find", expected="text or ids")
    end = len(opened) - len(wanted) + 1
    places: list[int] = []
    here = request.start
    while here < end and len(places) <= request.limit:
        stop = min(here + _SEARCH_TOKENS, end)
        found = opened.find(wanted, start=here, stop=stop)
        places += itertools.islice(found, request.limit + 1 - len(places))
        here = stop
        if time.monotonic() > deadline:
            break
    if len(places) > request.limit:
        here = places.pop()
    return answer({"ids": wanted, "places": places, "next": here if here < end else None})


def _info(store: ServedStore) -> dict[str, Any]:
    return {
        "tokens": len(store),
        "documents": store.documents,
        "dtype": str(store.dtype),
        "tokenizer": store.tokenizer_name,
    }


def _plain(value: Any, depth: int = 4) -> Any:
    """What a manifest says, as JSON: no NaN, and not deep; what else there is becomes text."""
    if isinstance(value, dict | list) and depth:
        if isinstance(value, list):
            return [_plain(one, depth - 1) for one in value]
        return {name: _plain(one, depth - 1) for name, one in value.items()}
    if isinstance(value, dict | list):
        return "…"
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
