"""Which file of the corpus a document of a store came from.

A store keeps what was read, a line a source, with its number of documents; documents are in the order in which they
were read. So the file follows from counting, unless documents were dropped as duplicates or went to another part of a
split: of those the store does not know which.

Not for: the place in the file. Costs: reading the list of sources, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreword.tokens.store.checks import read_checked
from foreword.tokens.store.far import FarFiles

__all__ = ["SourceFiles", "read_sources"]


def read_sources(path: Path | FarFiles, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The accounts of the sources that made the store at ``path``, in the order in which they were read.

    Raises:
        StoreError: a list of sources is not what was written.
    """
    accounts: list[dict[str, Any]] = []
    for entry in manifest.get("sources", []):
        accounts += [json.loads(line) for line in read_checked(path, entry).splitlines()]
    return accounts


class SourceFiles:
    """The files of a store's documents.

    Args:
        accounts: what ``read_sources`` gave.
        documents: how many documents the store has.
    """

    def __init__(self, accounts: list[dict[str, Any]], documents: int) -> None:
        # Texts that came from no file have no size.
        self._names = [account["name"] if account["bytes"] is not None else None for account in accounts]
        self._ends = np.cumsum([account["documents"] for account in accounts], dtype=np.int64)
        self._known = bool(accounts) and int(self._ends[-1]) == documents

    def name(self, document: int) -> str | None:
        """The name of the file of a document, as the corpus gave it; None where it is not known, or none."""
        if not self._known:
            return None
        name: str | None = self._names[int(np.searchsorted(self._ends, document, side="right"))]
        return name
