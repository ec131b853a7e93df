"""The exported page: the same answers as the server's, from a folder and from any host, whole or not at all."""

import base64
import gzip
import http.server
import json
import os
import random
import re
import threading
import time
from functools import partial

import numpy as np
import pytest

import foreword as fw
from explorer.client import VECTORS
from explorer.test_page import FLAGS, browser, run_copied, until  # noqa: F401
from foreword.errors import ArgumentError, FileError, FormatError
from foreword.explorer import Limits, Settings
from foreword.explorer.bundle import bundle
from foreword.explorer.export import export, page

VIEWS = {"flow": "index.html", "words": "words.html"}
PROBE = 'import { answerTo } from "./offline/source.js";\nglobalThis.answerTo = answerTo;\n'


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A host's folder; the page lies in it at some/where, and a probe for what its modules answer in probe/."""
    root = tmp_path_factory.mktemp("host")
    settings = Settings(limits=Limits(atlas_words=2_000))  # as the server's of the tests
    done = export(root / "some" / "where", settings)
    (root / "probe").mkdir()
    script = bundle("probe.js", lambda name: PROBE if name == "probe.js" else page._static(name), {})
    (root / "probe" / "probe.js").write_text(script, encoding="utf-8")
    scripts = ("../some/where/ranks.js", "../some/where/vectors.js", "probe.js")
    html = "".join(f'<script defer src="{name}"></script>' for name in scripts)
    (root / "probe" / "index.html").write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    return done


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def host(exported):
    """The address of a plain static server above the page."""
    handler = partial(_Quiet, directory=os.fspath(exported.folder.parent.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def look(browser, exported, host):  # noqa: F811
    """look(file, disk=…) → a page, ready; at the end, nothing was logged as an error or requested elsewhere."""
    contexts, faults = [], []

    def open_(file, *, disk=False, dark=False, phone=False):
        context = browser.new_context(
            permissions=["clipboard-read", "clipboard-write"],
            viewport={"width": 360, "height": 740} if phone else {"width": 1280, "height": 900},
            color_scheme="dark" if dark else "light",
            has_touch=phone,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        base = exported.folder.as_uri() if disk else f"{host}/some/where"
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda message: message.type in ("error", "warning") and faults.append(message.text))
        page.on("request", lambda asked: asked.url.startswith(base) or faults.append(f"asked {asked.url}"))
        page.goto(f"{base}/{file}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture(scope="module")
def answers(browser, host):  # noqa: F811
    """answers([(path, question), …]) → what the exported page's modules answer; ``keep``: of ``one``, in JavaScript."""
    page = browser.new_page()
    page.goto(f"{host}/probe/")
    until(page, "typeof answerTo === 'function'")

    def all_of(questions, keep="one"):
        script = f"""async (told) => {{
            const all = [];
            for (const question of JSON.parse(told)) {{
                const one = await answerTo(...question);
                all.push({keep});
            }}
            return JSON.stringify(all);
        }}"""
        return json.loads(page.evaluate(script, json.dumps(questions)))

    yield all_of
    page.close()


# ---------------------------------------------------------------- the same answers

IDS = "one.answer.tokens.map((token) => token.id)"
ODD = [
    "", " ", "\n", "\r\n", "\t", "\u0085", "\u00a0", "\u200b", "\ufeff", "\u2028", "\u3000", "'s", "'S",
    "'ll", "'re", "it's", "don't", "1234567890", "٣٤٥", "½", "Ⅷ", "²", "中文字", "한국어", "ひらがな", "سلام",
    "हिन्दी", "👋🏽", "👩\u200d👩\u200d👧\u200d👦", "e\u0301", "ǆ", "ﬁ", "𝔘𝔫𝔦", "\ud800", "\udfff", "\x00",
    "\ufffd", "<|endoftext|>", "<|endoftext", "    return", "__init__", "!!!", "…", "—",
    "antidisestablishmentarianism", "\U00032000", "\U000e0041", "\u088f", "ᴬ", "ª", "Word", "aaaa",
]  # fmt: skip


def odd_strings(count, seed):
    rng = random.Random(seed)

    def piece():
        match rng.randrange(6):
            case 0 | 1:
                return rng.choice(ODD) * rng.choice((1, 1, 1, 2, 5))
            case 2:
                return chr(rng.randrange(0x110000))
            case 3:
                return chr(
                    rng.choice((0x0, 0x300, 0x600, 0x2000, 0x3000, 0x1F300, 0x20000, 0x31350)) + rng.randrange(0x400)
                )
            case 4:
                return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(rng.randrange(30)))
            case _:
                return rng.choice((" ", "  ", "\n\n", " \n", "\t "))

    return ["".join(piece() for _ in range(rng.randrange(1, 12))) for _ in range(count)]


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_ids_are_those_of_the_tokenizer(answers, count):
    texts = [*ODD, "a" * 5_000, " " * 3_000 + "x", "ab" * 2_000, "中" * 1_000, *odd_strings(count, seed=count)]
    for special in (False, True):
        questions = [["tokenize", {"body": {"text": text, "tokenizer": "gpt2", "special": special}}] for text in texts]
        tokenizer = fw.get_tokenizer("gpt2")
        for text, ids in zip(texts, answers(questions, IDS), strict=True):
            allowed = "all" if special else ()
            assert ids == tokenizer.encode(text, allowed_special=allowed, disallowed_special=()).tolist(), ascii(text)


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_every_character_is_cut_as_the_tokenizer_cuts_it(answers, step):
    """Characters of all Unicode, and its neighbours, after a letter, a digit and a sign: what a browser's own classes
    would get wrong."""
    text = "".join(f"a{chr(c)}1{chr(c)}!{chr(c)}" for c in range(0x20, 0x33000, step) if not 0xD800 <= c < 0xE000)
    parts = [text[at : at + 60_000] for at in range(0, len(text), 60_000)]
    for part, ids in zip(parts, answers([["tokenize", {"body": {"text": part}}] for part in parts], IDS), strict=True):
        assert ids == fw.get_tokenizer("gpt2").encode(part).tolist()


def served(client, path, question):
    """What the server answers to the same question."""
    query = {name: str(value) for name, value in (question.get("query") or {}).items()}
    if "body" in question:
        answer = client.ask("POST", f"/api/v1/{path}", body=question["body"], query=query)
    else:
        answer = client.get(path, query=query)
    return answer.status == 200, answer.json


def same(found, expected, *, within):
    """Whether two answers have the same members and values, floats and arrays within a tolerance."""
    if isinstance(expected, dict) and "base64" in expected:
        assert {k: v for k, v in found.items() if k != "base64"} == {k: v for k, v in expected.items() if k != "base64"}
        both = [np.frombuffer(base64.b64decode(one["base64"]), "<f4") for one in (found, expected)]
        np.testing.assert_allclose(*both, atol=within)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            same(found[name], value, within=within)
    elif isinstance(expected, list) and not all(isinstance(one, int | str) for one in expected):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other, within=within)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=within)
    else:
        assert found == expected


