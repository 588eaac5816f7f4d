"""The user's points: drawn, loaded and saved; invalid ones are refused with a message."""

import pytest

from tests.service.playground.browsing import exported, needs_chromium, probe_at, until

pytestmark = needs_chromium


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
            for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp"):
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


def test_12_saved_points_can_be_loaded_again(visit):
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
def test_12_an_invalid_file_is_refused_as_a_whole_with_a_message(visit, content, message):
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
def test_12_a_value_over_a_limit_is_refused_with_the_servers_message(visit, field, value, message):
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
