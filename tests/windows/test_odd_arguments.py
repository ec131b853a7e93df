"""Arguments that nobody means: one error of ours each, where they are given."""

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, ArgumentTypeError, StoreError


def data(**options):
    return fw.WindowDataset(np.arange(401), context_length=4, **options)


def loader(**options):
    return fw.WindowLoader(data(), batch_size=4, **options)


@pytest.mark.parametrize(
    "weights",
    [{"a": "1", "b": 1}, {"a": True, "b": 1}, {"a": None, "b": 1}, {"a": [1], "b": 1}, [(0, {"a": "x", "b": 1})]],
    ids=repr,
)
def test_weights_that_are_no_numbers(weights):
    with pytest.raises(ArgumentTypeError, match="the weight of 'a' must be a number"):
        fw.WindowLoader({"a": data(), "b": data()}, weights=weights, batch_size=4)


def test_weights_of_no_kind():
    with pytest.raises(ArgumentError, match="weights that change are pairs"):
        fw.WindowLoader({"a": data(), "b": data()}, weights=5, batch_size=4)
    for kind in (np.float32, np.int8):  # any type of numbers will do
        fw.WindowLoader({"a": data(), "b": data()}, weights={"a": kind(1), "b": kind(3)}, batch_size=4)


@pytest.mark.parametrize(
    "given",
    [np.arange(100), {"web": np.arange(100)}, {"web": None}, "store", None],
    ids=lambda given: type(given).__name__,
)
def test_what_has_no_windows(given):
    with pytest.raises(ArgumentTypeError, match="WindowDataset"):
        fw.WindowLoader(given, batch_size=4)


@pytest.mark.parametrize("offsets", [[0, 5], [0, 5, 3, 401], [1, 401], [0, 401.0], "x"], ids=repr)
def test_offsets_are_looked_at_whether_or_not_windows_need_them(offsets):
    with pytest.raises(ArgumentError, match="offsets must be rising integers"):
        data(offsets=offsets)


@pytest.mark.parametrize("state", [None, "x", 5, []], ids=repr)
def test_what_is_no_state(state):
    ours = loader()
    with pytest.raises(StoreError, match="no state of a loader"):
        ours.load_state_dict(state)
    assert sum(1 for _ in ours) == 25


@pytest.mark.parametrize("index", [[0, 1], np.array([1, 2]), np.array([[1]]), np.array([])], ids=repr)
def test_several_windows_at_once(index):
    with pytest.raises(ArgumentTypeError, match="the index of a window must be an integer"):
        data()[index]


def test_a_token_id_below_0_at_padding():
    with pytest.raises(ArgumentError, match="pad_id must be at least 0"):
        data(tail="pad", pad_id=-100)


@pytest.mark.parametrize("device", ["nope", "cuda:99", 5.5, "npu"], ids=repr)
@pytest.mark.parametrize("options", [{}, {"compact": True}, {"prefetch": 1}], ids=repr)
def test_devices_that_are_not_there(device, options):
    pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match="batches can't go to this device"):
        next(iter(loader(device=device, **options)))
