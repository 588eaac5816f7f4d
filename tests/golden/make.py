"""Make the golden registry of a format: versions that must load for ever, and what they answer.

    uv run --group dev python -m tests.golden.make

replaces tests/golden/1. Once a release has published in a format, its golden files are never made
again; see quadnet/registry/manifest.py. The answers do not come from Quadnet's network: the
formulas are written out here, layer by layer.
"""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np

from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry, alias_changes, garbage_collection, version_files
from quadnet.registry.manifest import SCHEMA_VERSION
from tests.support.exact_models import record

HERE = Path(__file__).parent
EXPECTED = "expected.json"


def numbers(*shape, scale=1.0, seed=1):
    """Return numbers in [-scale, scale] that are the same with every library: no float is drawn."""
    state, drawn = seed, []
    for _ in range(int(np.prod(shape))):
        state = (1103515245 * state + 12345) % 2**31
        drawn.append((state / 2**30 - 1) * scale)
    return np.array(drawn).reshape(shape)


def logistic(Z):
    return 1 / (1 + np.exp(-Z))


def softmax_of_tanh(X, W, b):
    Z = np.tanh(X @ W[0] + b[0]) @ W[1] + b[1]
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def logistic_of_relu(X, W, b):
    yes = logistic(np.maximum(X @ W[0], 0) @ W[1])
    return np.hstack([1 - yes, yes])


def shares_of_logistic(X, W, b):
    P = logistic(logistic(X @ W[0] + b[0]) @ W[1] + b[1])
    return P / P.sum(axis=1, keepdims=True)


# Sizes, activation, loss, whether there are biases, dtype, classes, and how it answers.
MODELS = {
    "quadrants": (
        (2, 6, 4), "tanh", "softmax_cross_entropy", True, "float64",
        ["I", "II", "III", "IV"], softmax_of_tanh,
    ),
    "yes-or-no": (
        (3, 5, 1), "relu", "sigmoid_cross_entropy", False, "float32",
        ["no", "yes"], logistic_of_relu,
    ),
    "old_article": (
        (2, 3, 3), "logistic", "sigmoid_squared_error", True, "float64",
        ["a", "b", "c"], shares_of_logistic,
    ),
}  # fmt: skip


def parameters(name):
    """Return the model's weights and biases, as they are after rounding to its dtype."""
    sizes, _, _, bias, dtype, *_ = MODELS[name]
    pairs = list(pairwise(sizes))
    W = [numbers(*pair, scale=2.0, seed=7 + i).astype(dtype) for i, pair in enumerate(pairs)]
    b = [numbers(size, seed=70 + i).astype(dtype) * bias for i, (_, size) in enumerate(pairs)]
    return W, b


def predictor(name):
    sizes, activation, loss, bias, dtype, classes, _ = MODELS[name]
    network = Network.dense(sizes, activations=[activation], loss=loss, bias=bias, dtype=dtype)
    network.parameters.assign(*parameters(name))
    return Predictor(network, classes)


def points(name):
    return numbers(20, MODELS[name][0][0], scale=1.5, seed=700)


def publish(registry, name):
    frozen = predictor(name)
    inputs = points(name)[:8]
    n_features = MODELS[name][0][0]
    return registry.publish(
        name, frozen, record(frozen, n_features), inputs,
        attachments=lambda version: {"card.md": f"# {name} {version}\n".encode()},
    )  # fmt: skip


def make(root):
    """Publish every model, with aliases, a rollback, and a version that was removed."""
    # The files must not name the machine that made them.
    with (
        patch("getpass.getuser", return_value="golden"),
        patch("socket.gethostname", return_value="golden"),
    ):
        registry, expected = Registry(root), {}
        for name, (*_, answer) in MODELS.items():
            for _ in range(3):
                model = publish(registry, name)
            for version in (1, 3):
                changes = {"champion": version, "candidate": 3}
                alias_changes.set_aliases(registry, name, changes, reason=f"{version} is good")
            alias_changes.rollback(registry, name, reason="it was not")
            policy = garbage_collection.RetentionPolicy(newest=1, days=0, generations=0)
            for item in list(garbage_collection.find_removable(registry, policy)):
                assert garbage_collection.remove_item(registry, item, policy)
            W, b = ([array.astype(np.float64) for array in arrays] for arrays in parameters(name))
            expected[name] = {
                "digests": {
                    str(version): registry.digest(name, version)
                    for version in registry.versions(name)
                },
                "tensor_digest": model.manifest.tensor_digest,
                "points": points(name).tolist(),
                "probabilities": answer(points(name), W, b).tolist(),
            }
    # Git keeps no empty directories.
    for name in MODELS:
        (registry.home(name) / ".staging").rmdir()
        assert version_files.read_version(registry.path(name, 1))
    (root / EXPECTED).write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    golden = HERE / str(SCHEMA_VERSION)
    shutil.rmtree(golden, ignore_errors=True)
    make(golden)
    print(f"Made {golden.relative_to(Path.cwd())}.")
