"""The package as a whole: its names, what importing it costs, and which room may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import foreword

SOURCE = Path(foreword.__file__).parent

# What each part may import of Foreword; what all may import stands in BELOW. Imports point down only.
BELOW = {
    "foreword.errors",
    "foreword._base.files",
    "foreword._base.progress",
    "foreword.display",
    "foreword.display.drawings",
    "foreword.__version__",
}
ROOMS = {"vectors", "tokens", "windows", "embeddings"}
ALLOWED = {
    "errors": set(),
    "_progress": set(),
    "_files": {"foreword.errors"},
    "_urls": {"foreword.errors"},
    "_download": {"foreword.errors", "foreword._base.files", "foreword._base.progress", "foreword._base.urls"},
    "_pictures": {"foreword.errors", "foreword._base.files"},
    "_shown": {"foreword.errors", "foreword.display.drawings"},
    "display": {"foreword.errors", "foreword.display.drawings", "foreword.display.forms"},
    "vectors": BELOW | {"foreword._base.download", "foreword._base.urls"},
    "tokens": BELOW,
    "windows": BELOW | {"foreword.tokens.store.store"},
    "embeddings": BELOW,
}
HEAVY = {"torch", "numba", "pyarrow", "fastapi", "uvicorn", "matplotlib", "ray", "transformers"}


def _modules():
    return sorted(SOURCE.rglob("*.py"))


def _part(path):
    """The room (or the module above or below the rooms) that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(tree, *, only_at_import):
    """(module, name or None, line) of each import; with only_at_import, those that run when the module is imported."""

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if only_at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                if not only_at_import:
                    yield from walk(child)
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, None, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                yield from ((child.module, alias.name, child.lineno) for alias in child.names)
            yield from walk(child)

    return walk(tree)


def _parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_all_is_what_is_exported():
    assert foreword.__all__ == sorted(foreword.__all__)
    assert set(foreword._HOME) | {"__version__"} == set(foreword.__all__)
    for name in foreword.__all__:
        assert getattr(foreword, name) is not None
    assert set(foreword.__all__) <= set(dir(foreword))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        foreword.nothing  # noqa: B018


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down_only(path):
    part = _part(path)
    if part not in ALLOWED:
        return  # above the rooms: it may import them all
    for module, name, line in _imports(_parse(path), only_at_import=False):
        full = f"{module}.{name}"
        if module.split(".")[0] != "foreword" or module.startswith(f"foreword.{part}") or full == f"foreword.{part}":
            continue
        assert module in ALLOWED[part] or full in ALLOWED[part], f"{path}:{line} imports {full}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_heavy_libraries_are_imported_where_they_are_used(path):
    heavy = {m.split(".")[0] for m, _, _ in _imports(_parse(path), only_at_import=True)} & HEAVY
    relative = path.relative_to(SOURCE).as_posix()
    if relative.startswith("embeddings/"):
        heavy -= {"torch"}
    if relative.startswith("explorer/"):
        heavy -= {"fastapi", "uvicorn"}
    if relative.endswith(("kernel.py", "kernels.py")):
        heavy -= {"numba"}  # itself imported only inside functions, as the next test sees
    assert not heavy


@pytest.mark.parametrize(
    "module",
    [
        "foreword",
        "foreword.vectors",
        "foreword.tokens",
        "foreword.windows",
        "foreword.recipes.dataloader",
        "foreword.downloader",
        "foreword.cli",
        "foreword.tour",
    ],
)
def test_importing_stays_cheap(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & HEAVY
    if module == "foreword":
        assert "numpy" not in loaded
        assert not any(name.startswith(tuple(f"foreword.{room}" for room in ROOMS)) for name in loaded)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(_parse(path)), f"{path} has no docstring"
