"""examples/token_embeddings.ipynb: every cell runs, and prints what the file says it prints."""

import json
from pathlib import Path

import pytest

from . import notebook

PATH = Path(__file__).parents[2] / "examples" / "token_embeddings.ipynb"


@pytest.mark.torch
def test_every_output_is_what_the_cell_gives():
    told = json.loads(PATH.read_text(encoding="utf-8"))
    code = [cell for cell in told["cells"] if cell["cell_type"] == "code"]
    outputs = notebook.execute(told)
    assert len(outputs) == len(code) >= 12
    for cell, got in zip(code, outputs, strict=True):
        assert cell["outputs"] == got, "".join(cell["source"])
