"""The way from text to input embeddings: tokenize, windows, embed, positions.

Costs: a table of V × D is drawn once for each seed and size, and the last two are kept.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from foreword.errors import ArgumentError, MissingPackageError
from foreword.explorer.api.common import (
    Array,
    Body,
    EncodingQuery,
    InLibrary,
    Text,
    WithinLimits,
    answer,
    array,
    check_size,
)
from foreword.windows import WindowDataset

if TYPE_CHECKING:
    from foreword.embeddings import InputEmbedding

__all__ = ["router"]

router = APIRouter(tags=["flow"])

Scheme = Literal["learned", "sinusoidal", "rotary", "alibi", "none"]
Id = Annotated[int, Field(ge=0, lt=1 << 32)]


class TokenizerInfo(BaseModel):
    """A tokenizer that may be named."""

    name: str
    source: str = Field(description="what ``fw.get_tokenizer`` takes, where the server was started")
    vocab_size: int
    special_tokens: dict[str, int]


@router.get("/tokenizers", response_model=list[TokenizerInfo], summary="The tokenizers that may be named")
def tokenizers(library: InLibrary) -> Response:
    """Their names, vocabulary sizes and special tokens; the first is the default."""
    every = ((name, source, library.tokenizer(name)) for name, source in library.tokenizers.items())
    return answer(
        [
            {
                "name": name,
                "source": source,
                "vocab_size": tokenizer.vocab_size,
                "special_tokens": tokenizer.special_tokens,
            }
            for name, source, tokenizer in every
        ]
    )


class TokenizeRequest(Body):
    """A text and how to read it."""

    text: Text
    tokenizer: Annotated[str, Field(description="by default the first")] = ""
    special: Annotated[
        bool, Field(description="the text of a special token stands for the token; otherwise it is ordinary text")
    ] = False


class Token(BaseModel):
    """One token: its id, its bytes in hexadecimal, and those as text (U+FFFD where it ends inside a character)."""

    id: int
    text: str
    bytes: str
    special: bool


class Tokens(BaseModel):
    """A text as tokens."""

    tokenizer: str
    vocab_size: int
    characters: int
    utf8_bytes: int
    distinct: int
    tokens: list[Token]


@router.post("/tokenize", response_model=Tokens, summary="Text to tokens")
def tokenize(request: TokenizeRequest, library: InLibrary, limits: WithinLimits) -> Response:
    """``tokenizer.encode(text)``, and the bytes of each token."""
    check_size("characters of text", len(request.text), limits.text_characters)
    tokenizer = library.tokenizer(request.tokenizer or next(iter(library.tokenizers)))
    ids = tokenizer.encode(
        request.text, allowed_special="all" if request.special else (), disallowed_special=()
    ).tolist()
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
            "tokenizer": tokenizer.name,
            "vocab_size": tokenizer.vocab_size,
            "characters": len(request.text),
            "utf8_bytes": len(request.text.encode("utf-8", "replace")),
            "distinct": len(known),
            "tokens": [known[id_] for id_ in ids],
        }
    )


class WindowsRequest(Body):
    """Token ids and how to cut them."""

    ids: Annotated[list[Id], Field(max_length=100_000, examples=[[40, 367, 2885, 1464, 1807]])]
    context_length: Annotated[int, Field(ge=1, le=4_096)] = 4
    stride: Annotated[int, Field(ge=1, le=1 << 20)] = 4
    batch_size: Annotated[int, Field(ge=1, le=1_024)] = 8
    batch: Annotated[int, Field(ge=0, description="which batch to show, in order")] = 0
    drop_last: bool = True


class Account(BaseModel):
    """What becomes of every token, over the inputs of one epoch."""

    windows: int
    stored: int
    distinct: int
    repeated: int
    padded: int
    dropped: int


class Windows(BaseModel):
    """One batch of windows, and the account of all."""

    windows: int
    batches: int
    account: Account
    starts: list[int] = Field(description="where each window of the batch starts in the ids")
    inputs: list[list[int]]
    targets: list[list[int]]


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
        list[Annotated[list[Id], Field(min_length=1, max_length=4_096)]],
        Field(min_length=1, max_length=1_024, description="[B, T]", examples=[[[40, 367, 2885, 1464]]]),
    ]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 22)] = 50257
    embedding_dim: Annotated[int, Field(ge=1, le=4_096)] = 256
    position: Scheme = "learned"
    num_heads: Annotated[int, Field(ge=1, le=128)] = 8
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 123


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
    layer = _layer(request.vocab_size, D, context_length, request.position, request.num_heads, request.seed)
    ids = torch.tensor(request.ids, dtype=torch.int64)
    with torch.no_grad():
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

    scheme: str
    rows: str
    columns: str
    values: Array


@router.get("/positions", response_model=Positions, summary="A position scheme as an array")
def positions(
    limits: WithinLimits,
    scheme: Annotated[Scheme, Query()] = "learned",
    context_length: Annotated[int, Query(ge=1, le=4_096)] = 64,
    embedding_dim: Annotated[int, Query(ge=1, le=4_096)] = 64,
    num_heads: Annotated[int, Query(ge=1, le=128)] = 8,
    seed: Annotated[int, Query(ge=0, lt=1 << 32)] = 123,
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
                values, rows, columns = AlibiBias(num_heads)(T)[0], "query", "key"
                values = values.masked_fill(values.isinf(), float(values[values.isfinite()].min()))
            case "none":
                values = torch.zeros(T, D)
    told = array(values.detach().numpy(), encoding)
    return answer({"scheme": scheme, "rows": rows, "columns": columns, "values": told})


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingPackageError("embeddings need torch", fix='pip install "foreword[torch]"') from None
    return torch


_RANDOM = threading.Lock()  # torch has one random state for the whole process


def _layer(V: int, D: int, T: int, position: Scheme, num_heads: int, seed: int) -> InputEmbedding:
    with _RANDOM:
        return _drawn(V, D, T, position, num_heads, seed)


@functools.lru_cache(maxsize=2)
def _drawn(V: int, D: int, T: int, position: Scheme, num_heads: int, seed: int) -> InputEmbedding:
    import torch

    from foreword.embeddings import InputEmbedding

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return InputEmbedding(V, D, T, position=position, num_heads=num_heads)
