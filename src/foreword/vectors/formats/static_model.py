"""Static embedding models: a folder with a vector for each token of a tokenizer, of model2vec or of
sentence-transformers' StaticEmbedding.

    model2vec               model.safetensors: embeddings [R, D]; maybe mapping [V], token id → row, and weights [V]
                            tokenizer.json  config.json: normalize, max_length  modules.json
    sentence-transformers   model.safetensors: embedding.weight [R, D]  tokenizer.json
                            modules.json: StaticEmbedding, maybe Normalize  config_sentence_transformers.json: prompts
                            the first two in the folder itself or in that of their module, 0_StaticEmbedding

A token's vector is its row times its weight, so that a text's is the mean over its tokens. Rows that no token has are
left out. tokenizer.json is read as data here.

Sources: model2vec 0.10 (persistence, model), sentence-transformers 6.2 (static_embedding). Not for: encoding
(``encoding``). Costs: the file is mapped; the tokens are held.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import explained, read_regular
from foreword._base.json_objects import without_repeats
from foreword._base.words import counted
from foreword.errors import FormatError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack
from foreword.vectors.store.encoder import TOKENIZER, TextEncoder
from foreword.vectors.store.keys import encode

__all__ = ["MODEL", "Tensors", "is_static_model", "model_files", "model_in", "read_static_model"]

MODEL = "model.safetensors"
_EMBEDDINGS = {"embeddings": "model2vec", "embedding.weight": "sentence-transformers"}
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1", "I32": "<i4", "I64": "<i8"}
_INTEGERS = ("I32", "I64")
_MAX_LENGTH = 512
"""Tokens of a text that count in a model2vec whose config doesn't say."""

Tensors = dict[str, tuple[str, tuple[int, ...], int]]
"""name → (dtype as safetensors has it, shape, where it starts in the file)."""


def model_in(folder: Path) -> Path | None:
    """The file of vectors of the static model in ``folder``; None where there is none."""
    for place in (folder, folder / _first_path(folder / "modules.json"), folder / "0_StaticEmbedding"):
        if model_files(place / MODEL) and (place / MODEL).is_file():
            return place / MODEL
    return None


def model_files(path: Path) -> list[Path]:
    """The files that belong to ``path``, where that may be the vectors of a static model: they say how it encodes."""
    if path.name != MODEL or not path.with_name(TOKENIZER).is_file():
        return []
    top = _top(path)
    names = [path.with_name(TOKENIZER), path.with_name("config.json")]
    return [
        file for file in (*names, top / "modules.json", top / "config_sentence_transformers.json") if file.is_file()
    ]


def _top(path: Path) -> Path:
    """The folder of the model whose vectors ``path`` has: its own, or the one above."""
    above = path.parent.parent
    return above if _first_path(above / "modules.json") == path.parent.name else path.parent


