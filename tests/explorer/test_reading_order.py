"""What a newcomer meets on the page, in a real browser: names of controls, the order of Tab, odd texts in words."""

import re

import pytest

from explorer import test_page

browser, visit = test_page.browser, test_page.visit
until = test_page.until

FAMILY = "👩‍👩‍👧‍👦"


@pytest.mark.parametrize("view", test_page.VIEWS)
def test_every_control_has_a_name_and_a_stages_python_comes_after_its_work(visit, view):
    """In the page and on a phone's screen, so that Tab goes down, and never up again."""
    page = visit(test_page.VIEWS[view], phone=True)
    nameless = """[...document.querySelectorAll("input, select, textarea")].filter((one) =>
        !one.labels.length && !one.ariaLabel).map((one) => one.outerHTML)"""
    assert page.evaluate(nameless) == []
    stages = page.evaluate("""[...document.querySelectorAll(".stage")].map((stage) =>
        [...stage.children].filter((part) => part.offsetHeight).map((part) =>
            [part.classList[0], part.getBoundingClientRect().top]))""")
    assert len(stages) >= 3
    for parts in stages:
        assert [name.removesuffix("s") for name, _ in parts] in (["told", "work", "code"], ["told"])
        assert [top for _, top in parts] == sorted(top for _, top in parts)


def test_a_sign_of_many_tokens_is_spoken_of_though_it_is_no_word(visit):
    page = visit("/")
    page.fill("#text-input", f"A {FAMILY} and I")
    until(page, "document.querySelector('#about-words').textContent.startsWith('Your text has 3 words')")
    told = page.text_content("#about-words")
    assert re.search(rf"Here each word is a single token, and “{FAMILY}”, which is no word, is 1\d tokens\.$", told)


def test_python_that_is_cut_short_ends_between_two_characters(visit):
    page = visit("/")
    for before in range(8):
        text = "a" * (20 + before) + FAMILY * 3
        page.fill("#text-input", text)
        until(page, f"document.querySelector('#code-tokens pre').textContent.includes('{text[: 20 + before]}')")
        (shown,) = re.findall(r'text = "(.*)…', page.text_content("#code-tokens pre"))
        assert re.fullmatch(f"a{{{20 + before}}}(?:{FAMILY})*", shown)


def test_an_empty_text_says_only_what_holds_of_it(visit):
    page = visit("/")
    page.fill("#text-input", "")
    until(page, "document.querySelector('#facts-tokens').textContent.includes('0 tokens')")
    assert "bytes a token" not in page.text_content("#facts-tokens")
    assert page.text_content("#about-vocabulary").endswith("different tokens the tokenizer has.")
    assert not page.locator("figure:has(> #tokens)").is_visible()


def test_a_phone_says_what_the_chosen_positions_are(visit):
    page = visit("/", phone=True)
    page.locator("#schemes input[value=rotary]").check()
    assert page.locator("#about-scheme").is_visible()
    assert page.text_content("#about-scheme").startswith("Turns queries and keys in attention")


@pytest.mark.parametrize("view", test_page.VIEWS)
def test_paper_is_white_whatever_the_theme_and_larger_text_is_larger_everywhere(visit, view):
    page = visit(test_page.VIEWS[view])
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print")
    lightness = """(name) => getComputedStyle(document.body)[name].match(/[0-9]+/g).slice(0, 3)
        .reduce((sum, one) => sum + Number(one), 0)"""
    assert page.evaluate(lightness, "backgroundColor") > 700
    assert page.evaluate(lightness, "color") < 150
    page.emulate_media(media="screen")
    sizes = """[...document.querySelectorAll("nav a, h2, .idea, label, button, input, textarea")].map((one) =>
        parseFloat(getComputedStyle(one).fontSize))"""
    before = page.evaluate(sizes)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate(sizes) == pytest.approx([2 * size for size in before])
