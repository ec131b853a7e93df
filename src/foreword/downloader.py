"""gensim's downloader, by its two functions: ``import foreword.downloader as api``.

Not for: fetching, yet: what is not on this machine is told with the address to get it from. Costs: that of ``load``.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Literal, overload

from foreword.vectors import catalogue

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors

__all__ = ["info", "load"]


@overload
def load(name: str, return_path: Literal[False] = ...) -> KeyedVectors: ...
@overload
def load(name: str, return_path: Literal[True]) -> str: ...
def load(name: str, return_path: bool = False) -> KeyedVectors | str:
    """The vectors called ``name`` in the catalogue, or with ``return_path`` the path of their file.

    Raises:
        UnknownNameError: there are none of this name.
        MissingFileError: they are not on this machine; says where to get them, and where to put them.
    """
    entry = catalogue.find(name)
    if return_path:
        return os.fspath(catalogue.local_file(entry).path)
    from foreword.vectors.loading import load as load_vectors

    return load_vectors(name)


def info(name: str | None = None, *, name_only: bool = False) -> dict[str, Any]:
    """What the catalogue tells of ``name``, or of everything: ``{"corpora": {}, "models": {name: facts}}``.

    The facts have gensim-data's names (num_records, file_size, checksum, license, description, file_name, parameters).
    With ``name_only`` the lists of names: ``{"corpora": [], "models": [name, …]}``.

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
    told = dataclasses.asdict(entry)
    return {
        "num_records": told["words"],
        "file_size": told["bytes"],
        "parameters": {"dimension": told["dim"]},
        "description": told["about"],
        "license": told["license"],
        "checksum": told["md5"],
        "file_name": entry.file,
        "parts": 1,
    }
