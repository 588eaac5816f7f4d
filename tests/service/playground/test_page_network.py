"""The page's network and probe: every number equals the server's answer and adds up."""

import math

import numpy as np
import pytest

from quadnet import quadrants
from quadnet.registry import Registry
from service.client import QuadrantClient
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.service.playground.browsing import (
    classes_of,
    label_shown,
    needs_chromium,
    pixels,
    until,
    wait_label,
    wait_still,
    weights,
)
from tests.service.playground.page_client import PageServerProcess
from tests.support.exact_models import publish
from tests.support.picture_models import DARKEST, KINDS, publish_pictures
from tests.support.serving import ServerProcess

pytestmark = needs_chromium


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


def test_8_an_edited_weight_changes_the_map_as_in_python(visit, gateway):
    page = visit("#view=sandbox")
    wait_still(page)
    before = weights(page)["layers"]
    page.click("#diagram .bias >> nth=2")
    page.wait_for_selector("#weights input:focus")
    chosen = page.evaluate("({...document.activeElement.dataset})")
    assert chosen == {"layer": "0", "part": "biases", "index": "2"}
    # Next a weight, by keyboard: the table has a field for each.
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


def test_9_every_term_equals_the_servers_answer_and_adds_up(visit, python):
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


# ---- layers that are not dense


CANVASES = """selector => Array.from(document.querySelectorAll(selector), canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return { shape: [canvas.height, canvas.width, 4], data: Array.from(data) };
})"""


def canvases(page, selector):
    """Return the pixels of each canvas, of shape (height, width, 4)."""
    return [np.reshape(c["data"], c["shape"]) for c in page.evaluate(CANVASES, selector)]


def cut(bitmap, n_down, n_across, height, width):
    """Return the pictures in a grid that has a transparent line after each of them."""
    padded = np.zeros((n_down * (height + 1), n_across * (width + 1), 4), int)
    padded[: len(bitmap), : bitmap.shape[1]] = bitmap
    tiles = padded.reshape(n_down, height + 1, n_across, width + 1, 4).swapaxes(1, 2)
    assert (tiles[:, :, -1, :, 3] == 0).all()
    assert (tiles[:, :, :, -1, 3] == 0).all()
    tiles = tiles[:, :, :height, :width].reshape(-1, height, width, 4)
    assert (tiles[..., 3] == 255).all()
    return tiles[..., :3]


def assert_painted(bitmap, values):
    """Check that the colours have the values' signs, and a strength of their square roots."""
    largest = np.abs(values).max()
    for sign, colour in ((1, (0x2F, 0x6F, 0xC0)), (-1, (0xB8, 0x56, 0x0B))):
        strength = np.sqrt(np.abs(values) / largest)[..., np.newaxis]
        expected = 255 + (np.array(colour) - 255) * strength
        chosen = np.sign(values) == sign
        np.testing.assert_allclose(bitmap[chosen], expected[chosen], atol=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a server of a convolutional model, and its page."""
    registry = Registry(tmp_path_factory.mktemp("pictures") / "registry")
    publish(registry)
    publish_pictures(registry)
    with ServerProcess(registry.root) as server, PageServerProcess(server.port) as page:
        yield server, page


def test_layers_that_are_not_dense_are_drawn_as_boxes_with_their_arrays(visit, pictures):
    server, own = pictures
    page = visit("#model=pictures", url=own.url)
    page.wait_for_selector("#diagram .box")
    with QuadrantClient(server.address) as client:
        layers = client.get_model("pictures").layers
    captions = page.locator("#diagram .box figcaption").all_text_contents()
    assert captions[0] == (
        "layer 1, conv2d, relu: 1 x 8 x 8 → 6 x 6 x 6, 60 parameters: weights 6 x 1 x 3 x 3, "
        "biases 6"
    )
    assert captions[1] == "layer 2, max_pool2d: 6 x 6 x 6 → 6 x 3 x 3, no parameters"
    assert [caption.split(", ")[1].split(":")[0] for caption in captions] == KINDS
    assert "1 x 8 x 8 → 6 x 6 x 6 → 6 x 3 x 3" in page.text_content("#shown")
    counts = page.eval_on_selector_all(
        "#diagram .box", "all => all.map(box => box.querySelectorAll('canvas').length)"
    )
    assert counts == [len(layer.arrays) or (layer.kind == "dense") for layer in layers]

    kernels = cut(canvases(page, "#diagram .box:nth-child(1) canvas")[0], 1, 6, 3, 3)
    assert_painted(kernels, np.reshape(layers[0].arrays[0].values, (6, 3, 3)))
    # The kernels of a filter are in one row.
    inner = cut(canvases(page, "#diagram .box:nth-child(4) canvas")[0], 6, 6, 3, 3)
    assert_painted(inner, np.reshape(layers[3].arrays[0].values, (36, 3, 3)))

    page.click("#table summary")
    page.wait_for_selector("#weights table.layers")
    rows = page.eval_on_selector_all(
        "#weights .layers tbody tr", "all => all.map(r => Array.from(r.cells, c => c.textContent))"
    )
    assert [row[1] for row in rows] == KINDS
    assert rows[0][2:6] == ["1 x 8 x 8", "6 x 6 x 6", "60", "relu"]
    assert "kernel: [3, 3]" in rows[0][6]
    # The dense layers have their numbers below.
    assert page.locator("#weights table").count() == 1 + KINDS.count("dense")


def test_a_drawing_is_followed_through_the_maps_of_each_layer(visit, pictures):
    server, own = pictures
    page = visit("#model=pictures", url=own.url)
    page.wait_for_selector("#trace canvas")
    box = page.locator("#drawing").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.8, steps=20)
    page.mouse.up()
    (drawn,) = canvases(page, "#drawing canvas")
    x = np.round((255 - drawn[..., 0]) / 255 * DARKEST).ravel()
    assert x.max() > 0
    with QuadrantClient(server.address) as client:
        explained = client.explain(x, model="pictures")
    wait_label(page, explained.label)
    first = explained.layers[0]
    maps = np.reshape(first.activations, first.shape)
    text = f"6 x 6 x 6 values from {maps.min():.2f} to {maps.max():.2f}".replace("-", "\u2212")
    until(page, "text => document.getElementById('trace').textContent.includes(text)", text)
    bitmaps = canvases(page, "#trace canvas")
    assert len(bitmaps) == len([layer for layer in explained.layers if not layer.units])
    assert_painted(cut(bitmaps[0], 1, 6, 6, 6), maps)
    assert page.locator("#trace table").count() == KINDS.count("dense")
