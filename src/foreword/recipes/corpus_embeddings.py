"""The loop of ``foreword embed``: documents in, rows out, a block of ids at a time.

Not for: how ids or files are made (``encoders``, ``output``). Costs: BLOCK rows of D float32 at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import given_path, remote_url
from foreword._base.progress import progress
from foreword._base.words import counted
from foreword.errors import ArgumentError, DownloadError, MissingFileError
from foreword.recipes.encoders import Encoder, LayerEncoder, StaticEncoder, Unknown, WordEncoder, check_unknown
from foreword.recipes.output import Output, check_output, open_output

if TYPE_CHECKING:
    from foreword.embeddings import InputEmbedding
    from foreword.tokens import Tokenizer, TokenStore
    from foreword.tokens.preparing.documents import Reading
    from foreword.vectors import KeyedVectors

__all__ = ["BLOCK", "Embedded", "embed"]

_OTHER_FILES = {
    *(".bin", ".npy", ".npz", ".txt", ".vec", ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".h5", ".hdf5"),
    *(".pt", ".pth", ".pkl", ".gz", ".zip"),
}
"""Endings of names that nobody would give a folder."""

BLOCK = 1 << 16
"""Ids whose rows are in memory at once."""


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What was written.

    Attributes:
        path: the .safetensors file, or the folder of .npy files.
        rows: rows written: words or tokens, or documents where they were pooled.
        dim: D.
        documents: documents read.
        tokens: words or tokens read, those without a vector included.
        unknown: of these, words without a vector.
    """

    path: Path
    rows: int
    dim: int
    documents: int
    tokens: int
    unknown: int


