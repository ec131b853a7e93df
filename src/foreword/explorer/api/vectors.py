"""Word vectors: look up, find, complete, similar, analogy, axis, batch, map, atlas.

Costs: a search of 400,000 × 50 takes about a millisecond, a completion less; the first of each loads or sorts.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from foreword.errors import ArgumentError
from foreword.explorer import geometry
from foreword.explorer.api.common import Body, First, InLibrary, Listed, WithinLimits, answer, check_size, listed
from foreword.vectors.layout.coarse import clusters
from foreword.vectors.projection import pca

if TYPE_CHECKING:
    from foreword import KeyedVectors

__all__ = ["router"]

router = APIRouter(prefix="/vectors", tags=["vectors"])

Name = Annotated[str, Path(description="the name of word vectors", examples=["glove-wiki-gigaword-50"])]
Key = Annotated[str, Field(description="a word", max_length=1_000, examples=["king"])]
KeyQuery = Annotated[str, Query(description="a word", max_length=1_000, examples=["king"])]
Keys = Annotated[list[Key], First, Field(max_length=1_000, description="words", examples=[["king", "queen", "cat"]])]
Topn = Annotated[int, Field(ge=1, le=1_000, description="the most words to give", examples=[10])]


class Neighbour(BaseModel):
    """A word and its cosine with what was asked for."""

    key: str = Field(description="the word", examples=["queen"])
    score: float = Field(description="the cosine, −1 … 1")


Neighbours = list[Neighbour]


class VectorsInfo(Listed):
    """Word vectors that may be named."""

    keys: int = Field(description="N, how many words have a vector")
    dim: int = Field(description="D, numbers of a vector")


class Lookup(BaseModel):
    """A word's vector."""

    key: str = Field(description="the word")
    row: int = Field(description="its row; the most frequent word has row 0")
    norm: float = Field(description="the vector's length")
    vector: list[float] = Field(description="its numbers [D]")


class SimilarRequest(Body):
    """Words to add and words to take away."""

    positive: Annotated[Keys, Field(description="words to add", examples=[["king", "woman"]])]
    negative: Annotated[Keys, Field(default_factory=list, description="words to take away", examples=[["man"]])]
    topn: Topn = 10


class BatchRequest(Body):
    """Many words, each asked for its neighbours."""

    keys: Keys
    topn: Topn = 10


class AnalogyRequest(Body):
    """a − b + c."""

    a: Annotated[Key, Field(description="the word that b is taken from", examples=["king"])]
    b: Annotated[Key, Field(description="the word to take away", examples=["man"])]
    c: Annotated[Key, Field(description="the word to add", examples=["woman"])]
    topn: Topn = 10


class Point(BaseModel):
    """A word on a plane."""

    key: str = Field(description="the word")
    x: float = Field(description="its place, to the right")
    y: float = Field(description="its place, upwards")


class Analogy(BaseModel):
    """The answer to a − b + c, and a picture of it: the four corners of a parallelogram, and the answers near them."""

    neighbours: Neighbours = Field(description="the answers, the nearest first")
    own: Neighbours = Field(description="a, b and c, which are never answers, and their cosines with a − b + c")
    corners: list[Point] = Field(description="b, a, c and a − b + c, on the plane they lie in")
    points: list[Point] = Field(description="the neighbours, dropped onto that plane")


class MapRequest(Body):
    """The words to draw."""

    keys: Keys


class Map(BaseModel):
    """Words on the plane of their first two principal components."""

    kept: float = Field(description="the share of variance that the plane keeps, 0 … 1")
    clusters: int = Field(description="how many there are")
    keys: list[str] = Field(description="the words, and in the same order what follows")
    x: list[float] = Field(description="the place of each, to the right")
    y: list[float] = Field(description="the place of each, upwards")
    cluster: list[int] = Field(description="the cluster of each, by size, 0 the largest")
    missing: list[str] = Field(description="words that have no vector")


