"""The order by blocks, against a plain loop; loaders over a store far away, against the same store on this machine."""

from __future__ import annotations

import itertools
import pickle
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ArgumentError, StoreError
from foreword.tokens import TokenStore, prepare
from foreword.windows import WindowDataset, WindowLoader
from foreword.windows.arithmetic import Cut
from foreword.windows.block_order import BlockOrder, run_starts
from foreword.windows.order import Permutation
from foreword.windows.read_ahead import blocks_held

sys.path.insert(0, str(Path(__file__).parents[1]))

import faulty_server
from tokens import far

pytestmark = pytest.mark.torch


def slowly(runs: list[int], group: int, seed: int, epoch: int, name: str) -> list[int]:
    """The order, group by group, as the module's text says."""
    drawn = Permutation(len(runs) - 1, seed=seed, epoch=epoch, name=f"{name} runs")(np.arange(len(runs) - 1)).tolist()
    order: list[int] = []
    for number, first in enumerate(range(0, len(drawn), group)):
        windows = [w for run in drawn[first : first + group] for w in range(runs[run], runs[run + 1])]
        inside = Permutation(len(windows), seed=seed, epoch=epoch, name=f"{name} group {number}")
        order += [windows[i] for i in inside(np.arange(len(windows))).tolist()]
    return order


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any),
    group=st.integers(1, 6),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 9),
)
def test_the_order_is_that_of_a_plain_loop_and_has_an_inverse(sizes, group, seed, epoch) -> None:
    runs = np.cumsum([0, *sizes])
    order = BlockOrder(runs, group=group, seed=seed, epoch=epoch, name="x")
    expected = slowly(runs.tolist(), group, seed, epoch, "x")
    places = np.arange(order.n)
    assert order(places).tolist() == expected
    assert order(places[::-1].reshape(1, -1)).tolist() == [expected[::-1]]
    assert order.inverse(np.array(expected)).tolist() == places.tolist()
    assert sorted(expected) == places.tolist()