def flow_questions():
    rng = random.Random(5)
    yield "tokenizers", {}
    for text in [*ODD, *odd_strings(20, seed=1)]:
        for name in ("gpt2", "bytes"):
            yield "tokenize", {"body": {"text": text, "tokenizer": name, "special": rng.random() < 0.5}}
    for id_ in (0, 255, 256, 341, 1634, 50_255, 50_256, *(rng.randrange(50_257) for _ in range(30))):
        yield "merges", {"query": {"id": id_, "tokenizer": "gpt2"}}
    for id_ in (0, 255, 256):
        yield "merges", {"query": {"id": id_, "tokenizer": "bytes"}}
    for _ in range(80):
        body = {
            "ids": [rng.randrange(50_257) for _ in range(rng.randrange(60))],
            "context_length": rng.randrange(1, 9),
            "stride": rng.randrange(1, 9),
            "batch_size": rng.randrange(1, 9),
            "drop_last": rng.random() < 0.5,
            "batch": rng.choice((0, 0, 1, 3)),
        }
        yield "windows", {"body": body}
    for position in ("learned", "sinusoidal", "rotary", "alibi", "none"):
        for V, T, D in ((50_257, 4, 256), (257, 1, 64), (50_257, 7, 16))[position != "learned" :]:
            ids = [[rng.randrange(V) for _ in range(T)] for _ in range(3)]
            body = {"ids": ids, "vocab_size": V, "embedding_dim": D, "position": position, "num_heads": 8, "seed": 123}
            yield "embed", {"query": {"encoding": "base64"}, "body": body}
            query = {"scheme": position, "context_length": T, "embedding_dim": D, "num_heads": 8, "encoding": "base64"}
            yield "positions", {"query": query}


