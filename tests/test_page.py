"""The page in Chromium, in front of a real server: what it shows is what Python is told."""

import gzip
import io
import json
import math
import os
import re
import subprocess
import sys
import time
import urllib.request
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib import image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score

from quadnet import NeuralNetworkClassifier, promotion, quadrants
from quadnet.network import Network
from quadnet.predictor import Predictor
from quadnet.registry import Registry
from service.client import QuadrantClient
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.browsing import CHROMIUM, chromium
from tests.exact import SELF_TEST_INPUTS, publish, record
from tests.paging import PageProcess
from tests.serving import ROOT, ServerProcess

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("BROWSER_REQUIRED"),
        reason="THE PAGE IS NOT TESTED: there is no chromium on the path",
    ),
]

STATIC = ROOT / "service/web/static"

COLOURS = {q.name: q.colour for q in quadrants.QUADRANTS}
LIGHT = {"purple": "#cc4e99", "green": "#0a7b5b", "blue": "#3e96f2", "red": "#cc020b"}
CENTRES = {"III": (-0.5, -0.5), "IV": (0.5, -0.5), "II": (-0.5, 0.5), "I": (0.5, 0.5)}


def publish_crooked(registry, seed=1):
    """Publish a 2-6-4 network that nobody has trained, as the champion."""
    network = Network([2, 6, 4], activations=["tanh"], loss="softmax_cross_entropy")
    rng = np.random.default_rng(seed)
    network.parameters.flat[:] = rng.normal(0, 1.5, len(network.parameters.flat))
    predictor = Predictor(network, quadrants.NAMES)
    published = registry.publish("quadrants", predictor, record(predictor), SELF_TEST_INPUTS)
    version = published.manifest.version
    promotion.set_aliases(registry, "quadrants", {"champion": version}, reason="test")
    return version


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    found = Registry(tmp_path_factory.mktemp("page") / "registry")
    publish(found, scale=6.0)
    publish_crooked(found)
    return found


@pytest.fixture(scope="module")
def served(registry):
    with ServerProcess(registry.root, "--poll", "0.1") as server:
        yield server


@pytest.fixture(scope="module")
def gateway(served):
    with PageProcess(served.port, "--log-level", "info") as process:
        yield process


@pytest.fixture
def python(served):
    with QuadrantClient(served.address) as client:
        yield client


@pytest.fixture
def visit(browser, gateway):
    """Open the page, at a fragment; everything that it complains of fails the test at its end."""
    contexts, complaints, foreign = [], [], []

    def open_page(fragment="", *, url=gateway.url, ready="html[data-ready]", **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda r: r.url.startswith((url, "data:", "blob:")) or foreign.append(r.url)
        )
        page.goto(url + fragment)
        page.wait_for_selector(ready)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Of what a test provokes, a refusal or reading a bitmap, the browser itself complains.
    provoked = ("Failed to load resource", "Canvas2D: Multiple readback")
    assert [text for text in complaints if not text.startswith(provoked)] == []
    assert foreign == []


def until(page, expression, arg=None):
    """Ask the page until it says yes; Playwright's own way would need what the page forbids."""
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
    """Return the name of the quadrant whose colour each cell is a mixture of, with the paper."""
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


# ---- 1 to 5: the served network


def test_1_a_cold_load_is_quick_small_and_stays_here(browser, gateway, visit):
    started = time.perf_counter()
    page = visit()
    assert time.perf_counter() - started < 10
    navigation = page.evaluate("performance.getEntriesByType('navigation')[0].duration")
    assert navigation < 5000
    files = page.evaluate(
        "performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(name => /[.](js|css)$/.test(name))"
    )
    assert 5 < len(files) + 1 <= 12
    total = 0
    for url in {gateway.url, *files}:
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            total += len(gzip.compress(answer.read()))
    assert total <= 60_000
    # The modules that few visits need count, too.
    every = sum(len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir())
    assert every <= 60_000


