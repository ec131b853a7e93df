"""Prepare: the same bytes at any number of workers and after any interruption; and every way it can go wrong."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreword.errors import ArgumentError, FileError, FormatError, StoreError, TextDecodeError
from foreword.tokens import TokenStore, get_tokenizer, prepare
from foreword.tokens.preparing import blocks as blocks_module
from foreword.tokens.preparing import documents as documents_module
from foreword.tokens.preparing import journal as journal_module
from foreword.tokens.preparing import run as run_module
from foreword.tokens.preparing.digests import RUN, Seen, SplitRule, digest

from .conftest import SPECIAL, odd_strings, real_text

pytestmark = pytest.mark.portable

GPT2 = get_tokenizer("gpt2")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name; the lock is no part of a store."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def reference(documents: list[str], *, end: bool = True) -> list[list[int]]:
    """The obvious way: each document's ids and the end-of-text id."""
    return [GPT2.encode_ordinary(text).tolist() + ([50256] if end else []) for text in documents if text]


def write_corpus(folder: Path, documents: int = 60) -> list[str]:
    """A folder of text files and a jsonl, of very different sizes; gives the documents in order."""
    folder.mkdir(parents=True)
    text, rng, told = real_text(), random.Random(0), []
    for i in range(documents):
        start = rng.randrange(len(text))
        told.append(text[start : start + rng.choice([5, 300, 4_000, 30_000])])
        (folder / f"{i:03}.txt").write_bytes(told[-1].encode())
    records = [text[i : i + 900] for i in range(0, 400_000, 900)]
    (folder / "records.jsonl").write_text("".join(json.dumps({"text": record}) + "\n" for record in records))
    return [document for document in told if document] + records


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(odd_strings, min_size=1, max_size=12), st.booleans(), st.integers(1, 60), st.integers(1, 30))
def test_against_the_obvious_way(tmp_path_factory, documents, end, shard_tokens, block) -> None:
    """Whatever the documents, the shards and the blocks; special-token text stays ordinary text."""
    out = tmp_path_factory.mktemp("p") / "store"
    expected = reference(documents, end=end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "BLOCK_BYTES", block)
        patch.setattr(documents_module, "PIECE", 20)
        if not expected:
            with pytest.raises(ArgumentError, match="no document"):
                prepare(documents, out, append_end_of_text=end, workers=2, shard_tokens=shard_tokens)
            assert not out.exists()
            return
        store = prepare(documents, out, append_end_of_text=end, workers=2, shard_tokens=shard_tokens)
    assert [store.document(i).tolist() for i in range(store.documents)] == expected
    assert store[:].tolist() == [id_ for ids in expected for id_ in ids]
    assert np.diff(store.offsets.astype(np.int64)).tolist() == [len(ids) for ids in expected]
    assert all(len(shard) >= shard_tokens for shard in store.shards[:-1])
    store.verify()


@pytest.mark.parametrize("patient", [False, True])
def test_the_calling_thread_encodes_what_would_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient) -> None:
    """The other thread does nothing until this one encodes, or has begun to wait: no clock decides."""
    texts = [f"{i} bottles of beer on the wall " * 50 for i in range(200)]
    alone = content(prepare(texts, tmp_path / "w1", workers=1).path)
    encode, wait = blocks_module.encode_block, blocks_module.wait
    go, here = threading.Event(), []

    def encoding(task: blocks_module.Task, block: blocks_module.Block) -> blocks_module.Encoded:
        here.append(threading.current_thread() is threading.main_thread())
        if here[-1]:
            go.set()
        assert go.wait(60), "the calling thread neither encodes nor waits"
        return encode(task, block)

    def waiting(*arguments):
        if patient:
            go.set()
        return wait(*arguments)

    monkeypatch.setattr(blocks_module, "encode_block", encoding)
    monkeypatch.setattr(blocks_module, "wait", waiting)
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 2_000)
    monkeypatch.setattr(blocks_module, "PATIENCE", 60 if patient else 0.01)
    assert content(prepare(texts, tmp_path / "w2", workers=2).path) == alone
    assert set(here) == ({False} if patient else {True, False})
    assert go.is_set()


def test_the_same_bytes_at_any_number_of_workers(tmp_path: Path) -> None:
    documents = write_corpus(tmp_path / "corpus")
    first = prepare(tmp_path / "corpus", tmp_path / "w1", workers=1, shard_tokens=50_000)
    assert [first.document(i).tolist() for i in range(first.documents)] == reference(documents)
    assert len(first.shards) > 3
    for workers in (2, 5):
        prepare(tmp_path / "corpus", tmp_path / f"w{workers}", workers=workers, shard_tokens=50_000)
        assert content(tmp_path / f"w{workers}") == content(tmp_path / "w1")