def _first_path(modules: Path) -> str:
    """The folder of the first module that modules.json names, "" for its own."""
    try:
        found = json.loads(modules.read_bytes())[0]["path"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    parts = PurePosixPath(found).parts if isinstance(found, str) else ()
    return parts[0] if len(parts) == 1 and parts[0] not in ("/", "..") else ""


def is_static_model(path: Path, tensors: Tensors, options: Options) -> bool:
    """Whether the safetensors file ``path`` holds the vectors of a static model."""
    return options.vocabulary is None and not _EMBEDDINGS.keys().isdisjoint(tensors) and bool(model_files(path))


def read_static_model(path: Path, tensors: Tensors, options: Options) -> Reader:
    """A reader of a static model, whose words are the tokens in the order of their ids.

    Raises:
        FormatError: a file of the model is damaged, the tensors don't fit the tokens, or it has modules besides.
    """
    name = next(name for name in _EMBEDDINGS if name in tensors)
    matrix = _tensor(path, tensors, name)
    tokenizer = read_regular(path.with_name(TOKENIZER), "read the tokenizer")
    tokens = _tokens(tokenizer, path.with_name(TOKENIZER))
    ids = np.fromiter(tokens, np.int64, len(tokens))
    mapping, weights = (
        _tensor(path, tensors, part) if part in tensors and _EMBEDDINGS[name] == "model2vec" else None
        for part in ("mapping", "weights")
    )
    rows = _fitting(path, matrix, ids, mapping, weights)
    if _EMBEDDINGS[name] == "model2vec":
        encoder = _model2vec(path, tokenizer)
    else:
        encoder = _sentence_transformers(path, tokenizer)
    words = [encode(token) for token in tokens.values()]
    wanted = options.most(len(words))

    def blocks() -> Iterator[Pending]:
        at_once = max(1, BLOCK_BYTES // (4 * matrix.shape[1]))
        for start in range(0, wanted, at_once):
            yield min(at_once, wanted - start), functools.partial(make, start, min(start + at_once, wanted))

    def make(start: int, stop: int) -> Block:
        part = matrix[rows[start:stop]]
        if matrix.dtype == np.uint16:  # bfloat16: float32's upper half
            part = (part.astype(np.uint32) << 16).view(np.float32)
        if weights is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is refused when it is written
                part = part * weights[ids[start:stop], None].astype(np.float64)
        return Block(*pack(words[start:stop]), part, lambda i: f"{path}, token {start + i:,}")

    return Reader(matrix.shape[1], blocks, encoder=encoder if wanted == len(words) else None)


def _tensor(path: Path, tensors: Tensors, name: str) -> NDArray[Any]:
    kind, shape, start = tensors[name]
    whole = name in _EMBEDDINGS
    if (
        kind not in _DTYPES
        or (whole and kind in _INTEGERS)
        or len(shape) != (2 if whole else 1)
        or (whole and not 1 <= shape[1] <= MAX_DIM)
    ):
        raise _damaged(path, f"a tensor {name} of {kind} {list(shape)}")
    with explained("read the vectors", path):
        if path.stat().st_size < start + np.dtype(_DTYPES[kind]).itemsize * int(np.prod(shape)):
            raise FormatError("the file is cut short", where=path, fix="get the file again")
        if not np.prod(shape):
            return np.empty(shape, _DTYPES[kind])
        return np.asarray(np.memmap(path, _DTYPES[kind], "r", start, shape))


def _fitting(
    path: Path, matrix: NDArray[Any], ids: NDArray[np.int64], mapping: NDArray[Any] | None, weights: NDArray[Any] | None
) -> NDArray[np.int64]:
    """The row of each token."""
    most = int(ids[-1]) + 1
    for what, part in (("mapping", mapping), ("weights", weights)):
        kinds = "iu" if what == "mapping" else "f"
        if part is not None and (len(part) < most or part.dtype.kind not in kinds):
            raise _damaged(path, f"{what} {part.dtype} [{len(part):,}] for {counted(most, 'token')}")
    rows = ids if mapping is None else np.asarray(mapping[ids], dtype=np.int64)
    if rows.min() < 0 or rows.max() >= len(matrix):
        raise FormatError(
            "the tokenizer doesn't fit the vectors",
            got=counted(len(matrix), "row"),
            expected=f"at least {int(rows.max()) + 1:,}, one for each token",
            where=path,
            fix=f"put the tokenizer that the model was made with beside it, as {TOKENIZER}",
        )
    return rows


def _tokens(data: bytes, where: Path) -> dict[int, str]:
    """id → token of a tokenizer.json, by rising id."""
    try:
        content = json.loads(data, object_pairs_hook=without_repeats)
        vocab = content["model"]["vocab"]
        pairs = list(vocab.items()) if isinstance(vocab, dict) else [(entry[0], i) for i, entry in enumerate(vocab)]
        pairs += [(added["content"], added["id"]) for added in content.get("added_tokens") or ()]
        tokens = {number: token for token, number in dict(pairs).items()}
        if not tokens or len(tokens) != len(dict(pairs)):
            raise ValueError
        if not all(type(number) is int and number >= 0 and type(token) is str for number, token in tokens.items()):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as cause:
        got = str(cause)[:200] if isinstance(cause, ValueError) else ""
        raise FormatError("the tokenizer is damaged", got=got or None, where=where, fix="get the file again") from None
    return dict(sorted(tokens.items()))


def _model2vec(path: Path, tokenizer: bytes) -> TextEncoder:
    config = _json(path.with_name("config.json"), dict, missing={})
    normalize, max_length = config.get("normalize", False), config.get("max_length", _MAX_LENGTH)
    if type(normalize) is not bool or not (max_length is None or (type(max_length) is int and max_length > 0)):
        raise _damaged(path.with_name("config.json"), f"normalize {normalize!r}, max_length {max_length!r}"[:80])
    return TextEncoder("model2vec", normalize, max_length, "", tokenizer)


def _sentence_transformers(path: Path, tokenizer: bytes) -> TextEncoder:
    top = _top(path)
    modules = _json(top / "modules.json", list, missing=[])
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        places = [str(module["path"]) for module in modules]
    except (TypeError, KeyError):
        raise _damaged(top / "modules.json", "modules without a type and a path") from None
    if kinds and kinds not in (["StaticEmbedding"], ["StaticEmbedding", "Normalize"]):
        raise FormatError(
            "the model does more than look tokens up",
            got=", ".join(kinds)[:200],
            expected="StaticEmbedding, and maybe Normalize after it",
            where=top / "modules.json",
        )
    if len(kinds) > 1:
        settings = _json(top / PurePosixPath(places[1]).name / "config.json", dict, missing={})
        if set(settings.values()) - {"sentence_embedding"}:
            raise _damaged(top / "modules.json", f"Normalize of {settings}"[:80])
    config = _json(top / "config_sentence_transformers.json", dict, missing={})
    if config.get("truncate_dim") is not None:
        raise FormatError(
            "the model cuts its vectors",
            got=f"truncate_dim {config['truncate_dim']!r}"[:60],
            where=top,
            expected="null",
        )
    prompt: Any = ""
    if (named := config.get("default_prompt_name")) is not None:
        prompts = config.get("prompts")
        prompt = prompts.get(named) if isinstance(prompts, dict) else None
    if type(prompt) is not str:
        raise _damaged(top / "config_sentence_transformers.json", f"no prompt {named!r}"[:80])
    return TextEncoder("sentence-transformers", len(kinds) > 1, None, prompt, tokenizer)


def _json(path: Path, kind: type, *, missing: Any) -> Any:
    if not path.is_file():
        return missing
    try:
        value = json.loads(read_regular(path, "read the model's settings"), object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as cause:
        raise _damaged(path, str(cause)[:200]) from None
    if not isinstance(value, kind):
        raise _damaged(path, "no JSON of its kind")
    return value


def _damaged(path: Path, got: str) -> FormatError:
    return FormatError("the static model is damaged", got=got, where=path, fix="get the files again")
