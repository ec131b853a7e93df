"""Which source comes next: exact shares in every prefix, also where weights change, and the table of it."""

import contextlib
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import foreword as fw
import interrupts
from foreword.errors import ArgumentError
from foreword.windows import timetable
from foreword.windows.mixture import Schedule
from foreword.windows.timetable import Timetable, take_turns
from foreword.windows.weights import Weights, exact_weights

NAMES = "abcde"


@st.composite
def weights(draw, most=4):
    """Weights of a few sources in a few pieces; in some pieces a source has none."""
    k = draw(st.integers(1, most))
    pieces = []
    begin = 0
    for _ in range(draw(st.integers(1, 4))):
        parts = draw(st.lists(st.integers(0, 9), min_size=k, max_size=k).filter(any))
        pieces.append((begin, tuple(Fraction(part, sum(parts)) for part in parts)))
        begin += draw(st.integers(1, 200))
    return Weights(tuple(begin for begin, _ in pieces), tuple(shares for _, shares in pieces))


def targets(weights, samples):
    """What each source should have given after 0, 1, … samples, by adding up: [samples + 1][sources]."""
    total, found = [Fraction(0)] * weights.sources, []
    for n in range(samples + 1):
        found.append(list(total))
        shares = [s for b, s in zip(weights.begins, weights.shares, strict=True) if b <= n][-1]
        total = [t + share for t, share in zip(total, shares, strict=True)]
    return found


def one_by_one(weights, samples):
    return take_turns(weights, [0] * weights.sources, samples)


@settings(max_examples=300, deadline=None)
@given(weights=weights())
@example(weights=Weights((0, 1), ((Fraction(1), Fraction(0)), (Fraction(1, 3), Fraction(2, 3)))))
def test_each_source_is_within_one_sample_of_its_share_in_every_prefix(weights):
    samples = weights.begins[-1] + 100
    order, counts = one_by_one(weights, samples), [0] * weights.sources
    bound = 1 - Fraction(1, 2 * max(1, weights.sources - 1))
    for source, target in zip(order, targets(weights, samples)[1:], strict=True):
        counts[source] += 1
        assert max(abs(c - t) for c, t in zip(counts, target, strict=True)) <= (bound if weights.sources > 1 else 0)
        assert [Fraction(weights.sum(i, sum(counts)), weights.whole) for i in range(len(counts))] == target
    assert Schedule(weights, counts).fits()


@settings(max_examples=300, deadline=None)
@given(weights=weights(), start=st.integers(0, 900), samples=st.integers(0, 300))
def test_the_table_is_the_order(weights, start, samples):
    """Against the order taken one by one: sources, counts, and when each source gives its nth sample."""
    table, order = Timetable(weights), one_by_one(weights, 1200)
    assert np.array_equal(table.sources(start, samples), order[start : start + samples])
    assert table.counts(start) == np.bincount(order[:start], minlength=weights.sources).tolist()
    for i in range(weights.sources):
        places = np.flatnonzero(order == i)
        assert np.array_equal(table.places(i, np.arange(len(places))), places)
    schedule = Schedule(weights, [0] * weights.sources)
    schedule.skip(start)
    assert schedule.counts == table.counts(start)
    assert np.array_equal(schedule.take(samples), order[start : start + samples])


def test_counts_fit_a_schedule_while_each_is_within_one_of_its_share():
    half = exact_weights("ab", None)
    assert Schedule(half, [1, 0]).fits()
    assert Schedule(half, [2, 1]).fits()
    assert not Schedule(half, [2, 0]).fits()  # one too many, exactly


def test_patterns_repeat_between_changes_far_apart(monkeypatch):
    """A table of some hundred samples for millions; seldom sources, too."""
    far = Weights(
        (0, 300_007, 700_001),
        (
            (Fraction(7, 10), Fraction(3, 10), Fraction(0)),
            (Fraction(1, 3), Fraction(1, 6), Fraction(1, 2)),
            (Fraction(0), Fraction(1, 100), Fraction(99, 100)),
        ),
    )
    order = one_by_one(far, 900_000)
    monkeypatch.setattr(timetable, "LONGEST", 5000)
    table = Timetable(far)
    for start in (0, 299_000, 300_000, 699_990, 899_000):
        assert np.array_equal(table.sources(start, 1000), order[start : start + 1000])
        assert table.counts(start) == np.bincount(order[:start], minlength=3).tolist()
    for i in range(3):
        places = np.flatnonzero(order == i)
        nth = np.arange(0, len(places), 1009)
        assert np.array_equal(table.places(i, nth), places[nth])


def test_what_can_not_be_tabulated_is_refused_and_stays_refused(monkeypatch):
    monkeypatch.setattr(timetable, "LONGEST", 1000)
    table = Timetable(exact_weights("ab", {"a": 0.12345, "b": 0.87655}))
    for _ in range(2):
        with pytest.raises(OverflowError):
            table.counts(10)


