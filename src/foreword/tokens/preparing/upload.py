"""A store prepared on this machine and sent to a URL, shard by shard, its manifest last.

    work folder ── a shard is full ──▶ 00000.tokens, .offsets, .sums at the URL ── the journal says so ──▶ deleted here
                ── all are there ────▶ sources, digests, then manifest.json: only now is there a store

The journal stays on this machine, in Foreword's cache, under a name that follows from the URL: a run that was killed
goes on from there. On another machine it begins anew, and writes the same bytes over what is there. Nothing depends on
what a listing shows: names follow from numbers.

Not for: reading stores (``tokens.store.far``). Costs: the disk of two or three shards here; each byte sent once, those
of the shards that were open when a run was killed again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from foreword._base.files import atomic_write, cache_folder
from foreword._base.remote import RemoteFolder, whole_url
from foreword.errors import ArgumentError, MissingFileError, StoreError
from foreword.tokens.preparing.journal import is_own_file, is_shard_file
from foreword.tokens.store.store import TokenStore
from foreword.tokens.store.writer import not_as_written
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["Upload"]

MARK = ".preparing"  # an object that shows from the beginning whether the URL can be written
WAITING = 1  # shards that wait on this machine while another one is sent


class Upload:
    """Where a prepare to ``url`` works, and what it sends.

    Args:
        url: of the store.
        options: for fsspec's file system.

    Attributes:
        work: the folder on this machine.

    Raises:
        ArgumentError, MissingPackageError: it is no URL that can be written.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None) -> None:
        if url.partition("://")[0].lower() in ("http", "https"):
            raise ArgumentError(
                "a web server can't be written to",
                got=f"a URL of {url.partition('://')[0]}",
                expected="s3://, gs://, az://, or another protocol of fsspec that writes",
            )
        self._url, self._options = whole_url(url).rstrip("/"), options
        self._target = RemoteFolder(self._url, options)
        self.work = cache_folder("prepare") / hashlib.sha256(self._url.encode()).hexdigest()[:16]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="foreword-upload")
        self._sent: list[tuple[Future[None], list[Path]]] = []

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return self._target.shown

    def manifest(self, name: str) -> bytes | None:
        """The manifest of the part ``name`` of the store, if it is there."""
        try:
            return self._target.folder(name).read("manifest.json")
        except MissingFileError:
            return None

    def open(self, name: str, tokenizer: Tokenizer) -> TokenStore:
        """The part ``name``, which is there."""
        url = f"{self._url}/{name}" if name else self._url
        return TokenStore.open(url, tokenizer=tokenizer, storage_options=self._options)

    def refuse_foreign(self, names: Sequence[str]) -> None:
        """Refuse a folder that holds something else, as far as a listing shows."""
        there = self._target.names()
        if "manifest.json" in there or ("" in names and self.manifest("train") is not None):
            raise StoreError(
                "the folder holds a store with another split",
                where=self.shown,
                fix="give the same split, or name another folder",
            )
        others = sorted(one for one in there if not one.startswith(".") and one not in names and not is_own_file(one))
        others = [one for one in others if one != self.shown.rpartition("/")[2]]  # the folder's own mark, on some
        if others:
            raise ArgumentError(
                "the folder is not empty, and holds no store",
                got=", ".join(others[:5]),
                where=self.shown,
                fix="name another folder, or empty this one",
            )

    def begin(self) -> None:
        """Write a small object, to learn at once whether that can be done."""
        with atomic_write(self.work / MARK) as file:
            file.write(b"A token store is being prepared here. Its manifest.json comes last.\n")
        self._target.put(self.work / MARK, MARK)

    def shards(self, name: str) -> Shards:
        """The shards of the part ``name``."""
        return Shards(self, self._target.folder(name))

    def send(self, target: RemoteFolder, files: list[Path]) -> None:
        """Send files in turn, in a thread; waits while too many wait already."""

        def put() -> None:
            for file in files:
                target.put(file, file.name)

        self._sent.append((self._pool.submit(put), files))
        under_way = [future for future, _ in self._sent if not future.done()]
        if len(under_way) > WAITING + 1:
            under_way[0].result()

    def saved(self) -> None:
        """The journal tells of all shards that were closed: those that have been sent are not needed here any more."""
        sent, self._sent = self._sent, []
        for future, files in sent:
            if not future.done():
                self._sent.append((future, files))
                continue
            future.result()
            for file in sorted(files, key=lambda file: file.suffix != ".tokens"):  # a shard without it has been sent
                file.unlink(missing_ok=True)

    def publish(self, name: str, files: Sequence[str]) -> None:
        """Send the part's other files, when all shards have been sent; the last one is the manifest."""
        for future, _ in self._sent:
            future.result()
        target = self._target.folder(name)
        for file in files:
            target.put(self.work / name / file, file)

    def end(self, kept: Mapping[str, int]) -> None:
        """Take away what is not of the store: shards from ``kept`` on, of each part, and what was written here."""
        for name, count in kept.items():
            target = self._target.folder(name)
            for one in target.names():
                if is_shard_file(one, beyond=count):
                    target.remove(one)
        self._target.remove(MARK)
        self.clear()

    def clear(self) -> None:
        """Empty the folder on this machine."""
        for path in self.work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (".lock", ".journal"):
                path.unlink()
        (self.work / ".journal").unlink(missing_ok=True)  # the last, so that a kill leaves a run that resumes

    def close(self) -> None:
        """End the thread; what it has not begun to send stays here."""
        self._pool.shutdown(cancel_futures=True)


class Shards:
    """The shards of one part, as ``StoreWriter`` sees them."""

    def __init__(self, upload: Upload, target: RemoteFolder) -> None:
        self._upload, self._target = upload, target

    def has(self, stem: Path, shard: Mapping[str, Any], sizes: Mapping[str, int]) -> bool:
        """Whether a shard that the journal tells of has been sent, and is not on this machine any more.

        Raises:
            StoreError: it is neither here nor there as it was.
        """
        if stem.with_suffix(".tokens").exists():
            return False
        looks: dict[str, tuple[Callable[[str], object], object]] = {
            **{f".{kind}": (self._target.size, size * shard["tokens"]) for kind, size in sizes.items()},
            ".offsets": (self._target.size, 8 * (shard["documents"] + 1)),
            ".sums": (self._sha256, shard["sums_sha256"]),
        }
        for suffix, (look, expected) in looks.items():
            name = stem.name + suffix
            try:
                found = look(name)
            except MissingFileError:
                raise not_as_written(self._target.place(name), got="no such object") from None
            if found not in (expected, None):  # None: the server does not say the size
                raise not_as_written(self._target.place(name), got=f"{found}", expected=f"{expected}")
        return True

    def _sha256(self, name: str) -> str:
        return hashlib.sha256(self._target.read(name)).hexdigest()

    def closed(self, stem: Path) -> None:
        """A shard is complete on this machine: send it."""
        files = sorted(stem.parent.glob(f"{stem.name}.*"), key=lambda file: (file.suffix == ".sums", file.suffix))
        self._upload.send(self._target, files)
