"""A run that is resumed proves that it is the same run; an append knows contents; a store holds no file of others."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foreword.errors import ArgumentError, StoreError
from foreword.tokens import TokenStore, get_tokenizer, prepare
from foreword.tokens.preparing import documents as documents_module
from foreword.tokens.preparing import run as run_module
from foreword.tokens.store.manifest import seal
from foreword.tokens.store.writer import StoreWriter

from .test_prepare import Killed, content

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders, no names that are not text")
GPT2 = get_tokenizer("gpt2")
TEXTS = [f"text {i} " + "word " * (i % 7) for i in range(60)]


def texts_of(store: TokenStore) -> list[str]:
    return [GPT2.decode(store.document(i)[:-1]) for i in range(store.documents)]


def stopped(monkeypatch: pytest.MonkeyPatch, corpus: object, out: Path, *, after: int, **options: object) -> None:
    """Prepare until the writer has been given so many blocks, with a checkpoint after each piece."""
    plain, left = StoreWriter.append, [after]

    def append(self, ids, ends, loss=None):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        plain(self, ids, ends, loss)

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "append", append)
        patch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Killed):
            prepare(corpus, out, **options)


def files(folder: Path, contents: dict[str, str]) -> Path:
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "options", [{}, {"split": {"val": 0.3}}, {"deduplicate": True}, {"beginning": "<|endoftext|>"}]
)
def test_a_generator_resumed_makes_the_bytes_of_an_unbroken_run(tmp_path: Path, monkeypatch, options) -> None:
    prepare(iter(TEXTS), tmp_path / "whole", shard_tokens=100, **options)
    for after in (30, 11):
        stopped(monkeypatch, (text for text in TEXTS), tmp_path / "s", after=after, shard_tokens=100, **options)
    prepare((text for text in TEXTS), tmp_path / "s", shard_tokens=100, **options)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


@pytest.mark.parametrize(
    "other",
    [
        list(reversed(TEXTS)),
        ["another", *TEXTS[1:]],
        [*TEXTS[1:], TEXTS[0]],
        TEXTS[1:],
        TEXTS[:10],
        [],
        ["", *TEXTS[1:]],
        [*TEXTS[:20], TEXTS[20] + TEXTS[21], *TEXTS[22:]],
        [TEXTS[0][:3], TEXTS[0][3:], *TEXTS[1:]],
        [{"text": "other"}] * 60,
    ],
)
def test_another_beginning_is_refused(tmp_path: Path, monkeypatch, other) -> None:
    stopped(monkeypatch, iter(TEXTS), tmp_path / "s", after=30)
    before = content(tmp_path / "s")
    with pytest.raises(StoreError, match="has changed since prepare was interrupted") as error:
        prepare(iter(other), tmp_path / "s")
    assert "--restart" in str(error.value)
    assert content(tmp_path / "s") == before
    assert texts_of(prepare(iter(TEXTS), tmp_path / "s")) == TEXTS
    shutil.rmtree(tmp_path / "s")
    stopped(monkeypatch, iter(TEXTS), tmp_path / "s", after=30)
    assert texts_of(prepare(TEXTS[:50], tmp_path / "s", restart=True)) == TEXTS[:50]


def test_what_comes_after_the_beginning_may_be_other(tmp_path: Path, monkeypatch) -> None:
    """Only what was consumed is proven; the store is that of the corpus as it is now."""
    stopped(monkeypatch, iter(TEXTS), tmp_path / "s", after=20)
    now = [*TEXTS[:40], "other", *TEXTS[45:], "more"]
    assert texts_of(prepare(iter(now), tmp_path / "s")) == now


CHANGES: dict[str, Callable[[Path], object]] = {
    "other bytes, same size": lambda folder: (folder / "b.txt").write_text("X" + (folder / "b.txt").read_text()[1:]),
    "the same again, with its time": lambda folder: _kept_time(folder / "a.txt", "X" * 900),
    "vanished": lambda folder: (folder / "a.txt").unlink(),
    "added before": lambda folder: (folder / "0.txt").write_text("new"),
    "renamed": lambda folder: (folder / "a.txt").rename(folder / "0.txt"),
    "grown": lambda folder: (folder / "b.txt").write_text((folder / "b.txt").read_text() + "more"),
    "the one that was being read": lambda folder: _kept_time(folder / "c.txt", "X" * 900),
    "the end of the one that was being read": lambda folder: (folder / "c.txt").write_text("c " * 40),
}


def _kept_time(path: Path, text: str) -> None:
    found = path.stat()
    path.write_text(text)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def letters() -> dict[str, str]:
    return {f"{letter}.txt": f"{letter} " * 450 for letter in "abcde"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_corpus_that_changed_is_refused(tmp_path: Path, monkeypatch, change: str) -> None:
    corpus = files(tmp_path / "c", letters())
    monkeypatch.setattr(documents_module, "PIECE", 100)
    stopped(monkeypatch, corpus, tmp_path / "s", after=24)
    journal = json.loads((tmp_path / "s" / ".journal").read_text())
    assert journal["reading"]["name"] == "c.txt"
    CHANGES[change](corpus)
    with pytest.raises(StoreError, match="has changed since prepare was interrupted"):
        prepare(corpus, tmp_path / "s")
    files(corpus, letters())
    (corpus / "0.txt").unlink(missing_ok=True)
    prepare(corpus, tmp_path / "s")
    assert content(tmp_path / "s") == content(prepare(corpus, tmp_path / "whole").path)


def test_a_corpus_that_was_copied_or_touched_is_the_same(tmp_path: Path, monkeypatch) -> None:
    corpus = files(tmp_path / "c", letters())
    monkeypatch.setattr(documents_module, "PIECE", 100)
    for after in (14, 9):
        stopped(monkeypatch, corpus, tmp_path / "s", after=after)
        shutil.copytree(corpus, tmp_path / "copy")
        shutil.rmtree(corpus)
        (tmp_path / "copy").rename(corpus)
        os.utime(corpus / "c.txt", (1, 1))
    (corpus / "f.txt").write_text("comes after what was read")
    prepare(corpus, tmp_path / "s")
    assert content(tmp_path / "s") == content(prepare(corpus, tmp_path / "whole").path)


def test_what_was_not_touched_is_not_read_again(tmp_path: Path, monkeypatch) -> None:
    corpus = files(tmp_path / "c", letters())
    stopped(monkeypatch, corpus, tmp_path / "s", after=4)
    monkeypatch.setattr(run_module, "sha256_of", lambda *_, **__: pytest.fail("it was read again"))
    assert prepare(corpus, tmp_path / "s").documents == 5


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.csv", "a.json"])
def test_the_beginning_of_every_format_is_proven(tmp_path: Path, monkeypatch, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    def write(texts: list[str]) -> None:
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        data = {
            "a.jsonl": lines,
            "a.jsonl.gz": gzip.compress(lines, mtime=0),
            "a.csv": ("text\n" + "".join(f"{text}\n" for text in texts)).encode(),
            "a.json": json.dumps(texts).encode(),
        }.get(name)
        if data is None:
            pa.parquet.write_table(pa.table({"text": texts}), tmp_path / name)
        else:
            (tmp_path / name).write_bytes(data)

    write(TEXTS)
    prepare(tmp_path / name, tmp_path / "whole")
    stopped(monkeypatch, tmp_path / name, tmp_path / "s", after=30)
    write([TEXTS[0], TEXTS[2], TEXTS[1], *TEXTS[3:]])
    with pytest.raises(StoreError, match="has changed since"):
        prepare(tmp_path / name, tmp_path / "s")
    write(TEXTS)
    prepare(tmp_path / name, tmp_path / "s")
    assert content(tmp_path / "s") == content(tmp_path / "whole")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut to half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "one byte short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["00000.tokens", "00000.offsets", "00000.sums", "open.tokens", "open.offsets", ".digests", ".sources"]
)
def test_what_is_not_as_it_was_written_is_refused(tmp_path: Path, monkeypatch, name: str, damage: str) -> None:
    """No shard is filled up with zeros, at the first try or at the second."""
    corpus = files(tmp_path / "c", {"a.txt": "\n".join(TEXTS[:20]), "b.txt": "\n".join(TEXTS[20:])})
    options = {"documents": "line", "shard_tokens": 200, "deduplicate": True}
    prepare(corpus, tmp_path / "whole", **options)
    stopped(monkeypatch, corpus, tmp_path / "s", after=45, **options)
    shards = sorted((tmp_path / "s").glob("0*.tokens"))
    assert len(shards) > 1
    path = shards[-1].with_suffix(name[4:]) if name.startswith("open") else tmp_path / "s" / name
    kept = path.read_bytes()
    assert kept
    if damage == "zeros" and name in ("00000.tokens", "00000.offsets"):
        pytest.skip("its checksums were written with it")
    DAMAGES[damage](path)
    for _ in range(2):
        with pytest.raises(StoreError, match="interrupted prepare"):
            prepare(corpus, tmp_path / "s", **options)
    path.write_bytes(kept)
    prepare(corpus, tmp_path / "s", **options).verify()
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_contents_are_appended_once_whatever_they_are_called(tmp_path: Path) -> None:
    day1 = files(tmp_path / "day1", {"part-0": "one", "part-1": "two"})
    day2 = files(tmp_path / "day2", {"part-0": "three", "part-1": "two", "part-2": "one"})
    store = prepare(day1, tmp_path / "s")
    for corpus in (day1, str(tmp_path / "day1" / "*"), [day1 / "part-1"], day1 / "part-0"):
        assert prepare(corpus, tmp_path / "s", append=True).fingerprint == store.fingerprint
    store = prepare(day2, tmp_path / "s", append=True)
    assert texts_of(store) == ["one", "two", "three"]
    store.verify()
    assert prepare(day2, tmp_path / "s", append=True).fingerprint == store.fingerprint
    files(day1, {"part-2": "three"})
    assert prepare(day1, tmp_path / "s").fingerprint == store.fingerprint, "complete, whatever the files are called"
    (tmp_path / "day1" / "copy").write_text("two")
    assert prepare(day1, tmp_path / "s").fingerprint == store.fingerprint, "a copy would be passed over"
    (tmp_path / "day1" / "part-0").write_text("four")
    with pytest.raises(StoreError, match="another corpus"):
        prepare(day1, tmp_path / "s")
    assert texts_of(prepare(day1, tmp_path / "s", append=True)) == ["one", "two", "three", "four"]


def test_within_a_run_all_files_are_stored(tmp_path: Path) -> None:
    corpus = files(tmp_path / "c", {"a.txt": "same", "b.txt": "same", "c.txt": "other"})
    store = prepare(corpus, tmp_path / "s")
    assert texts_of(store) == ["same", "same", "other"]
    (corpus / "b.txt").rename(corpus / "aa.txt")
    assert prepare(corpus, tmp_path / "s").fingerprint == store.fingerprint
    (corpus / "c.txt").rename(corpus / "0.txt")
    with pytest.raises(StoreError, match="another order"):
        prepare(corpus, tmp_path / "s")
    (corpus / "0.txt").rename(corpus / "c.txt")
    (corpus / "aa.txt").unlink()
    with pytest.raises(StoreError, match="gone"):
        prepare(corpus, tmp_path / "s")
    files(tmp_path / "d", {"x.txt": "new", "y.txt": "new"})
    assert texts_of(prepare(tmp_path / "d", tmp_path / "s", append=True))[3:] == ["new", "new"]


@pytest.mark.parametrize("make", [list, iter])
def test_texts_are_appended_once(tmp_path: Path, make) -> None:
    store = prepare(make(TEXTS), tmp_path / "s")
    before = content(tmp_path / "s")
    assert prepare(make(TEXTS), tmp_path / "s", append=True).fingerprint == store.fingerprint
    assert content(tmp_path / "s") == before
    assert texts_of(prepare(make(["more"]), tmp_path / "s", append=True)) == [*TEXTS, "more"]
    assert texts_of(prepare(make(["more"]), tmp_path / "s", append=True)) == [*TEXTS, "more"]
    prepare(make(["more"]), tmp_path / "s", append=True).verify()


def test_an_append_that_was_stopped_goes_on_with_what_it_read(tmp_path: Path, monkeypatch) -> None:
    for name in ("s", "whole"):
        prepare(["the base"], tmp_path / name)
    prepare(iter(TEXTS), tmp_path / "whole", append=True)
    stopped(monkeypatch, iter(TEXTS), tmp_path / "s", after=20, append=True)
    with pytest.raises(StoreError, match="has changed since"):
        prepare(reversed(TEXTS), tmp_path / "s", append=True)
    prepare(iter(TEXTS), tmp_path / "s", append=True)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_a_part_of_a_split_without_a_document_is_warned_of(tmp_path: Path) -> None:
    corpus = files(tmp_path / "c", {"a.txt": "\n".join(TEXTS)})
    with pytest.warns(UserWarning, match=r"no document for val \(train: 1, val: 0\).*--documents line"):
        prepare(corpus, tmp_path / "a", split={"val": 0.1})
    with pytest.warns(UserWarning, match=r"no document for val"):  # whenever it is asked for
        prepare(corpus, tmp_path / "a", split={"val": 0.1})
    with pytest.warns(UserWarning, match=r"no document for train \(train: 0, val: 1\)"):
        prepare(["x"], tmp_path / "b", split={"val": 0.999999})
    with pytest.warns(UserWarning, match="no document for test"):
        prepare(TEXTS, tmp_path / "e", split={"val": 0.3, "test": 0.000001})
    prepare(corpus, tmp_path / "d", split={"val": 0.3}, documents="line")
    prepare(["one more"], tmp_path / "d", split={"val": 0.3}, documents="line", append=True)


@posix
@pytest.mark.parametrize("options", [{}, {"split": {"val": 0.5}, "deduplicate": True}])
def test_names_that_are_not_utf_8(tmp_path: Path, monkeypatch, options) -> None:
    folder, out = tmp_path / os.fsdecode(b"c\xff"), tmp_path / os.fsdecode(b"s\xfe")
    files(folder, {os.fsdecode(b"caf\xe9 %d.txt" % i): f"text {i}" for i in range(20)})
    stopped(monkeypatch, folder, out, after=8, **options)
    store = prepare(folder, out, **options)
    store.verify()
    lines = (store.path / "sources.0.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["name"] == os.fsdecode(b"caf\xe9 0.txt")
    assert prepare(folder, out, **options).fingerprint == store.fingerprint
    assert prepare(folder, out, append=True, **options).fingerprint == store.fingerprint
    assert prepare(folder, tmp_path / "whole", **options).fingerprint == store.fingerprint


def test_files_that_are_not_a_stores_own_are_let_be(tmp_path: Path, monkeypatch) -> None:
    store = prepare(TEXTS, tmp_path / "s")
    others = {"2025-notes.txt", "2025.tokens", "99999.txt", "7.offsets", "sources.mine.jsonl", "notes.txt"}
    for name in others:
        (store.path / name).write_text("mine")
    prepare(["more"], tmp_path / "s", append=True).verify()
    stopped(monkeypatch, iter(TEXTS), tmp_path / "t", after=8, split={"val": 0.5})
    for name in others:
        (tmp_path / "t" / "val" / name).write_text("mine")
    with pytest.raises(ArgumentError, match="not empty"):
        prepare(iter(TEXTS[:30]), tmp_path / "t", split={"val": 0.5}, restart=True)
    for folder in (tmp_path / "s", tmp_path / "t" / "val"):
        assert {name for name in others if (folder / name).read_text() == "mine"} == others


def tampered(store: TokenStore) -> Iterator[tuple[str, str]]:
    for name in ("/dev/zero", "../other", "/etc/passwd", "a/b", "", ".", "manifest.json", "00000.tokens"):
        yield "sources", name
        yield "digests", name


def test_a_manifest_names_files_of_its_store_only(tmp_path: Path) -> None:
    store = prepare(TEXTS, tmp_path / "s", deduplicate=True)
    path = store.path / "manifest.json"
    whole = path.read_bytes()
    for key, name in tampered(store):
        manifest = json.loads(whole)
        del manifest["checksum"]
        (manifest["sources"][0] if key == "sources" else manifest["digests"])["file"] = name
        path.write_bytes(seal(json.dumps(manifest, indent=1).encode()))
        with pytest.raises(StoreError, match="contradicts itself"):
            TokenStore.open(store.path)
    path.write_bytes(whole)
    store.verify()


@pytest.mark.parametrize(
    "name", ["manifest.json", "sources.0.jsonl", "digests", "00000.sums", "00000.tokens", "00000.offsets"]
)
@posix
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_a_device_in_a_stores_place_is_not_read(tmp_path: Path, name: str, kind: str) -> None:
    """It would be read for ever; a test that hangs has failed."""
    store = prepare(TEXTS, tmp_path / "s", deduplicate=True)
    path = store.path / name
    path.unlink()
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises((StoreError, OSError)) as error:
        TokenStore.open(store.path).verify()
        TokenStore.open(store.path).document(0)
    assert name in str(error.value)
    with pytest.raises((StoreError, OSError)):
        prepare(["x"], store.path, append=True, deduplicate=True)
