"""The Flow view in a real browser: pieces of characters, merges, the guide, Back and Forward, a phone's width."""

import random
import re

import numpy as np
import pytest

import foreword as fw
from explorer import test_page
from foreword.tokens import merges_of

browser, visit = test_page.browser, test_page.visit
until, press = test_page.until, test_page.press

MIXED = "我第一次听见 سمعتُ النهرَ 👩‍👩‍👧‍👦"
GPT2 = fw.get_tokenizer("gpt2")
ODD = [
    "a",
    " ",
    "我",
    "é",
    "e\u0301",
    "س",
    "م",
    "ا",
    "ُ",
    "👩\u200d👧",
    "👍🏽",
    "🇺🇳",
    "\u200d",
    "\r\n",
    "\n",
    "ﬁ",
    "\u2800",
    "นี้",
    "각",
    "क्षि",
    "กำ",
    "ខ្មែ",
    "བོད",
    "\u1112\u1161\u11ab",
    "ܫ",
    "ߒ",
    "ᠮ",
    "𞤀",
    "ދި",
]


def read(page, text, *, count=None):
    """Put a text into the box, and wait for its tokens."""
    page.fill("#text-input", text)
    count = len(GPT2.encode(text, disallowed_special=())) if count is None else count
    until(page, f"document.querySelectorAll('#tokens .id').length === {count}")


def test_pieces_of_a_character_stand_joined_under_it(visit):
    page = visit("/#B=4")
    read(page, MIXED)
    ids = [int(one) for one in page.locator("#tokens .id").all_text_contents()]
    assert ids == GPT2.encode(MIXED).tolist()
    whole = [one.replace("\u200d", "") for one in page.locator("#tokens .whole").all_text_contents()]
    assert whole == ["我", "第", "次", "听", "见", "·س", "تُ", "رَ", "·👩👩👧👦"]
    family = page.locator("#tokens .glyph").last
    assert family.locator(".piece").count() == 14
    assert family.locator(".text").first.text_content() == "1/14"
    assert all(one.replace("\u200d", "").strip() for one in page.locator("#tokens .text").all_text_contents())
    cells = page.locator("#inputs .text, #targets .text").all_text_contents()
    assert cells[:2] == ["我1/2", "我2/2"]
    shown = page.evaluate("document.querySelector('main').innerText")
    assert not {"⟨", "\ufffd"} & set(shown)


def test_a_store_says_which_character_a_token_is_a_piece_of(visit):
    page = visit("/store")
    shown = page.locator("#reading .token .text").all_text_contents()
    pieces = len(GPT2.encode(" 👋🏽"))
    assert [one for one in shown if "👋🏽" in one] == [f"·👋🏽{nth}/{pieces}" for nth in range(1, pieces + 1)]
    assert not {"⟨", "\ufffd"} & set("".join(shown))
    arranged = page.evaluate(
        """async (texts) => {
            const { arrangedFromBytes } = await import("/static/pieces.js");
            const facts = ({ start, end, group }) => [start, end, group && group.text];
            return texts.map((hexes) => arrangedFromBytes(hexes, hexes.map(() => "")).map(facts));
        }""",
        [["88", "91 61", "62"], ["e6 88", "91", "61 e6"], ["ff", "80 80"], []],
    )
    assert arranged == [
        [[0, 0, None], [0, 1, None], [1, 2, None]],
        [[0, 1, "我"], [0, 1, "我"], [1, 3, None]],
        [[0, 1, None], [0, 1, None]],
        [],
    ]


def test_text_from_right_to_left_stands_in_its_order(visit):
    page = visit("/")
    read(page, MIXED)
    assert page.get_attribute("#tokens", "dir") == "ltr"
    boxes = [page.locator(f"#tokens [data-place='{place}']").bounding_box() for place in (0, 16, 17, 18)]
    first, meem, ain, teh = boxes
    assert meem["y"] == ain["y"]
    assert first["x"] < teh["x"] < ain["x"] < meem["x"]  # Chinese from the left, Arabic from the right
    assert (
        page.text_content("#tokens [data-place='16'] .text") == "\u200dم\u200d"
    )  # joined on both sides, as in the word
    page.click("#examples button:nth-child(3)")
    until(page, "document.querySelector('#tokens').dir === 'rtl'")
    start, after = (page.locator(f"#tokens [data-place='{place}']").bounding_box() for place in (0, 1))
    assert after["x"] < start["x"]
    assert page.evaluate("getComputedStyle(document.querySelector('#text-input')).direction") == "rtl"
    page.focus("#tokens [data-place='0']")
    page.keyboard.press("ArrowLeft")
    until(page, "document.activeElement.dataset.place === '1'")


