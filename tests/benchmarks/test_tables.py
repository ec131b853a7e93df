"""The docs' tables of figures: written from benchmarks/results/, by docs/make_tables.py and by nothing else."""

import json
import re

import pytest


def test_the_pages_show_what_the_files_of_results_say(make_tables):
    runs = make_tables.load()
    pages = make_tables.pages()
    assert len(pages) >= 7
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text == make_tables.written(text, runs), f"{page.name}: run python docs/make_tables.py"


def test_every_table_stands_in_a_page(make_tables):
    shown = [found[2] for page in make_tables.pages() for found in make_tables.MARKED.finditer(page.read_text("utf-8"))]
    assert set(shown) == {*make_tables.TABLES, "processors", "spread", "files"}
    assert len([name for name in shown if name != "spread"]) == len(set(shown)) - 1, "a table stands twice"


def test_no_table_of_figures_is_written_by_hand(make_tables):
    """A cell with a time, a rate or a size in bytes outside the markers; losses and limits are not figures of a run."""
    for page in [make_tables.ROOT / "README.md", *(make_tables.ROOT / "docs").glob("*.md")]:
        if page.name == "log.md":
            continue
        rest = make_tables.MARKED.sub("", page.read_text(encoding="utf-8"))
        assert not re.findall(r"^\|.*\| *[\d,.]+ (?:s|ms|µs|MB|MB/s) *[|(;].*$", rest, re.MULTILINE), page.name


def test_the_picture_is_drawn_from_the_same_file_as_the_table_beside_it(make_figure):
    matplotlib = pytest.importorskip("matplotlib")
    text = make_figure.IMAGE.read_text(encoding="utf-8")
    if f"Matplotlib v{matplotlib.__version__}" not in text:
        pytest.skip("drawn by another version of matplotlib")
    assert text == make_figure.picture(), "run python docs/make_figure.py"


def run(make_tables, processor, date, results, **more):
    """A file of results with one script, bench/x.py."""
    machine = {"processor": processor, "family": "", "instructions": ["avx2", "avx512_vnni"], "cores": 2}
    machine |= {"memory_gb": 24, "system": "Linux x86_64", "python": "3.11.7"}
    entry = {"date": date, "commit": "abc", "results": results}
    data = {"machine": machine, "versions": {"numpy": "2.4.6"}, "quick": False, "date": date, "commit": "abc", **more}
    return make_tables.Run(f"{date}.json", {**data, "scripts": {"bench/x.py": entry}})


def result(claim, **medians):
    ours = medians["Foreword"]
    ratios = {name: value / ours for name, value in medians.items() if name != "Foreword"}
    return {"claim": claim, "unit": "s", "work": None, "rate": "", "medians": medians, "ratios": ratios}


@pytest.fixture
def table(make_tables):
    rivals = {"gensim": "gensim, mapped"}
    row = make_tables.sys.modules["tables"].Row
    rows = [row("the work", "bench/x.py", "work", rivals), row("more", "bench/x.py", "more", rivals)]
    return make_tables.Claims(rows, ["numpy", "torch"])


def test_a_table_is_of_the_machine_that_has_most_of_it_and_says_what_that_lacks(make_tables, table):
    full = result("work", Foreword=0.003, gensim=0.0104)
    old = run(make_tables, "AMD EPYC 9B14 Processor", "2026-11-24", [full, result("more", Foreword=1.0)])
    new = run(make_tables, "Intel(R) Xeon(R) CPU @ 2.10GHz", "2026-11-26", [result("work", Foreword=0.01, gensim=0.02)])
    chosen = make_tables.best([new, old], table)
    assert chosen is old
    assert chosen.caption(table) == (
        "AMD EPYC 9B14 (AVX-512 VNNI), 2 cores, Linux x86_64, Python 3.11.7, numpy 2.4.6; 2026-11-24."
    )
    assert list(make_tables.claims(table, chosen))[2:] == [
        "| the work | 3 ms | gensim, mapped: 10.4 ms | 3.5 |",
        "| more | 1 s | gensim, mapped: not measured | – |",
    ]
    assert make_tables.best([run(make_tables, "X", "2026-11-27", [full]), new], table).date == "2026-11-27"


def test_machines_stand_side_by_side(make_tables, table, monkeypatch):
    monkeypatch.setattr(make_tables, "TABLES", {"one": table})
    epyc = result("work", Foreword=0.003, gensim=0.0104)
    runs = [
        run(make_tables, "Intel Xeon", "2026-11-26", [result("work", Foreword=0.01, gensim=0.02)]),
        run(make_tables, "AMD EPYC", "2026-11-25", [epyc, result("more", Foreword=1.0, gensim=2.0)]),
        run(make_tables, "AMD EPYC", "2026-11-24", [result("work", Foreword=9.0, gensim=9.0)]),
    ]
    head, _, *rows = make_tables.processors(runs)
    assert head == "| script | work, rival | AMD EPYC | Intel Xeon |"
    assert rows == ["| `bench/x.py` | work; gensim | 3 ms, 10.4 ms: **3.5** | 10 ms, 20 ms: **2.0** |"]


def test_figures_copied_by_hand_say_so(make_tables, table):
    copied = run(make_tables, "AMD EPYC", "2026-11-24", [], transcribed="from a table")
    assert "copied by hand" in copied.caption(table)
    assert "copied by hand" in "\n".join(make_tables.files([copied]))


def test_a_quick_run_never_reaches_the_docs(make_tables, tmp_path):
    data = dict(run(make_tables, "AMD EPYC", "2026-11-24", []).data) | {"quick": True}
    (tmp_path / "quick.json").write_text(json.dumps(data))
    with pytest.raises(SystemExit, match=r"quick\.json: a --quick run measures nothing"):
        make_tables.load(tmp_path)
