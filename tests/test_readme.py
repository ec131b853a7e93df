"""The README: its two commands stand where CI looks for them, and its Python runs."""

import re
from pathlib import Path

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


def test_the_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    for name in ("one", "two"):
        (tmp_path / "corpus" / f"{name}.txt").write_text(f"The quick brown fox, number {name}. " * 20, encoding="utf-8")
    namespace = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["x"].shape == (8, 4, 256)