def test_the_flow_is_answered_as_the_server_answers_it(answers, client):
    questions = list(flow_questions())
    for question, found in zip(questions, answers(questions), strict=True):
        ok, expected = served(client, *question)
        assert found["ok"] == ok, question
        if ok:
            same(found["answer"], expected, within=2e-6)
        else:
            named = {name: expected.get(name) for name in ("title", "got", "expected", "fix")}
            assert {name: found["answer"].get(name) for name in named} == named


def test_the_words_are_answered_as_the_server_answers_them(answers, client):
    """Within what 8 bits lose, and among the words that the page has."""
    wv = fw.load(VECTORS)
    path = f"vectors/{VECTORS}"
    kept = page.MOST_WORDS
    for key in ("king", "music", "paris", "the", "grape"):
        found, own, words = answers(
            [[f"{path}/similar", {"query": {"key": key, "topn": 40}}], [f"{path}/lookup", {"query": {"key": key}}],
             [f"{path}/complete", {"query": {"prefix": key[:2], "limit": 12}}]]
        )  # fmt: skip
        expected = dict(wv.most_similar(key, topn=60, restrict_vocab=kept))
        nearest = [(one["key"], one["score"]) for one in found["answer"]]
        assert len(nearest) == 40
        for word, score in nearest:
            assert score == pytest.approx(expected[word], abs=0.01)
        np.testing.assert_allclose(own["answer"]["vector"], wv[key], atol=np.abs(wv[key]).max() / 250)
        assert own["answer"]["row"] == wv.key_to_index[key]
        starting = [one for one in wv.index_to_key[:kept] if one.startswith(key[:2])]
        assert words["answer"] == sorted(starting, key=lambda one: one != key[:2])[:12]
    question = {"body": {"a": "king", "b": "man", "c": "woman", "topn": 10}}
    (found,) = answers([[f"{path}/analogy", question]])
    expected = served(client, f"{path}/analogy", question)[1]
    assert found["answer"]["neighbours"][0]["key"] == expected["neighbours"][0]["key"] == "queen"
    for name in ("corners", "own"):
        same(found["answer"][name], expected[name], within=0.01)
    keys = ["king", "queen", "nosuchword", "paris", "king", "berlin", "cat", "dog"]
    (found,) = answers([[f"{path}/map", {"body": {"keys": keys}}]])
    expected = served(client, f"{path}/map", {"body": {"keys": keys}})[1]
    assert [found["answer"][name] for name in ("keys", "missing")] == [expected[name] for name in ("keys", "missing")]
    for words in ({"low": "he", "high": "she", "keys": keys}, {"low": "he", "high": "he", "keys": keys}):
        (found_axis,) = answers([[f"{path}/axis", {"body": words}]])
        ok, expected_axis = served(client, f"{path}/axis", {"body": words})
        assert found_axis["ok"] == ok
        if ok:
            same(found_axis["answer"], expected_axis, within=0.05)
        else:
            assert found_axis["answer"]["title"] == expected_axis["title"]
    for axis in ("x", "y"):
        np.testing.assert_allclose(found["answer"][axis], expected[axis], atol=0.02)
    assert found["answer"]["kept"] == pytest.approx(expected["kept"], abs=0.01)


def test_a_word_is_found_in_any_case_as_the_server_finds_it(answers, client):
    path = f"vectors/{VECTORS}/find"
    for word in ("King", " PARIS ", "internatio", "", "kingg", "zzzzzzzzz", "New"):
        question = {"query": {"word": word}}
        (found,) = answers([[path, question]])
        expected = served(client, path, question)[1]
        assert found["answer"]["key"] == expected["key"], word
        if expected["key"] is None:
            mine, carried = found["answer"]["suggestions"], set(fw.load(VECTORS).index_to_key[: page.MOST_WORDS])
            assert set(mine) <= carried
            assert bool(mine) == bool(set(expected["suggestions"]) & carried)
    (found,) = answers([[f"vectors/{VECTORS}/complete", {"query": {"prefix": "PRESIDENT", "limit": 3}}]])
    assert found["answer"] == ["president", "presidential", "presidents"]


