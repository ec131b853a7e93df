"""The Hugging Face hub: which files a public repository holds, and each of them fetched whole and checked.

A large file is held to its SHA-256, a small one to the id that git gives its contents. ``HF_ENDPOINT`` names another
hub, as it does for huggingface_hub. Public repositories only: nobody says who asks.

Not for: what the files mean. Costs: a request for a listing, one for each file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar
from urllib.parse import quote

from foreword._base.files import explained
from foreword.errors import DownloadError, UnknownNameError

__all__ = ["HubFile", "commit_of", "fetch_file", "hub_url", "is_blob", "listing"]

_HUB = "https://huggingface.co"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository.

    Attributes:
        path: in the repository; never one that leads out of it.
        size: in bytes.
        checksum: of a large file, "sha256:…".
        blob: of a small one, the id that git gives its contents.
    """

    path: str
    size: int | None
    checksum: str | None
    blob: str | None = None


def hub_url(path: str) -> str:
    """The URL of ``path`` on the hub."""
    return f"{(os.environ.get('HF_ENDPOINT') or _HUB).rstrip('/')}/{path}"


def commit_of(repository: str, revision: str, folder: Path) -> str:
    """The commit that a branch or tag stands for now; ``folder`` is where the answer lies meanwhile."""
    url = hub_url(f"api/models/{repository}/revision/{quote(revision, safe='')}")

    def commit(answer: Any) -> str:
        if re.fullmatch(r"[0-9a-f]{7,64}", answer["sha"]) is None:
            raise ValueError(answer["sha"])
        return str(answer["sha"])

    return _ask(url, folder / ".revision.json", f"{repository} at {revision}", "a commit", commit)


def listing(repository: str, revision: str, folder: Path) -> dict[str, HubFile]:
    """The files of a repository as it is now, by path; ``folder`` is where the answer lies meanwhile.

    Raises:
        UnknownNameError: there is no such public repository or revision.
        DownloadError, FileError: the hub can't be asked.
    """
    url = hub_url(f"api/models/{repository}/tree/{quote(revision, safe='')}?recursive=true")

    def files(answer: Any) -> dict[str, HubFile]:
        entries = [_entry(entry) for entry in answer if entry["type"] == "file"]
        return {entry.path: entry for entry in entries}

    return _ask(url, folder / ".listing.json", f"{repository} at {revision}", "a list of files", files)


def _ask(url: str, answer: Path, what: str, kind: str, understood: Callable[[Any], T]) -> T:
    from foreword._base.download import fetch  # and with it urllib and ssl: 20 ms

    with explained("ask the hub", answer):
        answer.unlink(missing_ok=True)
    try:
        fetch(url, answer)
    except DownloadError as error:
        if error.status in (401, 404):  # the hub doesn't tell private ones from missing ones
            raise UnknownNameError(
                "no such public Hugging Face repository or revision",
                got=what,
                fix="check the name; of a private one fetch the files by other means, and load them by their path",
            ) from error
        raise
    try:
        return understood(json.loads(answer.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DownloadError(f"the hub's answer is not {kind}", where=url, fix="try again later") from None
    finally:
        answer.unlink(missing_ok=True)


def _entry(item: dict[str, Any]) -> HubFile:
    path, size, large, blob = item["path"], item.get("size"), item.get("lfs"), item.get("oid")
    drive = PureWindowsPath(path).drive  # C:x would lead out of our folder on Windows
    if PurePosixPath(path).is_absolute() or drive or ".." in PurePosixPath(path).parts or "\\" in path or "\0" in path:
        raise ValueError(path)
    known = not large and isinstance(blob, str) and re.fullmatch("[0-9a-f]{40}", blob) is not None
    return HubFile(
        path,
        size if isinstance(size, int) else None,
        f"sha256:{large['oid']}" if large else None,
        blob if known else None,
    )


def fetch_file(repository: str, revision: str, file: HubFile, folder: Path, *, checksum: str | None = None) -> Path:
    """A file of a repository, fetched into ``folder`` if it isn't there.

    Raises:
        DownloadError: it can't be had, or is not what the hub's listing says.
    """
    from foreword._base.download import fetch  # and with it urllib and ssl: 20 ms

    url = hub_url(f"{repository}/resolve/{quote(revision, safe='')}/{quote(file.path)}")
    path = fetch(url, folder / file.path, checksum=checksum or file.checksum, size=file.size)
    if file.blob is not None and not is_blob(path, file.blob):
        with explained("remove what is not the file", path):
            path.unlink()
        raise DownloadError(
            "what came is not the file: its contents have another id than the hub's listing says",
            expected=f"git's id {file.blob}",
            where=url,
            fix="try again",
        )
    return path


def is_blob(path: Path, oid: str) -> bool:
    """Whether a file's contents have the id by which the hub knows them: their SHA-256, or the one that git gives."""
    with explained("read the file", path):
        data = path.read_bytes()
    if len(oid) == 64:
        return hashlib.sha256(data).hexdigest() == oid
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == oid
