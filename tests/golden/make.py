"""Make the golden registry of a format: versions that must load for ever, and what they answer.

    uv run --group dev python -m tests.golden.make

adds to the newest one the models that it lacks. Once a release has published in a format, its
golden files are never made again; see quadnet/registry/manifest.py. The answers do not come from
Quadnet's network: the formulas are written out here, layer by layer.
"""

import json
from datetime import date
from math import sqrt
from pathlib import Path
from unittest.mock import patch

import numpy as np
from scipy.signal import correlate

from quadnet.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    MaxPool2D,
    Residual,
)
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry import Registry, alias_changes, garbage_collection, version_files
from quadnet.registry.manifest import SCHEMA_VERSION
from quadnet.tables.encoder import TableEncoder
from tests.support.exact_models import record

HERE = Path(__file__).parent
EXPECTED = "expected.json"
ANSWERS = {Predictor: "probabilities", RegressionPredictor: "values"}


def numbers(*shape, scale=1.0, seed=1):
    """Return numbers in [-scale, scale] that are the same with every library: no float is drawn."""
    state, drawn = seed, []
    for _ in range(int(np.prod(shape))):
        state = (1103515245 * state + 12345) % 2**31
        drawn.append((state / 2**30 - 1) * scale)
    return np.array(drawn).reshape(shape)


def logistic(Z):
    return 1 / (1 + np.exp(-Z))


def softmax(Z):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def softmax_of_tanh(X, P):
    return softmax(np.tanh(X @ P["weights.0"] + P["biases.0"]) @ P["weights.1"] + P["biases.1"])


def logistic_of_relu(X, P):
    yes = logistic(np.maximum(X @ P["weights.0"], 0) @ P["weights.1"])
    return np.hstack([1 - yes, yes])


def shares_of_logistic(X, P):
    hidden = logistic(X @ P["weights.0"] + P["biases.0"])
    shares = logistic(hidden @ P["weights.1"] + P["biases.1"])
    return shares / shares.sum(axis=1, keepdims=True)


def convolve(A, W, b, *, stride=(1, 1), padding=((0, 0), (0, 0))):
    """Return the cross-correlation of pictures (n, channels, height, width), one by one."""
    A = np.pad(A, ((0, 0), (0, 0), *padding))
    maps = [[correlate(a, w, "valid")[0] for w in W] for a in A]
    return np.array(maps)[:, :, :: stride[0], :: stride[1]] + b[:, None, None]


def pool(A, size, stride, function):
    """Return a function of every window of pictures (n, channels, height, width)."""
    n_down = (A.shape[2] - size[0]) // stride[0] + 1
    n_across = (A.shape[3] - size[1]) // stride[1] + 1
    windows = [
        A[:, :, i * stride[0] : i * stride[0] + size[0], j * stride[1] : j * stride[1] + size[1]]
        for i in range(n_down)
        for j in range(n_across)
    ]
    values = [function(window, axis=(2, 3)) for window in windows]
    return np.stack(values, axis=2).reshape(*A.shape[:2], n_down, n_across)


def normalize_examples(A, scale, shift, epsilon=1e-5):
    axes = tuple(range(1, A.ndim))
    mean, variance = A.mean(axis=axes, keepdims=True), A.var(axis=axes, keepdims=True)
    return (A - mean) / np.sqrt(variance + epsilon) * scale + shift


def pictures(X, P):
    A = X.reshape(-1, 1, 7, 6)
    A = np.maximum(convolve(A, P["weights.0"], P["biases.0"], stride=(2, 1)), 0)
    A = convolve(A, P["weights.1"], P["biases.1"], padding=((0, 1), (1, 1)))
    A = pool(pool(A, (2, 2), (1, 1), np.max), (1, 2), (1, 2), np.mean)
    return softmax(A.reshape(len(A), -1) @ P["weights.2"] + P["biases.2"])


def residual(X, P):
    A = X.reshape(-1, 2, 4, 3)
    factor = P["scale.0"] / np.sqrt(P["variance.0"] + 0.001)
    A = (A - P["mean.0"][:, None, None]) * factor[:, None, None] + P["shift.0"][:, None, None]
    B = convolve(A, P["0.weights.1"], P["0.biases.1"], padding=((1, 1), (1, 1)))
    A = A + normalize_examples(np.tanh(B), P["2.scale.1"], P["2.shift.1"])
    A = normalize_examples(A.mean(axis=(2, 3)), P["scale.2"], P["shift.2"])
    yes = logistic(A @ P["weights.3"] + P["biases.3"])
    return np.hstack([1 - yes, yes])


