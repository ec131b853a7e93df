"""Run the benchmarks, all or some, and write what they measure to one JSON file.

    python benchmarks/all.py                          every script, on a quiet machine: about an hour
    python benchmarks/all.py vectors loader/epoch     a folder and a script
    python benchmarks/all.py --quick                  small inputs and one round, to see that every script runs
    python benchmarks/all.py --list                   the scripts

The file has the machine, the versions, date and commit, and each script's results. A script that needs what isn't
here (wrk, Chromium, a package) is left out, and the file says why. Run again with the same ``--out``, it replaces the
results of the scripts that it runs and keeps the others, if machine and versions are the same.
``python docs/make_tables.py`` writes the tables of the docs from the files in ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import runner

HERE = Path(__file__).parent
TEXTS = ("real_text.py", "corpus.py")  # they fetch text, and measure nothing


def scripts(folder: Path = HERE) -> list[str]:
    """Every benchmark below ``folder``, as FOLDER/NAME.py: the files that call ``runner.main``."""
    found = (path for path in sorted(folder.glob("*/*.py")) if "\nif __name__" in path.read_text(encoding="utf-8"))
    return [f"{path.parent.name}/{path.name}" for path in found if path.name not in TEXTS]


def chosen(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The scripts that ``names`` name, each a script (with .py or without) or a folder; all where there are none."""
    if not names:
        return list(known)
    matches = {
        name: [script for script in known if name.rstrip("/") in (script, script[:-3], script.partition("/")[0])]
        for name in names
    }
    if unknown := [name for name, found in matches.items() if not found]:
        sys.exit(f"no benchmark is named {', '.join(unknown)}; there are:\n  " + "\n  ".join(known))
    return [script for script in known if any(script in found for found in matches.values())]


def commit(folder: Path = HERE) -> str:
    """The commit of the tree, with + behind it where files (other than results) differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    try:
        changes = git("status", "--porcelain", "--", ":/", ":(top,exclude)benchmarks/results")
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changes.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run(script: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """One script in a process of its own: its results, or why there are none."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "results.json"
        command = [sys.executable, str(folder / script), "--json", str(data), *(["--quick"] if quick else [])]
        start = time.perf_counter()
        code = subprocess.run(command, check=False).returncode
        seconds = round(time.perf_counter() - start, 1)
        results = json.loads(data.read_text()) if data.exists() and not code else {"failed": f"exit status {code}"}
    return {"seconds": seconds, **results}


def fetch_text() -> None:
    """Have the corpus benchmarks' text fetched; where that can't be, they use another, and their notes say which."""
    if subprocess.run([sys.executable, str(HERE / "corpus" / "real_text.py")], check=False).returncode:
        print("Debian's documentation can't be fetched here: the corpus benchmarks use the standard library's")


def begin(out: Path, *, quick: bool) -> dict[str, Any]:
    """What the file holds before the first script: the results that it has, or none yet."""
    new = {"machine": runner.machine(), "versions": runner.versions(), "quick": quick}
    if not out.exists():
        return {**new, "scripts": {}}
    old: dict[str, Any] = json.loads(out.read_text())
    if differ := [key for key in new if old.get(key) != new[key]]:
        sys.exit(f"{out} is of another run ({', '.join(differ)} differ): give another file by --out")
    return old


def main(arguments: Sequence[str] | None = None, folder: Path = HERE) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a script or a folder (default: all)")
    parser.add_argument("--quick", action="store_true", help="small inputs and one round: no figures to quote")
    parser.add_argument("--out", type=Path, help="the file (default: results/DATE-PROCESSOR.json; not with --quick)")
    parser.add_argument("--list", action="store_true", help="print the scripts")
    options = parser.parse_args(arguments)
    names = chosen(options.names, scripts(folder))
    if options.list:
        print("\n".join(names))
        return 0
    processor = re.sub(r"[^a-z0-9]+", "-", runner.machine()["processor"].lower()).strip("-")
    stem = "build/benchmarks-quick" if options.quick else f"benchmarks/results/{dt.date.today()}-{processor}"
    out = options.out or folder.parent / f"{stem}.json"
    if options.quick and not options.out:
        out.unlink(missing_ok=True)
    data = begin(out, quick=options.quick)
    of_now = {"date": f"{dt.date.today()}", "commit": commit(folder)}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, value in data["machine"]["environment"].items():
        print(f"{name}={value} is set: the figures are those of a machine so set, and the file says it")
    if not options.quick and any(name.startswith("corpus/") for name in names):
        fetch_text()
    ran = {}
    for number, script in enumerate(names, 1):
        print(f"── {script} ({number} of {len(names)})", flush=True)
        data["scripts"][script] = ran[script] = of_now | run(script, folder, quick=options.quick)
        out.write_text(json.dumps(data | of_now, indent=1, ensure_ascii=False) + "\n")  # a stop loses nothing
    failed = [script for script, entry in ran.items() if "failed" in entry]
    for script, entry in ran.items():
        print(f"{entry['seconds']:8.1f} s  {script}  {entry.get('failed') or entry.get('left_out') or ''}")
    print(f"{out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