JOINED = {
    "Arabic": ("سلام", "س_ ل_ ا م"),
    "Syriac": ("ܫܠܡܐ", "ܫ_ ܠ_ ܡ_ ܐ"),
    "N'Ko": ("ߒߞߏ", "ߒ_ ߞ_ ߏ"),
    "Mongolian": ("ᠮᠣᠩᠭᠣᠯ", "ᠮ_ ᠣ_ ᠩ_ ᠭ_ ᠣ_ ᠯ"),
    "Adlam": ("𞤆𞤵𞤤", "𞤆_ 𞤵_ 𞤤"),
    "Thaana": ("ދިވެހި", "ދި ވެ ހި"),  # not joined, but from right to left
    "Hebrew": ("שָׁלוֹם", "שָׁ ל וֹ ם"),
    "Devanagari": ("हिन्दी", "हि न्दी"),
    "Khmer": ("ខ្មែរ", "ខ្មែ រ"),
    "Hangul": ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "\u1112\u1161\u11ab \u1100\u116e\u11a8"),
}


def test_characters_of_every_script_are_whole_and_joined_as_it_is_written(visit):
    """Where letters join, marked _ here, a joiner on both sides gives them the shapes that they have in the word."""
    page = visit("/#tokenizer=bytes")
    for script, (text, written) in JOINED.items():
        characters = written.split(" ")
        expected = []
        for before, own in zip(["", *characters], characters, strict=False):
            joiner = "\u200d" if before.endswith("_") else ""
            expected.append(f"{joiner}{own.replace('_', chr(0x200D))}")
        page.fill("#text-input", text)
        ids = ",".join(str(one) for one in text.encode())
        until(page, f"[...document.querySelectorAll('#tokens .id')].map((one) => one.textContent).join() === '{ids}'")
        assert page.locator("#tokens .whole").all_text_contents() == expected, script
        across = page.evaluate("[...document.querySelectorAll('#tokens .glyph')].map((one) => one.offsetLeft)")
        backwards = script in ("Arabic", "Syriac", "N'Ko", "Adlam", "Thaana", "Hebrew")
        assert across == sorted(across, reverse=backwards), script
        page.locator("#tokens .piece").last.click()
        page.wait_for_selector("#merges:visible")
        assert characters[-1] in page.text_content("#about-merges").replace("\u200d", ""), script


def test_letters_join_as_unicode_says(visit):
    idnadata = pytest.importorskip("idna.idnadata")
    kinds = {}
    for kind, ranges in idnadata.joining_types.items():
        for first, end in ((one >> 32, one & 0xFFFFFFFF) for one in ranges):
            kinds.update(dict.fromkeys(range(first, end), kind))
    page = visit("/")
    found = page.evaluate(
        """async ([first, end]) => {
            const { areJoined } = await import("/static/joining.js");
            const letters = Array.from({ length: end - first }, (_, i) => String.fromCodePoint(first + i));
            return letters.map((one) => [areJoined(one, "\u0640"), areJoined("\u0640", one)]);
        }""",
        [0x600, 0x1F000],
    )
    for code, (after, before) in enumerate(found, 0x600):
        expected = kinds.get(code)
        if code != 0x200D:  # the joiner itself is put between letters, and is none
            assert (after, before) == (expected in ("D", "C", "L"), expected in ("D", "C", "R")), hex(code)


