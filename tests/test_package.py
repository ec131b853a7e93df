"""The package as a whole: its names, what importing it costs, and which part may import which."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import foreword
from foreword import _moved
from without_posix import MODULES as POSIX_MODULES
from without_posix import only_posix

SOURCE = Path(foreword.__file__).parent

# What each part may import of Foreword besides itself. Imports point down only; a part is a file or folder of the root.
BELOW = {"errors", "_base"}
PACKAGES = {"vectors", "tokens", "windows", "embeddings"}
ALLOWED = {
    "errors": set(),
    "_moved": set(),
    "_base": {"errors"},
    "vectors": BELOW,
    "tokens": BELOW,
    "windows": BELOW | {"tokens"},  # its store at most: see below
    "embeddings": BELOW,
    "display": BELOW | PACKAGES,
    "recipes": BELOW | PACKAGES,
    "downloader": BELOW | {"vectors"},
    "tour": BELOW | PACKAGES | {"recipes"},
    "explorer": BELOW | PACKAGES | {"display", "recipes", "foreword"},
    "cli": BELOW | PACKAGES | {"display", "recipes", "downloader", "tour", "explorer", "foreword"},
    "__main__": {"cli"},
    "__init__": BELOW | PACKAGES | {"_moved", "recipes", "downloader"},
}
HEAVY = {"torch", "numba", "pyarrow", "fastapi", "uvicorn", "matplotlib", "ray", "transformers"}


def _modules():
    return sorted(SOURCE.rglob("*.py"))


def _part(path):
    """The package or module of the root that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(tree, *, only_at_import, types=True):
    """(module, name or None, line) of each import; with only_at_import, those that run when the module is imported.

    Without ``types``, less those that are there for type checkers alone.
    """

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if only_at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                if types and not only_at_import:
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


@pytest.mark.torch
def test_all_is_what_is_exported():
    assert foreword.__all__ == sorted(foreword.__all__)
    assert set(foreword._HOME) | {"__version__"} == set(foreword.__all__)
    for name in foreword.__all__:
        assert getattr(foreword, name) is not None
    assert set(foreword.__all__) <= set(dir(foreword))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        foreword.nothing  # noqa: B018


def _name(path):
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for path in _modules()}


def _targets(tree, **options):
    """(module of ours, line) of each import: of ``from package import module`` the module."""
    for module, name, line in _imports(tree, **options):
        if module.split(".")[0] == "foreword":
            full = f"{module}.{name}"
            yield (full if full in MODULES else module), line


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down_only(path):
    part = _part(path)
    allowed = ALLOWED[part] | {part}
    for module, line in _targets(_parse(path), only_at_import=False):
        first = module.split(".")[1] if "." in module else "foreword"
        assert first in allowed, f"{path}:{line} imports {module}"
        assert part != "windows" or first != "tokens" or module.startswith("foreword.tokens.store"), f"{path}:{line}"


def _edges(path):
    """The modules that a file needs, at once or later: lazy imports too, and names of modules in strings."""
    tree = _parse(path)
    yield from (module for module, _ in _targets(tree, only_at_import=False, types=False))
    if _name(path) != "foreword._moved":  # the names of what is gone
        strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        yield from (value for value in strings if isinstance(value, str) and "." in value and value in MODULES)


def test_there_is_no_circle_of_imports():
    """Lazy imports included; names for type checkers alone aside."""
    needs = {name: sorted(set(_edges(path)) - {name}) for name, path in MODULES.items()}
    assert any(module.startswith("foreword.display") for module in needs["foreword._base.notebook"]), "strings count"
    done, path = set(), []

    def visit(name):
        assert name not in path, "a circle: " + " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in needs[name]:
            visit(other)
        done.add(path.pop())

    for name in needs:
        visit(name)


def _only_posix(tree):
    """What of POSIX alone a module uses: names of os, also in hasattr and getattr, and modules."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name("os"), name) | ast.Call(args=[ast.Name("os"), ast.Constant(str(name)), *_]):
                if only_posix(name):
                    yield f"os.{name}"
            case ast.ImportFrom("os", names):
                yield from (f"os.{alias.name}" for alias in names if only_posix(alias.name))
            case ast.Import(names):
                yield from (alias.name for alias in names if alias.name in POSIX_MODULES)
            case ast.ImportFrom(module) if module in POSIX_MODULES:
                yield module


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_only_posix_has_is_used_in_one_place(path):
    found = set(_only_posix(_parse(path)))
    if _name(path) == "foreword._base.system":
        assert {"os.sched_getaffinity", "os.memfd_create", "os.O_NONBLOCK"} <= found
    else:
        assert not found, f"{path}: what only POSIX has stands in _base/system.py, a portable way beside it"


def test_no_file_is_over_500_lines():
    assert not {name: n for name, path in MODULES.items() if (n := len(path.read_text("utf-8").splitlines())) > 500}


@pytest.mark.parametrize("package", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_what_a_package_exports_is_sorted_and_there(package):
    if package in ("foreword", "foreword.embeddings"):
        pytest.importorskip("torch")
    module = pytest.importorskip(package) if package == "foreword.explorer" else importlib.import_module(package)
    exported = getattr(module, "__all__", [])
    assert list(exported) == sorted(exported)
    assert all(getattr(module, name) is not None for name in exported)


@pytest.mark.parametrize(
    ("old", "names"),
    [
        ("foreword.embed", ["embed", "Embedded"]),
        ("foreword.pipeline", ["create_dataloader"]),
        ("foreword.tokens.documents", ["Reading"]),
        ("foreword.tokens.formats", ["export"]),
        ("foreword.tokens.inspection", ["inspect"]),
        ("foreword.tokens.tokenizer", ["Tokenizer", "get_tokenizer"]),
        ("foreword.tokens.train", ["train_tokenizer"]),
        ("foreword.vectors.word_map", ["WordMap", "draw", "word_map"]),
    ],
)
def test_old_paths_of_public_names_still_work_and_say_where_they_are_now(old, names):
    assert old in _moved.MOVED
    home = importlib.import_module(_moved.MOVED[old][0])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import from {home.__name__}") as warned:
        module = importlib.import_module(old)
    assert warned[0].filename == importlib.__file__  # the importer's place, not ours
    for name in names:  # the first of them may be hidden in its package by the module of that name
        new = _moved.MOVED[old][1].get(name, name)
        assert getattr(module, name) is getattr(home, new)
    with pytest.raises(AttributeError):
        module.nothing  # noqa: B018


def test_every_old_path_is_tested():
    mark = next(m for m in test_old_paths_of_public_names_still_work_and_say_where_they_are_now.pytestmark)
    assert {old for old, _ in mark.args[1]} == set(_moved.MOVED)


def test_a_function_of_an_old_modules_name_is_still_called_after_that_module_is_imported():
    code = """
import warnings
warnings.simplefilter("ignore")
from foreword import load
import foreword.vectors.word_map as old
from foreword.vectors import word_map
wv = load("glove-wiki-gigaword-50")
print(word_map(wv, ["king", "queen"]).words, old.word_map(wv, ["king"]).words)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "['king', 'queen'] ['king']\n"


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
        "foreword.recipes",
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
        assert not any(name.startswith(tuple(f"foreword.{room}" for room in PACKAGES)) for name in loaded)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(_parse(path)), f"{path} has no docstring"
