"""The documentation: every Python block runs, the command reference is current, and every page is reached."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def blocks(page):
    """The Python of a page, with the line each block begins at; not those that a comment says are not run, and why."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^(<!-- not run: .+ -->\n)?```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if not found.group(1):
            yield text.count("\n", 0, found.start()) + 1, found.group(2)


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page))], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """In order, in one namespace, in an empty folder; blocks with prompts are doctests."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    for line, block in blocks(page):
        if ">>> " not in block:
            exec(compile("\n" * line + block, str(page), "exec"), namespace)
            continue
        test = doctest.DocTestParser().get_doctest(block, namespace, page.name, str(page), line)
        failures = []
        doctest.DocTestRunner(optionflags=flags).run(test, out=failures.append, clear_globs=False)
        assert not failures, "".join(failures)
        namespace = test.globs


def test_the_command_reference_is_what_the_commands_say():
    spec = importlib.util.spec_from_file_location("make_commands", DOCS / "make_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert written == module.reference(), "run: python docs/make_commands.py"


def test_every_command_has_an_example_and_every_option_a_sentence():
    spec = importlib.util.spec_from_file_location("make_commands", DOCS / "make_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for section in module.reference().split("\n## ")[1:]:
        name = section.partition("\n")[0]
        assert "foreword" in section.partition("\n")[2], f"{name} has no example"
        for row in re.findall(r"^\| `.*\|$", section, flags=re.MULTILINE):
            assert not row.endswith("|  |"), f"{name}: an option without help: {row}"


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere():
    told = set(
        re.findall(r":\s+([\w/-]+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert told == {page.relative_to(DOCS).as_posix() for page in PAGES}
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_site_builds_without_a_warning_and_asks_nobody_else(tmp_path):
    """Links, anchors and the reference's names are checked by the build."""
    pytest.importorskip("material", reason="mkdocs-material is not installed (the extra docs)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]*src=\"(https?:)?//", text), page.name
        assert not re.search(r"<link[^>]*rel=\"(stylesheet|preconnect)\"[^>]*href=\"(https?:)?//", text), page.name
