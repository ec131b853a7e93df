"""docs/windows.md: its Python runs, from top to bottom, in one namespace."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "windows.md"


@pytest.mark.torch
def test_the_code_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block, "windows.md", "exec"), namespace)
    mask, batch = namespace["mask"], namespace["batch"]
    assert mask.shape == (4, 64, 64)
    assert batch["cu_seqlens"].shape == (4, 65)
    assert "stored =" in capsys.readouterr().out
