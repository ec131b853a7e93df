"""Train it here: the page's tiny model learns as torch's does, by mouse and keyboard; its Python runs when copied."""

from urllib.parse import urlencode

import numpy as np
import pytest

import foreword as fw
from explorer.test_page import browser, press, run_copied, until, visit  # noqa: F401

STEPS = "Number(document.querySelector('#train-facts b').textContent.replace(',', ''))"
TEXT = (
    "The king rules. The queen rules. The cat sleeps. The dog sleeps. "
    "A king reads, a queen reads, a cat plays, a dog plays."
)


def trained(page, steps=300):
    """Press the button, and wait until it has trained."""
    page.click("#train-go")
    until(page, f"{STEPS} === {steps} && document.querySelector('#train-go').textContent.startsWith('Train')")


def bars(page, where):
    """What two bars say: before, and now."""
    return [float(one.strip(" %").replace("−", "-")) for one in page.locator(f"{where} .score").all_text_contents()]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"text": TEXT, "T": 3, "S": 1, "B": 5, "last": "0", "tokenizer": "gpt2"},
        {"text": "naïve 中文 'quoted' \\ \"twice\"\n" * 3, "T": 2, "S": 2, "B": 3, "tokenizer": "bytes"},
    ],
    ids=["opening", "kings", "bytes"],
)
def test_the_page_trains_as_torch_does(visit, state):  # noqa: F811
    """The Python, copied and run, has the page's loss at each end, and its rows are as similar."""
    page = visit(f"/#{urlencode(state)}")
    page.click("#train-step")
    first = float(page.locator("#train-facts b").nth(1).text_content())
    page.click("#train-reset")
    trained(page)
    last = float(page.locator("#train-facts b").nth(1).text_content())
    names = run_copied(page, "#code-train")
    assert len(names["losses"]) == 300
    assert names["losses"][0] == pytest.approx(first, abs=6e-4)
    assert names["losses"][-1] == pytest.approx(last, abs=3e-3)
    assert last < first / 2
    assert names["_"][2] == pytest.approx(bars(page, "#train-pair")[1], abs=0.02)
    text = page.input_value("#text-input")
    assert fw.get_tokenizer(state.get("tokenizer", "gpt2")).decode(names["ids"]) == text


def test_what_is_used_alike_comes_together_and_predictions_get_better(visit):  # noqa: F811
    page = visit(f"/#{urlencode({'text': TEXT, 'T': 4, 'S': 1, 'B': 8})}")
    before = bars(page, "#train-pair") + bars(page, "#train-guess")
    assert before[0] == before[1]
    assert before[2] == before[3]
    trained(page)
    apart, together = bars(page, "#train-pair")
    unsure, sure = bars(page, "#train-guess")
    assert together > apart + 0.5
    assert sure > 2 * unsure
    assert page.locator("#train-loss polyline").get_attribute("points").count(",") == 300
    assert "300 steps" in page.text_content("#train-status")
    page.select_option("#train-given", label="·cat")
    assert page.text_content("#train-next").startswith("In the text")


def test_a_row_changes_only_in_steps_whose_batch_holds_its_token(visit):  # noqa: F811
    """As the page says; and the count that it shows is that of the batch."""
    page = visit(f"/#{urlencode({'text': TEXT, 'T': 4, 'S': 4, 'B': 2})}")
    ids = fw.get_tokenizer("gpt2").encode(TEXT)
    loader = fw.WindowLoader(fw.WindowDataset(ids, context_length=4), batch_size=2)
    for inputs, _ in list(loader)[:3]:
        places = "[...document.querySelectorAll('#train-rows circle')].map((one) => one.getAttribute('cx'))"
        before = page.evaluate(places)
        page.click("#train-step")
        distinct = len(np.unique(inputs))
        assert f"held {distinct} of the {len(np.unique(ids))} tokens" in page.text_content("#train-moved")
        assert page.evaluate(places) != before
        ringed = page.locator("#train-rows circle.moved, #train-rows circle.paired").count()
        assert distinct <= ringed <= distinct + 2


def test_training_by_keyboard_stops_steps_and_starts_again(visit):  # noqa: F811
    page = visit("/")
    press(page, "#train-step", "Enter", "Enter")
    assert page.evaluate(STEPS) == 2
    press(page, "#train-go", "Enter")
    page.keyboard.press("Enter")  # it has become Stop
    until(page, "document.querySelector('#train-go').textContent.startsWith('Train')")
    stopped = page.evaluate(STEPS)
    assert 2 <= stopped < 302
    page.wait_for_timeout(150)
    assert page.evaluate(STEPS) == stopped
    assert f"while len(losses) < {stopped}:" in page.text_content("#code-train")
    press(page, "#train-reset", "Enter")
    assert page.evaluate(STEPS) == 0
    assert page.locator("#train-loss polyline").get_attribute("points") == ""
    press(page, "#train-dim", "ArrowDown")
    until(page, "document.querySelector('#code-train').textContent.includes('embedding_dim=16')")


def test_another_text_starts_anew_and_too_little_is_told(visit):  # noqa: F811
    page = visit("/#B=1")
    page.click("#train-step")
    page.fill("#text-input", "one two three four five six seven eight nine")
    until(page, f"{STEPS} === 0")
    page.fill("#text-input", "a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a")
    until(page, "document.querySelector('#problem-train').textContent.includes('little to learn')")
    assert page.is_hidden("#training")
    page.fill("#text-input", "one two three four five six seven eight nine ten")
    page.wait_for_selector("#training:visible")
    assert "No two tokens" in page.text_content("#train-alike")
    assert page.text_content("#problem-train") == ""


def test_too_high_a_rate_is_told(visit):  # noqa: F811
    """Rows that blow up end the run; Reset, or another rate, begins anew."""
    page = visit(f"/#{urlencode({'text': 'abcde fghi ' * 40, 'tokenizer': 'bytes', 'T': 32, 'B': 2})}")
    page.evaluate("document.querySelector('#train-rate').append(new Option('1e6'))")
    page.select_option("#train-rate", "1e6")
    page.click("#train-go")
    until(page, "document.querySelector('#problem-train').textContent.includes('too high')")
    page.select_option("#train-rate", "0.3")
    assert page.text_content("#problem-train") == ""
    trained(page)