def test_2_the_bitmap_is_what_classify_says_in_every_cell(visit, python):
    page = visit()
    bitmap = pixels(page)
    answers = python.classify(cell_centres(len(bitmap)))
    assert (classes_of(bitmap).ravel() == answers.quadrants).all()
    # And so are the certainties that are read off it.
    for x, y in [(-0.81, 0.4), (0.3, 0.33), (0.72, -0.9)]:
        box = page.locator("#overlay").bounding_box()
        page.mouse.move(
            box["x"] + (x + 1) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"]
        )
        text = page.text_content("#under")
        shown_x, shown_y, certainty = map(float, re.findall(r"-?\d\.\d+", text))
        side = len(bitmap)
        column, row = math.floor((x + 1) / 2 * side), math.floor((1 - y) / 2 * side)
        own = python.classify([cell_centres(side)[row * side + column]])
        assert f"({own.quadrants[0]})" in text
        assert certainty == pytest.approx(own.certainties[0], abs=6e-4)
        assert (shown_x, shown_y) == pytest.approx((x, y), abs=0.02)


def test_3_the_teams_are_where_the_article_has_them(visit):
    page = visit("#version=1")
    bitmap = classes_of(pixels(page))
    corners = {"II": (0, 0), "I": (0, -1), "III": (-1, 0), "IV": (-1, -1)}
    for name, (x, y) in CENTRES.items():
        probe_at(page, x, y)
        wait_label(page, name)
        assert f"{COLOURS[name]} ({name})" in page.text_content("#sentence")
        assert bitmap[corners[name]] == name
        marker = page.locator("#overlay .probe circle").bounding_box()
        box = page.locator("#overlay").bounding_box()
        assert (marker["x"] + marker["width"] / 2 > box["x"] + box["width"] / 2) == (x > 0)
        assert (marker["y"] + marker["height"] / 2 < box["y"] + box["height"] / 2) == (y > 0)


def exported(page):
    with page.expect_download() as found:
        page.click("#save-csv")
    lines = found.value.path().read_text().splitlines()
    assert lines[0] == "x,y,label,answer"
    return [line.split(",") for line in lines[1:]]


def test_4_hits_and_misses_are_counted_as_others_count_them(visit, python):
    page = visit("#classified=321")
    rows = exported(page)
    assert len(rows) == 321
    hits, misses = number(page, "#hits"), number(page, "#misses")
    assert hits + misses == 321
    assert 0 < misses < 321
    accuracy = accuracy_score([row[2] for row in rows], [row[3] for row in rows])
    assert page.text_content("#accuracy") == f"{100 * accuracy:.1f} %"
    assert hits == round(accuracy * 321)
    path = page.get_attribute("#overlay .missed", "d")
    assert path.count("M") == misses == int(page.get_attribute("#overlay .missed", "data-count"))
    points = [[float(row[0]), float(row[1])] for row in rows]
    assert python.classify(points).quadrants.tolist() == [row[3] for row in rows]
    assert quadrants.label(points).tolist() == [row[2] for row in rows]
    page.click("#classify")
    until(
        page,
        "old => document.querySelector('#overlay .missed').getAttribute('d') !== old",
        arg=path,
    )


def test_5_a_new_version_is_shown_without_a_reload_and_a_rollback_too(tmp_path, visit):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    with ServerProcess(registry.root, "--poll", "0.1") as server, PageProcess(server.port) as own:
        page = visit(url=own.url)
        assert "serving v1" in page.text_content("#serving")
        before, trace = pixels(page), page.text_content("#trace")
        publish_crooked(registry)
        page.wait_for_selector('html[data-version="2"]')
        assert "serving v2" in page.text_content("#serving")
        assert (pixels(page) != before).any()
        assert page.text_content("#trace") != trace
        promotion.set_aliases(registry, "quadrants", {"champion": 1}, reason="back")
        page.wait_for_selector('html[data-version="1"]')
        assert (pixels(page) == before).all()
        assert page.text_content("#trace") == trace


# ---- 6, 7: the sandbox


