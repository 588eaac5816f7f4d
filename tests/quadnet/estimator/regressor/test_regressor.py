"""The regressor as its users meet it: what goes beyond scikit-learn's MLPRegressor."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.optimize import minimize
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import PoissonRegressor, QuantileRegressor
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quadnet import NeuralNetworkRegressor
from quadnet.layers import Conv2D, Flatten
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES
from tests.support.oracle import fit

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:200] * 20, Y[:200]
RNG = np.random.default_rng(0)
SCALED = {"loss": "squared_error", "scale_target": True}


def target(loss, n_columns=None):
    """Return a y for X that this loss is for."""
    y = np.round(Y) if loss == "poisson" else Y
    return y if n_columns is None else np.c_[y, y[::-1]][:, :n_columns]


def make(loss="squared_error", hidden_layer_sizes=(8,), **options):
    options = {"solver": "lbfgs", "activation": "tanh", "random_state": 0} | options
    return NeuralNetworkRegressor(loss, hidden_layer_sizes, **options)


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("n_columns", [None, 2])
def test_each_loss_learns(loss, n_columns):
    net = make(loss, scale_target=loss != "poisson", max_iter=400, alpha=0.1)
    y = target(loss, n_columns)
    fit(net, X, y)
    assert net.predict(X).shape == y.shape
    assert net.score(X, y) > 0.3
    assert net.n_outputs_ == (3 if loss == "quantile" else 1) * (n_columns or 1)
    np.testing.assert_allclose(net.predict(csr_array(X)), net.predict(X), rtol=1e-9)
    if loss not in {"absolute_error", "quantile"}:  # they have kinks where they end
        assert net.check_gradients(X, y) < 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw"])
def test_updates_are_replayed_from_c_with_the_same_bits(monkeypatch, solver, loss, dtype, weighted):
    y = np.log1p(target(loss, 2))
    weights = np.random.default_rng(0).uniform(0, 2, 200) if weighted else None
    nets = []
    for replay in "01":
        monkeypatch.setenv("QUADNET_REPLAY", replay)
        net = NeuralNetworkRegressor(
            loss, (6,), solver=solver, batch_size=7, max_iter=30, random_state=0,
            scale_target=loss != "poisson", learning_rate_init=1e-3, dropout=0.1,
        )  # fmt: skip
        nets.append(fit(net, X.astype(dtype), y, sample_weight=weights))
    computed, replayed = nets
    assert replayed.replay_["refused"] == 0
    assert replayed.replay_["reason"] == ""
    assert replayed.replay_["replayed"] > 0
    assert computed.loss_curve_ == replayed.loss_curve_
    for ours, theirs in zip(computed.coefs_, replayed.coefs_, strict=True):
        assert ours.dtype == dtype
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_network_of_counts_is_a_poisson_regression(weighted):
    weights = np.random.default_rng(0).uniform(0.5, 2, 200) if weighted else None
    y = np.random.default_rng(1).poisson(np.exp(X[:, 2] / 3))
    ours = make("poisson", (), alpha=0.0, tol=1e-9, max_iter=5000)
    theirs = PoissonRegressor(alpha=0, tol=1e-10, max_iter=5000).fit(X, y, weights)
    fit(ours, X, y, sample_weight=weights)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, rtol=1e-3, atol=1e-4)
    assert ours.out_activation_ == "exp"


def test_a_linear_network_of_one_quantile_is_a_quantile_regression():
    ours = make("quantile", (), quantiles=[0.8], alpha=0.0, max_iter=20000, max_fun=10**6, tol=1e-9)
    y = Y / 100
    fit(ours, X[:, :3], y)
    theirs = QuantileRegressor(quantile=0.8, alpha=0).fit(X[:, :3], y)
    losses = [mean_pinball_loss(y, net.predict(X[:, :3]), alpha=0.8) for net in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("delta", [0.3, 5.0])
def test_a_constant_by_huber_is_that_of_its_formula(delta):
    y = np.r_[np.random.default_rng(0).normal(size=100), 60.0, 80.0]
    net = make("huber", (), huber_delta=delta, alpha=0.0, tol=1e-10, max_iter=1000)
    predicted = fit(net, np.zeros((102, 1)), y).predict([[0.0]])

    def loss(constant):
        r = np.abs(y - constant)
        return np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).sum()

    assert predicted[0] == pytest.approx(minimize(loss, 0.0).x[0], abs=1e-4)


def test_outliers_move_the_median_less_than_the_mean():
    y = X[:, 2].copy()
    y[:10] += 1000
    errors = {}
    for loss in ("squared_error", "absolute_error", "huber"):
        net = fit(make(loss, (), alpha=0.0, max_iter=3000), X, y)
        errors[loss] = np.abs(net.predict(X)[10:] - X[10:, 2]).mean()
    assert errors["absolute_error"] < 0.1
    assert errors["huber"] < 1
    assert errors["squared_error"] > 10


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("scale_target", [False, True])
@pytest.mark.parametrize("n_columns", [None, 2])
def test_quantiles_are_quantiles_and_never_cross(solver, scale_target, n_columns):
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, (3000, 2))
    y = 3 * X[:, 0] + (1.5 + X[:, 1]) * rng.normal(size=3000)
    y = (y if n_columns is None else np.c_[y, 5 * y]) * (100 if scale_target else 1)
    quantiles = [0.05, 0.3, 0.5, 0.9]
    net = NeuralNetworkRegressor(
        "quantile", (16,), quantiles=quantiles, solver=solver, scale_target=scale_target,
        learning_rate_init=0.01, learning_rate="cosine", max_iter=150, random_state=0,
    )  # fmt: skip
    predicted = fit(net, X, y).predict_quantiles(X)
    assert predicted.shape == (*y.shape, 4)
    shares = (y[..., np.newaxis] <= predicted).mean(axis=0)
    np.testing.assert_allclose(shares, np.broadcast_to(quantiles, shares.shape), atol=0.04)
    far = net.predict_quantiles(rng.uniform(-1e4, 1e4, (5000, 2)).astype(np.float32))
    assert (np.diff(far, axis=-1) >= 0).all()
    np.testing.assert_array_equal(net.predict(X), predicted[..., 2])
    # Of the noise, whose deviation grows with the second column.
    wide = predicted[..., 3] - predicted[..., 0]
    assert wide[X[:, 1] > 0.5].mean() > 1.5 * wide[X[:, 1] < -0.5].mean()


def test_quantiles_by_default_are_three_and_predict_is_the_median():
    net = fit(make("quantile", scale_target=True), X, Y)
    assert net.predict_quantiles(X).shape == (200, 3)
    with pytest.raises(ValueError, match="needs a network that was trained with loss='quantile'"):
        fit(make(), X, Y / 100).predict_quantiles(X)


@pytest.mark.parametrize("loss", [name for name in REGRESSION_LOSSES if name != "poisson"])
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_scaled_target_trains_as_if_the_caller_had_scaled_it(loss, solver):
    weights = np.random.default_rng(0).uniform(0.5, 2, 200)
    y = np.c_[1e6 + 1e3 * Y, -Y]
    mean = np.average(y, axis=0, weights=weights)
    deviation = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))
    options = {"solver": solver, "max_iter": 10}
    ours = fit(make(loss, scale_target=True, **options), X, y, sample_weight=weights)
    by_hand = fit(make(loss, **options), X, (y - mean) / deviation, sample_weight=weights)
    expected = by_hand.predict(X) * deviation + mean
    np.testing.assert_allclose(ours.predict(X), expected, rtol=1e-6)
    np.testing.assert_allclose(ours.loss_curve_, by_hand.loss_curve_, rtol=1e-6)
    # The weights have the units of y: another program needs no other numbers.
    if loss != "quantile":
        hidden = np.tanh(X @ ours.coefs_[0] + ours.intercepts_[0])
        np.testing.assert_allclose(hidden @ ours.coefs_[1] + ours.intercepts_[1], ours.predict(X))


def test_a_scaled_target_learns_what_a_raw_one_does_not():
    y = 5000 + 20 * Y
    options = {"solver": "adam", "max_iter": 300}
    assert fit(make(scale_target=True, **options), X, y).score(X, y) > 0.4
    assert fit(make(**options), X, y).score(X, y) < 0


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_partial_fits_keep_the_first_mean_and_deviation(loss):
    y = 300 + Y
    parts = [slice(0, 50), slice(50, 120), slice(0, 50)]
    mean, deviation = y[:50].mean(), y[:50].std()
    ours = make(loss, solver="adam", scale_target=True, shuffle=False)
    by_hand = make(loss, solver="adam", shuffle=False)
    for part in parts:
        ours.partial_fit(X[part], y[part])
        by_hand.partial_fit(X[part], (y[part] - mean) / deviation)
    np.testing.assert_allclose(ours.predict(X), by_hand.predict(X) * deviation + mean, rtol=1e-9)
    np.testing.assert_allclose(ours.loss_curve_, by_hand.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_a_warm_start_keeps_the_first_mean_and_deviation(loss):
    net = make(loss, scale_target=True, warm_start=True, max_iter=300)
    before = fit(net, X, Y).predict(X)
    net.set_params(solver="sgd", momentum=0.0, learning_rate_init=1e-300, max_iter=1)
    fit(net, X[:20], Y[:20] + 1000)
    assert net._numbers.means == (pytest.approx(Y.mean()),)
    np.testing.assert_allclose(net.predict(X), before, rtol=1e-9)


def test_a_start_from_the_callers_weights_is_in_the_units_of_y():
    first = fit(make(scale_target=True), X, Y)
    again = make(solver="sgd", scale_target=True, learning_rate_init=1e-300, momentum=0.0)
    again.coefs_, again.intercepts_ = first.coefs_, first.intercepts_
    again.partial_fit(X, Y)
    np.testing.assert_allclose(again.predict(X), first.predict(X), rtol=1e-9)


@pytest.mark.parametrize("scale_target", [False, True])
def test_early_stopping_by_any_scorer_is_in_the_units_of_y(scale_target):
    options = {
        "solver": "adam", "early_stopping": True, "max_iter": 4, "learning_rate_init": 0.01,
        "scale_target": scale_target, "n_iter_no_change": 50,
    }  # fmt: skip
    held, rest = slice(150, 200), slice(0, 150)
    given = {"X_val": X[held], "y_val": Y[held]}
    by_error = make(scoring="neg_mean_absolute_error", **options)
    fit(by_error, X[rest], Y[rest], **given)
    best = -np.abs(by_error.predict(X[held]) - Y[held]).mean()
    assert by_error.best_validation_score_ == pytest.approx(best)
    by_r2 = fit(make(**options), X[rest], Y[rest], **given)
    score = r2_score(Y[held], by_r2.predict(X[held]))
    assert by_r2.best_validation_score_ == pytest.approx(score)
    by_loss = fit(make(scoring="loss", **options), X[rest], Y[rest], **given)
    assert by_loss.best_validation_score_ == -min(by_loss.validation_loss_curve_)


def test_a_constant_is_predicted():
    for constant in (0.0, 1e-9, 7.0, -3e12):
        y = np.full(200, constant)
        net = fit(make(scale_target=True, max_iter=500), X, y)
        np.testing.assert_allclose(net.predict(X), y, rtol=1e-2, atol=1e-3 * (constant == 0))
    assert fit(make(max_iter=500), X, np.full(200, 2.0)).predict(X) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_one_row_is_enough(loss):
    net = make(loss, max_iter=500, alpha=0.0, scale_target=loss != "poisson")
    assert fit(net, [[1.0, 2.0]], [3.0]).predict([[1.0, 2.0]]) == pytest.approx(3.0, rel=0.05)


def test_float32_stays_float32():
    net = fit(make(scale_target=True), X.astype(np.float32), Y)
    assert {a.dtype for a in net.coefs_ + net.intercepts_} == {np.dtype(np.float32)}
    assert net.predict(X.astype(np.float32)).dtype == np.float32


def test_the_largest_and_the_smallest_numbers_can_be_scaled():
    for unit in (1e307, 1e-300):
        net = fit(make(scale_target=True), X, X[:, 2] / 4 * unit)
        assert r2_score(X[:, 2], net.predict(X) / unit * 4) > 0.9


def test_layers_of_every_kind_predict_numbers():
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(60, 36))
    net = NeuralNetworkRegressor(
        layers=[Conv2D(2, 3), "relu", Flatten()], input_shape=(6, 6), max_iter=200,
        scale_target=True, random_state=0, learning_rate_init=0.02,
    )  # fmt: skip
    y = 50 + 10 * pictures[:, 0]
    assert fit(net, pictures.reshape(60, 6, 6), y).score(pictures, y) > 0.9
    assert "Conv2D" in net._repr_html_()


def test_grid_searches_pipelines_and_frames():
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(10)])
    pipeline = make_pipeline(StandardScaler(), make(max_iter=20, scale_target=True))
    grid = {"neuralnetworkregressor__loss": ["squared_error", "huber", "quantile"]}
    search = fit(GridSearchCV(pipeline, grid, cv=3), frame, pd.Series(Y))
    assert search.best_score_ > 0.2
    several = fit(MultiOutputRegressor(make(max_iter=5)), X, np.c_[Y, Y])
    assert several.predict(X).shape == (200, 2)


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("n_columns", [None, 2])
def test_every_way_to_store_keeps_predictions_and_the_next_update(tmp_path, loss, n_columns):
    y = target(loss, n_columns)
    scale = loss != "poisson"
    net = make(loss, solver="adam", scale_target=scale, max_iter=5, warm_start=True)
    fit(net, X, y if scale else y / 100)
    path = tmp_path / "net.skops"
    skops.io.dump(net, path)
    assert skops.io.get_untrusted_types(file=path) == ["quadnet.NeuralNetworkRegressor"]
    np.savez(tmp_path / "net.npz", **net.to_arrays())
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        from_file = NeuralNetworkRegressor.from_arrays(arrays)
    copies = [
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        skops.io.load(path, trusted=["quadnet.NeuralNetworkRegressor"]),
    ]
    for copied in (*copies, from_file):
        np.testing.assert_array_equal(copied.predict(X), net.predict(X))
    assert from_file.get_params() == net.get_params() | {"hidden_layer_sizes": [8]}
    expected = net.partial_fit(X, y).predict(X)
    for copied in copies:
        np.testing.assert_array_equal(copied.partial_fit(X, y).predict(X), expected)


def test_arrays_of_a_classifier_and_wrong_ones_are_refused():
    arrays = fit(make("quantile", quantiles=[0.2, 0.7], scale_target=True), X, Y).to_arrays()
    text = str(arrays["estimator"])
    for old, new, match in (
        ('"quantiles": [0.2, 0.7]', '"quantiles": [0.7, 0.2]', "quantiles must increase"),
        ('"n_columns": null', '"n_columns": 2', "4 numbers for 2 outputs"),
        ('"n_columns": null', '"n_columns": "a"', "n_columns must be an integer"),
        ('"means": [', '"means": [1.0, ', "means of 2 columns for 1"),
        ('"loss": "quantile"', '"loss": "softmax"', "unknown loss 'softmax'"),
    ):
        assert old in text
        with pytest.raises(ValueError, match=f"Expected the arrays that to_arrays.*{match}"):
            NeuralNetworkRegressor.from_arrays(
                arrays | {"estimator": np.array(text.replace(old, new))}
            )


def test_clones_show_their_parameters():
    net = make("quantile", quantiles=[0.1, 0.9])
    assert repr(clone(net)) == repr(net)
    assert "quantiles=[0.1, 0.9]" in repr(net)


def test_callbacks_see_each_epoch():
    seen = []
    net = make(solver="adam", max_iter=3, scale_target=True)
    fit(net, X, Y, on_epoch=lambda history: seen.append(history.loss_curve[-1]))
    assert seen == net.loss_curve_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_columns", [None, 2])
@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_a_frozen_regressor_answers_the_same(loss, n_columns):
    options = {"quantiles": [0.1, 0.5, 0.9]} if loss == "quantile" else {}
    scale = loss != "poisson"
    net = make(loss, max_iter=50, scale=True, scale_target=scale, **options)
    frozen = net.fit(X, target(loss, n_columns)).freeze()
    assert frozen.n_features == X.shape[1]
    for copied in (frozen, pickle.loads(pickle.dumps(frozen)), copy.deepcopy(frozen)):
        np.testing.assert_allclose(copied.predict(X), net.predict(X), rtol=1e-9)
        if loss == "quantile":
            quantiles = copied.predict_quantiles(X)
            np.testing.assert_allclose(quantiles, net.predict_quantiles(X), rtol=1e-9)
        else:
            with pytest.raises(ValueError, match="needs a network that was trained with loss="):
                copied.predict_quantiles(X)
    with pytest.raises(ValueError, match="read-only"):
        frozen.network.parameters.flat[0] = 1.0
    net.fit(X[:50], target(loss, n_columns)[:50])
    assert not np.array_equal(frozen.predict(X), net.predict(X))