def test_a_large_order_at_single_places() -> None:
    runs = np.arange(0, 10**9 + 1, 10**6)
    order = BlockOrder(runs, group=8, seed=3, epoch=1)
    places = np.random.default_rng(0).integers(0, order.n, 1000)
    windows = order(places)
    assert np.array_equal(order.inverse(windows), places)
    assert [int(order(np.array([place]))[0]) for place in places[:20]] == windows[:20].tolist()
    near = order(np.arange(8 * 10**6, 16 * 10**6, 1000))
    assert len(np.unique(near // 10**6)) == 8  # a group is of eight runs
    assert len(np.unique(np.abs(np.diff(near[:1000])))) > 900  # and is well mixed


@settings(deadline=None, max_examples=100)
@given(
    documents=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    pieces=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    length=st.integers(1, 6),
    stride=st.integers(1, 8),
    tail=st.sampled_from(["drop", "pad", "keep"]),
)
def test_the_first_window_from_a_place(documents, pieces, length, stride, tail) -> None:
    cut = Cut(np.cumsum([0, *documents]), length, stride, tail)
    starts = cut.spans(np.arange(len(cut)))[0]
    places = np.arange(sum(documents) + 3)
    assert cut.first_from(places).tolist() == [int((starts < place).sum()) for place in places]
    ends = np.cumsum([0, *pieces])
    found = run_starts(ends, 3).tolist()
    assert set(ends.tolist()) <= {*found, 0}
    assert found == sorted(found)
    assert max(np.diff(found), default=0) <= 3


@pytest.fixture
def stores(far_server, far_store: Path, tmp_path: Path) -> tuple[TokenStore, TokenStore]:
    """The store on this machine, and far away."""
    return TokenStore.open(far_store), TokenStore.open(
        far_server.url + "/store", cache=tmp_path / "cache", cache_bytes=8 << 20
    )


CUTS = {
    "stream": {"context_length": 500},
    "overlapping": {"context_length": 700, "stride": 300},
    "longer than a block": {"context_length": 600_000, "stride": 100_000},
    "documents": {"context_length": 1000, "within": "document", "tail": "pad"},
    "short": {"context_length": 1000, "within": "document", "tail": "keep", "segments": True},
    "segments": {"context_length": 1000, "segments": True, "tail": "pad"},
    "packed": {"context_length": 3000, "within": "document", "packing": "best-fit"},
}


def alike(first, second) -> bool:
    parts = [list(batch.values()) if isinstance(batch, dict) else list(batch) for batch in (first, second)]
    return len(parts[0]) == len(parts[1]) and all(a.equal(b) for a, b in zip(*parts, strict=True))


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("order", [{}, {"shuffle": "blocks", "group": 2}, {"shuffle": "blocks", "prefetch": 2}])
def test_an_epoch_far_away_is_that_on_this_machine(stores, cut, order) -> None:
    local, remote = (WindowDataset(store, **CUTS[cut]) for store in stores)
    if cut == "packed" and order:
        with pytest.raises(ArgumentError, match="packed windows have none"):
            WindowLoader(remote, batch_size=4, **order)
        return
    loaders = [WindowLoader(data, batch_size=4, drop_last=False, **order) for data in (local, remote)]
    count = 0
    for ours, theirs in itertools.zip_longest(*loaders):
        assert alike(ours, theirs)
        count += 1
    assert count == len(loaders[0])
    assert loaders[0].state_dict() == loaders[1].state_dict()
    assert remote.far.held == 0


def test_single_windows_and_a_mixture(stores) -> None:
    local, remote = (WindowDataset(store, context_length=900, stride=400) for store in stores)
    assert alike(local[77], remote[77])
    wanted = np.random.default_rng(1).integers(0, len(local), 200).tolist()
    assert all(alike(a, b) for a, b in zip(local.__getitems__(wanted), remote.__getitems__(wanted), strict=True))
    mixed = [WindowLoader({"a": a, "b": b}, batch_size=8, shuffle="blocks", group=2) for a, b in
             ((local, local), (remote, local))]  # fmt: skip
    for ours, theirs in itertools.islice(zip(*mixed, strict=True), 200):
        assert alike(ours, theirs)


def test_every_window_comes_once_and_resumed_is_not_stopped(stores) -> None:
    """Over a change of ranks and batch size too; the epochs differ."""
    data = WindowDataset(stores[1], context_length=1000)
    options = {"shuffle": "blocks", "group": 2, "seed": 5}
    whole = WindowLoader(data, batch_size=6, **options)
    first = [batch[0].clone() for batch in whole]
    second = [batch[0].clone() for batch in whole]
    rows = [[tuple(row[:8].tolist()) for batch in epoch for row in batch] for epoch in (first, second)]
    assert rows[0] != rows[1]
    local = WindowDataset(stores[0], context_length=1000)
    every = {tuple(local[i][0][:8].tolist()) for i in range(len(local))}
    for epoch in rows:
        assert set(epoch) <= every
        assert len(set(epoch)) == len(epoch) == len(local) // 6 * 6
    stopped = WindowLoader(data, batch_size=6, **options)
    batches = iter(stopped)
    taken = [next(batches)[0].clone() for _ in range(20)]
    state = stopped.state_dict()
    assert (state["shuffle"], state["group"]) == ("blocks", 2)
    assert all(a.equal(b) for a, b in zip(taken, first, strict=False))
    ranks = [WindowLoader(data, batch_size=3, rank=rank, world_size=2, **options) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(state)
    parts = [[batch[0].clone() for batch in rank] for rank in ranks]
    rest = [row for pair in zip(*parts, strict=True) for batch in pair for row in batch]
    expected = [row for batch in first[20:] for row in batch]
    assert len(rest) == len(expected)
    assert all(a.equal(b) for a, b in zip(rest, expected, strict=True))
    for other in ({"shuffle": True}, {"shuffle": "blocks", "group": 4}):
        with pytest.raises(StoreError, match="differs"):
            WindowLoader(data, batch_size=6, seed=5, **other).load_state_dict(state)


def test_what_is_fetched_and_held(far_server, stores) -> None:
    """Each block once; the next ones before they are used; no more than may be held; nothing when it is over."""
    loader = WindowLoader(WindowDataset(stores[1], context_length=100), batch_size=4, shuffle="blocks", group=2)
    most = blocks_held(shuffle=True, group=2)
    held = [loader.data.far.held for _ in loader]
    assert 2 < max(held) <= most + 2
    assert loader.data.far.held == 0
    asked = [request for request in far_server.asked if request[0].endswith(".tokens")]
    assert len(asked) == len(set(asked)) == far.BLOCKS
    given_up = iter(loader)
    next(given_up)
    assert loader.data.far.held > 0
    given_up.close()
    assert loader.data.far.held == 0


def test_no_more_is_held_than_may_be(stores, monkeypatch) -> None:
    monkeypatch.setattr("foreword.windows.read_ahead._IN_ORDER", 2)
    loader = WindowLoader(WindowDataset(stores[1], context_length=10_000), batch_size=8)
    held = [loader.data.far.held for _ in loader]
    assert 2 <= max(held) <= 4  # two, and what the last batch that was looked up reaches into


def test_what_comes_next_is_fetched_meanwhile(far_server, stores) -> None:
    """While a consumer is in the first block, the next ones arrive."""
    loader = WindowLoader(WindowDataset(stores[1], context_length=1000), batch_size=4)
    batches = iter(loader)
    for _ in range(60):  # 240,000 of 524,288 tokens
        next(batches)
    for _ in range(500):
        asked = [request for request in far_server.asked if request[0].endswith(".tokens")]
        if len(asked) > 1:
            break
        threading.Event().wait(0.01)
    assert len(asked) > 1
    batches.close()


def test_a_loader_travels_and_a_damaged_block_is_named(far_server, stores) -> None:
    loader = WindowLoader(WindowDataset(stores[1], context_length=1000), batch_size=4, shuffle="blocks")
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    again = pickle.loads(pickle.dumps(loader))
    assert alike(next(iter(again)), next(batches))
    batches.close()
    far_server.files["/store/00001.tokens"] = far_server.files["/store/00001.tokens"][:-1]
    for file in stores[1].far.cache.folder.glob("blocks"):
        file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(StoreError, match="cut short"):
            list(pickle.loads(pickle.dumps(loader)))


def test_an_array_and_options(stores) -> None:
    data = WindowDataset(np.arange(3 << 20, dtype=np.uint32), context_length=1000)
    loader = WindowLoader(data, batch_size=10, shuffle="blocks", group=1, drop_last=False)
    firsts = [row for inputs, _ in loader for row in inputs[:, 0].tolist()]
    assert sorted(firsts) == list(range(0, (3 << 20) - 1000, 1000))
    assert len({first >> 18 for first in firsts[:100]}) == 1  # of one block of 1 MiB
    for wrong in ("block", "yes"):
        with pytest.raises(ArgumentError, match="shuffle is not known"):
            WindowLoader(data, batch_size=4, shuffle=wrong)
    with pytest.raises(ArgumentError, match="group"):
        WindowLoader(data, batch_size=4, shuffle="blocks", group=0)


@pytest.mark.parametrize(
    "layout", [{}, {"within": "document", "tail": "keep"}, {"within": "document", "packing": "best-fit"}]
)
def test_supervised_windows_far_away_are_those_on_this_machine(tmp_path: Path, layout) -> None:
    pairs = [{"prompt": f"what is {i}? " * 30, "completion": f"{i} is {i * i}" * (1 + i % 50)} for i in range(900)]
    prepare(pairs, tmp_path / "near", tokenizer="bytes", records="completion", shard_tokens=200_000)
    local = TokenStore.open(tmp_path / "near")
    with faulty_server.running() as far_server:
        remote = TokenStore.open(far.publish(far_server, tmp_path / "near"), cache=tmp_path / "cache")
        assert np.array_equal(remote.read_loss(0, len(remote)), local.read_loss(0, len(local)))
        data = [WindowDataset(store, context_length=600, **layout) for store in (local, remote)]
        assert data[1].supervised
        loaders = [WindowLoader(each, batch_size=8, drop_last=False) for each in data]
        masked = 0
        for ours, theirs in itertools.zip_longest(*loaders):
            assert alike(ours, theirs)
            masked += int((ours[1] == -100).sum())
        assert masked > len(local) // 3
        assert pickle.loads(pickle.dumps(data[1]))[3][1].equal(local_targets(data[0], 3))


def local_targets(data: WindowDataset, window: int):
    return data[window][1]


def test_an_order_by_blocks_is_traced_and_skips(stores) -> None:
    data = WindowDataset(stores[0], context_length=900, stride=500)
    options = {"batch_size": 8, "shuffle": "blocks", "group": 2, "seed": 3}
    loader = WindowLoader(data, **options)
    steps = list(loader)
    starts = data.holding(np.arange(stores[0].documents))
    assert len(starts) == len(data)
    for step in (0, 7, len(steps) - 1):
        for row, entry in enumerate(loader.trace(step, epoch=0)):
            assert steps[step][0][row].equal(data[entry.window][0])
            for document, _ in entry.documents:
                assert (0, step, 0, row) in [tuple(place) for place in loader.when(document, epoch=0)]
    skipped = [3, 20]
    gone = set(data.holding(np.array(skipped)).tolist())
    rest = WindowLoader(data, skip=skipped, drop_last=False, **options)
    order = BlockOrder(data.runs_of_blocks(1), group=2, seed=3, epoch=0, name="data")(np.arange(len(data))).tolist()
    expected = [window for window in order if window not in gone]
    got = [row for inputs, _ in rest for row in inputs]
    assert len(got) == len(expected)
    assert all(row.equal(data[window][0]) for row, window in zip(got, expected, strict=True))
