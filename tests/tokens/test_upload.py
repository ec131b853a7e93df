"""Prepare to a URL: an S3 of this machine (moto), killed, refused, disturbed; the bytes of a local run."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interrupts
from foreword._base import remote
from foreword._base.remote import RemoteFolder
from foreword.errors import ArgumentError, DownloadError, ForewordError, MissingFileError, StoreError
from foreword.tokens import TokenStore, prepare
from foreword.tokens.preparing import run
from foreword.tokens.preparing.upload import Upload

pytest.importorskip("s3fs")
fsspec = pytest.importorskip("fsspec")
moto_server = pytest.importorskip("moto.server")

OPTIONS: dict[str, Any] = {"tokenizer": "bytes", "shard_tokens": 100_000, "documents": "line"}


@pytest.fixture(scope="module")
def endpoint():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch) -> Any:
    """A bucket of its own, as boto3 has it; credentials in the environment."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDofthetest",
        "AWS_SECRET_ACCESS_KEY": "secretofthetest",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "FOREWORD_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    import boto3
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return boto3.resource("s3").create_bucket(Bucket=f"b{hashlib.sha256(os.fsencode(tmp_path)).hexdigest()[:12]}")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus")


def write(folder: Path, *, lines: int = 240) -> Path:
    rng = random.Random(0)
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.txt").write_text("".join(rng.randbytes(900).hex() + "\n" for _ in range(lines // 8)))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(".")
    }


def objects(bucket: Any, at: str = "store") -> dict[str, bytes]:
    return {one.key.removeprefix(f"{at}/"): one.get()["Body"].read() for one in bucket.objects.filter(Prefix=f"{at}/")}


def url(bucket: Any, at: str = "store") -> str:
    return f"s3://{bucket.name}/{at}"


def work(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "home" / "prepare").glob("*"))


@pytest.mark.parametrize("split", [None, {"val": 0.3}])
def test_the_bytes_are_those_of_a_local_run(bucket, corpus: Path, tmp_path: Path, split) -> None:
    options = {**OPTIONS, "split": split, "deduplicate": True}
    near = prepare(corpus, tmp_path / "near", **options)
    store = prepare(corpus, url(bucket), **options)
    assert objects(bucket) == content(tmp_path / "near")
    assert np.array_equal(store[:], near[:])
    assert store.path == url(bucket, "store/train" if split else "store")
    store.verify()
    assert not work(tmp_path)
    again = prepare(corpus, url(bucket), **options)  # complete: the corpus is compared
    assert again.fingerprint == store.fingerprint
    (corpus / "0.txt").write_text("other")
    with pytest.raises(StoreError, match="prepared from another corpus"):
        prepare(corpus, url(bucket), **options)
    with pytest.raises(StoreError, match="another shard_tokens"):
        prepare(corpus, url(bucket), **{**options, "shard_tokens": 5})


def test_an_append(bucket, corpus: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "9.txt").write_text("more of it\nand more\n")
    for out in (tmp_path / "near", url(bucket)):
        for source in (corpus, more):
            prepare(source, out, append=source is more, deduplicate=True, **OPTIONS)
    assert objects(bucket) == content(tmp_path / "near")
    store = prepare(more, url(bucket), append=True, deduplicate=True, **OPTIONS)  # nothing is new
    assert objects(bucket) == content(tmp_path / "near")
    assert store.documents == TokenStore.open(tmp_path / "near").documents


