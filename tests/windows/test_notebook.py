"""Windows give exactly what the notebook's GPTDatasetV1 and torch's DataLoader give."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError, TooShortError
from foreword.tokens.preparing.kinds import looks_like_a_path
from windows.reference import notebook_loader, same_batches


@settings(deadline=None)
@given(
    ids=st.lists(st.integers(0, 50256), min_size=2, max_size=120),
    context_length=st.integers(1, 24),
    stride=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:the loader gives no batch")
def test_batches_are_the_notebooks(ids, context_length, stride, batch_size, drop_last):
    assume(len(ids) > context_length)
    theirs = notebook_loader(
        ids, batch_size=batch_size, context_length=context_length, stride=stride, drop_last=drop_last
    )
    data = fw.WindowDataset(np.array(ids, np.uint16), context_length=context_length, stride=stride)
    ours = fw.WindowLoader(data, batch_size=batch_size, drop_last=drop_last)
    assert len(data) == len(theirs.dataset)
    assert len(ours) == len(theirs)
    assert same_batches(list(ours), list(theirs))


@settings(deadline=None)
@given(text=st.text(min_size=8, max_size=80), stride=st.integers(1, 6), batch_size=st.integers(1, 4))
@pytest.mark.filterwarnings("ignore:the loader gives no batch")
def test_one_call_from_text_to_the_notebooks_batches(text, stride, batch_size):
    ids = fw.get_tokenizer("gpt2").encode(text, disallowed_special=()).tolist()
    assume(len(ids) > 4)
    assume(not looks_like_a_path(text))  # refused, since a path can only be meant as one
    loader = fw.create_dataloader(text, batch_size=batch_size, context_length=4, stride=stride, shuffle=False)
    assert same_batches(
        list(loader), list(notebook_loader(ids, batch_size=batch_size, context_length=4, stride=stride))
    )


def test_stride_1_takes_no_memory():
    ids = np.arange(5_000_000, dtype=np.uint32) % 50_257
    next(iter(fw.create_dataloader("one two three", batch_size=1, context_length=1, stride=1)))  # imports
    tracemalloc.start()
    data = fw.WindowDataset(ids, context_length=256, stride=1)
    built = tracemalloc.get_traced_memory()[1]
    loader = fw.WindowLoader(data, batch_size=8, shuffle=True)
    inputs, _ = next(iter(loader))
    first_batch = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == 5_000_000 - 256
    assert inputs.shape == (8, 256)
    assert built < 10_000  # bytes; the notebook's way needs about 20 GB
    assert first_batch < 4 << 20  # a block of batches, and what computes it


@pytest.mark.parametrize(("tokens", "context_length"), [(0, 1), (1, 1), (4, 4), (256, 1024)])
def test_too_short_a_text(tokens, context_length):
    with pytest.raises(TooShortError) as caught:
        fw.WindowDataset(np.zeros(tokens, np.uint16), context_length=context_length)
    assert f"{tokens:,} token" in str(caught.value)
    assert f"at least {context_length + 1:,}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_too_short_a_text_in_one_call():
    with pytest.raises(TooShortError, match="3 tokens"):
        fw.create_dataloader("Every effort moves", context_length=4)


@pytest.mark.parametrize("bad", [0, -1])
@pytest.mark.parametrize("name", ["stride", "context_length"])
def test_a_cut_below_one(name, bad):
    cut = {"context_length": 4, "stride": 4} | {name: bad}
    with pytest.raises(ArgumentError, match=f"{name} must be at least 1"):
        fw.WindowDataset(np.arange(100), **cut)
    with pytest.raises(ArgumentError, match=f"{name} must be at least 1"):
        fw.create_dataloader("A text of several words.", batch_size=1, **cut)


@pytest.mark.parametrize("bad", [1.5, "4", True])
def test_a_cut_that_is_no_integer(bad):
    with pytest.raises(TypeError, match="context_length must be an integer"):
        fw.WindowDataset(np.arange(100), context_length=bad)


@pytest.mark.parametrize("ids", [np.zeros((2, 3), int), np.zeros(9), np.array(["a", "b"])])
def test_ids_that_are_none(ids):
    with pytest.raises(ArgumentError, match="1-D array of integers"):
        fw.WindowDataset(ids, context_length=1)
