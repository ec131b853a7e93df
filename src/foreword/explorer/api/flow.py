"""The way from text to input embeddings: tokenize and merges, windows, embed, positions.

Costs: a table of V × D is drawn once for each seed and size. The last one is kept (200 MB where it is as large as the
limits let it be), and given up before another is drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from foreword.errors import ArgumentError, MissingPackageError
from foreword.explorer.api.common import (
    Array,
    Body,
    EncodingQuery,
    First,
    Id,
    InLibrary,
    Listed,
    Text,
    WithinLimits,
    answer,
    array,
    check_size,
    listed,
)
from foreword.tokens import merges_of
from foreword.tokens.tokenizers.tokenizer import to_utf8
from foreword.windows import WindowDataset

if TYPE_CHECKING:
    from foreword.embeddings import InputEmbedding

__all__ = ["router"]

router = APIRouter(tags=["flow"])

Scheme = Literal["learned", "sinusoidal", "rotary", "alibi", "none"]


class TokenizerInfo(Listed):
    """A tokenizer that may be named."""

    vocab_size: int = Field(description="V; every id is below it")
    special_tokens: dict[str, int] = Field(description="the id of each special token")


@router.get("/tokenizers", response_model=list[TokenizerInfo | Listed], summary="The tokenizers that may be named")
def tokenizers(library: InLibrary) -> Response:
    """Their names, vocabulary sizes and special tokens; the first is the default."""

    def tell(name: str) -> dict[str, Any]:
        tokenizer = library.tokenizer(name)
        return {"vocab_size": tokenizer.vocab_size, "special_tokens": tokenizer.special_tokens}

    return answer(listed(library.tokenizers.items(), tell))


class TokenizeRequest(Body):
    """A text and how to read it."""

    text: Text
    tokenizer: Annotated[
        str, Field(max_length=1_000, description="a tokenizer's name; by default the first", examples=["gpt2"])
    ] = ""
    special: Annotated[
        bool,
        Field(
            description="the text of a special token stands for the token; otherwise it is ordinary text",
            examples=[False],
        ),
    ] = False


class Token(BaseModel):
    """One token: its id, its bytes in hexadecimal, and those as text (U+FFFD where it ends inside a character)."""

    id: int = Field(description="the token id")
    text: str = Field(description="its bytes as UTF-8", examples=[" effort"])
    bytes: str = Field(description="its bytes in hexadecimal", examples=["20 65 66 66 6f 72 74"])
    special: bool = Field(description="whether it is a special token")
    start: int = Field(description="the first character of the text that it stands for, in code points")
    end: int = Field(description="one after the last; a token of a part of a character has the whole character")


class Tokens(BaseModel):
    """A text as tokens."""

    tokenizer: str = Field(description="the name of the tokenizer, as the server was given it")
    vocab_size: int = Field(description="V of the tokenizer")
    characters: int = Field(description="of the text, in code points")
    utf8_bytes: int = Field(description="of the text")
    distinct: int = Field(description="how many different tokens there are")
    tokens: list[Token] = Field(description="the tokens, in order")


@router.post("/tokenize", response_model=Tokens, summary="Text to tokens")
def tokenize(request: TokenizeRequest, library: InLibrary, limits: WithinLimits) -> Response:
    """``tokenizer.encode(text)``, and the bytes of each token."""
    check_size("characters of text", len(request.text), limits.text_characters)
    name = request.tokenizer or next(iter(library.tokenizers))
    tokenizer = library.tokenizer(name)
    encoded, offsets = tokenizer.encode_with_offsets(
        request.text, allowed_special="all" if request.special else (), disallowed_special=()
    )
    ids = encoded.tolist()
    special = set(tokenizer.special_tokens.values()) if request.special else set()
    known: dict[int, dict[str, Any]] = {}
    for id_ in ids:
        if id_ not in known:
            data = tokenizer.decode_bytes([id_])
            known[id_] = {
                "id": id_,
                "text": data.decode("utf-8", "replace"),
                "bytes": data.hex(" "),
                "special": id_ in special,
            }
    return answer(
        {
            "tokenizer": name,
            "vocab_size": tokenizer.vocab_size,
            "characters": len(request.text),
            "utf8_bytes": len(to_utf8(request.text)),
            "distinct": len(known),
            "tokens": [
                {**known[id_], "start": start, "end": end}
                for id_, (start, end) in zip(ids, offsets.tolist(), strict=True)
            ],
        }
    )


class MergeStep(BaseModel):
    """One merge of two neighbours."""

    rank: int = Field(description="its place in the tokenizer's list of merges; the lowest that is possible is next")
    at: int = Field(description="which of the parts it made")
    parts: list[str] = Field(description="all parts after it, each its bytes in hexadecimal")


class Merges(BaseModel):
    """How byte-pair encoding comes to a token."""

    id: int = Field(description="the token id")
    bytes: str = Field(description="the token's bytes in hexadecimal")
    parts: list[str] = Field(description="what there is before any merge, in hexadecimal")
    steps: list[MergeStep] | None = Field(description="the merges, in order; null where the tokenizer has none")


@router.get("/merges", response_model=Merges, summary="The merges that made a token")
def merges(
    library: InLibrary,
    limits: WithinLimits,
    id: Annotated[Id, Query(description="the token id", examples=[341])],  # noqa: A002
    tokenizer: Annotated[str, Query(max_length=1_000, description="a tokenizer's name; by default the first")] = "",
) -> Response:
    """``merges_of(tokenizer, id)``."""
    chosen = library.tokenizer(tokenizer or next(iter(library.tokenizers)))
    data = chosen.decode_bytes([id])
    check_size("bytes of the token, squared", len(data) ** 2, limits.answer_floats)
    steps = None if chosen.merge_rules() is None else merges_of(chosen, id)
    parts = [data.hex(" ")]
    if steps:
        first = steps[0]
        before = [*first.parts[: first.at], first.left, first.right, *first.parts[first.at + 1 :]]
        parts = [part.hex(" ") for part in before]
    listed_steps = (
        None
        if steps is None
        else [{"rank": step.rank, "at": step.at, "parts": [part.hex(" ") for part in step.parts]} for step in steps]
    )
    return answer({"id": id, "bytes": data.hex(" "), "parts": parts, "steps": listed_steps})


class WindowsRequest(Body):
    """Token ids and how to cut them."""

    ids: Annotated[
        list[Id],
        First,
        Field(max_length=100_000, description="token ids [n]", examples=[[40, 367, 2885, 1464, 1807]]),
    ]
    context_length: Annotated[int, Field(ge=1, le=4_096, description="T, tokens of a window", examples=[4])] = 4
    stride: Annotated[int, Field(ge=1, le=1 << 20, description="from a window to the next", examples=[4])] = 4
    batch_size: Annotated[int, Field(ge=1, le=1_024, description="B, windows of a batch", examples=[1])] = 8
    batch: Annotated[int, Field(ge=0, lt=1 << 32, description="which batch to show, from 0", examples=[0])] = 0
    drop_last: Annotated[
        bool, Field(description="whether a last batch that is not full is left out", examples=[True])
    ] = True


class Account(BaseModel):
    """What becomes of every token, over the inputs of one epoch."""

    windows: int = Field(description="how many windows there are")
    stored: int = Field(description="tokens given")
    distinct: int = Field(description="tokens that stand in a window")
    repeated: int = Field(description="how often a token stands in one window more")
    padded: int = Field(description="places of windows that are filled up")
    dropped: int = Field(description="tokens that stand in no window")


class Windows(BaseModel):
    """One batch of windows, and the account of all."""

    windows: int = Field(description="how many windows there are")
    batches: int = Field(description="how many batches they make")
    account: Account = Field(description="what becomes of every token")
    starts: list[int] = Field(description="where each window of the batch starts in the ids")
    inputs: list[list[int]] = Field(description="token ids of the batch, [B, T]")
    targets: list[list[int]] = Field(description="the same, one token on, [B, T]")


@router.post("/windows", response_model=Windows, summary="Token ids to windows and batches")
def windows(request: WindowsRequest, limits: WithinLimits) -> Response:
    """``fw.WindowDataset(ids, context_length=…, stride=…)``, and one batch of it, in order."""
    data = WindowDataset(np.array(request.ids, np.int64), context_length=request.context_length, stride=request.stride)
    check_size("tokens of a batch", request.batch_size * request.context_length, limits.answer_floats)
    whole, rest = divmod(len(data), request.batch_size)
    batches = whole + (rest > 0 and not request.drop_last)
    first = request.batch * request.batch_size
    if batches and request.batch >= batches:
        raise ArgumentError("no such batch", got=request.batch, expected=f"0 … {batches - 1}")
    chosen = np.arange(first, min(first + request.batch_size, len(data)) if batches else 0)
    batch = data.gather(chosen)
    account = dataclasses.asdict(data.account())
    return answer(
        {
            "windows": len(data),
            "batches": batches,
            "account": {name: account[name] for name in Account.model_fields},
            "starts": (chosen * request.stride).tolist(),
            "inputs": batch["inputs"].tolist(),
            "targets": batch["targets"].tolist(),
        }
    )


class EmbedRequest(Body):
    """A batch of token ids and the layer to send it through."""

    ids: Annotated[
        list[Annotated[list[Id], First, Field(min_length=1, max_length=4_096)]],
        First,
        Field(min_length=1, max_length=1_024, description="token ids [B, T]", examples=[[[40, 367, 2885, 1464]]]),
    ]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 22, description="V, rows of the table", examples=[50257])] = 50257
    embedding_dim: Annotated[int, Field(ge=1, le=4_096, description="D, numbers of a vector", examples=[256])] = 256
    position: Annotated[Scheme, Field(description="how places are told apart", examples=["learned"])] = "learned"
    num_heads: Annotated[
        int, Field(ge=1, le=128, description="heads of attention, for rotary and alibi", examples=[8])
    ] = 8
    seed: Annotated[int, Field(ge=0, lt=1 << 32, description="of torch's random numbers", examples=[123])] = 123


class Embedded(BaseModel):
    """The layer's output, and its terms."""

    token: Array = Field(description="rows of the token table, [B, T, D]")
    position: Array | None = Field(description="what is added for each position, [T, D]; null where nothing is")
    sum: Array = Field(description="the layer's output, [B, T, D]")


