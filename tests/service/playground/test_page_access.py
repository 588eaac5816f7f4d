"""Accessibility of the page: keyboard, phone, colours, and reduced motion."""

import time

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.service.playground.browsing import epoch, needs_chromium, until, wait_label, wait_still

pytestmark = needs_chromium


def test_13_the_page_works_by_keyboard_alone(visit):
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
    page.focus("#probe-x")
    page.keyboard.press("Control+a")
    page.keyboard.type("-0.25")
    assert page.input_value("#probe-x") == "-0.25"
    until(page, "location.hash.includes('probe=-0.25,')")


@pytest.mark.parametrize("mode", ["light", "dark", "forced"])
@pytest.mark.parametrize("view", ["served", "sandbox", "compare", "help"])
def test_13_axe_finds_no_violations(visit, mode, view):
    options = {
        "light": {"color_scheme": "light"},
        "dark": {"color_scheme": "dark"},
        "forced": {"forced_colors": "active"},
    }[mode]
    page = visit("" if view == "help" else f"#view={view}", **options)
    page.click("#table summary")
    page.click("#copy-link")
    if view == "help":
        page.click("#help")
    if view == "sandbox":
        page.wait_for_selector("#weights input")
    found = Axe().run(page)
    assert [
        (each["id"], each["nodes"][0]["html"][:120]) for each in found.response["violations"]
    ] == []


SMALL_OR_OUTSIDE = """width =>
  Array.from(document.querySelectorAll("button, select, input, summary, .button"))
    .filter(e => e.checkVisibility() && !e.closest(".hidden") && e.type !== "file")
    .map(e => [e.id || e.outerHTML.slice(0, 60), (e.closest("label") ?? e).getBoundingClientRect()])
    .filter(([, r]) => r.height < 24 || r.width < 24 || r.left < 0 || r.right > width)
    .map(([id, r]) => `${id} ${r.width}x${r.height} from ${r.left}`)"""


def test_14_the_page_fits_a_phone_without_horizontal_scrolling(visit):
    for options in (
        {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
        # A window of 1280 pixels at 200 per cent zoom.
        {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2},
    ):
        # Not the page's innerWidth: on a phone it grows with content that does not fit.
        width = options["viewport"]["width"]
        for view in ("served", "sandbox", "compare"):
            page = visit(f"#view={view}", **options)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, options)
            assert page.evaluate(SMALL_OR_OUTSIDE, width) == []
            for control in ("#train", "#layers", "#save-svg", "#rewind"):
                page.locator(control).scroll_into_view_if_needed()
                assert page.is_visible(control)
        page.click("#help")
        assert page.evaluate("guide.scrollWidth - guide.clientWidth") <= 0
        assert page.evaluate(SMALL_OR_OUTSIDE, width) == []


def test_14_reduced_motion_shows_two_frames_per_second(visit):
    page = visit("#iterations=1000000&speed=1&points=50", reduced_motion="reduce")
    assert page.get_attribute("html", "data-running") == "false"
    page.click("#train")
    until(page, "Number(document.documentElement.dataset.epoch) >= 1")
    first, started = epoch(page), time.monotonic()
    until(page, "e => Number(document.documentElement.dataset.epoch) >= e + 3", arg=first)
    assert time.monotonic() - started > 0.9
    page.click("#train")


def test_help_is_opened_and_closed_by_keyboard(visit):
    page = visit()
    page.focus("#help")
    assert page.get_by_role("button", name="Help").evaluate("e => e === document.activeElement")
    for opening, closing in (("Enter", "Escape"), ("Space", "Enter")):
        page.keyboard.press(opening)
        page.wait_for_selector("#guide[open]")
        assert page.get_by_role("dialog", name="Help").is_visible()
        assert page.evaluate("document.activeElement.textContent") == "Close"
        page.keyboard.press(closing)
        page.wait_for_selector("#guide", state="hidden")
        assert page.evaluate("document.activeElement.id") == "help"
    page.click("#help")
    # The page behind the dialog gets no input: it does not train, and Tab does not reach it.
    page.click("#guide dl")
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('header, main')") is None
    assert page.get_attribute("html", "data-running") == "false"
    page.mouse.click(5, 5)
    page.wait_for_selector("#guide", state="hidden")


WRITTEN = {"←": "ArrowLeft", "→": "ArrowRight", "↑": "ArrowUp", "↓": "ArrowDown", "Space": " "}
KEYS = [*WRITTEN.values(), "Enter", "Delete", "Backspace", "Escape", "Home", "End", "a", "?"]
PLACES = {
    "outside fields and buttons": "body",
    "map": "#plane",
    "maps compared": "#compared .plane",
    "network": "#diagram svg",
    "curves": "#curves svg",
    "drawing of a digit": "#drawing",
}
TAKEN = """([selector, keys]) => keys.filter(key => !document.querySelector(selector).dispatchEvent(
  new KeyboardEvent("keydown", { key, cancelable: true, bubbles: selector === "body" })))"""
DIGITS = """async () => {
  const { Digits } = await import("/digits.js");
  const pixel = (_, at) => ({ name: `pixel_${at}`, min: 0, max: 16 });
  const features = Array.from({ length: 64 }, pixel);
  new Digits(document.getElementById("digits"), () => {}).show(features);
}"""


def keys_in_help(page):
    """Return the keys by place, from the table in the help."""
    found, place = {}, ""
    for row in page.locator("#keys tbody tr").all():
        if row.locator("th").count():
            place = row.locator("th").text_content()
        keys = (WRITTEN.get(key, key) for key in row.locator("kbd").all_text_contents())
        found.setdefault(place, set()).update(keys)
    return found


def test_help_lists_exactly_the_keys_that_each_place_handles(visit):
    page = visit("#view=compare")
    page.wait_for_selector("#compared .plane")
    page.evaluate(DIGITS)
    page.click("[name=view][value=sandbox]", force=True)
    until(page, "document.getElementById('curves').dataset.points === '1'")
    wait_still(page)
    taken = {place: set(page.evaluate(TAKEN, [at, KEYS])) for place, at in PLACES.items()}
    for place in ("map", "maps compared"):
        taken[place].add("Shift")  # tests 10 and 13 move the probe with it
    taken["this help"] = {"Escape"}
    assert keys_in_help(page) == taken
