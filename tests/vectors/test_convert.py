"""Conversion to the cache: once, whole or not at all, whoever asks, whatever happens."""

import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import FileError, FormatError, StoreError
from foreword.vectors.formats import Options
from foreword.vectors.search.codes import quantise
from foreword.vectors.sources import convert
from foreword.vectors.sources.convert import cached_store
from foreword.vectors.store import building
from foreword.vectors.store.store import VectorStore
from vectors.formats import read, store_of, text, word2vec_binary

pytestmark = pytest.mark.portable

FLOAT32 = np.dtype("float32")
WORDS = [b"w%d" % i for i in range(40)]
ROWS = np.random.default_rng(5).normal(size=(40, 7)).astype(np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FOREWORD_HOME", str(folder))
    return folder / "vectors"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "v.bin"
    path.write_bytes(word2vec_binary(WORDS, ROWS))
    return path


def stores(cache):
    return sorted(path for path in cache.iterdir() if path.is_dir())


def is_right(store, words=WORDS, rows=ROWS):
    assert [key.encode() for key in store.keys] == words
    assert [store.keys.find(word.decode()) for word in words] == list(range(len(words)))
    assert np.array(store.vectors).tobytes() == rows.tobytes()
    made = quantise(rows)
    for name in ("codes", "scales", "errors", "norms"):
        assert np.array_equal(getattr(store, name), getattr(made, name))


def test_a_file_is_converted_once_and_then_mapped(cache, file, monkeypatch):
    is_right(cached_store(file, Options(), FLOAT32))
    (folder,) = stores(cache)
    monkeypatch.setattr(convert, "convert", None)
    store = cached_store(file, Options(), FLOAT32)
    is_right(store)
    assert store.path == folder
    for array in (store.vectors, store.codes, store.norms):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_changed_file_is_converted_again_and_the_old_store_goes(cache, file):
    cached_store(file, Options(), FLOAT32)
    cached_store(file, Options(limit=5), FLOAT32)
    before = stores(cache)
    file.write_bytes(word2vec_binary(WORDS, 2 * ROWS))
    is_right(cached_store(file, Options(), FLOAT32), rows=2 * ROWS)
    assert len(before) == 2
    assert not set(before) & set(stores(cache))


def test_what_killed_processes_left_is_removed(cache, file):
    family = cached_store(file, Options(), FLOAT32).path.name.rpartition("-")[0]
    for left in (f".{family}-0123.89ab.partial", f"{family}-4567"):  # a conversion, and a removal, that were cut short
        (cache / left).mkdir()
        (cache / left / "vectors.npy").write_bytes(b"some")
    cached_store(file, Options(limit=2), FLOAT32)
    assert len(stores(cache)) == 2


def test_each_way_of_reading_has_its_store(cache, file):
    ways = [(Options(), FLOAT32), (Options(limit=3), FLOAT32), (Options(), np.dtype("float16"))]
    made = [cached_store(file, options, dtype) for options, dtype in ways]
    assert [len(store.keys) for store in made] == [40, 3, 40]
    assert made[2].vectors.dtype == np.float16
    assert np.array_equal(made[2].vectors, ROWS.astype(np.float16))
    assert np.array_equal(made[2].codes, quantise(ROWS.astype(np.float16)).codes)
    assert len(stores(cache)) == 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"b", b"c", b"d", "é".encode(), b""]), min_size=1, max_size=12), st.integers(1, 3)
)
def test_of_words_that_come_twice_the_first_is_kept(tmp_path_factory, words, moved):
    folder = tmp_path_factory.mktemp("twice")
    rows = np.arange(3 * len(words), dtype=np.float32).reshape(-1, 3)
    (folder / "v.bin").write_bytes(word2vec_binary(words, rows))
    saved, building._MOVED = building._MOVED, moved
    try:
        store = store_of(folder / "v.bin", folder / "store")
    finally:
        building._MOVED = saved
    kept = [i for i, word in enumerate(words) if word not in words[:i]]
    is_right(store, [words[i] for i in kept], rows[kept])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_a_vector_that_is_not_finite_is_refused_with_its_place(cache, tmp_path, value, kind):
    rows = ROWS.copy()
    rows[30, 2] = value
    file = tmp_path / "v"
    file.write_bytes((text if kind == "text" else word2vec_binary)(WORDS, rows))
    with pytest.raises(FormatError) as refused:
        cached_store(file, Options(), FLOAT32)
    place = "line 32" if kind == "text" else "word 31"
    assert f"{file}, {place}" in str(refused.value)
    assert str(value) in str(refused.value)
    assert stores(cache) == []