def quantiles_of_relu(X, P):
    Z = np.maximum(X @ P["weights.0"] + P["biases.0"], 0) @ P["weights.1"] + P["biases.1"]
    # The lowest quantile, and above it steps of the scale times softplus.
    steps = 2.5 * np.log1p(np.exp(Z[:, 1:] / 2.5))
    return np.cumsum(np.hstack([Z[:, :1], steps]), axis=1)


def exponential(X, P):
    return np.exp(X @ P["weights.0"] + P["biases.0"])


def labels_of_tanh(X, P):
    return logistic(np.tanh(X @ P["weights.0"] + P["biases.0"]) @ P["weights.1"] + P["biases.1"])


PICTURE = [
    Conv2D(3, (3, 2), stride=(2, 1)),
    Activation("relu"),
    Conv2D(2, (2, 3), padding="same"),
    MaxPool2D(2, stride=1),
    AveragePool2D((1, 2)),
    Flatten(),
    Dense(3),
]
RESIDUAL = [
    BatchNorm(epsilon=0.001),
    Residual([Conv2D(2, 3, padding="same"), "tanh", LayerNorm()]),
    GlobalAveragePool2D(),
    LayerNorm(),
    Dense(1),
]


def dense(units, activation, n_outputs, *, bias=True):
    return [Dense(units, bias=bias), Activation(activation), Dense(n_outputs, bias=bias)]


# Layers, shape of an input, loss, dtype, classes, and how it answers.
MODELS = {
    "quadrants": (
        dense(6, "tanh", 4), (2,), "softmax_cross_entropy", "float64",
        ["I", "II", "III", "IV"], softmax_of_tanh,
    ),
    "yes-or-no": (
        dense(5, "relu", 1, bias=False), (3,), "sigmoid_cross_entropy", "float32",
        ["no", "yes"], logistic_of_relu,
    ),
    "old_article": (
        dense(3, "logistic", 3), (2,), "sigmoid_squared_error", "float64",
        ["a", "b", "c"], shares_of_logistic,
    ),
    "pictures": (
        PICTURE, (1, 7, 6), "softmax_cross_entropy", "float64", ["0", "1", "2"], pictures,
    ),
    "pictures-float32": (
        PICTURE, (1, 7, 6), "softmax_cross_entropy", "float32", ["0", "1", "2"], pictures,
    ),
    "residual": (
        RESIDUAL, (2, 4, 3), "sigmoid_cross_entropy", "float64", ["no", "yes"], residual,
    ),
    "prices": (dense(5, "relu", 3), (3,), "quantile", "float64", None, quantiles_of_relu),
    "counts": ([Dense(1)], (2,), "poisson", "float32", None, exponential),
    "tags": (
        dense(4, "tanh", 3), (3,), "multilabel_cross_entropy", "float64", ["new", "old", "red"],
        labels_of_tanh,
    ),
    "shop": (
        dense(4, "tanh", 3), (14,), "softmax_cross_entropy", "float64", ["no", "rather", "yes"],
        softmax_of_tanh,
    ),
}  # fmt: skip

ENCODERS = {
    "shop": [
        {
            "kind": "number", "name": "age", "centre": 8.0, "scale": 6.0, "clip": True,
            "fill": 10.5, "indicator": True, "low": 1.0, "high": 30.0,
            "knots": [1.0, 3.0, 8.0, 30.0],
        },
        {
            "kind": "category", "name": "city", "categories": ["Oslo", "Rome"],
            "rare": ["Bern", "Ürümqi"], "missing": True,
        },
        {
            "kind": "date", "name": "day", "indicator": True,
            "parts": [
                {"part": "year", "centre": 2022.5, "scale": 2.0},
                {"part": "month", "centre": 3.0, "scale": 2.5},
                {"part": "weekday", "centre": 2.0, "scale": 1.5},
                {"part": "elapsed", "centre": 19208.0, "scale": 512.0},
            ],
        },
    ]
}  # fmt: skip
"""The columns' encoders of a version that takes a table."""

ROWS = [
    (1.0, "Oslo", "2024-02-29"),
    (30.0, "Rome", "1969-12-31"),
    (None, "Bern", None),
    (5.5, None, "2000-01-01"),
    (1e100, "unknown", "2023-06-05"),
]
"""A table of the columns of `ENCODERS`."""


