"""The runner of the benchmarks: contenders in turn, ratios round by round, a table and data that can be read."""

import json

import pytest


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
    assert result.rounds == {"ours": [1.0, 2.0, 4.0], "rival": [3.0, 4.0, 40.0]}
    assert result.median("ours") == 2.0
    assert result.ratio("rival") == 3.0  # of 3, 2 and 10


def test_a_contender_without_a_figure_of_its_own_is_timed(runner):
    result = runner.race("a claim", [runner.Contender("it", lambda: None)], repeats=2)
    assert len(result.rounds["it"]) == 2
    assert min(result.rounds["it"]) >= 0


def test_a_ratio_to_nothing_is_none(runner):
    assert runner.Result("memory", {"ours": [0.0], "rival": [3.0]}, unit="MB").ratio("rival") is None


@pytest.mark.parametrize(
    ("value", "options", "shown"),
    [
        (0.0104, {}, "10.4 ms"),
        (2, {}, "2 s"),
        (74.52, {}, "74.5 s"),
        (1234.5, {}, "1,230 s"),
        (2.139e-4, {}, "214 µs"),
        (0.5, {"work": 20.0, "rate": "MB/s"}, "40 MB/s"),
        (1e-3, {"work": 1.4502, "rate": "M tokens/s"}, "1,450 M tokens/s"),
        (0.0061, {"unit": "%"}, "0.0061 %"),
        (1606.4, {"unit": "MB"}, "1,610 MB"),
        (0.0, {"unit": "MB"}, "0 MB"),
    ],
)
def test_figures_have_three_digits_and_a_unit(runner, value, options, shown):
    assert runner.figure(value, **options) == shown


def run(runner, monkeypatch, *arguments, measure=None, **settings):
    """The command line of a benchmark with ``arguments``; returns the options that its measure got."""
    seen = []

    def default(options):
        seen.append(options)
        return [runner.Result("a claim", {"Foreword": [0.002, 0.001, 0.003], "rival": [0.02, 0.01, 0.03]})]

    monkeypatch.setattr("sys.argv", ["script.py", *map(str, arguments)])
    runner.main(measure or default, "What it claims.", **settings)
    return seen


def test_a_script_prints_a_table_and_writes_data(runner, monkeypatch, tmp_path, capsys):
    out = tmp_path / "results.json"
    run(runner, monkeypatch, "--json", out)
    assert "| a claim | rival | 20 ms | 10 ms–30 ms | 10.00 |" in capsys.readouterr().out
    (result,) = json.loads(out.read_text())["results"]
    assert result["medians"] == {"Foreword": 0.002, "rival": 0.02}
    assert result["ratios"] == {"rival": 10.0}
    assert result["rounds"]["rival"] == [0.02, 0.01, 0.03]


def test_quick_takes_the_small_sizes_unless_a_size_is_given(runner, monkeypatch):
    sizes = {"words": ([400_000, 3_000_000], [4_000]), "dim": (300, 50)}
    (options,) = run(runner, monkeypatch, repeats=7, sizes=sizes)
    assert (options.repeats, options.words, options.dim) == (7, [400_000, 3_000_000], 300)
    (options,) = run(runner, monkeypatch, "--quick", "--dim", "20", repeats=7, sizes=sizes)
    assert (options.repeats, options.words, options.dim) == (1, [4_000], 20)


def test_what_is_not_installed_leaves_a_script_out(runner, monkeypatch, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert run(runner, monkeypatch, "--json", out, needs=["no-such-package"]) == []
    assert "no-such-package" in json.loads(out.read_text())["left_out"]

    def measure(options):
        raise runner.NotInstalled("wrk: apt-get install wrk")

    run(runner, monkeypatch, "--json", out, measure=measure)
    assert json.loads(out.read_text()) == {"left_out": "wrk: apt-get install wrk"}
    assert "left out: wrk" in capsys.readouterr().out


def test_the_machine_is_described(runner):
    machine = runner.machine()
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert set(machine["instructions"]) <= set(runner.INSTRUCTIONS)
    assert runner.versions()["numpy"]


def test_a_fresh_process_gives_its_last_line(runner):
    assert runner.seconds_of("import sys; print('noise'); print(sys.argv[1])", "0.25") == 0.25
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        runner.fresh_process("1 / 0")
