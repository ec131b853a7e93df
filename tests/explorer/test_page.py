"""The page in a real browser: every view does its job, by keyboard, in both themes, at a phone's width.

Chromium is started here, headless; where there is none, or no Playwright, the tests are skipped.
"""

import ast
import importlib.util
import re
import shutil
import time
from urllib.parse import urlencode

import numpy as np
import pytest

import foreword as fw
from explorer.client import DOCUMENTS, VECTORS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if importlib.util.find_spec("playwright") is None:
    pytest.skip("playwright is not installed (the extra e2e)", allow_module_level=True)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)

VIEWS = {"flow": "/", "words": "/words", "store": "/store"}
# Headless, and quiet: without these Chromium looks up hosts of its own at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, client):
    """visit(path, dark=…, phone=…) → a page, ready; at the end, nothing was logged as an error or asked elsewhere."""
    contexts, faults = [], []

    def open_(path, *, dark=False, phone=False, refusals=False, route=None):
        def told(message):
            # A browser logs an answer of 4xx, whatever the page makes of it.
            refusal = refusals and re.search(r"status of (4\d\d|503)", message.text)
            if message.type in ("error", "warning") and not refusal:
                faults.append(message.text)

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
        if route:
            page.route(*route)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", told)
        page.on("request", lambda asked: asked.url.startswith(client.url) or faults.append(f"asked {asked.url}"))
        page.goto(client.url + path)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults


def until(page, expression):
    """Wait for an expression to hold. Playwright's own way needs eval in the page, which its policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never came true: {expression}"
        page.wait_for_timeout(20)


@pytest.mark.parametrize(
    ("dark", "phone"),
    [
        pytest.param(False, False, id="light-desk"),
        pytest.param(True, True, id="dark-phone"),
        pytest.param(True, False, id="dark-desk", marks=pytest.mark.slow),
        pytest.param(False, True, id="light-phone", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_accessible_and_fits(visit, view, dark, phone):
    page = visit(VIEWS[view], dark=dark, phone=phone)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".problem:visible").all_text_contents() == []
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed (extra e2e)")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not worst, "\n".join(f"{one['id']}: {one['nodes'][0]['html'][:300]}" for one in worst)


def test_tokens_appear_as_one_types(visit):
    page = visit("/")
    page.fill("#text-input", "naïve 👋🏽\tcafé\n <|endoftext|>")
    text = page.input_value("#text-input")
    ids = fw.get_tokenizer("gpt2").encode(text, disallowed_special=()).tolist()
    until(page, f"document.querySelectorAll('#tokens button').length === {len(ids)}")
    assert [int(one) for one in page.locator("#tokens .id").all_text_contents()] == ids
    shown = "".join(page.locator("#tokens .text").all_text_contents())
    assert {"↵", "⇥", "·"} <= set(shown)
    assert not {"⟨", "\ufffd"} & set(shown)  # pieces of a character stand under it
    page.check("#special")
    page.wait_for_selector("#tokens .special")
    assert page.locator("#tokens .special .text").all_text_contents() == ["<|endoftext|>"]


def test_what_the_page_shows_is_what_the_library_gives(visit):
    import torch

    page = visit("/#T=4&S=4&B=8")
    text = page.input_value("#text-input")
    ids = fw.get_tokenizer("gpt2").encode(text)
    inputs, targets = next(iter(fw.WindowLoader(fw.WindowDataset(ids, context_length=4), batch_size=8)))
    for name, expected in (("inputs", inputs), ("targets", targets)):
        shown = [int(one) for one in page.locator(f"#{name} .id").all_text_contents()]
        assert shown == expected.flatten().tolist()
    assert page.text_content("#shape-out") == "[8, 4] → [8, 4, 256]"
    torch.manual_seed(123)
    total = fw.InputEmbedding(50257, 256, 4)(inputs).detach().numpy()
    page.click("#tokens [data-place='5']")  # row 1, position 1 of the batch
    until(page, "document.querySelector('#strip-sum-name').textContent.includes('[1, 1]')")
    values = page.text_content("#strip-sum-values").replace("−", "-").split()[:5]
    np.testing.assert_allclose([float(value) for value in values], total[1, 1, :5], atol=6e-5)


def run_copied(page, block):
    """Copy the Python of a block as a person would, and run it: its names, and the value of its last line as ``_``."""
    page.click(f"{block} button")
    until(page, f"document.querySelector('{block} button').textContent === 'Copied'")
    tree = ast.parse(page.evaluate("navigator.clipboard.readText()"))
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("_", ast.Store())], last.value), last)
    names = {}
    exec(compile(ast.fix_missing_locations(tree), block, "exec"), names)
    return names


def shown_ids(page, where):
    return [int(one) for one in page.locator(f"{where} .id").all_text_contents()]


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "alibi", "none"])
def test_the_python_of_the_flow_gives_what_the_flow_shows(visit, client, position):
    """A text that is awkward to quote, and another batch than the first."""
    text = 'It\'s "quoted" ‹here›\\\n\ttabs, 👋🏽 ' + "and so on " * 30
    state = {"text": text, "T": 5, "S": 3, "B": 4, "batch": 2, "special": 1, "position": position}
    page = visit(f"/#{urlencode(state)}")
    assert run_copied(page, "#code-tokens")["ids"].tolist() == shown_ids(page, "#tokens")
    names = run_copied(page, "#code-windows")
    for name in ("inputs", "targets"):
        assert names[name].flatten().tolist() == shown_ids(page, f"#{name}")
    x = run_copied(page, "#code-embeddings")["x"].detach().numpy()
    assert "Show batch 1" in page.text_content("#elsewhere")  # the first token of the text is not in batch 3
    page.click("#inputs [data-window='1'][data-position='2']")
    b, t = 1, 2
    until(page, "document.querySelector('#strip-sum-name').textContent.endsWith('[1, 2]')")
    values = page.text_content("#strip-sum-values").replace("−", "-").split()[:5]
    np.testing.assert_allclose([float(value) for value in values], x[b, t, :5], atol=6e-5)
    picture = run_copied(page, "#code-positions")["_"]
    heads = {"rotary": 8 * 128}.get(position, 64)
    query = {"scheme": position, "context_length": 64, "embedding_dim": heads, "num_heads": 8}
    drawn = client.get("positions", query=query).json["values"]["values"]
    finite = np.isfinite(picture.detach().numpy())
    np.testing.assert_allclose(picture.detach().numpy()[finite], np.array(drawn)[finite], atol=1e-5)


def test_the_python_of_the_words_gives_what_the_words_show(visit, client):
    page = visit(
        "/words#word=paris&topn=7&a=paris&b=france&c=italy&map=list&list=one+two+three+nosuchword+two+cat+dog+horse+cow"
    )
    for block, where in (("#code-near", "#near"), ("#code-analogy", "#answers")):
        found = run_copied(page, block)["_"]
        assert [key for key, _ in found] == page.locator(f"{where} .word-link").all_text_contents()
        assert [f"{score:.4f}" for _, score in found] == page.locator(f"{where} .score").all_text_contents()
    places = run_copied(page, "#code-map")["_"]
    assert "7 words" in page.text_content("#about-map")
    assert "nosuchword" in page.text_content("#about-map")
    keys = ["one", "two", "three", "cat", "dog", "horse", "cow"]
    drawn = client.post(f"vectors/{VECTORS}/map", {"keys": keys}).json
    np.testing.assert_allclose(places, np.array([drawn["x"], drawn["y"]]).T, atol=2e-5)
    along = run_copied(page, "#code-axis")["_"]
    names = run_copied(page, "#code-axis")["words"]
    told = dict(one.split(": ") for one in page.locator("#axis title").all_text_contents())
    assert [f"{value:.2f}".replace("-", "−") for value in along] == [told[name] for name in names]


def test_the_python_of_the_store_gives_what_the_store_shows(visit, stores):
    page = visit("/store#place=3&find=Every")
    assert run_copied(page, "#code-account")["_"] == (
        len(fw.TokenStore.open(stores / "corpus" / "train")),
        3,
        np.dtype("uint16"),
    )
    assert (
        run_copied(page, "#code-documents")["ids"].tolist()
        == fw.TokenStore.open(stores / "corpus" / "train").document(0).tolist()
    )
    shown = page.locator("#reading .token").all()
    ids = [int(re.match(r"id (\d+)", one.get_attribute("title"))[1]) for one in shown]
    assert run_copied(page, "#code-read")["ids"].tolist() == ids
    places = run_copied(page, "#code-find")["_"]
    assert [f"{place:,}" for place in places] == page.locator("#places button").all_text_contents()


def test_a_token_in_hand_lights_up_at_every_stage(visit):
    page = visit("/#T=4&S=2&B=4")
    page.hover("#tokens [data-place='4']")
    page.wait_for_selector("body.linked")
    assert page.locator("#inputs .cell.on").count() == 2  # stride 2: it stands in two windows
    assert page.locator("#targets .cell.on").count() == 2
    assert page.locator("#cascade rect.on").count() == 4  # in the text, in two windows, and as the last target of one
    assert page.locator("#table-bar .tick.on").count() == 1
    assert "[1, 2] [2, 0]" in page.text_content("#inspector")
    page.hover("#inputs [data-window='0'][data-position='1']")
    until(page, "document.querySelector('#tokens .on').dataset.place === '1'")


def test_the_keyboard_alone_walks_the_tokens_and_moves_the_sliders(visit):
    page = visit("/")
    page.focus("#text-input")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#tokens') !== null"):
            break
    else:
        pytest.fail("the tokens can't be reached by Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#tokens .on').dataset.place === '2'")
    page.keyboard.press("ArrowDown")
    assert int(page.evaluate("document.activeElement.dataset.place")) > 5
    page.keyboard.press("End")
    last = page.locator("#tokens button").count() - 1
    until(page, f"document.querySelector('#tokens .on').dataset.place === '{last}'")
    page.focus("#T")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#shape-inputs').textContent === '[8, 5]'")


@pytest.mark.parametrize("view", VIEWS)
def test_tab_reaches_every_control_and_shows_where_it_is(visit, view):
    """Every control in order, once round, each with an outline; the tokens are one stop, as are the schemes."""
    page = visit(VIEWS[view])
    page.evaluate("document.activeElement.blur()")
    reached = []
    while True:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        reached.append(page.evaluate(NAME))
        assert len(reached) < 200, "a trap"
    controls = "a, button:not([tabindex='-1']), input:not([type=radio]), select, textarea, summary, [tabindex='0']"
    every = page.evaluate(
        f"[...document.querySelectorAll({controls!r})].filter((one) => one.checkVisibility() && !one.disabled)"
        f".map((one) => ({{ activeElement: one }})).map((document) => {NAME})"
    )
    assert sorted(set(every) - set(reached)) == []


NAME = "`${document.activeElement.tagName} ${document.activeElement.id || document.activeElement.textContent}`"


def press(page, selector, *keys):
    """Keys on a control that has the focus, as Tab gives it."""
    page.focus(selector)
    for key in keys:
        page.keyboard.press(key)


def test_the_flow_by_keyboard_alone(visit):
    page = visit("/")
    press(page, "#text-input", "Control+A", *"one two three four ", "Control+A", "Control+C", *["Control+V"] * 6)
    until(page, "document.querySelectorAll('#tokens button').length > 20")
    press(page, "#tokenizer", "ArrowDown")
    until(page, "document.querySelector('#code-tokens').textContent.includes('bytes')")
    press(page, "#tokenizer", "ArrowUp")
    press(page, "#bytes", "Space")
    assert page.locator("#tokens .hex").first.is_visible()
    press(page, "#side-by-side summary", "Enter")
    page.wait_for_selector("#side figure")
    for slider in ("#T", "#S", "#B"):
        press(page, slider, "Home", "ArrowRight")
    until(page, "document.querySelector('#shape-out').textContent === '[2, 2] → [2, 2, 256]'")
    press(page, "#next", "Enter")
    until(page, "document.querySelector('#which-batch').textContent.startsWith('batch 2 of')")
    press(page, "#last", "Space")
    until(page, "document.querySelector('#code-windows').textContent.includes('drop_last=False')")
    press(page, "input[value=learned]", "ArrowRight", "ArrowRight")
    until(page, "document.querySelector('#no-position').textContent.includes('rotary')")
    press(page, "#theme", "Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_words_by_keyboard_alone(visit):
    page = visit("/words")
    press(page, "#topn", "Home", "ArrowRight")
    until(page, "document.querySelectorAll('#near li').length === 2")
    press(page, "#near .word-link", "Enter")
    until(page, "document.querySelector('#word').value === 'languages'")
    for field, word in (("#a", "paris"), ("#b", "france"), ("#c", "italy")):
        press(page, field, "Control+A", *word, "Enter")
    until(page, "document.querySelector('#answers .word-link').textContent === 'rome'")
    press(page, "#which", "ArrowDown")
    until(page, "document.querySelector('#about-map').textContent.includes('of the variance')")
    press(page, "#zoom-in", "Enter")
    press(page, "#map", "ArrowLeft")
    until(page, "/view=/.test(location.hash)")
    press(page, "#low", "Control+A", *"small", "Enter")
    press(page, "#high", "Control+A", *"Large", "Enter")
    until(page, "document.querySelector('#axis').getAttribute('aria-label').startsWith('From small to large')")


def test_the_store_by_keyboard_alone(visit):
    page = visit("/store")
    press(page, "#documents tbody tr:nth-child(2) button", "Enter")
    until(page, "document.querySelector('#reading .document').textContent === 'document 1'")
    press(page, "#place", "Control+A", "3", "Enter")
    until(page, "document.querySelector('#about-reading').textContent.startsWith('tokens 3 ')")
    press(page, "#read-back", "Enter")
    until(page, "document.querySelector('#about-reading').textContent.startsWith('tokens 0 ')")
    press(page, "#wanted", *"Every", "Enter")
    until(page, "document.querySelectorAll('#places button').length === 2")
    press(page, "#places li:nth-child(2) button", "Enter")
    until(page, "document.querySelectorAll('#reading .token.on').length > 0")


def test_the_address_brings_the_view_back(visit):
    page = visit("/")
    page.fill("#text-input", "one two three four five six seven eight & nine = ten # eleven")
    page.focus("#S")
    page.keyboard.press("Home")
    page.check("#schemes input[value=sinusoidal]")
    page.focus("#B")
    page.keyboard.press("Home")
    until(page, "location.hash.includes('B=1') && location.hash.includes('sinusoidal')")
    address = page.evaluate("location.pathname + location.hash")
    until(page, "document.querySelector('#which-batch').textContent.startsWith('batch 1 of')")
    page.mouse.move(0, 0)  # where check() left it there may be a token, which would be in hand
    until(page, "/^0.0000\\s+1.0000\\s+0.0000/.test(document.querySelector('#strip-position-values').textContent)")
    again = visit(address)
    for selector in ("#tokens", "#inputs", "#account", "#strip-sum-values", "#code-embeddings"):
        assert again.text_content(selector) == page.text_content(selector), selector
    assert again.input_value("#S") == "1"


def test_what_leads_elsewhere_and_back_loses_nothing(visit):
    """The skip link moves the focus alone; the other views and the name lead back to a view as it was left."""
    page = visit("/#text=one+two+three&T=2&S=2&B=1")
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "text-input"
    assert page.input_value("#text-input") == "one two three"
    page.fill("#text-input", "one two three four")
    for back in ("nav a:text('Flow')", ".masthead .name"):
        page.click("nav a:text('Words')")  # at once: what was typed is kept all the same
        page.wait_for_selector("html[data-ready] #word")
        page.click(back)
        page.wait_for_selector("html[data-ready] #text-input")
        assert page.input_value("#text-input") == "one two three four"


def test_a_token_stays_in_hand_until_escape(visit):
    page = visit("/#T=4&S=4&B=2")
    page.click("#tokens [data-place='5']")
    page.mouse.move(1, 1)
    until(page, "document.querySelector('#tokens .on').dataset.place === '5'")
    assert page.evaluate("document.body.classList.contains('linked')")
    until(page, "location.hash.includes('at=5')")
    page.keyboard.press("Escape")
    until(page, "!document.body.classList.contains('linked')")
    page.click("#tokens [data-place='40']")
    until(page, "document.querySelector('#elsewhere').textContent.includes('is not in this batch')")
    page.click("#elsewhere button")
    until(page, "document.querySelector('#which-batch').textContent === 'batch 6 of 10'")
    until(page, "document.querySelector('#strip-sum-name').textContent.endsWith('[0, 0]')")


def test_cells_are_walked_by_keyboard(visit):
    page = visit("/#T=4&S=4&B=2")
    page.focus("#inputs [tabindex='0']")
    for key, place in (("ArrowRight", 1), ("ArrowDown", 5), ("ArrowLeft", 4), ("ArrowUp", 0), ("ArrowUp", 0)):
        page.keyboard.press(key)
        until(page, f"document.querySelector('#tokens .on').dataset.place === '{place}'")
    assert page.locator("#inputs [tabindex='0']").count() == 1


@pytest.mark.parametrize("what", ["tokenizers", "vectors", "stores"])
def test_a_server_that_is_busy_is_told_and_nothing_breaks(visit, what):
    view = {"tokenizers": "/", "vectors": "/words", "stores": "/store"}[what]

    def busy(route):
        route.fulfill(status=503, content_type="application/problem+json", body='{"title": "busy", "status": 503}')

    page = visit(view, refusals=True, route=(f"**/api/v1/{what}", busy))
    assert "busy" in page.locator(".problem:visible").all_text_contents()
    page.keyboard.press("Tab")
    page.wait_for_timeout(100)


def test_places_beyond_the_end_are_the_last(visit):
    page = visit("/store#place=1e30&documents=1e30")
    assert page.text_content("#about-reading").startswith("tokens 3")
    assert page.locator("#documents tbody tr").count() == 3
    assert int(page.input_value("#place")) < 100


def test_too_short_a_text_is_told_and_mended(visit):
    page = visit("/#text=Hi&B=1", refusals=True)
    assert "at least 5" in page.text_content("#problem-windows")
    assert page.is_hidden("#embeddings")
    page.fill("#text-input", "Hi there, every effort moves you, and one more")
    page.wait_for_selector("#embeddings:visible")
    assert page.text_content("#problem-windows") == ""


def test_tokenizers_stand_side_by_side(visit):
    page = visit("/#text=caf%C3%A9s+and+bars&B=1&T=2&S=2")
    page.click("#side-by-side summary")
    page.wait_for_selector("#side figure")
    told = page.locator("#side figcaption").all_text_contents()
    assert [one.split(" ")[0] for one in told] == ["gpt2", "bytes", "words", "characters"]
    assert "15 tokens · 1.00 bytes a token" in told[1]
    ids = fw.get_tokenizer("gpt2").encode("cafés and bars")
    assert f"{len(ids)} tokens · {15 / len(ids):.2f} bytes a token" in told[0]
    assert "3 words · 5.00 bytes a word" in told[2]


def test_another_position_scheme_changes_the_sum(visit):
    page = visit("/")
    before = page.text_content("#strip-sum-values")
    page.check("#schemes input[value=rotary]")
    until(page, "document.querySelector('#no-position').textContent.startsWith('Nothing is added here: rotary')")
    until(page, f"document.querySelector('#strip-sum-values').textContent !== {before!r}")
    assert page.text_content("#strip-sum-values") == page.text_content("#strip-token-values")
    assert "act in attention" in page.text_content("#strip-position-name")
    assert page.text_content("#strip-position-values") == ""  # not rows of zeros
    assert page.is_hidden("#strip-position")
    widths = [page.locator(f"#heat-{name}").bounding_box()["width"] for name in ("token", "sum")]
    assert min(widths) > 200, widths
    page.check("#schemes input[value=alibi]")
    until(page, "document.querySelector('#strip-position-name').textContent.includes('ALiBi acts in attention')")


def test_the_theme_switch_holds(visit):
    page = visit("/")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#theme")
    dark = page.evaluate(paper)
    assert light != dark
    page.goto(page.url.split("#")[0] + "words")
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate(paper) == dark


def test_a_store_is_told_read_and_searched(visit):
    page = visit("/store")
    names, values = (page.locator(f"#numbers {tag}").all_text_contents() for tag in ("dt", "dd"))
    shown = dict(zip(names, values, strict=True))
    assert (shown["documents"], shown["dtype"], shown["tokenizer"]) == ("3", "uint16", "gpt2")
    assert page.locator("#documents tbody tr").count() == len(DOCUMENTS)
    assert page.locator("#reading .document").all_text_contents() == ["document 0", "document 1", "document 2"]
    page.fill("#wanted", "Every")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#places button').length === 2")
    until(page, "document.querySelectorAll('#reading .token.on').length === 2")
    page.locator("#documents tbody button").nth(1).click()
    until(page, "document.querySelector('#reading .document').textContent === 'document 1'")
    until(page, "/place=\\d+/.test(location.hash) && location.hash.includes('find=Every')")
    again = visit(page.evaluate("location.pathname + location.hash"))
    assert again.input_value("#wanted") == "Every"
    assert again.text_content("#about-reading") == page.text_content("#about-reading")


def test_a_text_is_found_within_a_text_too(visit):
    """As a word it has a token of its own at the start of a text, another after a space."""
    page = visit("/store#find=effort")
    until(page, "document.querySelectorAll('#places button').length === 1")
    told = page.text_content("#about-found")
    assert "effort" in told
    assert "after a space" in told
    page.fill("#wanted", "zzz")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#about-found').textContent.startsWith('0 places')")


def test_back_and_forward_lead_through_the_places_of_a_store(visit):
    page = visit("/store")
    page.locator("#documents tbody button").nth(1).click()
    until(page, "/place=\\d+/.test(location.hash)")
    page.go_back()
    until(page, "location.hash === '' && document.querySelector('#place').value === '0'")
    page.go_forward()
    until(page, "document.querySelector('#reading .document').textContent === 'document 1'")