def test_beginning_and_end(tmp_path: Path) -> None:
    store = prepare(["a", "b"], tmp_path / "s", beginning=SPECIAL)
    assert store[:].tolist() == [50256, 64, 50256, 50256, 65, 50256]
    with pytest.raises(ArgumentError, match="no special token '<s>'"):
        prepare(["a"], tmp_path / "t", beginning="<s>")
    assert not (tmp_path / "t").exists()


def test_special_text_stays_text(tmp_path: Path) -> None:
    store = prepare([f"one{SPECIAL}two"], tmp_path / "s", append_end_of_text=False)
    assert 50256 not in store[:]
    assert store.tokenizer.decode(store[:]) == f"one{SPECIAL}two"


def test_a_million_one_token_documents(tmp_path: Path) -> None:
    store = prepare(("a" for _ in range(1_000_000)), tmp_path / "s", workers=2)
    assert (len(store), store.documents) == (2_000_000, 1_000_000)
    assert store.document(999_999).tolist() == [64, 50256]
    assert store[::2].min() == store[::2].max() == 64


def test_split_is_stable_and_whole(tmp_path: Path) -> None:
    texts = [f"document {i}" for i in range(2000)]
    shares = {"val": 0.1, "test": 0.05}
    prepare(texts, tmp_path / "s", split=shares)
    prepare([*(f"other {i}" for i in range(500)), *texts], tmp_path / "t", split=shares)
    parts = {}
    for name, low, high in (("train", 1600, 1800), ("val", 140, 260), ("test", 60, 140)):
        store = TokenStore.open(tmp_path / "s" / name)
        store.verify()
        parts[name] = [GPT2.decode(store.document(i)[:-1]) for i in range(store.documents)]
        assert low < len(parts[name]) < high
        other = TokenStore.open(tmp_path / "t" / name)
        longer = {GPT2.decode(other.document(i)[:-1]) for i in range(other.documents)}
        assert set(parts[name]) <= longer, "a document has changed sides"
    assert sorted(itertools.chain(*parts.values())) == sorted(texts)
    for wrong in ({"train": 0.1}, {"val": 1.5}, {"a/b": 0.1}, {"val": 0.6, "test": 0.4}):
        with pytest.raises(ArgumentError):
            prepare(texts, tmp_path / "u", split=wrong)
    with pytest.raises(StoreError, match="another split"):
        prepare(texts, tmp_path / "s")


def test_deduplicate(tmp_path: Path) -> None:
    texts = ["a", "b", "a", "c", "b", "a"]
    store = prepare(texts, tmp_path / "s", deduplicate=True)
    assert GPT2.decode(store[:]) == SPECIAL.join("abc") + SPECIAL
    assert store.manifest["account"]["duplicates"] == 3
    store = prepare(["c", "d"], tmp_path / "s", deduplicate=True, append=True)
    assert GPT2.decode(store[:]) == SPECIAL.join("abcd") + SPECIAL
    assert store.manifest["account"]["duplicates"] == 4
    store.verify()


def test_seen_against_a_set(monkeypatch) -> None:
    from foreword.tokens.preparing import digests

    monkeypatch.setattr(digests, "RUN", 50)
    seen, plain, rng = Seen(), set(), random.Random(1)
    for _ in range(5000):
        value = digest(b"%d" % rng.randrange(2500))
        value = value[:-1] + b"\0" if value[0] < 60 else value
        assert seen.add(value) == (value not in plain)
        plain.add(value)
    assert RUN > 50


def test_split_rule_takes_its_shares() -> None:
    rule = SplitRule({"val": 0.2, "test": 0.1})
    counts = np.bincount([rule.part(digest(b"%d" % i)) for i in range(20_000)]) / 20_000
    assert np.allclose(counts, [0.7, 0.2, 0.1], atol=0.015)