@pytest.mark.parametrize(
    ("part", "size"),
    [(5 << 20, 11 << 20), pytest.param(None, 105 << 20, marks=pytest.mark.slow)],
    ids=["parts of 5 MiB", "s3fs's own parts"],
)
def test_an_object_above_the_threshold_goes_in_parts(bucket, tmp_path: Path, monkeypatch, part, size) -> None:
    """It appears whole, also where a part fails at first, and no part is left behind."""
    import s3fs

    if part:
        monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: part)
    original, calls = s3fs.S3FileSystem._call_s3, []

    async def second_part_fails(self, method, *given, **options):
        calls.append(method)
        assert "large" not in objects(bucket)
        if method == "upload_part" and calls.count("upload_part") == 2:
            raise ConnectionError("the connection broke")
        return await original(self, method, *given, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", second_part_fails)
    data = np.random.default_rng(0).bytes(size)
    (tmp_path / "large").write_bytes(data)
    RemoteFolder(url(bucket)).put(tmp_path / "large", "large")
    assert bucket.Object("store/large").e_tag.strip('"').endswith("-3"), "in three parts"
    assert objects(bucket)["large"] == data
    assert calls.count("create_multipart_upload") == 2
    assert not list(bucket.multipart_uploads.all()), "what failed was taken back"


def test_the_manifest_comes_last_and_large_files_in_parts(bucket, corpus: Path, monkeypatch) -> None:
    put: list[str] = []
    seen: list[bool] = []
    original = RemoteFolder.put

    def watched(self, file, name):
        put.append(name)
        with pytest.raises(MissingFileError):
            TokenStore.open(url(bucket))
        original(self, file, name)
        seen.append(name in objects(bucket))

    monkeypatch.setattr(RemoteFolder, "put", watched)
    prepare(corpus, url(bucket), **OPTIONS)
    assert put[0] == ".preparing"
    assert put[-2:] == ["sources.0.jsonl", "manifest.json"]
    assert put[1:4] == ["00000.offsets", "00000.tokens", "00000.sums"]
    assert all(seen)


def test_shards_leave_this_machine_as_they_are_sent(bucket, corpus: Path, tmp_path: Path, monkeypatch) -> None:
    most: list[int] = []
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    saved = Upload.saved

    def watched(self):
        saved(self)
        most.append(len(list(work(tmp_path)[0].glob("*.tokens"))))

    monkeypatch.setattr(Upload, "saved", watched)
    store = prepare(corpus, url(bucket), **OPTIONS)
    assert len(store.shards) > 4
    assert max(most) <= 4  # one is open, one is being sent, one waits, one has just been closed


class Killed(BaseException):
    """Stands for a kill: nothing of prepare's own clean-up that a kill would not allow."""


def killed_when(monkeypatch, corpus: Path, bucket: Any, shards: int) -> None:
    """A run that is killed when so many shards have been sent and are journaled."""
    with monkeypatch.context() as patch:
        patch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
        saved = Upload.saved

        def kill(self):
            saved(self)
            last = self.work / f"{shards - 1:05}.tokens"
            if not last.exists() and (self.work / f"{shards:05}.tokens").exists():
                raise Killed

        patch.setattr(Upload, "saved", kill)
        with pytest.raises(Killed):
            prepare(corpus, url(bucket), **OPTIONS)
    assert f"{shards - 1:05}.sums" in objects(bucket)
    assert "manifest.json" not in objects(bucket)


def test_what_was_sent_is_looked_at_when_a_run_resumes(bucket, corpus: Path, tmp_path: Path, monkeypatch) -> None:
    prepare(corpus, tmp_path / "near", **OPTIONS)
    killed_when(monkeypatch, corpus, bucket, 2)
    assert not (work(tmp_path)[0] / "00000.tokens").exists()
    before = objects(bucket)
    for name, data in {"00000.tokens": before["00000.tokens"][:-1], "00000.sums": b"x", "00000.offsets": None}.items():
        one = bucket.Object(f"store/{name}")
        one.put(Body=data) if data is not None else one.delete()
        with pytest.raises(StoreError, match="not as it was left"):
            prepare(corpus, url(bucket), **OPTIONS)
        one.put(Body=before[name])
    store = prepare(corpus, url(bucket), **OPTIONS)
    assert objects(bucket) == content(tmp_path / "near")
    store.verify()
    assert not work(tmp_path)


def test_another_machine_begins_anew(bucket, corpus: Path, tmp_path: Path, monkeypatch) -> None:
    prepare(corpus, tmp_path / "near", **OPTIONS)
    killed_when(monkeypatch, corpus, bucket, 2)
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "other"))
    prepare(corpus, url(bucket), **OPTIONS)
    assert objects(bucket) == content(tmp_path / "near")


