"""Epochs and resume: every sample exactly once, whatever the ranks and batch sizes, and however often one stops."""

import json
import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foreword as fw
import interrupts
from foreword.errors import ArgumentError, StoreError
from foreword.windows import iterations, prefetch
from foreword.windows import loader as loaders
from foreword.windows.prefetch import ahead

pytestmark = pytest.mark.filterwarnings("ignore:the loader gives no batch")


def numbered(windows, *, name=0, context_length=2):
    """A dataset whose window i has the inputs [k, k + 1, …] with k = 1000 · name + i."""
    return fw.WindowDataset(1000 * name + np.arange(windows + context_length), context_length=context_length, stride=1)


def firsts(batch):
    """Which windows of ``numbered`` a batch holds."""
    inputs, targets = batch
    assert torch.equal(targets, inputs + 1)
    return inputs[:, 0].tolist()


@pytest.fixture(params=[(1 << 15, 1 << 12), (4, 32)], ids=["large blocks", "small blocks"])
def _blocks(request, monkeypatch):
    """Blocks as they are, and so small that a few dozen windows fill several."""
    for tokens in ("BLOCK_TOKENS", "COMPACT_TOKENS", "WHOLE_TOKENS"):
        monkeypatch.setattr(f"foreword.windows.batches.{tokens}", request.param[0])
    for windows in ("ORDER_WINDOWS", "FIRST_WINDOWS"):
        monkeypatch.setattr(f"foreword.windows.loader.{windows}", request.param[1])


def ranks(data, *, world_size, **options):
    return [fw.WindowLoader(data, world_size=world_size, rank=rank, **options) for rank in range(world_size)]


@pytest.mark.usefixtures("_blocks")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    windows=st.integers(1, 60),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 5),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    prefetch=st.sampled_from([0, 2]),
)
def test_every_sample_once_an_epoch(windows, batch_size, world_size, shuffle, drop_last, prefetch):
    data = numbered(windows)
    loaders = ranks(
        data,
        world_size=world_size,
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        prefetch=prefetch,
        seed=3,
    )
    orders = []
    for epoch in range(2):
        batches = [[firsts(batch) for batch in loader] for loader in loaders]
        assert all(len(own) == len(loader) for own, loader in zip(batches, loaders, strict=True))
        assert all(loader.epoch == epoch + 1 for loader in loaders)
        order = [window for step in zip(*batches, strict=True) for batch in step for window in batch]
        step = batch_size * world_size
        distinct = windows // step * step if drop_last else windows
        again = order[distinct:]  # by ranks that were left short: the epoch's first
        assert again == [order[i % windows] for i in range(len(again))]
        assert len(again) == (max(0, world_size - windows % step) if windows % step and not drop_last else 0)
        sizes = [len(own[-1]) for own in batches if own]
        assert min(sizes, default=1) >= max(1, max(sizes, default=1) - 1)
        order = order[:distinct]
        assert len(set(order)) == len(order) == distinct
        if not shuffle:
            assert order == list(range(len(order)))
        orders.append(order)
    if shuffle and min(map(len, orders)) > 20:
        assert orders[0] != orders[1]


@pytest.mark.usefixtures("_blocks")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(windows=st.integers(1, 80), shuffle=st.booleans(), prefetch=st.sampled_from([0, 0, 0, 3]), luck=st.randoms())
def test_stopping_anywhere_and_going_on_with_other_ranks(windows, shuffle, prefetch, luck):
    """One epoch in up to four goes, each with ranks and a batch size of its own: nothing twice, nothing lost."""
    data, state, seen = numbered(windows), None, []
    for go in range(4):
        batch_size, world_size = luck.randint(1, 9), luck.choice([1, 4, 3])
        loaders = ranks(
            data,
            world_size=world_size,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=5,
            drop_last=False,
            prefetch=prefetch,
        )
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
        iterators = [iter(loader) for loader in loaders]
        stop = 10**9 if go == 3 else luck.randint(0, 6)
        for _ in range(stop):
            step = [next(iterator, None) for iterator in iterators]
            if step[0] is None:
                assert step == [None] * world_size
                break
            seen += [window for batch in step for window in firsts(batch)]
        del seen[windows:]  # what ranks that were left short repeated
        states = [loader.state_dict() for loader in loaders]
        assert all(other == states[0] for other in states)
        state = json.loads(json.dumps(states[0]))
        if state["epoch"]:
            break
    whole = [w for batch in fw.WindowLoader(data, batch_size=1, shuffle=shuffle, seed=5) for w in firsts(batch)]
    assert seen == whole
    assert sorted(seen) == list(range(windows))


