"""Which tokens a window holds: any stride, tail and documents, packed or not, against plain references."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError, TooShortError
from foreword.windows.arithmetic import Cut, count_windows
from foreword.windows.packing import Packing, best_fit
from windows import reference

TAILS = st.sampled_from(["drop", "pad", "keep"])
DOCUMENTS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


def starts_and_end(documents):
    return np.concatenate(([0], np.cumsum(documents)))


@settings(max_examples=1000, deadline=None)
@given(n=st.integers(0, 200), context_length=st.integers(1, 40), stride=st.integers(1, 60), tail=TAILS)
def test_windows_of_a_stream(n, context_length, stride, tail):
    expected = reference.spans(n, context_length, stride, tail)
    assert count_windows(n, context_length, stride, tail) == len(expected)
    cut = Cut(np.array([0, n]), context_length, stride, tail)
    assert len(cut) == len(expected)
    starts, lengths = cut.spans(np.arange(len(cut)))
    assert starts.tolist() == [start for start, _ in expected]
    if lengths is not None:
        assert lengths.tolist() == [length for _, length in expected]


@settings(max_examples=300, deadline=None)
@given(documents=DOCUMENTS, context_length=st.integers(1, 12), stride=st.integers(1, 15), tail=TAILS)
def test_the_account_counts_every_token(documents, context_length, stride, tail):
    offsets = starts_and_end(documents)
    found = [
        span
        for begin, tokens in zip(offsets, documents, strict=False)
        for span in reference.spans(tokens, context_length, stride, tail, begin=begin)
    ]
    got = Cut(offsets, context_length, stride, tail).account()
    expected = reference.account(found, sum(documents), context_length)
    assert (got.distinct, got.repeated, got.padded, got.dropped) == expected
    assert (got.windows, got.stored) == (len(found), sum(documents))


@settings(max_examples=300, deadline=None)
@given(
    documents=DOCUMENTS,
    context_length=st.integers(1, 12),
    stride=st.integers(1, 15),
    tail=TAILS,
    within=st.sampled_from(["stream", "document"]),
)
def test_tensors_hold_the_windows(documents, context_length, stride, tail, within):
    offsets = starts_and_end(documents)
    ids = np.arange(offsets[-1], dtype=np.uint16) + 1000
    stretches = offsets if within == "document" else offsets[[0, -1]]
    expected = [
        span
        for begin, end in itertools.pairwise(stretches)
        for span in reference.spans(end - begin, context_length, stride, tail, begin=begin)
    ]
    options = {"context_length": context_length, "stride": stride, "tail": tail, "within": within, "offsets": offsets}
    if not expected:
        with pytest.raises(TooShortError):
            fw.WindowDataset(ids, **options)
        return
    data = fw.WindowDataset(ids, **options, pad_id=7)
    assert len(data) == len(expected)
    for i, (start, length) in enumerate(expected):
        fill = 0 if tail == "keep" else context_length - length
        inputs, targets = data[i]
        assert inputs.tolist() == [*ids[start : start + length].tolist(), *[7] * fill]
        assert targets.tolist() == [*ids[start + 1 : start + length + 1].tolist(), *[-100] * fill]
        assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(data[-1][0], data[len(data) - 1][0])


def test_a_batch_of_kept_windows_is_as_long_as_its_longest():
    data = fw.WindowDataset(
        np.arange(12), context_length=8, within="document", offsets=[0, 3, 5, 12], tail="keep", segments=True
    )
    short, longer = list(fw.WindowLoader(data, batch_size=2, drop_last=False))
    assert short["inputs"].tolist() == [[0, 1], [3, 0]]
    assert short["targets"].tolist() == [[1, 2], [4, -100]]
    assert short["cu_seqlens"].tolist() == [[0, 2, 2, 2, 2, 2, 2, 2, 2], [0, 1, 2, 2, 2, 2, 2, 2, 2]]
    assert longer["inputs"].tolist() == [[5, 6, 7, 8, 9, 10]]


def test_2_to_the_40_windows():
    cut = Cut(np.array([0, 2**40 * 3 + 1]), 3, 3, "drop")
    assert len(cut) == 2**40
    assert cut.spans(np.array([2**40 - 1]))[0].tolist() == [3 * (2**40 - 1)]
    told = cut.account()
    assert (told.distinct, told.repeated, told.padded, told.dropped) == (3 * 2**40, 0, 0, 1)


def test_windows_longer_than_every_document():
    options = {"context_length": 8, "within": "document", "offsets": [0, 4, 8, 10]}
    with pytest.raises(TooShortError, match="3 documents, the longest of 4 tokens"):
        fw.WindowDataset(np.arange(10), **options)
    padded = fw.WindowDataset(np.arange(10), **options, tail="pad")
    assert [window[1].tolist() for window in padded] == [
        [1, 2, 3, *[-100] * 5],
        [5, 6, 7, *[-100] * 5],
        [9, *[-100] * 7],
    ]
    assert padded.account().padding == 17 / 24


def test_zero_windows_where_documents_hold_one_token_each():
    options = {"context_length": 2, "within": "document", "offsets": [0, 1, 2, 3]}
    for extra in ({"tail": "pad"}, {"tail": "keep"}, {"packing": "best-fit"}):
        with pytest.raises(TooShortError, match="at least 2 \\(an input and its target\\)"):
            fw.WindowDataset(np.arange(3), **options, **extra)


@settings(max_examples=300, deadline=None)
@given(capacity=st.integers(1, 30), data=st.data())
def test_best_fit_against_an_item_at_a_time(capacity, data):
    lengths = np.array(data.draw(st.lists(st.integers(1, capacity), max_size=60)), np.int64)
    bins = best_fit(lengths, capacity)
    rooms = reference.pack(lengths.tolist(), capacity)
    held = np.bincount(bins, lengths, len(rooms))
    assert sorted(capacity - held) == sorted(rooms)
    assert sorted(set(bins.tolist())) == list(range(len(rooms)))


def test_best_fit_by_hand():
    # 7 and 6 open two bins; 5 opens a third; 4 fits beside 6 and fills it, 3 beside 7, 3 and 2 beside 5.
    assert best_fit(np.array([3, 7, 4, 6, 5, 3, 2]), 10).tolist() == [0, 0, 1, 1, 2, 2, 2]


@settings(max_examples=300, deadline=None)
@given(documents=DOCUMENTS, context_length=st.integers(1, 12))
def test_packing_keeps_every_pair_once_and_never_crosses(documents, context_length):
    offsets = starts_and_end(documents)
    ids = np.arange(offsets[-1]) + 1
    options = {"context_length": context_length, "within": "document", "packing": "best-fit", "offsets": offsets}
    if max(documents) < 2:
        with pytest.raises(TooShortError):
            fw.WindowDataset(ids, **options)
        return
    data = fw.WindowDataset(ids, **options, segments=True)
    pairs = []
    for window in data:
        held = window["targets"] != -100
        assert held.any()
        inputs, targets = window["inputs"][held], window["targets"][held]
        assert torch.equal(targets, inputs + 1)
        assert (window["inputs"][~held] == 0).all()
        pairs += inputs.tolist()
        of_token = np.searchsorted(offsets, inputs.numpy() - 1, side="right") - 1
        assert window["document_ids"][held].tolist() == of_token.tolist()
    expected = [int(ids[i]) for d, begin in zip(documents, offsets, strict=False) for i in range(begin, begin + d - 1)]
    assert sorted(pairs) == expected
    told = data.account()
    assert (told.distinct, told.repeated) == (len(expected), 0)
    assert told.stored == offsets[-1]
    # Only a document that is longer than a window is cut.
    packing = Packing(offsets, context_length)
    _, _, _, _, owner = packing.pieces(np.arange(len(packing)))
    assert all(np.count_nonzero(owner == d) == 1 for d, n in enumerate(documents) if 2 <= n <= context_length + 1)


@settings(max_examples=300, deadline=None)
@given(
    documents=DOCUMENTS,
    context_length=st.integers(1, 12),
    stride=st.integers(1, 15),
    tail=TAILS,
    cut=st.sampled_from(["stream", "document", "packed"]),
)
def test_a_mask_from_segments_is_block_diagonal(documents, context_length, stride, tail, cut):
    offsets = starts_and_end(documents)
    ids = np.arange(offsets[-1])
    options = {"context_length": context_length, "offsets": offsets, "segments": True}
    if cut == "packed":
        options |= {"within": "document", "packing": "best-fit"}
    else:
        options |= {"within": cut, "stride": stride, "tail": "pad" if tail == "keep" else tail}
    try:
        data = fw.WindowDataset(ids, **options)
    except TooShortError:
        return
    for window in data:
        held = window["targets"] != -100
        owner = torch.from_numpy(np.searchsorted(offsets, window["inputs"].numpy(), side="right") - 1)
        owner[~held] = -1
        mask = window["document_ids"][:, None] == window["document_ids"][None, :]
        assert torch.equal(mask, owner[:, None] == owner[None, :])
        # Positions count from the start of each block, and cu_seqlens tells the same blocks.
        starts = [i for i in range(context_length) if i == 0 or owner[i] != owner[i - 1]]
        assert window["positions"].tolist() == [i - max(s for s in starts if s <= i) for i in range(context_length)]
        assert window["cu_seqlens"].tolist() == [*starts, *[context_length] * (context_length + 1 - len(starts))]
        assert window["cu_seqlens"].dtype == torch.int32


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tail": "wrap"}, "tail is not known"),
        ({"within": "sentence"}, "within is not known"),
        ({"packing": "first-fit"}, "packing is not known"),
        ({"packing": "best-fit"}, "whole documents side by side"),
        ({"packing": "best-fit", "within": "document", "tail": "drop"}, "whole documents side by side"),
        ({"packing": "best-fit", "within": "document", "stride": 1}, "whole documents side by side"),
        ({"within": "document"}, "an array has no documents"),
        ({"segments": True}, "an array has no documents"),
        ({"within": "document", "offsets": [0, 5, 3, 10]}, "offsets must be rising"),
        ({"within": "document", "offsets": [0, 2**63 - 1, -(2**63), -1, 10]}, "offsets must be rising"),  # by wrapping
        ({"within": "document", "offsets": [0, 5]}, "offsets must be rising"),
        ({"within": "document", "offsets": [[0, 10]]}, "offsets must be rising"),
    ],
)
def test_a_cut_that_can_not_be(options, problem):
    with pytest.raises(ArgumentError, match=problem):
        fw.WindowDataset(np.arange(10), context_length=2, **options)


def test_an_index_beyond_the_windows():
    data = fw.WindowDataset(np.arange(10), context_length=2)
    for index in (4, -5):
        with pytest.raises(IndexError, match="of 4"):
            data[index]


@settings(max_examples=300, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    context_length=st.integers(1, 8),
    stride=st.integers(1, 10),
    cut=st.sampled_from(["stream", "document", "packed"]),
    tail=st.sampled_from(["drop", "pad", "keep"]),
    chosen=st.integers(0, 2**12 - 1),
)
@example(lengths=[5, 1], context_length=4, stride=4, cut="stream", tail="pad", chosen=2)  # its only token is a target
def test_the_windows_that_hold_a_document(lengths, context_length, stride, cut, tail, chosen):
    """Against looking at the inputs of each window."""
    offsets = np.cumsum([0, *lengths])
    options = {"stride": stride, "tail": tail, "within": "document" if cut == "document" else "stream"}
    if cut == "packed":
        options = {"within": "document", "packing": "best-fit"}
    try:
        windows = fw.WindowDataset(np.arange(offsets[-1]), context_length=context_length, offsets=offsets, **options)
    except TooShortError:
        return
    documents = [d for d in range(len(lengths)) if chosen >> d & 1]
    expected = []
    for window in range(len(windows)):
        _, _, starts, held = windows.spans(np.array([window]))
        tokens = {token for start, length in zip(starts, held, strict=True) for token in range(start, start + length)}
        if any(offsets[d] <= token < offsets[d + 1] for d in documents for token in tokens):
            expected.append(window)
    assert windows.holding(np.array(documents, int)).tolist() == expected
