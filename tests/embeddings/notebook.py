"""Runs a notebook's code cells as Jupyter would, in one namespace, without Jupyter.

python tests/embeddings/notebook.py examples/token_embeddings.ipynb      # write the outputs into it
"""

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from unittest import mock


def execute(notebook):
    """The outputs of each code cell, in order, as the file format has them."""
    namespace, told = {"__name__": "__main__"}, []
    for count, cell in enumerate((c for c in notebook["cells"] if c["cell_type"] == "code"), start=1):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        value, stdout = None, io.StringIO()
        with contextlib.redirect_stdout(stdout):
            exec(compile(tree, f"cell {count}", "exec"), namespace)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), namespace)
        outputs = []
        if stdout.getvalue():
            outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(stdout.getvalue())})
        if value is not None:
            with mock.patch.dict(os.environ, COLUMNS="100"):  # whatever the terminal
                data = {"text/plain": _lines(repr(value))}
            if hasattr(value, "_repr_html_"):
                data["text/html"] = _lines(value._repr_html_())
            outputs.append({"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
        told.append(outputs)
    return told


def _lines(text):
    return text.splitlines(keepends=True)


def main(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, (cell, outputs) in enumerate(zip(code, execute(notebook), strict=True), start=1):
        cell["outputs"], cell["execution_count"] = outputs, count
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
