"""gensim's downloader, by its two functions: ``import foreword.downloader as api``.

Vectors are fetched once into the cache, resumed and checked (docs/downloads.md), or taken from where gensim's
downloader has put them. gensim-data's corpora are not among them: they come with code to run, and nothing that was
downloaded is ever run.

Not for: files and options of reading (``foreword.load``). Costs: that of ``load``.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Literal, overload

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
    return os.fspath(catalogue.local_file(catalogue.find(name)).path)


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
