"""What must hold on a GPU too; skipped where torch sees none, as on the machines of CI."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import foreword as fw  # noqa: E402
from foreword.embeddings import InputEmbedding, RowAdam  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]
V, D, T, B = 1000, 64, 32, 8


def both(**options):
    """One layer here and its equal on the GPU, and ids for both."""
    torch.manual_seed(1)
    here = InputEmbedding(V, D, T, num_heads=4, **options)
    there = InputEmbedding(V, D, T, num_heads=4, **options, device="cuda")
    there.load_state_dict(here.state_dict())
    return here, there, torch.randint(0, V, (B, T))


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "alibi", "none"])
@pytest.mark.parametrize(
    "options", [{}, {"scale": 8.0, "norm": "layer"}, {"num_types": 2, "norm": "rms"}], ids=["plain", "scaled", "types"]
)
def test_a_layer_gives_what_it_gives_on_the_processor(position, options):
    here, there, ids = both(position=position, **options)
    ours, theirs = here(ids), there(ids.cuda())
    torch.testing.assert_close(theirs.cpu(), ours)
    grad = torch.randn_like(ours)
    ours.backward(grad)
    theirs.backward(grad.cuda())
    for mine, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other.grad.cpu(), mine.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_in_half_precision(dtype):
    _, there, ids = both()
    wide = there(ids.cuda())
    narrow = there.to(dtype)(ids.cuda())
    assert narrow.dtype == dtype
    torch.testing.assert_close(narrow.float(), wide, atol=0.05, rtol=0.02)


def test_a_compiled_layer_gives_what_eager_gives():
    _, there, ids = both(norm="layer")
    compiled = torch.compile(there, fullgraph=True)
    torch.testing.assert_close(compiled(ids.cuda()), there(ids.cuda()))


@pytest.mark.parametrize("scheme", ["rotary", "alibi"])
def test_positions_that_act_in_attention(scheme):
    here, there, _ = both(position=scheme)
    if scheme == "rotary":
        q, k = torch.randn(2, B, 4, T, D // 4).unbind()
        for mine, other in zip(
            here.position_embedding.rotate(q, k), there.position_embedding.rotate(q.cuda(), k.cuda()), strict=True
        ):
            torch.testing.assert_close(other.cpu(), mine)
    else:
        torch.testing.assert_close(there.position_embedding(T).cpu(), here.position_embedding(T))


def test_steps_by_rows_are_those_of_the_processor():
    here, there, _ = both(sparse=True)
    ours = RowAdam([here.token_embedding.weight], lr=0.01)
    theirs = RowAdam([there.token_embedding.weight], lr=0.01)
    for seed in range(5):
        torch.manual_seed(seed)
        ids, grad = torch.randint(0, V, (B, T)), torch.randn(B, T, D)
        for layer, optimizer, device in ((here, ours, "cpu"), (there, theirs, "cuda")):
            optimizer.zero_grad()
            layer(ids.to(device)).backward(grad.to(device))
            optimizer.step()
    torch.testing.assert_close(there.token_embedding.weight.cpu(), here.token_embedding.weight, atol=1e-5, rtol=1e-4)


def test_a_layer_from_a_folder_comes_to_the_gpu(tmp_path):
    here, _, ids = both(norm="layer", scale=2.0)
    here.save_pretrained(tmp_path / "layer")
    again = InputEmbedding.from_pretrained(tmp_path / "layer", device="cuda")
    assert again.token_embedding.weight.is_cuda
    torch.testing.assert_close(again(ids.cuda()).cpu(), here(ids))


def test_a_table_on_the_gpu_grows_and_shrinks():
    _, there, ids = both()
    before = there(ids.cuda())
    there.resize(V + 24, multiple_of=64)
    torch.testing.assert_close(there(ids.cuda()), before)
    assert there.token_embedding.weight.is_cuda


@pytest.mark.parametrize("how", [{}, {"compact": True}, {"prefetch": 2}, {"compact": True, "prefetch": 2}], ids=str)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_a_loader_on_the_gpu_hands_out_what_it_hands_out_here(how, dtype):
    ids = np.random.default_rng(0).integers(0, 50_000, 200_001).astype(dtype)
    data = fw.WindowDataset(ids, context_length=T)
    plain = fw.WindowLoader(data, batch_size=B, shuffle=True, seed=3)
    there = fw.WindowLoader(data, batch_size=B, shuffle=True, seed=3, device="cuda", **how)
    for mine, other in zip(plain, there, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert b.is_cuda
            assert b.dtype == torch.int64
            assert torch.equal(a, b.cpu())


def test_pinned_batches():
    data = fw.WindowDataset(np.arange(1000, dtype=np.uint16), context_length=T)
    for inputs, targets in fw.WindowLoader(data, batch_size=B, pin_memory=True):
        assert inputs.is_pinned()
        assert targets.is_pinned()


def test_tables_of_ngrams_learn_as_on_the_processor():
    layers = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(5)
        ngrams = fw.NgramTable(rows=4000, dim=16, end_of_text_id=0, device=device)
        layer = InputEmbedding(V, D, T, ngrams=ngrams)
        layers.append(layer.to(device))
    here, there = layers
    there.load_state_dict(here.state_dict())
    optimizers = [
        (RowAdam(groups.sparse, lr=0.01), torch.optim.SGD([p for g in groups.dense for p in g["params"]], lr=0.01))
        for groups in (here.parameter_groups(), there.parameter_groups())
    ]
    for seed in range(4):
        torch.manual_seed(seed)
        ids, grad = torch.randint(0, V, (B, T)), torch.randn(B, T, D)
        assert torch.equal(here.ngrams.row_ids(ids), there.ngrams.row_ids(ids.cuda()).cpu())
        ours, theirs = here(ids), there(ids.cuda())
        torch.testing.assert_close(theirs.cpu(), ours, atol=1e-4, rtol=1e-4)
        ours.backward(grad)
        theirs.backward(grad.cuda())
        for pair in optimizers:
            for optimizer in pair:
                optimizer.step()
                optimizer.zero_grad()
    assert here.ngrams.table.weight.abs().sum() > 0
    torch.testing.assert_close(there.ngrams.table.weight.cpu(), here.ngrams.table.weight, atol=1e-4, rtol=1e-3)


def test_rows_of_ngrams_come_to_the_gpu_with_their_batch():
    ids = np.random.default_rng(0).integers(0, V, 20_001).astype(np.uint16)
    ngrams = fw.NgramTable(rows=4000, dim=16, end_of_text_id=0)
    data = fw.WindowDataset(ids, context_length=T, ngrams=ngrams)
    plain = fw.WindowLoader(data, batch_size=B, shuffle=True)
    for mine, other in zip(plain, fw.WindowLoader(data, batch_size=B, shuffle=True, device="cuda"), strict=True):
        for a, b in zip(mine, other, strict=True):
            assert b.is_cuda
            assert torch.equal(a, b.cpu())
