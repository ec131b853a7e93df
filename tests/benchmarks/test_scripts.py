"""The benchmarks: each can be imported, imports what there is, and its packages are pinned."""

import importlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
IMPORT = re.compile(r"^\s*from (foreword[\w.]*) import (\([^)]*\)|[^;\n]*)", re.MULTILINE)
IMPORT_ALL = """
import runpy, sys
for script in sys.argv[1:]:
    before = list(sys.path)
    assert "measure" in runpy.run_path(script, run_name="imported"), script
    sys.path[:] = before
"""


def test_every_script_can_be_imported(everything):
    pytest.importorskip("torch")
    scripts = everything.scripts()
    assert len(scripts) >= 23
    command = [sys.executable, "-c", IMPORT_ALL, *(str(BENCHMARKS / script) for script in scripts)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_what_the_scripts_import_of_foreword_is_there():
    """Also inside the code that they run in fresh processes."""
    pytest.importorskip("torch")
    found = 0
    for path in sorted(BENCHMARKS.rglob("*.py")):
        for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
            for name in re.findall(r"\w+", names.partition(" as ")[0]):
                thing = importlib.import_module(module)
                if not hasattr(thing, name):
                    importlib.import_module(f"{module}.{name}")
                found += 1
    assert found >= 20


def test_a_script_runs_through_all(everything, tmp_path):
    out = tmp_path / "results.json"
    assert everything.main(["corpus/open_store", "--quick", "--out", str(out)]) == 0
    (result,) = json.loads(out.read_text())["scripts"]["corpus/open_store.py"]["results"]
    assert set(result["medians"]) == {"Foreword", "Foreword, 10 GB"}


@pytest.mark.slow
def test_every_script_runs_or_says_what_it_lacks(everything, make_tables, tmp_path):
    """All of them, small; and each figure of the docs' tables is one that a script gives, sizes aside."""
    for package in ("gensim", "datasets", "datatrove", "grain", "trl", "transformers"):
        pytest.importorskip(package, reason="the extra bench is not installed")
    out = tmp_path / "results.json"
    assert everything.main(["--quick", "--out", str(out)]) == 0
    scripts = json.loads(out.read_text())["scripts"]

    def sizeless(claim):
        return re.sub(r"\d[\d,.]*", "#", claim)

    given = {
        (script, sizeless(result["claim"]), sizeless(name))
        for script, entry in scripts.items()
        for result in entry.get("results", [])
        for name in result["medians"]
    }
    left_out = {script for script, entry in scripts.items() if "left_out" in entry}
    if importlib.util.find_spec("litdata") is None:
        given |= {("loader/epoch.py", claim, "litdata") for script, claim, _ in given if script == "loader/epoch.py"}
    shown = {
        (script, sizeless(claim), sizeless(name))
        for table in make_tables.TABLES.values()
        for script, claim, name in table.figures()
        if script not in left_out
    }
    assert shown <= given


def pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(n): v for n, _, v in (line.partition("==") for line in lines if not line.startswith("#"))}


@pytest.mark.parametrize("extra", ["dev", "clients", "bench"])
def test_the_constraints_pin_what_an_extra_asks_for(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions, extras = pinned(), project["optional-dependencies"]
    waiting, seen = [*project["dependencies"], *extras[extra]], set()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == "foreword":
            waiting += [line for name in requirement.extras - seen for line in extras[name]]
            seen |= requirement.extras
        elif requirement.marker is None or requirement.marker.evaluate():
            assert versions[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_constraints_fit_together():
    """As far as the packages installed here tell: pip would look for older ones for minutes, and give up."""
    versions, conflicts = pinned(), []
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)
        if versions.get(name) != distribution.version.partition("+")[0]:
            continue
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                version = versions.get(canonicalize_name(requirement.name))
                if version and version not in requirement.specifier:
                    conflicts.append(f"{name} {distribution.version} wants {requirement}, pinned is {version}")
    assert not conflicts


def test_the_extra_bench_has_what_litdata_imports():
    """It is installed without its requirements, because of torchvision."""
    if importlib.util.find_spec("litdata") is None:
        pytest.skip("litdata is not installed")
    wanted = {canonicalize_name(Requirement(line).name) for line in importlib.metadata.requires("litdata") or []}
    assert wanted - {"torchvision"} <= pinned().keys()
    assert "torchvision" not in pinned()