def test_6_training_goes_pauses_steps_stops_and_never_touches_what_is_served(
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
    assert curve == paused + 1  # a frame a pass, and the one before the first
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
    assert text.startswith("pass 0:")
    assert float(re.search(r"loss ([\d.]+)", text)[1]) > late

    page.select_option("#stop", "0.95")
    page.click("#train")
    wait_still(page)
    until(page, "document.getElementById('status').textContent.includes('as was asked for')")
    assert float(page.text_content("#test-accuracy").split()[0]) >= 95
    assert served.stub.Classify(ask).SerializeToString() == before

    page.select_option("#stop", "0")
    page.click("#train")
    page.wait_for_selector('html[data-running="true"]')
    ended = [line for line in gateway._log.lines if line.get("status") == "CANCELLED"]
    page.context.close()
    started = time.monotonic()
    gateway.logged(
        "call", n=len(ended) + 1, method="quadrant.v1.PlaygroundService/Train", status="CANCELLED"
    )
    assert time.monotonic() - started < 20


def curve_lines(page):
    return page.eval_on_selector_all("#curves .curve", "all => all.map(e => e.getAttribute('d'))")


def test_7_a_reset_repeats_itself_and_another_seed_does_not(visit):
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
    assert page.text_content("#train") == "Train"
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


def test_7_a_run_that_explodes_ends_in_a_sentence(visit):
    page = visit("#view=sandbox&rate=1e6&solver=sgd&points=50")
    page.click("#train")
    page.wait_for_selector("#notice:not([hidden])")
    assert "Lower the learning rate" in page.text_content("#notice-text")
    assert "NaN" not in page.inner_text("body")
    page.fill("#rate", "0.1")
    page.dispatch_event("#rate", "change")
    page.click("#reset")
    page.wait_for_selector("#notice", state="hidden")


def test_rewinding_shows_a_frame_again_and_goes_on_from_it(visit):
    page = visit("#view=sandbox&iterations=400&points=100&batch=10&speed=1")
    train_to_the_end(page)
    end = weights(page)
    frames = int(page.get_attribute("#curves", "data-points"))
    assert frames == 41
    page.focus("#rewind")
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    until(page, "document.documentElement.dataset.epoch === '30'")
    assert weights(page) != end
    # On from there it is the same run, whatever was looked at in between.
    train_to_the_end(page)
    assert weights(page) == end


def test_settings_change_while_it_trains_and_shape_begins_anew(visit):
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
    until(page, "document.getElementById('status').textContent.includes('begins anew')")
    assert page.input_value("#layers") == "6, 6"
    assert page.locator("#diagram .edge").count() == 12 + 36 + 24


# ---- 8, 9: the network and the probe


def test_8_every_weight_and_bias_is_drawn_with_its_sign_and_size(visit, python):
    page = visit()
    model = python.get_model()
    edges = page.eval_on_selector_all(
        "#diagram .edge",
        "all => all.map(e => [Number(e.dataset.value), Number(e.getAttribute('stroke-width')),"
        " getComputedStyle(e).stroke, getComputedStyle(e).strokeDasharray])",
    )
    expected = [weight for layer in model.layers for weight in layer.weights]
    assert [edge[0] for edge in edges] == expected
    largest = max(map(abs, expected))
    for value, width, colour, dash in edges:
        assert width == pytest.approx(0.6 + 5.4 * abs(value) / largest, abs=1e-3)
        assert colour == ("rgb(184, 86, 11)" if value < 0 else "rgb(47, 111, 192)")
        assert (dash != "none") == (value < 0)
    biases = page.eval_on_selector_all(
        "#diagram .bias", "all => all.map(e => Number(e.dataset.value))"
    )
    assert sorted(biases) == sorted(bias for layer in model.layers for bias in layer.biases)
    assert len(biases) == 6 + 4
    page.click("#table summary")
    page.wait_for_selector("#weights td[data-index]")
    cells = page.locator("#weights td[data-index]")
    assert cells.count() == len(expected) + len(biases)


def python_map(gateway, layers, side):
    request = pb.InspectRequest(layers=layers, map_side=side)
    cells = np.frombuffer(gateway.stub.Inspect(request).decision_map, np.uint8)
    return np.array(quadrants.NAMES)[cells.reshape(side, side, 4).argmax(axis=-1)]


def test_8_an_edited_weight_changes_the_map_as_it_does_in_python(visit, gateway):
    page = visit("#view=sandbox")
    wait_still(page)
    before = weights(page)["layers"]
    page.click("#diagram .bias >> nth=2")
    page.wait_for_selector("#weights input:focus")
    chosen = page.evaluate("({...document.activeElement.dataset})")
    assert chosen == {"layer": "0", "part": "biases", "index": "2"}
    # On with the keyboard, to a weight: the table has a field for each.
    page.focus('#weights [data-layer="0"][data-part="weights"][data-index="3"]')
    page.keyboard.press("Control+a")
    page.keyboard.type("-7.5")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#diagram .edge')[3].dataset.value === '-7.5'")
    until(page, "document.getElementById('answers').width === 160")
    layers = weights(page)["layers"]
    before[0]["weights"][3] = -7.5
    assert layers == before
    parsed = [
        pb.Layer(
            activation=layer["activation"],
            inputs=int(layer["inputs"]),
            units=int(layer["units"]),
            weights=layer["weights"],
            biases=layer["biases"],
        )
        for layer in layers
    ]
    assert (classes_of(pixels(page)) == python_map(gateway, parsed, 160)).all()


def test_9_every_term_is_the_servers_and_adds_up(visit, python):
    page = visit("#probe=-0.31,0.72")
    explained = python.explain([-0.31, 0.72])
    wait_label(page, explained.label)
    tables = page.eval_on_selector_all(
        "#trace table",
        "all => all.map(t => Array.from(t.tBodies[0].rows, r => Array.from(r.cells).slice(1)"
        ".map(c => [c.dataset.role, Number(c.dataset.value), c.textContent])))",
    )
    assert len(tables) == len(explained.layers) == 2
    for rows, layer in zip(tables, explained.layers, strict=True):
        assert len(rows) == len(layer.units)
        for cells, unit in zip(rows, layer.units, strict=True):
            values = {role: value for role, value, _ in cells if role != "term"}
            terms = [value for role, value, _ in cells if role == "term"]
            assert terms == list(unit.terms)
            assert values == {
                "bias": unit.bias,
                "sum": unit.pre_activation,
                "activation": unit.activation,
            }
            assert sum(terms) + unit.bias == pytest.approx(unit.pre_activation, abs=1e-6)
            for _, value, text in cells:
                assert float(text.replace("\u2212", "-")) == pytest.approx(
                    value, abs=0.006, rel=0.06
                )
        if layer.activation == "tanh":
            for unit in layer.units:
                assert unit.activation == pytest.approx(math.tanh(unit.pre_activation), abs=1e-6)
    z = np.array([unit.pre_activation for unit in explained.layers[-1].units])
    P = np.exp(z - z.max())
    shown = page.eval_on_selector_all(
        "#bars output", "all => all.map(e => [Number(e.dataset.value), Number(e.textContent)])"
    )
    assert [value for value, _ in shown] == pytest.approx(P / P.sum(), abs=1e-6)
    assert [text for _, text in shown] == pytest.approx(P / P.sum(), abs=6e-4)
    answer = python.classify([[-0.31, 0.72]])
    assert label_shown(page) == answer.quadrants[0]
    assert f"certainty {answer.certainties[0]:.3f}" in page.text_content("#sentence")


# ---- 10 to 12: comparing, sharing, drawing


def test_10_versions_are_compared_cell_by_cell(visit, python):
    page = visit("#view=compare&first=1&second=1")
    page.wait_for_selector('#disagreement[data-cells="0"]')
    page.select_option("#second", "2")
    until(page, "document.getElementById('disagreement').dataset.cells !== '0'")
    cells = cell_centres(64)
    one, two = (python.classify(cells, version=version).quadrants for version in (1, 2))
    different = int((one != two).sum())
    assert int(page.get_attribute("#disagreement", "data-cells")) == different > 0
    text = page.text_content("#disagreement")
    assert f"in {different:,} of 4,096 cells, {100 * different / 4096:.2f} %" in text
    page.focus("#compared .plane")
    page.keyboard.press("Shift+ArrowLeft")
    until(page, "document.getElementById('probe-x').value === '0.05'")
    assert "Around (0.05, 0.60) version 1 says purple (I)" in page.text_content("#disagreement")


def test_11_the_address_brings_the_same_picture_elsewhere(visit):
    page = visit()
    page.click("[name=view][value=sandbox]", force=True)
    page.fill("#layers", "5, 3")
    page.dispatch_event("#layers", "change")
    until(page, "document.querySelectorAll('#diagram .edge').length === 10 + 15 + 12")
    until(page, "document.getElementById('answers').width === 160")
    by_another_seed = pixels(page)
    page.fill("#seed", "7")
    page.dispatch_event("#seed", "change")
    for _ in range(500):
        bitmap = pixels(page)
        if bitmap.shape == by_another_seed.shape and (bitmap != by_another_seed).any():
            break
        page.wait_for_timeout(20)
    probe_at(page, -0.25, 0.5)
    until(page, "location.hash.includes('seed=7') && location.hash.includes('-0.25')")
    fragment = page.evaluate("location.hash")
    assert "layers=5,3" in fragment
    page.reload()
    other = visit(fragment)
    for again in (page, other):
        until(again, "document.getElementById('answers').width === 160")
        until(again, "document.querySelectorAll('#diagram .edge').length === 37")
        assert (pixels(again) == bitmap).all()
        assert again.input_value("#probe-x") == "-0.25"
        assert again.input_value("#layers") == "5, 3"


@pytest.mark.parametrize(
    "fragment",
    [
        "#layers=999999,9&rate=NaN&seed=-1",
        "#layers=" + "6," * 5000,
        "#view=<script>alert(1)</script>&model=<img src=x onerror=alert(1)>",
        "#probe=1e999,0&points=1e9&classified=99999999",
        "#__proto__=1&constructor=2&toString=3&a=1&b=2&c=3&d=4",
        "#%00%ff%fe=%",
    ],
    ids=range(6),
)
def test_11_a_hostile_address_changes_nothing_and_is_said(visit, fragment):
    page = visit(fragment)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert "The address says what cannot be used here" in page.text_content("#notice-text")
    assert page.locator("#notice img, #notice script").count() == 0
    assert page.input_value("#layers") == "6"
    assert page.input_value("#seed") == "42"
    assert number(page, "#hits") + number(page, "#misses") == 500
    assert page.text_content("#own") == "0"
    page.click("#dismiss")
    assert page.is_hidden("#notice")


@pytest.mark.parametrize("fragment", ["#model=nobody", "#version=99", "#view=compare&second=99"])
def test_11_an_address_of_what_is_gone_shows_what_is_served(visit, fragment):
    page = visit(fragment)
    page.wait_for_selector("#notice:not([hidden])")
    assert re.search("There is no model|has no version", page.text_content("#notice-text"))
    assert "serving v2" in page.text_content("#serving")


def own_rows(page):
    return exported(page)[500:]


def place(page, x, y):
    page.locator("#plane").scroll_into_view_if_needed()
    box = page.locator("#overlay").bounding_box()
    return box["x"] + (x + 1) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"]


def test_12_mouse_touch_and_keyboard_add_the_same_point(visit):
    rows = []
    for kind in ("mouse", "touch", "keyboard"):
        page = visit(has_touch=kind == "touch")
        page.check("[name=paint][value=IV]", force=True)
        if kind == "keyboard":
            probe_at(page, 0, 0)
            page.focus("#plane")
            for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", *["Shift+ArrowUp"]):
                page.keyboard.press(key)
            page.keyboard.press("Enter")
        elif kind == "touch":
            page.touchscreen.tap(*place(page, -0.5, 0.25))
        else:
            page.mouse.click(*place(page, -0.5, 0.25))
        until(page, "document.getElementById('own').textContent === '1'")
        until(page, "document.getElementById('status').textContent.includes('red (IV)')")
        (row,) = own_rows(page)
        rows.append(row)
    for x, y, label, _ in rows:
        assert (float(x), float(y)) == pytest.approx((-0.5, 0.25), abs=0.005)
        assert label == "IV"


def upload(page, content, name="points.csv"):
    page.set_input_files("#load-csv", {"name": name, "mimeType": "text/csv", "buffer": content})


def test_12_points_go_out_and_come_back_in(visit):
    page = visit()
    upload(page, b"\xef\xbb\xbfx,y,label\r\n0.25,-0.75,I\r\n-1e-3,0.125,red\r\n")
    until(page, "document.getElementById('own').textContent === '2'")
    until(page, "document.getElementById('status').textContent.includes('2 points')")
    rows = own_rows(page)
    assert [row[:3] for row in rows] == [["0.25", "-0.75", "I"], ["-0.001", "0.125", "IV"]]
    upload(page, "\n".join(["x,y,label,answer", *map(",".join, rows)]).encode())
    page.wait_for_timeout(300)
    assert own_rows(page) == rows
    page.click("#clear-own")
    until(page, "document.getElementById('own').textContent === '0'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,y\n0.5,abc\n", "y[0]: expected a finite number, got nan"),
        (b"x,y\n0.5,1e999\n", "y[0]: expected a finite number, got inf"),
        (b"x,y\n0.5\n", "y[0]: expected a finite number, got nan"),
        (b"x,y\n" + b"0.5,0.5\n" * 5001, "x: expected at most 5000 points, got 5001"),
        (b"a,b\n1,2\n", "The file has no column x"),
        (b"", "The file has no column x"),
        (b"x,y,label\n1,1,mauve\n", "Line 2, column label: expected I, II, III, IV"),
        (b"x,y,label\n1,1,<img src=x onerror=alert(1)>\n", 'got "<img src=x'),
        (b"\x00\xff" * 2**20 + b"x", "at most 2,097,152 are read"),
    ],
    ids=range(9),
)
def test_12_a_bad_file_is_refused_whole_and_said(visit, content, message):
    page = visit()
    upload(page, content)
    page.wait_for_selector("#notice:not([hidden])")
    assert message in page.text_content("#notice-text")
    assert page.locator("#notice img").count() == 0
    assert page.text_content("#own") == "0"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layers", "6, 65", "hidden_layer_sizes[1]: expected from 1 to 64 units, got 65"),
        ("layers", "1,1,1,1,1,1,1", "hidden_layer_sizes: expected at most 6 hidden layers, got 7"),
        ("rate", "-1", "learning_rate: expected a number above 0, got -1"),
        ("points", "6000", "x: expected at most 5000 points, got 6000"),
        ("classified", "5001", "x: expected at most 5000 points, got 5001"),
        ("layers", "six", "hiddenLayerSizes"),
    ],
)
def test_12_what_is_over_a_cap_is_refused_in_the_servers_words(visit, field, value, message):
    page = visit()
    page.fill(f"#{field}", value)
    page.dispatch_event(f"#{field}", "change")
    page.wait_for_selector("#notice:not([hidden])")
    assert message in page.text_content("#notice-text")
    assert page.get_attribute(f"#{field}", "aria-invalid") == "true"
    page.click("#copy-link")
    page.wait_for_selector("#copied-label:not([hidden])")
    assert page.input_value("#copied").startswith("http")
    assert f"{field}=" not in page.input_value("#copied")


