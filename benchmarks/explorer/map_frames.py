"""Claim: frames a second of the map of all words while it is dragged, in a headless Chromium that renders in software.

And the bytes that the map takes over the wire, and the seconds until its first words are seen. The better layout is
computed first, or found in the cache, and not counted.

    python benchmarks/explorer/map_frames.py [--repeats 5] [--quick] [--json FILE]      needs Chromium
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import foreword as fw
from foreword.explorer import Limits, Settings, server
from foreword.vectors import lay_out
from runner import NotInstalled, Result, main

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
# A drag in a circle, a step a frame; the frames that were painted meanwhile, and the milliseconds that they took.
DRAG = """async ([zoom, steps]) => {
  const canvas = document.querySelector("#map");
  canvas.setPointerCapture = () => {};
  for (let i = 0; i < zoom; i++) document.querySelector("#zoom-in").click();
  const send = (type, clientX, clientY) =>
    canvas.dispatchEvent(new PointerEvent(type, { pointerId: 7, clientX, clientY }));
  const frame = () => new Promise(requestAnimationFrame);
  const { left, top } = canvas.getBoundingClientRect();
  const at = (i) => [left + 400 + 120 * Math.cos(i / 9), top + 250 + 120 * Math.sin(i / 9)];
  await frame();
  send("pointerdown", ...at(0));
  const began = performance.now();
  for (let i = 1; i <= steps; i++) { send("pointermove", ...at(i)); await frame(); }
  const seconds = (performance.now() - began) / 1000;
  send("pointercancel", 0, 0);
  document.querySelector("#zoom-all").click();
  return steps / seconds;
}"""


def measure(options: argparse.Namespace) -> list[Result]:
    from playwright.sync_api import sync_playwright

    if not (chromium := shutil.which("chromium")):
        raise NotInstalled("Chromium: apt-get install chromium")
    words = 5_000 if options.quick else 400_000
    lay_out(fw.load("glove-wiki-gigaword-50"), count=words)
    listener = server.bind("127.0.0.1", 0)
    running = server.make_server(Settings(limits=Limits(atlas_words=words)))
    threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while not running.started:
        time.sleep(0.02)
    url = f"http://localhost:{listener.getsockname()[1]}/words"
    frames: dict[str, list[float]] = {"all of it": [], "a fifth": [], "a region": []}
    first: list[float] = []
    bytes_: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for round_ in range(options.repeats + 1):
            page = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
            page.set_default_timeout(120_000)
            sizes: list[float] = []
            page.on(
                "requestfinished",
                lambda asked, sizes=sizes: (
                    sizes.append(asked.sizes()["responseBodySize"]) if "/atlas" in asked.url else 0
                ),
            )
            start = time.perf_counter()
            page.goto(url)
            page.wait_for_selector("html[data-ready]")
            seen = time.perf_counter() - start
            page.wait_for_selector("html[data-map]")
            rates = {
                name: page.evaluate(DRAG, [zoom, 20 if options.quick else 120])
                for name, zoom in (("all of it", 0), ("a fifth", 4), ("a region", 9))
            }
            if round_:  # the first warms up
                first.append(seen)
                bytes_.append(sum(sizes) / 1e6)
                for name, rate in rates.items():
                    frames[name].append(rate)
            page.context.close()
        browser.close()
    running.should_exit = True
    return [
        Result("frames of the map while it is dragged", frames, unit="frames/s", notes=f"{words:,} words, 838 × 544"),
        Result("the map over the wire", {"Foreword": bytes_}, unit="MB", notes=f"{words:,} words"),
        Result("the Words view with the map's first words", {"Foreword": first}),
    ]


if __name__ == "__main__":
    main(measure, __doc__, needs=["playwright", "fastapi", "uvicorn"])
