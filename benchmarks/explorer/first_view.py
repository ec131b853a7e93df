"""Claim: seconds from asking for the Flow view to its tokens, and to all of it, on loopback, in a headless Chromium.

Of a server that has warmed up, as it does by itself, of one that has just begun to listen, and of an exported page from
a plain static server and from a folder; each round is a new browser context, with nothing cached.

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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from foreword.explorer import Limits, Settings, server
from foreword.explorer.export import export
from runner import Contender, NotInstalled, Result, main, race

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A plain static server that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def measure(options: argparse.Namespace) -> list[Result]:
    from playwright.sync_api import Page, sync_playwright

    if not (chromium := shutil.which("chromium")):
        raise NotInstalled("Chromium: apt-get install chromium")
    listener = server.bind("127.0.0.1", 0)
    running = server.make_server(Settings())
    threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while not running.started:
        time.sleep(0.02)
    url = f"http://localhost:{listener.getsockname()[1]}/"
    with sync_playwright() as playwright, contextlib.ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)

        def view(until: str, url: str = url) -> float:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page: Page = context.new_page()
            start = time.perf_counter()
            page.goto(url, wait_until="commit")
            page.wait_for_selector(until)
            seconds = time.perf_counter() - start
            context.close()
            return seconds

        def first(until: str) -> float:
            """The same of a server that has only just begun to listen: it is still loading torch and the vectors."""
            command = [sys.executable, "-m", "foreword", "explore", "--no-browser", "--port", "0"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
                line = next(line for line in process.stdout or () if "http://" in line)
                try:
                    return view(until, line.split()[3])
                finally:
                    process.terminate()

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "page"
        export(folder, Settings(limits=Limits(atlas_words=1_000)))  # the map is of the Words view
        handler = functools.partial(Quiet, directory=folder)
        host = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=host.serve_forever, daemon=True).start()
        result = race(
            "the whole Flow view",
            [
                Contender("Foreword", lambda: view("html[data-ready]")),
                Contender("its tokens", lambda: view("#tokens button")),
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
    running.should_exit = True
    return [result]


if __name__ == "__main__":
    main(measure, __doc__, needs=["playwright", "fastapi", "uvicorn"])