@router.post("/embed", response_model=Embedded, summary="Token ids to input embeddings")
def embed(request: EmbedRequest, limits: WithinLimits, encoding: EncodingQuery = "json") -> Response:
    """``fw.InputEmbedding(vocab_size, embedding_dim, context_length)(ids)``, drawn after ``torch.manual_seed(seed)``.

    What it gives is what the notebook gives with the same seed.
    """
    torch = _torch()
    from foreword.embeddings import LearnedPositions, SinusoidalPositions

    lengths = {len(row) for row in request.ids}
    if len(lengths) != 1:
        raise ArgumentError("the rows of ids differ in length", got=sorted(lengths))
    context_length = lengths.pop()
    D = request.embedding_dim
    check_size("elements of the answer", len(request.ids) * context_length * D, limits.answer_floats)
    check_size("elements of the table", max(request.vocab_size, context_length) * D, limits.table_floats)
    ids = torch.tensor(request.ids, dtype=torch.int64)
    drawn = _layer(request.vocab_size, D, context_length, request.position, request.num_heads, request.seed)
    with drawn as layer, torch.no_grad():
        total = layer(ids)  # first: it is what checks the ids
        token = layer.token_embedding(ids)
        scheme = layer.position_embedding
        added = scheme() if isinstance(scheme, LearnedPositions | SinusoidalPositions) else None
    return answer(
        {
            "token": array(token.numpy(), encoding),
            "position": None if added is None else array(added.detach().numpy(), encoding),
            "sum": array(total.numpy(), encoding),
        }
    )


