"""foreword similar and foreword vectors: what they print, and that they stay quick."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import foreword as fw
from faulty_server import running
from foreword.cli import app
from foreword.errors import ArgumentError, FileError, ForewordError, FormatError, UnknownKeyError
from foreword.vectors.sources import catalogue

TEXT = b"4 2\nking 1 0.1\nqueen 0.9 0.4\nman 0.2 1\nwoman 0.1 1\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes(TEXT)
    return path


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, ForewordError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def run_json(*arguments):
    return json.loads(run(*arguments, "--json"))


def test_king_and_woman_less_man():
    assert run("similar", "king", "woman", "--minus", "man", "--topn", 3) == (
        "king + woman − man, in glove-wiki-gigaword-50\n\n   0.8524  queen\n   0.7664  throne\n   0.7592  prince\n"
    )
    told = run_json("similar", "king", "woman", "--minus", "man", "--topn", 1)
    assert told["nearest"] == [{"word": "queen", "score": pytest.approx(0.8523604, abs=2e-6)}]
    assert (told["positive"], told["negative"]) == (["king", "woman"], ["man"])


def test_similar_takes_other_vectors_and_draws(file, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert "queen" in run("similar", "king", "--vectors", file, "--map", tmp_path / "map.png", "--dark")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UnknownKeyError, match="did you mean 'king'"):
        run("similar", "kinf", "--vectors", file)


def test_similar_imports_little():
    code = """if True:
        import sys
        from foreword.cli import main
        sys.argv = ["foreword", "similar", "king", "woman", "--minus", "man"]
        try:
            main()
        except SystemExit:
            print(*sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "queen" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {"pyarrow", "numba", "torch", "rich", "matplotlib", "urllib.request", "ssl", "hypothesis", "filelock"}
    assert not loaded & heavy


def test_words_that_the_terminal_can_not_show(tmp_path):
    (tmp_path / "v.txt").write_text("2 2\nKönig 1 0\n王 0.9 0.1\n", encoding="utf-8")
    command = [sys.executable, "-m", "foreword", "similar", "König", "--vectors", str(tmp_path / "v.txt")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(r"0.9939  \u738b" + "\n")


def test_the_list_is_the_catalogue():
    lines = run("vectors", "list").splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(catalogue.CATALOGUE)
    assert "400,000   50" in next(line for line in lines if line.startswith("glove-wiki-gigaword-50 "))
    told = run_json("vectors", "list")
    assert {entry["name"]: entry["license"] for entry in told} == {
        name: entry.license for name, entry in catalogue.CATALOGUE.items()
    }


def test_the_list_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(app, ["vectors", "list"]).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("glove-wiki-gigaword-50 ") for line in lines)
    assert "    GloVe on Wikipedia 2014 and Gigaword 5, 6 billion tokens" in lines


def test_words_that_cancel_out_have_no_neighbours():
    done = CliRunner().invoke(app, ["similar", "king", "queen", "--minus", "queen", "--minus", "king"])
    assert isinstance(done.exception, ArgumentError)
    assert "cancel out" in str(done.exception)


def test_info_of_a_name_and_of_a_file(file):
    assert "http://opendatacommons.org/licenses/pddl/" in run("vectors", "info", "glove-twitter-25")
    told = run_json("vectors", "info", file)
    assert (told["words"], told["dim"], told["dtype"], told["first"][0]) == (4, 2, "float32", "king")
    assert "king  queen  man  woman" in run("vectors", "info", file)


def test_download_prints_the_path():
    with running() as server:
        server.files["/v.gz"] = gzip.compress(TEXT)
        path = run("vectors", "download", f"{server.url}/v.gz").strip()
    with gzip.open(path) as unpacked:
        assert unpacked.read() == TEXT


def test_convert_makes_a_store_that_moves(file, tmp_path):
    assert "4 words of 2 dimensions" in run("vectors", "convert", file, tmp_path / "store", "--dtype", "float16")
    (tmp_path / "store").rename(tmp_path / "moved")
    file.unlink()
    assert fw.load(tmp_path / "moved").vectors.dtype == np.float16
    with pytest.raises(FileError, match="write the folder"):
        run("vectors", "convert", tmp_path / "moved", tmp_path / "moved")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("out.bin", []),
        ("out.txt", []),
        ("out.vec", ["--format", "glove"]),
        ("out.safetensors", []),
        ("out.npy", []),
        ("out", ["--format", "word2vec-binary"]),
    ],
)
def test_export_is_read_back(file, tmp_path, name, options):
    run("vectors", "export", file, tmp_path / name, *options)
    again = fw.load(tmp_path / name)
    assert list(again.index_to_key) == ["king", "queen", "man", "woman"]
    assert np.array_equal(again.vectors, fw.load(file).vectors)


