"""Links and losses against SciPy and scikit-learn, and their deltas against differences."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from quadnet.losses import LOSSES

Z = np.random.default_rng(0).normal(0, 3, (7, 4))
Y = np.eye(4)[[0, 1, 2, 3, 0, 2, 1]]


@pytest.mark.parametrize("name", LOSSES)
def test_delta_is_the_gradient_with_respect_to_the_logits(name):
    loss = LOSSES[name]()

    def value(Z):
        P = Z.copy()
        loss.link(P)
        return loss.value(P, Y)

    P = Z.copy()
    loss.link(P)
    delta = np.empty_like(P)
    loss.delta(P, Y, delta)
    h = 1e-6
    for index in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[index] = h
        # The value is a mean over rows, the delta each row's own.
        numeric = len(Z) * (value(Z + step) - value(Z - step)) / (2 * h)
        assert delta[index] == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_softmax_cross_entropy_is_scikit_learns_log_loss():
    loss = LOSSES["softmax_cross_entropy"]()
    P = Z.copy()
    loss.link(P)
    np.testing.assert_allclose(P, softmax(Z, axis=1), rtol=1e-12)
    assert loss.value(P, Y) == pytest.approx(log_loss(Y.argmax(axis=1), P), rel=1e-12)


def test_sigmoid_cross_entropy_is_scikit_learns_log_loss():
    loss = LOSSES["sigmoid_cross_entropy"]()
    P = Z[:, :1].copy()
    loss.link(P)
    np.testing.assert_allclose(P, expit(Z[:, :1]), rtol=1e-12)
    assert loss.value(P, Y[:, :1]) == pytest.approx(log_loss(Y[:, 0], P[:, 0]), rel=1e-12)


def test_squared_error_is_half_the_squared_distance_a_row():
    P = np.array([[0.9, 0.1], [0.5, 0.5]])
    target = np.array([[1.0, 0.0], [0.0, 1.0]])
    value = LOSSES["sigmoid_squared_error"]().value(P, target)
    assert value == pytest.approx(0.5 * (0.01 + 0.01 + 0.25 + 0.25) / 2, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_probabilities_sum_to_one_however_far_the_logits(name):
    loss = LOSSES[name]()
    P = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [0.3, 0.2, 0.1]])
    loss.link(P)
    P = loss.probabilities(P)
    assert (P >= 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "sigmoid_squared_error"])
def test_one_output_gives_two_columns(name):
    P = LOSSES[name]().probabilities(np.array([[0.2], [0.9]]))
    np.testing.assert_allclose(P, [[0.8, 0.2], [0.1, 0.9]])


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_a_certain_and_wrong_answer_costs_much_but_not_infinity(name):
    value = LOSSES[name]().value(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    assert 30 < value < np.inf
