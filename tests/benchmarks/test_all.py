"""benchmarks/all.py: which scripts run, and the file that they fill."""

import json

import pytest

SCRIPT = """
import sys
sys.path.insert(0, {benchmarks!r})
from runner import NotInstalled, Result, main

def measure(options):
    {first}
    return [Result("a claim", {{"Foreword": [float(options.repeats)], "rival": [2.0]}})]

if __name__ == "__main__":
    main(measure, __doc__, repeats=3)
"""


@pytest.fixture
def folder(tmp_path, everything):
    """A folder of benchmarks: one that runs, one that lacks something, one that fails; and a module."""
    for name, first in (("fast/a", ""), ("fast/b", "raise NotInstalled('wrk')"), ("slow/c", "1 / 0")):
        path = tmp_path / "benchmarks" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCRIPT.format(benchmarks=str(everything.HERE), first=first))
    (tmp_path / "benchmarks" / "fast" / "module.py").write_text("")
    return tmp_path / "benchmarks"


def test_scripts_are_chosen_by_name_and_by_folder(everything, folder):
    known = everything.scripts(folder)
    assert known == ["fast/a.py", "fast/b.py", "slow/c.py"]
    assert everything.chosen([], known) == known
    assert everything.chosen(["slow/c", "fast/a.py"], known) == ["fast/a.py", "slow/c.py"]
    assert everything.chosen(["fast/"], known) == ["fast/a.py", "fast/b.py"]
    with pytest.raises(SystemExit, match=r"no benchmark is named fast/z; there are:\n  fast/a\.py"):
        everything.chosen(["fast/z", "slow"], known)


def test_the_file_has_machine_versions_date_commit_and_each_scripts_results(everything, folder, tmp_path):
    out = tmp_path / "results.json"
    assert everything.main(["fast", "--quick", "--out", str(out)], folder) == 0
    data = json.loads(out.read_text())
    assert {"machine", "versions", "date", "commit", "quick", "scripts"} == set(data)
    assert data["quick"] is True
    assert data["machine"]["processor"]
    assert data["versions"]["numpy"]
    assert data["scripts"]["fast/a.py"]["results"][0]["ratios"] == {"rival": 2.0}  # --quick: one round
    assert data["scripts"]["fast/b.py"]["left_out"] == "wrk"
    assert data["commit"] == data["scripts"]["fast/a.py"]["commit"] == "unknown"  # not in a repository


def test_a_script_that_fails_is_named_and_the_others_run(everything, folder, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert everything.main(["--out", str(out)], folder) == 1
    assert "failed: slow/c.py" in capsys.readouterr().out
    data = json.loads(out.read_text())
    assert data["scripts"]["slow/c.py"]["failed"] == "exit status 1"
    assert data["scripts"]["fast/a.py"]["results"][0]["rounds"]["Foreword"] == [3.0]


def test_a_later_run_keeps_what_it_does_not_measure_anew(everything, folder, tmp_path):
    out = tmp_path / "results.json"
    everything.main(["--out", str(out)], folder)
    (folder / "slow" / "c.py").write_text((folder / "fast" / "a.py").read_text())
    assert everything.main(["slow", "--out", str(out)], folder) == 0
    scripts = json.loads(out.read_text())["scripts"]
    assert set(scripts) == {"fast/a.py", "fast/b.py", "slow/c.py"}
    assert "results" in scripts["slow/c.py"]


def test_runs_of_two_machines_never_mix(everything, folder, tmp_path):
    out = tmp_path / "results.json"
    everything.main(["fast", "--out", str(out)], folder)
    data = json.loads(out.read_text())
    data["machine"]["processor"] = "another"
    out.write_text(json.dumps(data))
    with pytest.raises(SystemExit, match=r"is of another run \(machine differ\)"):
        everything.main(["fast", "--out", str(out)], folder)
    with pytest.raises(SystemExit, match=r"machine, quick"):
        everything.main(["fast", "--quick", "--out", str(out)], folder)
    assert json.loads(out.read_text()) == data