class Positions(BaseModel):
    """A position scheme as a picture: what its rows and columns are, and the values."""

    scheme: str = Field(description="the scheme, as asked for")
    rows: str = Field(description="what a row is", examples=["position"])
    columns: str = Field(description="what a column is", examples=["dimension"])
    values: Array = Field(description="the array, [rows, columns]")


@router.get("/positions", response_model=Positions, summary="A position scheme as an array")
def positions(
    limits: WithinLimits,
    scheme: Annotated[Scheme, Query(description="the position scheme")] = "learned",
    context_length: Annotated[int, Query(ge=1, le=4_096, description="T, how many positions")] = 64,
    embedding_dim: Annotated[int, Query(ge=1, le=4_096, description="D, numbers of a vector")] = 64,
    num_heads: Annotated[int, Query(ge=1, le=128, description="heads of attention, for rotary and alibi")] = 8,
    seed: Annotated[int, Query(ge=0, lt=1 << 32, description="of torch's random numbers, for learned")] = 123,
    encoding: EncodingQuery = "json",
) -> Response:
    """Learned and sinusoidal: what is added, [T, D]. Rotary: the cosines of the angles, [T, head_dim / 2].

    ALiBi: what the first head adds to its scores, [T queries, T keys], a key to come being given as the lowest value.
    """
    torch = _torch()
    from foreword.embeddings import AlibiBias, LearnedPositions, RotaryPositions, SinusoidalPositions

    T, D = context_length, embedding_dim
    check_size("elements of the answer", T * max(D, T if scheme == "alibi" else 1), limits.answer_floats)
    rows, columns = "position", "dimension"
    if scheme in ("rotary", "alibi") and D % num_heads:
        raise ArgumentError("num_heads must divide embedding_dim", got=f"num_heads={num_heads}, embedding_dim={D}")
    with _RANDOM, torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        match scheme:
            case "learned":
                values = LearnedPositions(T, D)()
            case "sinusoidal":
                values = SinusoidalPositions(T, D)()
            case "rotary":
                values, columns = RotaryPositions(T, D // num_heads)()[0], "pair of a head's dimensions"
            case "alibi":
                bias = AlibiBias(num_heads)
                bias.slopes = bias.slopes[:1]  # all heads would take 128 times the room
                values, rows, columns = bias(T)[0], "query", "key"
                values = values.masked_fill(values.isinf(), float(values[values.isfinite()].min()))
            case "none":
                values = torch.zeros(T, D)
    values_json = array(values.detach().numpy(), encoding)
    return answer({"scheme": scheme, "rows": rows, "columns": columns, "values": values_json})


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingPackageError("embeddings need torch", fix="pip install torch") from None
    return torch


_RANDOM = threading.Lock()  # torch has one random state for the whole process
_Size = tuple[int, int, int, Scheme, int, int]
_kept: dict[_Size, InputEmbedding] = {}  # one at most


@contextlib.contextmanager
def _layer(V: int, D: int, T: int, position: Scheme, num_heads: int, seed: int) -> Iterator[InputEmbedding]:
    """The layer, for one block at a time, so that there are never two large tables."""
    import torch

    from foreword.embeddings import InputEmbedding

    size = V, D, T, position, num_heads, seed
    with _RANDOM:
        if size not in _kept:
            _kept.clear()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                _kept[size] = InputEmbedding(V, D, T, position=position, num_heads=num_heads)
        yield _kept[size]