class Found(BaseModel):
    """The key that a word is."""

    key: str | None = Field(description="the key, perhaps in other case; null where there is none")
    suggestions: list[str] = Field(description="where there is none, what may have been meant, the likeliest first")


class AxisRequest(Body):
    """A direction, and words to lay out along it."""

    low: Annotated[Key, Field(description="the word that the direction starts from", examples=["he"])]
    high: Annotated[Key, Field(description="the word that it leads to", examples=["she"])]
    keys: Keys


class Axis(BaseModel):
    """Words along a direction: −1 at its start, 1 at its end."""

    keys: list[str] = Field(description="the words that have a vector")
    values: list[float] = Field(description="where each lies")
    missing: list[str] = Field(description="words that have none")


class AtlasState(BaseModel):
    """How far the map of all words is."""

    words: int = Field(description="how many words are on it")
    layout: Literal["components", "neighbours"] = Field(description="how they are placed")
    doing: str = Field(description="what is being computed for a better layout; empty where nothing is")
    share: float = Field(description="how much of that is done, 0 … 1")
    seconds: float = Field(description="since it began, or that it took")
    problem: str = Field(description="why there will be no better layout; empty where there will be, or is")
    kept: float | None = Field(
        description="the share of a frequent word's ten nearest neighbours that are among the ten nearest on the map"
    )
    kept_by_components: float | None = Field(description="the same of the first two principal components")
    regions: list[AtlasRegion] = Field(description="clusters by name, those of the coarsest level first")


class AtlasRegion(BaseModel):
    """A cluster of words on the map."""

    level: int = Field(description="0 the coarsest")
    name: str = Field(description="its most typical frequent words")
    x: float = Field(description="where most of it is")
    y: float = Field(description="where most of it is")
    words: int = Field(description="how many of the 20,000 most frequent words are in it")
    cluster: int = Field(description="its number on its level; on level 0 the cluster that words have")


class AtlasPage(BaseModel):
    """Some words of the map, in the order of their frequency. Arrays are little-endian bytes in base64."""

    start: int = Field(description="the first word's row")
    layout: Literal["components", "neighbours"] = Field(description="how they are placed")
    keys: list[str] | None = Field(description="the words; null where they were not asked for")
    x: str = Field(description="uint16 [n], 0 … 65535: the place of each, to the right")
    y: str = Field(description="uint16 [n]: upwards, in the same unit")
    cluster: str = Field(description="uint8 [n]: its cluster of level 0")


AtlasState.model_rebuild()


@router.get("", response_model=list[VectorsInfo | Listed], summary="The word vectors that may be named")
def vectors(library: InLibrary) -> Response:
    """Their names and sizes; the first is the default."""

    def tell(name: str) -> dict[str, Any]:
        kv = library.words(name).kv
        return {"keys": len(kv), "dim": kv.vector_size}

    return answer(listed(library.vectors.items(), tell))


@router.get("/{name}/lookup", response_model=Lookup, summary="A word's vector")
def lookup(name: Name, key: KeyQuery, library: InLibrary) -> Response:
    """``wv[key]``."""
    kv = library.words(name).kv
    vector = np.asarray(kv[key], np.float64)
    return answer(
        {
            "key": key,
            "row": int(kv.key_to_index[key]),
            "norm": float(np.linalg.norm(vector)),
            "vector": vector.tolist(),
        }
    )


@router.get("/{name}/complete", response_model=list[str], summary="The words that start so")
def complete(
    name: Name,
    prefix: Annotated[str, Query(max_length=1_000, description="how they start", examples=["kin"])],
    library: InLibrary,
    limit: Annotated[int, Query(ge=1, le=100, description="the most words to give")] = 10,
) -> Response:
    """The words that start with ``prefix``, in any case: those of the same letters first, then the most frequent."""
    return answer(library.words(name).complete(prefix, limit))