def test_a_number_too_large_for_the_dtype_is_refused(cache, tmp_path):
    file = tmp_path / "v.txt"
    file.write_bytes(b"2 1\na 1\nb 70000\n")
    with pytest.raises(FormatError, match=r"70000\.0, too large for float16"):
        cached_store(file, Options(), np.dtype("float16"))


def test_extreme_rows_are_kept(tmp_path):
    rows = np.array([[0, 0], [1e-45, 0], [3e38, 3e38], [1e-20, 1e20]], dtype=np.float32)
    (tmp_path / "v").write_bytes(word2vec_binary([b"a", b"b", b"c", b"d"], rows))
    is_right(store_of(tmp_path / "v", tmp_path / "store"), [b"a", b"b", b"c", b"d"], rows)


def test_a_file_of_no_words(tmp_path):
    (tmp_path / "v").write_bytes(b"0 300\n")
    store = store_of(tmp_path / "v", tmp_path / "store")
    assert store.vectors.shape == (0, 300)
    assert (len(store.keys), store.keys.find("a")) == (0, -1)


@pytest.mark.parametrize("name", ["vectors.npy", "blob.npy", "manifest.json", "codes.npy"])
@pytest.mark.parametrize("harm", ["cut", "gone", "other"])
def test_a_damaged_store_is_refused_and_in_the_cache_made_anew(cache, file, name, harm):
    path = cached_store(file, Options(), FLOAT32).path / name
    if harm == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"\x93NUMPY but no more")
    with pytest.raises((StoreError, FileError)) as refused:
        VectorStore.open(path.parent)
    assert name in str(refused.value)
    del refused  # its traceback holds the files, and Windows removes none that is mapped
    is_right(cached_store(file, Options(), FLOAT32))


@pytest.mark.parametrize(
    "change",
    [{"rows": -1}, {"rows": True}, {"dim": "7"}, {"dtype": "int8"}, {"version": 99}, {"subwords": {}}, {"rows": 41}],
)
def test_a_manifest_that_lies_is_refused(cache, file, change):
    import json

    path = cached_store(file, Options(), FLOAT32).path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StoreError):
        VectorStore.open(path.parent)


