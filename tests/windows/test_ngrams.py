"""Rows of n-grams: against one n-gram at a time in plain Python, in any windows, through loaders."""

import importlib.util
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import faulty_server
import foreword as fw
import ngrams as reference
from foreword import errors
from foreword._base.ngram_hash import NgramHash
from tokens import far


class Table:
    """What windows ask of an NgramTable."""

    def __init__(self, *orders, rows=997, heads=2, seed=0, end_of_text_id=None):
        self.hash = NgramHash(orders, rows, heads, seed, end_of_text_id)


HASHES = st.builds(
    NgramHash,
    orders=st.sampled_from([(2,), (3, 2), (1, 2, 5)]),
    rows=st.sampled_from([6, 997, 1 << 20]),
    heads=st.integers(1, 2),
    seed=st.integers(-3, 3),
    end_of_text_id=st.sampled_from([None, 0]),
)
LAYOUTS = st.sampled_from(
    [
        {},
        {"within": "document"},
        {"within": "document", "packing": "best-fit"},
        {"within": "document", "packing": "best-fit", "segments": True},
        {"segments": True},
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    hash_=HASHES,
    documents=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > 9),
    context_length=st.integers(1, 8),
    stride=st.integers(1, 11),
    layout=LAYOUTS,
    tail=st.sampled_from(["drop", "pad", "keep"]),
    known=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_place_of_the_stream_has_the_same_rows_in_any_window(
    hash_, documents, context_length, stride, layout, tail, known, seed
):
    stream = np.random.default_rng(seed).integers(0, 5, sum(documents)).astype(np.uint16)
    offsets = np.concatenate(([0], np.cumsum(documents)))
    options = {"context_length": context_length, "tail": tail, **layout}
    if "packing" in layout:
        options["tail"] = "keep" if tail == "drop" else tail
    else:
        options["stride"] = stride
    known = known or bool(layout)
    table = Table(2)
    table.hash = hash_
    data = fw.WindowDataset(stream, offsets=offsets if known else None, ngrams=table, **options)
    got = data.gather(np.arange(len(data)))["ngram_rows"]
    assert got.dtype == np.int64
    assert got.shape == (len(data), context_length, hash_.width)
    expected = np.full_like(got, -1)
    for row, place, start, length in zip(*data.spans(np.arange(len(data))), strict=True):
        for i in range(length):
            expected[row, place + i] = reference.rows_at(stream.tolist(), start + i, offsets if known else [0], hash_)
    np.testing.assert_array_equal(got, expected)


def test_rows_are_spread_evenly_and_heads_disagree():
    n = 1 << 16
    ids = np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1).reshape(-1, 2)  # all n-grams of 256 ids
    rows = NgramHash((2,), rows=2 * n, heads=2).row_ids(ids, left=1)[:, 0]
    for head in range(2):
        used = len(np.unique(rows[:, head])) / n
        assert abs(used - (1 - np.exp(-1))) < 0.01, "as if drawn at random"
        assert rows[:, head].min() >= head * n
        assert rows[:, head].max() < (head + 1) * n
    together = len(np.unique(rows, axis=0)) / n
    assert together > 0.9999, "what one head mixes up, the other tells apart"


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("segments", [False, True])
def test_batches_of_a_loader_carry_them(prefetch, segments):
    stream, table = np.arange(300) % 17, Table(2, 3, end_of_text_id=16)
    data = fw.WindowDataset(stream, context_length=8, stride=5, ngrams=table, segments=segments, offsets=[0, 100, 300])
    loader = fw.WindowLoader(data, batch_size=4, shuffle=True, prefetch=prefetch, drop_last=False)
    batches = list(loader)
    places = loader.data.spans(np.arange(len(data)))[2]
    rows = [batch["ngram_rows"] if segments else batch[2] for batch in batches]
    for step, batch in enumerate(rows):
        assert batch.dtype == torch.int64
        for row, traced in zip(batch, loader.trace(step, epoch=0), strict=True):
            assert traced.start == places[traced.window]
            expected = [reference.rows_at(stream.tolist(), traced.start + i, [0, 100], table.hash) for i in range(8)]
            assert row.tolist() == expected
    again = torch.utils.data.DataLoader(
        loader.dataset, batch_sampler=fw.WindowLoader(data, batch_size=4, shuffle=True, drop_last=False).batch_sampler
    )
    for batch, row in zip(again, rows, strict=True):
        assert torch.equal(batch["ngram_rows"] if segments else batch[2], row)
    samples = [data[i] for i in range(3)]
    collated = loader.collate_fn(samples)
    assert torch.equal(
        collated["ngram_rows"] if segments else collated[2], torch.as_tensor(data.gather(np.arange(3))["ngram_rows"])
    )


