"""Every kind of layer against central differences, SciPy and NumPy's own arithmetic."""

import copy
import itertools
import json
import pickle
import tracemalloc
from math import prod

import numpy as np
import pytest
from numpy.random import RandomState
from scipy.signal import correlate
from scipy.sparse import random

from quadnet.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    MaxPool2D,
    Residual,
)
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.backpropagation import Workspace
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers.ensemble import Ensemble
from quadnet.nn.layers.kinds import LAYER_KINDS, layer_from_spec
from quadnet.nn.layers.layer import StepContext, split_arrays
from quadnet.nn.layers.stack import find_blocks
from quadnet.nn.network import Network
from tests.support.serving import ROOT

CONVOLUTIONS = [
    Conv2D(3, kernel, stride, padding, bias=bias)
    for kernel, stride, padding, bias in itertools.product(
        [1, 2, 3, (1, 3), (4, 2)], [1, 2, (1, 3)], ["valid", "same"], [True, False]
    )
]
POOLS = [
    kind(size, stride)
    for kind, size, stride in itertools.product(
        [MaxPool2D, AveragePool2D], [1, 2, 3, (1, 2)], [None, 1, 2, (2, 1)]
    )
]
SHAPE = (2, 6, 5)

# Derivatives that overwrite the input, which is the output of the layer below.
PAIRS = [
    [*below, Activation(above), Flatten()]
    for below, above in itertools.product(
        [
            *([Conv2D(2, 3), Activation(name)] for name in ACTIVATIONS),
            [Conv2D(2, 3), Activation("tanh"), Flatten()],
            [MaxPool2D(2, 1)],
            [Residual(["tanh", "logistic"])],
        ],
        ACTIVATIONS,
    )
]

STACKS = [
    *PAIRS,
    *([layer, Flatten()] for layer in (*CONVOLUTIONS, *POOLS)),
    [GlobalAveragePool2D()],
    [Flatten(), Dense(4), Activation("tanh")],
    [BatchNorm(), Flatten()],
    [Flatten(), BatchNorm(), Activation("tanh")],
    [LayerNorm(), Flatten()],
    [Flatten(), Dense(5), LayerNorm(), Activation("relu")],
    [Residual([Conv2D(2, 3, padding="same"), "tanh", Conv2D(2, 1)]), Flatten()],
    [Flatten(), Residual(["relu", Dense(60), "relu"]), Activation("tanh")],
    [Residual([BatchNorm(), Residual([LayerNorm(), "silu"])]), GlobalAveragePool2D()],
    # Activations after layers whose output they must not overwrite.
    [Conv2D(2, 2), Activation("tanh"), Activation("relu"), Flatten(), Activation("logistic")],
    [Conv2D(2, 2), Activation("relu"), MaxPool2D(2, 1), Activation("tanh"), Flatten()],
    [Activation("gelu"), Conv2D(2, 2, padding="same"), BatchNorm(), Activation("relu"), Flatten()],
    [Conv2D(2, 3, padding="same"), LayerNorm(), Conv2D(2, 3, padding="same"), Flatten()],
    [MaxPool2D(2), Conv2D(3, 2), Activation("elu"), AveragePool2D((2, 1)), Flatten(), Dense(4)],
]


def make_network(layers, input_shape=SHAPE, n_outputs=3, loss="softmax_cross_entropy", **options):
    network = Network([*layers, Dense(n_outputs)], input_shape, loss=loss, **options)
    network.initialize(INITIALIZERS["he_normal"], RandomState(1))
    rng = np.random.default_rng(2)
    for arrays in network.parameters.arrays:
        for name in arrays:
            if name.endswith(("scale", "shift", "biases")):
                arrays[name] += rng.normal(0, 0.3, arrays[name].shape)
    return network


def name_stack(layers):
    return " ".join(repr(layer) for layer in layers)


