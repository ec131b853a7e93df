"""The journal of a prepare that is under way: how far it has come, replaced whole every few seconds.

    OUT/.journal   {"plan": what it does, "position": [source, pieces of it], "outputs": state of each StoreWriter, …}
    OUT/.sources   accounts of the sources read so far, a line each; becomes sources.N.jsonl
    OUT/.digests   16 bytes a document, where documents are de-duplicated; becomes digests

Not for: complete stores, which have none. Costs: a few fsyncs each time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from foreword._base.files import atomic_write, explained, read_regular
from foreword.errors import StoreError
from foreword.tokens.store.store import TokenStore

__all__ = ["DIGESTS", "SOURCES", "discard", "is_published", "load", "read_sources", "remove", "save"]

NAME, SOURCES, DIGESTS = ".journal", ".sources", ".digests"


def load(folder: Path) -> dict[str, Any] | None:
    """The journal in ``folder``, if there is one."""
    path = folder / NAME
    if not path.exists():
        return None
    with explained("read the journal", path):
        text = path.read_bytes()
    try:
        saved: dict[str, Any] = json.loads(text)
        _ = saved["plan"], saved["position"], saved["outputs"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            "the journal of an interrupted prepare can't be read",
            where=path,
            fix="start over: restart=True (--restart)",
        ) from None
    return saved


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the journal, whole or not at all."""
    with atomic_write(folder / NAME) as file:
        file.write(json.dumps(state, ensure_ascii=False).encode())


def remove(folder: Path) -> None:
    """Take the journal and its side files away: the work is done."""
    for partial in folder.glob(".*.partial"):
        partial.unlink()
    for name in (SOURCES, DIGESTS, NAME):  # the journal last
        (folder / name).unlink(missing_ok=True)


def discard(folder: Path, names: Iterable[str]) -> None:
    """Throw away an unfinished run: its journal, and the shards of outputs that have no manifest."""
    with explained("start over", folder):
        for name in names:
            part = folder / name
            if (part / "manifest.json").exists():
                continue
            for pattern in ("[0-9]*.tokens", "[0-9]*.offsets", "[0-9]*.sums", "sources.*.jsonl", ".*.partial"):
                for path in part.glob(pattern):
                    path.unlink()
            if name:
                shutil.rmtree(part, ignore_errors=True)
        remove(folder)


def is_published(saved: Mapping[str, Any], folder: Path) -> bool:
    """Whether the run of a journal came to its end, and was killed before it took the journal away.

    ``folder`` is the first output's, whose manifest is written last.
    """
    return bool(hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() != saved["base"])


def read_sources(store: TokenStore) -> dict[str, dict[str, Any]]:
    """The accounts of the sources that made a store, by name."""
    known = {}
    for told in store.manifest["sources"]:
        path = store.path / told["file"]
        for line in read_regular(path, "read the store").splitlines():
            account = json.loads(line)
            known[account["name"]] = account
    return known
