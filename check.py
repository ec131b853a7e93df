"""Every check of the project, one after another: lint, format, types, tests with coverage.

    python check.py            everything, as CI does
    python check.py -m slow    the long campaigns: what follows goes to pytest

Uses the Python that runs it, so run it with the virtual environment's.
"""

import os
import subprocess
import sys
import time

SYSTEMS = ["linux", "win32", "darwin"]
PYTEST = ["-m", "coverage", "run", "-m", "pytest"]
CHECKS = [
    ("lint", ["-m", "ruff", "check", "."]),
    ("format", ["-m", "ruff", "format", "--check", "."]),
    *(
        (f"types on {system}", ["-m", "mypy", "--platform", system, f"--cache-dir=.mypy_cache/{system}"])
        for system in SYSTEMS
    ),
    ("tests", [*PYTEST, *sys.argv[1:]]),
    ("tests without POSIX", [*PYTEST, "-m", "portable and not slow", "tests"]),
    ("coverage", ["-m", "coverage", "combine", "--quiet"]),
    ("coverage", ["-m", "coverage", "report"]),
]


def main() -> int:
    """Run all, and say at the end which failed."""
    failed = []
    for name, arguments in CHECKS:
        print(f"── {name}", flush=True)
        start = time.monotonic()
        environment = os.environ | {"FOREWORD_TEST_WITHOUT_POSIX": str(int(name == "tests without POSIX"))}
        if subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode:
            failed.append(name)
        print(f"   {time.monotonic() - start:.0f} s", flush=True)
    print("failed: " + ", ".join(failed) if failed else "all checks passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
