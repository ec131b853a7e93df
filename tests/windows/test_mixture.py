"""Which source comes next: exact shares in every prefix, also where weights change, and the table of it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreword.errors import ArgumentError
from foreword.windows import timetable
from foreword.windows.mixture import Schedule
from foreword.windows.timetable import Timetable, TooLong, take_turns
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
        with pytest.raises(TooLong):
            table.counts(10)


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