def encode_by_hand(age, city, day):
    """Return the 14 inputs of the network "shop" for a row of `ROWS`."""
    x = 10.5 if age is None else age
    z = (x - 8.0) / 6.0
    pieces = [
        0.5 * min(max((x - low) / (high - low), 0.0), 1.0)
        for low, high in [(1, 3), (3, 8), (8, 30)]
    ]
    place = {"Oslo": 0, "Rome": 1, "Bern": 2, "Ürümqi": 2}.get(city, 3)
    cities = [float(place == i) for i in range(4)]
    parts = [0.0] * 4
    if day is not None:
        when = date.fromisoformat(day)
        elapsed = (when - date(1970, 1, 1)).days
        # In Python, too, Monday is 0.
        parts = [
            (when.year - 2022.5) / 2.0,
            (when.month - 3.0) / 2.5,
            (when.weekday() - 2.0) / 1.5,
            (elapsed - 19208.0) / 512.0,
        ]
    number = [z / sqrt(1.0 + (z / 3.0) ** 2), *pieces, float(age is None)]
    return [*number, *cities, *parts, float(day is None)]


LOSS_SETTINGS = {"prices": {"quantiles": [0.1, 0.5, 0.9], "scales": [2.5]}}


def network(name):
    """Return the model's network with its values, the same with every library."""
    layers, shape, loss, dtype, *_ = MODELS[name]
    settings = LOSS_SETTINGS.get(name)
    made = Network(layers, shape, loss=loss, loss_settings=settings, dtype=dtype)
    number = {"weights": 0, "biases": 0, "other": 0}
    for full_name, array in made.parameters.named():
        what = full_name.partition(".")[0]
        kind = what if what in number else "other"
        seed = {"weights": 7, "biases": 70, "other": 170}[kind] + number[kind]
        number[kind] += 1
        scale = 2.0 if what == "weights" else 1.0
        # A variance is positive.
        array[...] = numbers(*array.shape, scale=scale, seed=seed) + 1.5 * (what == "variance")
    return made


def predictor(name):
    classes = MODELS[name][4]
    made = network(name)
    return RegressionPredictor(made, None) if classes is None else Predictor(made, classes)


def count_features(name):
    return int(np.prod(MODELS[name][1]))


def points(name):
    return numbers(20, count_features(name), scale=1.5, seed=700)


def publish(registry, name):
    frozen = predictor(name)
    inputs = points(name)[:8]
    about = record(frozen, count_features(name))
    if name in ENCODERS:
        about = about.model_copy(update={"encoder": TableEncoder.from_specs(ENCODERS[name])})
    return registry.publish(
        name, frozen, about, inputs,
        attachments=lambda version: {"card.md": f"# {name} {version}\n".encode()},
    )  # fmt: skip


def make(root, models=MODELS):
    """Publish these models, with aliases, a rollback, and a version that was removed."""
    # The files must not name the machine that made them.
    with (
        patch("getpass.getuser", return_value="golden"),
        patch("socket.gethostname", return_value="golden"),
    ):
        registry, path = Registry(root), root / EXPECTED
        expected = json.loads(path.read_text()) if path.exists() else {}
        for name in models:
            answer = MODELS[name][-1]
            for _ in range(3):
                model = publish(registry, name)
            for version in (1, 3):
                changes = {"champion": version, "candidate": 3}
                alias_changes.set_aliases(registry, name, changes, reason=f"{version} is good")
            alias_changes.rollback(registry, name, reason="it was not")
            policy = garbage_collection.RetentionPolicy(newest=1, days=0, generations=0)
            for item in list(garbage_collection.find_removable(registry, policy)):
                assert garbage_collection.remove_item(registry, item, policy)
            values = {
                name: array.astype(np.float64) for name, array in network(name).parameters.named()
            }
            expected[name] = {
                "digests": {
                    str(version): registry.digest(name, version)
                    for version in registry.versions(name)
                },
                "tensor_digest": model.manifest.tensor_digest,
                "points": points(name).tolist(),
                ANSWERS[type(model.predictor)]: answer(points(name), values).tolist(),
            }
            if name in ENCODERS:
                expected[name]["inputs"] = [encode_by_hand(*row) for row in ROWS]
    # Git keeps no empty directories.
    for name in models:
        (registry.home(name) / ".staging").rmdir()
        assert version_files.read_version(registry.path(name, 1))
    path.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    golden = HERE / str(SCHEMA_VERSION)
    lacking = [name for name in MODELS if not Registry(golden).versions(name)]
    make(golden, lacking)
    print(f"Added {', '.join(lacking) or 'nothing'} to {golden.relative_to(Path.cwd())}.")
