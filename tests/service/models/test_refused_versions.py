"""Versions that callers of the served version could not use: refused, and listed with a reason."""

import numpy as np
import pytest

from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry import alias_changes
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import fit_encoder
from service.models.catalogue import list_models
from service.models.live_models import LiveModels
from service.models.signature_check import SignatureMismatch
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import exact_predictor, publish, record
from tests.support.table_models import LOSSES, publish_table_model, training_table

X = np.zeros((3, 2))


def publish_numbers(registry):
    network = Network.dense([2, 1], activations=[], loss="squared_error")
    predictor = RegressionPredictor(network, None)
    return registry.publish("quadrants", predictor, record(predictor), X)


def publish_labels(registry):
    network = Network.dense([2, 3], activations=[], loss="multilabel_cross_entropy")
    predictor = Predictor(network, ["a", "b", "c"])
    return registry.publish("quadrants", predictor, record(predictor), X)


def publish_encoded(registry):
    encoder = fit_encoder({"x": np.array([1.0, 2.0]), "y": np.array([1.0, 2.0])})
    predictor = exact_predictor()
    made = record(predictor).model_copy(update={"encoder": encoder})
    return registry.publish("quadrants", predictor, made, X)


def refused_reason(registry, model, number):
    """Point the champion at a version that is refused, and return the reason; then undo that."""
    live = LiveModels(registry, model=model)
    live.refresh()
    served = live.current.manifest.version
    alias_changes.set_aliases(registry, model, {"champion": number}, reason="test")
    live.refresh()
    assert live.current.manifest.version == served
    assert isinstance(live.failure, SignatureMismatch)
    listed = list_models(live, model).models[0].versions
    assert listed[number - 1].state == pb.VersionSummary.STATE_FAILED
    assert listed[number - 1].reason == str(live.failure)
    alias_changes.set_aliases(registry, model, {"champion": served}, reason="test")
    live.refresh()
    assert live.failure is None
    # A server that starts with it serves it.
    other = LiveModels(registry, model=model)
    alias_changes.set_aliases(registry, model, {"champion": number}, reason="test")
    other.refresh()
    assert other.current.manifest.version == number
    alias_changes.set_aliases(registry, model, {"champion": served}, reason="test")
    return str(live.failure or listed[number - 1].reason)


@pytest.mark.parametrize(
    ("publish_other", "new", "old"),
    [
        (publish_numbers, "the task regression", "the task classification"),
        (publish_labels, "the task multilabel and the classes a, b, c", "the task classification"),
        (publish_encoded, "the columns x (number), y (number)", "2 features"),
    ],
)
def test_a_version_for_something_else_replaces_no_served_version(registry, publish_other, new, old):
    publish(registry)
    number = publish_other(registry).manifest.version
    reason = refused_reason(registry, "quadrants", number)
    assert f"Version {number} of model 'quadrants' has {new}" in reason
    assert f"; the served version 1 has {old}" in reason
    assert "To serve it anyway, restart the server." in reason


def test_a_version_with_other_columns_replaces_no_served_version(registry):
    table = training_table()
    publish_table_model(registry, "m")
    others = {
        "city (number)": table | {"city": np.arange(60.0)},
        "town (category)": {k: v for k, v in table.items() if k != "city"}
        | {"town": table["city"]},
        "more (category)": table | {"more": Texts.from_values(["a"] * 60)},
    }
    for described, other in others.items():
        number = publish_table_model(registry, "m", table=other).manifest.version
        alias_changes.set_aliases(registry, "m", {"champion": 1}, reason="test")
        reason = refused_reason(registry, "m", number)
        assert described in reason
        assert "the served version 1 has the columns age (number), income (number), ci" in reason


def test_a_version_with_its_columns_in_another_order_replaces_the_served_one(registry):
    table = training_table()
    publish_table_model(registry, "m")
    live = LiveModels(registry, model="m")
    live.refresh()
    publish_table_model(registry, "m", table={name: table[name] for name in reversed(table)})
    live.refresh()
    assert live.failure is None
    assert live.current.manifest.version == 2
    # Columns of numbers may be sent as one array, whose order counts.
    numbers = {"a": np.arange(60.0), "b": np.arange(60.0)}
    publish_table_model(registry, "n", table=numbers)
    number = publish_table_model(
        registry, "n", table={"b": numbers["b"], "a": numbers["a"]}
    ).manifest.version
    alias_changes.set_aliases(registry, "n", {"champion": 1}, reason="test")
    assert "has the columns b (number), a (number)" in refused_reason(registry, "n", number)


def test_a_version_with_other_quantiles_replaces_no_served_version(registry):
    publish_table_model(registry, "m", "numbers")
    number = publish_table_model(registry, "m", "quantiles").manifest.version
    alias_changes.set_aliases(registry, "m", {"champion": 1}, reason="test")
    reason = refused_reason(registry, "m", number)
    assert "has the quantiles 0.1, 0.5, 0.9; the served version 1 has no quantiles" in reason


@pytest.mark.parametrize("predicts", LOSSES)
def test_every_task_is_served(registry, predicts):
    publish_table_model(registry, "m", predicts)
    live = LiveModels(registry, model="m")
    live.refresh()
    assert live.failure is None
    assert live.current.manifest.version == 1