# ---- 13, 14: for everybody


def test_13_all_of_it_goes_by_keyboard(visit):
    page = visit("#version=1&iterations=1000000&speed=1&points=100&batch=10")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'plane'")
    for key, label in (
        ("ArrowLeft", "II"),
        ("ArrowDown", "III"),
        ("ArrowRight", "IV"),
        ("ArrowUp", "I"),
    ):
        for _ in range(4):
            page.keyboard.press(f"Shift+{key}")
        wait_label(page, label)
    page.keyboard.press("Space")
    until(page, "Number(document.documentElement.dataset.epoch) >= 2")
    page.keyboard.press("Space")
    wait_still(page)
    page.focus("#diagram svg")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#picked").startswith("weight from x to hidden 2 = ")
    old = page.eval_on_selector_all("#diagram .edge", "all => Number(all[1].dataset.value)")
    page.keyboard.press("ArrowUp")
    until(
        page,
        "old => Math.abs(document.querySelectorAll('#diagram .edge')[1].dataset.value - old - 0.1)"
        " < 1e-9",
        arg=old,
    )
    page.keyboard.press("Enter")
    page.wait_for_selector("#weights input:focus")


@pytest.mark.parametrize("mode", ["light", "dark", "forced"])
@pytest.mark.parametrize("view", ["served", "sandbox", "compare"])
def test_13_axe_finds_nothing(visit, mode, view):
    options = {
        "light": {"color_scheme": "light"},
        "dark": {"color_scheme": "dark"},
        "forced": {"forced_colors": "active"},
    }[mode]
    page = visit(f"#view={view}", **options)
    page.click("#table summary")
    page.click("#copy-link")
    if view == "sandbox":
        page.wait_for_selector("#weights input")
    found = Axe().run(page)
    assert [
        (each["id"], each["nodes"][0]["html"][:120]) for each in found.response["violations"]
    ] == []


