"""The page's sandbox: it trains, pauses, steps and is reproducible, and is never served."""

import re
import subprocess
import sys
import time

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.service.playground.browsing import (
    epoch,
    needs_chromium,
    number,
    train_to_the_end,
    until,
    wait_still,
    weights,
)
from tests.support.serving import ROOT

pytestmark = needs_chromium


def test_6_training_runs_pauses_steps_and_stops_without_changing_the_served_version(
    visit, served, gateway
):
    ask = pb.ClassifyRequest(x=[0.1, -0.2], y=[0.3, 0.4], all_certainties=True)
    before = served.stub.Classify(ask).SerializeToString()
    page = visit("#iterations=100000&speed=1&points=200&batch=20")
    page.click("#train")
    until(page, "Number(document.documentElement.dataset.epoch) >= 8")
    page.click("#train")
    page.wait_for_timeout(200)
    paused = epoch(page)
    curve = int(page.get_attribute("#curves", "data-points"))
    assert curve == paused + 1  # one frame per epoch, and the initial one
    page.wait_for_timeout(300)
    assert epoch(page) == paused
    page.click("#step")
    until(page, "e => Number(document.documentElement.dataset.epoch) === e + 1", arg=paused)
    wait_still(page)
    assert epoch(page) == paused + 1
    page.focus("#curves svg >> nth=0")
    page.keyboard.press("ArrowLeft")
    late = float(re.search(r"loss ([\d.]+)", page.text_content("#reading"))[1])
    for _ in range(paused + 2):
        page.keyboard.press("ArrowLeft")
    text = page.text_content("#reading")
    assert text.startswith("epoch 0:")
    assert float(re.search(r"loss ([\d.]+)", text)[1]) > late

    page.select_option("#stop", "0.95")
    page.click("#train")
    wait_still(page)
    until(
        page,
        "document.getElementById('status').textContent.includes('accuracy to stop at is reached')",
    )
    assert float(page.text_content("#test-accuracy").split()[0]) >= 95
    assert served.stub.Classify(ask).SerializeToString() == before

    page.select_option("#stop", "0")
    page.click("#train")
    page.wait_for_selector('html[data-running="true"]')
    ended = [line for line in gateway.log() if line.get("status") == "CANCELLED"]
    page.context.close()
    started = time.monotonic()
    gateway.logged(
        "call", n=len(ended) + 1, method="quadrant.v1.PlaygroundService/Train", status="CANCELLED"
    )
    assert time.monotonic() - started < 20


def curve_lines(page):
    return page.eval_on_selector_all("#curves .curve", "all => all.map(e => e.getAttribute('d'))")


def test_7_a_reset_run_is_reproducible_and_another_seed_differs(visit):
    page = visit("#view=sandbox&iterations=300&points=100&batch=10")
    seen = []
    for _ in range(2):
        train_to_the_end(page)
        seen.append((curve_lines(page), weights(page)))
        page.click("#reset")
        until(page, "document.documentElement.dataset.epoch === '0'")
        wait_still(page)
    assert seen[0] == seen[1]
    assert "M" in seen[0][0][0]
    page.click("#reseed")
    until(page, "document.getElementById('seed').value !== '42'")
    wait_still(page)
    train_to_the_end(page)
    assert weights(page) != seen[0][1]


def test_7_the_articles_networks_are_there_with_its_buttons(visit):
    page = visit("#classified=1000")
    edges = "n => document.querySelectorAll('#diagram .edge').length === n"
    page.select_option("#preset", "article1")
    until(page, edges, 2 * 4)
    until(page, "document.getElementById('train').textContent === 'Train'")
    assert page.text_content("#classify") == "Classify Points"
    page.select_option("#speed", "100")
    train_to_the_end(page)
    assert epoch(page) == 2500
    assert number(page, "#hits") >= 990
    assert number(page, "#hits") + number(page, "#misses") == 1000
    page.select_option("#preset", "article2")
    until(page, edges, 2 * 6 + 6 * 4)
    assert page.text_content("#reset") == "Initialise"
    page.click("#visualize")
    assert page.evaluate("document.activeElement === document.querySelector('#diagram svg')")
    for field in ("points", "iterations", "rate", "layers", "classified"):
        assert page.is_visible(f"#{field}")


def test_7_a_run_that_diverges_ends_with_a_message(visit):
    page = visit("#view=sandbox&rate=1e6&solver=sgd&points=50")
    page.click("#train")
    page.wait_for_selector("#notice:not([hidden])")
    assert "Lower the learning rate" in page.text_content("#notice-text")
    assert "NaN" not in page.inner_text("body")
    page.fill("#rate", "0.1")
    page.dispatch_event("#rate", "change")
    page.click("#reset")
    page.wait_for_selector("#notice", state="hidden")


def test_rewinding_shows_an_earlier_frame_and_training_continues_from_it(visit):
    page = visit("#view=sandbox&iterations=400&points=100&batch=10&speed=1")
    train_to_the_end(page)
    end = weights(page)
    frames = int(page.get_attribute("#curves", "data-points"))
    assert frames == 41
    assert page.text_content("#reading") == ""  # no longer "No training yet."
    page.focus("#rewind")
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    until(page, "document.documentElement.dataset.epoch === '30'")
    assert weights(page) != end
    # The continued run is equal to the first one, whatever was shown in between.
    train_to_the_end(page)
    assert weights(page) == end


def test_settings_change_during_training_and_a_new_shape_restarts_it(visit):
    page = visit("#view=sandbox&iterations=1000000&points=100&batch=10&speed=1")
    page.click("#train")
    until(page, "Number(document.documentElement.dataset.epoch) >= 3")
    page.fill("#rate", "0.001")
    page.dispatch_event("#rate", "change")
    reached = epoch(page)
    until(page, "e => Number(document.documentElement.dataset.epoch) > e + 2", arg=reached)
    assert page.get_attribute("html", "data-running") == "true"
    page.click("#more")
    until(page, "document.documentElement.dataset.epoch === '0'")
    until(page, "document.getElementById('status').textContent.includes('training restarts')")
    assert page.input_value("#layers") == "6, 6"
    assert page.locator("#diagram .edge").count() == 12 + 36 + 24


def test_16_the_benchmark_prints_its_times_and_finds_no_leak():
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.page", "--minutes", "0.1", "--repeat", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall(r"^[a-zA-Z, ]+( +\d+\.\d+ s){3}$", done.stdout, re.MULTILINE)) == 4
    assert float(re.search(r"heap ([+-][\d.]+) MB", done.stdout)[1]) < 10