def embed(
    source: str | os.PathLike[str] | TokenStore,
    out: str | os.PathLike[str],
    *,
    vectors: str | os.PathLike[str] | KeyedVectors | None = None,
    layer: str | os.PathLike[str] | InputEmbedding | None = None,
    static: str | os.PathLike[str] | KeyedVectors | None = None,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    pool: bool = False,
    unknown: Unknown = "skip",
    documents: str = "file",
    field: str = "text",
) -> Embedded:
    """Write the embeddings of a corpus to ``out``.

    By word vectors, each word of the text has a row (``vectors``, by default GloVe); by an input layer, each token has
    (``layer``). By a static embedding model each document has one, as ``KeyedVectors.encode`` gives it (``static``).
    Static embeddings all: a word has one vector, wherever it stands.

    Args:
        source: a file, folder, pattern or URL of text, as ``prepare`` reads them; a token store, or its folder or URL.
        out: NAME.safetensors, one file; or a folder to make, of .npy files.
        vectors: word vectors, gensim's ``KeyedVectors`` too; or their name or path.
        layer: an ``InputEmbedding``, or what ``from_pretrained`` reads; its token table is used, without positions.
        static: a static embedding model, or its folder, or hf://OWNER/REPO.
        tokenizer: of the layer. By default that of the layer's folder (its tokenizer.json); without one GPT-2's, for a
            table of its 50,257 rows, or that of the token store, for a table of its size. Else it must be named.
        pool: one row for each document, the mean of its words' or tokens' rows; zeros where it has none. By a static
            model there is no other way.
        unknown: words without a vector: "skip", "zero" (the id is −1), "error". Pooled, "zero" counts in the mean.
        documents: in text files: "file", "line" or "blank-line". Every one counts, the empty too: rows of pooled lines
            are rows of the file.
        field: of jsonl, parquet and csv: what holds the text.

    Without pooling ``out`` holds ``embeddings`` float32 [N, D], ``ids`` int64 [N] (rows of the vectors, or token ids)
    and ``offsets`` int64 [documents + 1] (where each document starts); with it ``embeddings`` float32 [documents, D]
    and ``counts`` int64 [documents] (what each mean is of).

    Raises:
        ArgumentError: two of vectors, layer and static, what doesn't fit together, or a layer whose tokenizer isn't
            known.
        ArgumentTypeError: vectors that are neither Foreword's nor gensim's, nor a path.
        UnknownKeyError: a word without a vector, with unknown="error".
        FileError, FormatError, StoreError, TextDecodeError: the source can't be read, or ``out`` can't be written.

    >>> import foreword as fw, numpy as np, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "two.txt").write_text("the king\\nthe queen of qwxzy")
    >>> done = embed(folder / "two.txt", folder / "out", documents="line")
    >>> done.rows, done.dim, done.unknown
    (5, 50, 1)
    >>> np.load(folder / "out" / "offsets.npy")
    array([0, 2, 5])
    """
    from foreword.tokens.preparing.documents import Reading

    if sum(each is not None for each in (vectors, layer, static)) > 1:
        raise ArgumentError("give one of vectors, layer and static")
    if tokenizer is not None and layer is None:
        raise ArgumentError(
            "a tokenizer goes with a layer: vectors are of words, and a static model has its own",
            got=f"tokenizer={getattr(tokenizer, 'name', tokenizer)!r}",
            fix="leave it out, or name the layer: layer=… (--layer)",
        )
    target = given_path(out)
    if target.suffix.lower() in _OTHER_FILES:  # a folder of that name would be no such file
        raise ArgumentError(
            "embeddings are not written in this format",
            got=str(out),
            expected="NAME.safetensors, or a folder to make, of .npy files",
            fix=f"write {target.with_suffix('.safetensors')}, or the folder {target.with_suffix('')}",
        )
    check_unknown(unknown)
    reading = Reading(documents=documents, field=field)
    check_output(target)
    store = _store_of(source)
    texts = _Texts(source, store, reading)
    encoder: Encoder | StaticEncoder
    if static is not None:
        encoder, description = _static(static)
        pool = True
    elif layer is None:
        encoder, description = _words(vectors, unknown)
    else:
        encoder, description = _tokens(layer, tokenizer, store)
    count = _Count()
    about: dict[str, Any] = {"source": str(getattr(source, "path", source)), **description, "pool": pool}
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {"embeddings": ("<f4", (encoder.dim,))}
    kinds |= {"counts": ("<i8", ())} if pool else {"ids": ("<i8", ()), "offsets": ("<i8", ())}
    with open_output(target, kinds, about) as output:
        if isinstance(encoder, StaticEncoder):
            rows = _documents(texts, encoder, count, output)
        else:
            pieces = _pieces(texts, encoder)
            write = _pooled if pool else _one_by_one
            rows = write(_known(pieces, count, drop=layer is None and unknown == "skip"), encoder, output)
        about |= {"documents": count.documents, "tokens": count.tokens, "unknown": count.unknown}
    return Embedded(target, rows, encoder.dim, count.documents, count.tokens, count.unknown)


@dataclasses.dataclass
class _Count:
    documents: int = 0
    tokens: int = 0
    unknown: int = 0


def _words(
    vectors: str | os.PathLike[str] | KeyedVectors | None, unknown: Unknown
) -> tuple[WordEncoder, dict[str, Any]]:
    wv, name = _table("glove-wiki-gigaword-50" if vectors is None else vectors)
    return WordEncoder(wv, unknown=unknown), {"vectors": name, "unknown_policy": unknown}


def _static(static: str | os.PathLike[str] | KeyedVectors) -> tuple[StaticEncoder, dict[str, Any]]:
    wv, name = _table(static)
    return StaticEncoder(wv), {"static": name}


def _table(vectors: str | os.PathLike[str] | KeyedVectors) -> tuple[KeyedVectors, str]:
    """The vectors, and what they are called; gensim's own as Foreword's, over the same memory."""
    from foreword.vectors import KeyedVectors, load

    if isinstance(vectors, KeyedVectors):
        return vectors, repr(vectors)
    if hasattr(vectors, "key_to_index") or hasattr(vectors, "wv"):  # of a whole model the error says which to give
        return KeyedVectors.from_gensim(vectors), repr(vectors)
    return load(vectors), str(vectors)


