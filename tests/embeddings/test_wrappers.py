"""What wraps, replaces or shards a module works with the layer as with two nn.Embeddings."""

import copy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from foreword import errors
from foreword.embeddings import InputEmbedding, LearnedPositions, RotaryPositions, SinusoidalPositions

pytestmark = pytest.mark.filterwarnings("ignore")  # what these packages warn of is not ours
IDS = torch.tensor([[3, 1, 2, 3], [9, 0, 5, 3]])


class Plain(nn.Module):
    """Two embeddings and a sum, with a tied head."""

    def __init__(self, layer):
        super().__init__()
        self.token_embedding = nn.Embedding.from_pretrained(layer.token_embedding.weight.detach().clone(), freeze=False)
        self.position_embedding = nn.Embedding.from_pretrained(
            layer.position_embedding.weight.detach().clone(), freeze=False
        )

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding(torch.arange(ids.shape[1], device=ids.device))

    def logits(self, x):
        return x @ self.token_embedding.weight.T


def both(**options):
    torch.manual_seed(0)
    layer = InputEmbedding(20, 8, 6, **options)
    return layer, Plain(layer)


def same(layer, plain, *, names=True):
    """Forward and backward."""
    for module in (layer, plain):
        module.zero_grad()
        module(IDS).square().sum().backward()
    torch.testing.assert_close(layer(IDS), plain(IDS))
    theirs = [p.grad for p in plain.parameters() if p.requires_grad]
    ours = [p.grad for p in layer.parameters() if p.requires_grad]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    if names:
        ours = {name: tensor.shape for name, tensor in layer.state_dict().items()}
        assert ours == {name: tensor.shape for name, tensor in plain.state_dict().items()}


DISTRIBUTED = """
import copy, sys, torch, torch.distributed as dist, torch.distributed.checkpoint.state_dict as dcp
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard, register_fsdp_forward_method
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.device_mesh import init_device_mesh
from foreword.embeddings import InputEmbedding
sys.path.insert(0, sys.argv[3])
from test_wrappers import both, Plain, IDS

rank, port = int(sys.argv[1]), int(sys.argv[2])
store = dist.TCPStore("127.0.0.1", port, 2, rank == 0)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))

def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor

def alone(plain):
    plain(IDS).square().sum().backward()
    return [p.grad for p in plain.parameters()]

def shard_each(layer):
    fully_shard(layer.token_embedding, mesh=mesh)
    fully_shard(layer.position_embedding, mesh=mesh)
    return fully_shard(layer, mesh=mesh)

def shard_positions(layer):
    fully_shard(layer.position_embedding, mesh=mesh)
    return layer

for name, shard in {
    "whole": lambda layer: fully_shard(layer, mesh=mesh), "each": shard_each, "positions": shard_positions,
}.items():
    layer, plain = both()
    want = alone(plain)
    layer = shard(layer)
    for _ in range(2):  # resharded after the first
        out = layer(IDS)
        torch.testing.assert_close(out, plain(IDS))
    out.square().sum().backward()
    for a, b in zip(layer.parameters(), want):
        torch.testing.assert_close(whole(a.grad), b, msg=name)
    assert len(layer.state_dict()) == 2
    print("fully_shard", name)

layer, plain = both(norm="layer")
layer = shard_each(layer)
register_fsdp_forward_method(layer, "logits")
x = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
torch.testing.assert_close(layer.logits(x), plain.logits(x))
print("fully_shard logits")

layer, plain = both()
want = alone(plain)
policy = ModuleWrapPolicy({nn.Embedding})
wrapped = FullyShardedDataParallel(layer, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device("cpu"))
out = wrapped(IDS)
torch.testing.assert_close(out, plain(IDS))
out.square().sum().backward()
with FullyShardedDataParallel.summon_full_params(wrapped, with_grads=True):
    for a, b in zip(wrapped.parameters(), want):
        torch.testing.assert_close(a.grad.view_as(b), b)
assert wrapped.vocab_size == 20 and "vocab_size=20" in repr(wrapped)
print("FSDP1")

layer, plain = both()
wrapped = nn.parallel.DistributedDataParallel(layer)
out = wrapped(IDS[rank : rank + 1])
out.square().sum().backward()
for a, b in zip(layer.parameters(), alone(plain)):
    torch.testing.assert_close(a.grad, b / 2)
print("DDP")

from torch.distributed.tensor.parallel import RowwiseParallel, parallelize_module
from torch.distributed.tensor import Replicate
layer, plain = both()
want = alone(plain)
plan = {"token_embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())}
parallelize_module(layer, mesh, plan)
out = layer(IDS)
torch.testing.assert_close(whole(out), plain(IDS))
out.square().sum().backward()
torch.testing.assert_close(whole(layer.token_embedding.weight.grad), want[0])
print("tensor parallel")
dist.destroy_process_group()
"""


