"""InputEmbedding among torch's own machinery: torch.compile, DDP, other processes; and without torch."""

import subprocess
import sys
import textwrap

import pytest
import torch

from foreword.embeddings import InputEmbedding

# torch's compiler imports parts of torch that warn of their own deprecation
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SCHEMES = ["learned", "sinusoidal", "rotary", "alibi", "none"]


def check_compiled(position, dynamic=None, **options):
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer = InputEmbedding(50, 8, 6, position=position, num_heads=2, scale=2.0, norm="rms", **options)
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic)
    for shape in ((2, 3), (4, 6)):
        ids = torch.randint(0, 50, shape)
        for arguments in ({}, {"positions": torch.randint(0, 6, shape)}, {"offset": 6 - shape[1]}):
            results = []
            for call in (layer, compiled):
                layer.zero_grad()
                out = call(ids, **arguments)
                out.square().sum().backward()
                results.append([out, *(p.grad for p in layer.parameters())])
            for eager, other in zip(*results, strict=True):
                torch.testing.assert_close(eager, other)


def test_compiled_without_graph_breaks_equals_eager():
    check_compiled("learned")


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("position", SCHEMES)
def test_every_scheme_compiled_equals_eager(position, dynamic):
    check_compiled(position, dynamic=dynamic, padding_id=3)


@pytest.mark.slow
def test_attention_parts_compiled_equal_eager():
    torch._dynamo.reset()
    rotary = InputEmbedding(50, 8, 6, position="rotary", num_heads=2).position_embedding
    alibi = InputEmbedding(50, 8, 6, position="alibi", num_heads=2).position_embedding

    def attend(q, k):
        return torch.nn.functional.scaled_dot_product_attention(*rotary.rotate(q, k), k, attn_mask=alibi(q.shape[-2]))

    q, k = torch.randn(2, 1, 2, 5, 4)
    torch.testing.assert_close(torch.compile(attend, fullgraph=True)(q, k), attend(q, k))


@pytest.mark.slow
def test_a_compiled_layer_stops_at_a_wrong_id():
    torch._dynamo.reset()
    compiled = torch.compile(InputEmbedding(50, 8, 6))
    for bad in (-1, 50):
        with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)|outside"):
            compiled(torch.tensor([[1, bad]]))


DDP = """
import sys, torch, torch.distributed as dist
from foreword.embeddings import InputEmbedding

def run(rank, port, position):
    store = dist.TCPStore("127.0.0.1", port, 2, rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(rank)  # DDP takes the weights of rank 0
    layer = InputEmbedding(20, 8, 6, position=position, num_heads=2, norm="layer", padding_id=0)
    model = torch.nn.parallel.DistributedDataParallel(layer)
    ids = torch.arange(24).reshape(2, 2, 6) % 20
    model(ids[rank]).square().sum().backward()

    torch.manual_seed(0)
    alone = InputEmbedding(20, 8, 6, position=position, num_heads=2, norm="layer", padding_id=0)
    (alone(ids.reshape(4, 6)).square().sum() / 2).backward()  # DDP averages over ranks
    for (name, a), b in zip(alone.named_parameters(), layer.parameters()):
        torch.testing.assert_close(a.data, b.data, msg=name)
        torch.testing.assert_close(a.grad, b.grad, msg=name)
    dist.destroy_process_group()
    print("same")

run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.parametrize("position", ["learned", pytest.param("rotary", marks=pytest.mark.slow)])
def test_distributed_data_parallel_gives_the_gradients_of_one_process(position):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", DDP, str(rank), port, position],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        out, err = process.communicate(timeout=120)
        assert out.strip() == "same", err


def test_without_torch_the_error_says_what_to_install():
    code = """
        import sys
        sys.modules["torch"] = None
        import foreword
        try:
            foreword.InputEmbedding
        except ImportError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("MissingPackageError"), done.stderr
    assert "pip install torch" in done.stdout