def _tokens(
    layer: str | os.PathLike[str] | InputEmbedding,
    tokenizer: str | os.PathLike[str] | Tokenizer | None,
    store: TokenStore | None,
) -> tuple[LayerEncoder, dict[str, Any]]:
    from foreword.embeddings import InputEmbedding
    from foreword.tokens import get_tokenizer

    tokenizer = None if tokenizer is None else get_tokenizer(tokenizer)
    if isinstance(layer, InputEmbedding):
        table, folder, name = layer, None, repr(layer).splitlines()[1].strip()
    else:
        table, folder, name = InputEmbedding.from_pretrained(layer, position="none"), Path(layer), os.fspath(layer)
    if tokenizer is None:
        tokenizer = _tokenizer_of(table.vocab_size, folder, store)
    tok = get_tokenizer(tokenizer)
    return LayerEncoder(table, tok), {"layer": name, "tokenizer": tok.name, "tokenizer_fingerprint": tok.fingerprint}


# Files of tokenizers that can't be opened as they are: which of a model's are used, and how, its own code says.
_OTHER_TOKENIZERS = (
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def _tokenizer_of(vocab_size: int, folder: Path | None, store: TokenStore | None) -> str | Path | Tokenizer:
    """The tokenizer that goes with a layer, where none is named.

    Raises:
        ArgumentError: nothing says which it is.
    """
    from foreword.embeddings.tensors import snapshot

    found: list[str] = []
    if folder is not None:
        folder = snapshot(folder)
        folder = folder.parent if folder.is_file() else folder
        if (folder / "tokenizer.json").is_file():
            return folder / "tokenizer.json"
        found = [name for name in _OTHER_TOKENIZERS if (folder / name).exists()]
        found += sorted(path.name for path in folder.glob("*.tiktoken"))
    if not found and vocab_size == _GPT2_ROWS:
        return "gpt2"
    if not found and store is not None and store.tokenizer.vocab_size == vocab_size:
        return store.tokenizer
    raise ArgumentError(
        "which tokenizer was the layer made for?",
        got=f"a table of {counted(vocab_size, 'row')}"
        + (f" beside {', '.join(found)}, without a tokenizer.json" if found else ""),
        where=None if folder is None else str(folder),
        fix='name it: tokenizer="…", a name or a file',
    )


_GPT2_ROWS = 50257


def _store_of(source: str | os.PathLike[str] | TokenStore) -> TokenStore | None:
    """The source, where it is a token store, its folder or the URL of one; None where it is text.

    A URL whose suffix says that it is a file of text is not asked for a manifest.
    """
    from foreword.tokens import TokenStore
    from foreword.tokens.preparing.kinds import format_of

    if isinstance(source, TokenStore):
        return source
    url = remote_url(source)
    if url is None:
        there = os.path.exists(f"{os.fspath(source)}/manifest.json")  # noqa: PTH110 - a Path would not take every text
        return TokenStore.open(source) if there else None
    name = url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2]
    if format_of(name) is not None or "*" in name:
        return None
    with contextlib.suppress(MissingFileError, DownloadError):  # some servers refuse what they don't have
        return TokenStore.open(url)
    return None


class _Texts:
    """The documents of the source: from a store as its token ids, else as text, a piece at a time."""

    def __init__(self, source: Any, store: TokenStore | None, reading: Reading) -> None:
        from foreword.tokens.preparing.corpus import open_corpus

        self.store, self._reading = store, reading
        self._sources = open_corpus(source) if store is None else None

    def ids(self, store: TokenStore) -> Iterator[NDArray[Any]]:
        """The token ids of the store's documents."""
        with progress("embedding", store.documents, unit="documents") as bar:
            for i in range(store.documents):
                yield store.document(i)
                bar.advance(1)

    def pieces(self, *, cuttable: bool) -> Iterator[tuple[str, bool]]:
        """Pieces of text, cut where a document may be, and whether a document ends with each."""
        from foreword.tokens.preparing.corpus import warn_passed_over
        from foreword.tokens.preparing.documents import Reader

        sources = self._sources
        assert sources is not None
        warn_passed_over(sources, "embed")
        sizes = [getattr(each, "size", None) for each in sources]
        total = None if None in sizes else float(sum(size or 0 for size in sizes))
        with progress("embedding", total, unit="B") as bar:
            reader = Reader(self._reading, cuttable=cuttable, advance=bar.advance, keep_empty=True)
            for each in sources:
                yield from reader.texts(each)


