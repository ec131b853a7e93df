"""Blocks of a store far away in memory: whoever holds, gives up, or fails, the ids are those of the store."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import pytest

import interrupts
from foreword._base import remote
from foreword.errors import StoreError
from foreword.tokens import TokenStore
from foreword.tokens.store.manifest import BLOCK
from foreword.windows import far_source
from foreword.windows.far_source import FarSource

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture
def opened(far_server, tmp_path: Path, monkeypatch) -> TokenStore:
    """The store, with a cache of two of its six blocks."""
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    return TokenStore.open(far_server.url + "/store", cache=tmp_path / "cache", cache_bytes=2 * BLOCK)


@pytest.fixture
def source(opened: TokenStore) -> FarSource:
    return FarSource(opened)


@pytest.mark.parametrize("room", [1, 256])
def test_threads_that_hold_read_and_let_go(source: FarSource, far_store: Path, monkeypatch, room: int) -> None:
    """With room for a block at first, the memory grows while others are being fetched."""
    monkeypatch.setattr(far_source, "_ROOM", room)
    monkeypatch.setattr(far_source, "_SPARE", 1)
    monkeypatch.setattr(far_source, "_TOGETHER", 2)
    ids = TokenStore.open(far_store)[:]
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(60):
                starts = np.array([rng.randrange(len(ids) - 50) for _ in range(rng.randrange(1, 12))])
                blocks = source.blocks(starts, 50)
                if held := rng.random() < 0.7:
                    source.retain(blocks)
                if rng.random() < 0.7:
                    got = source.runs(starts, 50, whole=True)
                    if not np.array_equal(got, ids[starts[:, None] + np.arange(50)]):
                        wrong.append(starts)
                if held:
                    source.release(blocks)
        except BaseException as failure:
            wrong.append(failure)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert source.held == 0
    assert len(source._idle) <= 1
    check(source)


def check(source: FarSource) -> None:
    """No slot of memory is lost, and none is taken twice, once nobody holds a block."""
    assert source.held == 0
    assert not source._coming
    assert not source._let_go
    assert not source._guard.locked()
    wait([future for future in source._under_way.values() if not future.done()], 20)
    slots = source._slots[source._slots >= 0].tolist()
    assert len(set(slots)) == len(slots)
    assert sorted(free_slots(source, len(source._memory) - len(slots)) + slots) == list(range(len(source._memory)))


def free_slots(source: FarSource, count: int) -> list[int]:
    """The next so many slots that are given out, which are free again after it."""
    source._free, found, before = [], [], dict(source._under_way)
    for _ in range(count):
        found.append(source._free_slot())
        source._under_way[found[-1]] = Future()
    source._free, source._under_way = [], before
    return found


def test_memory_of_what_was_given_up_is_used_again(source: FarSource, far_server, far_store: Path, monkeypatch) -> None:
    """Not before it has come: else it would come into the memory of another block."""
    monkeypatch.setattr(far_source, "_SPARE", 0)
    source.runs(np.array([0]), 10, whole=True)  # the sums are here
    waits = threading.Event()
    far_server.faults["/store/00000.tokens"] = [lambda handler, data: waits.wait(20) and False]
    source.retain(np.array([1]))
    ((future, slot),) = source._coming.values()
    while not future.running():
        threading.Event().wait(0.001)
    source.release(np.array([1]))
    assert source.held == 0
    assert slot not in free_slots(source, len(source._memory) - 2)
    waits.set()
    assert isinstance(future, Future)
    future.result(20)
    check(source)
    assert np.array_equal(source.at(np.arange(700_000, 700_010)), TokenStore.open(far_store)[700_000:700_010])


def test_a_block_that_comes_while_that_is_looked_at_is_in_one_slot(source: FarSource) -> None:
    class Coming(Future):  # comes between one look and the next
        looks = 0

        def done(self) -> bool:
            self.looks += 1
            return self.looks > 1

    source.runs(np.array([0]), 10, whole=True)
    slot = source._free_slot()
    source._under_way[slot] = Coming()
    assert slot not in free_slots(source, 4)
    assert slot in free_slots(source, 4)


def test_ctrl_c_at_any_line(source: FarSource, far_store: Path, monkeypatch) -> None:
    """Whatever was interrupted, the next call gives the ids of the store, and no memory is lost."""
    monkeypatch.setattr(far_source, "_ROOM", 1)
    monkeypatch.setattr(far_source, "_SPARE", 1)
    local = TokenStore.open(far_store)
    ids = local[:]

    def read(number: int, memory: np.ndarray) -> None:  # as from the server, but at once
        shard = int(np.searchsorted(source._first, number, side="right")) - 1
        start = (number - int(source._first[shard])) * len(memory)
        items = local.shards[shard][start : start + len(memory)]
        memory[: len(items)] = items

    monkeypatch.setattr(source, "_read", read)
    starts = np.array([100, 600_000, len(ids) - 60, 1_300_000])
    expected = ids[starts[:, None] + np.arange(50)]
    held: list[np.ndarray] = []

    def work() -> None:
        for some in (starts[:2], starts):
            held.append(source.blocks(some, 50))
            source.retain(held[-1])
        source.runs(starts[1:3], 50, whole=True)
        source.release(held[0])
        del held[0]
        source.runs(starts, 50, whole=True)
        source.release(held[0])
        del held[0]

    for number in interrupts.at_each_line([far_source], work):
        assert np.array_equal(source.runs(starts, 50, whole=True), expected), number
        for numbers in held:
            source.release(numbers)
        held.clear()
        # What was held when it was interrupted, and whose holder knows nothing of it.
        while source.held:
            source.release(np.array(list(source._held)))
        check(source)
        assert np.array_equal(source.runs(starts, 50, whole=True), expected), number


def test_who_is_collected_in_the_midst_of_another_call_lets_go(source: FarSource, far_store: Path, monkeypatch) -> None:
    """An iterator that is garbage is collected in whatever thread, at whatever line: also of the same source."""
    ids = TokenStore.open(far_store)[:]
    source.retain(np.array([0, 1, 2]))
    collected = []

    class Collected(dict):
        def get(self, *arguments):
            if not collected:
                collected.append(True)
                done = threading.Thread(target=source.release, args=(np.array([0, 1]),), daemon=True)
                done.start()
                done.join(20)
                assert not done.is_alive()  # it does not wait for the lock
                source.release(np.array([2]))
            return super().get(*arguments)

    monkeypatch.setattr(source, "_views", Collected())
    places = np.array([0, 600_000, 1_200_000])
    assert np.array_equal(source.runs(places, 10, whole=True), ids[places[:, None] + np.arange(10)])
    assert collected
    check(source)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_is_forked_while_the_memory_is_worked_with(source: FarSource, far_store: Path) -> None:
    ids = TokenStore.open(far_store)[:]
    source.retain(np.array([0, 1]))
    holds, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with source._guard:
            holds.set()
            go_on.wait(20)

    other = threading.Thread(target=hold)
    other.start()
    holds.wait(20)
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            source.release(np.array([0, 1]))
            fine = np.array_equal(source.at(np.arange(600_000, 600_010)), ids[600_000:600_010])
            status = int(not fine or source.held > 0)
        os._exit(status)
    for _ in range(2000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        status = -1
    go_on.set()
    other.join()
    assert status == 0
    source.release(np.array([0, 1]))
    check(source)


def test_a_block_that_fails_can_be_had_once_it_is_mended(source: FarSource, far_server, far_store: Path) -> None:
    whole = far_server.files["/store/00000.tokens"]
    far_server.files["/store/00000.tokens"] = whole[:-1]
    blocks = np.array([0, 1])
    places = np.array([600_000])
    source.retain(blocks)
    for _ in range(2):
        with pytest.raises(StoreError, match="cut short"):
            source.at(places)
    far_server.files["/store/00000.tokens"] = whole
    assert source.at(places) == TokenStore.open(far_store)[600_000]  # though it has been held since
    source.release(blocks)
    check(source)


def test_a_block_that_nobody_holds_may_fail(source: FarSource, far_server, far_store: Path) -> None:
    whole = far_server.files["/store/00000.tokens"]
    far_server.files["/store/00000.tokens"] = whole[:-1]
    places = np.array([600_000])
    with pytest.raises(StoreError, match="cut short"):
        source.at(places)
    far_server.files["/store/00000.tokens"] = whole
    assert source.at(places) == TokenStore.open(far_store)[600_000]