@pytest.mark.parametrize(
    "line",
    [
        *("export SOURCE folder", "export SOURCE no/such.bin", "export SOURCE file/out.bin", "export SOURCE a.zip"),
        *("export SOURCE a.vocab --format npy", "export SOURCE file --format static", "export SOURCE s3://b/out.bin"),
        *("convert SOURCE folder", "convert SOURCE file"),
    ],
)
def test_a_place_that_can_t_be_written_is_refused_before_vectors_are_loaded(file, tmp_path, monkeypatch, line):
    for place in ("vectors.load", "vectors.sources.opening.open_store"):
        monkeypatch.setattr(f"foreword.{place}", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((FileError, ArgumentError)):
        run("vectors", *[str(file) if word == "SOURCE" else word for word in line.split()])
    assert sorted(tmp_path.rglob("*")) == before


def test_evaluate_both_kinds(file, tmp_path):
    (tmp_path / "questions.txt").write_text(": royal\nman king woman queen\nman woman king queen\n: none\na b c d\n")
    (tmp_path / "pairs.csv").write_text("Word 1,Word 2,Human\nking,queen,9\nman,woman,8\nking,man,2\nking,nobody,1\n")
    (tmp_path / "pairs.txt").write_text("# comment\nking queen 9\nman woman 8\nking man 2\n")
    files = [tmp_path / name for name in ("questions.txt", "pairs.csv", "pairs.txt")]
    questions, csv, spaces = run_json("vectors", "evaluate", file, *files)
    wv = fw.load(file)
    share, sections = wv.evaluate_word_analogies(str(files[0]))
    assert [section["name"] for section in questions["sections"]] == ["royal", "none", "Total accuracy"]
    assert questions["sections"][-1]["correct"] / questions["sections"][-1]["questions"] == share
    assert questions["sections"][0] == {"name": "royal", "correct": len(sections[0]["correct"]), "questions": 2}
    (pearson, _), (spearman, _), unknown = wv.evaluate_word_pairs(str(files[1]), delimiter=",")
    assert (csv["pearson"], csv["spearman"], csv["unknown_percent"]) == (pearson, spearman, unknown)
    assert spaces["pearson"] == csv["pearson"]
    shown = run("vectors", "evaluate", file, *files)
    assert "Total accuracy" in shown
    assert "Spearman" in shown
    assert "25.0 %" in shown
    counted = run_json("vectors", "evaluate", file, files[0], "--count-unknown")[0]
    assert counted["sections"][1] == {"name": "none", "correct": 0, "questions": 1}


@pytest.mark.parametrize("text", ["", "just a line\n", "# only\n", "a\tb\tc\td\n"])
def test_what_is_no_evaluation(file, tmp_path, text):
    (tmp_path / "x").write_text(text)
    with pytest.raises(FormatError, match="neither analogies nor word pairs"):
        run("vectors", "evaluate", file, tmp_path / "x")


@pytest.mark.parametrize("command", ["list", "download", "info", "convert", "export", "evaluate"])
def test_help_has_an_example(command):
    assert "foreword vectors " + command in run("vectors", command, "--help").replace("\n", " ")
