"""The error tree: built-ins, messages, lazy facts, pickling."""

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

from foreword import errors

BUILT_IN = {
    errors.ArgumentError: ValueError,
    errors.ArgumentTypeError: TypeError,
    errors.UnknownKeyError: KeyError,
    errors.UnknownNameError: ValueError,
    errors.SpecialTokenError: ValueError,
    errors.TooShortError: ValueError,
    errors.TokenIdError: IndexError,
    errors.OutOfRangeError: IndexError,
    errors.FormatError: ValueError,
    errors.TextDecodeError: UnicodeDecodeError,
    errors.FileError: OSError,
    errors.MissingFileError: FileNotFoundError,
    errors.DownloadError: OSError,
    errors.StoreError: ValueError,
    errors.MissingPackageError: ImportError,
}


def make(kind, **facts):
    if kind is errors.TextDecodeError:
        return kind("a problem", cause=UnicodeDecodeError("utf-8", b"ab\xff", 2, 3, "invalid start byte"), **facts)
    return kind("a problem", **facts)


def test_the_table_covers_the_tree():
    defined = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BaseException)}
    assert {kind.__name__ for kind in defined} == set(errors.__all__)
    assert defined - {errors.ForewordError} == set(BUILT_IN), "an error that no test here tries"
    assert all(issubclass(kind, errors.ForewordError) for kind in defined)
    drawn = re.findall(r"── (\w+) +(\w+) ", errors.__doc__)
    assert dict(drawn) == {kind.__name__: of.__name__ for kind, of in BUILT_IN.items()}, "the drawing is not the tree"


def test_every_error_of_foreword_is_in_the_tree():
    """What is raised to a user stands in errors.py; what another module defines is its own, and has a name with _."""
    source = Path(errors.__file__).parent
    for path in sorted(set(source.rglob("*.py")) - {Path(errors.__file__)}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases
            ):
                assert node.name.startswith("_"), f"{path}: {node.name}"


def test_what_is_missing_is_installed_by_its_own_name():
    """Foreword is on no index: pip install "foreword[torch]" would fail, or install what somebody put there."""
    source = Path(errors.__file__).parent
    assert not [path for path in source.rglob("*.py") if re.search(r"foreword\[", path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("kind", "built_in"), BUILT_IN.items(), ids=lambda kind: kind.__name__)
def test_each_error_is_the_built_in_that_a_user_would_catch(kind, built_in):
    with pytest.raises(built_in):
        raise make(kind)
    with pytest.raises(errors.ForewordError):
        raise make(kind)


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.__name__)
def test_the_message_has_a_line_for_each_fact(kind):
    error = make(kind, got=1, expected="two", where="here", fix=lambda: "do this")
    assert str(error) == "a problem\n  got:      1\n  expected: two\n  where:    here\n  fix:      do this"
    assert str(make(kind)) == "a problem"


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("clone", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_errors_come_home_from_workers(kind, clone):
    error = make(kind, got=lambda: "computed", fix="do this")
    again = clone(error)
    assert type(again) is kind
    assert str(again) == str(error)
    if kind is errors.TextDecodeError:
        assert (again.encoding, again.object, again.start) == ("utf-8", b"\xff", 0)


def test_a_lazy_fact_is_computed_once_and_only_when_shown():
    calls = []
    error = errors.UnknownKeyError("unknown", fix=lambda: calls.append(1) or "fix")
    assert not calls
    assert str(error) == str(error)
    assert calls == [1]


def test_a_file_error_keeps_what_the_system_said():
    cause = PermissionError(13, "Permission denied", "some/file")
    error = pickle.loads(pickle.dumps(errors.FileError("can't", cause=cause)))
    assert (error.errno, error.strerror, error.filename) == (13, "Permission denied", "some/file")


def test_names_of_files_do_not_steer_the_terminal():
    error = errors.FileError(
        "can't read \x1b]0;title\x07", got="a\x9bb\x7f", where="\x1b[31mred\u202etxt.gpj", fix="two\nlines"
    )
    said = str(error)
    assert not set(said) & set("\x1b\x07\x9b\x7f\u202e")
    assert r"\x1b[31mred\u202etxt.gpj" in said
    assert "two\nlines" in said
    assert error.fact("where") == "\x1b[31mred\u202etxt.gpj"  # for programs, as it is