def test_the_map_is_that_of_the_server(answers, client):
    """The same words in the same places, when the server is done with its better layout."""
    path = f"vectors/{VECTORS}/atlas"
    deadline = time.monotonic() + 120
    while (expected := client.get(path).json)["doing"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (found,) = answers([[path, {}]])
    for one in (found["answer"], expected):
        del one["seconds"]
    same(found["answer"], expected, within=1e-6)
    for query in ({"start": 0, "count": 1_500}, {"start": 1_500, "count": 1_000, "keys": False}):
        (part,) = answers([[f"{path}/words", {"query": query}]])
        assert (
            part["answer"] == served(client, f"{path}/words", {"query": {**query, "keys": query.get("keys", True)}})[1]
        )


def test_what_the_page_does_not_carry_is_refused_with_the_nearest_spelling(answers):
    path = f"vectors/{VECTORS}"
    unknown, nobody, other = answers(
        [
            [f"{path}/similar", {"query": {"key": "kingg"}}],
            ["vectors/nope/similar", {"query": {"key": "king"}}],
            ["stores", {}],
        ]
    )
    assert not unknown["ok"]
    assert "15,000 words that this page carries" in unknown["answer"]["title"]
    assert "'king'" in unknown["answer"]["fix"]
    assert "unknown word vectors" in nobody["answer"]["title"]
    assert "does not have this" in other["answer"]["title"]


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("disk", [False, True], ids=["host", "folder"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_works_and_is_accessible(look, view, disk):
    page = look(VIEWS[view], disk=disk, phone=disk, dark=disk)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".problem:visible").all_text_contents() == []
    assert "nothing that you type leaves it" in page.text_content("#exported")
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed (extra e2e)")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not worst, "\n".join(f"{one['id']}: {one['nodes'][0]['html'][:300]}" for one in worst)


@pytest.mark.parametrize("disk", [False, True], ids=["host", "folder"])
def test_the_views_lead_to_each_other_and_keep_what_was_typed(look, disk):
    page = look(VIEWS["flow"], disk=disk)
    page.fill("#text-input", "one two three four five six")
    until(page, "document.querySelectorAll('#tokens button').length === 6")
    page.click("nav a:text('Words')")
    page.wait_for_selector("html[data-ready] #word")
    assert page.locator("#near .word-link").count() == 10
    page.click(".masthead .name")
    page.wait_for_selector("html[data-ready] #text-input")
    assert page.input_value("#text-input") == "one two three four five six"
    assert page.locator("nav a").all_text_contents() == ["Flow", "Words"]


def test_the_python_of_the_flow_gives_what_the_exported_flow_shows(look):
    page = look("index.html#T=5&S=3&B=2&position=learned")
    page.click("#inputs [data-window='1'][data-position='2']")
    until(page, "document.querySelector('#strip-sum-name').textContent.endsWith('[1, 2]')")
    x = run_copied(page, "#code-embeddings")["x"].detach().numpy()
    values = page.text_content("#strip-sum-values").replace("−", "-").split()[:5]
    np.testing.assert_allclose([float(value) for value in values], x[1, 2, :5], atol=6e-5)


def test_the_python_of_the_words_gives_what_the_exported_words_show(look):
    page = look("words.html#word=paris&topn=7&a=paris&b=france&c=italy")
    for block, where in (("#code-near", "#near"), ("#code-analogy", "#answers")):
        found = dict(run_copied(page, block)["_"])
        words = page.locator(f"{where} .word-link").all_text_contents()
        scores = page.locator(f"{where} .score").all_text_contents()
        assert words[0] == next(iter(found))
        for word, score in zip(words, scores, strict=True):
            if word in found:
                assert float(score.replace("−", "-")) == pytest.approx(found[word], abs=0.01)
        assert len(set(words) & set(found)) >= len(words) - 1


# ---------------------------------------------------------------- the folder


def test_the_folder_is_small_and_names_nothing_elsewhere(exported):
    files = list(exported.folder.iterdir())
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) == exported.compressed < 3_000_000
    assert len(files) == exported.files
    assert exported.vectors == ((VECTORS, page.MOST_WORDS, 400_000),)
    for file in files:
        if file.suffix in (".html", ".css", ".js"):
            elsewhere = set(re.findall(r"https?://[^\s\"'`)]+", file.read_text())) - {"http://www.w3.org/2000/svg"}
            assert not elsewhere, file
    assert "Public Domain Dedication" in (exported.folder / "LICENSE-glove.txt").read_text()
    assert "OpenAI" in (exported.folder / "LICENSE-gpt2.txt").read_text()


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "ranks_script", lambda _: "ranks")
    monkeypatch.setattr(page, "vectors_script", lambda _: "vectors")
    target = tmp_path / "out"
    target.mkdir()
    export(target)  # an empty folder is fine
    (target / "mine.txt").write_text("kept until the new page is there")
    with pytest.raises(FileError, match="--replace"):
        export(target)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("foreword._base.system.move_folder", full)
        with pytest.raises(FileError, match="space"):
            export(target, replace=True)
    assert (target / "mine.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    export(target, replace=True)
    assert not (target / "mine.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_not_an_exported_page_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for replace in (False, True):
        with pytest.raises(FileError, match="something else"):
            export(tmp_path, replace=replace)
    file = tmp_path / "thesis.txt"
    with pytest.raises(FileError, match="something else"):
        export(file, replace=True)
    assert file.read_text() == "years of work"
    with pytest.raises(FileError, match="no folder can be made"):
        export(file / "page")


def test_what_an_export_can_not_have_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="stores"):
        export(tmp_path / "out", Settings(stores=(tmp_path,)))
    with pytest.raises(ArgumentError, match="gpt2 and bytes"):
        export(tmp_path / "out", Settings(tokenizers=("gpt2", "cl100k_base")))
    with pytest.raises(ArgumentError, match="URL"):
        export("s3://bucket/page")
    assert not list(tmp_path.iterdir())


def test_vectors_of_a_path_are_carried_without_it(tmp_path, monkeypatch):
    """The page goes to others: it must not say where the file was."""
    monkeypatch.setattr(page, "ranks_script", lambda _: "ranks")
    path = tmp_path / "private" / "mine.vec"
    path.parent.mkdir()
    path.write_text('3 3\none 1 1 1\nzero 0 0 0\na"b 0 1 2\n')
    done = export(tmp_path / "out", Settings(vectors=(os.fspath(path),)))
    assert done.vectors == (("mine", 3, 3),)
    for file in done.folder.iterdir():
        assert "private" not in file.read_text()
    assert not (done.folder / "LICENSE-glove.txt").exists()
    assert "mine: the licence" in (done.folder / "README.txt").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "export default 1;\n",
        "export { a };\n",
        "export let a = 1;\n",
        'import a from "./b.js";\n',
        'import { a } from "https://elsewhere/a.js";\n',
        'const a = await import("./b.js");\n',
        "const here = import.meta.url;\n",
    ],
)
def test_a_module_that_the_bundle_does_not_know_is_refused(text):
    with pytest.raises(FormatError, match="the bundle doesn't know"):
        bundle("a.js", {"a.js": text}.__getitem__, {})


