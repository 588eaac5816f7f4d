"""A convolutional model of pictures of 8 x 8 pixels, with random weights."""

import numpy as np

from quadnet.layers import BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, Residual
from quadnet.model_names import CHAMPION
from quadnet.nn.layers.stack import make_layers
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import alias_changes
from tests.support.exact_models import record

SIDE, DARKEST = 8, 16.0

LAYERS = make_layers(
    [
        Conv2D(6, 3),
        "relu",
        MaxPool2D(2),
        BatchNorm(),
        Residual([Conv2D(6, 3, padding="same"), "tanh"]),
        Flatten(),
        Dense(16),
        "relu",
        Dense(10),
    ]
)
KINDS = ["conv2d", "max_pool2d", "batch_norm", "residual", "flatten", "dense", "dense"]


def make_picture_predictor(dtype="float64"):
    """Return a predictor of ten classes."""
    network = Network(LAYERS, (1, SIDE, SIDE), loss="softmax_cross_entropy", dtype=dtype)
    rng = np.random.default_rng(0)
    network.parameters.flat[:] = rng.normal(scale=0.3, size=network.parameters.flat.size)
    for arrays in network.parameters.arrays:
        if "variance" in arrays:
            arrays["variance"][:] = rng.uniform(1, 2, arrays["variance"].shape)
    return Predictor(network, [str(i) for i in range(10)])


def make_pictures(n_rows):
    """Return rows of pixels."""
    rng = np.random.default_rng(n_rows)
    return rng.integers(0, DARKEST, (n_rows, SIDE * SIDE)).astype(float)


def publish_pictures(registry, name="pictures", dtype="float64"):
    """Publish the model as the champion, and return its predictor."""
    predictor = make_picture_predictor(dtype)
    kept = record(predictor, SIDE * SIDE)
    features = [
        feature.model_copy(update={"name": f"pixel_{i}", "min": 0.0, "max": DARKEST})
        for i, feature in enumerate(kept.signature.features)
    ]
    signature = kept.signature.model_copy(update={"features": features})
    kept = kept.model_copy(update={"signature": signature})
    registry.publish(name, predictor, kept, make_pictures(5))
    alias_changes.set_aliases(registry, name, {CHAMPION: 1}, reason="test")
    return predictor
