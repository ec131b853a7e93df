"""What conversions have left in the cache: a list of it, and its removal.

A store there is removed under the lock of its conversions, and only if nobody has it open: each open store holds a lock
on its manifest that others may share (on Windows, where open files can't be renamed, that is the hold). It is renamed
first, so that whoever loads it meanwhile finds all of it or nothing. What was downloaded is no concern of this module.

Not for: which store is whose (``convert``). Costs: listing reads each manifest and the sizes of the files.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foreword._base import system
from foreword._base.files import cache_folder, explained
from foreword.errors import ForewordError, UnknownNameError
from foreword.vectors.formats.base import file_state
from foreword.vectors.store.store import VectorStore

__all__ = ["Conversion", "conversions", "named", "remove"]

State = Literal["current", "changed", "gone", "damaged", "unfinished"]


@dataclass(frozen=True)
class Conversion:
    """A store in the cache, or what is left of one.

    Attributes:
        name: of its folder.
        folder: where it lies.
        source: what it was converted from: a path, ARCHIVE/MEMBER, or what stands for vectors that come as a package;
            None where nothing says it.
        options: how that was read, but for what is usual.
        bytes: the size of its files.
        used: when it was last loaded, or made, in seconds since 1970.
        state: "current"; its source has "changed" or is "gone"; "damaged"; or "unfinished", left by a process that was
            killed, or being made right now.
    """

    name: str
    folder: Path
    source: str | None
    options: dict[str, Any]
    bytes: int
    used: float
    state: State


_USUAL = {"limit": None, "binary": None, "encoding": "utf-8", "unicode_errors": "strict", "vocabulary": None}
_USUAL |= {"dtype": "float32"}


def conversions() -> list[Conversion]:
    """All that lies in the cache of stores, the last used first.

    Raises:
        FileError: the cache can't be read.
    """
    cache = cache_folder("vectors")
    with explained("list the cache", cache):
        folders = [folder for folder in cache.iterdir() if folder.is_dir()]
    found = [each for folder in folders if (each := _conversion(folder)) is not None]
    return sorted(found, key=lambda each: (-each.used, each.name))


def _conversion(folder: Path) -> Conversion | None:
    """What lies in ``folder``; None where another process has just removed it."""
    try:
        used = folder.stat().st_mtime
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except OSError:
        return None
    source: str | None = None
    options: dict[str, Any] = {}
    state: State = "unfinished" if folder.name.startswith(".") else "damaged"
    if state == "damaged":
        try:
            told = json.loads((folder / "manifest.json").read_bytes())["source"]
            place, member, before = told["place"], told["member"], told["state"]
            source = f"{place}/{member}" if member else str(place)
            options = {name: kept for name, kept in told["options"].items() if _USUAL.get(name) != kept}
            parts = told.get("files") or {}
            state = _state(folder, Path(place), before, {Path(name): kept for name, kept in parts.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
    return Conversion(folder.name, folder, source, options, size, used, state)


def _state(folder: Path, place: Path, before: list[Any], parts: dict[Path, list[Any]]) -> State:
    try:
        VectorStore.open(folder)
    except ForewordError:
        return "damaged"
    if not before:  # of a package, which is not known by its file
        return "current"
    try:
        same = all(file_state(file) == kept for file, kept in {place: before[0], **parts}.items())
        return "current" if same else "changed"
    except OSError:
        return "gone"


def named(names: Iterable[str]) -> list[Conversion]:
    """The conversions with these names, or of these sources.

    Raises:
        UnknownNameError: there is none of one of them.
    """
    every = conversions()
    chosen: dict[str, Conversion] = {}
    for name in names:
        place = os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 - a source needn't exist
        found = [each for each in every if name == each.name or each.source in (name, place, os.path.realpath(place))]
        if not found:
            raise UnknownNameError(
                "the cache has no conversion of this name or source",
                got=repr(name),
                fix="`foreword vectors cache list` shows them",
            )
        chosen |= {each.name: each for each in found}
    return list(chosen.values())


def remove(conversion: Conversion) -> bool:
    """Remove a conversion unless it is in use, and say whether that was done.

    Raises:
        FileError: it can't be removed.
    """
    import filelock

    folder = conversion.folder
    unfinished = conversion.state == "unfinished"
    family = folder.name.removeprefix(".").rpartition("-")[0]
    aside = folder if unfinished else folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        with filelock.FileLock(folder.with_name(f".{family}.lock"), timeout=0), explained("empty the cache", folder):
            if not unfinished and not system.move_unless_held(folder, "manifest.json", aside):
                return False
            shutil.rmtree(aside)
    except filelock.Timeout:  # it is being converted
        return False
    except FileNotFoundError:  # another process was first
        return True
    return True
