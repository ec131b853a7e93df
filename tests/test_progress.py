"""Progress: quiet where nobody looks and for quick work; amount, speed and what the work gives, where somebody does."""

import io
import types

import pytest
import rich.console

from foreword._base import progress as module
from foreword._base.progress import progress


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 120 columns in place of standard error; what was written to it."""
    out = io.StringIO()
    console = rich.console.Console

    def made(**_):
        return console(file=out, force_terminal=True, width=120, color_system=None)

    monkeypatch.setattr(rich.console, "Console", made)
    monkeypatch.setattr(module, "QUIET_SECONDS", -1.0)
    return out


def test_where_nobody_looks_nothing_is_shown(terminal):
    with progress("working", 10) as bar:  # under pytest, standard error is no terminal
        bar.advance(10)
    assert terminal.getvalue() == ""


def test_where_somebody_looks_it_is_shown(terminal, monkeypatch):
    monkeypatch.setattr(module.sys, "stderr", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})())
    with progress("working", 10, unit="files") as bar:
        bar.advance(10)
    assert "10/10" in terminal.getvalue()


def test_quick_work_is_quiet(terminal, monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 60.0)
    with progress("working", 10, shown=True) as bar:
        bar.advance(10)
    assert terminal.getvalue() == ""


def test_bytes_and_what_the_work_gives(terminal):
    with progress("tokenizing", 4_000_000, shown=True) as bar:
        bar.advance(1_000_000)
        bar.tally(250_000, "tokens")
        bar.advance(3_000_000)
    shown = terminal.getvalue()
    assert "tokenizing" in shown
    assert "4.0/4.0 MB" in shown
    assert "tokens/s" in shown


def test_a_count_of_other_things(terminal):
    with progress("an epoch", 8, unit="batches", shown=True) as bar:
        bar.advance(4)
        bar.advance(4)
    assert "8/8" in terminal.getvalue()
    assert "tokens/s" not in terminal.getvalue()


def test_the_speed_is_what_was_given_a_second_since_the_start(terminal, monkeypatch):
    clock = types.SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(module, "time", clock)
    now = 100.0
    with progress("tokenizing", 4_000_000, shown=True) as bar:
        bar.tally(200_000, "tokens")
        bar.advance(1_000_000)  # in no time: no speed to tell
        assert "tokens/s" not in terminal.getvalue()
        now = 104.0
        bar.tally(300_000, "tokens")
        bar.advance(3_000_000)
    assert "125,000 tokens/s" in terminal.getvalue()
