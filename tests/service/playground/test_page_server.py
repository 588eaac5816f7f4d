"""The page follows its server: other versions and models, an outage, and the recovery."""

import numpy as np
from sklearn.datasets import load_digits

from quadnet import NeuralNetworkClassifier
from quadnet.registry import Registry, alias_changes
from tests.service.playground.browsing import (
    epoch,
    needs_chromium,
    pixels,
    publish_crooked,
    train_to_the_end,
    until,
    wait_label,
)
from tests.service.playground.page_client import PageServerProcess
from tests.support.exact_models import publish, record
from tests.support.serving import ServerProcess

pytestmark = needs_chromium


def test_5_a_new_version_is_shown_without_a_reload_and_a_rollback_too(tmp_path, visit):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    with (
        ServerProcess(registry.root, "--poll", "0.1") as server,
        PageServerProcess(server.port) as own,
    ):
        page = visit(url=own.url)
        assert "serving v1" in page.text_content("#serving")
        before, trace = pixels(page), page.text_content("#trace")
        publish_crooked(registry)
        page.wait_for_selector('html[data-version="2"]')
        assert "serving v2" in page.text_content("#serving")
        assert (pixels(page) != before).any()
        assert page.text_content("#trace") != trace
        alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="back")
        page.wait_for_selector('html[data-version="1"]')
        assert (pixels(page) == before).all()
        assert page.text_content("#trace") == trace


def test_15_an_outage_of_the_server_is_shown_and_its_return_is_noticed(tmp_path, visit):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    with ServerProcess(registry.root) as server, PageServerProcess(server.port) as own:
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
        assert "gateway does not respond" in page.text_content("#stale")
        # A module that fails to load now is reported, too: the fixture fails on uncaught errors.
        page.click("#save-svg")
        page.wait_for_timeout(300)


def test_15_without_a_server_the_page_reports_it_and_sandboxes_still_train(visit):
    with PageServerProcess(1) as own:
        page = visit("#iterations=20&points=20&batch=20", url=own.url, ready="#stale:not([hidden])")
        assert "No Quadnet server answers at 127.0.0.1:1" in page.text_content("#stale")
        train_to_the_end(page)
        assert epoch(page) == 20
        until(page, "document.getElementById('answers').width === 160")
        assert page.locator("#diagram .edge").count() == 36
        page.context.close()


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
    alias_changes.set_aliases(registry, "digits", {"champion": 1}, reason="test")
    publish(registry)
    with ServerProcess(registry.root) as server, PageServerProcess(server.port) as own:
        page = visit("#model=digits", url=own.url)
        page.wait_for_selector("#drawing")
        assert page.is_hidden("#single")
        # The digit 1: a stroke from the top to the bottom.
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
        # Another pixel by keyboard: the answer is for the new drawing.
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
