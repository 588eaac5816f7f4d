"""GetModel and Explain of layers of any kind: their messages are enough to compute each layer."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
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
from quadnet.nn.layer_trace import trace_layers
from quadnet.nn.layers.layer import ArraySpec, Layer
from quadnet.nn.network import Network
from service.quadrant_v1.layer_messages import (
    describe_layer_trace,
    describe_layers,
    layers_size,
    traces_size,
)


@dataclass(frozen=True)
class Stretch(Layer):
    """A layer that the package does not know: a factor for each value."""

    power: int

    kind: ClassVar[str] = "stretch"

    def output_shape(self, input_shape):
        return input_shape

    def array_specs(self, input_shape):
        return {"factors": ArraySpec(input_shape)}

    def apply(self, arrays, A):
        return A * arrays["factors"][..., np.newaxis] ** self.power

    def make_step(self, context):
        raise NotImplementedError


# What a client computes from a layer's settings and arrays, without any code of the package.


def stretch(settings, arrays, A):
    return A * arrays["factors"] ** settings["power"]


def activation(settings, arrays, A):
    return FUNCTIONS[settings["function"]](A)


def conv2d(settings, arrays, A):
    if settings["padding"] == "same":
        pads = [
            max((-(-size // step) - 1) * step + width - size, 0)
            for size, step, width in zip(
                A.shape[1:], settings["stride"], settings["kernel"], strict=True
            )
        ]
        A = np.pad(A, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads)])
    down, across = settings["stride"]
    # A kernel has as many channels as the input: along that axis there is one place for it.
    maps = [correlate(A, kernel, "valid")[0, ::down, ::across] for kernel in arrays["weights"]]
    biases = arrays.get("biases", np.zeros(len(maps)))
    return np.array(maps) + biases[:, np.newaxis, np.newaxis]


def pool2d(reduce):
    def compute(settings, arrays, A):
        (height, width), (down, across) = settings["size"], settings["stride"]
        return np.array(
            [
                [
                    reduce(A[:, top : top + height, left : left + width], axis=(1, 2))
                    for left in range(0, A.shape[2] - width + 1, across)
                ]
                for top in range(0, A.shape[1] - height + 1, down)
            ]
        ).transpose(2, 0, 1)

    return compute


def batch_norm(settings, arrays, A):
    scale, shift, mean, variance = (
        np.reshape(arrays[name], (-1, *(1,) * (A.ndim - 1)))
        for name in ("scale", "shift", "mean", "variance")
    )
    return (A - mean) / np.sqrt(variance + settings["epsilon"]) * scale + shift


def layer_norm(settings, arrays, A):
    normal = (A - A.mean()) / np.sqrt(A.var() + settings["epsilon"])
    return normal * arrays["scale"] + arrays["shift"]


def residual(settings, arrays, A):
    B = A
    for i, inner in enumerate(settings["layers"]):
        names = [name for name in arrays if name.startswith(f"{i}.")]
        B = COMPUTED[inner["kind"]](inner, {name[2:]: arrays[name] for name in names}, B)
    return A + B


COMPUTED = {
    "stretch": stretch,
    "activation": activation,
    "conv2d": conv2d,
    "max_pool2d": pool2d(np.max),
    "average_pool2d": pool2d(np.mean),
    "global_average_pool2d": lambda settings, arrays, A: A.mean(axis=(1, 2)),
    "flatten": lambda settings, arrays, A: A.ravel(),
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "residual": residual,
}

FUNCTIONS = {
    "identity": lambda z: z,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
}

NETWORKS = {
    "dense": ([Dense(5), Activation("tanh"), Dense(3)], (4,)),
    "unknown kind": ([Stretch(2), Activation("relu"), Dense(3, bias=False)], (4,)),
    "activation first": ([Activation("tanh"), Dense(3)], (4,)),
    "convolution": (
        [
            Conv2D(3, (3, 2)),
            Activation("relu"),
            MaxPool2D(2, stride=1),
            BatchNorm(),
            Activation("tanh"),
            Conv2D(2, 3, stride=2, padding="same", bias=False),
            Flatten(),
            Dense(5),
            LayerNorm(),
            Dense(3),
        ],
        (2, 7, 6),
    ),
    "residual": (
        [
            Residual([Conv2D(2, 3, padding="same"), "tanh", BatchNorm()]),
            Activation("relu"),
            AveragePool2D((2, 3)),
            GlobalAveragePool2D(),
            Dense(3),
        ],
        (2, 6, 7),
    ),
}


def make_network(name, dtype="float64"):
    layers, input_shape = NETWORKS[name]
    network = Network(layers, input_shape, loss="softmax_cross_entropy", dtype=dtype)
    rng = np.random.default_rng(3)
    network.parameters.flat[:] = rng.uniform(0.1, 1, network.parameters.flat.size)
    for W in network.parameters.weights:
        W[:] = rng.normal(size=W.shape)
    return network


def compute(layer, A):
    """Return the layer's values before its activation, from its description."""
    if layer.kind == "dense":
        return A @ np.reshape(layer.weights, (layer.inputs, layer.units)) + layer.biases
    arrays = {array.name: np.reshape(array.values, array.shape) for array in layer.arrays}
    return COMPUTED[layer.kind](json.loads(layer.settings), arrays, A)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_client_can_compute_each_layer_from_its_description(name, dtype):
    network = make_network(name, dtype)
    x = np.random.default_rng(5).normal(size=network.n_features)
    rtol = 1e-9 if dtype == "float64" else 1e-4
    A = x.reshape(network.input_shape)
    layers, traces = describe_layers(network), list(trace_layers(network, x))
    for layer, traced in zip(layers, map(describe_layer_trace, traces), strict=True):
        assert tuple(layer.input_shape) == A.shape
        assert (layer.inputs, layer.kind) == (A.size, traced.kind)
        A = compute(layer, A)
        assert tuple(layer.output_shape) == tuple(traced.shape) == A.shape
        assert layer.units == A.size
        before, after = values(traced)
        np.testing.assert_allclose(before, A, rtol=rtol, atol=1e-5 if dtype == "float32" else 1e-12)
        assert layer.activation == traced.activation
        # The kind "activation" is a layer's activation without the layer.
        A = before if layer.kind == "activation" else FUNCTIONS[layer.activation](before)
        np.testing.assert_allclose(after, A, rtol=rtol, atol=1e-6 if dtype == "float32" else 1e-12)
        A = after
    np.testing.assert_array_equal(A, network.probabilities(x[np.newaxis].astype(dtype))[0])


def values(traced):
    """Return the values before and after the activation."""
    if traced.kind == "dense":
        pairs = [(unit.pre_activation, unit.activation) for unit in traced.units]
        return np.array(pairs).T
    assert not traced.units
    return [np.reshape(each, traced.shape) for each in (traced.pre_activations, traced.activations)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_size_of_the_numbers_is_known_before_the_messages_are_made(name):
    network = make_network(name)
    x = np.ones(network.n_features)
    described = sum(layer.ByteSize() for layer in describe_layers(network))
    traced = sum(describe_layer_trace(each).ByteSize() for each in trace_layers(network, x))
    # What else there is: tags, names, shapes and settings.
    n_layers = len(network.layers)
    assert 0 < described - layers_size(network) < 400 * n_layers
    n_units = sum(layer.units for layer in describe_layers(network))
    assert 0 < traced - traces_size(network) < 60 * n_layers + 10 * n_units