def test_again_says_so_and_changes_nothing(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", 5)
    prepare(tmp_path / "corpus", tmp_path / "s")
    before = content(tmp_path / "s")
    assert prepare(tmp_path / "corpus", tmp_path / "s", workers=3).fingerprint
    assert content(tmp_path / "s") == before
    prepare(["x"], tmp_path / "t")
    prepare(["x"], tmp_path / "t")
    for corpus, options, words in (
        ("corpus", {"tokenizer": "bytes"}, "not the one that made the store"),
        ("corpus", {"append_end_of_text": False}, "append_end_of_text=False"),
        ("corpus", {"documents": "line"}, "documents='line'"),
        ("corpus", {"split": {"val": 0.5}}, "another split"),
        ("corpus", {"encoding": "latin-1"}, "encoding='latin-1'"),
        (["x"], {}, r"sources that are gone: \d+, the first 000\.txt"),
    ):
        with pytest.raises(StoreError, match=words):
            prepare(tmp_path / corpus if isinstance(corpus, str) else corpus, tmp_path / "s", **options)
    with pytest.raises(StoreError, match="texts has changed"):
        prepare(["y"], tmp_path / "t")
    (tmp_path / "corpus" / "new.txt").write_text("new")
    with pytest.raises(StoreError, match=r"new: 1, the first new\.txt"):
        prepare(tmp_path / "corpus", tmp_path / "s")
    (tmp_path / "corpus" / "new.txt").unlink()
    file = tmp_path / "corpus" / "003.txt"
    file.write_bytes(b"X" + file.read_bytes()[1:])
    with pytest.raises(StoreError, match=r"003\.txt has changed"):
        prepare(tmp_path / "corpus", tmp_path / "s")
    file.write_bytes(b"X" + file.read_bytes())
    with pytest.raises(StoreError, match=r"003\.txt has .* bytes, had"):
        prepare(tmp_path / "corpus", tmp_path / "s")
    assert content(tmp_path / "s") == before


def test_append_adds_what_is_new(tmp_path: Path) -> None:
    documents = write_corpus(tmp_path / "corpus", 8)
    prepare(tmp_path / "corpus", tmp_path / "s", shard_tokens=20_000)
    before = content(tmp_path / "s")
    assert prepare(tmp_path / "corpus", tmp_path / "s", shard_tokens=20_000, append=True).documents == len(documents)
    assert content(tmp_path / "s") == before
    (tmp_path / "corpus" / "0005-new.txt").write_text("a new one")
    store = prepare(tmp_path / "corpus", tmp_path / "s", shard_tokens=20_000, append=True)
    after = content(tmp_path / "s")
    assert {name: data for name, data in after.items() if name in before and name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }, "what was there was rewritten"
    got = [store.document(i).tolist() for i in range(store.documents)]
    assert got == reference([*documents, "a new one"])
    store.verify()
    prepare(tmp_path / "corpus", tmp_path / "s", shard_tokens=20_000)  # the corpus as it is now: complete
    with pytest.raises(StoreError, match="no complete store to append to"):
        prepare(["x"], tmp_path / "nothing", append=True)
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "corpus" / "0005-new.txt").write_text("another one")
    store = prepare(tmp_path / "corpus", tmp_path / "s", shard_tokens=20_000, append=True)
    assert GPT2.decode(store.document(-1)) == "another one" + SPECIAL, (
        "other contents are new, whatever they are called"
    )
    assert store.documents == len(documents) + 2


