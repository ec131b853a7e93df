"""The Words view in a real browser: words in any case, the map of all words, analogies in words, axes."""

import re
import time

import numpy as np
import pytest

import foreword as fw
from explorer import test_page
from explorer.client import VECTORS

browser, visit = test_page.browser, test_page.visit
press, until = test_page.press, test_page.until


def whole(page):
    """Wait for the map to be there, with its better layout."""
    deadline = time.monotonic() + 60
    while not page.evaluate("document.documentElement.dataset.map === 'whole'"):
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
    page.wait_for_timeout(100)  # a frame


def picture(page):
    return page.evaluate("document.querySelector('#map').toDataURL()")


def draw(page):
    """Drag from the middle of the map."""
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2 + 40, steps=4)
    page.mouse.up()


def test_words_complete_and_are_found_by_keyboard(visit):
    page = visit("/words")
    page.fill("#word", "")
    page.type("#word", "philosop")
    until(page, "document.querySelector('#word-list [role=option]')?.textContent === 'philosophy'")
    words = page.locator("#word-list [role=option]").all_text_contents()
    page.keyboard.press("ArrowUp")
    until(page, "document.querySelector('#word-list [aria-selected=true]')")
    assert page.text_content("#word-list [aria-selected=true]") == words[-1]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#word-list').hidden")
    wv = fw.load(VECTORS)
    expected = wv.most_similar("philosophy", topn=10)
    until(page, f"document.querySelector('#near .word-link')?.textContent === {expected[0][0]!r}")
    assert page.locator("#near .word-link").all_text_contents() == [key for key, _ in expected]
    scores = page.locator("#near .score").all_text_contents()
    assert scores == [f"{score:.4f}" for _, score in expected]


def test_a_word_is_found_in_any_case(visit):
    page = visit("/words")
    page.fill("#word", "King")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#near .word-link').textContent === 'prince'")
    assert page.input_value("#word") == "king"
    page.fill("#word", "NEW")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#word').value === 'new'")
    assert page.text_content("#not-found") == ""


def test_suggestions_can_be_taken_by_mouse_and_keyboard(visit):
    page = visit("/words")
    for take in (lambda: page.click("#not-found button"), lambda: press(page, "#not-found button", "Enter")):
        page.fill("#word", "kingg")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#not-found').textContent.includes('Did you mean')")
        take()
        until(
            page,
            "document.querySelector('#word').value === 'king' && !document.querySelector('#not-found').textContent",
        )
        page.click("#near .word-link")  # another word, so that king is new again
        until(page, "document.querySelector('#word').value === 'prince'")


def test_a_word_that_is_not_there_is_said_to_be_so(visit):
    page = visit("/words")
    before = page.locator("#near .word-link").all_text_contents()
    page.fill("#word", "词")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#not-found').textContent === '词 is not among the words of these vectors.'")
    assert page.locator("#near .word-link").all_text_contents() == before  # of the word that was there


def test_the_analogy_is_drawn(visit):
    page = visit("/words#a=paris&b=france&c=italy")
    assert page.text_content("#answers .word-link") == "rome"
    lines = page.locator("#plane .step")
    first, second = ([float(lines.nth(i).get_attribute(name)) for name in ("x1", "y1", "x2", "y2")] for i in range(2))
    step = [np.array([one[2] - one[0], one[3] - one[1]]) for one in (first, second)]
    np.testing.assert_allclose(step[0], step[1], atol=1e-3)


@pytest.mark.parametrize(
    ("words", "expected", "drawn"),
    [
        (("king", "man", "woman"), "ends nearest to queen (0.85). king itself is nearer still (0.89)", True),
        (("paris", "france", "italy"), "The step from france to paris, taken from italy, ends nearest to rome", True),
        (("king", "king", "woman"), "A and B are the same word", False),
        (("king", "woman", "woman"), "B and C are the same word", False),
    ],
)
def test_an_analogy_is_said_in_words(visit, words, expected, drawn):
    page = visit("/words#" + "&".join(f"{name}={word}" for name, word in zip("abc", words, strict=True)))
    assert expected in page.text_content("#about-analogy")
    assert page.locator("#plane").is_visible() == drawn
    if words[0] == "paris":
        assert "queen" not in page.text_content("main section:nth-of-type(3)")