def two_processes(code):
    """What each of two processes printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(rank), port, str(Path(__file__).parent)],
            text=True,
            **PIPES,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    for process, (out, err) in zip(ranks, outputs, strict=True):
        assert process.returncode == 0, out + err
    return [out.splitlines() for out, _ in outputs]


PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def test_fsdp_ddp_and_tensor_parallel_in_two_processes():
    ways = ["fully_shard whole", "fully_shard each", "fully_shard positions", "fully_shard logits"]
    ways += ["FSDP1", "DDP", "tensor parallel"]
    assert two_processes(DISTRIBUTED) == [ways, ways]


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary"])
def test_accelerate_s_offloading(tmp_path, position):
    accelerate = pytest.importorskip("accelerate", reason="of the extra clients")
    torch.manual_seed(0)
    layer = InputEmbedding(20, 8, 6, position=position, num_heads=2, norm="layer")
    want, x = layer(IDS), torch.randn(2, 8)
    logits = layer.logits(x)
    accelerate.cpu_offload(layer, torch.device("cpu"), offload_buffers=True)
    assert layer.token_embedding.weight.is_meta
    torch.testing.assert_close(layer(IDS), want)
    torch.testing.assert_close(layer.logits(x), logits)
    assert layer.vocab_size == 20
    with pytest.raises(errors.ArgumentError, match="resize needs a table of its own"):
        layer.resize(30)
    with pytest.raises(errors.TokenIdError, match="20 is outside"):
        layer(torch.tensor([[20]]))


def test_accelerate_s_offloading_to_disk_and_saving(tmp_path):
    accelerate = pytest.importorskip("accelerate", reason="of the extra clients")
    layer, plain = both()
    accelerate.disk_offload(layer, str(tmp_path / "offloaded"), torch.device("cpu"))
    torch.testing.assert_close(layer(IDS), plain(IDS))
    layer.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(InputEmbedding.from_pretrained(tmp_path / "saved")(IDS), plain(IDS))


@pytest.mark.parametrize("targets", [["token_embedding"], ["token_embedding", "position_embedding"]])
def test_peft_s_lora_on_the_tables(tmp_path, targets):
    peft = pytest.importorskip("peft", reason="of the extra clients")
    layer, plain = both()
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    torch.manual_seed(1)
    ours = peft.get_peft_model(layer, config)
    torch.manual_seed(1)
    theirs = peft.get_peft_model(plain, copy.deepcopy(config))
    same(ours, theirs)
    assert (layer.vocab_size, layer.embedding_dim, layer.padding_id, layer.sparse) == (20, 8, None, False)
    assert "vocab_size=20" in repr(layer)
    table = theirs.base_model.model.token_embedding(torch.arange(20))
    x = torch.randn(2, 8)
    torch.testing.assert_close(layer.logits(x), x @ table.T)  # one table reads and writes, the adapter with it
    with pytest.raises(errors.TokenIdError, match="20 is outside"):
        layer(torch.tensor([[20]]))
    with pytest.raises(errors.ArgumentError, match="resize needs a table of its own"):
        layer.resize(30)
    layer.save_pretrained(tmp_path / "saved")
    again = InputEmbedding.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(again(IDS), ours(IDS))
    merged = ours.merge_and_unload()
    torch.testing.assert_close(merged(IDS), again(IDS))


@pytest.mark.parametrize("options", [{"start": 2}, {"start": 3, "padding_id": 1}])
def test_adapters_of_positions_that_begin_at_another_row_are_refused(tmp_path, options):
    """They look up by position in tables of their own, and are merged by row: two rows apart in OPT and BART."""
    peft = pytest.importorskip("peft", reason="of the extra clients")
    layer = InputEmbedding(20, 8, position=LearnedPositions(6, 8, **options))
    want = layer(IDS)
    adapted = peft.get_peft_model(layer, peft.LoraConfig(r=2, target_modules=["position_embedding"]))
    for call in (
        lambda: adapted(IDS),
        lambda: layer(IDS, torch.arange(4)),
        lambda: layer.save_pretrained(tmp_path / "a"),
    ):
        with pytest.raises(errors.ArgumentError, match=f"position 0 is at row {options['start']}"):
            call()
    kept = InputEmbedding(20, 8, position=LearnedPositions(6, 8, **options))
    kept.load_state_dict(adapted.unload().state_dict())
    torch.testing.assert_close(kept(IDS), want)
    saved = peft.LoraConfig(r=2, target_modules=["token_embedding"], modules_to_save=["position_embedding"])
    torch.testing.assert_close(peft.get_peft_model(kept, saved)(IDS), want)  # a copy, which knows where it begins


@pytest.mark.parametrize("wrap", [torch.compile, nn.Sequential])
def test_what_only_calls_a_table_may_wrap_any(wrap):
    layer = InputEmbedding(20, 8, position=LearnedPositions(6, 8, start=2))
    want = layer(IDS)
    layer.position_embedding = wrap(layer.position_embedding)
    torch.testing.assert_close(layer(IDS), want)


@pytest.mark.parametrize("options", [{}, {"start": 2}, {"start": 3, "padding_id": 3}])
def test_a_wrapped_table_of_positions_is_saved_whole(tmp_path, options):
    layer = InputEmbedding(20, 8, position=LearnedPositions(6, 8, **options))
    want = layer(IDS)
    layer.position_embedding = nn.Sequential(layer.position_embedding)
    layer.save_pretrained(tmp_path / "saved")
    assert torch.equal(InputEmbedding.from_pretrained(tmp_path / "saved")(IDS), want)


def test_peft_s_modules_to_save(tmp_path):
    peft = pytest.importorskip("peft", reason="of the extra clients")
    layer, plain = both()
    options = {"r": 2, "target_modules": ["linear"], "modules_to_save": ["token_embedding", "position_embedding"]}
    wrapped = []
    for inner in (layer, plain):
        model = nn.Sequential()
        model.add_module("embed", inner)
        model.add_module("linear", nn.Linear(8, 8))
        torch.manual_seed(1)
        model.linear.reset_parameters()
        wrapped.append(peft.get_peft_model(model, peft.LoraConfig(**options)))
    same(*wrapped)
    assert layer.vocab_size == 20
    layer.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(InputEmbedding.from_pretrained(tmp_path / "saved")(IDS), layer(IDS))


def embeddings_alone(module, _name):
    return isinstance(module, nn.Embedding)


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_torchao_s_quantization(tmp_path, dtype, start):
    """As two embeddings are quantized; what is computed from the tables is computed from what they hold now."""
    torchao = pytest.importorskip("torchao.quantization", reason="of the extra clients")
    torch.manual_seed(0)
    layer = InputEmbedding(20, 32, position=LearnedPositions(6, 32, start=start), norm="layer")
    plain = Plain(layer)
    config = torchao.IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, dtype), granularity=torchao.granularity.PerAxis(0)
    )
    for module in (layer, plain):
        torchao.quantize_(module, config, embeddings_alone)
        assert type(module.position_embedding.weight) is not nn.Parameter
    tokens, places = plain.token_embedding(IDS), plain.position_embedding(torch.arange(6) + start)
    assert torch.equal(layer(IDS), layer.norm(tokens + places[:4]))
    assert torch.equal(layer(IDS, offset=1), layer.norm(tokens + places[1:5]))
    at = torch.tensor([0, 1, 0, 5])
    assert torch.equal(layer(IDS, at), layer.norm(tokens + places[at]))
    assert torch.equal(layer.position_embedding(), places)
    x = torch.randn(2, 32)
    torch.testing.assert_close(layer.logits(x), x @ plain.token_embedding(torch.arange(20)).T)
    with pytest.raises(errors.TokenIdError, match="20 is outside"):
        layer(torch.tensor([[20]]))
    with pytest.raises(errors.ArgumentError, match="longer than the context"):
        layer(IDS, offset=3)
    for outside in (6, -1):
        with pytest.raises(errors.ArgumentError, match=f"position {outside} is outside"):
            layer(IDS[:, :1], torch.tensor([outside]))
    for change in (lambda: layer.resize(30), lambda: layer.extend_context(9)):
        with pytest.raises(errors.ArgumentError, match="needs a table of its own"):
            change()
    layer.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(InputEmbedding.from_pretrained(tmp_path / "saved")(IDS), layer(IDS))


@pytest.mark.parametrize("start", [0, 2])
def test_torchao_s_training_for_quantization(start):
    """It puts a module of its own in a table's place, which looks rows up by number alone."""
    torchao = pytest.importorskip("torchao.quantization", reason="of the extra clients")
    torch.manual_seed(0)
    layer = InputEmbedding(20, 32, position=LearnedPositions(6, 32, start=start))
    plain = Plain(layer)
    weights = torchao.qat.IntxFakeQuantizeConfig(torch.int4, group_size=32)
    for module in (layer, plain):
        torchao.quantize_(module, torchao.qat.QATConfig(weight_config=weights, step="prepare"), embeddings_alone)
        assert type(module.position_embedding) not in (LearnedPositions, nn.Embedding)
    if start:
        with pytest.raises(errors.ArgumentError, match="position 0 is at row 2"):
            layer(IDS)
    else:
        same(layer, plain)


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "alibi", "none"])
def test_fx_traces_it(position):
    torch.manual_seed(0)
    layer = InputEmbedding(20, 8, 6, position=position, num_heads=2, scale=2.0, norm="rms", num_types=2)
    traced = torch.fx.symbolic_trace(layer, concrete_args={"positions": None, "types": None, "offset": 0})
    for ids in (IDS, IDS[:, :2]):
        torch.testing.assert_close(traced(ids), layer(ids))
    model = nn.Sequential(layer, nn.Linear(8, 3))
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(IDS), model(IDS))


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "none"])
@pytest.mark.parametrize("strict", [False, True])
def test_export_with_dynamic_sizes(position, strict):
    torch.manual_seed(0)
    layer = InputEmbedding(20, 8, 6, position=position, num_heads=2, scale=2.0, norm="layer").eval()
    sizes = {"ids": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}}
    program = torch.export.export(layer, (IDS,), dynamic_shapes=sizes, strict=strict).module()
    for ids in (IDS, IDS[:1, :3], IDS.repeat(3, 1)):
        torch.testing.assert_close(program(ids), layer(ids))


