"""Stores behind URLs: the same ids as on this machine, whatever the server and the cache do."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import faulty_server
import interrupts
from foreword._base import remote, system
from foreword._base.system import lock_file
from foreword.errors import ArgumentError, DownloadError, FileError, MissingFileError, MissingPackageError, StoreError
from foreword.tokens import TokenStore, export, inspect
from foreword.tokens.store import block_cache
from foreword.tokens.store.block_cache import BlockCache
from foreword.tokens.store.manifest import BLOCK

from . import far

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

TOKENS = "/store/00001.tokens"


@pytest.fixture
def opened(far_server, tmp_path: Path) -> TokenStore:
    return TokenStore.open(far_server.url + "/store", cache=tmp_path / "cache", cache_bytes=64 * BLOCK)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.001)


def test_it_is_the_store(far_store: Path, opened: TokenStore, tmp_path: Path) -> None:
    local = TokenStore.open(far_store)
    assert (len(opened), opened.documents, opened.fingerprint) == (len(local), local.documents, local.fingerprint)
    assert sum(-(-shard.nbytes // BLOCK) for shard in opened.shards) == far.BLOCKS
    assert np.array_equal(opened[:], local[:])
    assert np.array_equal(opened.offsets, local.offsets)
    rng = np.random.default_rng(0)
    for start, stop in rng.integers(0, len(local), (50, 2)).tolist():
        assert np.array_equal(opened[start:stop], local[start:stop])
        assert opened[start] == local[start]
    for i in (0, 13, 39, -1):
        assert np.array_equal(opened.document(i), local.document(i))
    places = rng.integers(0, len(opened.shards[1]), (3, 50))
    assert np.array_equal(opened.shards[1][places], local.shards[1][places])
    wanted = local[1_234_567:1_234_575]
    assert list(opened.find(wanted)) == list(local.find(wanted))
    assert inspect(opened) == inspect(local)
    files = [export(store, tmp_path / name, format="megatron") for store, name in ((opened, "far"), (local, "near"))]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    opened.verify()


def test_the_commands_take_its_url(far_server, far_store: Path, tmp_path: Path, monkeypatch) -> None:
    from typer.testing import CliRunner

    from foreword.cli import app

    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    said = CliRunner().invoke(app, ["inspect", far_server.url + "/store", "--verify", "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["tokens"] == len(TokenStore.open(far_store))
    said = CliRunner().invoke(app, ["export", far_server.url + "/store", str(tmp_path / "out"), "--format", "llmc"])
    assert said.exit_code == 0, said.output
    assert (tmp_path / "home" / "blocks" / "index").exists()


def test_opening_reads_the_manifest_alone(far_server, opened: TokenStore) -> None:
    assert [path for path, _ in far_server.asked] == ["/store/manifest.json"]
    opened[5]
    assert [path for path, _ in far_server.asked[1:]] == ["/store/00000.sums", "/store/00000.tokens"]
    assert far_server.asked[-1][1] == f"bytes=0-{BLOCK - 1}"
    opened[6]
    again = TokenStore.open(far_server.url + "/store", cache=opened.far.cache.folder)
    again[7]
    assert len(far_server.asked) == 4  # another manifest: sums and block are in the cache


@pytest.mark.parametrize("place", [0, BLOCK, -1])
def test_an_object_that_changed(far_server, opened: TokenStore, place: int) -> None:
    data = bytearray(far_server.files[TOKENS])
    data[place] ^= 1
    far_server.files[TOKENS] = bytes(data)
    with pytest.raises(StoreError, match="not what was written") as error:
        opened[:]
    assert "00001.tokens, bytes" in str(error.value)
    with pytest.raises(StoreError, match="not what was written"):
        opened.verify()
    first = int(opened.shard_starts[1])
    assert len(opened[:first]) == first  # the others are as they were


def test_an_object_that_is_cut_or_missing(far_server, opened: TokenStore) -> None:
    whole = far_server.files[TOKENS]
    far_server.files[TOKENS] = whole[:-10]
    with pytest.raises(StoreError, match="cut short"):
        opened[:]
    far_server.files[TOKENS] = whole[:BLOCK]
    with pytest.raises(StoreError, match="cut short"):
        opened[:]
    with pytest.raises(StoreError):
        opened.verify()
    far_server.files[TOKENS] = whole + b"more"
    with pytest.raises(StoreError):
        opened.verify()
    del far_server.files[TOKENS]
    with pytest.raises(StoreError, match="missing"):
        opened[:]
    with pytest.raises(StoreError, match="missing"):
        opened.verify()
    far_server.files[TOKENS] = whole
    opened.verify()
    assert len(opened[:]) == len(opened)


def test_sums_of_another_store(far_server, opened: TokenStore) -> None:
    far_server.files["/store/00001.sums"] = hashlib.sha256(b"").digest() * 10
    with pytest.raises(StoreError, match="not what was written"):
        opened[:]


def test_a_manifest_that_is_cut_changed_or_missing(far_server, tmp_path: Path) -> None:
    url, whole = far_server.url + "/store", far_server.files["/store/manifest.json"]
    for bad in (whole[:-40], whole.replace(b'"tokens": ', b'"tokens": 1', 1)):
        far_server.files["/store/manifest.json"] = bad
        with pytest.raises(StoreError):
            TokenStore.open(url, cache=tmp_path / "cache")
    del far_server.files["/store/manifest.json"]
    with pytest.raises(MissingFileError, match="no token store at the URL"):
        TokenStore.open(url, cache=tmp_path / "cache")


def silent(handler, data) -> bool:
    handler.send_response(206)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(data[:10])
    handler.wfile.flush()
    handler.server.release.wait(20)
    handler.close_connection = True
    return True


def test_trouble_that_passes(far_server, opened: TokenStore, far_store: Path, monkeypatch) -> None:
    """500, 503, connections that break off, a silent server, a block damaged on its way: asked for again."""
    monkeypatch.setattr(remote, "SECONDS", 0.5)
    far_server.faults[TOKENS] = [
        faulty_server.fail(500),
        faulty_server.fail(503),
        faulty_server.cut(1000),
        silent,
        faulty_server.fail(429),
    ]
    far_server.faults["/store/00000.sums"] = [faulty_server.fail(503)]
    assert np.array_equal(opened[:], TokenStore.open(far_store)[:])


def test_trouble_that_stays(far_server, opened: TokenStore) -> None:
    far_server.faults[TOKENS] = [faulty_server.fail(503)] * 1000
    with pytest.raises(DownloadError, match="can't read the object") as error:
        opened.shards[1][0]
    assert error.value.status == 503
    assert "503" in str(error.value)
    far_server.faults[TOKENS] = [faulty_server.fail(403)]
    with pytest.raises(DownloadError, match="the server refuses"):
        opened.shards[1][0]
    assert not far_server.faults[TOKENS]  # asked once


def test_a_server_without_ranges_is_refused_before_all_is_read(far_server, opened: TokenStore) -> None:
    def whole(handler, data):
        handler.ranges = False

    far_server.faults[TOKENS] = [whole] * 10
    with pytest.raises(DownloadError, match="can't read") as error:
        opened.shards[1][0]
    assert "no ranges of bytes" in str(error.value)


def test_what_may_not_be_shown(far_server, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ArgumentError) as error:
        TokenStore.open("https://me:hunter22@example.org/store")
    assert "hunter22" not in str(error.value)
    url = far_server.url + "/store?X-Amz-Signature=5ec3e7"
    store = TokenStore.open(url, cache=tmp_path / "cache")
    store[:10]
    assert all(path.endswith("?X-Amz-Signature=5ec3e7") for path, _ in far_server.asked)
    far_server.faults[TOKENS] = [faulty_server.fail(403)]
    with pytest.raises(DownloadError) as error:
        store.shards[1][0]
    assert "5ec3e7" not in str(error.value) + repr(store)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__

    class Telling:
        protocol = "memory"

        def cat_file(self, *_, **__):
            raise OSError(errno.EIO, "topsecret, fromtheenvironment, https://me:hunter2@host/x?sig=5ec3e7")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fromtheenvironment")
    folder = remote.RemoteFolder("memory://x", {"listings_expiry_time": None})
    folder.options = {"client_kwargs": {"password": "topsecret"}}
    folder._opened = (os.getpid(), Telling(), "x")
    with pytest.raises(DownloadError) as error:
        folder.read("name")
    assert "…, …, https://host/x" in str(error.value)
    assert not any(secret in str(error.value) for secret in ("hunter2", "5ec3e7"))


def test_urls_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="does not know"):
        TokenStore.open("gopher9://host/store", cache=tmp_path / "cache")
    with pytest.raises(ArgumentError, match="for a store behind a URL"):
        TokenStore.open(tmp_path, cache=tmp_path / "cache")
    with pytest.raises(ArgumentError, match="must hold a block"):
        TokenStore.open("memory://nothing", cache=tmp_path / "cache", cache_bytes=5)
    with pytest.raises(MissingPackageError, match="package") as error:
        TokenStore.open("gs://bucket/store", cache=tmp_path / "cache")
    assert "pip install gcsfs" in str(error.value)


def test_offline(opened: TokenStore, monkeypatch) -> None:
    monkeypatch.setenv("FOREWORD_OFFLINE", "1")
    with pytest.raises(DownloadError, match="FOREWORD_OFFLINE"):
        opened[0]


def test_any_file_system_of_fsspec(far_store: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(os.fspath(far_store) + "/", "/bucket/store/", recursive=True)
    store = TokenStore.open("memory://bucket/store", cache=tmp_path / "cache")
    assert np.array_equal(store[:], TokenStore.open(far_store)[:])
    assert np.array_equal(
        TokenStore.open(far_store.as_uri(), cache=tmp_path / "cache")[:100], TokenStore.open(far_store)[:100]
    )


def test_it_travels(opened: TokenStore, far_store: Path) -> None:
    again = pickle.loads(pickle.dumps(opened))
    assert np.array_equal(again[:100], TokenStore.open(far_store)[:100])
    assert again.far.cache.folder == opened.far.cache.folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_reads_too(opened: TokenStore, far_store: Path) -> None:
    opened[:100]  # threads, a session and a loop, none of which a child has
    expected = hashlib.sha256(TokenStore.open(far_store)[:]).digest()
    receive, send = multiprocessing.Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads
        child = os.fork()
    if not child:
        try:
            send.send(hashlib.sha256(opened[:]).digest())
        finally:
            os._exit(0)
    try:
        assert receive.poll(30)
        assert receive.recv() == expected
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# The cache.


def block_of(number: int) -> tuple[bytes, bytes]:
    data = number.to_bytes(4, "little") * (BLOCK // 4 - number % 3)
    return hashlib.sha256(data).digest(), data


def take(cache: BlockCache, numbers) -> list[int]:
    """Get blocks from the cache; which of them it fetched."""
    fetched: list[int] = []
    for number in numbers:
        sha256, data = block_of(number)
        memory = memoryview(bytearray(len(data)))

        def fetch(number=number, data=data, memory=memory) -> None:
            fetched.append(number)
            memory[:] = data

        cache.fill(memory, sha256, fetch)
        assert memory == data
    return fetched


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 4 * BLOCK + 17)
    assert take(cache, range(4)) == [0, 1, 2, 3]
    assert take(cache, range(4)) == []
    assert take(cache, [4, 5]) == [4, 5]
    assert take(cache, [2, 3, 4, 5]) == []
    assert take(BlockCache(tmp_path), [0, 4, 5]) == [0]
    assert (tmp_path / "blocks").stat().st_size <= 4 * BLOCK


def test_another_size(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 4 * BLOCK)
    take(cache, range(4))
    smaller = BlockCache(tmp_path, 2 * BLOCK)
    assert cache.places == smaller.places == 2
    assert take(smaller, [0, 1]) == []
    assert take(cache, [7, 8]) == [7, 8]  # a process that opened it with another size keeps to the new one
    assert (tmp_path / "blocks").stat().st_size <= 2 * BLOCK
    larger = BlockCache(tmp_path, 5 * BLOCK)
    assert take(larger, [10, 11, 12]) == [10, 11, 12]
    assert take(larger, [7, 8, 10, 11, 12]) == []


@pytest.mark.parametrize("damage", ["a bit", "cut", "zeros", "index", "no files"])
def test_a_damaged_cache_costs_a_request(tmp_path: Path, damage: str) -> None:
    cache = BlockCache(tmp_path, 4 * BLOCK)
    take(cache, range(4))
    blocks = tmp_path / "blocks"
    if damage == "a bit":
        data = bytearray(blocks.read_bytes())
        data[BLOCK + 5] ^= 1
        blocks.write_bytes(data)
    elif damage == "cut":
        os.truncate(blocks, BLOCK + 5)
    elif damage == "zeros":
        blocks.write_bytes(bytes(4 * BLOCK))
    elif damage == "index":
        os.truncate(tmp_path / "index", 100)
    else:
        blocks.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fetched = take(cache, range(4))
    assert set(fetched) <= set(range(4))
    assert 1 in fetched
    if damage in ("a bit", "zeros"):
        assert take(cache, range(4)) == []  # mended


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"x" * 100)
    with pytest.raises(FileError, match="no cache of blocks"):
        BlockCache(tmp_path, 4 * BLOCK)


def test_a_disk_that_fills(tmp_path: Path, monkeypatch) -> None:
    cache = BlockCache(tmp_path, 4 * BLOCK)
    take(cache, [0])
    write = block_cache._write

    def full(file, place, data):
        if len(data) > 100:
            write(file, place, data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, place, data)

    monkeypatch.setattr(block_cache, "_write", full)
    with pytest.warns(UserWarning, match="no space left on device"):
        assert take(cache, [1]) == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        assert take(cache, [0, 1, 2]) == [1, 2]
    monkeypatch.setattr(block_cache, "_write", write)
    assert take(cache, [0, 1, 2]) == [1, 2]
    assert take(cache, [0, 1, 2]) == []


def test_one_download_for_threads_that_want_the_same(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 4 * BLOCK)
    sha256, data = block_of(1)
    fetched: list[float] = []
    memories = [memoryview(bytearray(len(data))) for _ in range(8)]

    def want(memory: memoryview) -> None:
        def fetch() -> None:
            fetched.append(time.monotonic())
            time.sleep(0.05)
            memory[:] = data

        cache.fill(memory, sha256, fetch)

    threads = [threading.Thread(target=want, args=(memory,)) for memory in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert all(memory == data for memory in memories)


def test_who_holds_a_lock_and_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(block_cache, "_PATIENCE", 0.05)
    cache = BlockCache(tmp_path, 4 * BLOCK)
    number = int.from_bytes(block_of(1)[0][:8], "little") % block_cache._LOCKS
    file = tmp_path / "locks" / f"{number:03x}"
    file.touch()
    release = lock_file(file, shared=False)
    assert release is not None
    assert take(cache, [1]) == [1]
    release()


READER = """
import sys, hashlib
from foreword.tokens import TokenStore
store = TokenStore.open(sys.argv[1], cache=sys.argv[2], cache_bytes=int(sys.argv[3]))
print("open", flush=True)
print(hashlib.sha256(store[:]).hexdigest(), flush=True)
"""


def reader(url: str, cache: Path, limit: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", READER, url, os.fspath(cache), str(limit)], stdout=subprocess.PIPE, text=True
    )


def of_blocks(far_server) -> list[tuple[str, str]]:
    return [(path, asked) for path, asked in far_server.asked if path.endswith((".tokens", ".offsets", ".sums"))]


def test_processes_share_a_cache_and_one_is_killed_with_a_lock(far_server, far_store: Path, tmp_path: Path) -> None:
    """Eight processes: each block is fetched once; while the one that fetches the first is killed, others wait."""
    held = threading.Event()

    def hold(handler, data):
        held.set()
        handler.server.release.wait(60)  # until the end of the test: it is killed meanwhile
        handler.hang_up()
        return True

    far_server.faults["/store/00000.tokens"] = [hold]
    url, expected = far_server.url + "/store", hashlib.sha256(TokenStore.open(far_store)[:]).hexdigest()
    first = reader(url, tmp_path / "cache", 64 * BLOCK)
    assert held.wait(60)
    others = [reader(url, tmp_path / "cache", 64 * BLOCK) for _ in range(7)]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
    first.kill()
    first.communicate()
    try:
        for other in others:
            out, _ = other.communicate(timeout=120)
            assert out.strip() == expected
    finally:
        far_server.release.set()
        for other in others:
            other.kill()
    asked = of_blocks(far_server)
    again = {block for block in asked if asked.count(block) > 1}
    # The killed one had some blocks under way, which the others fetched again; of them none was fetched twice.
    assert all(asked.count(block) <= 2 for block in again)
    late = reader(url, tmp_path / "cache", 64 * BLOCK)
    assert late.communicate(timeout=60)[0].split()[-1] == expected
    assert of_blocks(far_server) == asked


def test_the_cache_stays_below_its_bound(far_server, far_store: Path, tmp_path: Path) -> None:
    """While three processes read the store through a cache of three blocks."""
    cache, limit = tmp_path / "cache", 3 * BLOCK
    readers = [reader(far_server.url + "/store", cache, limit) for _ in range(3)]
    most = 0
    while any(process.poll() is None for process in readers):
        sizes = [file.stat().st_size for file in cache.glob("*") if file.is_file()] if cache.exists() else []
        most = max(most, sum(sizes))
        time.sleep(0.002)
    expected = hashlib.sha256(TokenStore.open(far_store)[:]).hexdigest()
    assert [process.communicate()[0].split()[-1] for process in readers] == [expected] * 3
    assert BLOCK < most <= limit + BLOCK


def test_the_manifest_of_a_store_names_no_secrets(far_store: Path) -> None:
    assert "storage_options" not in json.loads((far_store / "manifest.json").read_text())["policies"]


def test_ctrl_c_at_any_line_of_the_cache_holds_no_lock(tmp_path: Path) -> None:
    """Whatever was interrupted, whoever comes next gets the right block, and waits for nobody."""
    cache = BlockCache(tmp_path / "cache", 2 * BLOCK)
    blocks = [bytes([i]) * 100 for i in range(3)]
    turn = 0

    def read(cache: BlockCache, data: bytes) -> None:
        memory = bytearray(len(data))

        def fetch() -> None:
            memory[:] = data

        cache.fill(memoryview(memory), hashlib.sha256(data).digest(), fetch)
        assert memory == data

    def work() -> None:
        read(cache, blocks[turn % 3])

    for turn in interrupts.at_each_line([block_cache, system], work):
        for path in [cache.folder / "lock", *(cache.folder / "locks").iterdir()]:
            release = lock_file(path, shared=False)
            assert release is not None, turn
            release()
        for data in blocks:
            read(BlockCache(cache.folder), data)
