"""Prepare: a corpus to a token store, on several threads, in bounded memory, resumed where it was killed.

    sources ── Reader ──▶ pieces ── (split, de-duplicate) ──▶ BlockEncoder ──▶ StoreWriter ──▶ manifest
                                                        every few seconds ──▶ .journal

Special-token text inside a document is ordinary text; only what is put around documents is special. The bytes of a
store depend on the corpus and the options alone: not on the number of workers, not on interruptions.

Not for: tokenizing a text in memory (``Tokenizer.encode``). Costs: 1 GB/s of reading and hashing in the main thread,
100–400 MB/s of text a worker; a few hundred MB of memory.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foreword._base import threads
from foreword._base.checks import integer
from foreword._base.files import output_path, read_regular, remote_url
from foreword._base.progress import progress
from foreword._base.words import counted
from foreword.errors import ArgumentError, StoreError
from foreword.tokens.preparing import journal
from foreword.tokens.preparing.blocks import Framing, Task, Threads, Workers
from foreword.tokens.preparing.corpus import (
    Corpus,
    FileSource,
    Source,
    TextsSource,
    open_corpus,
    passed_over_text,
    sha256_of,
)
from foreword.tokens.preparing.documents import Reader, Reading
from foreword.tokens.preparing.options import checked_split, contents_of
from foreword.tokens.preparing.run import Plan, Run, differing
from foreword.tokens.preparing.upload import Upload
from foreword.tokens.store.sources import read_sources
from foreword.tokens.store.store import TokenStore, token_dtype
from foreword.tokens.tokenizers.opening import get_tokenizer
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["Prepared", "prepare", "prepared"]

SHARD_TOKENS = 1 << 30


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What came of a call of ``prepare``.

    Attributes:
        stores: by the name of their part; one, named "", where there is no split.
        complete: whether they were complete before.
        passed_over: what was found in the corpus and is not read, each with the reason.
        already: sources that an append passed over, because the store has their contents.
        renewed: sources that it added although the store has one of their name, with other contents.
    """

    stores: dict[str, TokenStore]
    complete: bool
    passed_over: Sequence[str] = ()
    already: int = 0
    renewed: int = 0

    @property
    def first(self) -> TokenStore:
        """The store, or that of ``out/train``."""
        return next(iter(self.stores.values()))

    @property
    def notes(self) -> list[str]:
        """What the caller should know: a part of the split without a document, and what was passed over."""
        counts = ", ".join(f"{name}: {store.documents:,}" for name, store in self.stores.items())
        empty = [name for name, store in self.stores.items() if not store.documents]
        notes = [
            f"the split leaves no document for {name} ({counts}): which part it is in follows from a hash of its text; "
            f'take smaller documents, documents="line" (--documents line), or a larger share'
            for name in empty
        ]
        return notes + ([passed_over_text(self.passed_over)] if self.passed_over else [])


