"""The page's map: every cell, point and count equals the answer to the Python client."""

import gzip
import math
import re
import time
import urllib.request

import pytest
from sklearn.metrics import accuracy_score

from quadnet import quadrants
from tests.service.playground.browsing import (
    COLOURS,
    cell_centres,
    classes_of,
    exported,
    needs_chromium,
    number,
    pixels,
    probe_at,
    until,
    wait_label,
)
from tests.support.serving import ROOT

pytestmark = needs_chromium

STATIC = ROOT / "service/playground/static"

CENTRES = {"III": (-0.5, -0.5), "IV": (0.5, -0.5), "II": (-0.5, 0.5), "I": (0.5, 0.5)}


def test_1_a_cold_load_is_fast_small_and_loads_nothing_from_other_hosts(browser, gateway, visit):
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
    # Including the modules that are loaded on demand.
    every = sum(len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir())
    assert every <= 60_000


def test_2_the_bitmap_equals_the_answers_of_classify_in_every_cell(visit, python):
    page = visit()
    bitmap = pixels(page)
    answers = python.classify(cell_centres(len(bitmap)))
    assert (classes_of(bitmap).ravel() == answers.quadrants).all()
    # So do the certainties under the cursor.
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


def test_3_the_teams_are_in_the_corners_of_the_article(visit):
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


def test_4_hits_and_misses_equal_those_of_scikit_learn(visit, python):
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
    assert quadrants.label_quadrants(points).tolist() == [row[2] for row in rows]
    page.click("#classify")
    until(
        page,
        "old => document.querySelector('#overlay .missed').getAttribute('d') !== old",
        arg=path,
    )


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
    assert "At (0.05, 0.60): version 1 gives purple (I)" in page.text_content("#disagreement")
