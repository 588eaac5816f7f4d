"""The page's network and probe: every number equals the server's answer and adds up."""

import math

import numpy as np
import pytest

from quadnet import quadrants
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
