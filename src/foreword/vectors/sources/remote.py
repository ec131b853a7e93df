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
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from foreword._base.download import fetch
from foreword._base.files import atomic_write, cache_folder, explained, lock
from foreword._base.hub import HubFile, fetch_file, listing
from foreword.errors import ArgumentError, FormatError

__all__ = ["obtain"]

_CHECKSUMS = ("sha256", "sha1", "md5")
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


def _from_hub(name: str, checksum: str | None) -> Path:
    place = _Place.parse(name)
    folder = cache_folder("downloads", "hf", *place.repository.split("/"), quote(place.revision, safe=""))
    # Which file was chosen is written once all that belongs to it is there.
    chosen = folder / f".{hashlib.sha256((place.file or '').encode()).hexdigest()[:16]}.chosen"
    with lock(folder / ".lock"):
        if not chosen.exists():
            files = listing(place.repository, place.revision, folder)
            main = _choose(place, files)
            for file in (main, *_companions(main, files)):
                fetch_file(place.repository, place.revision, file, folder, checksum=checksum if file is main else None)
            with atomic_write(chosen) as note:
                note.write(main.path.encode())
        with explained("read which file was chosen", chosen):
            return folder / chosen.read_bytes().decode()


def _choose(place: _Place, files: dict[str, HubFile]) -> HubFile:
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


def _static_files(path: str, files: dict[str, HubFile]) -> set[str]:
    """What may belong to ``path`` if it is the vectors of a static embedding model; empty where it can't be."""
    parent = PurePosixPath(path).parent
    if PurePosixPath(path).name != "model.safetensors" or str(parent / "tokenizer.json") not in files:
        return set()
    settings = ("modules.json", "config_sentence_transformers.json")
    above = {str(parent.parent / name) for name in settings}
    return {str(parent / name) for name in ("tokenizer.json", "config.json", *settings)} | above


def _companions(main: HubFile, files: dict[str, HubFile]) -> list[HubFile]:
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
