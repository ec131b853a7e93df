"""The runner of the benchmarks: contenders in turn, ratios round by round, a table that can be read."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "runner.py"


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("benchmark_runner", PATH)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_contenders_run_in_turn_and_the_ratio_is_taken_round_by_round(runner):
    calls = []

    def contender(name, seconds):
        times = iter(seconds)

        def run():
            calls.append(name)
            return next(times)

        return runner.Contender(name, run)

    ours = contender("ours", [9.0, 1.0, 2.0, 4.0])
    rival = contender("rival", [9.0, 3.0, 4.0, 40.0])
    result = runner.race("a claim", [ours, rival], repeats=3, warmup=1)
    assert calls == ["ours", "rival"] * 4
    assert result.seconds == {"ours": [1.0, 2.0, 4.0], "rival": [3.0, 4.0, 40.0]}
    assert result.median("ours") == 2.0
    assert result.ratio("rival") == 3.0  # of 3, 2 and 10


def test_a_contender_without_a_figure_of_its_own_is_timed(runner):
    result = runner.race("a claim", [runner.Contender("it", lambda: None)], repeats=2)
    assert len(result.seconds["it"]) == 2
    assert min(result.seconds["it"]) >= 0


def test_the_report_can_be_read(runner, capsys):
    result = runner.Result("a claim", {"foreword": [0.002, 0.001, 0.003], "rival": [0.02, 0.01, 0.03]})
    runner.report([result], packages=["numpy"], as_json=False)
    assert "| a claim | rival | 20 ms | 10 ms–30 ms | 10.00 |" in capsys.readouterr().out
    runner.report([result], packages=["numpy"], as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["results"][0]["ratios"] == {"rival": 10.0}
    assert set(told["machine"]) == {"cpu", "cores", "system", "python", "numpy"}


def test_a_fresh_process_prints_its_seconds(runner):
    assert runner.fresh_process("import sys; print('noise'); print(sys.argv[1])", "0.25") == 0.25
