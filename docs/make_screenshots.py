"""Make the pictures of the explorer in docs/images, in a headless Chromium against a server of our own.

    python docs/make_screenshots.py [FOLDER]      needs foreword[explore,torch,e2e], Chromium, and fonts
                                                  of Chinese and of emoji

Those that the docs show; with another FOLDER, every view in both themes and at two widths, whole, to be looked at.
"""

from __future__ import annotations

import contextlib
import pydoc_data.topics
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

import foreword as fw
from foreword.explorer import Settings, server

IMAGES = Path(__file__).absolute().parent / "images"
VIEWS = {
    "flow": "/",
    "words": "/words#word=river&low=village&high=city&drawn=1",
    "store": "/store#place=289&find=+statement",
}
SHOWN = {"flow-light", "words-dark", "store-light"}  # in the docs
HOVER = {"flow": "#tokens [data-place='13']"}
READY = {"words": "html[data-map=whole] #axis-on-map text"}  # of others: html[data-ready]
TOP = {"words": "#h-map"}  # what the docs show first
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    """Make them."""
    folder = Path(sys.argv[1]).absolute() if sys.argv[1:] else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    widths = {"": (1280, 860)} | ({} if folder == IMAGES else {"-phone": (390, 844)})
    with serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for width, (across, down) in widths.items():
            for theme in ("light", "dark"):
                context = browser.new_context(viewport={"width": across, "height": down}, color_scheme=theme)
                page = context.new_page()
                page.set_default_timeout(200_000)  # the very first view waits for torch, the map for its layout
                for view, path in VIEWS.items():
                    name = f"{view}-{theme}{width}"
                    if folder == IMAGES and name not in SHOWN:
                        continue
                    page.goto(url + path)
                    page.wait_for_selector("html[data-ready]")
                    page.wait_for_selector(READY.get(view, "html"))
                    if folder == IMAGES and view in TOP:
                        page.locator(TOP[view]).evaluate("(one) => one.scrollIntoView({ behavior: 'instant' })")
                    if view in HOVER:
                        page.hover(HOVER[view])
                    page.wait_for_timeout(2_000)  # words glide to their places, and are laid out
                    page.screenshot(path=folder / f"{name}.png", full_page=folder != IMAGES)
                    print(folder / f"{name}.png")
                context.close()
        browser.close()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server with a store of Python's help topics; its address."""
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):  # the page shows a store's path as it was given
        topics = [pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)]
        fw.prepare(topics, "topics")
        listener = server.bind("127.0.0.1", 0)
        running = server.make_server(Settings(stores=(Path("topics"),)))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.02)
        yield f"http://localhost:{listener.getsockname()[1]}"
        running.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
