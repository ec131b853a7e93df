"""What a notebook shows of our objects: the one place where something below reaches up, to ``foreword.display``.

Not for: what is shown (``foreword.display``). Costs: importing that, when a notebook shows the first object.
"""

from __future__ import annotations

import importlib

__all__ = ["notebook_html"]


def notebook_html(kind: str, thing: object) -> str:
    """The HTML of ``thing``, as the function ``kind`` of ``foreword.display`` shows it."""
    html: str = getattr(importlib.import_module("foreword.display"), kind)(thing).html
    return html