def test_checkpointed_and_parametrized():
    layer, plain = both()
    for module in (layer, plain):
        out = torch.utils.checkpoint.checkpoint(module, IDS, use_reentrant=False)
        out.square().sum().backward()
    for a, b in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)

    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    want = 2 * layer.token_embedding.weight.detach()
    nn.utils.parametrize.register_parametrization(layer.token_embedding, "weight", Twice())
    x = torch.randn(2, 8)
    torch.testing.assert_close(layer.logits(x), x @ want.T)
    with pytest.raises(errors.ArgumentError, match="resize needs a table of its own"):
        layer.resize(30)


def test_a_tie_outlives_resizing_and_a_longer_context():
    layer, _ = both()
    head, other = nn.Linear(8, 20, bias=False), nn.Embedding(6, 8)
    head.weight, other.weight = layer.token_embedding.weight, layer.position_embedding.weight
    layer(IDS).sum().backward()
    for rows in (128, 20, 7, 7):
        layer.resize(rows)
        assert layer.vocab_size == rows
        assert head.weight is layer.token_embedding.weight
        assert head(torch.ones(1, 8)).shape == (1, rows)
        torch.testing.assert_close(head(torch.ones(1, 8)), layer.logits(torch.ones(1, 8)))
    layer.extend_context(9)
    assert other.weight is layer.position_embedding.weight
    assert other.weight.shape == (9, 8)
    assert all(p.grad is None for p in layer.parameters())
    layer(torch.zeros(1, 9, dtype=torch.int64)).sum().backward()
    assert head.weight.grad is layer.token_embedding.weight.grad is not None


