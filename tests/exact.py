"""A model that is right by construction, and how to publish it."""

import numpy as np

from quadnet import quadrants
from quadnet.manifest import Data, Feature, Lineage, Record, Signature, Training, Verdict
from quadnet.names import CHAMPION
from quadnet.network import Network
from quadnet.predictor import Predictor

SELF_TEST_INPUTS = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5], [0.0, 0.0]])


def exact_predictor(scale=10.0, classes=quadrants.NAMES):
    """Return a 2-4 network that is right on every point: each class's weights are its signs."""
    network = Network([2, 4], activations=[], loss="softmax_cross_entropy")
    by_name = {q.name: (q.x_sign, q.y_sign) for q in quadrants.QUADRANTS}
    signs = [by_name.get(name, (1, 1)) for name in classes]
    network.parameters.weights[0][:] = scale * np.array(signs).T
    return Predictor(network, classes)


def record(predictor, n_features=2):
    """Return a record of a run that never was."""
    return Record(
        signature=Signature(
            features=[
                Feature(name=name, min=-1.0, max=1.0) for name in ("x", "y", "z")[:n_features]
            ],
            classes=[str(name) for name in predictor.classes],
        ),
        training=Training(epochs=1, updates=10, loss=0.5, seconds=0.1),
        data=Data(train_rows=4, train_sha256="0" * 64, test_rows=4, test_sha256="1" * 64),
        metrics={"accuracy": 1.0},
        gate=[Verdict(metric="accuracy", limit=0.9, value=1.0, passed=True)],
        config={"name": "quadrants"},
        config_sha256="2" * 64,
        lineage=Lineage(quadnet="0", python="3", numpy="2", scikit_learn="1", platform="test"),
    )


def publish(registry, model="quadrants", *, scale=10.0, alias=CHAMPION, **options):
    """Publish an exact model, point the alias at it, and return it."""
    predictor = exact_predictor(scale, **options)
    published = registry.publish(model, predictor, record(predictor), SELF_TEST_INPUTS)
    if alias:
        registry.set_alias(model, alias, published.manifest.version, reason="test")
    return published