@pytest.mark.parametrize("layers", STACKS, ids=name_stack)
def test_gradients_equal_central_differences(layers):
    network = make_network(layers)
    n_rows = 4
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n_rows, prod(SHAPE)))
    Y = np.eye(3)[rng.integers(3, size=n_rows)]
    weights = rng.uniform(0.5, 2.0, n_rows)
    theta, gradient = network.parameters.flat, network.parameters.like()
    work, P = Workspace(network, n_rows, gradient), np.empty((3, n_rows))

    def loss():
        work.forward(X, P)
        return float(network.loss.values(P, Y.T).dot(weights))

    start = theta.copy()
    loss()
    theta[:] = start  # running means have moved
    work.backward(P, np.ascontiguousarray(Y.T), weights)
    found = gradient.flat.copy()
    untrained = np.concatenate(
        [
            np.full(prod(spec.shape), not spec.is_trained)
            for layer in network.parameters.specs
            for spec in layer.values()
        ]
    )
    assert (found[untrained] == 0).all()
    for i in np.flatnonzero(~untrained):
        numeric = 0.0
        for h in (1e-6, -1e-6):
            theta[:] = start
            theta[i] += h
            numeric += loss() / (2 * h)
        assert found[i] == pytest.approx(numeric, rel=1e-5, abs=1e-7), i


@pytest.mark.parametrize("layers", STACKS, ids=name_stack)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_predicting_equals_the_forward_pass_of_training(layers, dtype):
    """But for batch normalization, which does not use the mini-batch when predicting."""
    network = make_network(layers, dtype=dtype)
    X = np.random.default_rng(4).normal(size=(7, prod(SHAPE))).astype(dtype)
    before = X.copy()
    work, P = Workspace(network, 7, network.parameters.like()), np.empty((3, 7), dtype)
    if "BatchNorm" in name_stack(layers):
        for _ in range(200):  # until the running mean is the mini-batch's
            work.forward(X, P)
        tolerance = 0.15
    else:
        work.forward(X, P)
        tolerance = 1e-12 if dtype is np.float64 else 2e-5
    np.testing.assert_allclose(network.outputs(X), P.T, atol=tolerance)
    for rows in (network.probabilities(X), network.probabilities_by_class(X).T):
        np.testing.assert_allclose(rows, P.T, atol=tolerance)
        assert rows.dtype == dtype
    np.testing.assert_allclose(network.outputs(X[:1]), network.outputs(X)[:1], rtol=1e-4)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("layers", STACKS, ids=name_stack)
def test_a_batch_may_have_no_rows(layers):
    network = make_network(layers)
    X = np.empty((0, prod(SHAPE)))
    assert network.probabilities(X).shape == (0, 3)
    assert network.probabilities_by_class(X).shape == (3, 0)
    for values, block in zip(network.values(X), find_blocks(network.layers), strict=True):
        assert values.shape == (0, *network.shapes[block.stop])


def test_a_block_is_a_layer_with_its_activation():
    relu, tanh, dropout = Activation("relu"), Activation("tanh"), Dropout(0.5)
    layers = [tanh, relu, Conv2D(2, 2), relu, dropout, tanh, dropout, Flatten(), dropout, Dense(3)]
    blocks = [layers[block] for block in find_blocks(layers)]
    assert blocks == [
        [tanh],
        [relu],
        [Conv2D(2, 2), relu, dropout],
        [tanh, dropout],
        [Flatten(), dropout],
        [Dense(3)],
    ]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=repr)
