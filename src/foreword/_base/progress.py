"""Progress of long work, on standard error: amount, speed, time left.

Nothing is shown where standard error is not a terminal, or for work that ends within half a second, so that scripts and
quick calls stay quiet. Costs: rich is imported only once a bar is due.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "progress"]

QUIET_SECONDS = 0.5


class Progress:
    """Counts work done; ``advance`` is cheap enough for every document or block."""

    def __init__(self, title: str, total: float | None, *, unit: str, shown: bool) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._due = time.monotonic() + QUIET_SECONDS if shown else float("inf")
        self._done = 0.0
        self._start, self._tally, self._tally_unit = time.monotonic(), 0.0, ""
        self._note = ""
        self._bar: Any = None

    def advance(self, amount: float) -> None:
        """``amount`` more of the work is done: bytes where the unit is "B", else a count."""
        self._done += amount
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=self._rate())
        elif time.monotonic() > self._due:
            self._open()

    def tally(self, amount: float, unit: str) -> None:
        """``amount`` more of something that the work gives, such as "tokens"; its speed is shown beside the bar."""
        self._tally += amount
        self._tally_unit = unit

    def note(self, text: str) -> None:
        """Something to show beside the bar instead, such as a loss, from the next ``advance`` on."""
        self._note = text

    def _rate(self) -> str:
        if self._note:
            return self._note
        seconds = time.monotonic() - self._start
        return f"{self._tally / seconds:,.0f} {self._tally_unit}/s" if self._tally and seconds else ""

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar
        from rich.text import Text

        unit = self._unit

        class Speed(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else "", style="progress.data.speed")

        amount: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), Speed())
        if unit == "B":
            amount = (DownloadColumn(), TransferSpeedColumn())
        rate = TextColumn("{task.fields[rate]}", style="progress.data.speed")
        columns = (TextColumn("{task.description}"), BarColumn(), *amount, rate, TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._title, total=self._total, completed=self._done, rate=self._rate())
        self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(
    title: str, total: float | None = None, *, unit: str = "B", shown: bool | None = None
) -> Iterator[Progress]:
    """A bar for the work in the block. ``shown`` None means: where standard error is a terminal."""
    bar = Progress(title, total, unit=unit, shown=sys.stderr.isatty() if shown is None else shown)
    try:
        yield bar
    finally:
        bar.close()
