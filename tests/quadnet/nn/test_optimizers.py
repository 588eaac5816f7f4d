"""Optimizers against two steps worked by hand and against scikit-learn's."""

import pickle

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from quadnet.nn.optimizers import SGD, Adam


def take_step(optimizer, theta):
    rate = optimizer.learning_rate
    (size,) = np.broadcast_to(optimizer.step_sizes(rate, 1), 1).tolist()
    optimizer.step(theta, rate, size)
    optimizer.count_steps(1)


def two_steps(optimizer_class, **options):
    theta = np.array([1.0, -2.0])
    optimizer = optimizer_class(theta, **options)
    for gradient in ([0.5, 1.0], [-1.0, 1.0]):
        optimizer.gradient[:] = gradient
        take_step(optimizer, theta)
    return theta


def test_plain_descent_by_hand():
    theta = two_steps(SGD, learning_rate=0.1, momentum=0.0)
    np.testing.assert_allclose(theta, [1 - 0.05 + 0.1, -2 - 0.1 - 0.1])


def test_classical_momentum_by_hand():
    # v1 = -0.1 g1; v2 = 0.5 v1 - 0.1 g2; theta = start + v1 + v2
    theta = two_steps(SGD, learning_rate=0.1, momentum=0.5, nesterov=False)
    np.testing.assert_allclose(theta, [1 - 0.05 + (-0.025 + 0.1), -2 - 0.1 + (-0.05 - 0.1)])


def test_nesterov_momentum_by_hand():
    # Each step moves by 0.5 v - 0.1 g, with v1 and v2 as in classical momentum.
    theta = two_steps(SGD, learning_rate=0.1, momentum=0.5, nesterov=True)
    first = [0.5 * -0.05 - 0.05, 0.5 * -0.1 - 0.1]
    second = [0.5 * 0.075 + 0.1, 0.5 * -0.15 - 0.1]
    np.testing.assert_allclose(theta, np.add([1, -2], np.add(first, second)))


@pytest.mark.parametrize("n", [1, 30, 20_001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda theta: Adam(theta, learning_rate=0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-6),
            lambda theta: AdamOptimizer([theta], 0.01, 0.8, 0.95, 1e-6),
        ),
        (
            lambda theta: SGD(theta, learning_rate=0.01, momentum=0.7, nesterov=True),
            lambda theta: SGDOptimizer([theta], 0.01, momentum=0.7, nesterov=True),
        ),
    ],
    ids=["adam", "nesterov"],
)
def test_twenty_steps_equal_scikit_learns(ours, theirs, dtype, n):
    gradients = np.random.default_rng(0).normal(size=(20, n)).astype(dtype)
    theta, expected = np.ones(n, dtype), np.ones(n, dtype)
    optimizer, oracle = ours(theta), theirs(expected)
    for gradient in gradients:
        optimizer.gradient[:] = gradient
        take_step(optimizer, theta)
        oracle.update_params([expected], [gradient])
    assert theta.dtype == dtype
    np.testing.assert_allclose(theta, expected, rtol=1e-12 if dtype == np.float64 else 1e-4)


def test_adamw_shrinks_what_decays_by_the_rate_and_leaves_the_moments_alone():
    decay = np.array([0.5, 0.0])
    theta, plain = np.array([2.0, -2.0]), np.array([2.0, -2.0])
    adamw = Adam(theta, learning_rate=0.1, decay=decay)
    adam = Adam(plain, learning_rate=0.1)
    for gradient in ([0.5, 1.0], [-1.0, 1.0]):
        for optimizer, parameters in ((adamw, theta), (adam, plain)):
            optimizer.gradient[:] = gradient
            before = parameters.copy()
            take_step(optimizer, parameters)
            if optimizer is adam:
                step = parameters - before
            else:
                shrunk = before * (1 - 0.1 * decay)
                step_after_decay = parameters - shrunk
        np.testing.assert_allclose(step_after_decay, step, rtol=1e-12)


@pytest.mark.parametrize(
    "make", [lambda t: SGD(t, learning_rate=0.1), lambda t: Adam(t, learning_rate=0.1)]
)
def test_a_pickled_optimizer_goes_on_where_it_was(make):
    gradients = np.random.default_rng(0).normal(size=(6, 20))
    theta, expected = np.ones(20), np.ones(20)
    through, kept = make(theta), make(expected)
    for i, gradient in enumerate(gradients):
        if i == 3:
            through = pickle.loads(pickle.dumps(through))
        for optimizer, parameters in ((through, theta), (kept, expected)):
            optimizer.gradient[:] = gradient
            take_step(optimizer, parameters)
    np.testing.assert_array_equal(theta, expected)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda theta: SGD(theta, learning_rate=0.1),
        lambda theta: SGD(theta, learning_rate=0.1, nesterov=False),
        lambda theta: SGD(theta, learning_rate=0.1, momentum=0.0),
        lambda theta: Adam(theta, learning_rate=0.1),
    ],
)
def test_a_successor_leaves_its_predecessors_moments_as_they_are(make, steps):
    def step(optimizer, theta, times):
        rng = np.random.default_rng(1)
        for _ in range(times):
            optimizer.gradient[:] = rng.normal(size=5)
            take_step(optimizer, theta)

    theta, alone = np.ones(5), np.ones(5)
    first, plain = make(theta), make(alone)
    step(first, theta, 2)
    step(plain, alone, 2)
    before, updates = first.moments.copy(), vars(first).get("_t")
    step(first.successor(), np.ones(5), steps)  # given up, as after an error
    np.testing.assert_array_equal(first.moments, before)
    assert vars(first).get("_t") == updates
    second = first.successor()
    step(second, theta, steps)
    third = second.successor()
    step(third, theta, 2)
    step(plain, alone, steps)
    step(plain, alone, 2)
    np.testing.assert_array_equal(theta, alone)
    np.testing.assert_array_equal(third.moments, plain.moments)
