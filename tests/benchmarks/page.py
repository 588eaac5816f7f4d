"""What the page costs: how long one waits for it, and its memory and long tasks while it trains.

    uv run --group dev python -m tests.benchmarks.page --minutes 10

A real server, the page in front of it and headless Chromium on the same machine. First it trains
for so many minutes, a pass a frame and 15 frames a second; then four times are taken, each several
times over.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from quadnet.registry import Registry
from tests.service.playground.browsing import chromium, until
from tests.service.playground.page_client import PLAYGROUND, PageServerProcess
from tests.support.exact_models import publish
from tests.support.serving import ServerProcess

ENDLESS = "#iterations=10000000&speed=1&points=500&batch=50"
TRAINS = "Number(document.documentElement.dataset.epoch) >= 5"
FULL = "Number(document.documentElement.dataset.epoch) >= 300"

# What was wanted of the page before there was one, in seconds.
WANTED = {
    "a cold load, until all is shown": 2.0,
    "Pause, until the pass stands still": 0.2,
    "the tab closed, until the run has ended": 2.0,
    "the server killed, until it is said": 3.0,
}

OBSERVE = """() => {
  window.longTasks = [];
  new PerformanceObserver(list => window.longTasks.push(...list.getEntries().map(e => e.duration)))
    .observe({type: "longtask"});
}"""

# The milliseconds from a click until what is written of the run changes no more.
PAUSE = """async () => {
  const shown = () => ["epoch", "train"].map(id => document.getElementById(id).textContent).join();
  let [last, before] = [performance.now(), shown()];
  const clicked = last;
  document.getElementById("train").click();
  while (performance.now() < clicked + 500) {
    await new Promise(resolve => setTimeout(resolve, 1));
    if (shown() !== before) [last, before] = [performance.now(), shown()];
  }
  return last - clicked;
}"""


def resident(pid: int) -> float:
    """Return the process's memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3


def visit(browser: Any, url: str) -> Any:
    """Return the page, loaded by a browser that knows nothing of it."""
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    return page


def times(browser: Any, own: PageServerProcess) -> list[float]:
    """Return the seconds of one load, one pause and one closed tab."""
    started = time.monotonic()
    page = visit(browser, own.url + ENDLESS)
    ready = time.monotonic() - started
    page.click("#train")
    until(page, TRAINS)
    pause = page.evaluate(PAUSE) / 1e3
    assert page.text_content("#train") == "Train"
    page.click("#train")
    page.wait_for_selector('html[data-running="true"]')
    ended = {"method": f"{PLAYGROUND}/Train", "status": "CANCELLED"}
    before = sum(ended.items() <= line.items() for line in own.log())
    started = time.monotonic()
    page.context.close()
    own.logged("call", n=before + 1, **ended)
    return [ready, pause, time.monotonic() - started]


def away(browser: Any, own: PageServerProcess, server: ServerProcess, after: float) -> float:
    """Kill the server while the page trains, and return the seconds until the page says so."""
    page = visit(browser, own.url + ENDLESS)
    page.click("#train")
    until(page, TRAINS)
    page.wait_for_timeout(1000 * after)
    started = time.monotonic()
    server.process.kill()
    page.wait_for_selector("#stale:not([hidden])")
    seconds = time.monotonic() - started
    page.context.close()
    return seconds


def print_costs(
    browser: Any, own: PageServerProcess, server: ServerProcess, minutes: float
) -> None:
    """Print a line a minute, and what has changed from the first to the last."""
    page = visit(browser, own.url + ENDLESS)
    page.evaluate(OBSERVE)
    session = page.context.new_cdp_session(page)

    def look() -> tuple[float, int, float, float, int]:
        session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        tasks = page.evaluate("window.longTasks.length")
        passes = int(page.get_attribute("html", "data-epoch") or 0)
        return heap, tasks, resident(server.process.pid), resident(own.process.pid), passes

    page.click("#train")
    # Once as many frames are kept as ever will be, nothing is to grow any more.
    if minutes > 0.5:
        page.wait_for_function(FULL, timeout=120_000)
    first, started = look(), time.monotonic()
    print(f"{'min':>5} {'heap MB':>8} {'long tasks':>10} {'server MB':>9} {'page MB':>8} pass")
    for _ in range(max(1, round(minutes))):
        time.sleep(60 * min(1.0, minutes))
        last, elapsed = look(), time.monotonic() - started
        print(
            f"{elapsed / 60:5.1f} {last[0]:8.2f} {last[1] - first[1]:10} "
            f"{last[2]:9.1f} {last[3]:8.1f} {last[4]}",
            flush=True,
        )
    print(
        f"heap {last[0] - first[0]:+.2f} MB, "
        f"{(last[1] - first[1]) / elapsed:.2f} long tasks a second, "
        f"server {last[2] - first[2]:+.1f} MB, page's process {last[3] - first[3]:+.1f} MB\n"
    )
    page.context.close()


def print_times(rows: list[list[float]]) -> None:
    """Print the median and the worst of each time, beside what was wanted."""
    print(f"{'':40} {'median':>9} {'slowest':>9} {'wanted':>9}")
    for (name, wanted), seconds in zip(WANTED.items(), zip(*rows, strict=True), strict=True):
        median, slowest = statistics.median(seconds), max(seconds)
        print(f"{name:40} {median:7.3f} s {slowest:7.3f} s {wanted:7.1f} s")


def main() -> None:
    """Print the costs, then the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        registry = Registry(Path(folder) / "registry")
        publish(registry)
        server = stack.enter_context(ServerProcess(registry.root))
        own = PageServerProcess(server.port, "--log-level", "info", "--run-seconds", "86400")
        stack.enter_context(own)
        browser = stack.enter_context(chromium())
        print_costs(browser, own, server, options.minutes)
        rows = []
        for turn in range(options.repeat):
            if turn:
                server = stack.enter_context(ServerProcess(registry.root, port=server.port))
                # The gateway dials again only after a while.
                visit(browser, own.url).context.close()
            # The page looks once a second: the server is killed in every part of it.
            rows.append([*times(browser, own), away(browser, own, server, turn / options.repeat)])
        print_times(rows)


if __name__ == "__main__":
    main()
