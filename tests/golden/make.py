"""Makes the golden registry of the present format: `python -m tests.golden.make`.

Run once for each format number, before the first release that writes it, and never again: what it
made must load for ever. The expected probabilities are worked out here with plain NumPy, not with
the network that is tested by them.
"""

import json
import shutil
from pathlib import Path

import numpy as np

from quadnet import promotion, publisher
from quadnet.manifest import SCHEMA_VERSION, Publisher
from quadnet.network import Network
from quadnet.predictor import Predictor
from quadnet.registry import Registry
from tests.exact import record

HERE = Path(__file__).parent
X = np.random.default_rng(8).normal(size=(20, 2))


def softmax(Z):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def two_columns(p):
    return np.hstack([1 - p, p])


def shares(P):
    return P / P.sum(axis=1, keepdims=True)


MODELS = {
    "softmax": {
        "layers": [2, 6, 4],
        "activations": ["tanh"],
        "loss": "softmax_cross_entropy",
        "classes": ["I", "II", "III", "IV"],
        "answer": lambda W, b: softmax(np.tanh(X @ W[0] + b[0]) @ W[1] + b[1]),
    },
    "binary": {
        "layers": [2, 5, 1],
        "activations": ["relu"],
        "loss": "sigmoid_cross_entropy",
        "bias": False,
        "dtype": np.float32,
        "classes": ["left", "right"],
        "answer": lambda W, b: two_columns(sigmoid(np.maximum(X @ W[0], 0) @ W[1])),
    },
    "sigmoids": {
        "layers": [2, 3, 3, 3],
        "activations": ["logistic", "identity"],
        "loss": "sigmoid_squared_error",
        "classes": ["a", "b", "ç, \"'"],
        "answer": lambda W, b: shares(
            sigmoid((sigmoid(X @ W[0] + b[0]) @ W[1] + b[1]) @ W[2] + b[2])
        ),
    },
}


def make(root):
    """Publish each model twice, with an attachment, and point aliases at both."""
    publisher.here = lambda: Publisher(user="golden", host="golden")
    registry = Registry(root)
    expected = {}
    for name, said in MODELS.items():
        network = Network(
            said["layers"],
            activations=said["activations"],
            loss=said["loss"],
            bias=said.get("bias", True),
            dtype=said.get("dtype", np.float64),
        )
        flat = network.parameters.flat
        flat[:] = np.random.default_rng(len(name)).normal(size=flat.shape)
        predictor = Predictor(network, said["classes"])
        for _ in range(2):
            model = registry.publish(
                name,
                predictor,
                record(predictor),
                X,
                attachments=lambda version: {"card.md": f"version {version}\n".encode()},
            )
        promotion.set_aliases(registry, name, {"champion": 1, "candidate": 2}, reason="golden")
        promotion.set_aliases(
            registry, name, {"champion": "candidate", "candidate": "champion"}, reason="swapped"
        )
        parameters = network.parameters
        P = said["answer"](
            [W.astype(np.float64) for W in parameters.weights],
            [b.astype(np.float64) for b in parameters.biases],
        )
        expected[name] = {
            "tensor_digest": model.manifest.tensor_digest,
            "manifest_sha256": model.digest,
            "inputs": X.tolist(),
            "probabilities": P.tolist(),
        }
    (root / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    # Git keeps no empty directory, and none is part of the format.
    for name in MODELS:
        shutil.rmtree(registry.home(name) / ".staging")


if __name__ == "__main__":
    make(HERE / str(SCHEMA_VERSION))