def test_what_a_call_returns_is_the_caller_s():
    """No view of a table: a change in place stays with who made it."""
    modules = [LearnedPositions(6, 8), SinusoidalPositions(6, 8), RotaryPositions(6, 8)]
    for module in modules:
        before = [tensor.detach().clone() for tensor in module.state_dict().values()] or list(
            map(torch.clone, module.buffers())
        )
        calls = [{}, {"length": 6}, {"offset": 2}, {"offset": 1, "length": 3}, {"positions": torch.tensor([1, 2])}]
        for options in calls:
            with torch.no_grad():
                result = module(**options)
                for tensor in result if isinstance(result, tuple) else (result,):
                    tensor.mul_(0)
        after = list(module.state_dict().values()) or list(module.buffers())
        assert all(map(torch.equal, before, after))
    layer = InputEmbedding(20, 8, 6, position="none")
    with torch.no_grad():
        layer(IDS).zero_()
        layer.table().zero_()
    assert layer.token_embedding.weight.any()


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "alibi"])
@pytest.mark.parametrize("inside", [False, True])
def test_made_on_the_meta_device_and_given_weights(position, inside):
    """load_state_dict(assign=True) puts weights in place; what is computed is in no file, and must be there as well."""

    def make(device):
        torch.manual_seed(0)
        layer = InputEmbedding(20, 8, 6, position=position, num_heads=2, device=device)
        return nn.Sequential(layer) if inside else layer

    real, empty = make("cpu"), make("meta")
    empty.load_state_dict(real.state_dict(), assign=True)
    torch.testing.assert_close(empty(IDS), real(IDS))
    for a, b in zip(empty.buffers(), real.buffers(), strict=True):
        assert torch.equal(a, b)

    with torch.device("meta"):
        empty = make(None)
    half = {name: tensor.bfloat16() for name, tensor in real.state_dict().items()}
    empty.load_state_dict(half, assign=True)
    torch.testing.assert_close(empty(IDS), real.bfloat16()(IDS))

    empty = make("meta").to_empty(device="cpu")
    empty.load_state_dict(make("cpu").state_dict())
    torch.testing.assert_close(empty(IDS), make("cpu")(IDS))


def test_a_scheme_alone_made_on_the_meta_device():
    for module in (SinusoidalPositions(6, 8, device="meta"), RotaryPositions(6, 8, device="meta")):
        module.load_state_dict({}, assign=True)
        assert not any(table.is_meta for table in module.buffers())
