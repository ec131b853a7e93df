"""The order of an epoch: a permutation, uniform, and independent of other seeds and epochs."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.windows.order import SORTED_BELOW, Permutation

# Below 0.1 per cent by chance; the draws are the same every time, so a test that passes does so for ever.
UNLIKELY = 3.1  # standard normal


def chi_square(counts, freedom=None):
    """How many standard deviations a chi-square of equal chances is from its mean (Wilson–Hilferty)."""
    counts = np.asarray(counts, float)
    expected = counts.sum() / counts.size
    freedom = freedom or counts.size - 1
    x = ((counts - expected) ** 2 / expected).sum()
    return ((x / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


@settings(deadline=None)
@given(n=st.integers(1, 20_000), seed=st.integers(), epoch=st.integers(0, 99))
def test_every_window_once(n, seed, epoch):
    order = Permutation(n, seed=seed, epoch=epoch)
    assert np.array_equal(np.sort(order(np.arange(n))), np.arange(n))


@pytest.mark.parametrize("n", [SORTED_BELOW - 1, SORTED_BELOW, 65_536, 65_537, 1_000_003])
def test_every_window_once_at_the_edges(n):
    assert np.array_equal(np.sort(Permutation(n, seed=1, epoch=2)(np.arange(n))), np.arange(n))


@settings(deadline=None)
@given(n=st.integers(1, 20_000), seed=st.integers(), epoch=st.integers(0, 99))
def test_the_inverse_tells_where_each_window_comes(n, seed, epoch):
    order = Permutation(n, seed=seed, epoch=epoch)
    assert np.array_equal(order.inverse(order(np.arange(n))), np.arange(n))
    assert np.array_equal(order(order.inverse(np.arange(n))), np.arange(n))


@pytest.mark.parametrize("n", [SORTED_BELOW - 1, SORTED_BELOW, 65_536, 65_537, 10**9, 2**40, 2**40 + 2**20 + 1])
def test_the_inverse_at_the_edges(n):
    order = Permutation(n, seed=1, epoch=2)
    places = np.unique(np.concatenate((np.random.default_rng(0).integers(0, n, 5000), [0, n - 1])))
    assert np.array_equal(order.inverse(order(places)), places)


def test_2_to_the_40_windows():
    places = np.random.default_rng(0).integers(0, 2**40, 10_000)
    order = Permutation(2**40, seed=0, epoch=0)
    windows = order(places)
    assert len(np.unique(windows)) == len(np.unique(places))
    assert windows.min() >= 0
    assert windows.max() < 2**40
    assert abs(chi_square(np.bincount(windows >> 34, minlength=64))) < UNLIKELY
    assert order(places[:1]) == windows[:1]


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_orders_of_few_windows_are_as_likely(n):
    orders = {order: i for i, order in enumerate(itertools.permutations(range(n)))}
    counts = [0] * len(orders)
    for seed in range(200 * len(orders)):
        counts[orders[tuple(Permutation(n, seed=seed, epoch=0)(np.arange(n)).tolist())]] += 1
    assert abs(chi_square(counts)) < UNLIKELY


@pytest.mark.parametrize("n", [7, 100, SORTED_BELOW, 5000, 1_000_000])
def test_where_a_window_comes_is_uniform(n):
    """Over seeds: the window at a place, and the distance between two places that follow."""
    bins = min(n, 50)
    for place in (0, 1, n // 2, n - 2):
        at = [Permutation(n, seed=seed, epoch=0)(np.array([place, place + 1])) for seed in range(4000)]
        first, second = np.array(at).T
        assert abs(chi_square(np.bincount(first * bins // n, minlength=bins) / _sizes(n, bins))) < UNLIKELY
        apart = (second - first) % n  # 1 … n − 1
        assert (
            abs(chi_square(np.bincount((apart - 1) * bins // n, minlength=bins)[: bins - (n == bins)])) < UNLIKELY + 1
        )


@pytest.mark.parametrize("n", [1000, 100_000])
def test_one_order_is_spread_evenly(n):
    """Within one epoch: windows against places, in a grid of 20 × 20."""
    windows = Permutation(n, seed=0, epoch=0)(np.arange(n))
    grid = np.bincount(windows * 20 // n * 20 + np.arange(n) * 20 // n, minlength=400)
    assert abs(chi_square(grid, freedom=19 * 19)) < UNLIKELY  # rows and columns are full


@pytest.mark.parametrize("n", [1000, 100_000])
@pytest.mark.parametrize(
    "other", [{"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}, {"seed": 0, "epoch": 0, "name": "b"}]
)
def test_orders_of_other_seeds_epochs_and_names_are_independent(n, other):
    one = Permutation(n, seed=0, epoch=0, name="a")(np.arange(n))
    two = Permutation(n, **other)(np.arange(n))
    grid = np.bincount(one * 20 // n * 20 + two * 20 // n, minlength=400)
    assert abs(chi_square(grid, freedom=19 * 19)) < UNLIKELY  # rows and columns are full
    assert np.count_nonzero(one == two) < 8  # Poisson with mean 1


def test_the_order_is_the_same_everywhere():
    """Fixed numbers: a change would make every saved state lead elsewhere."""
    assert Permutation(10, seed=0, epoch=0)(np.arange(10)).tolist() == [1, 5, 3, 0, 4, 7, 2, 8, 6, 9]
    large = Permutation(1_000_000, seed=7, epoch=3)(np.arange(5))
    assert large.tolist() == [398828, 52647, 659963, 489300, 970356]


def _sizes(n, bins):
    """Windows a bin, relative to their mean."""
    sizes = np.bincount(np.arange(n) * bins // n, minlength=bins)
    return sizes / sizes.mean()
