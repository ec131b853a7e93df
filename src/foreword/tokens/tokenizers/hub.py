"""Tokenizers of the hub, by the name of their repository: OWNER/REPO, hf://REPO@REVISION, hf://OWNER/REPO/FILE.

What huggingface_hub has in its cache on this machine is used as it is there, each file compared with the id that it
lies under. Else the files are fetched into Foreword's cache, once, whole and checked. A plain word, such as
bert-base-uncased, is never fetched, as it may be a slip: hf:// before it says that it is meant.

Not for: what the files mean (``folder``). Costs: nothing where they are on this machine.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from foreword._base.files import atomic_write, cache_folder, explained, lock
from foreword._base.hub import HubFile, commit_of, fetch_file, is_blob, listing
from foreword.errors import FileError, FormatError, MissingFileError
from foreword.tokens.tokenizers.folder import FILES

__all__ = ["Place", "obtain"]

_COMMIT = re.compile("[0-9a-f]{40}")
_NAME = re.compile(r"(?:hf://)?((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?:@([\w.%-]+))?")
_WITH_FILE = re.compile(r"hf://([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w.%-]+))?/(.+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A tokenizer on the hub.

    Attributes:
        repository: "OWNER/REPO", or "REPO" of one that is so old as to have no owner in its name.
        revision: a branch, tag or commit.
        file: a file of it that is meant; None for what its folder holds.
        meant: whether the name can be meant as that of a repository only.
    """

    repository: str
    revision: str
    file: str | None
    meant: bool

    @classmethod
    def parse(cls, name: str) -> Place | None:
        """What a name says, if it can be that of a repository.

        >>> Place.parse("gpt2-medium").meant, Place.parse("openai/gpt2@main").revision, Place.parse("./folder")
        (False, 'main', None)
        """
        found = _NAME.fullmatch(name) or _WITH_FILE.fullmatch(name)
        if found is None or ".." in name:
            return None
        file = found[3] if found.re is _WITH_FILE else None
        return cls(found[1], unquote(found[2] or "main"), file, name.startswith("hf://") or "/" in found[1])

    def named(self, commit: str) -> str:
        """The name by which exactly these files are got again."""
        return f"hf://{self.repository}@{commit}" + (f"/{self.file}" if self.file else "")


def obtain(place: Place) -> tuple[Path, str] | None:
    """The folder, or file, that a place names, and the commit it is of; None where a plain word is not on this machine.

    Raises:
        UnknownNameError: there is no such repository.
        DownloadError, FileError: it can't be had, or is damaged.
    """
    found = _in_cache_of_huggingface(place) or _in_own_cache(place)
    if found is None and place.meant:
        found = _fetched(place)
    return found


def _in_cache_of_huggingface(place: Place) -> tuple[Path, str] | None:
    home = os.environ.get("HF_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "huggingface"
    )
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    folder = Path(os.path.expandvars(cache)).expanduser() / f"models--{place.repository.replace('/', '--')}"
    try:
        commit = (folder / "refs" / place.revision).read_text().strip()
    except (OSError, ValueError):
        commit = place.revision
    if not _COMMIT.fullmatch(commit):
        return None
    snapshot = folder / "snapshots" / commit
    if place.file is not None:
        files = [snapshot / place.file]
    else:
        files = [snapshot / name for name in FILES]
        files += sorted(snapshot.glob("*.tiktoken")) if snapshot.is_dir() else []
    present = [file for file in files if file.is_file()]
    if not any(file.name not in _SAYS_NO_TOKENS for file in present):
        return None  # it holds other files of the repository
    for file in present:
        blob = file.resolve()
        if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob.name) and not is_blob(blob, blob.name):
            raise FileError(
                "a file in the cache of huggingface_hub is damaged: its contents have another id than its name says",
                where=blob,
                fix="remove it, and fetch it again",
            )
    return (snapshot / place.file if place.file is not None else snapshot), commit


_SAYS_NO_TOKENS = {*FILES[FILES.index("tokenizer_config.json") :]}


def _repository_folder(place: Place) -> Path:
    return cache_folder("downloads", "hf", *place.repository.split("/"))


def _note(folder: Path, place: Place) -> Path:
    """The file that says that all of a place is there."""
    return folder / (".tokenizer" if place.file is None else f".tokenizer.{quote(place.file, safe='')}")


def _in_own_cache(place: Place) -> tuple[Path, str] | None:
    root = _repository_folder(place)
    commit = place.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (root / f".commit.{quote(place.revision, safe='')}").read_text()
        except FileNotFoundError:
            return None
    folder = root / commit
    if not _note(folder, place).exists():
        return None
    return (folder / place.file if place.file is not None else folder), commit


def _fetched(place: Place) -> tuple[Path, str]:
    root = _repository_folder(place)
    with lock(root / ".lock"):
        found = _in_own_cache(place)  # another process may have been faster
        if found is not None:
            return found
        commit = place.revision
        if not _COMMIT.fullmatch(commit):
            commit = commit_of(place.repository, place.revision, root)
        folder = root / commit
        with explained("make the folder", folder):
            folder.mkdir(exist_ok=True)
        for file in _wanted(place, listing(place.repository, commit, folder)):
            fetch_file(place.repository, commit, file, folder)
        with atomic_write(_note(folder, place)):
            pass
        if commit != place.revision:
            with atomic_write(root / f".commit.{quote(place.revision, safe='')}") as note:
                note.write(commit.encode())
    return (folder / place.file if place.file is not None else folder), commit


def _wanted(place: Place, files: dict[str, HubFile]) -> list[HubFile]:
    where = f"hf://{place.repository}@{place.revision}"
    if place.file is not None:
        if place.file not in files:
            raise MissingFileError("the repository has no such file", got=place.file, where=where)
        return [files[place.file]]
    names = [name for name in FILES if name in files]
    if "tokenizer.json" in names:
        names = ["tokenizer.json", *(name for name in names if name in _SAYS_NO_TOKENS)]
    names += [] if "tokenizer.json" in names else [name for name in files if re.fullmatch(r"[^/]+\.tiktoken", name)]
    if not any(name not in _SAYS_NO_TOKENS for name in names):
        raise FormatError(
            "the repository holds no tokenizer", got=", ".join(sorted(files)[:12]) or "no file", where=where
        )
    return [files[name] for name in names]
