"""`partial_fit` of the regressor with early stopping on given rows."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from quadnet import NeuralNetworkRegressor
from tests.support.oracle import fit

X, Y = load_diabetes(return_X_y=True)
TRAIN, HELD = slice(0, None, 2), slice(1, None, 2)
ROWS = {"X_val": X[HELD], "y_val": Y[HELD]}


def new(**options):
    return NeuralNetworkRegressor(
        hidden_layer_sizes=(6,), scale=True, scale_target=True, shuffle=False, random_state=0,
        learning_rate_init=0.05, n_iter_no_change=4, **options,
    )  # fmt: skip


def train(net):
    while not hasattr(net, "stop_reason_") or net.stop_reason_ == "partial_fit":
        net.partial_fit(X[TRAIN], Y[TRAIN], **ROWS)
    return net


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
@pytest.mark.parametrize("scoring", ["r2", "loss"])
def test_calls_stop_where_a_fit_stops_with_its_best_weights(loss, scoring):
    parts = train(new(loss=loss, scoring=scoring))
    whole = fit(
        new(loss=loss, scoring=scoring, early_stopping=True, max_iter=500),
        X[TRAIN],
        Y[TRAIN],
        **ROWS,
    )
    assert parts.stop_reason_ == whole.stop_reason_ == "no_improvement"
    # Each call multiplies the last layer by the deviation of y, and divides it again.
    assert parts.validation_scores_ == pytest.approx(whole.validation_scores_, rel=1e-7)
    assert parts.best_iteration_ == whole.best_iteration_
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), rtol=1e-7)
    if scoring == "r2":
        assert parts.score(X[HELD], Y[HELD]) == pytest.approx(max(parts.validation_scores_))


def test_a_copy_between_two_calls_has_the_best_weights():
    net = new()
    for _ in range(8):
        net.partial_fit(X[TRAIN], Y[TRAIN], **ROWS)
    stored = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(train(copy.deepcopy(net)).coefs_[0], train(stored).coefs_[0])