@pytest.mark.parametrize(
    ("corpus", "error"),
    [
        ([], ArgumentError),
        (["", ""], ArgumentError),
        (["fine", 5], FormatError),
        ({"a.txt": b"caf\xe9"}, TextDecodeError),
        ({"a.txt": b"", "b.txt": b""}, ArgumentError),
        ({"a.jsonl": b'{"text": "x"}\n{broken'}, FormatError),
        ({"a.txt.gz": b"\x1f\x8b\x08cut"}, FormatError),
    ],
)
def test_bad_corpora_leave_nothing(tmp_path: Path, corpus, error) -> None:
    if isinstance(corpus, dict):
        (tmp_path / "corpus").mkdir()
        for name, data in corpus.items():
            (tmp_path / "corpus" / name).write_bytes(data)
        corpus = tmp_path / "corpus"
    with pytest.raises(error):
        prepare(corpus, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_an_empty_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in "abc":
        (tmp_path / "c" / f"{name}.txt").write_text("" if name == "b" else name)
    store = prepare(tmp_path / "c", tmp_path / "s")
    assert (store.documents, store.manifest["account"]["empty"]) == (2, 1)


def test_out_of_place(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    with pytest.raises(ArgumentError, match=r"thesis\.tex"):
        prepare(["x"], tmp_path / "full")
    with pytest.raises(ArgumentError, match=r"thesis\.tex"):
        prepare(["x"], tmp_path / "full", restart=True)
    assert (tmp_path / "full" / "thesis.tex").read_text() == "precious"
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError):
        prepare(["x"], tmp_path / "file")
    for name in ("workers", "shard_tokens"):
        with pytest.raises(ArgumentError, match=name):
            prepare(["x"], tmp_path / "s", **{name: 0})


def test_two_at_once_one_wins(tmp_path: Path) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow():
        yield "first"
        entered.set()
        go.wait(10)
        yield "second"

    thread = threading.Thread(target=prepare, args=(slow(), tmp_path / "s"))
    thread.start()
    assert entered.wait(10)
    with pytest.raises(StoreError, match="another process is preparing"):
        prepare(["other"], tmp_path / "s")
    with pytest.raises(StoreError, match="not complete"):
        TokenStore.open(tmp_path / "s")
    go.set()
    thread.join()
    assert TokenStore.open(tmp_path / "s").documents == 2


class Killed(BaseException):
    """Stands for a kill at one moment: nothing of prepare's own clean-up that a kill would not allow."""


def test_resume_refuses_another_plan_and_a_changed_corpus(tmp_path: Path, monkeypatch) -> None:
    write_corpus(tmp_path / "corpus", 30)
    interrupt(tmp_path, monkeypatch, after=20)
    with pytest.raises(StoreError, match="another documents"):
        prepare(tmp_path / "corpus", tmp_path / "s", documents="line")
    with pytest.raises(StoreError, match="another tokenizer"):
        prepare(tmp_path / "corpus", tmp_path / "s", tokenizer="bytes")
    with pytest.raises(StoreError, match="not complete"):
        TokenStore.open(tmp_path / "s")
    journal = (tmp_path / "s" / ".journal").read_bytes()
    (tmp_path / "s" / ".journal").write_bytes(journal[:50])
    with pytest.raises(StoreError, match="journal"):
        prepare(tmp_path / "corpus", tmp_path / "s")
    (tmp_path / "s" / ".journal").write_bytes(journal)
    kept = (tmp_path / "corpus" / "002.txt").read_bytes()
    (tmp_path / "corpus" / "002.txt").write_bytes(kept + b"more")
    with pytest.raises(StoreError, match=r"002\.txt"):
        prepare(tmp_path / "corpus", tmp_path / "s")
    store = prepare(tmp_path / "corpus", tmp_path / "s", restart=True)
    assert content(tmp_path / "s") == content(prepare(tmp_path / "corpus", tmp_path / "again").path)
    store.verify()


def interrupt(tmp_path: Path, monkeypatch, *, after: int, **options) -> None:
    """Prepare tmp_path/corpus until the writer has been given so many blocks."""
    from foreword.tokens.store.writer import StoreWriter

    plain, left = StoreWriter.append, [after]

    def append(self, ids, ends, loss=None):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        plain(self, ids[: len(ids)], ends)

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "append", append)
        patch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Killed):
            prepare(tmp_path / "corpus", tmp_path / "s", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split": {"val": 0.3}},
        {"deduplicate": True},
        {"beginning": SPECIAL},
        {"documents": "line", "beginning": SPECIAL},
    ],
)
def test_resume_gives_the_same_bytes(tmp_path: Path, monkeypatch, options) -> None:
    write_corpus(tmp_path / "corpus", 20)
    options = {"shard_tokens": 30_000, **options}
    prepare(tmp_path / "corpus", tmp_path / "whole", **options)
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(documents_module, "PIECE", 7_000)
    for after in (3, 40, 14):
        interrupt(tmp_path, monkeypatch, after=after, workers=2, **options)
    prepare(tmp_path / "corpus", tmp_path / "s", workers=3, **options)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_an_append_that_was_killed_resumes(tmp_path: Path, monkeypatch) -> None:
    write_corpus(tmp_path / "corpus", 12)
    for name in ("s", "whole"):
        prepare(["the", "base"], tmp_path / name, deduplicate=True)
    prepare(tmp_path / "corpus", tmp_path / "whole", deduplicate=True, append=True)
    interrupt(tmp_path, monkeypatch, after=5, deduplicate=True, append=True)
    assert TokenStore.open(tmp_path / "s").documents == 2, "until it is done, the store is as it was"
    TokenStore.open(tmp_path / "s").verify()
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "discard", lambda *_: pytest.fail("it started over"))
        prepare(tmp_path / "corpus", tmp_path / "s", deduplicate=True, append=True)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


