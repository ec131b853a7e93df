"""The order and the reading of windows as machine code: what numpy gives, bit for bit, whenever it takes over."""

import os
import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword._base import machine_code
from foreword.vectors.search import kernels as searching
from foreword.windows import kernels
from foreword.windows.order import SORTED_BELOW, Permutation, _argsort

pytest.importorskip("llvmlite")
pytest.importorskip("torch")

CPUS = ["", "x86-64", "x86-64-v3"] if platform.machine() in ("x86_64", "AMD64") else [""]
EDGES = [SORTED_BELOW, SORTED_BELOW + 1, 2**16 - 1, 2**16, 2**16 + 1, 65_537, 10**6 + 3, 2**31 - 1, 2**31, 2**31 + 11]
EDGES += [2**40, 2**40 + 2**20 + 1, 2**62, 2**63 - 1]
DTYPES = ["uint8", "uint16", "int16", "uint32", "int32", "int64", ">u2", ">i4"]


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch):
    """As in a fresh process; what a test compiles is forgotten after it."""
    for name, value in {"_loaded": None, "_failed": False, "_windows": 0, "_guard": threading.Lock()}.items():
        monkeypatch.setattr(kernels, name, value)
    monkeypatch.delenv("FOREWORD_KERNELS", raising=False)


@pytest.fixture(scope="module", params=CPUS)
def compiled(request):
    return kernels.compiled(cpu=request.param)


@settings(deadline=None)
@given(
    n=st.sampled_from(EDGES)
    | st.integers(SORTED_BELOW, 2**20)
    | st.integers(65, 2**31).map(lambda a: a * a + a % 3 - 1),
    seed=st.integers(),
    epoch=st.integers(0, 99),
    drawn=st.integers(0, 2**32),
    count=st.integers(1, 200),
    kind=st.sampled_from(["int64", "uint64", "int32", "strided", "table"]),
)
def test_order_is_that_of_numpy(compiled, n, seed, epoch, drawn, count, kind):
    order = Permutation(n, seed=seed, epoch=epoch)
    top = min(n, 2**31) if kind == "int32" else n
    places = np.random.default_rng(drawn).integers(0, top, 2 * count)
    places[:2] = 0, top - 1
    if kind == "table":
        places = places.reshape(2, count).T
    places = places[::2] if kind == "strided" else places.astype(kind if kind.endswith(("32", "64")) else np.int64)
    wanted = order(places)  # numpy's: nothing is compiled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_loaded", compiled)
        found = order(places)
    assert (found.dtype, found.shape) == (np.int64, places.shape)
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("n", EDGES[:6])
def test_every_window_comes_once(compiled, monkeypatch, n):
    monkeypatch.setattr(kernels, "_loaded", compiled)
    order = Permutation(n, seed=1, epoch=2)
    windows = order(np.arange(n))
    assert np.array_equal(windows, order.by_numpy(np.arange(n)))
    assert np.array_equal(np.sort(windows), np.arange(n))


@settings(deadline=None)
@given(n=st.integers(1, SORTED_BELOW - 1), bits=st.integers(12, 64), drawn=st.integers(0, 2**32))
def test_few_windows_are_sorted_by_all_bits_of_their_hashes(n, bits, drawn):
    """Also where the upper 32 bits don't tell two of them apart."""
    hashes = np.random.default_rng(drawn).permutation(1 << 12)[:n].astype(np.uint64) << np.uint64(bits - 12)
    for some in (hashes, np.random.default_rng(drawn).integers(0, 2**64, n, np.uint64)):
        assert np.array_equal(_argsort(some), np.argsort(some, kind="stable"))


@settings(deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    odd=st.integers(0, 9),
    length=st.integers(1, 5000),
    stride=st.integers(1, 300),
    extra=st.integers(1, 400),
    count=st.integers(1, 60),
    drawn=st.integers(0, 2**32),
)
def test_windows_are_those_of_numpy(compiled, tmp_path_factory, dtype, odd, length, stride, extra, count, drawn):
    """Of ids that begin at any byte of a mapped file, at its end too."""
    rng = np.random.default_rng(drawn)
    ids = rng.integers(0, 100, length + extra).astype(dtype)
    path = tmp_path_factory.mktemp("ids") / "ids.bin"
    path.write_bytes(bytes(odd) + ids.tobytes())
    mapped = np.memmap(path, dtype, "r", odd, (len(ids),))
    data = fw.WindowDataset(mapped, context_length=length, stride=stride)
    windows = rng.integers(0, len(data), count)
    windows[-1] = len(data) - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_loaded", compiled)
        found = data.ids(windows)
    starts = windows[:, None] * stride + np.arange(length + 1)
    assert found.dtype == ids.dtype.newbyteorder("=")
    assert np.array_equal(found, ids[starts])


