"""n-gram tables: rows against plain Python and windows, gradients and RowAdam against dense torch, checkpoints."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import foreword as fw
import ngrams as reference
from embeddings import two_ranks
from foreword import errors
from foreword._base import threads
from foreword.embeddings import InputEmbedding, NgramTable, RowAdam, _by_row


@pytest.fixture(params=["compiled", "plain"])
def way(request, monkeypatch):
    """Both ways to compute: their bits are the same."""
    monkeypatch.setattr(_by_row, "ENOUGH", 0 if request.param == "compiled" else 1 << 60)
    monkeypatch.setattr(_by_row, "SMALL", 0)
    return request.param


def filled(**options):
    table = NgramTable(**{"rows": 300, "dim": 5, "end_of_text_id": 0} | options)
    nn.init.normal_(table.table.weight, generator=torch.Generator().manual_seed(1))
    return table


def dense_sum(table, rows):
    """What the table gives, by an ordinary lookup with one row more, of zeros, for what is not there."""
    weight = table.table.weight.detach().to_dense().requires_grad_()
    longer = torch.cat([weight, weight.new_zeros(1, weight.shape[1])])
    return longer[torch.where(rows < 0, len(weight), rows)].sum(-2), weight


@settings(max_examples=60, deadline=None)
@given(
    orders=st.sampled_from([(2,), (2, 3), (1, 4)]),
    rows=st.sampled_from([4, 997, 1 << 21]),
    heads=st.integers(1, 2),
    seed=st.integers(-2, 2),
    end=st.sampled_from([None, 0]),
    length=st.integers(1, 12),
    left=st.integers(0, 4),
    draw=st.integers(0, 99),
)
def test_rows_of_ids_alone(orders, rows, heads, seed, end, length, left, draw):
    table = NgramTable(orders=orders, rows=rows, dim=2, heads=heads, seed=seed, end_of_text_id=end, device="meta")
    ids = torch.randint(0, 4, (3, left + length), generator=torch.Generator().manual_seed(draw), dtype=torch.int32)
    got = table.row_ids(ids, left=left)
    assert got.dtype == torch.int64
    for b in range(3):
        stream = ids[b].tolist()
        for i in range(length):
            assert got[b, i].tolist() == reference.rows_at(stream, left + i, [0], table.hash)


def test_they_are_those_of_windows_wherever_the_context_is_in_the_window():
    texts = [" ".join(f"word{(i * j) % 9}" for j in range(30)) for i in range(20)]
    tokenizer = fw.get_tokenizer("gpt2")
    documents = [[*tokenizer.encode(text).tolist(), tokenizer.end_of_text_id] for text in texts]
    offsets = np.cumsum([0, *map(len, documents)])
    table = NgramTable(rows=5000, dim=2, end_of_text_id=tokenizer.end_of_text_id)
    for options in ({"stride": 7}, {"within": "document"}, {"within": "document", "packing": "best-fit"}):
        data = fw.WindowDataset(
            np.concatenate(documents), context_length=16, ngrams=table, offsets=offsets, segments=True, **options
        )
        batch = data.tensors(np.arange(len(data)))
        theirs, positions = batch["ngram_rows"], batch["positions"]
        ours = table.row_ids(batch["inputs"], positions=positions)
        real = batch["document_ids"] >= 0
        for k, order in enumerate(o for o in table.hash.orders for _ in range(2)):
            inside = real & (positions >= order - 1)
            assert torch.equal(ours[..., k][inside], theirs[..., k][inside])
        # Elsewhere a window knows more: what stands before it.
        more = real & (theirs[..., 0] >= 0) & (ours[..., 0] < 0)
        assert more.any()
        assert (positions[more] == 0).all()


def test_positions_that_restart_end_n_grams():
    table = NgramTable(rows=300, dim=2)
    ids = torch.tensor([[5, 6, 7, 5, 6, 7]])
    rows = table.row_ids(ids, positions=torch.tensor([0, 1, 2, 0, 1, 2]))
    assert torch.equal(rows[:, :3], rows[:, 3:])
    assert torch.equal(rows[:, :3], table.row_ids(ids[:, :3]))


def test_sums_and_gradients(way):
    table = filled()
    ids = torch.randint(0, 9, (4, 50))
    rows = table.row_ids(ids)
    expected, weight = dense_sum(table, rows)
    got = table(rows)
    torch.testing.assert_close(got, expected)
    grad = torch.randn(got.shape)
    got.backward(grad)
    expected.backward(grad)
    found = table.table.weight.grad
    assert found.is_sparse
    assert found._indices()[0].tolist() == sorted(set(rows[rows >= 0].tolist())), "touched rows and no other"
    torch.testing.assert_close(found.to_dense(), weight.grad)
    with torch.no_grad():
        assert torch.equal(table(rows), got)


@pytest.mark.parametrize("rows", [[3, 1, 3, 3, 0], [1, 2, 5], [4], [], [2, 2]])
def test_rows_that_come_several_times_are_added_up(rows, way):
    where, values = torch.tensor([rows], dtype=torch.int64), torch.randn(len(rows), 3)
    grad = torch.sparse_coo_tensor(where, values, (6, 3), check_invariants=True)
    found, expected = _by_row.coalesced(grad), grad.coalesce()
    assert found.is_coalesced()
    assert torch.equal(found.indices(), expected.indices())
    torch.testing.assert_close(found.values(), expected.values())
    two = torch.nn.Embedding(6, 3, sparse=True)
    ids = torch.tensor(rows, dtype=torch.int64)
    (two(ids).sum() + two(ids).square().sum()).backward()
    torch.testing.assert_close(_by_row.coalesced(two.weight.grad).to_dense(), two.weight.grad.to_dense())


def test_nothing_is_there_and_nothing_learns(way):
    table = filled()
    out = table(torch.full((2, 3, 4), -1))
    assert not out.any()
    out.sum().backward()
    assert table.table.weight.grad._nnz() == 0
    before = table.table.weight.detach().clone()
    RowAdam(table.parameters(), lr=1.0).step()
    assert torch.equal(before, table.table.weight)


def trained(steps, **options):
    table = filled(**options)
    optimizer = RowAdam(table.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        optimizer.zero_grad()
        out = table(table.row_ids(torch.randint(0, 9, (8, 60), generator=generator)))
        out.backward(torch.randn(out.shape, generator=generator))
        optimizer.step()
    state = optimizer.state[table.table.weight]
    return [table.table.weight.detach(), state["exp_avg"], state["exp_avg_sq"]]


def test_both_ways_and_any_number_of_threads_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(_by_row, "ENOUGH", 1 << 60)
    plain = trained(4, rows=3000, dim=33)
    monkeypatch.setattr(_by_row, "ENOUGH", 0)
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        assert all(map(torch.equal, trained(4, rows=3000, dim=33), plain))


def test_row_adam_is_dense_adam_where_every_row_is_touched(way):
    table = filled(orders=(2,), heads=1, rows=20, end_of_text_id=None)
    ids = torch.cartesian_prod(torch.arange(16), torch.arange(16))  # all n-grams of 16 ids, so all 20 rows
    rows = table.row_ids(ids)
    assert len(rows.unique()) == 21
    dense = nn.Parameter(table.table.weight.detach().clone())
    ours, theirs = RowAdam(table.parameters(), lr=0.05), torch.optim.Adam([dense], lr=0.05, eps=1e-12)
    ours.param_groups[0]["eps"] = 1e-12  # RowAdam adds it before the bias is corrected
    for _ in range(20):
        for optimizer in (ours, theirs):
            optimizer.zero_grad()
        out = table(rows)
        grad = torch.randn(out.shape)
        out.backward(grad)
        longer = torch.cat([dense, dense.new_zeros(1, 5)])
        longer[torch.where(rows < 0, 20, rows)].sum(-2).backward(grad)
        for optimizer in (ours, theirs):
            optimizer.step()
    torch.testing.assert_close(table.table.weight.detach(), dense.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    table = filled(dtype=dtype)
    out = table(table.row_ids(torch.randint(0, 9, (2, 2000))))
    assert out.dtype == dtype
    out.sum().backward()
    RowAdam(table.parameters(), lr=0.1).step()
    assert table.table.weight.isfinite().all()


@pytest.mark.parametrize("dim", [8, 3])
def test_a_layer_begins_as_without_the_table_and_learns_it(dim):
    torch.manual_seed(0)
    plain = InputEmbedding(20, 8, 6, scale=2.0, num_types=2, norm="layer")
    torch.manual_seed(0)
    layer = InputEmbedding(
        20, 8, 6, scale=2.0, num_types=2, norm="layer", ngrams=NgramTable(rows=300, dim=dim, end_of_text_id=0)
    )
    ids = torch.randint(1, 20, (3, 6))
    assert torch.equal(layer(ids), plain(ids))
    groups = layer.parameter_groups(weight_decay=0.1)
    (sparse,) = groups.sparse[0]["params"]
    assert sparse is layer.ngrams.table.weight
    everything = {id(p) for group in [*groups.sparse, *groups.dense] for p in group["params"]}
    assert everything == {id(p) for p in layer.parameters()}
    optimizers = RowAdam(groups.sparse, lr=0.1), torch.optim.AdamW(groups.dense, lr=0.01)
    for _ in range(3):
        layer(ids).square().sum(-1)[..., -1].sum().backward()
        layer(ids)[..., 0].sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    nn.init.normal_(layer.ngrams.table.weight)
    rows = layer.ngrams.row_ids(ids)
    assert torch.equal(layer(ids), layer(ids, ngram_rows=rows))
    added = layer.ngrams(rows)
    added = added if dim == 8 else added @ layer.ngram_projection.weight.T
    x = layer.token_embedding(ids) * 2.0 + layer.type_embedding.weight[0] + added + layer.position_embedding()
    torch.testing.assert_close(layer(ids), layer.norm(x))
    layer.freeze("ngrams")
    assert not any(p.requires_grad for p in layer.ngrams.parameters())
    assert layer.parameter_groups().sparse == []
    layer.unfreeze()
    assert all(p.requires_grad for p in layer.parameters())


def test_large_batches_are_not_written_into_what_others_see():
    layer = InputEmbedding(50, 64, 64, ngrams=filled(dim=64))
    ids = torch.randint(0, 50, (32, 64))
    expected = layer.token_embedding(ids) + layer.ngrams(layer.ngrams.row_ids(ids)) + layer.position_embedding()
    torch.testing.assert_close(layer(ids), expected)
    layer(ids).sum().backward()
    assert layer.token_embedding.weight.grad is not None


def test_decoding_with_a_cache_needs_the_tokens_before():
    layer = InputEmbedding(50, 8, 64, ngrams=filled(dim=8))
    ids = torch.randint(1, 50, (2, 10))
    whole = layer(ids)
    assert torch.equal(layer(ids[:, :7]), whole[:, :7])
    with pytest.raises(errors.ArgumentError, match="not known from their ids alone"):
        layer(ids[:, 7:], offset=7)
    rows = layer.ngrams.row_ids(ids[:, 5:], left=2)
    torch.testing.assert_close(layer(ids[:, 7:], offset=7, ngram_rows=rows), whole[:, 7:])


def test_what_does_not_fit_is_refused():
    layer = InputEmbedding(50, 8, 6, ngrams=NgramTable(rows=300, dim=8))
    ids = torch.randint(0, 50, (2, 6))
    rows = layer.ngrams.row_ids(ids)
    for wrong in (rows[..., :3], rows.float(), rows[:1], rows + 300, rows - 300):
        with pytest.raises(errors.ArgumentError):
            layer(ids, ngram_rows=wrong)
    with pytest.raises(errors.ArgumentError, match="no n-gram table"):
        InputEmbedding(50, 8, 6)(ids, ngram_rows=rows)
    for options in ({"rows": 3, "dim": 8}, {"rows": 300, "dim": 0}, {"rows": 300, "dim": 8, "orders": ()}):
        with pytest.raises(errors.ArgumentError):
            NgramTable(**options)


def test_saved_and_loaded(tmp_path):
    layer = InputEmbedding(50, 8, 6, ngrams=filled(dim=4, orders=(2, 4), heads=1, seed=5, end_of_text_id=3))
    layer.save_pretrained(tmp_path / "layer")
    again = InputEmbedding.from_pretrained(tmp_path / "layer")
    ids = torch.randint(0, 50, (3, 6))
    assert torch.equal(layer(ids), again(ids))
    assert again.ngrams.hash == layer.ngrams.hash
    assert InputEmbedding.from_pretrained(tmp_path / "layer", ngrams=None).ngrams is None
    fresh = InputEmbedding.from_pretrained(tmp_path / "layer", ngrams=NgramTable(rows=100, dim=4))
    assert not fresh.ngrams.table.weight.any()
    assert fresh.ngram_projection.weight.isfinite().all()
    config = json.loads((tmp_path / "layer" / "config.json").read_text())
    for change in ({"rows": 301}, {"rows": "many"}, {"orders": 3}):
        changed = copy.deepcopy(config)
        changed["foreword"]["ngrams"] |= change
        (tmp_path / "layer" / "config.json").write_text(json.dumps(changed))
        with pytest.raises((errors.FormatError, errors.ArgumentError)):
            InputEmbedding.from_pretrained(tmp_path / "layer")


def test_rows_of_other_hashes_are_not_loaded():
    state = InputEmbedding(50, 8, 6, ngrams=filled(dim=8)).state_dict()
    InputEmbedding(50, 8, 6, ngrams=filled(dim=8)).load_state_dict(state)
    for other in ({"seed": 1}, {"end_of_text_id": 1}, {"orders": (3, 4)}, {"heads": 1}):
        layer = InputEmbedding(50, 8, 6, ngrams=filled(dim=8, **other))
        with pytest.raises(errors.ArgumentError, match="belong to other n-grams"):
            layer.load_state_dict(state)
    del state["ngrams.identity"]
    with pytest.raises(RuntimeError, match=r"ngrams\.identity"):
        InputEmbedding(50, 8, 6, ngrams=filled(dim=8)).load_state_dict(state)


def test_another_vocabulary():
    old, new = fw.get_tokenizer("bytes"), fw.get_tokenizer("gpt2")
    layer = InputEmbedding(old.vocab_size, 8, 4, ngrams=filled(dim=8))
    with pytest.raises(errors.ArgumentError, match="belong to the old token ids"):
        layer.extend_vocabulary(old, new)
    assert layer.vocab_size == old.vocab_size
    layer.extend_vocabulary(old, old)
    layer.resize(500)
    assert layer(torch.tensor([[499, 3]])).shape == (1, 2, 8)


@pytest.mark.parametrize("orders", [(2, 3), (1, 5)])
def test_the_report_counts_every_n_gram(orders, tmp_path):
    texts = ["the cat sat on the mat, the cat sat", "the dog sat on the cat", "", "a", "the cat sat"]
    store = fw.prepare(texts, tmp_path / "store", tokenizer="gpt2")
    table = NgramTable(orders=orders, rows=60, dim=2, end_of_text_id=store.end_of_text_id)
    found = table.report(store, top=3)
    stream, offsets = store[:].tolist(), store.offsets.tolist()
    assert found.tokens == len(stream)
    for use in found.heads:
        nth = list(table.hash.orders).index(use.order) * 2 + use.head
        of_row, counts = {}, {}
        for i in range(len(stream)):
            row = reference.rows_at(stream, i, offsets[:-1], table.hash)[nth]
            if row >= 0:
                ngram = tuple(stream[i - use.order + 1 : i + 1])
                of_row.setdefault(row, set()).add(ngram)
                counts[ngram] = counts.get(ngram, 0) + 1
        sizes = [len(ngrams) for ngrams in of_row.values()]
        assert (use.rows, use.used, use.ngrams, use.most) == (15, len(of_row), len(counts), max(sizes))
        assert use.sharing == sum(size for size in sizes if size > 1)
        best = sorted(counts.values(), reverse=True)[:3]
        assert [count for _, count in found.top[use.order]] == best
        assert counts[tuple(store.tokenizer.encode(found.top[use.order][0][0], allowed_special="all"))] == best[0]
    assert "share a row" in found._repr_html_()
    assert "the" in str(found)
    with pytest.raises(errors.ArgumentTypeError):
        table.report("text")
    assert table.report(np.zeros(0, np.uint16)).tokens == 0


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's, of a graph break
def test_it_is_copied_moved_compiled_and_exported():
    layer = InputEmbedding(50, 8, 6, ngrams=filled(dim=4)).eval()
    ids = torch.randint(0, 50, (3, 6))
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(ids), layer(ids))
    assert twin.ngrams.table.weight is not layer.ngrams.table.weight
    assert layer.double()(ids).dtype == torch.float64
    layer.float()
    with torch.no_grad():
        fresh = InputEmbedding(50, 8, 6, ngrams=filled(dim=4, seed=3)).eval()  # whose hashes nobody has used yet
        compiled = torch.compile(fresh, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(ids), fresh(ids))
    program = torch.export.export(layer, (ids,)).module()
    torch.testing.assert_close(program(ids), layer(ids))
    learning_too = torch.compile(layer, backend="aot_eager")
    learning_too(ids).sum().backward()
    assert layer.ngrams.table.weight.grad.is_sparse
    with pytest.raises(errors.ArgumentError, match="fx can't draw"):
        torch.fx.symbolic_trace(layer, concrete_args={"positions": None, "types": None, "offset": 0})


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("learning", [True, False])
def test_what_jit_traces_is_no_constant(way, learning):
    layer = InputEmbedding(50, 8, 6, ngrams=filled(dim=4)).eval()
    ids, others = torch.randint(0, 50, (2, 3, 6))
    with torch.set_grad_enabled(learning):
        traced = torch.jit.trace(layer, (ids,))
        torch.testing.assert_close(traced(others), layer(others))


def test_arguments_that_make_no_sense_are_refused():
    ids = torch.zeros(2, 5, dtype=torch.long)
    for arguments, says in (
        ({"ids": [1, 2]}, "a torch tensor"),
        ({"ids": ids.float()}, "not token ids"),
        ({"ids": torch.tensor(3)}, "not token ids"),
        ({"ids": ids, "left": 6}, "left must be at most 5"),
        ({"ids": ids, "left": -1}, "left must be at least 0"),
        ({"ids": ids, "positions": torch.arange(3)}, "positions don't fit"),
    ):
        with pytest.raises(errors.ArgumentError, match=says):
            filled().row_ids(**arguments)
    with pytest.raises(errors.ArgumentTypeError, match="orders"):
        NgramTable(orders=2, rows=100, dim=4)
    layer = InputEmbedding(50, 8, 6, ngrams=filled(dim=4))
    layer.freeze("ngrams")
    for params, options, says in (
        (layer.parameter_groups().sparse, {}, "nothing to learn"),
        (layer.parameters(), {"lr": "x"}, "out of range"),
    ):
        with pytest.raises(errors.ArgumentError, match=says):
            RowAdam(params, **options)


def test_an_eps_that_vanishes_in_half_precision_is_refused():
    layer = InputEmbedding(50, 8, 6, ngrams=filled(dim=4)).half()
    for eps in (1e-8, 1e-4):
        layer.zero_grad()
        layer(torch.zeros(1, 6, dtype=torch.long)).sum().mul(1e-6).backward()
        optimizer = RowAdam(layer.parameter_groups().sparse, lr=0.1, eps=eps)
        if eps == 1e-8:
            with pytest.raises(errors.ArgumentError, match="eps is nothing"):
                optimizer.step()
    optimizer.step()
    assert layer.ngrams.table.weight.isfinite().all()


def test_a_resumed_run_has_the_same_bits(tmp_path):
    def make():
        data, model, optimizers = two_ranks.make()
        return fw.WindowLoader(data, batch_size=8, shuffle=True), model, optimizers

    loader, model, optimizers = make()
    parts = {"loader": loader, "model": model, "rows": optimizers[0], "dense": optimizers[1]}
    run = two_ranks.Model(model)
    for epoch in range(2):
        for step, batch in enumerate(loader):
            two_ranks.step(run, model, optimizers, [batch])
            if (epoch, step) == (1, 0):
                torch.save({name: part.state_dict() for name, part in parts.items()}, tmp_path / "state.pt")
    end = model.state_dict()
    loader, model, optimizers = make()
    parts = {"loader": loader, "model": model, "rows": optimizers[0], "dense": optimizers[1]}
    for name, state in torch.load(tmp_path / "state.pt", weights_only=True).items():
        parts[name].load_state_dict(state)
    run = two_ranks.Model(model)
    for batch in loader:
        two_ranks.step(run, model, optimizers, [batch])
    assert all(torch.equal(end[name], value) for name, value in model.state_dict().items())
    assert end["0.ngrams.table.weight"].any()


def test_two_ranks_sum_the_rows_of_both(tmp_path):
    processes = [subprocess.Popen([sys.executable, Path(two_ranks.__file__), tmp_path, str(rank)]) for rank in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    data, model, optimizers = two_ranks.make()
    loaders = [fw.WindowLoader(data, batch_size=4, shuffle=True, rank=rank, world_size=2) for rank in range(2)]
    for *batches, _ in zip(*loaders, range(3), strict=False):
        two_ranks.step(two_ranks.Model(model), model, optimizers, batches)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, first[name], atol=1e-5, rtol=1e-4)
