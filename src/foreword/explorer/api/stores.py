"""Token stores: list, account, documents, browse, find.

Costs: reading a place costs what it reads. A search goes through the tokens a slice at a time, and stops after
SEARCH_TOKENS with the place to go on from, so that no request takes longer than about a second.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from foreword.errors import ArgumentError, ForewordError
from foreword.explorer.api.common import Body, InLibrary, WithinLimits, answer, check_size
from foreword.explorer.library import Library

__all__ = ["router"]

router = APIRouter(prefix="/stores", tags=["stores"])

SEARCH_TOKENS = 200_000_000
_MOST_DOCUMENTS = 5_000_000  # documents that a histogram reads the lengths of
_FIRST_CHARACTERS = 120

StoreName = Annotated[str, Query(max_length=1_000, description="the name of a store, as the list gives it")]


class ListedStore(BaseModel):
    """A store that may be named; where it can't be opened, why."""

    name: str
    source: str = Field(description="what ``fw.TokenStore.open`` takes, where the server was started")
    problem: str | None = None


class StoreInfo(ListedStore):
    """A store in a line."""

    tokens: int
    documents: int
    dtype: str
    tokenizer: str


class Bin(BaseModel):
    """Documents of low … high − 1 tokens."""

    low: int
    high: int
    documents: int


class StoreAccount(StoreInfo):
    """A store in full."""

    vocab_size: int
    bytes: int
    shortest: int
    median: float
    longest: int
    histogram: list[Bin]
    policies: dict[str, Any]


class Document(BaseModel):
    """A document: where it starts, how long it is, how it begins."""

    index: int
    start: int
    tokens: int
    text: str


class Documents(BaseModel):
    """A page of documents."""

    documents: int
    page: list[Document]


class Piece(BaseModel):
    """Tokens at a place of the stream."""

    start: int
    tokens: int
    document: int = Field(description="the document that the first token belongs to; −1 in an empty store")
    ids: list[int]
    texts: list[str] = Field(description="each token by itself, U+FFFD where it ends inside a character")
    bytes: list[str] = Field(description="each token's bytes in hexadecimal")
    starts: list[int] = Field(description="where documents start in this piece, counted from its first token")


class FindRequest(Body):
    """A token sequence, as text or as ids."""

    store: Annotated[str, Field(max_length=1_000)]
    text: Annotated[str, Field(max_length=1_000)] = ""
    ids: Annotated[list[Annotated[int, Field(ge=0, lt=1 << 32)]], Field(max_length=1_000, default_factory=list)]
    start: Annotated[int, Field(ge=0, description="where to begin")] = 0
    limit: Annotated[int, Field(ge=1, le=1_000)] = 20


class Found(BaseModel):
    """The places of a token sequence."""

    ids: list[int]
    places: list[int]
    next: int | None = Field(description="where to go on; null at the end of the store")


@router.get("", response_model=list[StoreInfo | ListedStore], summary="The stores that may be named")
def stores(library: InLibrary) -> Response:
    """Those in the folders that were allowed at start."""
    told: list[dict[str, Any]] = []
    for name, place in library.stores().items():
        try:
            told.append(_info(name, library))
        except ForewordError as error:  # one that can't be opened hides none of the others
            told.append({"name": name, "source": place.source, "problem": error.problem})
    return answer(told)


@router.get("/account", response_model=StoreAccount, summary="What a store holds")
def account(store: StoreName, library: InLibrary) -> Response:
    """Counts, policies, and the lengths of its documents as a histogram with steps of a power of two."""
    opened = library.store(store)
    check_size("documents of a histogram", opened.documents, _MOST_DOCUMENTS)
    lengths = np.diff(opened.offsets.astype(np.int64))
    low, median, high = (
        (int(lengths.min()), float(np.median(lengths)), int(lengths.max())) if len(lengths) else (0, 0.0, 0)
    )
    edges = [0, *(1 << power for power in range(high.bit_length() + 1))]
    counts, _ = np.histogram(lengths, edges)
    bins = [
        {"low": a, "high": b, "documents": int(count)} for a, b, count in zip(edges, edges[1:], counts, strict=False)
    ]
    while bins and not bins[0]["documents"]:
        bins.pop(0)
    return answer(
        _info(store, library)
        | {
            "vocab_size": opened.vocab_size,
            "bytes": len(opened) * opened.dtype.itemsize,
            "shortest": low,
            "median": median,
            "longest": high,
            "histogram": bins,
            "policies": opened.manifest.get("policies", {}),
        }
    )


@router.get("/documents", response_model=Documents, summary="A page of a store's documents")
def documents(
    store: StoreName,
    library: InLibrary,
    start: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Documents ``start`` … ``start + limit − 1``: where each starts, its length, its first words."""
    opened = library.store(store)
    chosen = range(min(start, opened.documents), min(start + limit, opened.documents))
    offsets = opened.offsets
    page = []
    for i in chosen:
        first, last = int(offsets[i]), int(offsets[i + 1])
        text = opened.tokenizer.decode(opened[first : min(last, first + _FIRST_CHARACTERS)])
        page.append({"index": i, "start": first, "tokens": last - first, "text": text[:_FIRST_CHARACTERS]})
    return answer({"documents": opened.documents, "page": page})


@router.get("/read", response_model=Piece, summary="Tokens at a place")
def read(
    store: StoreName,
    library: InLibrary,
    limits: WithinLimits,
    start: Annotated[int, Query(ge=0)] = 0,
    count: Annotated[int, Query(ge=1, le=4_096)] = 256,
) -> Response:
    """``store[start : start + count]``, decoded token by token, and where documents start in it."""
    check_size("tokens", count, limits.store_tokens)
    opened = library.store(store)
    start = min(start, len(opened))
    ids = opened[start : start + count].tolist()
    offsets = opened.offsets
    first = int(np.searchsorted(offsets, start, side="right")) - 1 if ids else -1
    pieces = [opened.tokenizer.decode_bytes([id_]) for id_ in ids]
    inside = offsets[np.searchsorted(offsets, start) : np.searchsorted(offsets, start + len(ids))]
    return answer(
        {
            "start": start,
            "tokens": len(opened),
            "document": min(first, opened.documents - 1),
            "ids": ids,
            "texts": [piece.decode("utf-8", "replace") for piece in pieces],
            "bytes": [piece.hex(" ") for piece in pieces],
            "starts": [int(offset) - start for offset in inside],
        }
    )


@router.post("/find", response_model=Found, summary="Where a token sequence stands")
def find(request: FindRequest, library: InLibrary) -> Response:
    """``store.find(ids)``: the first ``limit`` places, from ``start`` on, of ids or of a text's tokens."""
    opened = library.store(request.store)
    wanted = request.ids or opened.tokenizer.encode(request.text, disallowed_special=()).tolist()
    if not wanted:
        raise ArgumentError("nothing to find", expected="text or ids")
    end = len(opened) - len(wanted) + 1
    stop = min(end, request.start + SEARCH_TOKENS)
    places = list(itertools.islice(opened.find(wanted, start=request.start, stop=max(0, stop)), request.limit + 1))
    here = places.pop() if len(places) > request.limit else max(stop, request.start)
    return answer({"ids": wanted, "places": places, "next": here if here < end else None})


def _info(name: str, library: Library) -> dict[str, Any]:
    store = library.store(name)
    return {
        "name": name,
        "source": library.stores()[name].source,
        "tokens": len(store),
        "documents": store.documents,
        "dtype": str(store.dtype),
        "tokenizer": store.manifest["tokenizer"]["name"],
    }
