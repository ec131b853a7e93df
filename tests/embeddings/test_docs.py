"""docs/embeddings.md: its Python runs, from top to bottom, in one namespace."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "embeddings.md"


def test_the_python_runs():
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    namespace = {}
    for block in blocks:
        exec(compile(block, "embeddings.md", "exec"), namespace)
    assert str(namespace["layer"].coverage) in DOCS.read_text(encoding="utf-8")
