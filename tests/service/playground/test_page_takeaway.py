"""Exports of the page: its address, pictures, and the calls that it made."""

import io
import json
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib import image

from tests.service.playground.browsing import (
    COLOURS,
    needs_chromium,
    number,
    pixels,
    probe_at,
    train_to_the_end,
    until,
    wait_still,
)

pytestmark = needs_chromium


def test_11_the_address_shows_the_same_page_in_another_browser(visit):
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
def test_11_a_hostile_address_changes_nothing_and_is_reported(visit, fragment):
    page = visit(fragment)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert "The address has invalid settings" in page.text_content("#notice-text")
    assert page.locator("#notice img, #notice script").count() == 0
    assert page.input_value("#layers") == "6"
    assert page.input_value("#seed") == "42"
    assert number(page, "#hits") + number(page, "#misses") == 500
    assert page.text_content("#own") == "0"
    page.click("#dismiss")
    assert page.is_hidden("#notice")


@pytest.mark.parametrize("fragment", ["#model=nobody", "#version=99", "#view=compare&second=99"])
def test_11_an_address_of_a_missing_version_shows_the_served_one(visit, fragment):
    page = visit(fragment)
    page.wait_for_selector("#notice:not([hidden])")
    assert re.search("There is no model|has no version", page.text_content("#notice-text"))
    assert "serving v2" in page.text_content("#serving")


def test_16_pictures_have_the_map_the_points_the_legend_and_the_version(visit):
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
    # The middle of each quadrant has its own colour.
    assert len({tuple(np.round(picture[y, x, :3], 1)) for y in (300, 900) for x in (300, 900)}) > 1


def test_the_copied_code_repeats_the_call(visit, python):
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
