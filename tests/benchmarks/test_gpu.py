"""benchmarks/gpu: it says where there is no GPU, and the same code runs on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "embeddings.py"


def run(tmp_path, *options):
    out = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--json", str(out), *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_there_is_no_gpu(tmp_path):
    out, data = run(tmp_path)
    assert "left out: a GPU: torch sees no CUDA device" in out
    assert data == {"left_out": out.removeprefix("left out: ").strip()}


def test_the_same_code_runs_on_a_cpu(tmp_path):
    _, data = run(tmp_path, "--device", "cpu")
    results = data["results"]
    assert [result["claim"].partition(" [")[0] for result in results] == [
        "forward",
        "forward + backward",
        "forward + backward + step",
    ]
    for result in results:
        assert {"Foreword", "limit"} <= set(result["medians"])
        assert len(result["medians"]) == 5
        assert all(value > 0 for value in result["medians"].values())


def test_the_bytes_that_must_move(gpu_embeddings):
    work = gpu_embeddings.Work(torch.device("cpu"), 1000, 2, 3, 8, 1)
    work.rows = 5.0
    ids, rows, output = 8 * 6, (5 + 3) * 8 * 4, 6 * 8 * 4
    assert work.moved() == ids + rows + output
    assert work.moved(backward=True) == 2 * (ids + rows + output)
    assert work.moved(backward=True, step=True) == 2 * (ids + rows + output) + 7 * rows


@pytest.mark.parametrize("wrong", ["output", "gradient", "step"])
def test_contenders_that_do_not_agree_are_not_timed(gpu_embeddings, wrong):
    work = gpu_embeddings.Work(torch.device("cpu"), 50, 2, 3, 8, 1)
    modules = {name: work.module(gpu_embeddings.Two) for name in ("ours", "theirs")}
    optimizers = {name: [torch.optim.SGD(module.parameters(), lr=1e-3)] for name, module in modules.items()}
    calls = {name: gpu_embeddings.learning(work, module, optimizers[name]) for name, module in modules.items()}
    gpu_embeddings.agree(work, modules, calls)
    if wrong == "output":
        with torch.no_grad():
            modules["theirs"].token_embedding.weight.add_(1e-3)
    elif wrong == "gradient":
        modules["theirs"].token_embedding.weight.register_hook(lambda grad: grad * 1.01)
    else:
        optimizers["theirs"][0].param_groups[0]["lr"] = 1.0
    with pytest.raises(AssertionError):
        gpu_embeddings.agree(work, modules, calls)
