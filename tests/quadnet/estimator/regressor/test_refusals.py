"""Parameters and arrays that the regressor refuses, and its messages."""

import datetime as dt
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError

from quadnet import NeuralNetworkRegressor, Predictor
from quadnet.registry.registry import Registry
from tests.support.oracle import fit

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:60] * 20, Y[:60] / 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "log_loss"}, "The 'loss' parameter .* a str among {'absolute_error', 'huber', "),
        (
            {"huber_delta": 0},
            r"'huber_delta' parameter .* a float in the range \(0.0, inf\). Got 0",
        ),
        ({"quantiles": "0.5"}, "'quantiles' parameter .* a sequence of numbers or None. Got '0.5'"),
        ({"quantiles": 0.5}, "'quantiles' parameter .* a sequence of numbers or None. Got 0.5"),
        ({"quantiles": [0.5, "a"]}, "'quantiles' parameter .* a sequence of numbers or None"),
        ({"quantiles": [0.5]}, "None with loss='squared_error'; set loss='quantile'. Got"),
        ({"scale_target": 1}, "'scale_target' parameter .* an instance of 'bool'. Got 1"),
        ({"scale_target": True, "loss": "poisson"}, "False with loss='poisson', whose outputs are"),
        ({"scale_target": True, "fit_intercept": False}, "False without intercepts, which hold"),
        ({"calibration_fraction": 1.0}, r"a float in the range \[0.0, 1.0\). Got 1.0 instead"),
        ({"scoring": "accurate"}, "'r2', 'loss', a name from sklearn.metrics"),
    ],
)
def test_a_wrong_parameter_is_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(NeuralNetworkRegressor(**options, early_stopping=True), X, Y)


@pytest.mark.parametrize(
    "quantiles", [[], [0.0], [0.5, 1.0], [0.5, 0.5], [0.9, 0.1], [-0.1], [float("nan")], (2,)]
)
def test_quantiles_increase_between_0_and_1(quantiles):
    net = NeuralNetworkRegressor("quantile", quantiles=quantiles)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="numbers between 0 and 1, each above the one before"):
            train(X, Y)
    array = NeuralNetworkRegressor("quantile", quantiles=np.array([0.2, 0.4]), max_iter=1)
    assert fit(array, X, Y).n_outputs_ == 2


def replace_first(value, dtype=float):
    y = Y.astype(dtype)
    y[0] = value
    return y


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (replace_first(np.nan), "Input y contains NaN"),
        (replace_first(np.inf), "Input y contains infinity"),
        (replace_first(None, object), "Input y contains NaN|y must be finite. Got nan in row 0"),
        (Y[:-1], r"inconsistent numbers of samples: \[60, 59\]"),
        (np.array(["a", "b"] * 30), "y must hold numbers. Got values of type <U1.* 'a'. For class"),
        (np.array(["a", "b"] * 30, object), "y must hold numbers. Got values of type object.*'a'"),
        (Y * 1j, "Complex data not supported"),
        (np.full(60, np.datetime64("2026-01-01")), "y must hold numbers"),
        (np.full(60, dt.date(2026, 1, 1)), "y must hold numbers"),
        (csr_array(np.c_[Y, Y]), "y must be a dense array of numbers. Got a sparse one"),
        (np.zeros((60, 2, 2)), r"Found array with dim 3"),
        (np.zeros((60, 0)), r"0 feature\(s\)"),
        (None, "requires y to be passed, but the target y is None"),
    ],
)
def test_a_wrong_y_is_described(y, message):
    net = NeuralNetworkRegressor(max_iter=2)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=message):
            train(X, y)
    assert not net.__sklearn_is_fitted__()


def test_counts_are_not_negative_and_not_all_0():
    net = NeuralNetworkRegressor("poisson", max_iter=2)
    y = np.arange(60.0)
    y[7] = -1.5
    for train in (net.fit, net.partial_fit):
        with pytest.raises(
            ValueError, match=r"y must not be negative with loss='poisson'.*-1.5 in row 7"
        ):
            train(X, y)
    for zeros in (np.zeros(60), np.c_[np.arange(60), np.zeros(60)]):
        with pytest.raises(ValueError, match="y must not be all 0 with loss='poisson'"):
            net.fit(X, zeros)
    # A mini-batch of later counts may have zeros alone.
    net.partial_fit(X, np.zeros(60))
    with pytest.raises(ValueError, match="y_val: y must not be negative"):
        fit(net, X, np.abs(y), X_val=X, y_val=y)