def test_groups_are_cut_where_a_token_and_a_character_end(visit, client):
    regex = pytest.importorskip("regex")
    page = visit("/")
    rng = random.Random(5)
    for size in range(1, 30):
        text = "".join(rng.choices(ODD, k=size))
        tokens = client.post("tokenize", {"text": text}).json["tokens"]
        groups = page.evaluate(
            """async ([tokens, text]) => {
                const { arrange } = await import("/static/pieces.js");
                arrange(tokens, text);
                return tokens.map(({ group, part }) => [group && group.text, group ? group.count : 1, part]);
            }""",
            [tokens, text],
        )
        ends = {0} | {found.end() for found in regex.finditer(r"\r|\n|\X", text)}
        first = 0
        for i, token in enumerate(tokens):
            last = i + 1 == len(tokens) or (tokens[i + 1]["start"] >= token["end"] and token["end"] in ends)
            assert groups[i][2] == i - first, (text, i)
            if last:
                members = tokens[first : i + 1]
                slice_ = text[members[0]["start"] : max(one["end"] for one in members)]
                expected = [slice_ if len(members) > 1 else None, len(members)]
                assert [group[:2] for group in groups[first : i + 1]] == [expected] * len(members), (text, i)
                first = i + 1


def test_a_press_shows_the_merges_that_made_a_token(visit):
    page = visit("/")
    read(page, "an unbelievable <|endoftext|> 我")
    page.click("#tokens [data-place='1']")
    page.wait_for_selector("#merges:visible")
    merges = merges_of(GPT2, GPT2.encode(" unbelievable").tolist()[0])
    assert page.locator("#merge-steps .rank").all_text_contents() == ["bytes", *(f"{one.rank:,}" for one in merges)]
    last = page.locator("#merge-steps li").last.locator(".part").all_text_contents()
    assert last == ["·unbelievable"]
    assert page.locator("#merge-steps li").nth(2).locator(".part.new").text_content() == "·u"
    assert "12 merges" in page.text_content("#about-merges")
    page.click("#tokens .piece >> nth=0")
    piece = GPT2.decode_bytes(GPT2.encode(" 我")[:1]).hex(" ")  # no text by itself
    until(page, f"document.querySelector('#merge-steps li:last-child .new')?.textContent === {piece!r}")
    page.check("#special")
    page.click("#tokens .special")
    until(page, "document.querySelector('#about-merges').textContent.includes('never merged')")
    page.select_option("#tokenizer", "bytes")
    until(page, "document.querySelector('#merges').hidden")  # another tokenizer: what was in hand is no more
    page.click("#tokens [data-place='0']")
    until(page, "document.querySelector('#about-merges').textContent.includes('this tokenizer has no merges')")


def test_typing_and_a_press_beside_let_go(visit):
    page = visit("/")
    page.click("#tokens [data-place='5']")
    until(page, "document.body.classList.contains('linked')")
    page.focus("#text-input")
    page.mouse.move(1, 1)
    page.keyboard.press("End")
    page.keyboard.type("s")
    until(page, "!document.body.classList.contains('linked')")
    page.click("#tokens [data-place='5']")
    page.mouse.move(1, 1)
    until(page, "!document.querySelector('.inspector').hidden")
    page.mouse.click(640, 120)  # beside
    until(page, "document.querySelector('.inspector').hidden && !document.body.classList.contains('linked')")
    page.click("#tokens [data-place='5']")
    page.click("#let-go")
    page.mouse.move(1, 1)
    until(page, "!document.body.classList.contains('linked')")


@pytest.mark.parametrize("text", ["", "Hi", "\n"])
def test_too_little_text_leaves_nothing_of_the_last_standing(visit, text):
    page = visit("/#at=4&B=2")
    page.fill("#text-input", text)
    until(page, "document.querySelector('#which-batch').textContent === 'no batch'")
    until(page, "document.querySelector('#windows').hidden && document.querySelector('#embeddings').hidden")
    assert "at least 5 tokens" in page.text_content("#problem-windows")
    assert (
        page.text_content("#shape-batch") == page.text_content("#shape-out") == page.text_content("#about-last") == ""
    )
    assert page.get_attribute("#next", "aria-disabled") == page.get_attribute("#previous", "aria-disabled") == "true"
    assert page.locator("#merges").is_hidden()
    assert page.locator(".inspector").is_hidden()
    page.fill(
        "#text-input",
        "Every model begins with a text, and so does this one; and on it goes until there are two whole batches.",
    )
    page.wait_for_selector("#embeddings:visible")
    assert page.text_content("#problem-windows") == ""


