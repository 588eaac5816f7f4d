"""The network against hand arithmetic and central differences."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import exp

import numpy as np
import pytest
from numpy.random import RandomState
from scipy.sparse import csr_array

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.backpropagation import Workspace
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.network import Network


def random_network(layer_sizes, activation, loss, **options):
    network = Network.dense(
        layer_sizes, activations=[activation] * (len(layer_sizes) - 2), loss=loss, **options
    )
    network.initialize(INITIALIZERS["glorot_uniform"], RandomState(3))
    return network


def backpropagate(network, X, Y, gradient, weights=None, *, sparse=False, rng=None):
    """Write the gradient of the mean loss; return that loss."""
    X, Y = np.asarray(X), np.asarray(Y)
    weights = np.ones(len(X)) if weights is None else weights
    X = csr_array(X) if sparse else X
    work, P = Workspace(network, len(Y), gradient, rng=rng), np.empty((Y.shape[1], len(Y)))
    work.forward(X, P)
    loss = np.average(network.loss.values(P, Y.T), weights=weights)
    work.backward(P, np.ascontiguousarray(Y.T), weights / weights.sum())
    return loss


def assert_is_gradient(gradient, theta, value, h=1e-6):
    """Compare with central differences of value(), which depends on theta."""
    for i in range(len(theta)):
        start = theta[i]
        theta[i] = start + h
        above = value()
        theta[i] = start - h
        below = value()
        theta[i] = start
        assert gradient[i] == pytest.approx((above - below) / (2 * h), rel=1e-4, abs=1e-8)


def test_a_2_4_network_worked_by_hand():
    network = Network.dense([2, 4], activations=[], loss="sigmoid_squared_error")
    parameters = network.parameters
    parameters.weights[0][:] = [[1.0, 0.0, -1.0, 2.0], [0.0, 1.0, 1.0, -2.0]]
    parameters.biases[0][:] = [0.0, 0.5, 0.0, -1.0]
    # x = (0.5, -0.5): z = (0.5, 0, -1, 1)
    outputs = [1 / (1 + exp(-z)) for z in (0.5, 0.0, -1.0, 1.0)]
    np.testing.assert_allclose(network.outputs(np.array([[0.5, -0.5]])), [outputs], rtol=1e-14)

    gradient = parameters.like()
    loss = backpropagate(network, [[0.5, -0.5]], [[0.0, 0.0, 0.0, 1.0]], gradient)
    errors = [o - t for o, t in zip(outputs, (0, 0, 0, 1), strict=True)]
    deltas = [e * o * (1 - o) for e, o in zip(errors, outputs, strict=True)]
    assert loss == pytest.approx(sum(e * e for e in errors) / 2, rel=1e-14)
    np.testing.assert_allclose(
        gradient.weights[0], [[0.5 * d for d in deltas], [-0.5 * d for d in deltas]], rtol=1e-12
    )
    np.testing.assert_allclose(gradient.biases[0], deltas, rtol=1e-12)


HIDDEN, BIAS, WEIGHTED = [(), (5,), (5, 3)], [True, False], [False, True]
DENSE = product(ACTIVATIONS, LOSSES, HIDDEN, BIAS, WEIGHTED, [False])
SPARSE = product(["relu"], LOSSES, HIDDEN, BIAS, WEIGHTED, [True])


@pytest.mark.parametrize(
    ("activation", "loss", "hidden", "bias", "weighted", "sparse"), [*DENSE, *SPARSE]
)
def test_the_gradient_equals_central_differences(activation, loss, hidden, bias, weighted, sparse):
    network = random_network([3, *hidden, 4], activation, loss, bias=bias)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 3))
    if network.loss.multilabel:
        Y = rng.integers(2, size=(6, 4)).astype(float)
    else:
        Y = np.eye(4)[rng.integers(4, size=6)]
    weights = rng.uniform(0.5, 2, 6) if weighted else np.ones(6)
    gradient = network.parameters.like()
    backpropagate(network, X, Y, gradient, weights, sparse=sparse)

    def value():
        return np.average(network.loss.values(network.outputs(X).T, Y.T), weights=weights)

    assert_is_gradient(gradient.flat, network.parameters.flat, value)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_under_dropout_is_that_of_the_thinned_network(activation):
    network = random_network([3, 8, 8, 4], activation, "softmax_cross_entropy", dropout=0.4)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(6, 3)), np.eye(4)[rng.integers(4, size=6)]
    gradient = network.parameters.like()

    def loss():
        # The same seed silences the same units.
        return backpropagate(network, X, Y, gradient, rng=np.random.default_rng(7))

    loss()
    assert_is_gradient(gradient.flat.copy(), network.parameters.flat, loss)


def test_without_biases_the_flat_vector_holds_weights_only():
    parameters = random_network([2, 6, 4], "relu", "softmax_cross_entropy", bias=False).parameters
    assert parameters.flat.shape == (2 * 6 + 6 * 4,)
    assert [b.tolist() for b in parameters.biases] == [[0] * 6, [0] * 4]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
@pytest.mark.parametrize("bias", [True, False])
def test_views_still_alias_the_flat_vector_after_copying(clone, bias):
    network = random_network([2, 3, 4], "relu", "softmax_cross_entropy", bias=bias)
    parameters = network.parameters
    parameters.flat[:] = np.arange(len(parameters.flat))
    copied = clone(network).parameters
    np.testing.assert_array_equal(copied.weights[1], parameters.weights[1])
    copied.flat[:] = -1
    assert (copied.weights[0] == -1).all()
    assert (copied.biases[1] == (-1 if bias else 0)).all()
    assert (parameters.weights[0] >= 0).all()


def test_threads_share_one_network_and_get_what_one_thread_gets():
    network = random_network([2, 16, 4], "tanh", "softmax_cross_entropy")
    batches = [np.random.default_rng(i).normal(size=(500, 2)) for i in range(40)]
    expected = [network.probabilities(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for answer, right in zip(
            pool.map(network.probabilities, batches * 5), expected * 5, strict=True
        ):
            np.testing.assert_array_equal(answer, right)


@pytest.mark.parametrize(("name", "low", "high"), [("uniform", -1, 1), ("uniform01", 0, 1)])
def test_the_articles_initial_weights(name, low, high):
    W, b = INITIALIZERS[name](RandomState(0), 100, 100)
    assert W.shape == (100, 100)
    assert low <= W.min() < low + 0.01
    assert high - 0.01 < W.max() < high
    assert W.mean() == pytest.approx((low + high) / 2, abs=0.02)
    assert (b == 0).all()