def prepare(
    corpus: object,
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | Tokenizer | Any = None,
    append_end_of_text: bool | str | None = None,
    beginning: str | None = None,
    documents: str = "file",
    separator: str | None = None,
    field: str | None = None,
    encoding: str = "utf-8",
    bad_records: str = "error",
    records: str = "text",
    chat_template: str | os.PathLike[str] | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    split: Mapping[str, float] | None = None,
    deduplicate: bool = False,
    append: bool = False,
    restart: bool = False,
    workers: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    engine: str = "local",
    address: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> TokenStore:
    """Tokenize a corpus into the token store ``out``, and open it.

    Interrupted, it is run again with the same arguments and resumes. On a store that is complete and was made of the
    same corpus with the same options it reads the corpus's checksums, and returns the store.

    Args:
        corpus: a file, a folder, a pattern (glob) or a URL of .txt, .md, .jsonl, .json, .parquet, .csv or .tsv files,
            each also as .gz, .bz2, .xz or .zst; a list of ``Path``; or an iterable of texts or of records (a Hugging
            Face dataset). A file without a known suffix is what its first bytes say. What a folder holds besides is
            passed over: a warning names it, and the manifest.
        out: the folder to make, or a URL that fsspec can write (s3://, gs://, az://); a store only when it is complete.
        tokenizer: what ``get_tokenizer`` takes; "gpt2" where it is None and records are texts.
        append_end_of_text: put the tokenizer's end-of-text id after each document; a text names the token that ends
            one, such as "<|im_end|>". None: yes, but for messages, as their template writes all of them.
        beginning: a special token to put before each document, such as "<s>".
        documents: what a document is in text files: "file", "line" or "blank-line"; in the others a record is one. An
            empty document is dropped, and counted.
        separator: in text files, the text between two documents, instead of ``documents``.
        field: the field, or column, that holds a record's text, "text" where it is None, or its ids, "input_ids";
            "meta.text" names a field within a field.
        encoding: of text, jsonl and csv files.
        bad_records: "error", or "skip" and count: lines that are not JSON, records without the field, null texts, rows
            of csv with too few or too many cells.
        records: what a record holds:

            * "text";
            * "ids", text that ``tokenizer`` made ids of already. An end-of-text id at their end is not put there twice;
            * "messages", a conversation, which the tokenizer's chat template, or ``chat_template``, makes a text of.
              The store says of each token whether it is the assistant's (``TokenStore.read_loss``), and windows leave
              the others out of the loss;
            * "completion", a prompt and its completion, in the fields "prompt,completion": side by side they are the
              text, and the tokens of the completion, with the end-of-text id, are trained on.
        chat_template: for messages: a template in Jinja's language, or a ``Path`` to one.
        format: "text", "jsonl", "json", "parquet", "arrow", "csv" or "tsv", whatever the files are called.
        split: shares of documents by name, {"val": 0.01}: they go to ``out/val``, the rest to ``out/train``. Which
            they are follows from a hash of each text, and stays when documents are added. A warning names a part that
            gets none.
        deduplicate: drop documents whose text came before.
        append: add to the store ``out`` what it does not hold yet. Files, and iterables as a whole, are told apart by
            their contents, whatever they are called.
        restart: throw away what an interrupted run has left.
        workers: threads that encode; where it is None, FOREWORD_THREADS, else as many as there are processors.
        shard_tokens: a shard ends with the document that brings it to so many tokens.
        engine: "local", threads of this process; or "ray", processes of a Ray cluster.
        address: of the Ray cluster; one is started on this machine where it is None.
        storage_options: where ``out`` is a URL: what its fsspec file system takes. Credentials come from the
            environment without, and are written nowhere.

    Returns:
        The store; with ``split`` the one of ``out/train`` (open the others: ``TokenStore.open(out / "val")``).

    Raises:
        StoreError: ``out`` was made of another corpus or with other options (names the difference), is being prepared
            by another process, or holds an interrupted run of which files, or what it had read, are not as they were.
        ArgumentError: an option that can't be used; no document in the corpus; a URL that can't be written.
        ArgumentTypeError: an object that can't be meant as a corpus; says what to write.
        MissingFileError, FileError, FormatError, TextDecodeError: the corpus can't be read (says where), or ``out``
            can't be written.
        DownloadError: the URL ``out`` can't be reached, or refuses.

    >>> import tempfile
    >>> store = prepare(["Every effort", "moves you"], tempfile.mkdtemp() + "/store")
    >>> len(store), store.documents, store.dtype
    (7, 2, dtype('uint16'))
    >>> store[:]
    array([ 6109,  3626, 50256,    76,  5241,   345, 50256], dtype=uint16)
    """
    done = prepared(
        corpus,
        out,
        tokenizer=tokenizer,
        append_end_of_text=append_end_of_text,
        beginning=beginning,
        reading=Reading(
            documents=documents,
            separator=separator,
            field=field,
            encoding=encoding,
            bad_records=bad_records,
            records=records,
        ),
        chat_template=chat_template,
        format=format,
        split=split,
        deduplicate=deduplicate,
        append=append,
        restart=restart,
        workers=workers,
        shard_tokens=shard_tokens,
        engine=engine,
        address=address,
        storage_options=storage_options,
    )
    for note in done.notes:
        warnings.warn(f"prepare: {note}", stacklevel=2)
    return done.first


def prepared(
    corpus: object,
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | Tokenizer | Any,
    append_end_of_text: bool | str | None,
    beginning: str | None,
    reading: Reading,
    chat_template: str | os.PathLike[str] | None,
    format: str | None,  # noqa: A002 - the option's name
    split: Mapping[str, float] | None,
    deduplicate: bool,
    append: bool,
    restart: bool,
    workers: int | None,
    shard_tokens: int,
    engine: str,
    address: str | None,
    storage_options: Mapping[str, Any] | None = None,
) -> Prepared:
    """As ``prepare``, which see; tells what came of it."""
    if tokenizer is None and reading.records != "text":
        raise ArgumentError(
            f"which tokenizer goes with the {reading.records} of the records?",
            fix='say it: prepare(…, tokenizer="gpt2") (--tokenizer gpt2)',
        )
    tokenizer = get_tokenizer("gpt2" if tokenizer is None else tokenizer)
    workers = None if workers is None else integer("workers", workers, at_least=1)
    shard_tokens = integer("shard_tokens", shard_tokens, at_least=1)
    if engine not in ("local", "ray"):
        raise ArgumentError("no such engine", got=repr(engine), expected="local, ray")
    if engine == "local" and address is not None:
        raise ArgumentError("an address is a Ray cluster's", got=address, fix='say engine="ray" (--engine ray)')
    shares = checked_split(split)
    append_end_of_text = reading.records != "messages" if append_end_of_text is None else append_end_of_text
    framing = Framing(
        before=(tokenizer.special_id(beginning),) if beginning else (),
        after=(_end_of_text_id(tokenizer, append_end_of_text),) if append_end_of_text else (),
    )
    contents, described = contents_of(reading, tokenizer, framing, chat_template)
    plan = Plan(
        tokenizer=tokenizer,
        framing=framing,
        reading=reading,
        contents=contents,
        shares=shares,
        deduplicate=deduplicate,
        shard_tokens=shard_tokens,
        dtype=token_dtype(tokenizer.vocab_size),
        policies={
            "append_end_of_text": append_end_of_text,
            "beginning": beginning,
            **reading.described(),
            **described,
            "format": format,
            "split": shares or None,
            "deduplicate": deduplicate,
            "shard_tokens": shard_tokens,
        },
    )
    url = remote_url(out)
    if url is None and storage_options is not None:
        raise ArgumentError("storage_options are for a URL", got=os.fspath(out), fix="leave them out")
    upload = None if url is None else Upload(url, storage_options)
    folder = output_path(out) if upload is None else upload.work
    try:
        found = open_corpus(corpus, format=format, out=[folder])
        make_workers = functools.partial(_workers, engine, workers, address)
        with contextlib.closing(contents), journal.exclusive(folder, ours=upload is not None):
            return _prepared(plan, folder, found, make_workers, append=append, restart=restart, upload=upload)
    finally:
        if upload is not None:
            upload.close()


def _prepared(
    plan: Plan,
    folder: Path,
    found: Corpus,
    make_workers: Callable[[Task], Workers],
    *,
    append: bool,
    restart: bool,
    upload: Upload | None,
) -> Prepared:
    """Do what is left to do for the store in ``folder``, or at a URL, for which ``folder`` is locked."""
    manifests = [_manifest(folder, name, upload) for name in plan.names]
    complete = None not in manifests
    saved = journal.load(folder)
    published = saved is not None and manifests[0] and complete and journal.is_published(saved, manifests[0])
    if saved is not None and (restart or published):
        if upload is None:
            journal.discard(folder, plan.names)
        saved = None
    if upload is not None and saved is None and not published:
        upload.clear()
    sources: Sequence[Source] = found.sources
    stores = None
    accounts: list[dict[str, Any]] = []
    if complete:
        stores = _open(folder, plan, upload)
        if upload is not None and published:
            upload.end({name: len(store.shards) for name, store in stores.items()})
        first = stores[plan.names[0]]
        accounts = read_sources(first.folder, first.manifest)
        where = folder if upload is None else upload.shown
        _refuse_difference(first.manifest, plan, where)
        if not append:
            _refuse_other_corpus(sources, accounts, first.manifest, plan, where)
            return Prepared(stores, complete=True, passed_over=found.passed_over)
        sources = _new_sources(sources, accounts)
        if not sources:
            return Prepared(stores, complete=False, passed_over=found.passed_over, already=len(found))
    elif append:
        raise StoreError("there is no complete store to append to", where=folder, fix="prepare it first")
    elif saved is None and upload is not None:
        upload.refuse_foreign(plan.names)
    elif saved is None:
        _refuse_foreign(folder, plan)
    if upload is not None:
        upload.begin()
    already = len(found) - len(sources)
    new = Run(
        plan,
        folder,
        sources,
        base=stores,
        known=frozenset(account["sha256"] for account in accounts),
        saved=saved,
        passed_over=found.passed_over,
        make_workers=make_workers,
        upload=upload,
    ).work()
    stores = _open(folder, plan, upload)
    names = {account["name"] for account in accounts}
    return Prepared(
        stores,
        complete=False,
        passed_over=found.passed_over,
        already=already if new else already + len(sources),
        renewed=sum(source.name in names for source in sources),
    )


def _manifest(folder: Path, name: str, upload: Upload | None) -> bytes | None:
    """The manifest of a part of the store, if it is there."""
    if upload is not None:
        return upload.manifest(name)
    path = folder / name / "manifest.json"
    return read_regular(path, "open the token store") if path.exists() else None


def _open(folder: Path, plan: Plan, upload: Upload | None) -> dict[str, TokenStore]:
    """The parts of the store, which is complete."""
    if upload is not None:
        return {name: upload.open(name, plan.tokenizer) for name in plan.names}
    return {name: TokenStore.open(folder / name, tokenizer=plan.tokenizer) for name in plan.names}


def _workers(engine: str, count: int | None, address: str | None, task: Task) -> Workers:
    count = count or threads.count()
    if engine == "local":
        return Threads(task, count)
    from foreword.tokens.preparing.ray_engine import RayWorkers

    return RayWorkers(task, count, address)


def _end_of_text_id(tokenizer: Tokenizer, named: bool | str) -> int:
    return tokenizer.special_id(named) if isinstance(named, str) else tokenizer.end_of_text_id


def _refuse_foreign(folder: Path, plan: Plan) -> None:
    """Refuse a folder that holds something else."""
    stores = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    if (folder / "manifest.json").exists() or stores:
        raise StoreError(
            "the folder holds a store with another split",
            got=", ".join(stores) or "one store, no split",
            expected=", ".join(name for name in plan.names if name) or "one store, no split",
            where=folder,
            fix="give the same split, or name another folder",
        )
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if others:
        raise ArgumentError(
            "the folder is not empty, and holds no store",
            got=", ".join(others[:5]),
            where=folder,
            fix="name another folder, or empty this one",
        )


def _refuse_difference(manifest: dict[str, Any], plan: Plan, where: Path | str) -> None:
    """Refuse a store that was made by another tokenizer or with other options."""
    for name, before, value in differing(manifest["policies"], plan.policies):
        raise StoreError(
            f"the store is there already, prepared with another {name}",
            got=f"{name}={value!r}",
            expected=f"{name}={before!r}, as the store was made",
            where=where,
            fix="give the same options, or name another folder",
        )


def _refuse_other_corpus(
    sources: Sequence[Source],
    accounts: list[dict[str, Any]],
    manifest: dict[str, Any],
    plan: Plan,
    where: Path | str,
) -> None:
    """Refuse a corpus that does not hold, byte for byte, what the store was made of; names of files are labels."""

    def differs(what: str) -> StoreError:
        return StoreError(
            "the store is there already, prepared from another corpus",
            got=what,
            where=where,
            fix="add what is new with append=True (--append), or name another folder",
        )

    names, known = {source.name for source in sources}, {account["name"]: account for account in accounts}
    missing, added = sorted(known.keys() - names), sorted(names - known.keys())

    def difference(source: Source) -> StoreError:
        if missing:
            return differs(f"sources that are gone: {len(missing):,}, the first {missing[0]}")
        if added:
            return differs(f"sources that are new: {len(added):,}, the first {added[0]}")
        size = known[source.name]["bytes"]
        if source.size != size:
            return differs(f"{source.name} has {counted(source.size or 0, 'byte')}, had {size or 0:,}")
        return differs(f"{source.name} has changed")

    sizes = {account["bytes"] for account in accounts}
    for source in sources:
        if source.size not in sizes:
            raise difference(source)
    appended = len(manifest["sources"]) > 1
    left = collections.Counter(account["sha256"] for account in accounts)
    ever, digests = set(left), []
    with progress("comparing the corpus", sum(source.size or 0 for source in sources)) as bar:
        for source in sources:
            digests.append(_digest(source, plan))
            bar.advance(source.size or 0)
            # An append passes over what is there, so a copy of it may have come since.
            if digests[-1] not in ever or (not left[digests[-1]] and not appended):
                raise difference(source)
            left[digests[-1]] -= 1
    if missing := [account["name"] for account in accounts if left[account["sha256"]] > 0]:
        raise differs(f"sources that are gone: {len(missing):,}, the first {missing[0]}")
    if not appended and digests != [account["sha256"] for account in accounts]:
        raise differs("the same contents in another order")


def _digest(source: Source, plan: Plan) -> str:
    """The SHA-256 of a source, as its account has it."""
    if isinstance(source, FileSource):
        return sha256_of(source)
    reader = Reader(plan.reading, cuttable=True, contents=plan.contents)
    for _ in reader.read(source):
        pass
    return str(reader.account[-1]["sha256"])


def _new_sources(sources: Sequence[Source], accounts: list[dict[str, Any]]) -> list[Source]:
    """The sources whose contents are not in the store; of texts that is known when they have been read."""
    known = {account["sha256"] for account in accounts}
    sizes = {account["bytes"] for account in accounts}
    new: list[Source] = []
    for source in sources:
        if isinstance(source, TextsSource):
            number = sum(account["name"].startswith("texts") for account in accounts) + 1
            new.append(TextsSource(f"texts {number}" if number > 1 else "texts", source.texts))
        elif (source.size is not None and source.size not in sizes) or sha256_of(source) not in known:
            new.append(source)
    return new