def test_starting_over_leaves_no_shard_of_before(bucket, corpus: Path, tmp_path: Path, monkeypatch) -> None:
    killed_when(monkeypatch, corpus, bucket, 3)
    small = tmp_path / "small"
    small.mkdir()
    (small / "a.txt").write_text("a few words\n")
    prepare(small, tmp_path / "near", **OPTIONS)
    with pytest.raises(StoreError, match="changed since"):
        prepare(small, url(bucket), **OPTIONS)
    prepare(small, url(bucket), restart=True, **OPTIONS)
    assert objects(bucket) == content(tmp_path / "near")


def test_a_listing_without_new_keys(bucket, corpus: Path, tmp_path: Path, monkeypatch) -> None:
    prepare(corpus, tmp_path / "near", **OPTIONS)
    monkeypatch.setattr(RemoteFolder, "names", lambda _: [])
    killed_when(monkeypatch, corpus, bucket, 2)
    store = prepare(corpus, url(bucket), **OPTIONS)
    assert objects(bucket) == content(tmp_path / "near")
    assert np.array_equal(store[:], TokenStore.open(tmp_path / "near")[:])
    store.verify()


def test_trouble_while_writing(bucket, corpus: Path, tmp_path: Path, monkeypatch) -> None:
    import s3fs

    prepare(corpus, tmp_path / "near", **OPTIONS)
    original, failures = s3fs.S3FileSystem.put_file, iter(range(10**6))

    def flaky(self, *args, **options):
        if next(failures) % 3:
            raise OSError(5, "SlowDown: please reduce your request rate (503), secretofthetest")
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "put_file", flaky)
        prepare(corpus, url(bucket), **OPTIONS)
    assert objects(bucket) == content(tmp_path / "near")

    def refuses(self, *args, **options):
        raise PermissionError("Access Denied for secretofthetest")

    def breaks(self, *args, **options):
        if "00001" in str(args):
            raise OSError(5, "secretofthetest: 503")
        return original(self, *args, **options)

    for wrong, said in ((refuses, "the server refuses"), (breaks, "can't write the object")):
        with monkeypatch.context() as patch:
            patch.setattr(s3fs.S3FileSystem, "put_file", wrong)
            with pytest.raises(DownloadError, match=said) as error:
                prepare(corpus, url(bucket, "other"), **OPTIONS)
            assert "secretofthetest" not in str(error.value)
            with pytest.raises(MissingFileError):
                TokenStore.open(url(bucket, "other"))
    prepare(corpus, url(bucket, "other"), **OPTIONS)
    assert objects(bucket, "other") == content(tmp_path / "near")


