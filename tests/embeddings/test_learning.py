"""Learning by rows: RowAdam against torch's SparseAdam and Adam in numpy; parameter groups; what a step touches."""

import copy
import resource

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword import errors
from foreword.embeddings import InputEmbedding, RowAdam, clip_grad_norm_


def lazy_adam(weight, steps, lr, betas, eps):
    """Adam of Kingma and Ba, algorithm 1, row by row in float64; a row without a gradient is left alone."""
    weight = weight.astype(np.float64).copy()
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    for t, (rows, grads) in enumerate(steps, start=1):
        for row in set(rows):
            g = sum(grads[i] for i in range(len(rows)) if rows[i] == row)
            m[row] = betas[0] * m[row] + (1 - betas[0]) * g
            v[row] = betas[1] * v[row] + (1 - betas[1]) * g**2
            # ε stands beside √v before its bias is corrected, as in the paper's closing remark of section 2
            size = lr * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
            weight[row] -= size * m[row] / (np.sqrt(v[row]) + eps)
    return weight


def take(optimizer, weight, rows, grads):
    weight.grad = torch.sparse_coo_tensor(torch.tensor([rows]), grads, weight.shape, check_invariants=True)
    optimizer.step()


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    steps=st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=5),
    lr=st.sampled_from([1e-3, 0.1]),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.5)]),
)
def test_row_adam_is_lazy_adam_and_torch_s_sparse_adam(seed, steps, lr, betas):
    torch.manual_seed(seed)
    ours = torch.nn.Parameter(torch.randn(9, 4))
    theirs, start = copy.deepcopy(ours), ours.detach().numpy().copy()
    optimizers = RowAdam([ours], lr=lr, betas=betas), torch.optim.SparseAdam([theirs], lr=lr, betas=betas)
    told = []
    for rows in steps:
        grads = torch.randn(len(rows), 4)
        for optimizer, weight in zip(optimizers, (ours, theirs), strict=True):
            take(optimizer, weight, rows, grads)
        told.append((rows, grads.double().numpy()))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    want = lazy_adam(start, told, lr, betas, 1e-8)
    # With β₁ = 0 a gradient near 0 divides by its own root: float32 keeps few digits of that.
    np.testing.assert_allclose(ours.detach().numpy(), want, atol=1e-4 * lr / 1e-3 if betas[0] == 0 else 1e-5)


def test_its_state_goes_to_sparse_adam_and_back():
    torch.manual_seed(0)
    first = torch.nn.Parameter(torch.randn(9, 4))
    second = copy.deepcopy(first)
    here, there = RowAdam([first], lr=0.1), torch.optim.SparseAdam([second], lr=0.1)
    grads = torch.randn(3, 2, 4)
    take(here, first, [1, 2], grads[0])
    take(there, second, [1, 2], grads[0])
    moved = RowAdam([second], lr=0.1)
    moved.load_state_dict(there.state_dict())
    there = torch.optim.SparseAdam([first], lr=0.1)
    there.load_state_dict(here.state_dict())
    take(moved, second, [2, 8], grads[1])
    take(there, first, [2, 8], grads[1])
    torch.testing.assert_close(first, second)