def test_short_windows_are_kept_with_theirs():
    data = fw.WindowDataset(np.arange(12), context_length=8, tail="keep", ngrams=Table(2))
    *_, (inputs, targets, rows) = fw.WindowLoader(data, batch_size=1)
    assert inputs.shape == targets.shape == (1, 3)
    assert rows.shape == (1, 3, 2)


def test_mixtures():
    table = Table(2, 3)
    sources = {
        name: fw.WindowDataset(np.arange(100) * step % 31, context_length=5, ngrams=table)
        for name, step in (("a", 1), ("b", 7))
    }
    loader = fw.WindowLoader(sources, batch_size=8, shuffle=True, drop_last=False)
    seen = 0
    for step, (inputs, _, rows) in enumerate(loader):
        for i, window in enumerate(loader.trace(step, epoch=0)):
            again = sources[window.source].gather(np.array([window.window]))
            assert rows[i].tolist() == again["ngram_rows"][0].tolist()
            assert inputs[i].tolist() == again["inputs"][0].tolist()
            seen += 1
    assert seen == len(sources["a"]) * 2
    sources["b"] = fw.WindowDataset(np.arange(100), context_length=5, ngrams=Table(2, 3, seed=1))
    with pytest.raises(errors.ArgumentError, match="must have the same n-grams"):
        fw.WindowLoader(sources, batch_size=8)


def test_they_travel_without_the_table():
    table = fw.NgramTable(rows=1 << 20, dim=8)
    data = fw.WindowDataset(np.arange(100), context_length=5, ngrams=table)
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    np.testing.assert_array_equal(
        pickle.loads(sent).gather(np.arange(3))["ngram_rows"], data.gather(np.arange(3))["ngram_rows"]
    )


def test_stores_here_and_far_away(tmp_path):
    texts = [f"text number {i} of some, with {i * i} in it" for i in range(40)]
    store = fw.prepare(texts, tmp_path / "store", tokenizer="gpt2", shard_tokens=100)
    table = Table(2, 3, end_of_text_id=store.end_of_text_id)
    data = fw.WindowDataset(store, context_length=7, stride=3, ngrams=table)
    got, stream = data.gather(np.arange(len(data))), store[:].tolist()
    for window in range(0, len(data), 11):
        expected = [reference.rows_at(stream, window * 3 + i, store.offsets.tolist(), table.hash) for i in range(7)]
        assert got["ngram_rows"][window].tolist() == expected
    if importlib.util.find_spec("aiohttp") is not None:
        with faulty_server.running() as server:
            remote = fw.TokenStore.open(far.publish(server, tmp_path / "store"), cache=tmp_path / "cache")
            there = fw.WindowDataset(remote, context_length=7, stride=3, ngrams=table)
            np.testing.assert_array_equal(there.gather(np.arange(len(there)))["ngram_rows"], got["ngram_rows"])
            loader = fw.WindowLoader(there, batch_size=4, shuffle="blocks")
            assert sum(len(inputs) for inputs, _, _ in loader) == len(loader) * 4
    with pytest.raises(errors.ArgumentError, match="the token that ends a text") as caught:
        fw.WindowDataset(store, context_length=7, ngrams=Table(2))
    assert f"end_of_text_id={store.end_of_text_id}" in str(caught.value)


def test_what_cannot_be_is_refused():
    with pytest.raises(errors.ArgumentTypeError, match="ngrams is a table"):
        fw.WindowDataset(np.arange(100), context_length=5, ngrams=(2, 3))
    data = fw.WindowDataset(np.arange(100), context_length=5, ngrams=Table(2))
    with pytest.raises(errors.ArgumentError, match="compact batches") as caught:
        fw.WindowLoader(data, batch_size=2, compact=True)
    assert "ngrams" in str(caught.value)
    for orders, rows, heads in (((), 10, 1), ((2, 2), 10, 1), ((0,), 10, 1), ((17,), 10, 1), ((2, 3), 3, 2)):
        with pytest.raises(errors.ArgumentError):
            NgramHash(orders, rows, heads)
    with pytest.raises(errors.ArgumentError):
        NgramHash((2,), (1 << 31) + 1, 1)
    with pytest.raises(errors.ArgumentTypeError):
        NgramHash((2.0,), 10)
