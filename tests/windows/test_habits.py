"""Brute force: loaders of drawn shapes under the habits of drawn clients, against the orders of their epochs.

Whatever the loops do, epoch e is the e-th order, as far as it was gone through; what a run that was stopped and resumed
hands out is what follows in the run that was not.
"""

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foreword as fw

pytestmark = pytest.mark.torch

EPOCHS = 40
HABITS = ["for", "counted", "broken off", "evaluating", "told the epoch", "stopped", "stopped, others go on"]


class Ranks:
    """Loaders of all ranks, stepped together: each step gives the windows of all, in order."""

    def __init__(self, make, *, batch_size, world_size, drop_last, prefetch, state=None):
        self.drop_last, self.step = drop_last, batch_size * world_size
        self.world_size = world_size
        self.loaders = [
            make(batch_size=batch_size, world_size=world_size, rank=rank, drop_last=drop_last, prefetch=prefetch)
            for rank in range(world_size)
        ]
        for loader in self.loaders:
            if state is not None:
                loader.load_state_dict(state)

    def __iter__(self):
        for batches in zip(*self.loaders, strict=True):
            assert all(len(inputs) for inputs, _ in batches)
            yield [int(first) for inputs, _ in batches for first in inputs[:, 0]]

    @property
    def state(self):
        states = [json.dumps(loader.state_dict()) for loader in self.loaders]
        assert len(set(states)) == 1
        return json.loads(states[0])

    def set_epoch(self, epoch):
        for loader in self.loaders:
            loader.set_epoch(epoch)

    def steps(self, order, start=0):
        """What the steps from a place of an epoch's order on hand out."""
        for at in range(start, len(order), self.step):
            windows = order[at : at + self.step]
            if len(windows) < self.step and self.drop_last:
                return
            missing = max(0, self.world_size - len(windows))
            yield windows + [order[i % len(order)] for i in range(missing)]


def single(windows, shuffle):
    data = fw.WindowDataset(np.arange(windows + 2), context_length=2, stride=1)
    return lambda **options: fw.WindowLoader(data, shuffle=shuffle, seed=7, **options)


def mixture(windows, shuffle):
    sizes = {"a": windows, "b": windows // 2 + 1}
    data = {
        name: fw.WindowDataset(1000 * i + np.arange(n + 2), context_length=2, stride=1)
        for i, (name, n) in enumerate(sizes.items())
    }
    return lambda **options: fw.WindowLoader(data, shuffle=shuffle, seed=7, weights={"a": 0.6, "b": 0.4}, **options)


def play(make, luck, *, drop_last):
    """A run of many epochs, each by another habit, with everything that it hands out compared."""
    fresh = make(batch_size=1)
    orders = [[int(inputs[0, 0]) for inputs, _ in fresh] for _ in range(EPOCHS)]

    def others(state=None):
        return Ranks(
            make,
            batch_size=luck.randint(1, 5),
            world_size=luck.choice([1, 1, 2, 3]),
            drop_last=drop_last,
            prefetch=luck.choice([0, 0, 0, 2]),
            state=state,
        )

    ranks = others()
    epoch = cursor = 0
    for _ in range(8):
        expected = list(ranks.steps(orders[epoch], cursor))
        while not expected:  # nothing is left of the epoch
            if not list(ranks.steps(orders[0])):
                return
            epoch, cursor = epoch + 1, 0
            expected = list(ranks.steps(orders[epoch]))
        habit, stop = luck.choice(HABITS), luck.randint(1, len(expected))
        evaluate = luck.randint(0, 2)
        seen = []
        if habit == "told the epoch":
            ranks.set_epoch(epoch)
        iterator = iter(ranks)
        for windows in iterator:
            seen.append(windows)
            done = len(seen)
            if habit == "evaluating" and done < len(expected) and luck.random() < 0.3:  # the last batch ends the epoch
                inner = iter(ranks)
                for evaluated, following in zip(islice(inner, evaluate), ranks.steps(orders[epoch + 1]), strict=False):
                    assert evaluated == following
                inner.close()
            at = ranks.state
            if done < len(expected):
                assert (at["epoch"], at["cursor"]) == (epoch, min(cursor + done * ranks.step, len(orders[epoch])))
            else:
                assert (at["epoch"], at["cursor"]) == (epoch + 1, 0)
            if habit == "counted" and done == len(expected):
                break
            if habit in ("broken off", "stopped", "stopped, others go on") and done == stop:
                break
        iterator.close()
        finished = len(seen) == len(expected)
        assert seen == expected[: len(seen)]
        assert finished or habit in ("broken off", "stopped", "stopped, others go on")
        if habit.startswith("stopped"):
            state = ranks.state
            epoch, cursor = state["epoch"], state["cursor"]
            if habit == "stopped":
                for loader in ranks.loaders:
                    loader.load_state_dict(state)
            else:
                ranks = others(state)
        else:
            epoch, cursor = epoch + 1, 0


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.filterwarnings("ignore:the loader gives no batch")
@pytest.mark.filterwarnings("ignore:a place that was loaded is given up")
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(windows=st.integers(1, 60), shuffle=st.booleans(), luck=st.randoms(use_true_random=False))
def test_any_habits_over_one_source(windows, shuffle, drop_last, luck):
    play(single(windows, shuffle), luck, drop_last=drop_last)


@pytest.mark.filterwarnings("ignore:a place that was loaded is given up")
@settings(max_examples=40, deadline=None)
@given(windows=st.integers(1, 40), shuffle=st.booleans(), luck=st.randoms(use_true_random=False))
def test_any_habits_over_a_mixture(windows, shuffle, luck):
    play(mixture(windows, shuffle), luck, drop_last=False)