def test_credentials_stand_nowhere(bucket, endpoint: str, corpus: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    """Given as options, or in the environment: not in the store, not in what a killed run leaves, not in a log."""
    caplog.set_level(logging.DEBUG, logger="foreword")
    killed_when(monkeypatch, corpus, bucket, 2)
    left = [file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file()]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    options = {"key": "AKIDofthetest", "secret": "secretofthetest"}
    store = prepare(corpus, url(bucket), storage_options=options, **OPTIONS)
    for data in [*left, *objects(bucket_of(bucket, endpoint)).values()]:
        assert b"ofthetest" not in data
    assert "ofthetest" not in caplog.text + repr(store) + str(store.manifest)


def bucket_of(bucket: Any, endpoint: str) -> Any:
    import boto3

    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return boto3.resource("s3", endpoint_url=endpoint, **keys).Bucket(bucket.name)


def test_what_is_refused(bucket, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="web server can't be written"):
        prepare(corpus, "https://example.org/store", **OPTIONS)
    with pytest.raises(ArgumentError, match="are for a URL"):
        prepare(corpus, tmp_path / "s", storage_options={"key": "x"}, **OPTIONS)
    bucket.put_object(Key="store/thesis.txt", Body=b"x")
    with pytest.raises(ArgumentError, match="not empty") as error:
        prepare(corpus, url(bucket), **OPTIONS)
    assert "thesis.txt" in str(error.value)
    prepare(corpus, url(bucket, "one"), split={"val": 0.3}, **OPTIONS)
    with pytest.raises(StoreError, match="another split"):
        prepare(corpus, url(bucket, "one"), **OPTIONS)
    with pytest.raises(StoreError, match="no complete store to append to"):
        prepare(corpus, url(bucket, "none"), append=True, **OPTIONS)
    with pytest.raises(ForewordError):
        prepare(corpus, "s3://no-such-bucket-here/store", **OPTIONS)


VICTIM = """
import sys
from foreword.tokens import prepare
from foreword.tokens.preparing import run
run.CHECKPOINT_SECONDS = 0.02
prepare(sys.argv[1], sys.argv[2], tokenizer="bytes", shard_tokens=100_000, documents="line")
"""


def kill_and_resume(bucket: Any, tmp_path: Path, kills: int, seed: int) -> int:
    """Kill prepare -9 at random moments, over and over; gives how many were, while at work."""
    corpus = write(tmp_path / "long", lines=3200)
    prepare(corpus, tmp_path / "whole", **OPTIONS)
    expected = content(tmp_path / "whole")
    rng, hit = random.Random(seed), 0

    def victim() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", VICTIM, str(corpus), url(bucket)], stderr=subprocess.DEVNULL)
        while process.poll() is None and not any((one / ".journal").exists() for one in work(tmp_path)):
            time.sleep(0.002)
        return process

    process, began = victim(), time.monotonic()
    assert process.wait() == 0
    length = time.monotonic() - began
    for _ in range(3 * kills):
        bucket.objects.delete()
        for _ in range(rng.choice([1, 1, 2])):
            process = victim()
            time.sleep(rng.uniform(0, length))
            process.send_signal(signal.SIGKILL)
            process.wait()
        if "manifest.json" in objects(bucket):
            assert {name: data for name, data in objects(bucket).items() if name != ".preparing"} == expected
        else:
            hit += 1
            with pytest.raises(MissingFileError):
                TokenStore.open(url(bucket))
        prepare(corpus, url(bucket), **OPTIONS)
        assert {name: data for name, data in objects(bucket).items() if name != ".preparing"} == expected
        if hit == kills:
            break
    return hit


def test_killed_and_resumed(bucket, tmp_path: Path) -> None:
    assert kill_and_resume(bucket, tmp_path, 2, seed=0) == 2


@pytest.mark.slow
def test_killed_fifty_times(bucket, tmp_path: Path) -> None:
    assert kill_and_resume(bucket, tmp_path, 50, seed=1) == 50, "too many kills came when there was nothing to kill"


def test_supervised_records_are_sent_and_resumed(bucket, tmp_path: Path, monkeypatch) -> None:
    """The loss of each token goes along, and a shard of which it is missing is not taken for sent."""
    options: dict[str, Any] = {"tokenizer": "bytes", "records": "completion", "shard_tokens": 3000, "workers": 1}

    def pairs(stop: int | None = None):
        for i in range(300):
            if i == stop:
                raise KeyboardInterrupt
            yield {"prompt": f"what is {i}? ", "completion": f"{i} is {i * i}"}

    near = prepare(pairs(), tmp_path / "near", **options)
    monkeypatch.setattr(run, "SAVE_EVERY", 0.0, raising=False)
    with pytest.raises(KeyboardInterrupt):
        prepare(pairs(290), url(bucket), **options)
    store = prepare(pairs(), url(bucket), **options)
    assert objects(bucket) == content(tmp_path / "near")
    assert store.supervised
    assert np.array_equal(store.read_loss(0, len(store)), near.read_loss(0, len(near)))
    store.verify()
    shard = store.manifest["shards"][0]
    shards = Upload(url(bucket), None).shards("")
    stem = tmp_path / "elsewhere" / "00000"
    assert shards.has(stem, shard, {"tokens": 2, "loss": 1})
    bucket.Object("store/00000.loss").delete()
    with pytest.raises(StoreError, match="loss"):
        shards.has(stem, shard, {"tokens": 2, "loss": 1})
    with pytest.raises(StoreError, match=r"missing(.|\n)*loss"):
        store.verify()


def test_a_failure_that_comes_while_that_is_looked_at_is_not_lost(tmp_path: Path, monkeypatch) -> None:
    """Else the manifest would be sent without a shard."""

    class Failing(Future):  # fails between one look and the next
        looks = 0

        def done(self) -> bool:
            self.looks += 1
            return self.looks > 1

        def result(self, timeout: float | None = None) -> Any:
            raise DownloadError("can't write the object")

    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path))
    upload = Upload("memory://store", None)
    shard = tmp_path / "00000.tokens"
    shard.touch()
    upload._sent.append((Failing(), [shard]))
    with pytest.raises(DownloadError):
        for _ in range(2):
            upload.saved()
    assert shard.exists()
    upload.close()