def test_a_cache_that_can_not_be_written(tmp_path, file, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "taken" / "cache"))
    with pytest.raises(FileError, match="FOREWORD_HOME"):
        cached_store(file, Options(), FLOAT32)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(cache, tmp_path):
    file = tmp_path / "v.bin"
    file.write_bytes(word2vec_binary([b"w%d" % i for i in range(20_000)], np.ones((20_000, 20), np.float32)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))
    try:
        with pytest.raises(FileError, match="file too large"):
            cached_store(file, Options(), FLOAT32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert stores(cache) == []
    assert len(cached_store(file, Options(), FLOAT32).keys) == 20_000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        monkeypatch.setenv("FOREWORD_HOME", str(disk))
        file = tmp_path / "v.bin"
        file.write_bytes(word2vec_binary([b"w%d" % i for i in range(20_000)], np.ones((20_000, 20), np.float32)))
        with pytest.raises(FileError, match="no space left"):
            cached_store(file, Options(), FLOAT32)
        assert stores(disk / "vectors") == []
    finally:
        subprocess.run(["umount", disk], check=True)


LOAD = textwrap.dedent(
    """
    import sys, numpy as np
    from pathlib import Path
    from foreword.vectors.sources import convert
    from foreword.vectors.formats import Options
    made = convert.convert
    def told(*args, **named):
        with open(sys.argv[2], "a") as file:
            file.write("converted\\n")
        made(*args, **named)
    convert.convert = told
    print("ready", flush=True)
    store = convert.cached_store(Path(sys.argv[1]), Options(), np.dtype("float32"))
    print(len(store.keys), float(np.asarray(store.vectors, dtype=np.float64).sum()))
    """
)


def start(file, witness):
    return subprocess.Popen([sys.executable, "-c", LOAD, file, witness], stdout=subprocess.PIPE, text=True)


def test_of_eight_processes_one_converts(cache, tmp_path):
    rows = np.random.default_rng(0).normal(size=(20_000, 16)).astype(np.float32)
    file, witness = tmp_path / "v.txt", tmp_path / "witness"
    file.write_bytes(text([b"w%d" % i for i in range(20_000)], rows))
    running = [start(file, witness) for _ in range(8)]
    outputs = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 8
    assert len(outputs) == 1
    assert witness.read_text() == "converted\n"
    assert len(stores(cache)) == 1


def test_threads_wait_for_one_conversion(cache, file, monkeypatch):
    calls, real = [], convert.convert
    monkeypatch.setattr(
        convert, "convert", lambda *args, **named: (calls.append(1), time.sleep(0.1), real(*args, **named))
    )
    threads = [threading.Thread(target=cached_store, args=(file, Options(), FLOAT32)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    is_right(cached_store(file, Options(), FLOAT32))


@pytest.mark.parametrize("times", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_and_the_next_load_is_right(cache, tmp_path, times):
    draw = random.Random(7)
    rows = np.random.default_rng(0).normal(size=(30_000, 40)).astype(np.float32)
    words = [b"w%d" % i for i in range(30_000)]
    file, witness = tmp_path / "v.bin", tmp_path / "witness"
    struck = 0
    length = 0.4
    for round_ in range(times):
        file.write_bytes(
            word2vec_binary(words, rows + np.float32(round_))
        )  # a new source: nothing to be found in the cache
        process = start(file, witness)
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        time.sleep(draw.uniform(0, length))
        process.kill()
        rest = process.communicate()[0]
        if rest:  # it had ended: next time strike earlier
            length = max(0.05, min(length, time.monotonic() - began) * 0.9)
        struck += not rest
        store = cached_store(file, Options(), FLOAT32)
        is_right(store, words, rows + np.float32(round_))
        assert [path.name for path in stores(cache)] == [store.path.name], "a killed process's folder was left"
        del store  # Windows removes no file that is mapped, and the next round's source has changed
    assert struck >= times // 2


def test_a_bar_is_shown_to_people_only(cache, file, capsys):
    cached_store(file, Options(), FLOAT32)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_leaves_nothing(cache, file, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(building.StoreBuilder, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_store(file, Options(), FLOAT32)
    assert stores(cache) == []


def test_reading_takes_memory_for_a_few_blocks_only(tmp_path):
    code = """
        import resource, sys, numpy as np
        from pathlib import Path
        from foreword.vectors.sources.convert import convert
        from foreword.vectors.formats import Options
        def anonymous():
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) << 10
        import threading
        peak, done = [anonymous()], threading.Event()
        def watch():
            while not done.wait(0.005):
                peak.append(anonymous())
        thread = threading.Thread(target=watch, daemon=True); thread.start()
        convert(Path(sys.argv[1]), Path(sys.argv[2]), Options(), np.dtype("float32"), source={})
        done.set(); thread.join()
        print(max(peak) - peak[0])
    """
    if not os.path.exists("/proc/self/status"):  # noqa: PTH110
        pytest.skip("needs /proc")
    grown = []
    for n in (20_000, 120_000):
        file = tmp_path / f"{n}.bin"
        file.write_bytes(word2vec_binary([b"w%d" % i for i in range(n)], np.ones((n, 300), np.float32)))
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), file, tmp_path / f"{n}.store"], capture_output=True, text=True
        )
        grown.append(int(done.stdout))
    assert grown[1] < 144e6 / 2  # of a file of 144 MB, in blocks of 4 MB
    assert grown[1] < grown[0] + 40e6


def test_what_is_read_twice_is_equal(file):
    assert read(file)[1].tobytes() == read(file)[1].tobytes() == ROWS.tobytes()