def test_back_and_forward_lead_from_view_to_view(visit):
    page = visit("/")
    opening = page.input_value("#text-input")
    page.fill("#text-input", "one two three four five six seven")
    until(page, "location.hash.includes('text=one')")
    page.keyboard.type(" eight")  # at once: the same view
    until(page, "location.hash.includes('eight')")
    page.select_option("#tokenizer", "bytes")
    until(page, "location.hash.includes('tokenizer=bytes')")
    page.click("#tokens [data-place='1']")  # a token in hand is no view of its own
    until(page, "location.hash.includes('at=1')")
    page.go_back()
    until(page, "document.querySelector('#tokenizer').value === 'gpt2'")
    assert page.input_value("#text-input") == "one two three four five six seven eight"
    until(page, "document.querySelector('#code-tokens').textContent.includes('gpt2')")
    page.go_back()
    until(page, f"document.querySelector('#text-input').value === {opening!r}")
    until(page, "document.querySelectorAll('#tokens button').length > 60")
    page.go_forward()
    until(page, "document.querySelector('#text-input').value.endsWith('eight')")
    page.go_forward()
    until(page, "document.querySelector('#code-tokens').textContent.includes('bytes')")
    page.click("nav a:text('Words')")
    page.wait_for_selector("html[data-ready] #word")
    page.go_back()
    page.wait_for_selector("html[data-ready] #text-input")
    assert page.input_value("#tokenizer") == "bytes"


def test_a_long_text_is_kept_beside_the_address(visit):
    page = visit("/")
    text = "Лес, " * 400
    read(page, text, count=min(600, len(GPT2.encode(text))))
    until(page, "location.hash.includes('text-kept=')")
    assert len(page.url) < 300
    page.select_option("#tokenizer", "bytes")
    until(page, "location.hash.includes('tokenizer=bytes')")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.input_value("#text-input") == text
    page.fill("#text-input", "short")
    until(page, "location.hash.includes('text=short')")
    page.go_back()
    until(page, f"document.querySelector('#text-input').value.length === {len(text)}")
    page.click("nav a:text('Words')")
    page.wait_for_selector("html[data-ready] #word")
    page.click("nav a:text('Flow')")
    page.wait_for_selector("html[data-ready] #text-input")
    assert page.input_value("#text-input") == text
    elsewhere = visit(page.url[len(page.url.split("/#")[0]) :])
    assert elsewhere.is_visible("#lost")
    elsewhere.fill("#text-input", "another")
    until(elsewhere, "document.querySelector('#lost').hidden")


STEPS = ["text", "id", "window", "shift", "row", "position", "sum"]


def test_the_guide_by_keyboard_follows_one_token_in_words(visit):
    page = visit("/#T=9&S=1&B=8&at=2")
    live = {step: f"[data-step={step}] .live" for step in STEPS}
    page.focus("[data-step=text]")
    seen = []
    for step in STEPS:
        until(page, f"document.activeElement.dataset.step === '{step}'")
        until(page, f"document.querySelector('#guide-where').textContent === '{len(seen) + 1} of 7'")
        seen.append(page.inner_html("#scene-inner"))
        page.keyboard.press("ArrowDown")
    assert len(set(seen)) == 7
    assert "“unputdownable” alone is 4 tokens: un · put · down · able." in page.text_content(live["text"])
    assert "vocab_size = 50,257 is how many different tokens the tokenizer has." in page.text_content(live["id"])
    window = page.text_content(live["window"])
    assert "stride 1 < context_length 9: windows overlap, and each token is seen up to 9 times." in window
    assert page.text_content(live["shift"]) == "given Every model begins, predict with"
    assert page.text_content(live["row"]).startswith("A lookup takes row 6,140 out of the table [50257, 256] as it is")
    assert page.text_content(live["position"]).startswith("Row 2 of a second, small table is added")
    assert page.text_content(live["sum"]).startswith(
        "[8, 9] → [8, 9, 256]: 8 windows of 9 tokens, and each of the 72 ids"
    )
    page.focus("[data-step=window] [data-control=S]")
    page.keyboard.press("End")
    until(page, "document.querySelector('[data-step=window] .live').textContent.includes('23 tokens are left out')")
    assert page.input_value("#S") == "32"  # one control, in both places
    page.check("#guide-schemes [value=alibi]")
    until(page, "document.querySelector('[data-step=position] .live').textContent.includes('ALiBi acts in attention')")
    assert page.is_checked("#schemes [value=alibi]")


