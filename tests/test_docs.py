"""The documentation: every block runs, the command reference is what --help says, every name and page is reached."""

import doctest
import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import pytest
import typer.testing

import foreword as fw
from foreword.cli import app

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [page for page in PAGES if page.name != "commands.md"]  # its examples don't follow one another: see below
# What users import from. Their __all__ is what the reference has to tell.
PUBLIC = ["", ".vectors", ".tokens", ".windows", ".embeddings", ".recipes", ".downloader", ".display"]
PUBLIC += [".explorer", ".errors"]

BLOCK = re.compile(
    r"^(?:(?P<skip><!-- not run: [^\n]+ -->\n)|<!-- needs: (?P<needs>\w+) -->\n)?"
    r'```(?P<language>python|pycon|sh)(?: title="(?P<title>[\w.]+)")?\n(?P<code>.*?)^```$',
    flags=re.MULTILINE | re.DOTALL,
)


def blocks(page):
    """The Python and the commands of a page, with the line each begins at.

    Not what a comment says isn't run, and why; nor what needs a package that isn't here.
    """
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if not found["skip"] and (not found["needs"] or importlib.util.find_spec(found["needs"])):
            yield text.count("\n", 0, found.start()) + 1, found


@pytest.mark.parametrize("page", [page for page in RUN if list(blocks(page))], ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    """In order, in one namespace, in an empty folder, as a reader would who copies it from top to bottom.

    Blocks with prompts are doctests; a block with a title is written to that file too; of shell the lines are commands
    of Foreword.
    """
    if any(re.search(r"\btorch\b|WindowLoader", block["code"]) for _, block in blocks(page)):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for _ in range(2 if page.parent.name == "how-to" else 1):  # a how-to is followed again
        namespace = {"__name__": page.stem}
        for line, block in blocks(page):
            if block["title"]:
                (tmp_path / block["title"]).write_text(block["code"], encoding="utf-8")
            if block["language"] == "sh":
                run_commands(block["code"], f"{page.name}:{line}")
            elif ">>> " in block["code"]:
                namespace = run_doctest(block["code"], namespace, page, line)
            else:
                with warnings.catch_warnings():
                    if block["needs"]:  # such packages warn of one another
                        warnings.simplefilter("ignore")
                    exec(compile("\n" * line + block["code"], str(page), "exec"), namespace)


def run_doctest(code, namespace, page, line):
    test = doctest.DocTestParser().get_doctest(code, namespace, page.name, str(page), line)
    failures = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    return test.globs


def run_commands(code, where):
    for line in code.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "foreword", f"{where}: can't be run here; say why in a comment above the block: {line}"
        done = typer.testing.CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{where}: {line}\n{done.output}\n{done.exception}"


@pytest.mark.slow
def test_the_script_for_a_cluster_runs_on_several_processes_and_resumes_on_one(tmp_path):
    """docs/how-to/on-a-cluster.md: train.py under torchrun for an epoch, then alone for another."""
    torch = pytest.importorskip("torch")
    (script,) = [block["code"] for _, block in blocks(DOCS / "how-to" / "on-a-cluster.md") if block["title"]]
    fw.prepare(["Every effort moves you, one step and then another. " * 100], tmp_path / "store")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for epochs, command in ((1, torchrun), (2, [sys.executable])):
        (tmp_path / "train.py").write_text(
            script.replace("EPOCHS, EVERY, CHECKPOINT = 2,", f"EPOCHS, EVERY, CHECKPOINT = {epochs},")
        )
        done = subprocess.run([*command, "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["loader"]["epoch"] == epochs


def make_commands():
    spec = importlib.util.spec_from_file_location("make_commands", DOCS / "make_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_what_the_commands_say():
    written = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert written == make_commands().reference(), "run: python docs/make_commands.py"


def test_every_command_has_an_example_and_every_option_a_sentence():
    for section in make_commands().reference().split("\n## ")[1:]:
        name = section.partition("\n")[0]
        assert re.search(rf"^```sh\n{name} ?.*\n```$", section, flags=re.MULTILINE), f"{name} has no example"
        for row in re.findall(r"^\| `.*\|$", section, flags=re.MULTILINE):
            assert not row.endswith("|  |"), f"{name}: an option without help: {row}"


def test_the_command_reference_tells_choices_ranges_usage_and_variables():
    """What --help prints of an option besides its sentence, read out of --help itself."""
    module = make_commands()
    sections = dict(section.split("\n", 1) for section in module.reference().split("\n## ")[1:])
    seen = set()
    for name, told in sections.items():
        assert f"\n```text\n{name}" in told, f"{name} has no usage line"
        help_ = typer.testing.CliRunner().invoke(
            app, [*name.split()[1:], "--help"], env={"COLUMNS": "200", "TERM": "dumb"}
        )
        rows = {row.split("`")[1].lower(): row for row in re.findall(r"^\| `.*\|$", told, flags=re.MULTILINE)}
        option = None
        for line in help_.output.splitlines():
            option = next(iter(re.findall(r"^│ (?:\*\s+)?(--[\w-]+|[a-z]+)(?:\.\.\.)?\s", line)), option)
            row = rows.get(option, "")
            for choices in re.findall(r"<([\w-]+(?:\|[\w-]+)+)>", line):
                assert all(f"`{choice}`" in row for choice in choices.split("|")), f"{name} {option}: {choices}"
                seen.add("choices")
            for bounds in re.findall(r"\[(?=[^]]*x[<>]=)([^]]+)\]", line):
                assert re.findall(r"\d+", bounds) == re.findall(r"\d+", row.split(" | ")[1]), (
                    f"{name} {option}: {bounds}"
                )
                seen.add("bounds")
            for variable in re.findall(r"\[env var: (\w+)", line):
                assert variable in row, f"{name} {option}: {variable}"
                seen.add("variable")
            if "<list[" in line:
                assert "…" in row.split(" | ")[1], f"{name} {option}"
                seen.add("several")
    assert seen == {"choices", "bounds", "variable", "several"}


CORPUS = {
    "my-novel.txt": "It is a truth universally acknowledged that a fortune is wanted. " * 40,
    "reviews.txt": "Good food, slow service.\nNever again.\n",
    "books/one.txt": "Every effort moves you one step further, and every day holds a new lesson. " * 40,
    "corpus.txt": "the king and the queen saw a cat and a dog\n" * 40,
    "questions-words.txt": ": capitals\nparis france berlin germany\n",
    "wordsim353.tsv": "king\tqueen\t8.5\ncat\tdog\t7.3\ncat\tking\t1.2\n",
}
NOT_HERE = {
    "serve",
    "explore",
    "download",
    "convert",
    "remove",
}  # they wait for requests, fetch, or need what is cached
if importlib.util.find_spec("torch") is None:
    NOT_HERE.add("tour")


def test_the_examples_of_the_commands_run(tmp_path, monkeypatch):
    """Those that --help prints, each in a folder with the files that they speak of."""
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```sh\n(foreword .*)\n```$", page, flags=re.MULTILINE)
    run = [line for line in examples if not NOT_HERE & set(line.split())]
    assert len(run) >= 11
    for i, line in enumerate(run):
        folder = tmp_path / str(i)
        for name, text in CORPUS.items():
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(text, encoding="utf-8")
        monkeypatch.chdir(folder)
        if "prepare" not in line:
            fw.prepare("books", "store")
        run_commands(line, "commands.md")


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere():
    told = set(
        re.findall(r":\s+([\w/-]+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert told == {page.relative_to(DOCS).as_posix() for page in PAGES}
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def zensical(folder, docs):
    """Build a site of a copy of ``docs`` in ``folder``, with our settings and code: the finished process."""
    pytest.importorskip("zensical", reason="zensical is not installed (the extra docs)")
    root = DOCS.parent
    settings = (root / "mkdocs.yml").read_text(encoding="utf-8")
    for ours, theirs in (
        ("site_dir: build/site", "site_dir: site"),
        ("paths: [src]", f"paths: [{root}/src]"),
        ("[docs/doctests.py]", f"[{root}/docs/doctests.py]"),
        ("base_path: [.]", f"base_path: [{root}]"),
    ):
        assert ours in settings
        settings = settings.replace(ours, theirs)
    if docs != DOCS:
        settings = settings.partition("\nnav:")[0]
    (folder / "mkdocs.yml").write_text(settings, encoding="utf-8")
    shutil.copytree(docs, folder / "docs", dirs_exist_ok=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once."""
    folder = tmp_path_factory.mktemp("docs")
    built = zensical(folder, DOCS)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def test_the_site_builds_without_a_warning_and_asks_nobody_else(site):
    """Links, anchors and the reference's names are checked by the build."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]*src=\"(https?:)?//", text), page.name
        assert not re.search(r"<link[^>]*rel=\"(stylesheet|preconnect)\"[^>]*href=\"(https?:)?//", text), page.name


def test_every_public_name_is_in_the_reference(site):
    """By the site's own inventory: name, kind, and page of everything that the reference tells."""
    pytest.importorskip("torch", reason="foreword.embeddings needs torch")
    _, _, _, _, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    inventory = {line.split(" ", 1)[0] for line in zlib.decompress(packed).decode().splitlines()}
    for part in PUBLIC:
        module = importlib.import_module(f"foreword{part}")
        for name in module.__all__:
            value = getattr(module, name)
            own = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
            told = {f"foreword{part}.{name}", f"foreword.{name}", own}
            assert told & inventory, f"foreword{part}.{name} is not in the reference"
    for page in site.glob("reference/*/index.html"):
        assert "<blockquote>" not in page.read_text(encoding="utf-8"), f"{page}: an example stands as a quotation"
    for name in ("TokenStore.find", "KeyedVectors.most_similar_batch", "WindowLoader.state_dict"):
        assert f"foreword.{name}" in inventory


def test_a_dead_link_fails_the_build(tmp_path):
    """One link, in a site of one page with our settings."""
    for number, (link, code) in enumerate((("index.md#top", 0), ("index.md#gone", 1), ("gone.md", 1))):
        folder, docs = tmp_path / f"site{number}", tmp_path / f"docs{number}"
        folder.mkdir()
        docs.mkdir()
        (docs / "index.md").write_text(f"# Top\n\n[link]({link})\n")
        built = zensical(folder, docs)
        assert built.returncode == code, f"{link}: {built.stdout + built.stderr}"


def test_every_argument_that_the_reference_lists_is_one(caplog):
    """Zensical doesn't stop at what griffe warns of: an argument that isn't there, or two on one line."""
    griffe = pytest.importorskip("griffe", reason="mkdocstrings is not installed (the extra docs)")
    package = griffe.load("foreword", search_paths=[DOCS.parent / "src"])
    seen = 0
    for part in PUBLIC:
        module = package[part[1:]] if part else package
        for name in importlib.import_module(f"foreword{part}").__all__:
            named = module.members.get(name)  # lazy names of the package itself are in none of griffe's
            if named is None:
                continue
            value = named.final_target if named.is_alias else named
            members = [each for each in value.members.values() if not each.is_alias] if value.is_class else []
            for each in (value, *members):
                if each.docstring and not each.name.startswith("_"):
                    each.docstring.parse("google")
                    seen += 1
    assert seen > 250
    assert not caplog.records, caplog.text