@router.get("/{name}/find", response_model=Found, summary="The key that a word is, in any case")
def find(
    name: Name,
    word: Annotated[str, Query(max_length=1_000, description="a word in any case", examples=["King"])],
    library: InLibrary,
) -> Response:
    """The key of the same letters; else what may have been meant: the words that start so, or are spelt nearly so."""
    key, suggestions = library.words(name).find(word)
    return answer({"key": key, "suggestions": suggestions})


@router.get("/{name}/similar", response_model=Neighbours, summary="The nearest words to a word")
def similar(
    name: Name,
    key: KeyQuery,
    library: InLibrary,
    topn: Annotated[int, Query(ge=1, le=1_000, description="the most words to give")] = 10,
) -> Response:
    """``wv.most_similar(key, topn=…)``."""
    return answer(_neighbours(library.words(name).kv.most_similar(key, topn=topn)))


@router.post("/{name}/similar", response_model=Neighbours, summary="The nearest words to a sum of words")
def similar_to_sum(name: Name, request: SimilarRequest, library: InLibrary) -> Response:
    """``wv.most_similar(positive=…, negative=…, topn=…)``."""
    if not request.positive and not request.negative:
        raise ArgumentError("no words were given", expected="at least one in positive or negative")
    kv = library.words(name).kv
    return answer(_neighbours(kv.most_similar(positive=request.positive, negative=request.negative, topn=request.topn)))


@router.post("/{name}/batch", response_model=list[Neighbours], summary="The nearest words to each of many")
def batch(name: Name, request: BatchRequest, library: InLibrary, limits: WithinLimits) -> Response:
    """``wv.most_similar`` of each word."""
    check_size("words × topn", len(request.keys) * request.topn, limits.map_words)
    kv = library.words(name).kv
    return answer([_neighbours(kv.most_similar(key, topn=request.topn)) for key in request.keys])


@router.post("/{name}/analogy", response_model=Analogy, summary="a − b + c, and its parallelogram")
def analogy(name: Name, request: AnalogyRequest, library: InLibrary) -> Response:
    """``wv.most_similar(positive=[a, c], negative=[b])``, and the four corners on their plane.

    The corners are unit vectors, as the query adds them.
    """
    kv = library.words(name).kv
    a, b, c = geometry.unit(np.stack([kv[key] for key in (request.a, request.b, request.c)]))
    found = kv.most_similar(positive=[request.a, request.c], negative=[request.b], topn=request.topn)
    near = geometry.unit(np.stack([kv[key] for key, _ in found])) if found else np.zeros((0, len(a)), np.float32)
    corners, points = geometry.parallelogram(a, b, c, near)
    own = np.clip(np.stack([a, b, c]) @ geometry.unit((a - b + c)[None])[0], -1, 1)
    names = [request.b, request.a, request.c, f"{request.a} − {request.b} + {request.c}"]
    return answer(
        {
            "neighbours": _neighbours(found),
            "own": _neighbours(zip((request.a, request.b, request.c), own.tolist(), strict=True)),
            "corners": [_point(*pair) for pair in zip(names, corners, strict=True)],
            "points": [_point(key, xy) for (key, _), xy in zip(found, points, strict=True)],
        }
    )


@router.get("/{name}/map", response_model=Map, summary="The most frequent words on a plane")
def map_of_most_frequent(
    name: Name,
    library: InLibrary,
    limits: WithinLimits,
    count: Annotated[int, Query(ge=1, le=10_000, description="how many words")] = 1_000,
) -> Response:
    """The first ``count`` words on the plane of their first two principal components, in clusters."""
    check_size("words of a map", count, limits.map_words)
    words = library.words(name)
    count = min(count, len(words.kv))
    flat, kept, clusters = words.map(count)
    return answer(_map(words.kv.index_to_key[:count], flat, kept, clusters, []))


