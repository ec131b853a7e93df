"""Vectors from elsewhere: a URL or a Hugging Face repository → files in the cache.

    https://HOST/FILE#MEMBER                 a file; MEMBER of a zip archive that holds several
    https://HOST/FILE#sha256=HEX             … which must be that one (also sha1, md5; joined to MEMBER by &)
    hf://OWNER/REPO@REVISION/FILE#MEMBER     a file of a repository; without FILE the only one that may hold vectors,
                                             with what belongs to it; without @REVISION the branch main

A file is fetched once. Hugging Face tells the checksum of every large file, and it is held to that. Public repositories
only; ``HF_ENDPOINT`` names another hub.

Not for: names of the catalogue (``catalogue``), reading (``formats``). Costs: nothing where the files are in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from foreword._base.download import fetch
from foreword._base.files import atomic_write, cache_folder, explained, lock
from foreword.errors import ArgumentError, DownloadError, FormatError, UnknownNameError

__all__ = ["obtain"]

_CHECKSUMS = ("sha256", "sha1", "md5")
_HUB = "https://huggingface.co"
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".tbz2", ".txz")
_VECTORS = (".bin", ".ftz", ".vec", ".txt", ".kv", ".model", ".wv", ".safetensors", ".npy", *_PACKED)
_NOT_VECTORS = re.compile(r"^(readme|license|licence|vocab|words|merges|tokenizer|special_tokens|requirements)\b", re.I)
_VOCABULARIES = ("vocab.txt", "vocab.json", "words.txt")


def obtain(name: str) -> Path:
    """The file that ``name`` stands for, fetched if it isn't in the cache; ARCHIVE/MEMBER for a member of an archive.

    Raises:
        DownloadError, FileError: it can't be had.
        ArgumentError, UnknownNameError, FormatError: there is nothing of this name, or it could be several files.
    """
    name, _, fragment = name.partition("#")
    member, checksum = _parse(fragment)
    path = _from_hub(name, checksum) if name.startswith("hf://") else _from_url(name, checksum)
    return path / member if member else path


def _file_name(url: str) -> str:
    """A name for the file of ``url``, safe on every system.

    >>> _file_name("https://example.org/a/gl%C3%B6ve.txt.gz?x=1"), _file_name("https://example.org/..")
    ('gl_ve.txt.gz', 'file')
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(unquote(urlsplit(url).path)).name)
    return name[-100:] if name.strip("._") and not name.startswith(".") else "file"


def _parse(fragment: str) -> tuple[str, str | None]:
    """The member and the checksum in what follows #."""
    member, checksum = "", None
    for part in filter(None, fragment.split("&")):
        kind, found, digest = part.partition("=")
        if found and kind in _CHECKSUMS:
            checksum = f"{kind}:{digest}"
        else:
            member = unquote(part)
    return member, checksum


def _from_url(url: str, checksum: str | None) -> Path:
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and checksum is None:
        return Path(url2pathname(parts.path))
    place = hashlib.sha256(f"{url}#{checksum}".encode()).hexdigest()[:16]
    return fetch(url, cache_folder("downloads", "urls", place) / _file_name(url), checksum=checksum)


# Hugging Face.


@dataclass(frozen=True, slots=True)
class _Place:
    """What hf://… names."""

    repository: str
    revision: str
    file: str | None

    @classmethod
    def parse(cls, name: str) -> _Place:
        found = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?", name)
        if found is None or ".." in name.split("/"):
            raise ArgumentError("no Hugging Face repository", got=name, expected="hf://OWNER/REPO, …@REVISION, …/FILE")
        return cls(found[1], unquote(found[2] or "main"), found[3])