SMALL_OR_OUTSIDE = """() =>
  Array.from(document.querySelectorAll("button, select, input, summary, .button"))
    .filter(e => e.checkVisibility() && !e.closest(".hidden") && e.type !== "file")
    .map(e => [e.id || e.outerHTML.slice(0, 60), (e.closest("label") ?? e).getBoundingClientRect()])
    .filter(([, r]) => r.height < 24 || r.width < 24 || r.left < 0 || r.right > innerWidth)
    .map(([id, r]) => `${id} ${r.width}x${r.height} from ${r.left}`)"""


def test_14_a_phone_shows_all_of_it_without_scrolling_sideways(visit):
    for options in (
        {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
        # A window of 1280 at 200 per cent.
        {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2},
    ):
        for view in ("served", "sandbox", "compare"):
            page = visit(f"#view={view}", **options)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (view, options)
            small = page.evaluate(SMALL_OR_OUTSIDE)
            assert small == []
            for control in ("#train", "#layers", "#save-svg", "#rewind"):
                page.locator(control).scroll_into_view_if_needed()
                assert page.is_visible(control)


def test_14_who_wants_less_motion_gets_two_frames_a_second(visit):
    page = visit("#iterations=1000000&speed=1&points=50", reduced_motion="reduce")
    assert page.get_attribute("html", "data-running") == "false"
    page.click("#train")
    until(page, "Number(document.documentElement.dataset.epoch) >= 1")
    first, started = epoch(page), time.monotonic()
    until(page, "e => Number(document.documentElement.dataset.epoch) >= e + 3", arg=first)
    assert time.monotonic() - started > 0.9
    page.click("#train")


# ---- 15, 16: when things go wrong, and what one takes along


def test_15_a_server_that_goes_is_said_and_one_that_comes_back_is_found(tmp_path, visit):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    with ServerProcess(registry.root) as server, PageProcess(server.port) as own:
        page = visit("#iterations=1000000", url=own.url)
        page.click("#train")
        until(page, "Number(document.documentElement.dataset.epoch) >= 5")
        page.click("[name=view][value=served]", force=True)
        before = pixels(page)
        server.process.kill()
        page.wait_for_selector("#stale:not([hidden])", timeout=5000)
        assert "No Quadnet server answers" in page.text_content("#stale")
        assert (pixels(page) == before).all()
        with ServerProcess(registry.root, "--port", server.port):
            page.wait_for_selector("#stale", state="hidden")
            assert "serving v1" in page.text_content("#serving")
        own.process.kill()
        page.wait_for_selector("#stale:not([hidden])")
        assert "gateway does not answer" in page.text_content("#stale")


def test_15_without_any_server_it_says_so_and_sandboxes_train_all_the_same(visit):
    with PageProcess(1) as own:
        page = visit("#iterations=20&points=20&batch=20", url=own.url, ready="#stale:not([hidden])")
        assert "No Quadnet server answers at 127.0.0.1:1" in page.text_content("#stale")
        train_to_the_end(page)
        assert epoch(page) == 20
        until(page, "document.getElementById('answers').width === 160")
        assert page.locator("#diagram .edge").count() == 36
        page.context.close()


def test_16_pictures_hold_the_map_the_points_the_legend_and_the_version(visit):
    page = visit()
    with page.expect_download() as found:
        page.click("#save-svg")
    text = found.value.path().read_text()
    root = ET.fromstring(text)
    assert "quadrants version 2" in root.find("{http://www.w3.org/2000/svg}title").text
    assert (
        root.find(".//{http://www.w3.org/2000/svg}image").get("href").startswith("data:image/png")
    )
    for name, colour in COLOURS.items():
        assert f"{colour} ({name})" in text
    missed = [e for e in root.iter() if e.get("class") == "missed"]
    assert missed[0].get("d").count("M") == number(page, "#misses")
    with page.expect_download() as found:
        page.click("#save-png")
    picture = image.imread(io.BytesIO(found.value.path().read_bytes()), format="png")
    assert picture.shape[:2] == (1340, 1200)
    # The middle of each quadrant of the map is of its colour rather than of the paper.
    assert len({tuple(np.round(picture[y, x, :3], 1)) for y in (300, 900) for x in (300, 900)}) > 1


def test_16_the_benchmark_of_ten_minutes_runs_and_finds_no_heap_left_behind():
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.page", "--minutes", "0.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert float(re.search(r"heap ([+-][\d.]+) MB", done.stdout)[1]) < 10


def test_what_is_copied_is_the_very_call(visit, python):
    page = visit("#classified=20")
    page.click("#copy-python")
    page.wait_for_selector("#copied-label:not([hidden])")
    text = page.input_value("#copied")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.count("QUADRANT_") == 20
    page.click("#copy-curl")
    until(page, "document.getElementById('copied').value.startsWith('curl')")
    done = subprocess.run(
        ["bash", "-c", page.input_value("#copied")], capture_output=True, text=True, check=True
    )
    assert len(json.loads(done.stdout)["quadrants"]) == 20
    page.evaluate("location.hash = '#view=sandbox&iterations=20&points=20&batch=20&classified=20'")
    until(page, "document.body.dataset.view === 'sandbox'")
    wait_still(page)
    train_to_the_end(page)
    page.click("#copy-python")
    until(page, "document.getElementById('copied').value.includes('/Train')")
    code = page.input_value("#copied")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("None")
    assert done.stdout.splitlines()[-2].startswith("20 ")


def test_digits_are_drawn_and_read_by_the_served_network(tmp_path, visit):
    X, y = load_digits(return_X_y=True)
    fitted = NeuralNetworkClassifier((20,), solver="lbfgs", tol=1e-2, random_state=0).fit(
        X, y.astype(str)
    )
    predictor = fitted.freeze()
    kept = record(predictor, 64)
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    features = [
        feature.model_copy(update={"name": name, "min": 0.0, "max": 16.0})
        for feature, name in zip(kept.signature.features, names, strict=True)
    ]
    kept = kept.model_copy(
        update={"signature": kept.signature.model_copy(update={"features": features})}
    )
    registry = Registry(tmp_path / "registry")
    registry.publish("digits", predictor, kept, X[:5])
    promotion.set_aliases(registry, "digits", {"champion": 1}, reason="test")
    publish(registry)
    with ServerProcess(registry.root) as server, PageProcess(server.port) as own:
        page = visit("#model=digits", url=own.url)
        page.wait_for_selector("#drawing")
        assert page.is_hidden("#single")
        # A one: a stroke from the top to the bottom.
        box = page.locator("#drawing").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.08)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.92, steps=20)
        page.mouse.up()
        page.evaluate("document.querySelector('#drawing canvas').id = 'drawn'")
        values = np.round((255 - pixels(page, "drawn")[..., 0].ravel()) / 255 * 16)
        assert values.reshape(8, 8)[:, 3:5].min() > 0
        label = predictor.predict(values[np.newaxis])[0]
        wait_label(page, label)
        # Drawn on with the keyboard: the answer is the one for what is now there.
        page.focus("#drawing")
        for key in ("ArrowUp", "ArrowLeft", "Space"):
            page.keyboard.press(key)
        assert "16 of 16" in page.text_content("#digits")
        page.click("#digits button")
        wait_label(page, predictor.predict(np.zeros((1, 64)))[0])
        assert page.locator("#diagram canvas, #diagram .edge").count() > 0
        page.select_option("#model", "quadrants")
        page.wait_for_selector("#single:not([hidden])")
        until(page, "document.getElementById('hits').textContent === '500'")