def interrupt_at(tmp_path: Path, monkeypatch, *, start: int, step: int) -> None:
    """Prepare to a URL, interrupted at one line in so many, and again to its end: the same objects are there.

    To memory of this process, so that it is done often.
    """
    from foreword._base import files, remote
    from foreword.tokens.preparing import blocks, journal, run, upload
    from foreword.tokens.preparing import prepare as preparing
    from foreword.tokens.store import writer

    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    memory = fsspec.filesystem("memory")
    documents = [f"document {i} " + i * "x" for i in range(10)]
    options = {"tokenizer": "bytes", "shard_tokens": 60, "workers": 1}
    number, name = 0, tmp_path.name

    def objects() -> dict[str, bytes]:
        place = f"/{name}/{number}/"
        return {path.removeprefix(place): memory.cat(path) for path in memory.find(place)}

    def work() -> None:
        prepare(documents, f"memory://{name}/{number}", **options)

    work()
    whole = objects()
    assert "manifest.json" in whole
    modules = [run, journal, blocks, preparing, upload, remote, files, writer]
    for number in itertools.count(start, step):
        for _ in interrupts.at_each_line(modules, work, start=number, step=10**9):
            break
        else:
            return
        work()
        assert objects() == whole, number
        memory.rm(f"/{name}/{number}", recursive=True)


def test_ctrl_c_at_some_lines(tmp_path: Path, monkeypatch) -> None:
    interrupt_at(tmp_path, monkeypatch, start=29, step=197)


@pytest.mark.slow
def test_ctrl_c_at_any_line(tmp_path: Path, monkeypatch) -> None:
    interrupt_at(tmp_path, monkeypatch, start=1, step=1)


def test_killed_while_what_was_sent_is_deleted_here(tmp_path: Path, monkeypatch) -> None:
    """What is left of a shard here does not count: it has been sent."""
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    upload = Upload("memory://" + tmp_path.name, None)
    deleted: list[str] = []
    monkeypatch.setattr(Path, "unlink", lambda path, **_: deleted.append(path.suffix))
    sent: Future[None] = Future()
    sent.set_result(None)
    upload._sent.append((sent, [Path(f"00000.{kind}") for kind in ("loss", "offsets", "tokens", "sums")]))
    upload.saved()
    assert deleted[0] == ".tokens"
    upload.close()


def test_interrupted_between_the_manifest_and_the_end(tmp_path: Path, monkeypatch) -> None:
    """The store is there; the next call takes away what is not of it."""
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    place, memory = f"memory://{tmp_path.name}", fsspec.filesystem("memory")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Upload, "end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(["some text"], place, tokenizer="bytes")
    assert memory.exists(f"/{tmp_path.name}/.preparing")
    assert prepare(["some text"], place, tokenizer="bytes").documents == 1
    assert not memory.exists(f"/{tmp_path.name}/.preparing")
    assert not list((tmp_path / "home" / "prepare").glob("*/*"))
