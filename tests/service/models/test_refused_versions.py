"""Versions that a server does not serve: refused with a sentence, and listed with it."""

import numpy as np
import pytest

from quadnet.errors import Unsupported
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry import alias_changes
from quadnet.tables.encoder import fit_encoder
from service.models.catalogue import list_models
from service.models.live_models import LiveModels
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import exact_predictor, publish, record

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


@pytest.mark.parametrize(
    ("publish_other", "reason"),
    [
        (publish_numbers, "predicts numbers"),
        (publish_labels, "predicts several labels"),
        (publish_encoded, "takes a table's own columns"),
    ],
)
def test_a_version_for_something_else_replaces_no_served_version(registry, publish_other, reason):
    publish(registry)
    live = LiveModels(registry, model="quadrants")
    live.refresh()
    number = publish_other(registry).manifest.version
    alias_changes.set_aliases(registry, "quadrants", {"champion": number}, reason="test")
    live.refresh()
    assert live.current.manifest.version == 1
    assert isinstance(live.failure, Unsupported)
    assert f"Version {number} of model 'quadrants' {reason}" in str(live.failure)
    assert "quadnet score" in str(live.failure)
    listed = list_models(live, "").models[0].versions
    assert [version.version for version in listed] == [1, 2]
    assert listed[1].state == pb.VersionSummary.STATE_FAILED
    assert reason in listed[1].reason
    alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="test")
    live.refresh()
    assert live.failure is None
