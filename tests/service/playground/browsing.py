"""Chromium, driven by Playwright, and helpers that read what the page shows."""

import json
import os
import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from quadnet import quadrants
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import alias_changes
from tests.support.exact_models import SELF_TEST_INPUTS, record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("BROWSER_REQUIRED"),
        reason="THE PAGE IS NOT TESTED: there is no chromium on the path",
    ),
]

COLOURS = {q.name: q.colour for q in quadrants.QUADRANTS}
LIGHT = {"purple": "#cc4e99", "green": "#0a7b5b", "blue": "#3e96f2", "red": "#cc020b"}


@contextmanager
def chromium():
    """Yield a browser that sends no requests except to the page."""
    assert CHROMIUM, "there is no chromium on the path: apt-get install chromium"
    # Its sandbox does not work as root; it opens only our own page.
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*ARGUMENTS, *root]
        )
        try:
            yield browser
        finally:
            browser.close()


def publish_crooked(registry, seed=1):
    """Publish an untrained 2-6-4 network as the champion."""
    network = Network.dense([2, 6, 4], activations=["tanh"], loss="softmax_cross_entropy")
    rng = np.random.default_rng(seed)
    network.parameters.flat[:] = rng.normal(0, 1.5, len(network.parameters.flat))
    predictor = Predictor(network, quadrants.NAMES)
    published = registry.publish("quadrants", predictor, record(predictor), SELF_TEST_INPUTS)
    version = published.manifest.version
    alias_changes.set_aliases(registry, "quadrants", {"champion": version}, reason="test")
    return version


def until(page, expression, arg=None):
    """Wait until the expression is true; Playwright's own wait is blocked by the page's policy."""
    end = time.monotonic() + 15
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"it did not happen in time: {expression}"
        page.wait_for_timeout(20)


BITMAP = """id => {
  const canvas = document.getElementById(id);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return { side: canvas.width, data: Array.from(data) };
}"""


def pixels(page, canvas="answers"):
    got = page.evaluate(BITMAP, canvas)
    return np.array(got["data"]).reshape(got["side"], got["side"], 4)[..., :3]


def rgb(text):
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)])


def classes_of(bitmap, paper=(255, 255, 255)):
    """Return the quadrant of each cell, from its colour, which is mixed with that of the paper."""
    mixed = bitmap.astype(float) - paper
    directions = np.array([rgb(LIGHT[COLOURS[name]]) - paper for name in quadrants.NAMES], float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.linalg.norm(mixed, axis=-1, keepdims=True)
    return np.array(quadrants.NAMES)[((mixed / lengths) @ directions.T).argmax(axis=-1)]


def cell_centres(side):
    at = (2 * np.arange(side) + 1) / side - 1
    return np.array([(x, -y) for y in at for x in at])


def probe_at(page, x, y):
    page.fill("#probe-x", str(x))
    page.fill("#probe-y", str(y))


def label_shown(page):
    return page.get_attribute("#sentence", "data-label")


def wait_label(page, label):
    page.wait_for_selector(f'#sentence[data-label="{label}"]')


def number(page, selector):
    return int(page.text_content(selector).replace(",", ""))


def epoch(page):
    return int(page.get_attribute("html", "data-epoch") or 0)


def wait_still(page):
    page.wait_for_selector('html[data-running="false"]')


def train_to_the_end(page):
    page.click("#train")
    page.wait_for_selector('html[data-running="true"]')
    wait_still(page)


def weights(page):
    with page.expect_download() as found:
        page.click("#save-weights")
    return json.loads(found.value.path().read_text())


def exported(page):
    with page.expect_download() as found:
        page.click("#save-csv")
    lines = found.value.path().read_text().splitlines()
    assert lines[0] == "x,y,label,answer"
    return [line.split(",") for line in lines[1:]]
