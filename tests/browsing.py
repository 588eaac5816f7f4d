"""Chromium, driven by Playwright: found, started, and closed at the end."""

import os
import shutil
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium():
    """Give a browser that asks nobody but the page."""
    assert CHROMIUM, "there is no chromium on the path: apt-get install chromium"
    # As root it cannot shut itself in; what it is shown here is our own.
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*ARGUMENTS, *root]
        )
        try:
            yield browser
        finally:
            browser.close()