def test_a_state_taken_between_epochs_or_in_the_middle_of_a_block():
    data = numbered(5000)
    for stop in (0, 1, 2, 3, 700, 1249, 1250):
        whole = fw.WindowLoader(data, batch_size=4, shuffle=True, seed=1, prefetch=1)
        before = iter(whole)
        for _ in range(stop):
            next(before)
        state = whole.state_dict()
        rest = [[firsts(batch) for batch in epoch] for epoch in (before, whole, whole)]
        if stop == 1250:  # an epoch is over with its last batch
            assert rest.pop(0) == []
        resumed = fw.WindowLoader(data, batch_size=4, shuffle=True, seed=1)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert [[firsts(batch) for batch in resumed] for _ in rest] == rest


def test_an_iteration_that_is_broken_off_gives_up_the_rest_of_its_epoch():
    loader = fw.WindowLoader(numbered(50), batch_size=4, shuffle=True)
    epochs = [[firsts(batch) for batch in fresh] for fresh in [loader] for _ in range(4)]
    loader = fw.WindowLoader(numbered(50), batch_size=4, shuffle=True)
    assert [firsts(next(iter(loader))) for _ in range(2)] == [epoch[0] for epoch in epochs[:2]]
    iterator = iter(loader)
    for batch in epochs[2][:3]:
        assert firsts(next(iterator)) == batch
    state = loader.state_dict()
    assert (state["epoch"], state["cursor"], loader.epoch) == (2, 12, 2)
    del iterator
    assert loader.state_dict() == state
    loader.load_state_dict(state)
    assert firsts(next(iter(loader))) == epochs[2][3]
    with pytest.warns(UserWarning, match="8 of 12 batches are left of epoch 2, and epoch 3 begins"):
        assert firsts(next(iter(loader))) == epochs[3][0]


MIXES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(1, 40), st.one_of(st.integers(1, 9), st.floats(1e-3, 1e3))),
    min_size=1,
    max_size=5,
)


def mixture(mix, **options):
    data = {name: numbered(windows, name=ord(name)) for name, (windows, _) in mix.items()}
    return fw.WindowLoader(data, weights={name: weight for name, (_, weight) in mix.items()}, **options)


@settings(max_examples=200, deadline=None)
@given(mix=MIXES, shuffle=st.booleans())
def test_a_mixture_is_within_one_sample_of_its_shares_in_every_prefix(mix, shuffle):
    loader = mixture(mix, batch_size=1, shuffle=shuffle)
    total = sum(weight for _, weight in mix.values())
    counts, given_of, n = dict.fromkeys(mix, 0), {name: [] for name in mix}, 0
    for _ in range(2):
        for batch in loader:
            (window,) = firsts(batch)
            name = chr(window // 1000)
            counts[name] += 1
            given_of[name].append(window % 1000)
            n += 1
            for other, (_, weight) in mix.items():
                assert abs(counts[other] - n * weight / total) < 1 + 1e-9
    for name, (windows, _) in mix.items():  # each source is seen whole before any of it comes again
        for start in range(0, len(given_of[name]) - windows + 1, windows):
            assert sorted(given_of[name][start : start + windows]) == list(range(windows))


@pytest.mark.usefixtures("_blocks")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mix=MIXES, luck=st.randoms(), prefetch=st.sampled_from([0, 2]))
def test_a_mixture_goes_on_exactly_with_other_ranks(mix, luck, prefetch):
    whole = mixture(mix, batch_size=1, shuffle=True, seed=2)
    expected = [w for batch in whole for w in firsts(batch)]
    state, seen = None, []
    while len(seen) < len(expected):
        world_size, batch_size = luck.choice([1, 4, 3]), luck.randint(1, 5)
        options = {"batch_size": batch_size, "shuffle": True, "seed": 2, "drop_last": False, "prefetch": prefetch}
        loaders = [mixture(mix, rank=r, world_size=world_size, **options) for r in range(world_size)]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
        iterators = [iter(loader) for loader in loaders]
        for _ in range(luck.randint(1, 5)):
            step = [next(iterator, None) for iterator in iterators]
            if step[0] is not None:
                seen += [w for batch in step for w in firsts(batch)]
        del seen[len(expected) :]  # what ranks that were left short repeated
        states = [json.loads(json.dumps(loader.state_dict())) for loader in loaders]
        assert all(other == states[0] for other in states)
        state = states[0]
    assert seen == expected


