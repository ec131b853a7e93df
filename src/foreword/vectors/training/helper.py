"""A thread that helps with a segment of a training.

Not for: what it works on (``trainer``). Costs: a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Helper"]


class Helper(threading.Thread):
    """A thread that can be waited for even if Ctrl-C came while it was started.

    Then nobody knows whether it was: one that has not begun with its work never does so.

    Args:
        work: what it does, with ``private``.
        private: its own arrays.
        number: for its name.
    """

    def __init__(self, work: Callable[[Any], None], private: Any, number: int) -> None:
        super().__init__(name=f"foreword-training-{number}", daemon=True)
        self._work, self._private = work, private
        self._begun = self._called_off = False
        self._over = threading.Event()

    def run(self) -> None:  # noqa: D102
        self._begun = True  # before it looks whether it is called off; ``settle`` does both the other way round
        if not self._called_off:
            self._work(self._private)
        self._over.set()

    def settle(self) -> None:
        """Wait for its end."""
        if self.ident is None:
            self._called_off = True
            if not self._begun:
                return
        self._over.wait()