def test_a_convolution_is_scipys_correlation(layer):
    network = make_network([layer, Flatten()])
    arrays = network.parameters.arrays[0]
    picture = np.random.default_rng(5).normal(size=SHAPE)
    found = layer.apply(arrays, picture[..., np.newaxis])[..., 0]
    (kernel_h, kernel_w), (down, across) = layer.kernel, layer.stride
    _, height, width = SHAPE
    if layer.padding == "same":
        missing = [
            max(0, (-(-size // step) - 1) * step + kernel - size)
            for size, step, kernel in ((height, down, kernel_h), (width, across, kernel_w))
        ]
        around = [(0, 0), *((m // 2, m - m // 2) for m in missing)]
        picture = np.pad(picture, around)
    for filter_, kernel in enumerate(arrays["weights"]):
        everywhere = correlate(picture, kernel, mode="valid")[0]
        expected = everywhere[::down, ::across]
        if layer.bias:
            expected = expected + arrays["biases"][filter_]
        np.testing.assert_allclose(found[filter_], expected, rtol=1e-10, atol=1e-12)


def test_pooling_worked_by_hand():
    picture = np.arange(12.0).reshape(1, 3, 4, 1)
    assert MaxPool2D(2).apply({}, picture)[0, ..., 0].tolist() == [[5, 7]]
    assert AveragePool2D(2).apply({}, picture)[0, ..., 0].tolist() == [[2.5, 4.5]]
    assert MaxPool2D(2, 1).apply({}, picture)[0, ..., 0].tolist() == [[5, 6, 7], [9, 10, 11]]
    assert GlobalAveragePool2D().apply({}, picture)[..., 0].tolist() == [5.5]


def test_the_first_of_equal_values_gets_the_gradient_of_a_maximum():
    none = np.empty(0)
    step = MaxPool2D(2).make_step(StepContext((1, 2, 2), none, none, 1, np.empty((1, 1, 1, 1))))
    step.input[:] = 3.0
    step.forward()
    assert step.output.item() == 3.0
    assert step.backward(np.full((1, 1, 1, 1), 7.0))[..., 0].tolist() == [[[7, 0], [0, 0]]]


def test_batch_normalization_keeps_the_mean_and_variance_of_the_rows():
    network = make_network([BatchNorm(momentum=0.5)], (2,))
    arrays = network.parameters.arrays[0]
    X = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])
    work = Workspace(network, 3, network.parameters.like())
    work.forward(X, np.empty((3, 3)))
    np.testing.assert_allclose(arrays["mean"], X.mean(axis=0) / 2)
    np.testing.assert_allclose(arrays["variance"], 0.5 + X.var(axis=0, ddof=1) / 2)
    normal = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 1e-5)
    expected = normal * arrays["scale"] + arrays["shift"]
    np.testing.assert_allclose(work._last.input, expected.T, rtol=1e-12)


def test_a_mini_batch_of_one_row_is_normalized_by_the_running_statistics():
    network = make_network([BatchNorm()], (2,))
    before = network.parameters.flat.copy()
    work, P = Workspace(network, 1, network.parameters.like()), np.empty((3, 1))
    X = np.array([[1.0, -2.0]])
    work.forward(X, P)
    np.testing.assert_array_equal(network.parameters.flat, before)
    np.testing.assert_allclose(P.T, network.outputs(X), rtol=1e-12)


EXAMPLES = [
    Dense(4, bias=False),
    Activation("gelu"),
    Conv2D(4, (1, 3), 2, "same"),
    MaxPool2D(2),
    AveragePool2D((1, 2), 3),
    GlobalAveragePool2D(),
    Flatten(),
    Dropout(0.25),
    BatchNorm(0.2, 1e-3),
    LayerNorm(),
    Residual(["relu", Residual([Dense(3), BatchNorm()])]),
    MaxPool2D((2, 3)),
    AveragePool2D((1, 2)),
    Residual([Dense(4), Dense(4)]),
    Residual(["relu", "relu"]),
    Ensemble([Dense(4), "relu", Dense(3)], 2, "softmax_cross_entropy"),
]


def test_there_is_an_example_of_every_kind():
    assert {layer.kind for layer in EXAMPLES} == set(LAYER_KINDS)


@pytest.mark.parametrize("layer", EXAMPLES, ids=repr)
def test_layers_are_values(layer):
    for copied in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        layer_from_spec(layer.to_spec()),
        eval(
            repr(layer), {name: kind for kind in LAYER_KINDS.values() for name in [kind.__name__]}
        ),
    ):
        assert copied == layer
        assert hash(copied) == hash(layer)
    assert layer != Dense(99)
    assert type(layer).__module__ == "quadnet.layers"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "Dense: units must be a whole number of at least 1. Got 0."),
        (lambda: Dense(2.0), "Dense: units must be a whole number of at least 1. Got 2.0."),
        (lambda: Dense(True), "Dense: units must be a whole number of at least 1. Got True."),
        (lambda: Dense(3, bias=1), "Dense: bias must be True or False. Got 1."),
        (lambda: Conv2D(4, (3, 3, 3)), "Conv2D: kernel must be a whole number of at least 1, or"),
        (lambda: Conv2D(4, "3"), "Conv2D: kernel must be"),
        (lambda: Conv2D(4, 3, stride=0), "Conv2D: stride must be"),
        (lambda: Conv2D(4, 3, padding="full"), "padding must be one of 'valid', 'same'. Got"),
        (lambda: MaxPool2D(None), "MaxPool2D: size must be"),
        (lambda: Dropout(1.0), "Dropout: rate must be a number from 0 to below 1. Got 1.0."),
        (lambda: Dropout("x"), "Dropout: rate must be a number from 0 to below 1. Got 'x'."),
        (lambda: BatchNorm(epsilon=0), "BatchNorm: epsilon must be a finite number above 0. Got 0"),
        (lambda: BatchNorm(float("nan")), "BatchNorm: momentum must be"),
        (lambda: LayerNorm(float("inf")), "LayerNorm: epsilon must be"),
        (lambda: Activation("swish"), "Activation: function must be one of 'identity'"),
        (lambda: Residual([]), "Residual: layers must have at least one layer"),
        (lambda: Residual(Dense(3)), r"Residual: layers must be a list of layers. Got Dense\(3\)."),
        (lambda: Residual("relu"), "Residual: layers must be a list of layers. Got 'relu'."),
        (lambda: Residual(["relu", "abc"]), r"Residual: layers\[1\] must be a layer"),
        (lambda: layer_from_spec({"kind": "gru"}), "layer is of the unknown kind 'gru'"),
        (lambda: layer_from_spec({"units": 3}), "layer is of the unknown kind None"),
        (lambda: layer_from_spec("dense"), "layer must be a mapping with a kind"),
        (
            lambda: layer_from_spec({"kind": "dense", "unit": 3}, name="layers[4]"),
            r"layers\[4\], of kind 'dense', has a wrong setting: .*unit",
        ),
        (
            lambda: layer_from_spec({"kind": "residual", "layers": [{"kind": "lstm"}]}),
            r"layer.layers\[0\] is of the unknown kind 'lstm'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_with_its_layer_and_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (
            [Activation("relu"), Dense(4)],
            (1, 3, 3),
            (
                r"layers\[1\], Dense\(4\), needs an input of shape \(n_inputs,\). Got "
                r"the shape \(1, 3, 3\). Put Flatten\(\) before it."
            ),
        ),
        ([Conv2D(4, 3)], (64,), r"layers\[0\], Conv2D.* needs an input of shape \(channels"),
        (
            [Conv2D(4, 3), MaxPool2D(2), Conv2D(4, 3)],
            (1, 6, 6),
            (
                r"layers\[2\], Conv2D\(.*\), needs a picture of at least 3 x 3 values. "
                r"Got the shape \(4, 2, 2\). Use a smaller window"
            ),
        ),
        ([MaxPool2D((1, 4))], (3, 2, 3), r"needs a picture of at least 1 x 4 values"),
        ([Flatten(), GlobalAveragePool2D()], (3, 2, 3), r"layers\[1\], GlobalAveragePool2D\(\)"),
        (
            [Residual([Conv2D(4, 3, padding="same")])],
            (3, 5, 5),
            (
                r"needs layers that keep the shape of their input; these make \(4, 5, 5\) of it. "
                r"Got the shape \(3, 5, 5\). Use padding='same'"
            ),
        ),
        (
            [Residual(["relu", Dense(4)])],
            (3, 5, 5),
            r"needs layers that fit each other: layers\[1\], Dense",
        ),
    ],
)
def test_a_stack_that_does_not_fit_is_refused_with_the_layer_and_the_shape(layers, shape, message):
    with pytest.raises(ValueError, match=message):
        Network([*layers, Dense(3)], shape, loss="softmax_cross_entropy")