@pytest.mark.parametrize("window", [-1, -5, 5, 2**40, -(2**40)])
def test_windows_that_there_are_not_are_as_with_numpy(compiled, monkeypatch, window):
    """Nothing beyond the ids is read."""
    data = fw.WindowDataset(np.arange(5 * 64 + 1, dtype=np.uint16), context_length=64)

    def outcome():
        try:
            return data.ids(np.array([0, 1, window, 2])).tolist()
        except IndexError:
            return IndexError

    wanted = outcome()
    monkeypatch.setattr(kernels, "_loaded", compiled)
    assert outcome() == wanted


def batches(**options):
    """Three epochs of two loaders, as lists."""
    ids = np.random.default_rng(0).integers(0, 60_000, 300_000).astype(np.uint16)
    found = []
    for length in (64, 512):  # more and fewer windows than the network needs
        loader = fw.WindowLoader(
            fw.WindowDataset(ids, context_length=length), batch_size=8, shuffle=True, seed=3, **options
        )
        found += [[part.tolist() for part in batch] for _ in range(3) for batch in loader]
    return found


@pytest.mark.parametrize("options", [{}, {"compact": True}, {"prefetch": 2}])
def test_kernels_that_take_over_within_an_epoch_change_nothing(monkeypatch, options):
    monkeypatch.setenv("FOREWORD_KERNELS", "0")
    wanted = batches(**options)
    assert kernels._loaded is None
    monkeypatch.delenv("FOREWORD_KERNELS")
    monkeypatch.setattr(kernels, "PATIENCE", 6_000)  # in the second epoch
    assert batches(**options) == wanted
    assert kernels._loaded is not None


def test_where_llvm_cannot_run_numpy_goes_on(monkeypatch):
    wanted = batches()

    def fails(**_):
        raise OSError("no LLVM on this system")

    monkeypatch.setattr(kernels, "compiled", fails)
    monkeypatch.setenv("FOREWORD_KERNELS", "1")
    assert batches() == wanted
    assert kernels._failed


def test_threads_that_come_while_one_compiles_go_on_without(monkeypatch):
    compile_, begun, go_on = kernels.compiled, threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(60)
        return compile_()

    monkeypatch.setattr(kernels, "compiled", slow)
    monkeypatch.setenv("FOREWORD_KERNELS", "1")
    order, places = Permutation(10_000, seed=0, epoch=0), np.arange(10_000)
    found = []
    first = threading.Thread(target=lambda: found.append(order(places)))
    first.start()
    assert begun.wait(60)
    second = order(places)  # does not wait
    assert kernels._loaded is None
    go_on.set()
    first.join()
    assert kernels._loaded is not None
    assert np.array_equal(found[0], second)
    assert np.array_equal(order(places), second)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("held", [False, True], ids=["compiled", "while another thread compiles"])
def test_a_forked_child_has_the_order(monkeypatch, held):
    monkeypatch.setenv("FOREWORD_KERNELS", "1")
    order, places = Permutation(10_000, seed=0, epoch=0), np.arange(10_000)
    wanted = order.by_numpy(places)
    if held:
        kernels._guard.acquire()
    else:
        order(places)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(order(places), wanted) and (kernels._loaded is None) == held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_llvm_compiles_anything_does_without_it():
    """What the other thread held of LLVM is held for ever there: numpy answers, in place of a wait without end."""
    with machine_code.compiling():
        child = os.fork()
    if not child:
        searching._loaded, searching._failed = None, False
        os._exit(0 if searching.load() is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert searching.load() is not None


SCRIPT = """
import sys, numpy as np, foreword as fw
data = fw.WindowDataset((np.arange(2_000_000) % 50_021).astype(np.uint16), context_length=64)
batch = next(iter(fw.WindowLoader(data, batch_size=8, shuffle=True, compact=True)))
print(batch[0].tolist(), "llvmlite" in sys.modules, "numba" in sys.modules)
"""


def test_a_fresh_process_compiles_only_where_it_pays_or_is_wanted():
    shown = {}
    for setting in ("", "0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "FOREWORD_KERNELS": setting},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        shown[setting] = done.stdout
    assert shown[""].endswith("False False\n")
    assert shown["0"] == shown[""]
    assert shown["1"] == shown[""].replace("False False", "True False")
