"""URLs: which are fetched, where from, and by what.

    FOREWORD_MIRROR    where to take every file from: MIRROR/HOST/PATH for https://HOST/PATH (wget -x makes such)
    FOREWORD_OFFLINE   set to 1: nothing is fetched; what is missing is an error

The standard library's urllib talks to http and https servers, through the proxies of the environment; certificates are
always checked, and redirects never lead from https to http.

Not for: fetching (``_download``). Costs: nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from foreword.errors import ArgumentError, DownloadError

if TYPE_CHECKING:
    import urllib.request

__all__ = ["checked", "is_url", "mirrored", "offline", "opener", "shown"]


def is_url(name: str) -> bool:
    """Whether ``name`` is a URL of a kind that can be fetched.

    >>> is_url("https://example.org/a.txt"), is_url("file:///a.txt"), is_url("a.txt"), is_url("C:/a.txt")
    (True, True, False, False)
    """
    return name.partition("://")[0].lower() in ("http", "https", "file") and "://" in name


def offline() -> bool:
    """Whether the user wants nothing fetched: FOREWORD_OFFLINE is set, to something else than 0."""
    return os.environ.get("FOREWORD_OFFLINE", "0") not in ("", "0")


def mirrored(url: str) -> str:
    """Where ``url`` is taken from: FOREWORD_MIRROR/HOST/PATH where that is set, else ``url`` itself.

    Raises:
        ArgumentError: FOREWORD_MIRROR is no URL.
    """
    mirror = os.environ.get("FOREWORD_MIRROR")
    if not mirror or url.lower().startswith("file:"):
        return url
    if not is_url(mirror):
        raise ArgumentError(
            "FOREWORD_MIRROR must be a URL", got=repr(mirror), expected="https://…, http://… or file:///…"
        )
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}{query}"


def checked(url: str) -> str:
    """A URL that can be fetched, its spaces and letters beyond ASCII quoted."""
    try:
        parts = urlsplit(url) if is_url(url) else None
    except ValueError:
        parts = None
    if parts is None or (parts.scheme != "file" and not parts.hostname):
        raise ArgumentError("not a URL that can be fetched", got=repr(url), expected="https://…, http://… or file:///…")
    if "@" in parts.netloc:
        raise ArgumentError("a URL with a name or password in it is not fetched", got=f"a URL of {parts.hostname}")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def opener() -> urllib.request.OpenerDirector:
    """What opens http and https URLs, and nothing else."""
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        """Follow redirects to http and https only, and never from https to http."""

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
            if new not in ("http", "https") or (old, new) == ("https", "http"):
                raise DownloadError(
                    "the server points to a place that is not safe", got=shown(newurl), where=shown(req.full_url)
                )
            return super().redirect_request(req, fp, code, msg, headers, newurl)

        def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
            try:
                return super().http_error_302(req, fp, code, msg, headers)
            except Exception as error:  # urllib closes the answer only of a redirect that it follows
                if getattr(error, "fp", None) is not fp:
                    fp.close()
                raise

        http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        Redirects(),
    ):
        director.add_handler(handler)
    return director


def shown(url: str) -> str:
    """A URL for messages: without its query, which may hold a secret."""
    return urlsplit(url)._replace(query="", fragment="").geturl()