PYTORCH = json.loads((ROOT / "tests/golden/pytorch/layers.json").read_text())["layers"]


@pytest.mark.parametrize("golden", PYTORCH, ids=lambda golden: json.dumps(golden["spec"]))
def test_outputs_and_gradients_are_those_of_pytorch(golden):
    """The values are made by tests/golden/make_pytorch.py."""
    layer = layer_from_spec(golden["spec"])
    x, y, D, expected = (
        np.moveaxis(np.array(golden[name]), 0, -1).copy()
        for name in ("input", "output", "output_gradient", "input_gradient")
    )
    shape, n_rows = x.shape[:-1], x.shape[-1]
    specs = layer.array_specs(shape)
    parameters = np.zeros(sum(prod(spec.shape) for spec in specs.values()))
    layer.initialize(
        split_arrays(specs, parameters), shape, INITIALIZERS["uniform"], RandomState(0)
    )
    values = np.concatenate([*golden["parameters"], []])
    parameters[: len(values)] = values
    gradient, output = np.zeros_like(parameters), np.empty_like(y)
    step = layer.make_step(StepContext(shape, parameters, gradient, n_rows, output))
    step.input[:] = x
    step.forward()
    np.testing.assert_allclose(output, y, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(step.backward(D), expected, rtol=1e-10, atol=1e-10)
    found = np.concatenate([*golden["parameter_gradients"], []])
    np.testing.assert_allclose(gradient[: len(values)], found, rtol=1e-10, atol=1e-10)
    statistics = np.concatenate([*golden["running_statistics"], []])
    np.testing.assert_allclose(parameters[len(values) :], statistics, rtol=1e-10)


def test_there_are_golden_values_of_every_kind_that_pytorch_has():
    kinds = {golden["spec"]["kind"] for golden in PYTORCH}
    assert kinds == set(LAYER_KINDS) - {"dense", "dropout", "ensemble"}


def test_a_kind_of_ones_own_must_have_a_name_of_its_own():
    """Otherwise a stored network would silently load with the base class."""
    with pytest.raises(TypeError, match=r"Wider must have a kind of its own.*'dense'"):

        class Wider(Dense):
            pass


def test_pictures_may_be_rows_and_other_shapes_are_refused():
    network = make_network([Conv2D(2, 2), Flatten()], (1, 3, 3))
    pictures = np.random.default_rng(0).normal(size=(4, 3, 3))
    rows = network.logits(pictures.reshape(4, 9))
    for X in (pictures, pictures[:, np.newaxis]):
        np.testing.assert_array_equal(network.logits(X), rows)
    for X in (np.zeros((4, 3)), np.zeros((4, 18)), np.zeros(9), np.zeros((2, 2, 9))):
        with pytest.raises(ValueError, match="expected rows of 9 values, got"):
            network.logits(X)


def test_sparse_rows_are_predicted_in_blocks():
    network = make_network([Dropout(0.1)], (2000,))
    X = random(20_000, 2000, density=0.001, format="csr", random_state=0)
    tracemalloc.start()
    logits = network.logits(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    np.testing.assert_allclose(logits[:9], network.logits(X[:9].toarray()), rtol=1e-9, atol=1e-12)
