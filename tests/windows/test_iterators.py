"""Whose place is the loader's: counted loops, broken-off epochs, nested, abandoned, detached and forked iterators."""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import types
import warnings
from itertools import islice

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError

pytestmark = pytest.mark.torch


def make_loader(mixture=False, windows=400, **options):
    """100 batches; window i starts with token 4 · i, in a mixture of its second source 10,000 more."""
    options = {"batch_size": 4, "shuffle": True, **options}
    data = fw.WindowDataset(np.arange(4 * windows + 1), context_length=4)
    if not mixture:
        return fw.WindowLoader(data, **options)
    half = {
        name: fw.WindowDataset(np.arange(2 * windows + 1) + 10_000 * i, context_length=4) for i, name in enumerate("ab")
    }
    return fw.WindowLoader(half, weights={"a": 0.7, "b": 0.3}, **options)


def firsts(batch):
    return tuple(batch[0][:, 0].tolist())


@pytest.fixture(params=[False, True], ids=["single", "mixture"])
def mixture(request):
    return request.param


@pytest.fixture
def epochs(mixture):
    """What comes in five epochs of a loader, each gone through to its end."""
    loader = make_loader(mixture)
    return [[firsts(batch) for batch in loader] for _ in range(5)]


def at(loader):
    state = loader.state_dict()
    assert state["epoch"] == loader.epoch
    return state["epoch"], state["cursor"]


def test_counted_loops_get_every_epoch(mixture, epochs):
    loader = make_loader(mixture)
    for epoch in range(3):
        iterator = iter(loader)
        assert [firsts(next(iterator)) for _ in range(len(loader))] == epochs[epoch]
        assert at(loader) == (epoch + 1, 0)


def test_an_epoch_that_is_broken_off_is_followed_by_the_next(mixture, epochs):
    loader = make_loader(mixture)
    for epoch in range(4):
        assert [firsts(batch) for batch in islice(loader, 5)] == epochs[epoch][:5]
        assert at(loader) == (epoch, 20)


def test_iter_takes_nothing(mixture, epochs):
    loader = make_loader(mixture)
    unused = [iter(loader) for _ in range(3)]
    assert at(loader) == (0, 0)
    assert firsts(next(unused[2])) == epochs[0][0]
    unused[2].close()
    assert firsts(next(unused[0])) == epochs[1][0]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_state_is_right_after_each_batch(mixture, epochs, prefetch):
    loader = make_loader(mixture, prefetch=prefetch)
    for epoch in range(2):
        for done, batch in enumerate(loader, 1):
            assert firsts(batch) == epochs[epoch][done - 1]
            assert at(loader) == ((epoch, 4 * done) if done < 100 else (epoch + 1, 0))
            if done % 17 == 0 or done >= 99:
                resumed = make_loader(mixture)
                resumed.load_state_dict(loader.state_dict())
                rest = epochs[epoch][done:] or epochs[epoch + 1]
                assert [firsts(batch) for batch in resumed] == rest


@pytest.mark.parametrize("take", [5, 100])
def test_an_evaluation_within_the_training_loop_moves_nothing(mixture, epochs, take):
    loader = make_loader(mixture)
    for step, batch in enumerate(loader):
        assert firsts(batch) == epochs[0][step]
        if step % 30 == 29:
            for done, inner in enumerate(loader, 1):
                assert firsts(inner) == epochs[1][done - 1]
                assert at(loader) == (0, 4 * step + 4)
                if done == take:
                    break
            assert at(loader) == (0, 4 * step + 4)
    assert at(loader) == (1, 0)
    assert [firsts(batch) for batch in loader] == epochs[1]


def test_an_iterator_that_outlives_the_one_it_ran_in_takes_over(mixture, epochs):
    loader = make_loader(mixture)
    old = iter(loader)
    next(old)
    new = iter(loader)
    assert firsts(next(new)) == epochs[1][0]
    assert at(loader) == (0, 4)
    del old
    assert at(loader) == (1, 4)
    del new
    assert at(loader) == (1, 4)
    assert firsts(next(iter(loader))) == epochs[2][0]


def test_loading_detaches_iterators_that_have_started(mixture, epochs):
    loader = make_loader(mixture)
    started, unused = iter(loader), iter(loader)
    for _ in range(3):
        next(started)
    state = loader.state_dict()
    loader.load_state_dict(state)
    assert firsts(next(started)) == epochs[0][3]
    assert loader.state_dict() == state
    assert [firsts(batch) for batch in started] == epochs[0][4:]
    assert loader.state_dict() == state
    assert [firsts(batch) for batch in unused] == epochs[0][3:]
    assert at(loader) == (1, 0)


def test_a_broken_off_epoch_is_taken_up_by_loading_its_state(mixture, epochs):
    loader = make_loader(mixture)
    next(iter(loader))
    loader.load_state_dict(loader.state_dict())
    assert [firsts(batch) for batch in loader] == epochs[0][1:]


