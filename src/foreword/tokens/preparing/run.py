"""One run of prepare: sources through reader, splitter, encoder and writers, with a journal to take it up again.

Not for: deciding whether to run (``prepare``). Costs: see there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from foreword._base.files import atomic_write, explained
from foreword._base.progress import progress
from foreword.errors import ArgumentError, StoreError
from foreword.tokens.preparing import journal
from foreword.tokens.preparing.blocks import BlockEncoder, Encoded, Framing, Task, Workers
from foreword.tokens.preparing.corpus import FileSource, Source
from foreword.tokens.preparing.digests import DIGEST_BYTES, Seen, SplitRule, digest
from foreword.tokens.preparing.documents import Reader, Reading
from foreword.tokens.store.store import TokenStore
from foreword.tokens.store.writer import StoreWriter, write_manifest
from foreword.tokens.tokenizers.tokenizer import Tokenizer, to_utf8

__all__ = ["Plan", "Run"]

CHECKPOINT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the bytes of a store, besides the corpus; ``policies`` are the user's own words for it."""

    tokenizer: Tokenizer
    framing: Framing
    reading: Reading
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
    """Prepares ``sources`` into ``folder``; ``base``: the stores to append to, ``saved``: an earlier run's journal."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        sources: list[Source],
        base: dict[str, TokenStore] | None,
        saved: dict[str, Any] | None,
        make_workers: Callable[[Task], Workers],
    ) -> None:
        self._plan, self._folder, self._sources, self._base = plan, folder, sources, base
        self._make_workers = make_workers
        self._fresh = saved is None
        start: dict[str, Any] = saved or self._beginning()
        self._check_same_plan(start)
        self._position: list[int] = start["position"]
        self._duplicates: int = start["duplicates"]
        self._appends: int = start["appends"]
        self._written = start["sources_bytes"]
        self._reader = Reader(
            plan.reading,
            cuttable=plan.tokenizer.cuttable and not plan.shares and not plan.deduplicate,
            advance=lambda amount: self._bar.advance(amount),  # noqa: PLW0108 - the bar comes later
        )
        self._digests: int = start["digests"]
        self._accounts_saved = 0
        self._seen = Seen()
        self._new_digests: list[bytes] = []
        self._rule = SplitRule(plan.shares)
        self._writers: list[StoreWriter] = []
        self._start = start

    def _beginning(self) -> dict[str, Any]:
        """The journal of a run that has done nothing yet."""
        stores = list(self._base.values()) if self._base else []
        outputs = [
            {"shards": self._base[name].manifest["shards"] if self._base else [], "open": [0, 0]}
            for name in self._plan.names
        ]
        return {
            "plan": self._plan.described(),
            "base": stores[0].fingerprint if stores else None,
            "position": [0, 0],
            "reading": None,
            "outputs": outputs,
            "duplicates": stores[0].manifest["account"]["duplicates"] if stores else 0,
            "appends": len(stores[0].manifest["sources"]) if stores else 0,
            "sources_bytes": 0,
            "digests": stores[0].manifest["account"]["digests"] if stores else 0,
        }

    def _check_same_plan(self, saved: dict[str, Any]) -> None:
        was, now = saved["plan"], self._plan.described()
        pairs = [("tokenizer", was["tokenizer"], now["tokenizer"])]
        pairs += [(name, was["policies"].get(name), value) for name, value in now["policies"].items()]
        for name, before, value in pairs:
            if before != value:
                raise StoreError(
                    f"an interrupted prepare has another {name}",
                    got=f"{name}={value!r}",
                    expected=f"{name}={before!r}, to resume it",
                    where=self._folder,
                    fix="give the same options, or start over: restart=True (--restart)",
                )

    def work(self) -> None:
        """Do it all, and publish the store.

        Raises:
            ArgumentError: the corpus holds no document.
        """
        try:
            with explained("write the store", self._folder):
                self._recover()
                self._read_all()
                self._publish()
        except BaseException:
            for writer in self._writers:
                writer.abandon()
            if self._fresh and not self._base:  # nothing was saved: leave nothing behind
                journal.discard(self._folder, self._plan.names)
            raise

    def _recover(self) -> None:
        """Bring every file back to what the journal says; a fresh run begins with a journal that says: nothing."""
        for name, state in zip(self._plan.names, self._start["outputs"], strict=True):
            self._writers.append(
                StoreWriter(self._folder / name, self._plan.dtype, shard_tokens=self._plan.shard_tokens, state=state)
            )
        with open(self._folder / journal.SOURCES, "ab") as file:
            file.truncate(self._written)
        if self._plan.deduplicate:
            self._recover_digests()
        if self._fresh:
            journal.save(self._folder, self._start)
        else:
            self._check_sources()

    def _recover_digests(self) -> None:
        known = self._folder / journal.DIGESTS
        if self._fresh:
            base = next(iter(self._base.values())) if self._base else None
            known.write_bytes((base.path / "digests").read_bytes() if base else b"")
        with open(known, "r+b") as file:
            data = file.read(self._digests * DIGEST_BYTES)
            file.truncate(self._digests * DIGEST_BYTES)
        if len(data) != self._digests * DIGEST_BYTES:
            raise StoreError("the digests of documents are cut short", where=known, fix="prepare the corpus again")
        for i in range(0, len(data), DIGEST_BYTES):
            self._seen.add(data[i : i + DIGEST_BYTES])

    def _check_sources(self) -> None:
        """Refuse to resume where what was read has changed since."""
        with open(self._folder / journal.SOURCES, encoding="utf-8") as lines:
            done = [json.loads(line) for line in lines]
        told = [(account["name"], account["bytes"]) for account in done]
        current = self._start["reading"]
        if current is not None and len(done) == self._position[0]:
            told.append((current["name"], current["bytes"]))
        now = [(source.name, source.size) for source in self._sources[: len(told)]]
        same_time = current is None or current["time"] == _time(
            self._sources[len(done)] if len(now) == len(told) else None
        )
        if now != told or not same_time:
            changed = next((was[0] for was, is_ in zip(told, now, strict=False) if was != is_), told[-1][0])
            raise StoreError(
                "the corpus has changed since prepare was interrupted",
                got=f"{changed} is not what was read then",
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
        encoder = BlockEncoder(self._make_workers(Task(plan.tokenizer, plan.framing, plan.dtype, len(plan.names))))
        with progress("tokenizing", left) as self._bar, encoder:
            for number, source in enumerate(self._sources[first:], start=first):
                pieces = 0
                for text, ends in self._reader.read(source):
                    pieces += 1
                    if pieces <= skip:
                        encoder.begins = ends
                        continue
                    data = to_utf8(text)
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
                skip = 0
            self._write(encoder.drain())

    def _write(self, blocks: Iterable[Encoded]) -> None:
        for block in blocks:
            for writer, (ids, ends) in zip(self._writers, block.parts, strict=True):
                writer.append(ids, ends)
                self._bar.tally(len(ids), "tokens")

    def _checkpoint(self, encoder: BlockEncoder, source: Source) -> None:
        """Write all that has been read, make it durable, and then say so in the journal."""
        self._write(encoder.drain())
        for writer in self._writers:
            writer.sync()
        self._save_lists()
        current = {"name": source.name, "bytes": source.size, "time": _time(source)}
        journal.save(
            self._folder,
            {
                "plan": self._plan.described(),
                "base": self._start["base"],
                "position": self._position,
                "reading": current,
                "outputs": [writer.state() for writer in self._writers],
                "duplicates": self._duplicates,
                "appends": self._appends,
                "sources_bytes": self._written,
                "digests": self._digests,
            },
        )
        self._fresh = False

    def _save_lists(self) -> None:
        """Add what is new to the accounts of sources and the digests, durably."""
        lines = [
            json.dumps(account, ensure_ascii=False) + "\n" for account in self._reader.account[self._accounts_saved :]
        ]
        self._accounts_saved = len(self._reader.account)
        added = {journal.SOURCES: "".join(lines).encode()}
        if self._plan.deduplicate:
            added[journal.DIGESTS] = b"".join(self._new_digests)
        for name, data in added.items():
            with open(self._folder / name, "ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        self._written += len(added[journal.SOURCES])
        self._digests += len(self._new_digests)
        self._new_digests = []

    def _publish(self) -> None:
        """Close the shards and write the manifests: now there is a store."""
        self._save_lists()
        shards = [writer.finish() for writer in self._writers]
        if not any(shard["documents"] for part in shards for shard in part):
            raise ArgumentError(
                "the corpus holds no document",
                got=f"{len(self._sources):,} sources, all empty" if self._sources else "no sources",
                fix="give text",
            )
        accounts = (self._folder / journal.SOURCES).read_bytes()
        read = [json.loads(line) for line in accounts.splitlines()]
        before = next(iter(self._base.values())).manifest if self._base else None
        account = {
            key: sum(source[key] for source in read) + (before["account"][key] if before else 0)
            for key in ("skipped", "empty")
        }
        account |= {"duplicates": self._duplicates, "digests": self._digests}
        file = f"sources.{self._appends}.jsonl"
        told = {"file": file, "sha256": hashlib.sha256(accounts).hexdigest(), "count": len(read)}
        # The first output's manifest comes last: once it is there, all are.
        for index, (name, part) in reversed(list(enumerate(zip(self._plan.names, shards, strict=True)))):
            folder = self._folder / name
            with atomic_write(folder / file) as output:
                output.write(accounts)
            kept = None
            if self._plan.deduplicate and index == 0:
                digests = (self._folder / journal.DIGESTS).read_bytes()
                with atomic_write(folder / "digests") as output:
                    output.write(digests)
                kept = {"file": "digests", "sha256": hashlib.sha256(digests).hexdigest()}
            write_manifest(
                folder,
                dtype=self._plan.dtype,
                shards=part,
                **self._plan.described(),
                part=name or None,
                account=account,
                sources=[*(before["sources"] if before else []), told],
                digests=kept,
            )
            for path in folder.glob("[0-9]*.*"):  # shards of an attempt that was started over
                if int(path.stem) >= len(part):
                    path.unlink()
        journal.remove(self._folder)


def _time(source: Source | None) -> int | None:
    """When a local file was last changed, in ns."""
    if isinstance(source, FileSource) and source.remote is None:
        return os.stat(source.path).st_mtime_ns  # noqa: PTH116
    return None