@pytest.mark.parametrize("split", [None, {"val": 0.3}])
def test_killed_between_the_manifest_and_the_end(tmp_path: Path, monkeypatch, split) -> None:
    """The store is published, only its journal is left: the next call says complete, and takes it away."""

    def killed(*_: object) -> None:
        raise Killed

    write_corpus(tmp_path / "corpus", 8)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "remove", killed)
        patch.setattr(journal_module, "discard", lambda *_: None)  # what a kill would not do
        with pytest.raises(Killed):
            prepare(tmp_path / "corpus", tmp_path / "s", split=split)
    assert (tmp_path / "s" / ".journal").exists()
    prepare(tmp_path / "corpus", tmp_path / "s", split=split)
    assert not (tmp_path / "s" / ".journal").exists()
    prepare(tmp_path / "corpus", tmp_path / "whole", split=split)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


VICTIM = """
import sys
from foreword.tokens import prepare
from foreword.tokens.preparing import run
run.CHECKPOINT_SECONDS = 0.02
prepare(sys.argv[1], sys.argv[2], shard_tokens=100_000, workers=int(sys.argv[3]), documents="blank-line")
"""


def kill_and_resume(tmp_path: Path, kills: int, seed: int) -> int:
    """Kill prepare -9 at random moments, over and over; gives how many were, while at work."""
    corpus = tmp_path / "corpus"
    if not corpus.exists():
        write_corpus(corpus, 80)
        (corpus / "long.txt").write_text(real_text() * 12)
    whole = prepare(corpus, tmp_path / "whole", shard_tokens=100_000, documents="blank-line")
    rng, hit = random.Random(seed), 0

    def victim(workers: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", VICTIM, str(corpus), str(tmp_path / "s"), str(workers)])

    def at_work(process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not (tmp_path / "s" / ".journal").exists():
            time.sleep(0.002)

    shutil.rmtree(tmp_path / "s", ignore_errors=True)
    process = victim(2)
    at_work(process)
    began = time.monotonic()
    assert process.wait() == 0
    length = time.monotonic() - began
    for _ in range(4 * kills):
        shutil.rmtree(tmp_path / "s")
        for _ in range(rng.choice([1, 1, 2])):  # at times the one that resumes is killed too
            process = victim(rng.choice([1, 2, 3]))
            at_work(process)
            time.sleep(rng.uniform(0, length))
            process.send_signal(signal.SIGKILL)
            process.wait()
        if (tmp_path / "s" / "manifest.json").exists():
            TokenStore.open(tmp_path / "s").verify()
        else:
            hit += 1
            with pytest.raises(StoreError, match="not complete"):
                TokenStore.open(tmp_path / "s")
        options = {"shard_tokens": 100_000, "documents": "blank-line", "workers": rng.choice([1, 2])}
        # not kept: what is mapped can't be removed on Windows
        assert prepare(corpus, tmp_path / "s", **options).fingerprint == whole.fingerprint
        assert content(tmp_path / "s") == content(tmp_path / "whole")
        if hit == kills:
            break
    return hit


def test_killed_and_resumed(tmp_path: Path) -> None:
    assert kill_and_resume(tmp_path, 3, seed=0)


@pytest.mark.slow
def test_killed_fifty_times(tmp_path: Path) -> None:
    assert kill_and_resume(tmp_path, 50, seed=1) == 50, "too many kills came when there was nothing to kill"


def test_a_disk_that_fills(tmp_path: Path) -> None:
    """A file-size limit stands for a full disk: the write fails in the middle, as it would there."""
    resource = pytest.importorskip("resource")
    code = (
        "import sys, resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from foreword.tokens import prepare\nfrom foreword.errors import FileError\n"
        "try: prepare([sys.argv[2]] * 100, sys.argv[1])\n"
        "except FileError as error: print(error)\n"
    )
    assert resource
    run = [sys.executable, "-c", code, str(tmp_path / "s"), real_text()[:20_000]]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "can't write the store: file too large" in done.stdout
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_small_disk_that_fills(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        with pytest.raises(FileError, match="no space left") as error:
            prepare([real_text()] * 10, disk / "s")
        assert "free some space" in str(error.value)
        assert not (disk / "s" / "manifest.json").exists()
        prepare(["it still works"], disk / "t").verify()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_number_of_workers_is_that_of_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    plain = blocks_module.Threads.__init__

    def spy(self: blocks_module.Threads, task: blocks_module.Task, count: int) -> None:
        counts.append(count)
        plain(self, task, count)

    monkeypatch.setattr(blocks_module.Threads, "__init__", spy)
    monkeypatch.setenv("FOREWORD_THREADS", "3")
    prepare(["x"], tmp_path / "a")
    prepare(["x"], tmp_path / "b", workers=2)
    assert counts == [3, 2]
