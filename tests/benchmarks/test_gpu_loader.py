"""The benchmark that needs a GPU: without one it says so, and its loop runs and counts on the processor too."""

import argparse
import subprocess
import sys

import pytest

from benchmarks.conftest import ROOT, load

torch = pytest.importorskip("torch")

SCRIPT = ROOT / "benchmarks" / "gpu" / "loader.py"


@pytest.fixture(scope="module")
def script():
    return load(SCRIPT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_there_is_no_gpu():
    done = subprocess.run([sys.executable, SCRIPT, "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "left out: a GPU: torch sees none here, and without one there is nothing to overlap\n"


def test_it_counts_the_steps_that_wait(script):
    class Steps:
        """Steps whose work is done when the next batch comes, but for every fourth."""

        taken = 0

        def __call__(self, inputs, targets):
            self.taken += 1

        def idle(self):
            return self.taken % 4 != 0

        def finish(self):
            pass

    steps = Steps()
    seconds, share = script.train(((i, i) for i in range(100)), steps, 40)
    assert (steps.taken, share) == (42, 0.75)
    assert seconds > 0


def test_it_runs_on_the_processor(script):
    options = argparse.Namespace(steps=3, batch=2, context=8, repeats=1, width=[4])
    speed, waits = script.measure(options, device="cpu")
    assert len(speed.rounds) == len(waits.rounds) == 6
    assert all(values == [1.0] for values in waits.rounds.values())  # a processor has done its step when it returns
