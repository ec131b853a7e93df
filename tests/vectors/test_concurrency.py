"""Many threads and processes at once: searching, opening, forking, with and without kernels."""

import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import interrupts
from foreword import KeyedVectors
from foreword._base import threads
from foreword.errors import FormatError
from foreword.vectors.search import kernels

N, D = 20_000, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    wv = KeyedVectors(D)
    wv.add_vectors([f"w{i}" for i in range(N)], rng.standard_normal((N, D)).astype(np.float32))
    path = tmp_path_factory.mktemp("vectors") / "store"
    wv.save(path)
    return path


@pytest.fixture(autouse=True)
def _small_work_is_shared(monkeypatch):
    monkeypatch.setattr("foreword.vectors.search.index._SMALL", 0)  # so that threads take part


def ask(wv, i):
    return wv.most_similar([f"w{i}", f"w{i + 1}"], [f"w{i + 2}"], topn=1 + i % 30)


def test_sixteen_threads_search_while_one_opens(folder, monkeypatch):
    """Also while kernels are being loaded under them: the answers never change."""
    monkeypatch.setenv("FOREWORD_THREADS", "3")
    wv = KeyedVectors.load(folder)
    wanted = [ask(wv, i) for i in range(40)]
    monkeypatch.setattr(kernels, "_loaded", None)
    monkeypatch.setattr(kernels, "_failed", False)
    monkeypatch.setattr(kernels, "_spent", 0.0)
    monkeypatch.setattr(kernels, "_thread", None)
    monkeypatch.setattr(kernels, "_PATIENCE", 1e-4)
    wv, opened, stop = KeyedVectors.load(folder), [], threading.Event()

    def keep_opening():
        while not stop.is_set():
            opened.append(KeyedVectors.load(folder)["w7"][0])

    opener = threading.Thread(target=keep_opening)
    opener.start()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: ask(wv, i % 40), range(16 * 40)))
    stop.set()
    opener.join()
    assert answers == wanted * 16
    assert len(opened) > 0
    if kernels._thread is not None:
        kernels._thread.join()


def test_sixteen_threads_ask_a_table_that_has_computed_nothing_yet(folder):
    for _ in range(5):
        wv = KeyedVectors.load(folder)
        gate = threading.Barrier(16)

        def first(i, wv=wv, gate=gate):
            gate.wait()
            return ask(wv, 5), wv.norms[i]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(first, range(16)))
        assert all(answer == answers[0][0] for answer, _ in answers)


def _in_child(wv, i, queue):
    queue.put(ask(wv, i))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_search(folder):
    """The pool's threads don't survive a fork: a child makes its own."""
    wv = KeyedVectors.load(folder)
    wanted = ask(wv, 3)
    assert threads._waiting is not None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_in_child, args=(wv, 3, queue)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [wanted] * 3
    for child in children:
        child.join(60)
        assert child.exitcode == 0


SCRIPT = """
import sys
from foreword import KeyedVectors
from foreword.vectors.search import kernels
kernels._PATIENCE = 60.0  # also on a machine that is busy
wv = KeyedVectors.load(sys.argv[1])
print(wv.most_similar(["w3", "w4"], ["w5"], topn=4))
assert "llvmlite" not in sys.modules, "LLVM stood before the first answer"
"""


@pytest.mark.parametrize("setting", ["", "0", "1"])
def test_fresh_processes_answer_alike(folder, setting):
    script = SCRIPT if setting != "1" else SCRIPT.rpartition("assert")[0]
    environment = {**os.environ, "FOREWORD_KERNELS": setting}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr(ask(KeyedVectors.load(folder), 3)[:4])


LEAVING = """
import sys
from foreword import KeyedVectors
from foreword.vectors.search import kernels
wv = KeyedVectors.load(sys.argv[1])
kernels.hasten()
print(len(wv.most_similar("w3")))
"""


def test_a_process_that_leaves_while_kernels_compile_leaves_well(folder):
    done = subprocess.run([sys.executable, "-c", LEAVING, str(folder)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "10", "")


def test_where_llvm_cannot_run_numpy_answers(folder, monkeypatch):
    wanted = ask(KeyedVectors.load(folder), 9)
    monkeypatch.setattr(kernels, "_loaded", None)
    monkeypatch.setattr(kernels, "_failed", False)
    monkeypatch.setattr(kernels, "compiled", lambda how: 1 / 0)
    assert kernels.load() is None
    assert kernels._failed
    assert ask(KeyedVectors.load(folder), 9) == wanted


def test_serial_blas_is_undone_when_the_last_leaves():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def limits():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    before = limits()
    with threads.serial_blas():
        assert set(limits()) <= {1}
        with ThreadPoolExecutor(8) as pool:

            def enter(_):
                with threads.serial_blas():
                    return limits()

            assert all(set(found) <= {1} for found in pool.map(enter, range(50)))
        assert set(limits()) <= {1}
    assert limits() == before


def test_no_thread_begins_with_work_that_has_failed(monkeypatch):
    """One that comes late would else work on after its caller has seen the failure."""
    late = queue.SimpleQueue()
    monkeypatch.setenv("FOREWORD_THREADS", "2")
    monkeypatch.setattr(threads, "_helpers", lambda: late)
    taken = []

    def work(parts):
        for part in parts:
            taken.append(part)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, range(10))
    while not late.empty():
        late.get()()
    assert taken == [0]


def test_ctrl_c_at_any_line_leaves_no_thread_at_work(monkeypatch):
    monkeypatch.setenv("FOREWORD_THREADS", "3")
    taken = []

    def work(parts):
        for part in parts:
            taken.append(part)
            time.sleep(1e-4)
        return len(taken)

    for number in interrupts.at_each_line([threads], lambda: threads.run(work, range(6))):
        seen = len(taken)
        time.sleep(1e-3)
        assert len(taken) == seen, number
    assert sorted(taken[-6:]) == list(range(6))


@pytest.mark.parametrize("how", ["Ctrl-C", "a vector that is not finite"])
def test_a_save_that_ends_early_makes_no_more_blocks(tmp_path, monkeypatch, how):
    """Of 200 blocks; the store that was there stays, and nobody is at work any more."""
    from foreword.vectors.store import building, saving

    monkeypatch.setenv("FOREWORD_THREADS", "2")
    monkeypatch.setattr(saving, "BLOCK_BYTES", 4 * D)  # one row
    path = tmp_path / "store"
    KeyedVectors(D).save(path)
    wv, made, block = KeyedVectors(D), [], saving._block

    def slowly(*arguments):
        made.append(1)
        time.sleep(0.01)
        return block(*arguments)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    if how == "Ctrl-C":
        monkeypatch.setattr(building.StoreBuilder, "finish", interrupted)
    wv.add_vectors([f"w{i}" for i in range(200)], np.ones((200, D), np.float32))
    if how != "Ctrl-C":
        wv.vectors[0, 0] = np.nan
    monkeypatch.setattr(saving, "_block", slowly)
    with pytest.raises((KeyboardInterrupt, FormatError)):
        wv.save(path)
    assert len(made) < 100
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith(("foreword-save", "foreword-sync"))
    ]
    assert [found.name for found in tmp_path.iterdir()] == ["store"]
    assert len(KeyedVectors.load(path)) == 0
