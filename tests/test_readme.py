"""The README: its two commands stand where CI looks for them, and its Python runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(
        rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def test_the_two_commands_stand_first():
    main, tests = blocks("sh")[:2]
    assert "foreword tour" in main
    assert "check.py" in tests
    assert main.count("\n") == tests.count("\n") == 1, "a command is one line"


@pytest.mark.torch
def test_the_python_runs_as_it_is_printed(tmp_path, monkeypatch):
    """In order, in an empty folder; and once more in that folder."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        namespace = {}
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), namespace)
        assert namespace["x"].shape == (8, 4, 256)