def test_a_table_that_was_interrupted_goes_on(monkeypatch):
    """Ctrl-C while it is gone through, in a long notebook."""
    far = Weights(
        (0, 300, 700), ((Fraction(1, 3), Fraction(2, 3)), (Fraction(3, 7), Fraction(4, 7)), (Fraction(1, 2),) * 2)
    )
    order = one_by_one(far, 1000)
    for after in range(1, 9):
        left = iter(range(after))

        def interrupted(*args, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return take_turns(*args)

        table = Timetable(far)
        with monkeypatch.context() as patch:
            patch.setattr(timetable, "take_turns", interrupted)
            with contextlib.suppress(KeyboardInterrupt):
                table.reach(1000)
        assert np.array_equal(table.sources(0, 1000), order)


def test_counts_that_are_not_on_the_table_go_their_own_way():
    """A state may stand at counts that these weights would not have left."""
    half = exact_weights("ab", None)
    assert Schedule(half, [0, 0]).take(4).tolist() == [0, 1, 0, 1]
    assert Schedule(half, [0, 1]).take(4).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ([(1, {"a": 1, "b": 1})], "must begin at 0"),
        ([(0, {"a": 1}), (0, {"b": 1})], "must begin at 0"),
        ([(0, {"a": 1}), (10, {"a": 1})], "needs a weight in one of the pieces"),
        ([(0, {"a": 1, "b": 0})], "the weight of 'b' must be above 0"),
        ([(0, {"a": 1, "b": 1}), (5, {})], "are pairs of a number of samples"),
        ([(0.5, {"a": 1, "b": 1})], "the sample from which weights hold must be an integer"),
        ([{"a": 1, "b": 1}], "are pairs of a number of samples"),
        ([], "must begin at 0"),
    ],
)
def test_weights_that_can_not_be(weights, problem):
    with pytest.raises((ArgumentError, TypeError), match=problem):
        exact_weights("ab", weights)


def numbered(windows, name):
    """Window i has the inputs [1000 · name + i, …]."""
    return fw.WindowDataset(1000 * name + np.arange(windows + 2), context_length=2, stride=1)


def given_of(batch):
    """The sources of a batch's windows, by their place in the names."""
    return (batch[0][:, 0] // 1000).tolist()


@settings(max_examples=60, deadline=None)
@given(luck=st.randoms(use_true_random=False), weights=weights())
def test_a_loader_keeps_to_a_schedule_through_stops(luck, weights):
    """In every prefix each source has given its exact share, within one, however often a run is stopped and resumed."""
    names = [n for i, n in enumerate(NAMES[: weights.sources]) if any(shares[i] for shares in weights.shares)]
    kept = [i for i in range(weights.sources) if any(shares[i] for shares in weights.shares)]
    pieces = [
        (begin, {NAMES[i]: float(shares[i] * 2520) for i in kept if shares[i]})
        for begin, shares in zip(weights.begins, weights.shares, strict=True)
    ]
    data = {name: numbered(luck.randint(3, 40), NAMES.index(name)) for name in names}
    samples, state, order = weights.begins[-1] + 60, None, []
    while len(order) < samples:
        world_size, batch_size = luck.choice([1, 2]), luck.randint(1, 9)
        loaders = [
            fw.WindowLoader(
                data, weights=pieces, batch_size=batch_size, rank=rank, world_size=world_size,
                shuffle=True, drop_last=False,
            )
            for rank in range(world_size)
        ]  # fmt: skip
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
        left = sum(map(len, data.values())) - (state["cursor"] if state else 0)
        iterators = [iter(loader) for loader in loaders]
        now = []
        for _ in range(luck.randint(1, 30)):
            now += [
                source
                for iterator in iterators
                for batch in [next(iterator, None)]
                if batch
                for source in given_of(batch)
            ]
        order += now[:left]  # without what ranks that were left short repeated
        state = json.loads(json.dumps(loaders[0].state_dict()))
    exact = exact_weights(names, pieces)
    counts = dict.fromkeys(kept, 0)
    for n, source in enumerate(order[:samples], 1):
        counts[source] += 1
        for i, (_, count) in enumerate(counts.items()):
            assert abs(count - Fraction(exact.sum(i, n), exact.whole)) < 1
    if len(names) > 1:
        assert order[:samples] == [kept[i] for i in one_by_one(exact, samples)]


def test_a_schedule_adds_a_source_and_drops_one():
    data = {name: numbered(60, i) for i, name in enumerate("abc")}
    weights = [(0, {"a": 1, "b": 1}), (20, {"b": 1, "c": 3}), (60, {"c": 1})]
    loader = fw.WindowLoader(data, batch_size=10, weights=weights)
    counts = [np.bincount(given_of(batch), minlength=3).tolist() for batch in loader]
    assert np.array(counts[:2]).sum(0).tolist() == [10, 10, 0]
    assert np.array(counts[2:6]).sum(0).tolist() == [0, 10, 30]
    assert np.array(counts[6:]).sum(0).tolist() == [0, 0, 120]


def test_other_pieces_hold_from_where_they_are_given():
    """A schedule that is changed in mid-run counts its samples from there on; the same one goes on."""
    data = {name: numbered(60, i) for i, name in enumerate("ab")}
    weights = [(0, {"a": 1}), (50, {"b": 1})]
    loader = fw.WindowLoader(data, batch_size=10, weights=weights)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    same = fw.WindowLoader(data, batch_size=10, weights=[(0, {"a": 7}), (50, {"b": 2})])
    same.load_state_dict(loader.state_dict())
    assert [sum(given_of(batch)) for batch in same][:3] == [0, 0, 10]
    other = fw.WindowLoader(data, batch_size=10, weights=[(0, {"a": 1}), (30, {"b": 1})])
    other.load_state_dict(loader.state_dict())
    assert [sum(given_of(batch)) for batch in other][:4] == [0, 0, 0, 10]


def test_ctrl_c_at_any_line_leaves_no_half_of_a_timetable():
    weights = Weights((0, 40), ((Fraction(3, 4), Fraction(1, 4)), (Fraction(1, 3), Fraction(2, 3))))
    expected = timetable.Timetable(weights).sources(0, 100)
    table = timetable.Timetable(weights)

    def work():
        nonlocal table
        table = timetable.Timetable(weights)
        table.sources(0, 100)

    for number in interrupts.at_each_line([timetable], work):
        assert np.array_equal(table.sources(0, 100), expected), number
        assert table.counts(100) == np.bincount(expected).tolist(), number