@router.post("/{name}/map", response_model=Map, summary="A list of words on a plane")
def map_of_words(name: Name, request: MapRequest, library: InLibrary) -> Response:
    """The same for a list of words; those without a vector are named in ``missing``."""
    kv = library.words(name).kv
    keys, missing = _known(kv, request.keys)
    points = geometry.unit(np.stack([kv[key] for key in keys]))
    flat, kept = pca(points.astype(np.float64))
    return answer(_map(keys, flat, kept, clusters(points, max(1, min(10, len(keys) // 4)))[0], missing))


@router.post("/{name}/axis", response_model=Axis, summary="Words along the direction from one word to another")
def axis(name: Name, request: AxisRequest, library: InLibrary) -> Response:
    """Each word's place along the step from ``low`` to ``high``, of unit vectors: −1 at ``low``, 1 at ``high``."""
    kv = library.words(name).kv
    low, high = geometry.unit(np.stack([kv[request.low], kv[request.high]]))
    if np.array_equal(low, high):
        raise ArgumentError(
            "a direction leads from one word to another", got=f"{request.low!r} twice", fix="name two words"
        )
    keys, missing = _known(kv, request.keys)
    rows = geometry.unit(np.stack([kv[key] for key in keys]))
    return answer({"keys": keys, "values": np.round(geometry.along(low, high, rows), 6).tolist(), "missing": missing})


@router.get("/{name}/atlas", response_model=AtlasState, summary="How far the map of all words is")
def atlas(name: Name, library: InLibrary, limits: WithinLimits) -> Response:
    """The names of its clusters, and whether a better layout is on its way; the first question begins it."""
    found = library.words(name).atlas(limits.atlas_words)
    regions = [region._asdict() for region in found.regions]
    return answer({"words": len(found)} | dataclasses.asdict(found.state) | {"regions": regions})


@router.get("/{name}/atlas/words", response_model=AtlasPage, summary="Some words of the map of all words")
def atlas_words(
    name: Name,
    library: InLibrary,
    limits: WithinLimits,
    start: Annotated[int, Query(ge=0, le=1 << 40, description="the row of the first word")] = 0,
    count: Annotated[int, Query(ge=1, le=50_000, description="the most words to give")] = 10_000,
    keys: Annotated[bool, Query(description="whether the words themselves are given, not their places alone")] = True,
) -> Response:
    """Words ``start`` … ``start + count − 1`` by frequency, with their places and clusters."""
    found = library.words(name).atlas(limits.atlas_words)
    places = found.places
    part = slice(start, start + count)
    return answer(
        {
            "start": start,
            "layout": places.layout,
            "keys": found.keys(start, start + count) if keys else None,
            "x": _base64(places.x[part].astype("<u2")),
            "y": _base64(places.y[part].astype("<u2")),
            "cluster": _base64(found.cluster[part]),
        }
    )


def _base64(values: NDArray[np.integer[Any]]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _known(kv: KeyedVectors, given: list[str]) -> tuple[list[str], list[str]]:
    """The words that have a vector, each once, and those that have none.

    Raises:
        ArgumentError: none has.
    """
    keys = [key for key in dict.fromkeys(given) if key in kv]
    missing = [key for key in dict.fromkeys(given) if key not in kv]
    if not keys:
        raise ArgumentError("none of the words has a vector", got=", ".join(missing[:10]) or "no words")
    return keys, missing


def _neighbours(found: Iterable[tuple[str, float]]) -> list[dict[str, object]]:
    return [{"key": key, "score": float(score)} for key, score in found]


def _point(key: str, xy: geometry.Floats) -> dict[str, object]:
    return {"key": key, "x": float(xy[0]), "y": float(xy[1])}


def _map(
    keys: Sequence[str], flat: NDArray[np.float64], kept: float, clusters: geometry.Rows, missing: list[str]
) -> dict[str, object]:
    x, y = np.round(flat, 5).T.tolist()
    return {
        "kept": kept,
        "clusters": int(clusters.max()) + 1,
        "keys": list(keys),
        "x": x,
        "y": y,
        "cluster": clusters.tolist(),
        "missing": missing,
    }
