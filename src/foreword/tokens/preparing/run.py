"""One run of prepare: sources through reader, splitter, encoder and writers, with a journal to take it up again.

Not for: deciding whether to run (``prepare``). Costs: see there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreword._base.files import atomic_write, explained
from foreword._base.progress import progress
from foreword._base.words import counted
from foreword.errors import ArgumentError, StoreError
from foreword.tokens.preparing import journal as journals
from foreword.tokens.preparing.blocks import BlockEncoder, Encoded, Framing, Task, Workers
from foreword.tokens.preparing.contents import Contents
from foreword.tokens.preparing.corpus import FileSource, Source, sha256_of
from foreword.tokens.preparing.digests import DIGEST_BYTES, Seen, SplitRule, digest
from foreword.tokens.preparing.documents import Reader, Reading
from foreword.tokens.preparing.journal import Journal
from foreword.tokens.preparing.upload import Upload
from foreword.tokens.store.checks import read_checked
from foreword.tokens.store.manifest import as_json
from foreword.tokens.store.store import TokenStore
from foreword.tokens.store.writer import StoreWriter, write_manifest
from foreword.tokens.tokenizers.tokenizer import Tokenizer, to_utf8

__all__ = ["Plan", "Run", "differing"]

CHECKPOINT_SECONDS = 5.0
# Names of what was passed over that a manifest keeps.
NAMED = 20


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the bytes of a store, besides the corpus; ``policies`` are the user's own words for it."""

    tokenizer: Tokenizer
    framing: Framing
    reading: Reading
    contents: Contents
    shares: dict[str, float]
    deduplicate: bool
    shard_tokens: int
    dtype: np.dtype[Any]
    policies: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The folders of the outputs, below OUT: OUT itself, or one for each part of a split."""
        return SplitRule(self.shares).names if self.shares else [""]

    def described(self) -> dict[str, Any]:
        """The plan as data, for journal and manifest."""
        tokenizer = self.tokenizer
        return {
            "tokenizer": {
                "name": tokenizer.name,
                "vocab_size": tokenizer.vocab_size,
                "fingerprint": tokenizer.fingerprint,
                **({"options": tokenizer.options} if tokenizer.options else {}),
            },
            "policies": self.policies,
        }


class Run:
    """Prepares ``sources`` into ``folder``.

    Args:
        plan: what decides the bytes.
        folder: OUT.
        sources: what is read.
        base: the stores to append to, by name.
        known: SHA-256 of the sources that they were made of.
        saved: an earlier run's journal.
        passed_over: names of what was found beside the sources and is not read.
        make_workers: makes who encodes.
        upload: where the store is sent, if it is for a URL.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        sources: Sequence[Source],
        *,
        base: dict[str, TokenStore] | None,
        known: frozenset[str],
        saved: Journal | None,
        passed_over: Sequence[str],
        make_workers: Callable[[Task], Workers],
        upload: Upload | None = None,
    ) -> None:
        self._upload = upload
        self._plan, self._folder, self._sources, self._base = plan, folder, sources, base
        self._known, self._passed_over = known, passed_over
        self._make_workers = make_workers
        self._fresh = saved is None
        self._start = start = saved or self._first_journal()
        self._check_same_plan(start.plan)
        self._position = start.position
        self._duplicates = start.duplicates
        self._sizes = {journals.SOURCES: start.sources_bytes, journals.STAMPS: start.stamps_bytes or 0}
        self._reader = Reader(
            plan.reading,
            cuttable=plan.tokenizer.cuttable and not plan.shares and not plan.deduplicate,
            advance=lambda amount: self._bar.advance(amount),  # noqa: PLW0108 - the bar comes later
            contents=plan.contents,
        )
        self._digests = start.digests
        self._hashes: dict[str, Any] = {}  # of the files beside the journal
        self._accounts_saved = 0
        self._first_account = 0  # the number of the source that the reader's first account is of
        self._seen = Seen()
        self._new_digests: list[bytes] = []
        self._rule = SplitRule(plan.shares)
        self._writers: list[StoreWriter] = []

    def _first_journal(self) -> Journal:
        """The journal of a run that has done nothing yet."""
        stores = list(self._base.values()) if self._base else []
        outputs = [
            {"shards": self._base[name].manifest["shards"] if self._base else [], "open": [0, 0]}
            for name in self._plan.names
        ]
        account = stores[0].manifest["account"] if stores else {"duplicates": 0, "digests": 0}
        return Journal(
            plan=self._plan.described(),
            base=stores[0].fingerprint if stores else None,
            position=[0, 0],
            outputs=outputs,
            duplicates=account["duplicates"],
            appends=len(stores[0].manifest["sources"]) if stores else 0,
            digests=account["digests"],
        )

    def _check_same_plan(self, was: dict[str, Any]) -> None:
        now = self._plan.described()
        pairs = [("tokenizer", was["tokenizer"], now["tokenizer"])]
        pairs += differing(was["policies"], now["policies"])
        for name, before, value in pairs:
            if before != value:
                raise StoreError(
                    f"an interrupted prepare has another {name}",
                    got=f"{name}={value!r}",
                    expected=f"{name}={before!r}, to resume it",
                    where=self._folder,
                    fix="give the same options, or start over: restart=True (--restart)",
                )

    def work(self) -> bool:
        """Do it all, and publish the store; whether there was anything that the store did not hold.

        Raises:
            ArgumentError: the corpus holds no document.
            StoreError: what an interrupted run has left, or has read, is not as it was.
        """
        try:
            with explained("write the store", self._folder):
                self._recover()
                self._read_all()
                return self._publish()
        except BaseException:
            for writer in self._writers:
                writer.abandon()
            if self._fresh and not self._base:  # nothing was saved: leave nothing behind
                journals.discard(self._folder, self._plan.names)
            raise

    def _recover(self) -> None:
        """Bring every file back to what the journal says; a fresh run begins with a journal that says: nothing."""
        for name, state in zip(self._plan.names, self._start.outputs, strict=True):
            self._writers.append(
                StoreWriter(
                    self._folder / name,
                    self._plan.dtype,
                    shard_tokens=self._plan.shard_tokens,
                    supervised=self._plan.contents.supervised,
                    state=state,
                    sent=None if self._upload is None else self._upload.shards(name),
                )
            )
        accounts, stamps = (self._cut_back(name, size) for name, size in self._sizes.items())
        if self._plan.deduplicate:
            self._recover_digests()
        if self._fresh:
            journals.save(self._folder, self._start)
        else:
            self._check_sources(accounts, stamps)

    def _cut_back(self, name: str, size: int) -> bytes:
        data = journals.cut_back(self._folder / name, size, self._start.checksums.get(name))
        self._hashes[name] = hashlib.sha256(data)
        return data

    def _recover_digests(self) -> None:
        known = self._folder / journals.DIGESTS
        if self._fresh:
            base = next(iter(self._base.values())) if self._base else None
            known.write_bytes(read_checked(base.folder, base.manifest["digests"]) if base else b"")
        data = self._cut_back(journals.DIGESTS, self._digests * DIGEST_BYTES)
        for i in range(0, len(data), DIGEST_BYTES):
            self._seen.add(data[i : i + DIGEST_BYTES])

    def _check_sources(self, accounts: bytes, stamps: bytes) -> None:
        """Refuse to resume where what was read to its end has changed since, or is not what comes first now."""
        try:
            done = [json.loads(line) for line in accounts.splitlines()]
        except ValueError:
            done = []
        if len(done) != self._position[0]:
            raise StoreError(
                "the list of what an interrupted prepare has read is damaged",
                where=self._folder / journals.SOURCES,
                fix="start over: restart=True (--restart)",
            )
        self._first_account = len(done)
        was = [(account["name"], account["bytes"]) for account in done]
        reading = self._start.reading
        if reading is not None:
            was.append((reading["name"], reading["bytes"]))
        now = [(source.name, source.size) for source in self._sources[: len(was)]]
        for i, pair in enumerate(was):
            if i >= len(now) or now[i] != pair:
                raise self._changed(pair[0])
        if self._start.stamps_bytes is None:  # an earlier version kept none
            stamps = b"\n" * len(done)
            (self._folder / journals.STAMPS).write_bytes(stamps)
            self._sizes[journals.STAMPS] = len(stamps)
            self._hashes[journals.STAMPS] = hashlib.sha256(stamps)
        kept = stamps.decode("utf-8", "replace").split("\n")
        with progress("checking what was read", sum(size or 0 for _, size in was)) as bar:
            for source, account, stamp in zip(self._sources, done, kept, strict=False):
                # A file that the system has not touched is as it was; another one may be, moved or copied.
                if not isinstance(source, FileSource) or not stamp or stamp != source.stamp:
                    self._check_digest(source, account)
                bar.advance(source.size or 0)
        if reading is not None and "time" in reading and reading["time"] != _time(self._sources[len(done)]):
            raise self._changed(reading["name"])  # all that an earlier version kept

    def _check_digest(self, source: Source, account: dict[str, Any]) -> None:
        if isinstance(source, FileSource) and sha256_of(source) != account["sha256"]:
            raise self._changed(source.name)

    def _check_consumed(self, source: Source, pieces: int) -> None:
        """Refuse a source whose beginning is not what the interrupted run read of it."""
        was = (self._start.reading or {}).get("consumed")
        if was is None:  # an earlier version kept no more than a file's time
            return
        if pieces < self._position[1]:
            raise self._changed(source.name, ": it ends before what was read then")
        now = self._reader.consumed()
        same = now == was
        if not same and isinstance(source, FileSource) and now["bytes"] != was["bytes"]:
            # read in other chunks than then
            alike = all(now[key] == was[key] for key in ("characters", "documents"))
            same = alike and sha256_of(source, first=was["bytes"]) == was["sha256"]
        if not same:
            raise self._changed(source.name, f": its first {was['documents']:,} documents are others")

    def _changed(self, name: str, what: str = "") -> StoreError:
        return StoreError(
            "the corpus has changed since prepare was interrupted",
            got=f"{name} is not what was read then{what}",
            where=self._folder,
            fix="restore it, or start over: restart=True (--restart)",
        )

    def _read_all(self) -> None:
        first, skip = self._position
        plan = self._plan
        sizes = [source.size for source in self._sources]
        left = None if None in sizes else sum(size or 0 for size in sizes[first:])
        hashed = bool(plan.shares) or plan.deduplicate
        due = time.monotonic() + CHECKPOINT_SECONDS
        task = Task(plan.tokenizer, plan.framing, plan.dtype, len(plan.names), plan.contents)
        encoder = BlockEncoder(self._make_workers(task))
        with progress("tokenizing", left) as self._bar, encoder:
            for number, source in enumerate(self._sources[first:], start=first):
                pieces = 0
                for piece, ends in self._reader.read(source):
                    pieces += 1
                    if pieces <= skip:
                        encoder.begins = ends
                        if pieces == skip:
                            self._check_consumed(source, pieces)
                        continue
                    data = to_utf8(piece) if isinstance(piece, str) else piece
                    output = 0
                    if hashed:
                        value = digest(data)
                        output = self._rule.part(value)
                        if plan.deduplicate:
                            if not self._seen.add(value):
                                self._duplicates += 1
                                continue
                            self._new_digests.append(value)
                    self._write(encoder.add(data, ends=ends, output=output))
                    if time.monotonic() > due:
                        self._position = [number, pieces]
                        self._checkpoint(encoder, source)
                        due = time.monotonic() + CHECKPOINT_SECONDS
                if pieces < skip:
                    self._check_consumed(source, pieces)
                skip = 0
            self._write(encoder.drain())

    def _write(self, blocks: Iterable[Encoded]) -> None:
        for block in blocks:
            for writer, (ids, ends, loss) in zip(self._writers, block.parts, strict=True):
                writer.append(ids, ends, loss)
                self._bar.tally(len(ids), "tokens")

    def _checkpoint(self, encoder: BlockEncoder, source: Source) -> None:
        """Write all that has been read, make it durable, and then say so in the journal."""
        self._write(encoder.drain())
        for writer in self._writers:
            writer.sync()
        self._save_lists()
        journals.save(
            self._folder,
            dataclasses.replace(
                self._start,
                position=self._position,
                reading={"name": source.name, "bytes": source.size, "consumed": self._reader.consumed()},
                outputs=[writer.state() for writer in self._writers],
                duplicates=self._duplicates,
                sources_bytes=self._sizes[journals.SOURCES],
                stamps_bytes=self._sizes[journals.STAMPS],
                digests=self._digests,
                checksums={name: value.hexdigest() for name, value in self._hashes.items()},
            ),
        )
        self._fresh = False
        if self._upload is not None:
            self._upload.saved()

    def _save_lists(self) -> None:
        """Add what is new to the accounts of sources, their stamps and the digests, durably."""
        accounts = self._reader.account[self._accounts_saved :]
        first = self._first_account + self._accounts_saved
        stamps = [getattr(source, "stamp", None) or "" for source in self._sources[first : first + len(accounts)]]
        self._accounts_saved += len(accounts)
        added = {
            journals.SOURCES: b"".join(as_json(account) + b"\n" for account in accounts),
            journals.STAMPS: b"".join(stamp.encode("utf-8", "replace") + b"\n" for stamp in stamps),
        }
        for name, data in added.items():
            self._sizes[name] += len(data)
        if self._plan.deduplicate:
            added[journals.DIGESTS] = b"".join(self._new_digests)
        for name, data in added.items():
            self._hashes[name].update(data)
            with open(self._folder / name, "ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        self._digests += len(self._new_digests)
        self._new_digests = []

    def _publish(self) -> bool:
        """Close the shards and write the manifests: now there is a store. Whether it holds anything new."""
        self._save_lists()
        shards = [writer.finish() for writer in self._writers]
        accounts = (self._folder / journals.SOURCES).read_bytes()
        read = [json.loads(line) for line in accounts.splitlines()]
        before = next(iter(self._base.values())).manifest if self._base else None
        new = before is None or any(account["sha256"] not in self._known for account in read)
        if new:
            self._refuse_empty(read, [sum(shard["documents"] for shard in part) for part in shards])
            self._fresh = False  # from here on there may be a store, and the journal says that something is left to do
            self._write_manifests(shards, accounts, self._totals(read, before), before)
        kept: dict[str, int] = {}
        for index, name in enumerate(self._plan.names):
            # shards of an attempt that was started over, or of texts that the store holds already
            kept[name] = len(shards[index]) if new or self._base is None else len(self._base[name].shards)
            for path in list((self._folder / name).iterdir()):
                if journals.is_shard_file(path.name, beyond=kept[name]):
                    path.unlink()
        if self._upload is not None:
            self._upload.end(kept)
        journals.remove(self._folder)
        return new

    def _refuse_empty(self, read: list[dict[str, Any]], documents: list[int]) -> None:
        """Refuse a store without a document."""
        if not any(documents):
            skipped = sum(account["skipped"] for account in read)
            raise ArgumentError(
                "the corpus holds no document",
                got=f"{counted(len(read), 'source')}, {counted(skipped, 'bad record') if skipped else 'no text'}"
                if read
                else "no sources",
                fix="give text",
            )

    def _totals(self, read: list[dict[str, Any]], before: dict[str, Any] | None) -> dict[str, Any]:
        """The counts of the manifest, an earlier store's among them."""
        old = before["account"] if before else {}
        account: dict[str, Any] = {
            key: sum(source[key] for source in read) + old.get(key, 0) for key in ("skipped", "empty")
        }
        account |= {"duplicates": self._duplicates, "digests": self._digests}
        names = [*self._passed_over, *(f"{one['name']} (no record)" for one in read if one.get("passed_over"))]
        was = old.get("passed_over", {"count": 0, "first": []})
        if names or was["count"]:
            first = list(dict.fromkeys([*was["first"], *names]))
            account["passed_over"] = {"count": max(was["count"], len(first)), "first": first[:NAMED]}
        return account

    def _write_manifests(
        self,
        shards: list[list[dict[str, Any]]],
        accounts: bytes,
        totals: dict[str, Any],
        before: dict[str, Any] | None,
    ) -> None:
        file = f"sources.{self._start.appends}.jsonl"
        entry = {"file": file, "sha256": hashlib.sha256(accounts).hexdigest(), "count": accounts.count(b"\n")}
        # The first output's manifest comes last: once it is there, all are.
        for index, (name, part) in reversed(list(enumerate(zip(self._plan.names, shards, strict=True)))):
            folder = self._folder / name
            with atomic_write(folder / file) as output:
                output.write(accounts)
            kept = None
            if self._plan.deduplicate and index == 0:
                digests = (self._folder / journals.DIGESTS).read_bytes()
                with atomic_write(folder / "digests") as output:
                    output.write(digests)
                kept = {"file": "digests", "sha256": hashlib.sha256(digests).hexdigest()}
            write_manifest(
                folder,
                dtype=self._plan.dtype,
                shards=part,
                **self._plan.described(),
                part=name or None,
                account=totals,
                sources=[*(before["sources"] if before else []), entry],
                digests=kept,
                supervised=self._plan.contents.supervised,
            )
            if self._upload is not None:
                self._upload.publish(name, [file, *(["digests"] if kept else []), "manifest.json"])


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The options that differ: name, what it was, what it is; one that is not named is None."""
    names = [*now, *(name for name in was if name not in now)]
    return [(name, was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name)]


def _time(source: Source) -> int | None:
    """When a local file was last changed, in ns."""
    if isinstance(source, FileSource) and source.remote is None:
        return os.stat(source.path).st_mtime_ns  # noqa: PTH116
    return None
