"""What the page costs while it trains: the browser's heap, its long tasks, the gateway's memory.

    uv run python -m tests.benchmarks.page --minutes 10

A real server, the page in front of it and headless Chromium on the same machine. A pass a frame,
15 frames a second, and training begins anew whenever it is done.
"""

import argparse
import tempfile
import time
from pathlib import Path

from quadnet.registry import Registry
from tests.browsing import chromium
from tests.exact import publish
from tests.paging import PageProcess
from tests.serving import ServerProcess

OBSERVE = """() => {
  window.longTasks = [];
  new PerformanceObserver(list => window.longTasks.push(...list.getEntries().map(e => e.duration)))
    .observe({type: "longtask"});
}"""


def resident(pid: int) -> float:
    """Return the process's memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3


def main() -> None:
    """Print a line a minute, and what has changed from the first to the last."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes

    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "registry")
        publish(registry)
        with (
            ServerProcess(registry.root) as server,
            PageProcess(server.port, "--run-seconds", "86400") as own,
            chromium() as browser,
        ):
            page = browser.new_page()
            page.goto(own.url + "#iterations=10000000&speed=1&points=500&batch=50")
            page.wait_for_selector("html[data-ready]")
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
            while look()[4] < 300 and minutes > 0.5:
                time.sleep(1)
            first, started = look(), time.monotonic()
            print(
                f"{'min':>5} {'heap MB':>8} {'long tasks':>10} {'server MB':>9} {'page MB':>8} pass"
            )
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
                f"server {last[2] - first[2]:+.1f} MB, page's process {last[3] - first[3]:+.1f} MB"
            )


if __name__ == "__main__":
    main()
