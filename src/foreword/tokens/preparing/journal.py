"""The journal of a prepare that is under way: how far it has come, replaced whole every few seconds.

    OUT/.journal   what it does, where it is, and what proves that it is the same run that goes on
    OUT/.sources   accounts of the sources read so far, a line each; becomes sources.N.jsonl
    OUT/.stamps    the stamp of each of them, a line each: what has not been touched since needs no reading again
    OUT/.digests   16 bytes a document, where documents are de-duplicated; becomes digests

Not for: complete stores, which have none. Costs: a few fsyncs each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from foreword._base.files import atomic_write, explained, read_regular
from foreword._base.words import counted
from foreword.errors import StoreError
from foreword.tokens.store.manifest import as_json

__all__ = [
    "DIGESTS",
    "SOURCES",
    "STAMPS",
    "Journal",
    "cut_back",
    "discard",
    "exclusive",
    "is_own_file",
    "is_published",
    "is_shard_file",
    "load",
    "remove",
    "save",
]

NAME, SOURCES, STAMPS, DIGESTS = ".journal", ".sources", ".stamps", ".digests"
_SHARD_FILE = re.compile(r"(\d{5,})\.(?:tokens|offsets|loss|sums)")
_OWN_FILE = re.compile(rf"{_SHARD_FILE.pattern}|sources\.\d+\.jsonl|digests|\..+\.[0-9a-f]{{8}}\.partial")


@dataclasses.dataclass(frozen=True)
class Journal:
    """How far a run has come.

    Attributes:
        plan: what it does: its tokenizer and options.
        base: the fingerprint of the store that it appends to.
        position: the number of the source that is being read, and how many pieces of it are written.
        outputs: the state of each ``StoreWriter``.
        reading: that source: name, bytes, and what of it was consumed (``Reader.consumed``).
        duplicates: documents dropped because their text came before.
        appends: lists of sources that the store has already.
        sources_bytes: length of the file of accounts.
        stamps_bytes: length of the file of stamps; None in the journal of an earlier version, which has none.
        digests: how many digests of documents there are.
        checksums: the SHA-256 of each of these files, by name; none in the journal of an earlier version.
    """

    plan: dict[str, Any]
    base: str | None
    position: list[int]
    outputs: list[dict[str, Any]]
    reading: dict[str, Any] | None = None
    duplicates: int = 0
    appends: int = 0
    sources_bytes: int = 0
    stamps_bytes: int | None = 0
    digests: int = 0
    checksums: dict[str, str] = dataclasses.field(default_factory=dict)


def load(folder: Path) -> Journal | None:
    """The journal in ``folder``, if there is one."""
    path = folder / NAME
    if not path.exists():
        return None
    text = read_regular(path, "read the journal")
    try:
        saved = json.loads(text)
        names = {field.name for field in dataclasses.fields(Journal)}
        return Journal(**{"stamps_bytes": None, **{name: saved[name] for name in saved.keys() & names}})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(
            "the journal of an interrupted prepare can't be read",
            where=path,
            fix="start over: restart=True (--restart)",
        ) from None


def save(folder: Path, journal: Journal) -> None:
    """Replace the journal, whole or not at all."""
    with atomic_write(folder / NAME) as file:
        file.write(as_json(dataclasses.asdict(journal)))


def cut_back(path: Path, size: int, checksum: str | None) -> bytes:
    """The first ``size`` bytes of a file of the journal; what was written after them is cut off.

    Raises:
        StoreError: the file is shorter, or they are others.
    """
    with open(path, "a+b") as file:
        found = os.fstat(file.fileno()).st_size
        if found < size:
            raise StoreError(
                "a file of an interrupted prepare is shorter than its journal says",
                got=counted(found, "byte"),
                expected=f"{size:,}",
                where=path,
                fix="start over: restart=True (--restart)",
            )
        file.truncate(size)
        file.seek(0)
        data = file.read()
    if checksum is not None and hashlib.sha256(data).hexdigest() != checksum:
        raise StoreError(
            "a file of an interrupted prepare is not as it was left",
            where=path,
            fix="start over: restart=True (--restart)",
        )
    return data


def remove(folder: Path) -> None:
    """Take the journal and its side files away: the work is done."""
    for partial in folder.glob(".*.partial"):
        partial.unlink()
    for name in (SOURCES, STAMPS, DIGESTS, NAME):  # the journal last
        (folder / name).unlink(missing_ok=True)


def discard(folder: Path, names: Iterable[str]) -> None:
    """Throw away an unfinished run: its journal, and the shards of outputs that have no manifest."""
    with explained("start over", folder):
        for name in names:
            part = folder / name
            if (part / "manifest.json").exists() or not part.is_dir():
                continue
            for path in list(part.iterdir()):
                if _OWN_FILE.fullmatch(path.name):
                    path.unlink()
            if name:
                with contextlib.suppress(OSError):  # it holds something that is not ours
                    part.rmdir()
        remove(folder)


def is_shard_file(name: str, *, beyond: int) -> bool:
    """Whether a file's name is that of a shard numbered ``beyond`` or later.

    >>> is_shard_file("00002.tokens", beyond=2), is_shard_file("2025-notes.txt", beyond=2)
    (True, False)
    """
    found = _SHARD_FILE.fullmatch(name)
    return found is not None and int(found[1]) >= beyond


def is_own_file(name: str) -> bool:
    """Whether a file's name is one that a prepare gives."""
    return _OWN_FILE.fullmatch(name) is not None


def is_published(journal: Journal, manifest: bytes) -> bool:
    """Whether the run of a journal came to its end, and was killed before it took the journal away.

    ``manifest`` is the first output's, which is written last.
    """
    return bool(hashlib.sha256(manifest).hexdigest() != journal.base)


@contextlib.contextmanager
def exclusive(folder: Path, *, ours: bool = False) -> Iterator[None]:
    """Hold ``folder`` (made if missing) against every other prepare.

    If it is empty at the end, it is taken away: where it was made here, or is ``ours``, not the user's.
    """
    import filelock

    with explained("write the store", folder):
        created = ours or not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise StoreError(
                "another process is preparing this store", where=folder, fix="wait for it, or name another folder"
            ) from None
        try:
            yield
        finally:
            empty = created and all(path.name == ".lock" for path in folder.iterdir())
            gone = empty and _take_away(folder)
            lock.release()
            if empty and not gone:  # Windows removes no file that is open: if it does now, nobody else has the lock
                _take_away(folder)


def _take_away(folder: Path) -> bool:
    """Remove a folder that holds a lock and nothing else, if that can be."""
    try:
        (folder / ".lock").unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return False
    return True
