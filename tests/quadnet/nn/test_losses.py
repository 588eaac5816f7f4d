"""Links and losses against SciPy and scikit-learn, and their deltas against differences.

One example is a column here, as it is in quadnet.nn.losses.
"""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import log_loss

from quadnet.nn.losses.of_classes import LOSSES

Z = np.random.default_rng(0).normal(0, 3, (4, 7))
Y = np.eye(4)[[0, 1, 2, 3, 0, 2, 1]].T
ONE_CLASS = [name for name in LOSSES if not LOSSES[name].multilabel]


def outputs(loss, Z):
    P = np.array(Z, dtype=float)
    loss.link(P)
    return P


@pytest.mark.parametrize("name", LOSSES)
def test_delta_is_the_gradient_with_respect_to_the_logits(name):
    loss = LOSSES[name]()
    P = outputs(loss, Z)
    delta = np.empty_like(P)
    loss.delta(P, Y, delta)
    h = 1e-6
    for index in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[index] = h
        above = loss.values(outputs(loss, Z + step), Y).sum()
        below = loss.values(outputs(loss, Z - step), Y).sum()
        assert delta[index] == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_scratch_changes_nothing(name):
    loss = LOSSES[name]()
    P, with_row = outputs(loss, Z), Z.copy()
    loss.link(with_row, np.empty(7))
    np.testing.assert_array_equal(with_row, P)
    delta, with_scratch = np.empty_like(P), np.empty_like(P)
    loss.delta(P, Y, delta)
    loss.delta(P, Y, with_scratch, np.empty_like(P))
    np.testing.assert_array_equal(with_scratch, delta)


def test_softmax_cross_entropy_is_scikit_learns_log_loss():
    loss = LOSSES["softmax_cross_entropy"]()
    P = outputs(loss, Z)
    np.testing.assert_allclose(P, softmax(Z, axis=0), rtol=1e-12)
    expected = log_loss(Y.argmax(axis=0), P.T, normalize=False)
    assert loss.values(P, Y).sum() == pytest.approx(expected, rel=1e-12)


def test_sigmoid_cross_entropy_is_scikit_learns_log_loss():
    loss = LOSSES["sigmoid_cross_entropy"]()
    P = outputs(loss, Z[:1])
    np.testing.assert_allclose(P, expit(Z[:1]), rtol=1e-12)
    expected = log_loss(Y[0], P[0], normalize=False)
    assert loss.values(P, Y[:1]).sum() == pytest.approx(expected, rel=1e-12)


def test_squared_error_is_half_the_squared_distance_a_row():
    P = np.array([[0.9, 0.5], [0.1, 0.5]])
    values = LOSSES["sigmoid_squared_error"]().values(P, np.array([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(values, [0.5 * (0.01 + 0.01), 0.5 * (0.25 + 0.25)], rtol=1e-12)


def test_losses_of_several_batches_at_once_are_those_of_each():
    P = np.random.default_rng(1).uniform(0.1, 0.9, (3, 4, 7))
    for name in LOSSES:
        loss = LOSSES[name]()
        together = loss.values(P, np.stack([Y] * 3))
        np.testing.assert_allclose(together, [loss.values(batch.copy(), Y) for batch in P])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sigmoids_small_probabilities_are_exact(dtype):
    z = np.array([[-1e30, -80.0, -44.0, 44.0, 1e30]], dtype)
    P = z.copy()
    LOSSES["sigmoid_cross_entropy"]().link(P)
    np.testing.assert_allclose(P, expit(z), rtol=1e-5, atol=1e-38)


@pytest.mark.parametrize("name", ONE_CLASS)
def test_probabilities_sum_to_one_however_far_the_logits(name):
    loss = LOSSES[name]()
    P = loss.probabilities(np.array([[1e4, -1e4, 0.3], [-1e4, -1e4, 0.2], [0.0, -1e4, 0.1]]))
    assert (P >= 0).all()
    np.testing.assert_allclose(P.sum(axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "sigmoid_squared_error"])
def test_one_output_stands_for_two_classes(name):
    P = LOSSES[name]().probabilities(np.array([[0.0, np.log(3.0), 500.0]]))
    np.testing.assert_allclose(P, [[0.5, 0.25, np.exp(-500.0)], [0.5, 0.75, 1.0]])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_log_probabilities_are_their_logarithms_and_finite_far_out(name, n_outputs):
    loss = LOSSES[name]()
    logits = Z[:n_outputs]
    P = loss.probabilities(logits.copy())
    np.testing.assert_allclose(loss.log_probabilities(logits.copy()), np.log(P), atol=1e-12)
    assert np.isfinite(loss.log_probabilities(1e5 * logits)).all()


def test_softmaxs_log_probabilities_are_scipys_far_out_too():
    loss = LOSSES["softmax_cross_entropy"]()
    far = 1e5 * Z
    np.testing.assert_allclose(loss.log_probabilities(far.copy()), log_softmax(far, axis=0))


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_a_certain_and_wrong_answer_costs_much_but_not_infinity(name):
    values = LOSSES[name]().values(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]))
    assert 30 < values[0] < np.inf
