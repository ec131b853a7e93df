"""The explorer: a page and an HTTP API that make tokens, windows, embeddings and word vectors visible.

Read in this order: ``settings`` (what may be served, and limits), ``library`` (what a request may name), ``geometry``
(planes, clusters), ``problems`` (errors as RFC 9457 says), ``security`` (what every request must pass), ``api/`` (one
module a topic), ``bundle`` (the page's modules → one script), ``app`` (all of it put together), ``server`` (sockets,
slow clients). ``static/`` is the page.

Not for: training or serving models. Costs: one process, threads for the work; vectors load when first asked for.
"""

from __future__ import annotations

import importlib.util

from foreword.errors import MissingPackageError

if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "httptools")):
    raise MissingPackageError(
        "the explorer needs fastapi, uvicorn and httptools", fix="pip install fastapi uvicorn httptools"
    )

from foreword.explorer.app import create_app
from foreword.explorer.settings import Limits, Settings

__all__ = ["Limits", "Settings", "create_app"]