Pieces = Iterator[tuple[NDArray[np.int64], bool]]
"""The ids of the source, a piece at a time, and whether a document ends with it."""


def _pieces(texts: _Texts, encoder: Encoder) -> Pieces:
    if texts.store is not None:
        for ids in texts.ids(texts.store):
            yield encoder.of_store(ids, texts.store.tokenizer), True
    else:
        for text, ends in texts.pieces(cuttable=encoder.cuttable):
            yield encoder.ids(text), ends


def _documents(texts: _Texts, encoder: StaticEncoder, count: _Count, output: Output) -> int:
    """Write a row for each document, by whole texts."""
    group: list[str] = []
    size = 0

    def write() -> None:
        rows, counts = encoder.vectors(group)
        output.append("embeddings", rows)
        output.append("counts", counts)
        count.documents += len(group)
        count.tokens += int(counts.sum())

    if texts.store is None:
        whole = (text for text, _ in texts.pieces(cuttable=False))  # documents in one piece
    else:
        tokenizer, special = texts.store.tokenizer, list(texts.store.tokenizer.special_tokens.values())
        whole = (tokenizer.decode(ids[~np.isin(ids, special)]) for ids in texts.ids(texts.store))
    for text in whole:
        group.append(text)
        size += len(text) + 1
        if size >= BLOCK * 16 or len(group) == BLOCK:
            write()
            group, size = [], 0
    write()
    return count.documents


def _known(pieces: Pieces, count: _Count, *, drop: bool) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """The pieces, counted; without unknown words where they are to be dropped; at most BLOCK ids each."""
    for ids, ends in pieces:
        known = ids >= 0
        count.tokens += len(ids)
        count.unknown += int(len(ids) - known.sum())
        count.documents += ends
        kept = ids[known] if drop else ids
        for start in range(0, max(len(kept), 1), BLOCK):
            yield kept[start : start + BLOCK], ends and start + BLOCK >= len(kept)


def _one_by_one(pieces: Iterator[tuple[NDArray[np.int64], bool]], encoder: Encoder, output: Output) -> int:
    written = 0
    output.append("offsets", np.zeros(1, np.int64))
    for group in _groups(pieces):
        ids = np.concatenate([part for part, _ in group])
        output.append("embeddings", encoder.rows(ids))
        output.append("ids", ids)
        ends = written + np.cumsum([len(part) for part, _ in group])
        output.append("offsets", ends[[ends_here for _, ends_here in group]])
        written += len(ids)
    return written


def _pooled(pieces: Iterator[tuple[NDArray[np.int64], bool]], encoder: Encoder, output: Output) -> int:
    written = 0
    total, count = np.zeros(encoder.dim), 0  # of the document at hand, which may go on in the next group
    for group in _groups(pieces):
        rows = encoder.rows(np.concatenate([part for part, _ in group]))
        means, counts, start = [], [], 0
        for part, ends in group:
            # A slice's sum; numpy's reduceat over all of them takes ten times as long.
            total += rows[start : start + len(part)].sum(axis=0, dtype=np.float64)
            count += len(part)
            start += len(part)
            if ends:
                means.append(total / max(count, 1))
                counts.append(count)
                total, count = np.zeros(encoder.dim), 0
        output.append("embeddings", np.array(means, dtype=np.float32).reshape(-1, encoder.dim))
        output.append("counts", np.array(counts, dtype=np.int64))
        written += len(means)
    return written


def _groups(
    pieces: Iterator[tuple[NDArray[np.int64], bool]],
) -> Iterator[list[tuple[NDArray[np.int64], bool]]]:
    """Pieces put together up to about BLOCK ids, so that a line a document costs little."""
    group: list[tuple[NDArray[np.int64], bool]] = []
    size = 0
    for ids, ends in pieces:
        group.append((ids, ends))
        size += len(ids) + 1
        if size >= BLOCK:
            yield group
            group, size = [], 0
    if group:
        yield group
