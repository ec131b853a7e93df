"""From windows to batches: widened or compact, masked or not, they are what a loop over lists gives."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import foreword as fw
from foreword.errors import ArgumentError
from foreword.windows.dataset import IGNORE

pytestmark = pytest.mark.torch

DTYPES = ["u1", "<u2", ">u2", "<u4", "<i8"]


def slow_batch(windows, ends):
    """Windows, lists of T + 1 ids, as two lists of lists; the targets after an id of ``ends``, one each, left out."""
    inputs = [ids[:-1] for ids in windows]
    targets = [
        [IGNORE if before == end else after for before, after in itertools.pairwise(ids)]
        for ids, end in zip(windows, ends, strict=True)
    ]
    return inputs, targets


def as_lists(batches):
    return [tuple(part.tolist() for part in batch) for batch in batches]


@st.composite
def shapes(draw):
    T = draw(st.integers(1, 9))
    return {
        "T": T,
        "S": draw(st.integers(1, 12)),
        "B": draw(st.integers(1, 6)),
        "dtype": draw(st.sampled_from(DTYPES)),
        "ids": draw(st.lists(st.integers(0, 3), min_size=T + 1, max_size=90)),
        "drop_last": draw(st.booleans()),
        "prefetch": draw(st.sampled_from([0, 0, 2])),
        "device": draw(st.sampled_from([None, None, "cpu"])),
        "widened": draw(st.sampled_from([1, 20, 1 << 13])),  # tokens at a time
        "block": draw(st.sampled_from([1, 40, 1 << 17])),
        "halves": draw(st.booleans()),  # a mixture
    }


@pytest.mark.filterwarnings("ignore:the loader gives no batch")
@settings(max_examples=150, deadline=None)
@given(shape=shapes(), mode=st.sampled_from(["plain", "masked", "compact"]))
def test_batches_are_those_of_a_loop_over_lists(shape, mode):
    T, S, B, ids = shape["T"], shape["S"], shape["B"], shape["ids"]
    options = {"context_length": T, "stride": S}
    masked = None
    if mode == "masked":
        options |= {"mask_end_of_text": True, "end_of_text_id": 2}
        masked = 2
    data = fw.WindowDataset(np.array(ids, shape["dtype"]), **options)
    windows = [ids[i : i + T + 1] for i in range(0, len(ids) - T, S)]
    ends = [masked] * len(windows)
    if shape["halves"]:  # of two sources, one leaves no target out
        reverse = ids[::-1]
        data = {"a": data, "b": fw.WindowDataset(np.array(reverse, shape["dtype"]), context_length=T, stride=S)}
        windows += [reverse[i : i + T + 1] for i in range(0, len(ids) - T, S)]
        ends += [None] * (len(windows) - len(ends))
    with pytest.MonkeyPatch.context() as patch:
        for name, key in (("WIDENED", "widened"), ("BLOCK", "block"), ("WHOLE", "block")):
            patch.setattr(f"foreword.windows.batches.{name}_TOKENS", shape[key])
        loader = fw.WindowLoader(
            data,
            batch_size=B,
            drop_last=shape["drop_last"],
            prefetch=shape["prefetch"],
            device=shape["device"],
            compact=mode == "compact",
        )
        batches = list(loader)  # kept until the epoch is over: nothing may be written into them meanwhile
    if mode == "compact":
        stored = np.empty(0, np.dtype(shape["dtype"]).newbyteorder("="))
        own = torch.int64 if shape["device"] else torch.from_numpy(stored).dtype
        for inputs, targets in batches:
            assert inputs.dtype == targets.dtype == own
            assert inputs.untyped_storage().data_ptr() == targets.untyped_storage().data_ptr()
            assert targets.storage_offset() == inputs.storage_offset() + 1
            assert inputs.stride() == targets.stride() == (T + 1, 1)
    else:
        assert all(part.dtype == torch.int64 and part.is_contiguous() for batch in batches for part in batch)
    order = fw.WindowLoader(data, batch_size=B, drop_last=shape["drop_last"]).batch_sampler  # another test's matter
    expected = [slow_batch([windows[i] for i in batch], [ends[i] for i in batch]) for batch in order]
    assert as_lists(batches) == expected


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_compact_batch_from_the_dataset_is_that_of_the_loader(device):
    data = fw.WindowDataset(np.arange(101, dtype=np.uint16), context_length=4)
    loader = fw.WindowLoader(data, batch_size=8, compact=True, device=device)
    theirs = DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)
    for ours, other in zip(fw.WindowLoader(data, batch_size=8, compact=True, device=device), theirs, strict=True):
        for one, two in zip(ours, other, strict=True):
            assert (one.dtype, one.stride(), one.tolist()) == (two.dtype, two.stride(), two.tolist())


def test_a_state_goes_on_compact_or_not():
    data = fw.WindowDataset(np.arange(401, dtype=np.uint16), context_length=4)
    plain = fw.WindowLoader(data, batch_size=8, shuffle=True)
    iterator = iter(plain)
    for _ in range(5):
        next(iterator)
    compact = fw.WindowLoader(data, batch_size=8, shuffle=True, compact=True)
    compact.load_state_dict(plain.state_dict())
    assert as_lists(compact) == as_lists(iterator)


@pytest.mark.parametrize(
    "options",
    [
        {"tail": "pad"},
        {"tail": "keep"},
        {"within": "document", "packing": "best-fit"},
        {"segments": True},
        {"mask_end_of_text": True, "end_of_text_id": 3},
    ],
)
def test_what_ids_alone_do_not_say_is_not_compact(options):
    data = fw.WindowDataset(
        np.arange(40),
        context_length=4,
        **options,
        **({"offsets": [0, 7, 40]} if "segments" in options or "within" in options else {}),
    )
    with pytest.raises(ArgumentError, match="compact batches are the stored ids alone"):
        fw.WindowLoader(data, batch_size=2, compact=True)


def test_compact_sources_have_one_dtype():
    data = {dtype: fw.WindowDataset(np.arange(40, dtype=dtype), context_length=4) for dtype in ("u2", "i8")}
    with pytest.raises(ArgumentError, match="ids of one dtype"):
        fw.WindowLoader(data, batch_size=2, compact=True)


# ---------------------------------------------------------------- targets after an end of text


def test_the_target_after_an_end_of_text_is_left_out_by_the_stores_own_id(tmp_path):
    store = fw.prepare(["a b", "c", "d e f"], tmp_path / "store")
    end = store.tokenizer.end_of_text_id
    ids = store[:].tolist()
    data = fw.WindowDataset(store, context_length=3, stride=1, mask_end_of_text=True)
    assert data.end_of_text_id == store.end_of_text_id == end
    for i, (inputs, targets) in enumerate(data):
        assert inputs.tolist() == ids[i : i + 3]
        for before, after, target in zip(ids[i : i + 3], ids[i + 1 : i + 4], targets.tolist(), strict=True):
            assert target == (IGNORE if before == end else after)
    assert any(end in targets.tolist() for _, targets in data)  # to foretell an end is learned
    logits = torch.zeros(3, store.vocab_size, requires_grad=True)
    torch.nn.functional.cross_entropy(logits, data[1][1]).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [id_ != end for id_ in ids[1:4]]


def test_a_store_knows_its_end_of_text_by_name_too(tmp_path):
    named = fw.prepare(["a", "b c"], tmp_path / "named", append_end_of_text="<|endoftext|>")
    assert named.end_of_text_id == 50256
    without = fw.prepare(["a", "b c d e"], tmp_path / "without", append_end_of_text=False)
    assert without.end_of_text_id is None
    with pytest.raises(ArgumentError, match="which id ends a text is not known"):
        fw.WindowDataset(without, context_length=2, mask_end_of_text=True)
    given = fw.WindowDataset(without, context_length=2, mask_end_of_text=True, end_of_text_id=int(without[0]))
    assert given[0][1].tolist()[0] == IGNORE


def test_lengths_and_texts_do_not_take_masked_targets_for_padding():
    ids = np.array([5, 6, 2, 7, 8, 2, 9])
    data = fw.WindowDataset(ids, context_length=4, tail="keep", mask_end_of_text=True, end_of_text_id=2)
    assert data.lengths(np.arange(2)).tolist() == [4, 2]
    assert [part.tolist() for part in data[1]] == [[8, 2], [2, IGNORE]]  # two long, though it ends in −100
    loader = fw.WindowLoader(data, batch_size=1)
    assert as_lists(loader) == [([[5, 6, 2, 7]], [[6, 2, IGNORE, 8]]), ([[8, 2]], [[2, IGNORE]])]
    assert loader.account().last == ("8 2",)
    padded = fw.WindowDataset(ids, context_length=4, tail="pad", mask_end_of_text=True, end_of_text_id=2, pad_id=2)
    assert padded[1][1].tolist() == [2, IGNORE, IGNORE, IGNORE]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mask_end_of_text": True}, "which id ends a text is not known"),
        ({"end_of_text_id": 3}, "with mask_end_of_text=True alone"),
        ({"mask_end_of_text": True, "end_of_text_id": -1}, "at least 0"),
        (
            {"mask_end_of_text": True, "end_of_text_id": 3, "within": "document", "offsets": [0, 40]},
            "no target in the next one",
        ),
    ],
)
def test_masks_that_can_not_be(options, problem):
    with pytest.raises(ArgumentError, match=problem):
        fw.WindowDataset(np.arange(40), context_length=4, **options)


def test_a_store_is_masked_by_no_other_id_than_its_own(tmp_path):
    store = fw.prepare(["a b c"], tmp_path / "store")
    with pytest.raises(ArgumentError, match="ended by another token"):
        fw.WindowDataset(store, context_length=2, mask_end_of_text=True, end_of_text_id=5)
    with pytest.raises(ArgumentError, match="at most"):
        fw.WindowDataset(store, context_length=2, mask_end_of_text=True, end_of_text_id=store.vocab_size)
    assert "mask_end_of_text=True" in repr(fw.WindowDataset(store, context_length=2, mask_end_of_text=True))
