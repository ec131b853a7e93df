"""The manifest of a token store: its checksum, and the fields that opening relies on.

Not for: making one (``writer``). Costs: parsing a few kilobytes of JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from foreword.errors import StoreError

__all__ = ["BLOCK", "FIELDS", "FORMAT", "VERSION", "VERSION_WITH_FIELDS", "as_json", "parse_manifest", "seal"]

FORMAT = "foreword token store"
VERSION = 2
# A store that has more than ids: an earlier version of Foreword, which would pass over it, does not open it.
VERSION_WITH_FIELDS = 3
FIELDS = {"loss": "uint8"}
# Bytes that one checksum of a shard covers.
BLOCK = 1 << 20


# Names of files are kept as Python has them: bytes that are not UTF-8 stand in them as lone surrogates.
_SURROGATE = re.compile("[\ud800-\udfff]")
_SOURCES, _DIGESTS = re.compile(r"sources\.\d+\.jsonl"), re.compile("digests")
_DIGEST = re.compile("[0-9a-f]{64}")


def as_json(value: object, *, indent: int | None = None) -> bytes:
    """``value`` as JSON in UTF-8, from which ``json.loads`` gives the same back, lone surrogates too.

    >>> as_json("café"), as_json("caf\\udce9")
    (b'"caf\\xc3\\xa9"', b'"caf\\\\udce9"')
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def seal(manifest: bytes) -> bytes:
    """``manifest``, a JSON object, with the SHA-256 of its own bytes as the last entry."""
    body = manifest.rstrip().removesuffix(b"}").rstrip()
    return body + b',\n "checksum": "%s"\n}\n' % hashlib.sha256(body).hexdigest().encode()


def _unsealed(text: bytes) -> bool:
    """Whether ``text`` is what ``seal`` gave."""
    body, _, rest = text.rpartition(b',\n "checksum": "')
    return rest == b'%s"\n}\n' % hashlib.sha256(body).hexdigest().encode()


def parse_manifest(text: bytes, folder: Path | str) -> dict[str, Any]:
    """The manifest, its checksum and every field that opening relies on checked."""
    where = folder / "manifest.json" if isinstance(folder, Path) else f"{folder.rstrip('/')}/manifest.json"
    try:
        manifest = json.loads(text)
        kind, version = manifest["format"], manifest["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StoreError("the store's manifest can't be read", where=where, fix="prepare the corpus again") from None
    if kind != FORMAT or version not in (VERSION, VERSION_WITH_FIELDS):
        raise StoreError(
            "the store is of another format or version",
            got=f"{kind!r} version {version!r}",
            expected=f"{FORMAT!r} version {VERSION} or {VERSION_WITH_FIELDS}",
            where=where,
            fix="open it with the version of Foreword that made it",
        )
    if not _unsealed(text):
        raise StoreError(
            "the store is damaged: its manifest is not what was written", where=where, fix="prepare the corpus again"
        )
    try:
        consistent = _consistent(manifest)
    except (KeyError, TypeError, AttributeError):
        consistent = False
    if not consistent:
        raise StoreError("the store's manifest contradicts itself", where=where, fix="prepare the corpus again")
    return manifest  # type: ignore[no-any-return]


def _consistent(manifest: dict[str, Any]) -> bool:
    """Whether every field that others rely on is what it should be; files are such as stand in the store itself."""
    shards, tokenizer, sources = manifest["shards"], manifest["tokenizer"], manifest.get("sources", [])
    files = [(entry, _SOURCES) for entry in sources]
    if manifest.get("digests") is not None:
        files.append((manifest["digests"], _DIGESTS))
    options = tokenizer.get("options", {})
    special = options.get("special_tokens") or {}
    return (
        manifest["dtype"] in ("uint16", "uint32")
        and manifest.get("fields") == (FIELDS if manifest["version"] == VERSION_WITH_FIELDS else None)
        and all(type(n) is int and n >= 0 for shard in shards for n in (shard["tokens"], shard["documents"]))
        and all(_is_digest(shard["sums_sha256"]) for shard in shards)
        and manifest["tokens"] == sum(shard["tokens"] for shard in shards)
        and manifest["documents"] == sum(shard["documents"] for shard in shards)
        and type(tokenizer["vocab_size"]) is int
        and isinstance(tokenizer["name"], str)
        and _is_digest(tokenizer["fingerprint"])
        and options.keys() <= {"pattern", "special_tokens"}
        and isinstance(options.get("pattern", ""), str)
        and all(isinstance(text, str) and type(id_) is int for text, id_ in special.items())
        and all(name.fullmatch(entry["file"]) and _is_digest(entry["sha256"]) for entry, name in files)
        and isinstance(manifest.get("policies", {}), dict)
        and ("account" not in manifest or all(type(manifest["account"][key]) is int for key in _ACCOUNT))
    )


_ACCOUNT = ("skipped", "empty", "duplicates", "digests")


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
