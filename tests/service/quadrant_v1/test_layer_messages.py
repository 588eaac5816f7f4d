"""GetModel and Explain of layers of any kind: their messages are enough to compute each layer."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

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
from tests.support.layer_reference import ACTIVATIONS, compute_layer, traced_values


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
        raise AssertionError("This layer is never trained.")


def stretch(settings, arrays, A):
    return A * arrays["factors"] ** settings["power"]


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
            Activation("relu"),
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
        A = compute_layer(layer, A, stretch=stretch)
        assert tuple(layer.output_shape) == tuple(traced.shape) == A.shape
        assert layer.units == A.size
        before, after = traced_values(traced)
        np.testing.assert_allclose(before, A, rtol=rtol, atol=1e-5 if dtype == "float32" else 1e-12)
        assert layer.activation == traced.activation
        # The kind "activation" is a layer's activation without the layer.
        A = before if layer.kind == "activation" else ACTIVATIONS[layer.activation](before)
        np.testing.assert_allclose(after, A, rtol=rtol, atol=1e-6 if dtype == "float32" else 1e-12)
        A = after
    np.testing.assert_array_equal(A, network.probabilities(x[np.newaxis].astype(dtype))[0])


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