def test_the_map_of_all_words_gets_better(visit):
    page = visit("/words")
    whole(page)
    told = page.text_content("#about-map")
    assert told.startswith("2,000 words. Of a frequent word's ten nearest words, ")
    kept, plain = (float(part.split("\u00a0%")[0].split()[-1]) for part in told.split(";"))
    assert kept > 5 * plain
    assert page.is_hidden("#progress-map")


def test_the_map_moves_by_mouse_and_keyboard_and_leads_to_a_word(visit):
    page = visit("/words")
    whole(page)
    page.locator("#map").scroll_into_view_if_needed()
    page.focus("#map")
    seen = {picture(page)}
    for key in ("+", "ArrowLeft", "-", "0"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        seen.add(picture(page))
    draw(page)
    page.wait_for_timeout(60)
    seen.add(picture(page))
    assert len(seen) >= 5
    page.fill("#find", "Music")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#word').value === 'music'")
    page.fill("#word", "king")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#near .word-link').textContent === 'prince'")
    page.wait_for_timeout(60)
    page.locator("#map").scroll_into_view_if_needed()
    page.click("#map", position={"x": page.evaluate("map.clientWidth / 2"), "y": page.evaluate("map.clientHeight / 2")})
    until(page, "document.querySelector('#word').value === 'music'")
    assert "above" in page.text_content("#on-map")


def test_the_map_is_restored_as_it_was_looked_at(visit):
    page = visit("/words")
    whole(page)
    whole_view = picture(page)
    press(page, "#map", "+", "+", "+", "+", "ArrowLeft", "ArrowUp")
    until(page, "/view=[^&]+/.test(location.hash)")
    address = page.evaluate("location.pathname + location.hash")
    middle = page.text_content("#on-map")
    again, once_more = visit(address), visit(address)
    for one in (again, once_more):
        whole(one)
    assert picture(again) == picture(once_more) != whole_view
    press(again, "#map", "Enter")  # takes the word in the middle
    until(again, f"document.querySelector('#word').value === {middle!r}")


def test_a_list_of_ones_own_is_mapped(visit):
    page = visit("/words")
    page.select_option("#which", "list")
    page.fill("#list", "cat dog horse cow nosuchword one two three four")
    until(page, "document.querySelector('#about-map').textContent.includes('nosuchword')")
    assert page.text_content("#about-map").startswith("8 words in 2 clusters")
    page.fill("#find", "queen")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#on-map').textContent === 'queen is not on this map.'")


def test_words_lie_along_an_axis(visit):
    page = visit("/words", refusals=True)
    order = page.evaluate("document.querySelector('#axis').getAttribute('aria-label')")
    assert order.startswith("From he to she: football")
    page.click("#axes button:nth-child(2)")
    until(page, "document.querySelector('#axis').getAttribute('aria-label').startsWith('From small to large')")
    assert page.input_value("#low") == "small"
    page.fill("#along", "mouse elephant huge tiny")
    until(page, "document.querySelectorAll('#axis .word').length === 4")
    said = page.evaluate("document.querySelector('#axis').getAttribute('aria-label')").split(": ")[1].split(", ")
    wv = fw.load(VECTORS)
    low, high = (wv.get_vector(word, norm=True).astype(float) for word in ("small", "large"))
    step = high - low
    value = {
        word: 2 * (wv.get_vector(word, norm=True) - (low + high) / 2) @ step / (step @ step)
        for word in ("mouse", "elephant", "huge", "tiny")
    }
    assert said == [f"{word} {value[word]:.2f}" for word in sorted(value, key=value.get)]
    furthest = sorted(value, key=value.get)
    assert f"{furthest[0]} lies furthest towards small, {furthest[-1]} towards large" in page.text_content(
        "#about-axis"
    )
    page.fill("#high", "small")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#problem-axis').textContent.includes('from one word to another')")


def laid_out(page):
    """What an axis drawn on the map shows: its two ends, and the words with their places."""
    page.wait_for_selector("#axis-on-map .end")
    said = page.get_attribute("#axis-on-map svg", "aria-label")
    *ends, words = re.fullmatch(r"From (.+?) to (.+?): (.*)", said).groups()
    return tuple(ends), {word: float(value) for word, value in (one.rsplit(" ", 1) for one in words.split(", "))}


def check_axis(page, low=None):
    """An axis was drawn from ``low``: its words are laid out as the library says, here and in the last section."""
    (first, last), values = laid_out(page)
    assert low in (None, first)
    assert first != last
    assert (page.input_value("#low"), page.input_value("#high")) == (first, last)
    until(page, f"document.querySelector('#axis').getAttribute('aria-label').startsWith('From {first} to {last}:')")
    assert len(values) > 10
    wv = fw.load(VECTORS)
    a, b = (wv.get_vector(word, norm=True).astype(float) for word in (first, last))
    step = b - a
    expected = {w: 2 * (wv.get_vector(w, norm=True) - (a + b) / 2) @ step / (step @ step) for w in values}
    assert values == {word: pytest.approx(value, abs=0.0051) for word, value in expected.items()}
    assert page.get_attribute("#draw-axis", "aria-pressed") == "false"  # the pen is put away
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return first, last


def in_the_middle(page, word):
    """Bring a word into the middle of the map; gives where that is on the screen."""
    whole(page)
    page.fill("#find", word)
    page.keyboard.press("Enter")
    ((first, _),) = fw.load(VECTORS).most_similar(word, topn=1)
    until(page, f"document.querySelector('#near .word-link').textContent === '{first}'")
    page.locator("#map").scroll_into_view_if_needed()
    until(page, "location.hash.includes('view=')")  # the map has come to rest
    box = page.locator("#map").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("shift", [False, True], ids=["button", "shift"])
def test_an_axis_is_drawn_by_dragging_the_mouse(visit, shift):
    page = visit("/words")
    x, y = in_the_middle(page, "large")
    if shift:
        page.keyboard.down("Shift")
    else:
        page.click("#draw-axis")
        assert page.text_content("#on-map").startswith("Drag from one word to another")
    view, before = page.evaluate("location.hash"), picture(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 190, y - 110, steps=5)
    page.wait_for_timeout(60)
    assert picture(page) != before  # the arrow follows the pointer
    page.mouse.up()
    page.keyboard.up("Shift")
    ends = check_axis(page, "large")
    until(page, "location.hash.includes('drawn=1')")
    assert view.split("view=")[1].split("&")[0] in page.url  # the map did not move
    again = visit(page.url[len(page.url.split("/words")[0]) :])
    whole(again)
    assert check_axis(again) == ends
    before = page.get_attribute("#axis-on-map svg", "aria-label")
    press(page, "#map", *["ArrowLeft"] * 5)
    until(page, f"document.querySelector('#axis-on-map svg').getAttribute('aria-label') !== {before!r}")
    assert check_axis(page) == ends  # of the words that are written there
    with_axis = picture(page)
    page.click("#remove-axis")
    until(page, "document.querySelector('#axis-on-map').hidden && !location.hash.includes('drawn')")
    page.wait_for_timeout(60)
    assert picture(page) != with_axis


def test_an_axis_is_drawn_by_the_keyboard(visit):
    page = visit("/words")
    in_the_middle(page, "large")
    press(page, "#map", "a", "Escape")
    assert page.get_attribute("#draw-axis", "aria-pressed") == "false"
    press(page, "#draw-axis", "Enter")
    assert page.evaluate("document.activeElement.id") == "map"
    page.keyboard.press("Enter")
    assert page.text_content("#on-map") == "From large to …? Choose the word at the other end."
    page.keyboard.press("Enter")  # the same word is no other end
    assert page.is_hidden("#axis-on-map")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    word = page.text_content("#on-map")  # that the keys have come to
    page.keyboard.press("Enter")
    assert check_axis(page, "large") == ("large", word)
    until(page, "location.hash.includes('drawn=1')")
    page.go_back()
    until(page, "document.querySelector('#axis-on-map').hidden")
    page.go_forward()
    until(page, "!document.querySelector('#axis-on-map').hidden")
    press(page, "#own-words", "Enter")
    assert page.evaluate("document.activeElement.id") == "along"


@pytest.mark.parametrize("way", ["drag", "taps"])
def test_an_axis_is_drawn_by_touch_on_a_phone(visit, way):
    page = visit("/words", phone=True, dark=True)
    x, y = in_the_middle(page, "large")
    page.tap("#draw-axis")
    if way == "taps":
        page.touchscreen.tap(x, y)
        until(page, "document.querySelector('#on-map').textContent.startsWith('From large to …?')")
        page.touchscreen.tap(x - 70, y + 90)
    else:
        scrolled = page.evaluate("scrollY")
        finger = page.context.new_cdp_session(page)
        for i in range(7):
            event = {"type": "touchMove" if i else "touchStart", "touchPoints": [{"x": x - 12 * i, "y": y + 15 * i}]}
            finger.send("Input.dispatchTouchEvent", event)
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert page.evaluate("scrollY") == scrolled  # down the page, but the page stays
    check_axis(page, "large")
    assert page.locator("#axis-on-map svg").bounding_box()["width"] <= 328


def test_a_name_that_is_written_on_the_map_is_clicked(visit):
    page = visit("/words")
    in_the_middle(page, "music")
    page.fill("#word", "king")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#near .word-link').textContent === 'prince'")
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2 + 35, box["y"] + box["height"] / 2)  # its dot is in the middle
    until(page, "document.querySelector('#word').value === 'music'")