def test_a_closure_and_an_untouched_parameter():
    layer = InputEmbedding(9, 4, position="none", sparse=True)
    idle = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = RowAdam([layer.token_embedding.weight, idle], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = layer(torch.tensor([[1]])).sum()
        loss.backward()
        return loss

    before = layer.token_embedding.weight.detach().clone()
    assert optimizer.step(closure) == before[1].sum()
    assert (layer.token_embedding.weight != before).any(dim=1).nonzero().tolist() == [[1]]
    assert torch.equal(idle, torch.ones(3, 2))


def test_parameter_groups_sort_by_gradient():
    def shapes(groups):
        return [[list(p.shape) for p in group["params"]] for group in groups]

    sparse = InputEmbedding(9, 4, 3, norm="layer", sparse=True).parameter_groups(weight_decay=0.1)
    assert shapes(sparse.sparse) == [[[9, 4]]]
    assert shapes(sparse.dense) == [[[3, 4]], [[4], [4]]]
    assert [group["weight_decay"] for group in sparse.dense] == [0.1, 0.0]

    dense = InputEmbedding(9, 4, 3).parameter_groups()
    assert (dense.sparse, shapes(dense.dense)) == ([], [[[9, 4], [3, 4]]])

    frozen = InputEmbedding(9, 4, 3, sparse=True)
    frozen.freeze("token")
    assert (frozen.parameter_groups().sparse, shapes(frozen.parameter_groups().dense)) == ([], [[[3, 4]]])


def test_sparse_and_dense_gradients_are_the_same():
    torch.manual_seed(0)
    dense = InputEmbedding(9, 4, 3, scale=2.0)
    sparse = InputEmbedding(9, 4, 3, scale=2.0, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    ids = torch.tensor([[1, 5, 1], [8, 1, 0]])
    for layer in (dense, sparse):
        layer(ids).pow(3).sum().backward()
    assert sparse.token_embedding.weight.grad.is_sparse
    torch.testing.assert_close(sparse.token_embedding.weight.grad.to_dense(), dense.token_embedding.weight.grad)
    torch.testing.assert_close(sparse.position_embedding.weight.grad, dense.position_embedding.weight.grad)


def test_a_sparse_step_makes_nothing_of_the_table_s_size():
    """No page of a fresh table-sized array is written in a step: counted by the kernel, as minor page faults."""
    layer = InputEmbedding(50_257, 256, 4, sparse=True)
    groups = layer.parameter_groups()
    optimizers = RowAdam(groups.sparse), torch.optim.AdamW(groups.dense, fused=True)
    ids = torch.arange(32).reshape(8, 4)

    def step():
        for optimizer in optimizers:
            optimizer.zero_grad()
        layer(ids).sum().backward()
        for optimizer in optimizers:
            optimizer.step()

    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    table_pages = 50_257 * 256 * 4 // resource.getpagesize()
    assert faults < table_pages / 10, f"{faults} page faults in ten steps; one table has {table_pages} pages"


def test_row_adam_refuses_dense_gradients_and_bad_options():
    layer = torch.nn.Embedding(3, 2)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(errors.ArgumentError, match="row-sparse"):
        RowAdam(layer.parameters()).step()
    for options in ({"lr": -0.1}, {"lr": float("nan")}, {"eps": 0.0}, {"betas": (0.9, 1.0)}):
        with pytest.raises(errors.ArgumentError, match="out of range"):
            RowAdam(layer.parameters(), **options)


def test_a_step_of_size_0_moves_moments_alone():
    """Where a warm-up begins."""
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = RowAdam([weight], lr=0.0)
    take(optimizer, weight, [1], torch.ones(1, 2))
    assert torch.equal(weight, torch.ones(3, 2))
    optimizer.param_groups[0]["lr"] = 0.1
    take(optimizer, weight, [1], torch.ones(1, 2))
    assert (weight != 1).any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_sparse_gradients_is_clipping_them_dense(norm_type, max_norm):
    layers = {}
    for sparse in (False, True):
        torch.manual_seed(0)
        layer = layers[sparse] = InputEmbedding(9, 4, 6, sparse=sparse)
        layer(torch.tensor([[3, 7, 3], [0, 3, 8]])).square().sum().backward()
    want = torch.nn.utils.clip_grad_norm_(layers[False].parameters(), max_norm, norm_type)
    got = clip_grad_norm_(layers[True].parameters(), max_norm, norm_type=norm_type)
    torch.testing.assert_close(got, want)
    for a, b in zip(layers[False].parameters(), layers[True].parameters(), strict=True):
        torch.testing.assert_close(b.grad.to_dense() if b.grad.is_sparse else b.grad, a.grad)
    assert layers[True].token_embedding.weight.grad.is_sparse
    RowAdam(layers[True].parameter_groups().sparse).step()  # takes what was clipped


def test_clipping_nothing_and_in_ways_that_there_are_not():
    assert clip_grad_norm_([torch.nn.Parameter(torch.ones(2))], 1.0) == 0
    assert clip_grad_norm_(torch.nn.Parameter(torch.ones(2)), 1.0) == 0
    for options in ({"max_norm": -1.0}, {"max_norm": float("nan")}, {"max_norm": 1.0, "norm_type": 0.0}):
        with pytest.raises(errors.ArgumentError, match="clipped"):
            clip_grad_norm_([], **options)