def test_set_epoch(mixture, epochs):
    loader = make_loader(mixture)
    for setter in (loader, loader.sampler, loader.batch_sampler, loader.batch_sampler.sampler):
        setter.set_epoch(3)
        assert at(loader) == (3, 0)
        assert firsts(next(iter(loader))) == epochs[3][0]
        assert at(loader) == (3, 4)
        setter.set_epoch(3)  # it was broken off
        assert at(loader) == (3, 0)
        setter.set_epoch(1)
        assert at(loader) == (1, 0)
        outer = iter(loader)
        assert firsts(next(outer)) == epochs[1][0]
        setter.set_epoch(1)
        assert firsts(next(outer)) == epochs[1][1]
        setter.set_epoch(0)
        del outer
        assert at(loader) == (0, 0)
    with pytest.raises(ArgumentError, match="epoch must be at least 0"):
        loader.set_epoch(-1)
    with pytest.raises(TypeError, match="epoch must be an integer"):
        loader.set_epoch(1.0)


@pytest.mark.parametrize("taken", [3, 100])
def test_an_epoch_that_is_set_again_begins_again(mixture, epochs, taken):
    """As with torch's DistributedSampler: who retries an epoch gets that epoch, not the next."""
    loader = make_loader(mixture)
    for epoch in (0, 0, 1, 1, 0, 2):
        loader.set_epoch(epoch)
        assert [firsts(batch) for batch in islice(loader, taken)] == epochs[epoch][:taken]
    resumed = make_loader(mixture)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(2 if taken < 100 else 3)  # as a trainer does that resumes
    assert [firsts(batch) for batch in resumed] == (epochs[2] + epochs[3])[taken:][: 100 - taken % 100]