def _hub_url(path: str) -> str:
    return f"{(os.environ.get('HF_ENDPOINT') or _HUB).rstrip('/')}/{path}"


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a repository: its path, size and, of a large one, checksum."""

    path: str
    size: int | None
    checksum: str | None


def _from_hub(name: str, checksum: str | None) -> Path:
    place = _Place.parse(name)
    folder = cache_folder("downloads", "hf", *place.repository.split("/"), quote(place.revision, safe=""))
    # Which file was chosen is written once all that belongs to it is there.
    chosen = folder / f".{hashlib.sha256((place.file or '').encode()).hexdigest()[:16]}.chosen"
    with lock(folder / ".lock"):
        if not chosen.exists():
            files = _listing(place, folder)
            main = _choose(place, files)
            for file in (main, *_companions(main, files)):
                _fetch_file(place, file, folder, checksum if file is main else None)
            with atomic_write(chosen) as note:
                note.write(main.path.encode())
        with explained("read which file was chosen", chosen):
            return folder / chosen.read_bytes().decode()


def _listing(place: _Place, folder: Path) -> dict[str, _File]:
    """The files of the repository as it is now, by path."""
    answer = folder / ".listing.json"
    with explained("ask for the repository's files", answer):
        answer.unlink(missing_ok=True)
    url = _hub_url(f"api/models/{place.repository}/tree/{quote(place.revision, safe='')}?recursive=true")
    try:
        fetch(url, answer)
    except DownloadError as error:
        if error.status in (401, 404):  # the hub doesn't tell private ones from missing ones
            raise UnknownNameError(
                "no such public Hugging Face repository or revision",
                got=f"{place.repository} at {place.revision}",
                fix="check the name; of a private one fetch the files by other means, and load them by their path",
            ) from error
        raise
    try:
        entries = [_entry(entry) for entry in json.loads(answer.read_bytes()) if entry["type"] == "file"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DownloadError("the hub's answer is not a list of files", where=url, fix="try again later") from None
    finally:
        answer.unlink(missing_ok=True)
    return {entry.path: entry for entry in entries}


def _entry(item: dict[str, Any]) -> _File:
    path, size, large = item["path"], item.get("size"), item.get("lfs")
    drive = PureWindowsPath(path).drive  # C:x would lead out of our folder on Windows
    if PurePosixPath(path).is_absolute() or drive or ".." in PurePosixPath(path).parts or "\\" in path or "\0" in path:
        raise ValueError(path)
    return _File(path, size if isinstance(size, int) else None, f"sha256:{large['oid']}" if large else None)


def _choose(place: _Place, files: dict[str, _File]) -> _File:
    """The file that was named, or the only one that may hold vectors."""
    if place.file is not None:
        if place.file in files:
            return files[place.file]
        found, problem = sorted(files), "the repository has no such file"
    else:
        found = [path for path in sorted(files) if _may_hold_vectors(path)]
        static = [path for path in found if _static_files(path, files)]
        found = static if len(static) == 1 else found
        if len(found) == 1:
            return files[found[0]]
        problem = "several files of the repository may hold vectors" if found else "no file may hold vectors"
    raise FormatError(
        problem,
        got=", ".join(found[:12]) + (", …" if len(found) > 12 else "") or "no file",
        where=f"hf://{place.repository}@{place.revision}",
        fix=f"name one: hf://{place.repository}/{found[0]}" if found else None,
    )


def _may_hold_vectors(path: str) -> bool:
    name = PurePosixPath(path).name
    belongs = re.search(r"\.(vectors\w*|syn\w+|expandos)(\.\w+)*\.npy$", name)  # an array of one of gensim's files
    return name.endswith(_VECTORS) and not _NOT_VECTORS.match(name) and not belongs


def _static_files(path: str, files: dict[str, _File]) -> set[str]:
    """What may belong to ``path`` if it is the vectors of a static embedding model; empty where it can't be."""
    parent = PurePosixPath(path).parent
    if PurePosixPath(path).name != "model.safetensors" or str(parent / "tokenizer.json") not in files:
        return set()
    settings = ("modules.json", "config_sentence_transformers.json")
    above = {str(parent.parent / name) for name in settings}
    return {str(parent / name) for name in ("tokenizer.json", "config.json", *settings)} | above


def _companions(main: _File, files: dict[str, _File]) -> list[_File]:
    """What belongs to a file: arrays that gensim put beside it, the words of an array file."""
    parent, stem = PurePosixPath(main.path).parent, PurePosixPath(main.path).stem
    names = []
    if main.path.endswith((".npy", ".safetensors")):
        names = [f"{stem}.vocab", f"{stem}.txt", f"{stem}.json", *_VOCABULARIES]
    beside = {str(parent / name) for name in names} | _static_files(main.path, files)
    return [
        file
        for path, file in files.items()
        if path in beside or (path.startswith(f"{main.path}.") and path.endswith(".npy"))
    ]


def _fetch_file(place: _Place, file: _File, folder: Path, checksum: str | None) -> None:
    url = _hub_url(f"{place.repository}/resolve/{quote(place.revision, safe='')}/{quote(file.path)}")
    fetch(url, folder / file.path, checksum=checksum or file.checksum, size=file.size)