def test_float32_cannot_hold_every_number():
    with pytest.raises(ValueError, match=r"y must be finite, also as float32. Got 1e"):
        fit(NeuralNetworkRegressor(), X.astype(np.float32), np.full(60, 1e100))


@pytest.mark.parametrize("continuing", ["fit", "partial_fit"])
def test_later_rows_have_the_same_columns(continuing):
    net = NeuralNetworkRegressor(max_iter=2, warm_start=True)
    before = fit(net, X, Y).predict(X)
    with pytest.raises(ValueError, match="y must have one number for each row, as in the previous"):
        getattr(net, continuing)(X, np.c_[Y, Y])
    np.testing.assert_array_equal(net.predict(X), before)
    fit(net.set_params(warm_start=False), X, np.c_[Y, Y])
    with pytest.raises(ValueError, match="y must have 2 columns of numbers, as in the previous"):
        getattr(net.set_params(warm_start=True), continuing)(X, np.c_[Y, Y, Y])


def test_held_out_numbers_are_checked():
    net = NeuralNetworkRegressor(max_iter=2)
    for y_val, message in (
        (Y[:3], r"inconsistent numbers of samples: \[60, 3\]"),
        (replace_first(np.nan), "y_val: y must be finite. Got nan in row 0"),
        (["a"] * 60, "y_val: y must hold numbers"),
        (np.c_[Y, Y], "y_val: y should be a 1d array"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(net, X, Y, X_val=X, y_val=y_val)
    with pytest.raises(
        ValueError, match=r"y_val: y must have 2 columns of numbers. Got .* \(60,\)"
    ):
        fit(net, X, np.c_[Y, Y], X_val=X, y_val=Y)


@pytest.mark.parametrize("weights", [-np.ones(60), np.zeros(60), np.ones(5), replace_first(np.nan)])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match="sample_weight must"):
        fit(NeuralNetworkRegressor(), X, Y, sample_weight=weights)


def test_divergence_is_an_error_that_names_the_remedies():
    net = NeuralNetworkRegressor(solver="sgd", learning_rate_init=1e200, activation="identity")
    with pytest.raises(ValueError, match=r"diverged.*Lower learning_rate_init.*set scale_target"):
        fit(net, X, Y)


def test_predicting_before_fitting_is_an_error():
    for method in ("predict", "predict_quantiles", "predict_interval"):
        with pytest.raises(NotFittedError):
            getattr(NeuralNetworkRegressor(), method)(X)


@pytest.mark.parametrize("solver", ["lbfgs", "adamw"])
def test_partial_fit_exists_for_solvers_of_mini_batches(solver):
    assert hasattr(NeuralNetworkRegressor(solver=solver), "partial_fit") == (solver != "lbfgs")
    assert not hasattr(NeuralNetworkRegressor(early_stopping=True), "partial_fit")


def test_a_regressor_is_published_as_its_predictor_only(tmp_path: Path):
    net = fit(NeuralNetworkRegressor(max_iter=2), X, Y)
    with pytest.raises(TypeError, match=r"needs a network that predicts classes.*'squared_error'"):
        Predictor(net._network, ["y"])
    with pytest.raises(TypeError, match=r"Got NeuralNetworkRegressor"):
        Registry(tmp_path).publish("m", net, None, X)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("unit", [1e3, 1e-4])
def test_a_y_that_is_not_scaled_is_warned_of(unit):
    y = unit * (Y + 1)
    with warnings.catch_warnings(record=True, action="always") as caught:
        NeuralNetworkRegressor(random_state=0).fit(X, y)
    sentence = next(str(w.message) for w in caught if "scale_target" in str(w.message))
    assert sentence.endswith("Set scale_target=True.")
    assert f"root mean square of a column is {np.sqrt((y**2).mean()):.3g}" in sentence
    scaled = NeuralNetworkRegressor(random_state=0, scale_target=True, max_iter=3000, alpha=1.0)
    assert fit(scaled, X, y).score(X, y) > 0.5


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile", "huber"])
def test_a_good_fit_of_large_numbers_warns_of_nothing(loss):
    net = NeuralNetworkRegressor(loss, solver="lbfgs", hidden_layer_sizes=(4,), max_iter=20000)
    net.set_params(tol=1e-2, max_fun=10**6)
    net.fit(X, 300 * X[:, 2])
    assert net.score(X, 300 * X[:, 2]) > 0.7