def test_the_guide_follows_scrolling_and_shows_the_librarys_numbers(visit):
    import torch

    page = visit("/#at=30")  # in another batch than the one shown? The guide asks for its window
    page.evaluate("document.querySelector('[data-step=sum]').scrollIntoView({ block: 'center' })")
    until(page, "document.querySelector('#guide-where').textContent === '7 of 7'")
    until(page, "document.querySelectorAll('#scene-inner canvas').length === 3")
    ids = GPT2.encode(page.input_value("#text-input"))
    torch.manual_seed(123)
    layer = fw.InputEmbedding(50257, 256, 4)
    sums = layer(torch.tensor(ids[28:32].astype(np.int64)[None])).detach().numpy()[0, 2]
    box = page.locator("#scene-inner canvas").nth(2).bounding_box()
    for dimension in (0, 100, 255):
        page.mouse.move(box["x"] + (dimension + 0.5) * box["width"] / 256, box["y"] + 5)
        until(page, f"document.querySelector('.tip')?.textContent.includes('dimension {dimension}:')")
        value = float(page.text_content(".tip").split(": ")[1].replace("−", "-"))
        assert abs(value - sums[dimension]) < 1e-4
    page.click("#guide-back")
    until(page, "document.querySelector('#guide-where').textContent === '6 of 7'")


def test_the_token_moves_from_step_to_step_unless_motion_is_reduced(visit):
    page = visit("/")
    page.evaluate("window.moves = 0; Element.prototype.animate = () => { window.moves++; return {}; }; 0")
    page.click("#guide-on")
    until(page, "document.querySelector('#guide-where').textContent === '2 of 7'")
    assert page.evaluate("window.moves") == 0
    page.emulate_media(reduced_motion="no-preference")
    page.focus("[data-step=id]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    until(page, "document.querySelector('#guide-where').textContent === '4 of 7'")
    page.keyboard.press("ArrowDown")
    until(page, "window.moves > 0")


def test_the_guide_is_skipped_once_for_all_and_the_controls_stay(visit):
    page = visit("/#T=7&S=3")
    page.click("#guide-skip")
    assert page.is_hidden("#steps")
    assert page.text_content("#guide-skip") == "Show it"
    assert page.input_value("#T") == "7"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.is_hidden("#steps")
    assert (page.input_value("#T"), page.input_value("#S")) == ("7", "3")
    page.click("#guide-skip")
    assert page.is_visible("[data-step=text]")


def test_the_first_view_asks_for_each_thing_once(visit):
    page = visit("/")
    asked = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name.split(location.origin)[1])")
    assert len(asked) == len(set(asked))
    questions = [one.split("/api/v1/")[1].split("?")[0] for one in asked if "/api/v1/" in one]
    assert questions == ["tokenizers", "tokenize", "windows", "embed", *["positions"] * 5]


def test_values_are_told_under_the_pointer_and_by_the_arrow_keys(visit):
    import torch

    page = visit("/")
    ids = GPT2.encode(page.input_value("#text-input"))[:32].reshape(8, 4)
    torch.manual_seed(123)
    sums = fw.InputEmbedding(50257, 256, 4)(torch.tensor(ids.astype(np.int64))).detach().numpy()
    press(page, "#heat-sum", "ArrowDown", "ArrowRight", "ArrowRight")
    expected = f"{sums[0, 1, 2]:.4f}".replace("-", "−")
    assert page.text_content(".tip") == f"sum: window 0, position 1, dimension 2: {expected}"
    page.hover("#heat-sum", position={"x": 1, "y": 45})
    until(page, "document.querySelector('.tip').textContent.startsWith('sum: window 1, position 0')")
    assert page.locator("#heat-sum").locator("xpath=..").locator(".heat-names span").all_text_contents() == [
        *"01234567"
    ]
    assert page.text_content("#rows-sum") == "↓ 8 × 4 tokens, by window"


