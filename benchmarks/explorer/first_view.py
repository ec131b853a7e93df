"""Claim: seconds from asking for the Flow view to its tokens, and to all of it, on loopback, in a headless Chromium.

Of a server that has warmed up, as it does by itself, of one that has just begun to listen, and of an exported page from
a plain static server and from a folder; each round is a new window, with nothing cached. The address is opened when the
window has come to rest: for its first second, Chromium loads a page of its own into it, unseen.

    python benchmarks/explorer/first_view.py [--repeats 5] [--quick] [--json FILE]      needs Chromium
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.explorer import Limits, Settings
from foreword.explorer.export import export
from runner import Contender, NotInstalled, Result, main, race

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
REST = 1_500  # milliseconds until a new window has come to rest


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """``foreword explore`` as a person starts it; gives its address as soon as it is printed."""
    command = [sys.executable, "-m", "foreword", "explore", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield next(line for line in process.stdout or () if "http://" in line).split()[3]
        finally:
            process.terminate()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A plain static server that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def measure(options: argparse.Namespace) -> list[Result]:
    from playwright.sync_api import Page, sync_playwright

    if not (chromium := shutil.which("chromium")):
        raise NotInstalled("Chromium: apt-get install chromium")
    with sync_playwright() as playwright, contextlib.ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)

        @contextlib.contextmanager
        def window() -> Iterator[Page]:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page: Page = context.new_page()
            page.wait_for_timeout(REST)
            yield page
            context.close()

        def seconds(page: Page, until: str, url: str) -> float:
            start = time.perf_counter()
            page.goto(url, wait_until="commit")
            page.wait_for_selector(until)
            return time.perf_counter() - start

        def view(until: str, url: str) -> float:
            with window() as page:
                return seconds(page, until, url)

        def first(until: str) -> float:
            """The same of a server that has only just begun to listen: it is still loading torch and the vectors."""
            with window() as page, serving() as url:
                return seconds(page, until, url)

        url = stack.enter_context(serving())
        view("html[data-ready]", url)  # its first view waits for torch; then it has warmed up

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "page"
        export(folder, Settings(limits=Limits(atlas_words=1_000)))  # the map is of the Words view
        handler = functools.partial(Quiet, directory=folder)
        host = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=host.serve_forever, daemon=True).start()
        result = race(
            "the whole Flow view",
            [
                Contender("Foreword", lambda: view("html[data-ready]", url)),
                Contender("its tokens", lambda: view("#tokens button", url)),
                Contender("all of it, server just started", lambda: first("html[data-ready]")),
                Contender("its tokens, server just started", lambda: first("#tokens button")),
                Contender(
                    "all of it, exported, static server",
                    lambda: view("html[data-ready]", f"http://127.0.0.1:{host.server_address[1]}/"),
                ),
                Contender(
                    "all of it, exported, folder", lambda: view("html[data-ready]", (folder / "index.html").as_uri())
                ),
            ],
            repeats=options.repeats,
        )
        browser.close()
        host.shutdown()
    return [result]


if __name__ == "__main__":
    main(measure, __doc__, needs=["playwright", "fastapi", "uvicorn"])
