"""Prediction intervals: their promise on new rows, crepes' numbers, and what they refuse."""

import pickle

import numpy as np
import pytest
from crepes import ConformalRegressor
from sklearn.datasets import make_friedman1

from quadnet import NeuralNetworkRegressor
from tests.support.oracle import fit


def noisy_rows(seed, n=1400):
    """Return rows whose noise grows with their first column."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 3))
    y = 50 + 20 * np.sin(2 * X[:, 1]) + (6 + 5 * X[:, 0]) * rng.standard_t(4, n)
    return X, y


def make(loss="squared_error", **options):
    options = {"solver": "lbfgs", "max_iter": 60, "hidden_layer_sizes": (8,)} | options
    return NeuralNetworkRegressor(loss, activation="tanh", scale_target=True, **options)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
@pytest.mark.parametrize(
    ("loss", "quantiles"), [("squared_error", None), ("quantile", [0.05, 0.5, 0.95])]
)
def test_intervals_cover_what_they_promise(loss, quantiles, coverage):
    shares = []
    for seed in range(20):
        X, y = noisy_rows(seed)
        net = make(loss, quantiles=quantiles, calibration_fraction=0.5, random_state=seed)
        lower, upper = fit(net, X[:400], y[:400]).predict_interval(X[400:], coverage)
        shares.append(((lower <= y[400:]) & (y[400:] <= upper)).mean())
    assert np.mean(shares) == pytest.approx(coverage, abs=0.02)


def test_intervals_of_rows_trained_on_would_not_keep_the_promise():
    # The test above can fail: residuals of the rows that a wide network has learned are too small.
    X, y = noisy_rows(0)
    net = make(hidden_layer_sizes=(60,), max_iter=2000, alpha=0.0, random_state=0)
    lower, upper = fit(net, X[:150], y[:150], X_cal=X[:150], y_cal=y[:150]).predict_interval(
        X[400:], 0.9
    )
    assert ((lower <= y[400:]) & (y[400:] <= upper)).mean() < 0.8


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.99])
# With 99 rows crepes takes rank 91 for 0.9, because 1 - 0.9 rounds down: other tests have 99 rows.
@pytest.mark.parametrize("n_rows", [100, 150, 182, 198])
def test_intervals_are_those_of_crepes(coverage, n_rows):
    X, y = noisy_rows(1)
    held = slice(200, 200 + n_rows)
    net = fit(make(random_state=0), X[:200], y[:200], X_cal=X[held], y_cal=y[held])
    oracle = ConformalRegressor().fit(residuals=y[held] - net.predict(X[held]))
    predicted = net.predict(X[600:])
    expected = oracle.predict_int(predicted, confidence=coverage)
    np.testing.assert_allclose(
        np.stack(net.predict_interval(X[600:], coverage), axis=1), expected, rtol=1e-9
    )


def test_conformalised_quantiles_by_hand():
    X, y = noisy_rows(2)
    net = make("quantile", quantiles=[0.02, 0.1, 0.5, 0.9, 0.98], random_state=0)
    fit(net, X[:300], y[:300], X_cal=X[300:400], y_cal=y[300:400])
    # 0.1 and 0.9 are nearer to 0.075 and 0.925 than 0.02 and 0.98.
    at = net.predict_quantiles(X[300:400])
    scores = np.sort(np.maximum(at[:, 1] - y[300:400], y[300:400] - at[:, 3]))
    margin = scores[int(np.ceil(101 * 0.85)) - 1]
    lower, upper = net.predict_interval(X[500:], 0.85)
    new = net.predict_quantiles(X[500:])
    np.testing.assert_allclose(lower, new[:, 1] - margin)
    np.testing.assert_allclose(upper, new[:, 3] + margin)
    assert np.ptp(upper - lower) > 1  # their width varies with the row


def test_each_column_has_its_own_margin():
    X, y = noisy_rows(3)
    both = np.c_[y, -100 * y]
    net = fit(make(random_state=0), X[:300], both[:300], X_cal=X[300:400], y_cal=both[300:400])
    lower, upper = net.predict_interval(X[400:])
    assert lower.shape == upper.shape == (1000, 2)
    residuals = np.abs(both[300:400] - net.predict(X[300:400]))
    expected = np.sort(residuals, axis=0)[int(np.ceil(101 * 0.9)) - 1]
    np.testing.assert_allclose(upper - lower, np.broadcast_to(2 * expected, (1000, 2)))


def test_a_weight_counts_as_copies_of_a_row():
    X, y = noisy_rows(4)
    held = np.arange(300, 400)
    copies = np.random.default_rng(0).integers(0, 4, 100)
    weighted, copied = make(random_state=0), make(random_state=0)
    fit(weighted, X[:300], y[:300], X_cal=X[held], y_cal=y[held], sample_weight_cal=copies)
    again = np.repeat(held, copies)
    fit(copied, X[:300], y[:300], X_cal=X[again], y_cal=y[again])
    for ours, theirs in zip(weighted.predict_interval(X), copied.predict_interval(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_rows_set_aside_are_not_trained_on():
    X, y = noisy_rows(5)
    aside = fit(make(calibration_fraction=0.25, random_state=3), X[:400], y[:400])
    assert len(aside._calibration["residuals"]) == 100
    assert aside.t_ == 300 * aside.n_iter_
    # Nothing is drawn without them: the same seed is scikit-learn's.
    weighted = np.arange(400) % 2 * 1.0
    net = make(calibration_fraction=0.25, early_stopping=True, solver="adam", random_state=3)
    fit(net, X[:400], y[:400], sample_weight=weighted)
    assert net.t_ == 270 * net.n_iter_
    lower, upper = net.predict_interval(X[:5])
    assert (lower < upper).all()


def test_counts_have_intervals_from_0_on():
    X, _ = noisy_rows(6)
    y = np.random.default_rng(0).poisson(np.exp(X[:, 0]))
    net = NeuralNetworkRegressor("poisson", (8,), solver="lbfgs", calibration_fraction=0.3)
    lower, upper = fit(net, X, y).predict_interval(X)
    assert lower.min() == 0
    assert ((lower <= y) & (y <= upper)).mean() > 0.85


def test_too_few_rows_for_a_coverage_are_an_error_that_says_how_many():
    X, y = noisy_rows(7)
    net = fit(make(random_state=0), X[:300], y[:300], X_cal=X[300:398], y_cal=y[300:398])
    with pytest.raises(ValueError, match=r"coverage=0.99 needs at least 99 calibration rows. Got"):
        net.predict_interval(X, 0.99)
    net.predict_interval(X, 0.98)
    fit(net, X[:300], y[:300], X_cal=X[300:399], y_cal=y[300:399]).predict_interval(X, 0.99)
    for n, coverage in ((9, 0.9), (19, 0.95), (4, 0.8), (3, 0.75), (1, 0.5)):
        fit(net, X[:99], y[:99], X_cal=X[300 : 300 + n], y_cal=y[300 : 300 + n])
        net.predict_interval(X, coverage)
        with pytest.raises(ValueError, match=f"needs at least {n + 1} "):
            net.predict_interval(X, (n + 0.9) / (n + 1.9))


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, float("nan"), "0.9", None, True])
def test_a_coverage_is_between_0_and_1(coverage):
    X, y = noisy_rows(8)
    net = fit(make(calibration_fraction=0.5), X[:60], y[:60])
    with pytest.raises(ValueError, match=r"coverage must be a number between 0 and 1. Got"):
        net.predict_interval(X, coverage)


def test_what_intervals_need_is_said():
    X, y = noisy_rows(9)
    net = fit(make(), X[:60], y[:60])
    with pytest.raises(ValueError, match=r"set calibration_fraction, such as 0.2, or pass X_cal"):
        net.predict_interval(X)
    for options in ({"X_cal": X}, {"y_cal": y}, {"sample_weight_cal": y}):
        with pytest.raises(ValueError, match=r"_cal is provided, but"):
            fit(make(), X[:60], y[:60], **options)
    with pytest.raises(ValueError, match=r"y_cal: y must be finite. Got nan in row 1"):
        fit(make(), X[:60], y[:60], X_cal=X[:2], y_cal=[1.0, np.nan])
    with pytest.raises(ValueError, match=r"calibration_fraction=0.99 of 60 rows leaves no row"):
        fit(make(calibration_fraction=0.99), X[:60], y[:60])
    one = fit(make("quantile", quantiles=[0.9], calibration_fraction=0.5), X[:60], y[:60])
    with pytest.raises(ValueError, match=r"needs at least two quantiles.* Got quantiles=\[0.9\]"):
        one.predict_interval(X)


def test_a_network_that_is_trained_further_has_no_intervals():
    X, y = noisy_rows(10)
    net = make(calibration_fraction=0.5, solver="adam", max_iter=3)
    fit(net, X[:60], y[:60]).predict_interval(X)
    net.partial_fit(X[:60], y[:60])
    with pytest.raises(ValueError, match="predict_interval needs rows that were not trained on"):
        net.predict_interval(X)


@pytest.mark.parametrize("weights", [None, np.arange(300) % 3 + 1.0])
def test_intervals_are_stored(weights):
    X, y = noisy_rows(11)
    net = make("quantile", calibration_fraction=0.5, random_state=0)
    fit(net, X[:300], y[:300], sample_weight=weights)
    arrays = net.to_arrays()
    copies = [pickle.loads(pickle.dumps(net)), NeuralNetworkRegressor.from_arrays(arrays)]
    for copied in copies:
        np.testing.assert_array_equal(copied.predict_interval(X), net.predict_interval(X))
    for wrong in (arrays["residuals"][:, :1], arrays["residuals"][0], np.array("x")):
        with pytest.raises(ValueError, match="Expected the arrays that to_arrays"):
            NeuralNetworkRegressor.from_arrays(arrays | {"residuals": wrong})


def test_float32_has_intervals_in_float32():
    X, y = make_friedman1(200, random_state=0)
    net = fit(make(calibration_fraction=0.3), X.astype(np.float32), y)
    lower, upper = net.predict_interval(X.astype(np.float32))
    assert lower.dtype == upper.dtype == np.float32
