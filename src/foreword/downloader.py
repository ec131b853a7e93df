"""gensim's downloader, by its two functions: ``import foreword.downloader as api``.

Vectors are fetched once into the cache, resumed and checked (docs/downloads.md), or taken from where gensim's
downloader has put them. gensim-data's corpora are not among them: they come with code to run, and nothing that was
downloaded is ever run.

Not for: files and options of reading (``foreword.load``). Costs: that of ``load``.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from foreword._base.files import cache_folder, lock
from foreword.vectors.sources import catalogue

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors

__all__ = ["info", "load"]


@overload
def load(name: str, return_path: Literal[False] = ...) -> KeyedVectors: ...
@overload
def load(name: str, return_path: Literal[True]) -> str: ...
def load(name: str, return_path: bool = False) -> KeyedVectors | str:
    """The vectors called ``name`` in the catalogue, or with ``return_path`` the path of their file; fetched if need be.

    A URL or ``hf://OWNER/REPO`` does too.

    Args:
        name: the name.
        return_path: give the path of a file that ``foreword.load`` opens, and ``load_word2vec_format``, gensim's too,
            by the recipe that gensim-data gives for that name (Stanford's two zip archives apart, which gensim can't
            read). The set that comes with Foreword is first written as such a file, some seconds, once.

    Raises:
        UnknownNameError: there are none of this name.
        DownloadError, FileError: they can't be had.
    """
    if not return_path:
        from foreword.vectors.loading import load as load_vectors

        return load_vectors(name if "://" in name else catalogue.find(name).name)
    if "://" in name:
        from foreword.vectors.sources.remote import obtain

        return os.fspath(obtain(name))
    entry = catalogue.find(name)
    if entry.name == catalogue.BUILT_IN:
        return os.fspath(_written(entry))
    return os.fspath(catalogue.local_file(entry).path)


def _written(entry: catalogue.Entry) -> Path:
    """The file of the set that comes with Foreword as an array: gensim-data's, if it is there, else one like it."""
    found = catalogue.on_disk(entry)
    if found is not None:
        return found
    path = cache_folder("downloads", entry.name, "written") / entry.file
    with lock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            from foreword.vectors.formats.writers import write_word2vec
            from foreword.vectors.sources.opening import open_store

            store = open_store(entry.name)
            write_word2vec(path, list(store.keys), store.vectors)
    return path


def info(name: str | None = None, show_only_latest: bool = True, name_only: bool = False) -> dict[str, Any]:  # noqa: ARG001
    """What the catalogue tells of ``name``, or of everything: ``{"corpora": {}, "models": {name: facts}}``.

    The facts have gensim-data's names (num_records, file_size, checksum, license, description, file_name, parameters).
    There is one version of each, so ``show_only_latest`` changes nothing. With ``name_only`` the lists of names:
    ``{"corpora": [], "models": [name, …]}``.

    Raises:
        UnknownNameError: there are no vectors called ``name``.

    >>> info("glove-twitter-25")["num_records"]
    1193514
    """
    if name is not None:
        return _facts(catalogue.find(name))
    if name_only:
        return {"corpora": [], "models": sorted(catalogue.CATALOGUE)}
    return {"corpora": {}, "models": {name: _facts(entry) for name, entry in catalogue.CATALOGUE.items()}}


def _facts(entry: catalogue.Entry) -> dict[str, Any]:
    facts = dataclasses.asdict(entry)
    return {
        "num_records": facts["words"],
        "file_size": facts["bytes"],
        "parameters": {"dimension": facts["dim"]},
        "description": facts["about"],
        "license": facts["license"],
        "checksum": entry.checksum.partition(":")[2],
        "file_name": entry.file,
        "source": entry.source,
        "parts": 1,
    }