def test_a_new_source_starts_at_0_and_the_others_go_on():
    small = {"a": (30, 1), "b": (20, 1)}
    loader = mixture(small, batch_size=2, shuffle=True)
    iterator = iter(loader)
    seen = [w for _ in range(5) for w in firsts(next(iterator))]
    state = loader.state_dict()
    larger = mixture(small | {"c": (10, 2)}, batch_size=2, shuffle=True)
    larger.load_state_dict(state)
    told = larger.state_dict()["sources"]
    assert told["c"] | {"fingerprint": ""} == {
        "fingerprint": "", "drawn": 0, "epoch": 0, "cursor": 0
    }  # fmt: skip
    assert told["a"]["cursor"] == state["sources"]["a"]["cursor"] == 5
    iterator = iter(larger)
    later = [w for _ in range(10) for w in firsts(next(iterator))]
    assert sum(chr(w // 1000) == "c" for w in later) == 10
    assert len(set(seen + later)) == 30


def test_other_weights_hold_from_where_they_are_given():
    data = {"a": numbered(300, name=1), "b": numbered(300, name=2)}
    loader = fw.WindowLoader(data, batch_size=10, weights={"a": 0.5, "b": 0.5})
    iterator = iter(loader)
    seen = [w for _ in range(4) for w in firsts(next(iterator))]
    annealed = fw.WindowLoader(data, batch_size=10, weights={"a": 0.9, "b": 0.1})
    annealed.load_state_dict(loader.state_dict())
    iterator = iter(annealed)
    later = [w for _ in range(4) for w in firsts(next(iterator))]
    assert sum(w < 2000 for w in later) == 36
    assert len(set(seen + later)) == 80


@pytest.mark.parametrize("stop", [4, 9, 16])
def test_a_source_can_be_dropped_and_comes_back_where_it_was(stop):
    mix = {"a": (30, 2), "b": (20, 1), "c": (10, 1)}
    whole = mixture(mix, batch_size=2, shuffle=True)
    iterator = iter(whole)
    seen = [w for _ in range(stop) for w in firsts(next(iterator))]
    without = mixture({"a": (30, 2), "c": (10, 1)}, batch_size=2, shuffle=True)
    without.load_state_dict(whole.state_dict())
    iterator = iter(without)
    later = [w for _ in range(3) for w in firsts(next(iterator))]
    assert {chr(w // 1000) for w in later} == {"a", "c"}
    state = json.loads(json.dumps(without.state_dict()))
    alone = mixture({"a": (30, 1)}, batch_size=2, shuffle=True)
    alone.load_state_dict(state)
    iterator = iter(alone)
    last = [w for _ in range(2) for w in firsts(next(iterator))]
    assert {chr(w // 1000) for w in last} == {"a"}
    again = mixture(mix, batch_size=2, shuffle=True)
    again.load_state_dict(json.loads(json.dumps(alone.state_dict())))
    iterator = iter(again)
    back = [w for _ in range(2) for w in firsts(next(iterator))]
    order = {name: [] for name in mix}
    for w in seen + later + last + back:
        order[chr(w // 1000)].append(w % 1000)
    fresh = mixture(mix, batch_size=1, shuffle=True)
    expected = {name: [] for name in mix}
    for w in (w for _ in range(3) for batch in fresh for w in firsts(batch)):
        expected[chr(w // 1000)].append(w % 1000)
    for name, windows in order.items():  # each went on where it was, nothing twice and nothing lost
        assert windows == expected[name][: len(windows)]


def test_dropping_sources_after_more_than_is_left_begins_the_next_epoch():
    loader = mixture({"a": (30, 1), "b": (30, 1)}, batch_size=2)
    iterator = iter(loader)
    for _ in range(20):
        next(iterator)
    alone = mixture({"a": (30, 1)}, batch_size=2)
    alone.load_state_dict(loader.state_dict())
    assert firsts(next(iter(alone))) == [97_020, 97_021]
    assert alone.epoch == 1
    single = fw.WindowLoader(numbered(30, name=ord("a")), batch_size=2)
    state = loader.state_dict()
    state["sources"]["data"] = state["sources"].pop("a")
    single.load_state_dict(state)
    assert firsts(next(iter(single))) == [97_020, 97_021]


def test_a_jump_too_long_to_go_through_is_refused():
    data = {name: numbered(10, name=i) for i, name in enumerate("ab")}
    loader = fw.WindowLoader(data, weights={"a": 2**0.5, "b": 3**0.5}, batch_size=2)
    loader.set_epoch(1000)
    assert loader.epoch == 1000
    with pytest.raises(ArgumentError, match="can't be found in reasonable time") as caught:
        loader.set_epoch(10**7)
    assert "0.449, 0.551" in str(caught.value)
    loader = fw.WindowLoader(data, weights={"a": 0.449, "b": 0.551}, batch_size=2)
    loader.set_epoch(10**12)
    assert loader.epoch == 10**12
    assert len(list(loader)) == 10


def test_an_epoch_from_before_a_mixture_was_changed_is_refused():
    loader = mixture({"a": (30, 1), "b": (30, 1)}, batch_size=2)
    list(loader)
    iterator = iter(loader)
    next(iterator)
    changed = mixture({"a": (30, 1), "b": (30, 2)}, batch_size=2)
    changed.load_state_dict(loader.state_dict())
    with pytest.raises(ArgumentError, match="epoch 0 of this mixture began is not known"):
        changed.set_epoch(0)


def test_short_ranks_of_a_mixture_repeat_where_it_began():
    mix = {"a": (11, 3), "b": (6, 1)}
    options = {"batch_size": 4, "shuffle": True, "drop_last": False, "world_size": 2}
    loaders = [mixture(mix, rank=rank, **options) for rank in range(2)]
    for _ in range(2):
        one, two = ([firsts(batch) for batch in loader] for loader in loaders)
        assert list(map(len, one)) == list(map(len, two)) == [4, 4, 1]
        assert two[-1] == one[0][:1]
    # Changed after the first step: it began there.
    iterators = [iter(loader) for loader in loaders]
    for iterator in iterators:
        next(iterator)
    changed = [mixture({"a": (11, 1), "b": (6, 1)}, rank=rank, **options) for rank in range(2)]
    for loader in changed:
        loader.load_state_dict(json.loads(json.dumps(loaders[0].state_dict())))
    iterators = [iter(loader) for loader in changed]
    (first, _) = [firsts(next(iterator)) for iterator in iterators]
    assert changed[0].state_dict() == changed[1].state_dict()
    resumed = [mixture({"a": (11, 1), "b": (6, 1)}, rank=rank, **options) for rank in range(2)]
    for loader in resumed:
        loader.load_state_dict(json.loads(json.dumps(changed[0].state_dict())))
    one, two = ([firsts(batch) for batch in loader] for loader in resumed)
    assert (len(one), len(two), two[-1]) == (1, 1, first[:1])


def test_ranks_come_from_the_environment_and_hold_where_they_are_given(monkeypatch):
    data = numbered(100)
    alone = fw.WindowLoader(data, batch_size=5)
    assert (alone.rank, alone.world_size, len(alone)) == (0, 1, 20)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    loader = fw.WindowLoader(data, batch_size=5)
    assert (loader.rank, loader.world_size, len(loader)) == (2, 4, 5)
    assert firsts(next(iter(loader)))[0] == 10
    assert len(fw.WindowLoader(data, batch_size=5, rank=0, world_size=1)) == 20
    with pytest.warns(UserWarning, match="was taken for 1 process, and there are 4"):
        next(iter(alone))
    state = loader.state_dict()
    assert state["cursor"] == 20
    monkeypatch.setenv("WORLD_SIZE", "four")
    with pytest.raises(ArgumentError, match="does not say which process"):
        len(loader)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentError, match="rank must be from 0"):
        len(loader)


def test_a_state_that_does_not_fit_is_refused_with_the_difference_named():
    data = numbered(50)
    options = {"batch_size": 4, "shuffle": True, "seed": 1}
    state = fw.WindowLoader(data, **options).state_dict()

    def refusal(changed=None, data=data, **other):
        with pytest.raises(StoreError) as caught:
            fw.WindowLoader(data, **options | other).load_state_dict(state | (changed or {}))
        return str(caught.value)

    assert "its version differs" in refusal({"version": 0})
    assert "its seed differs" in refusal(seed=2)
    assert "its shuffle differs" in refusal(shuffle=False)
    assert "the fingerprint of the source 'data' differs" in refusal(data=numbered(51))
    other_stride = fw.WindowDataset(np.arange(52), context_length=2, stride=2)
    assert "the fingerprint of the source 'data' differs" in refusal(data=other_stride)
    other_token = np.arange(52)
    other_token[20] = 7
    assert "fingerprint" in refusal(data=fw.WindowDataset(other_token, context_length=2, stride=1))
    assert "the source 'data' was removed" in refusal(data={"web": data})
    assert "tells no sources" in refusal({"sources": 3})
    for changed in (
        {"epoch": -1},
        {"cursor": 51},
        {"cursor": "1"},
        {"cursor": 3},
        {"sources": {"data": state["sources"]["data"] | {"cursor": None}}},
    ):
        assert "no such place" in refusal(changed)


def test_a_mixture_in_an_impossible_place_is_refused():
    mix = {"a": (10, 1), "b": (10, 1)}
    loader = mixture(mix, batch_size=2)
    next(iter(loader))
    state = loader.state_dict()
    state["sources"]["a"] |= {"drawn": 5, "cursor": 5}
    with pytest.raises(StoreError, match="no such place"):
        mixture(mix, batch_size=2).load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"world_size": 0}, "world_size must be at least 1"),
        ({"rank": 1}, "rank must be from 0"),
        ({"rank": -1}, "rank must be from 0"),
        ({"prefetch": -1}, "prefetch must be at least 1"),
        ({"weights": {"web": 1}}, "each source needs one weight"),
        ({"weights": {"data": 0}}, "the weight of 'data' must be above 0"),
        ({"weights": {"data": float("nan")}}, "the weight of 'data' must be above 0"),
    ],
)
def test_arguments_that_can_not_be(arguments, problem):
    with pytest.raises(ArgumentError, match=problem):
        fw.WindowLoader(numbered(10), **{"batch_size": 1} | arguments)


def test_mixtures_that_can_not_be():
    with pytest.raises(ArgumentError, match="needs a source"):
        fw.WindowLoader({}, batch_size=1)
    with pytest.raises(ArgumentError, match="must agree on context_length"):
        fw.WindowLoader({"a": numbered(10), "b": numbered(10, context_length=3)}, batch_size=1)


def test_a_loader_that_gives_no_batch_says_so():
    with pytest.warns(UserWarning, match="10 windows are fewer than one step of 12"):
        assert list(fw.WindowLoader(numbered(10), batch_size=6, world_size=2)) == []


def test_batches_go_where_they_are_wanted():
    on_meta = next(iter(fw.WindowLoader(numbered(10), batch_size=2, device="meta")))
    assert all(part.device.type == "meta" for part in on_meta)
    assert firsts(next(iter(fw.WindowLoader(numbered(10), batch_size=2, device="cpu")))) == [0, 1]


def test_pinned_memory_without_an_accelerator_is_ordinary_memory():
    if torch.accelerator.is_available():
        pytest.skip("there is one")
    assert firsts(next(iter(fw.WindowLoader(numbered(10), batch_size=2, pin_memory=True)))) == [0, 1]


@pytest.mark.parametrize("index", [1.0, "1", None, True, slice(2)])
def test_an_index_that_is_no_integer_is_refused(index):
    with pytest.raises(TypeError, match="the index of a window must be an integer"):
        numbered(10)[index]


def test_the_prefetching_thread_ends_with_its_iteration():
    loader = fw.WindowLoader(numbered(5000), batch_size=1, prefetch=2)
    iterator = iter(loader)
    next(iterator)
    assert any(thread.name.startswith("foreword-prefetch") for thread in threading.enumerate())
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("foreword-prefetch")]
    iterator.close()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_an_iterator_may_be_collected_in_its_own_thread():
    go_on, over, problems, iterators = threading.Event(), threading.Event(), [], []

    def work(item):
        if item == 2:
            go_on.wait(20)
            try:
                iterators.pop().close()
            except RuntimeError as problem:
                problems.append(problem)
            over.set()
        return item

    iterators.append(ahead(work, iter(range(10)), 2))
    assert next(iterators[0]) == 0
    go_on.set()
    assert over.wait(20)
    assert not problems


def test_ctrl_c_at_any_line_of_an_epoch():
    """Whatever was interrupted, the state goes on where batches were handed out; one may have been, and never come."""

    def batches(epoch=None, state=None):
        again = fw.WindowLoader(numbered(6), batch_size=2, shuffle=True)
        if state is None:
            again.set_epoch(epoch)
        else:
            again.load_state_dict(state)
        return [tuple(firsts(batch)) for batch in again]

    loader = fw.WindowLoader(numbered(6), batch_size=2, shuffle=True)
    epoch, received = 1, []

    def work():
        loader.set_epoch(epoch)
        received.extend(tuple(firsts(batch)) for batch in loader)

    for number in interrupts.at_each_line([iterations, loaders, prefetch], work):
        assert not loader._iterations._running, number
        rest = batches(state=loader.state_dict())
        if loader.epoch < epoch:  # it was not set
            assert not received, number
        elif loader.epoch > epoch:  # all was handed out
            assert len(received) >= 2, number
            assert rest == batches(epoch + 1), number
        else:
            left = rest if rest != batches(epoch + 1) else []
            assert left == batches(epoch)[3 - len(left) :], number
            assert 3 - len(left) - len(received) in (0, 1), number
        epoch, received = loader.epoch + 1, []


def test_batches_do_not_share_what_they_hold():
    batches = list(fw.WindowLoader(numbered(40), batch_size=4))
    for inputs, targets in batches:
        inputs.zero_()
        targets.sub_(1)
    assert sorted(w for _, targets in batches for w in targets[:, 0].tolist()) == list(range(40))


def test_random_is_left_alone():
    torch.manual_seed(1)
    random.seed(1)
    drawn = torch.rand(1), random.random()
    torch.manual_seed(1)
    random.seed(1)
    list(fw.WindowLoader(numbered(40), batch_size=4, shuffle=True))
    assert (torch.rand(1), random.random()) == drawn


@pytest.mark.filterwarnings("ignore:torch.distributed is")
@pytest.mark.parametrize("dropped", ["before the save", "by the load"])
def test_a_distributed_checkpoint_forgets_no_source(dropped, tmp_path):
    """``dcp.load`` reads the keys that the loader's own state has: what that loses is refused, never forgotten."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    place = {"checkpoint_id": tmp_path / "checkpoint", "no_dist": True}
    fewer = {"a": (30, 2), "b": (20, 1)}
    loader = mixture(fewer | {"c": (10, 1)}, batch_size=2, shuffle=True)
    next(iter(loader))
    if dropped == "before the save":
        state, loader = loader.state_dict(), mixture(fewer, batch_size=2, shuffle=True)
        loader.load_state_dict(state)
        next(iter(loader))
    dcp.save({"loader": loader, "whole": json.dumps(loader.state_dict())}, **place)

    after = mixture(fewer, batch_size=2, shuffle=True)
    with pytest.raises(Exception, match="has lost sources that its history names"):
        dcp.load({"loader": after}, **place)
    saved = {"whole": ""}
    dcp.load(saved, **place)
    after.load_state_dict(json.loads(saved["whole"]))
    assert list(after.state_dict()["dropped"]) == ["c"]


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_a_distributed_checkpoint_keeps_the_history(tmp_path):
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    place = {"checkpoint_id": tmp_path / "checkpoint", "no_dist": True}
    loader = fw.WindowLoader(numbered(60), batch_size=2)
    next(iter(loader))
    other = fw.WindowLoader(numbered(60), batch_size=3)
    other.load_state_dict(loader.state_dict())
    next(iter(other))
    dcp.save({"loader": other}, **place)
    after = fw.WindowLoader(numbered(60), batch_size=3)
    dcp.load({"loader": after}, **place)
    assert after.state_dict() == other.state_dict()
    assert [window.window for step in range(3) for window in after.trace(step)] == [*range(8)]