def test_a_phones_first_screen_has_text_and_tokens_and_what_goes_on_says_so(visit):
    page = visit("/#T=32&B=1", phone=True)
    box, token = (page.locator(one).first.bounding_box() for one in ("#text-input", "#tokens button"))
    assert box["y"] + box["height"] < 740
    assert token["y"] + token["height"] < 740
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    frame = page.locator("#inputs").locator("xpath=../..")
    assert "more-right" in frame.get_attribute("class")
    assert page.evaluate("getComputedStyle(document.querySelector('.more-right'), '::after').content") == '"scroll →"'
    page.evaluate("document.querySelector('#inputs').parentElement.scrollLeft = 1e6")
    until(page, "!document.querySelector('#inputs').parentElement.parentElement.classList.contains('more-right')")
    last = page.locator("#cascade rect").last.bounding_box()
    assert last["x"] + last["width"] <= 360
    assert page.evaluate(
        "document.querySelector('#code-tokens').getBoundingClientRect().top > "
        "document.querySelector('#tokens').getBoundingClientRect().bottom"
    )
    page.tap("#tokens [data-place='3']")
    until(page, "!document.querySelector('.inspector').hidden")
    page.tap("#let-go")
    until(page, "document.querySelector('.inspector').hidden")


@pytest.mark.parametrize(
    ("dark", "phone", "examples"), [(False, False, [1, 3]), (True, True, [4, 0, 2])], ids=["light-desk", "dark-phone"]
)
def test_with_a_token_in_hand_each_example_is_whole_and_accessible(visit, dark, phone, examples):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed (extra e2e)")
    page = visit("/#side=1", dark=dark, phone=phone)
    for example in examples:
        page.locator("#examples button").nth(example).click()
        page.wait_for_selector("#side figure")
        page.click("#tokens [data-place='4']")
        page.wait_for_selector("#merges:visible")
        page.locator(".step").nth(example + 2).focus()
        page.wait_for_timeout(100)
        shown = page.evaluate("document.querySelector('main').innerText")
        assert not {"⟨", "\ufffd"} & set(shown)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not worst, "\n".join(f"{one['id']}: {one['nodes'][0]['html'][:300]}" for one in worst)


def test_an_unknown_address_is_a_page_that_leads_back(visit):
    page = visit("/", refusals=True)
    page.goto(page.url.split("#")[0] + "nothing/here")
    assert "404: there is no such address" in page.text_content("h1")
    page.click("main a:text('Flow')")
    page.wait_for_selector("html[data-ready]")


def test_what_is_said_of_stride_and_the_last_batch(visit):
    page = visit("/#T=4&S=4&B=8")
    tokens = len(GPT2.encode(page.input_value("#text-input")))
    windows = (tokens - 1) // 4
    assert (
        page.text_content("#about-stride")
        == "stride 4 = context_length 4: windows lie end to end, and each token is seen once."
    )
    assert page.text_content("#about-last") == (
        f"{windows % 8} windows are left for the last batch, which would take 8: drop_last leaves them out."
    )
    press(page, "#S", "ArrowRight")
    until(
        page, "document.querySelector('#about-stride').textContent.includes('between two windows 1 token is left out')"
    )
    page.uncheck("#last")
    until(
        page, "document.querySelector('#about-last').textContent.endsWith('without drop_last it is a smaller batch.')"
    )
    press(page, "#B", "Home")
    until(
        page, "/batches: drop_last has nothing to leave out.$/.test(document.querySelector('#about-last').textContent)"
    )
    assert (
        re.search(r"\b1 (windows|tokens|batches|bytes)\b", page.evaluate("document.querySelector('main').innerText"))
        is None
    )