def test_modules_in_a_circle_are_refused():
    modules = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(FormatError, match="circle"):
        bundle("a.js", modules.__getitem__, {})


def test_every_form_that_the_page_uses_is_bundled(browser):  # noqa: F811
    """Run as one script, modules give what they give as modules."""
    modules = {
        "main.js": 'import { one, two as zwei } from "./in/a.js";\nimport * as rest from "./b.js";\nimport "./c.js";\n'
        "globalThis.found = [one, zwei, rest.sum(1), rest.later, rest.x, rest.y, globalThis.c];\n",
        "in/a.js": 'export { one, deux as two } from "../b.js";\n',
        "b.js": "export const one = 1;\nexport const deux = await Promise.resolve(2);\n"
        "export function sum(n) {\n  return n + one;\n}\n"
        "export async function later() {}\nexport const [x, y] = [5, 6];\nexport class K {}\n",
        "c.js": "globalThis.c = 7;\n",
    }
    page = browser.new_page()
    page.add_script_tag(content=bundle("main.js", modules.__getitem__, {}))
    until(page, "globalThis.found !== undefined")
    assert page.evaluate("found.map((one) => typeof one === 'function' ? one.name : one)") == [
        1,
        2,
        2,
        "later",
        5,
        6,
        7,
    ]
    page.close()


def test_the_command_says_what_it_wrote_and_how_to_look_at_it(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from foreword.cli import app

    monkeypatch.setattr(page, "ranks_script", lambda _: "ranks")
    vectors = tmp_path / "mine.vec"
    vectors.write_text("3 2\none 1 1\ntwo 1 0\nthree 0 1\n")
    arguments = ["explore", "--export", os.fspath(tmp_path / "out"), "--vectors", os.fspath(vectors)]
    for more in ([], ["--replace"]):
        done = CliRunner().invoke(app, [*arguments, *more])
        assert done.exit_code == 0, done.output
        assert "with 3 words of mine" in done.output
        assert f"Open {tmp_path / 'out' / 'index.html'} in a browser" in done.output.replace("\n", "")
    with pytest.raises(FileError, match="--replace writes over it"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    with pytest.raises(ArgumentError, match="--export"):
        CliRunner().invoke(app, ["explore", "--replace"], catch_exceptions=False)
