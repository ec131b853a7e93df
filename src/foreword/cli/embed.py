"""``foreword embed``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foreword._base.words import counted
from foreword.cli._options import given
from foreword.cli._plot import Plot


def embed(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A file, folder, pattern or URL: of text, or of a token store.")],
    out: Annotated[Path, typer.Argument(help="NAME.safetensors, or a folder to make, of .npy files.")],
    vectors: Annotated[
        str | None,
        typer.Option(help="Word vectors: a catalogue name, or a path.", show_default="glove-wiki-gigaword-50"),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="An input layer's checkpoint: a folder, or a .safetensors file.")
    ] = None,
    static: Annotated[
        str | None,
        typer.Option(help="A static embedding model: a folder, or hf://OWNER/REPO.", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="The tokenizer that the layer was trained with.", show_default="its folder's"),
    ] = None,
    pool: Annotated[
        bool, typer.Option("--pool", help="Write one row for each document: the mean of its tokens' or words' rows.")
    ] = False,
    unknown: Annotated[
        Literal["skip", "zero", "error"], typer.Option(help="What to do with words that have no vector.")
    ] = "skip",
    documents: Annotated[
        Literal["file", "line", "blank-line"], typer.Option(help="What a document is in text files.")
    ] = "file",
    field: Annotated[
        str, typer.Option(help="The field or column that holds the text in jsonl, parquet and csv.")
    ] = "text",
    plot: Plot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as data.")] = False,
) -> None:
    """Write the embeddings of a corpus to a file.

    By word vectors each word has a row, by an input layer's token table each token; with --pool each document. By a
    static embedding model, of model2vec or of sentence-transformers' StaticEmbedding, each document has one.

    Example: foreword embed reviews.txt reviews.safetensors --documents line --pool
    """
    from foreword.errors import ArgumentError
    from foreword.recipes import embed as run

    if (layer or static) and given(context, "unknown"):
        raise ArgumentError("--unknown goes with word vectors: by tokens, nothing is unknown", fix="leave it out")
    if plot is not None and plot == out:
        raise ArgumentError("the embeddings and --plot would go to one file", got=str(plot), fix="name two files")
    done = run(
        source,
        out,
        vectors=vectors,
        layer=layer,
        static=static,
        tokenizer=tokenizer,
        pool=pool,
        unknown=unknown,
        documents=documents,
        field=field,
    )
    if plot is not None:
        from foreword.display import displays

        first = _beginning(done.path, min(done.rows, displays.DRAWN_ROWS))
        displays.embedding(first, title=f"{done.path.name}, {done.rows:,} × {done.dim}; its first rows").plot(plot)
    if as_json:
        print(json.dumps(dataclasses.asdict(done), default=str))
        return
    kind = "token" if layer or static else "word"
    print(f"{done.path}: {done.rows:,} × {done.dim} float32")
    read = f"{counted(done.documents, 'document')}, {counted(done.tokens, kind)}"
    print(f"{read}, {done.unknown:,} of them without a vector")


def _beginning(path: Path, rows: int) -> Any:
    """The first rows of what was written: float32 [rows, D]."""
    if path.is_dir():
        import numpy as np

        return np.load(path / "embeddings.npy", mmap_mode="r")[:rows]
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return file.get_slice("embeddings")[:rows] if rows else file.get_tensor("embeddings")
