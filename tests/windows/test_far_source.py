"""Blocks of a store far away in memory: whoever holds, gives up, or fails, the ids are those of the store."""

from __future__ import annotations

import random
import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

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
    # Whatever slot is neither free nor a block's is one of those given up a moment ago.
    taken = int((source._slots >= 0).sum()) + len(source._given_up) + len(source._coming)
    assert len(source._free) + taken == len(source._memory)


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
    assert slot not in source._free
    waits.set()
    assert isinstance(future, Future)
    future.result(20)
    source.release(np.array([], np.int64))
    assert slot in source._free
    assert np.array_equal(source.at(np.arange(700_000, 700_010)), TokenStore.open(far_store)[700_000:700_010])


def test_a_slot_is_free_once_though_its_block_comes_while_that_is_looked_at(source: FarSource) -> None:
    class Coming(Future):  # comes between one look and the next
        looks = 0

        def done(self) -> bool:
            self.looks += 1
            return self.looks > 1

    source.runs(np.array([0]), 10, whole=True)
    slot = source._free_slot()
    source._given_up.append((Coming(), slot))
    for _ in range(3):
        source.release(np.array([], np.int64))
    assert source._free.count(slot) == 1
    assert not source._given_up


def test_a_block_that_fails_can_be_had_once_it_is_mended(source: FarSource, far_server, far_store: Path) -> None:
    whole = far_server.files["/store/00000.tokens"]
    far_server.files["/store/00000.tokens"] = whole[:-1]
    blocks = np.array([0, 1])
    places = np.array([600_000])
    source.retain(blocks)
    for _ in range(2):
        with pytest.raises(StoreError, match="cut short"):
            source.at(places)
    source.release(blocks)
    with pytest.raises(StoreError, match="cut short"):
        source.at(places)
    far_server.files["/store/00000.tokens"] = whole
    assert source.at(places) == TokenStore.open(far_store)[600_000]