@pytest.mark.filterwarnings("ignore:an earlier iterator")
def test_an_epoch_that_is_set_begins_again_beside_a_forgotten_iterator(monkeypatch, mixture, epochs):
    """A cell of a notebook that was interrupted keeps its iterator alive in the traceback."""
    shell = types.SimpleNamespace(execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    loader = make_loader(mixture)
    loader.set_epoch(0)
    interrupted = iter(loader)
    next(interrupted)
    loader.set_epoch(0)  # it runs
    assert at(loader) == (0, 4)
    shell.execution_count = 2
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert [firsts(batch) for batch in loader] == epochs[epoch]
    assert firsts(next(interrupted)) == epochs[0][1]


def test_giving_up_a_loaded_place_warns_of_what_is_left(mixture):
    loader = make_loader(mixture)
    list(islice(loader, 10))
    state = loader.state_dict()
    message = "90 of 100 batches are left of epoch 0, and epoch 1 begins"

    loader.load_state_dict(state)
    with pytest.warns(UserWarning, match=message):
        loader.set_epoch(1)

    loader.load_state_dict(state)
    list(islice(loader, 3))
    loader.load_state_dict(loader.state_dict())  # not given up
    list(islice(loader, 3))
    with pytest.warns(UserWarning, match="84 of 100 batches are left of epoch 0"):
        next(iter(loader))
    next(iter(loader))  # once

    loader.load_state_dict(state)
    outer = iter(loader)
    next(outer)
    next(iter(loader))  # an evaluation: the place is not given up
    assert len(list(outer)) == 89
    list(loader)


def test_a_forgotten_iterator_gets_one_warning(mixture):
    loader = make_loader(mixture)
    forgotten = iter(loader)
    next(forgotten)
    list(loader)
    assert at(loader) == (0, 4)
    list(loader)
    with pytest.warns(UserWarning, match="an earlier iterator of this loader still lives, in epoch 0 after 4 windows"):
        assert at(loader) == (0, 4)
    list(loader)
    assert at(loader) == (0, 4)  # once
    forgotten.close()
    assert at(loader) == (4, 0)


def test_a_forgotten_iterator_of_an_earlier_cell_of_a_notebook(monkeypatch, mixture):
    shell = types.SimpleNamespace(execution_count=3)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    loader = make_loader(mixture)
    interrupted = iter(loader)
    next(interrupted)
    next(iter(loader))  # in the same cell
    assert at(loader) == (0, 4)
    shell.execution_count = 4
    with pytest.warns(UserWarning, match="close"):
        next(iter(loader))


def test_many_evaluations_do_not_warn(mixture):
    loader = make_loader(mixture)
    for step, _ in enumerate(loader):
        if step % 20 == 0:
            list(loader)
            assert at(loader) == (0, 4 * step + 4)


def test_an_iterator_in_a_cycle_is_given_up_when_it_is_collected(mixture, epochs):
    loader = make_loader(mixture)
    holder = types.SimpleNamespace(iterator=iter(loader))
    holder.itself = holder
    next(holder.iterator)
    del holder
    gc.collect()
    assert at(loader) == (0, 4)
    assert firsts(next(iter(loader))) == epochs[1][0]


def test_an_error_before_the_first_batch_loses_no_epoch(tmp_path, epochs, mixture):
    if mixture:
        return
    path = tmp_path / "ids.bin"
    np.arange(1601, dtype=np.uint16).tofile(path)
    loader = fw.WindowLoader(
        fw.WindowDataset(np.memmap(path, np.uint16, "r"), context_length=4), batch_size=4, shuffle=True
    )
    path.rename(tmp_path / "away.bin")
    with pytest.raises(fw.errors.StoreError, match="has changed"):
        next(iter(loader))
    (tmp_path / "away.bin").rename(path)
    assert at(loader) == (0, 0)
    assert [firsts(batch) for batch in loader] == epochs[0]


def test_an_empty_epoch_is_over_at_once():
    with pytest.warns(UserWarning, match="gives no batch"):
        loader = make_loader(batch_size=500)
    assert list(loader) == []
    assert loader.epoch == 1
    loader.load_state_dict(loader.state_dict())
    assert list(loader) == []
    assert loader.epoch == 2


def test_a_place_with_no_batch_left_is_the_next_epochs_start(epochs, mixture):
    small = make_loader(mixture, batch_size=1, drop_last=False)
    list(islice(small, 398))
    loader = make_loader(mixture)
    loader.load_state_dict(small.state_dict())
    batches = [firsts(batch) for batch in loader]
    assert len(batches) == 100
    if not mixture:  # one of a mixture goes on with the two that were left
        assert batches == epochs[1]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_a_copy_begins_where_the_loader_stands(mixture, epochs, duplicate):
    loader = make_loader(mixture)
    iterator = iter(loader)
    for _ in range(7):
        next(iterator)
    other = duplicate(loader)
    assert other.state_dict() == loader.state_dict()
    assert [firsts(batch) for batch in other] == epochs[0][7:]
    assert at(loader) == (0, 28)


def test_states_of_version_1_are_read(mixture, epochs):
    for stop in (0, 3, 99):
        loader = make_loader(mixture)
        iterator = iter(loader)
        list(islice(iterator, stop))
        state = loader.state_dict()
        old = earlier(state, 1)
        resumed = make_loader(mixture)
        resumed.load_state_dict(old)
        again = resumed.state_dict()
        assert same_place(again, state)
        assert again["step"] == (0 if not stop else None)  # which step it was is not in such a state
        assert [firsts(batch) for batch in resumed] == epochs[0][stop:]
    if not mixture:  # it told the end of an epoch
        entry = old["sources"]["data"] | {"drawn": 400, "epoch": 1, "cursor": 0}
        resumed.load_state_dict(old | {"cursor": 400, "sources": {"data": entry}})
        assert [firsts(batch) for batch in resumed] == epochs[1]


def test_states_of_version_2_are_read(mixture, epochs):
    for stop in (0, 3, 99):
        loader = make_loader(mixture)
        iterator = iter(loader)
        list(islice(iterator, stop))
        resumed = make_loader(mixture)
        resumed.load_state_dict(earlier(loader.state_dict(), 2))
        assert same_place(resumed.state_dict(), loader.state_dict())
        assert [firsts(batch) for batch in resumed] == epochs[0][stop:]
        assert [firsts(batch) for batch in resumed] == epochs[1]


def earlier(state, version):
    """A state as an earlier version saved it."""
    new = ("step", "history") if version == 2 else ("step", "history", "start")
    weights = {"a": "7/10", "b": "3/10", "data": "1"}
    sources = {name: source | {"weight": weights[name]} for name, source in state["sources"].items()}
    return {key: value for key, value in state.items() if key not in new} | {"version": version, "sources": sources}


def same_place(one, other):
    return all(one[key] == other[key] for key in one.keys() - {"step", "history"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_iterator_it_inherits(mixture, epochs, prefetch):
    loader = make_loader(mixture, prefetch=prefetch)
    iterator = iter(loader)
    for _ in range(5):
        next(iterator)
    child = os.fork()
    if not child:
        signal.alarm(20)
        rest = [firsts(batch) for batch in iterator]
        os._exit(0 if rest == epochs[0][5:] and at(loader) == (1, 0) else 1)
    assert [firsts(batch) for batch in iterator] == epochs[0][5:]
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("options", ["", ", prefetch=2", ", progress=True"])
def test_pythons_end_is_quiet_with_an_iterator_left(options):
    code = f"""
import numpy as np, foreword as fw
loader = fw.WindowLoader(fw.WindowDataset(np.arange(9000), context_length=4), batch_size=4{options})
loader.load_state_dict(loader.state_dict())
iterators = [iter(loader) for _ in range(3)]
for iterator in iterators:
    next(iterator)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_warned_of_in_a_plain_loop(mixture):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = make_loader(mixture)
        for _ in range(3):
            for _ in loader:
                pass
        loader.load_state_dict(loader.state_dict())
        list(loader)


def test_a_place_waits_again_if_an_error_came_before_its_first_batch(mixture, epochs, monkeypatch):
    loader = make_loader(mixture)
    list(islice(loader, 7))
    loader.set_epoch(2)
    with monkeypatch.context() as patch:
        patch.setattr(fw.WindowDataset, "ids", lambda *_: (_ for _ in ()).throw(OSError("the disk is gone")))
        with pytest.raises(OSError, match="gone"):
            next(iter(loader))
    assert at(loader) == (2, 0)
    assert [firsts(batch) for batch in loader] == epochs[2]
