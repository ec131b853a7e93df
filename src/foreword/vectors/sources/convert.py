"""Converting a file of vectors to a store in the cache, once, whoever asks first.

A store's folder is named by where the source lies, its size and times, and how it is read; a changed source gets a new
store, and the old one goes. Files that belong to the source, which only reading it tells, stand in the store's manifest
with their sizes and times; where one has changed, the store is made anew. One process converts, others wait for it;
each ends with the same folder. A process that is killed leaves a ``.partial`` folder, which the next conversion of the
same source removes.

Not for: knowing formats (``formats``). Costs: as many threads as there are cores; a few blocks of 4 MB each in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from foreword._base import threads
from foreword._base.files import atomic_folder, cache_folder, explained, lock
from foreword._base.progress import progress
from foreword.errors import ForewordError
from foreword.vectors.formats.base import Options, file_state, vocabulary_of
from foreword.vectors.formats.source import member_of
from foreword.vectors.formats.static_model import model_files
from foreword.vectors.store.store import VERSION, VectorStore

__all__ = ["cached_store", "convert"]

_FIRST = ("limit", "binary", "encoding", "unicode_errors", "vocabulary")
"""The options that the names of all stores tell."""

_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK", b"BZh", b"\xfd7zXZ")
"""How compressed files begin."""


def cached_store(path: Path, options: Options, dtype: np.dtype[Any], *, identity: str | None = None) -> VectorStore:
    """The store of the vectors in the file ``path``, converted now if it wasn't before.

    Args:
        path: the file; ``ARCHIVE/MEMBER`` for one in a zip archive. options: how to read it. dtype: what to keep rows
        as. identity: what stands for the file's place, size and times where these mean nothing, as for an installed
        package.

    Raises:
        MissingFileError, FileError: the file can't be read, or the cache not written.
        FormatError, TextDecodeError: the file is not what it should be.
    """
    source = _describe(path, options, dtype, identity)
    folder = _folder(path, source)
    store = _open(folder, path)
    if store is not None:
        with suppress(OSError):  # a cache that is read-only
            os.utime(folder)  # when it was last used, for `foreword vectors cache`
        return store
    with _locked(folder):
        store = _open(folder, path)  # another process may have been first
        if store is None:
            _clean(folder, source)
            convert(path, folder, options, dtype, source=source)
            store = VectorStore.open(folder)
        return store


def convert(path: Path, folder: Path, options: Options, dtype: np.dtype[Any], *, source: dict[str, Any]) -> None:
    """Convert the vectors in the file ``path`` to the new store ``folder``, which appears whole or not at all."""
    from foreword.vectors.formats import open_vectors
    from foreword.vectors.store.building import StoreBuilder, Workers

    workers = threads.count()
    with (
        atomic_folder(folder) as partial,
        open_vectors(path, options) as (file, reader),
        progress(f"converting {path.name}", file.packed) as bar,
        StoreBuilder(partial, reader.dim, dtype) as builder,
        Workers(workers, thread_name_prefix="foreword-convert") as pool,
    ):
        writing: deque[Future[Any]] = deque()
        at = 0
        for count, make in reader.blocks():
            writing.append(builder.append(count, make, pool))
            if len(writing) > workers:
                writing.popleft().result()
            bar.advance(file.position - at)
            at = file.position
        files = {} if reader.files is None else {"files": dict(reader.files)}
        builder.finish(
            subwords=reader.subwords,
            source={**source, **files},
            encoder=reader.encoder,
            word_ngrams=reader.word_ngrams,
        )


def _describe(path: Path, options: Options, dtype: np.dtype[Any], identity: str | None) -> dict[str, Any]:
    """What a store is of: where the source is, what it was like then, and how it was read."""
    archive, member = member_of(path)
    with explained("read the vectors", path):
        if identity is None:
            place, state = str(archive.resolve()), [file_state(archive)]
            words = vocabulary_of(archive, options)
            state += [file_state(words)] if words is not None and words.exists() else []
            state += [file_state(file) for file in model_files(archive)] if options.vocabulary is None else []
        else:
            place, state = identity, []
            options = replace(options, vocabulary=None)
    return {
        "place": place,
        "member": member,
        "state": state,
        "options": {**_named(options), "dtype": dtype.name},
    }


def _named(options: Options) -> dict[str, Any]:
    """The options by name, less those that came later and are as they always were: stores made before stay."""
    named, standard = asdict(options), asdict(Options())
    if named["unicode_errors"] is None:
        named["unicode_errors"] = "strict"
    elif named["unicode_errors"] == "strict":
        named["strict"] = True  # asked for, where leaving it out may mean something milder
    return {name: value for name, value in named.items() if name in _FIRST or value != standard.get(name)}


def _folder(path: Path, source: dict[str, Any]) -> Path:
    """The folder of a store in the cache: NAME-PLACE-REST, the last two being hashes."""
    place = _digest([source["place"]])[:10]
    return cache_folder("vectors") / f"{path.name[:60]}-{place}-{_digest([VERSION, source])[:16]}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _open(folder: Path, source: Path) -> VectorStore | None:
    """The store in ``folder``; None where there is none, it is damaged, or a file of its source has changed."""
    try:
        store = VectorStore.open(folder)
        files = store.source.get("files")
        if isinstance(files, dict):
            return store if all(file_state(Path(name)) == state for name, state in files.items()) else None
        return None if store.word_ngrams is None and _says_more_now(source) else store
    except (ForewordError, OSError):
        return None


def _says_more_now(path: Path) -> bool:
    """Whether stores were made of such a file before it was known what else to keep of it: of gensim's files their
    parts, of fastText's classifiers that they are some.
    """
    from foreword.vectors.formats.fasttext import is_classifier
    from foreword.vectors.formats.pickles import is_pickle
    from foreword.vectors.formats.source import open_source

    archive, member = member_of(path)
    with open(archive, "rb") as file:
        head = file.read(512)
    if member is None and not (head.startswith(_PACKED) or head[257:262] == b"ustar"):
        return is_pickle(head) or is_classifier(head)
    with open_source(path) as source:
        return is_pickle(source.head) or is_classifier(source.head)


def _clean(folder: Path, source: dict[str, Any]) -> None:
    """Under the lock: remove what killed processes left, damaged stores, and stores of what the source was before."""
    family = escape(folder.name.rpartition("-")[0])
    for left in folder.parent.glob(f".{family}-*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    with explained("replace the damaged store", folder):
        if folder.exists():
            shutil.rmtree(folder)
    for other in folder.parent.glob(f"{family}-*"):
        try:
            older = json.loads((other / "manifest.json").read_bytes())["source"]
            outdated = older["member"] == source["member"] and older["state"] != source["state"]
        except (OSError, ValueError, KeyError, TypeError):
            outdated = True  # a removal that was cut short
        if outdated:
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock of all stores of one source."""
    with lock(folder.with_name(f".{folder.name.rpartition('-')[0]}.lock")):
        yield