def test_back_and_forward_lead_through_the_words(visit):
    page = visit("/words")
    page.click("#near .word-link")
    until(page, "location.hash.includes('word=languages')")
    page.wait_for_timeout(1200)  # changes of one kind within a second are one view
    page.fill("#c", "girl")
    page.keyboard.press("Enter")
    until(page, "location.hash.includes('c=girl')")
    page.go_back()
    until(
        page, "document.querySelector('#c').value === 'woman' && document.querySelector('#word').value === 'languages'"
    )
    page.go_back()
    until(page, "document.querySelector('#word').value === 'language'")
    until(page, "document.querySelector('#near .word-link').textContent === 'languages'")
    page.go_forward()
    until(page, "document.querySelector('#word').value === 'languages'")


def test_a_phone_pans_and_pinches_the_map_and_nothing_is_cut_off(visit):
    page = visit("/words", phone=True, dark=True)
    whole(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = picture(page)
    page.evaluate(
        """() => {
          const canvas = document.querySelector("#map");
          canvas.setPointerCapture = () => {};
          const { left, top } = canvas.getBoundingClientRect();
          const send = (type, pointerId, x, y) =>
            canvas.dispatchEvent(new PointerEvent(type, { pointerId, clientX: left + x, clientY: top + y }));
          send("pointerdown", 1, 100, 150); send("pointerdown", 2, 200, 150);
          for (let i = 1; i < 6; i++) {
            send("pointermove", 1, 100 - 8 * i, 150);
            send("pointermove", 2, 200 + 8 * i, 150);
          }
          send("pointerup", 1, 60, 150); send("pointerup", 2, 240, 150);
        }"""
    )
    until(page, "/view=[^&]+/.test(location.hash)")
    assert picture(page) != before
    for name in ("axis", "plane"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


def test_vectors_of_ones_own(browser, tmp_path):
    from explorer.client import serving
    from foreword.explorer import Limits, Settings

    path = tmp_path / "mine.txt"
    rows = np.random.default_rng(0).normal(size=(30, 4)).round(3)
    text = "\n".join(f"w{i} " + " ".join(map(str, row)) for i, row in enumerate(rows.tolist()))
    path.write_text(f"30 4\n{text}\n", encoding="utf-8")
    with serving(Settings(vectors=(str(path),), limits=Limits(atlas_words=2_000))) as client:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        page.goto(client.url + "/words")
        page.wait_for_selector("html[data-ready]")
        assert page.input_value("#word") == "w0"  # the word of the page is not among them
        whole(page)
        assert page.text_content("#about-map").startswith("30 words")
        assert page.locator("#near .word-link").count() == 10
        assert page.locator(".problem:visible").all_text_contents() == []
        page.close()
