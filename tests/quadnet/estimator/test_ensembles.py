"""`n_ensemble`: several networks in one estimator, whose probabilities are averaged."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.layers import BatchNorm, Conv2D, Dense, Dropout, Ensemble, Flatten
from quadnet.nn.network import Network
from tests.support.oracle import fit

X, Y = load_wine(return_X_y=True)
TARGETS = {
    "classes": Y,
    "two classes": np.array(["no", "yes"])[(Y == 1) * 1],
    "labels": np.tri(3, dtype=int)[Y],
}
LOSSES = ["log_loss", "binary_cross_entropy", "squared_error"]


def ensemble(n=3, **options):
    defaults = {"max_iter": 15, "random_state": 0, "scale": True, "n_ensemble": n}
    return NeuralNetworkClassifier((6,), **defaults | options)


def assert_close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("targets", TARGETS)
def test_predictions_are_of_the_mean_probability(targets, loss):
    y = TARGETS[targets]
    net = fit(ensemble(loss=loss, dropout=0.1), X, y)
    mean = np.mean([each.predict_proba(X) for each in net.estimators_], axis=0)
    assert_close(net.predict_proba(X), mean)
    assert_close(net.predict_proba(X[:1]), mean[:1])
    assert_close(net.predict_log_proba(X), np.log(mean))
    if targets == "labels":
        np.testing.assert_array_equal(net.predict(X), mean > 0.5)
        assert_close(net.decision_function(X), np.log(mean / (1 - mean)), 1e-9)
    else:
        np.testing.assert_array_equal(net.predict(X), net.classes_[mean.argmax(axis=1)])
        logits = np.log(mean[:, 1] / mean[:, 0]) if targets == "two classes" else np.log(mean)
        assert_close(net.decision_function(X), logits, 1e-9)
    frozen = net.freeze()
    assert_close(frozen.probabilities(X), mean)
    np.testing.assert_array_equal(frozen.predict(X), net.predict(X))


def test_each_network_is_that_of_its_own_seed_and_split():
    net = fit(ensemble(4, early_stopping=True, scoring="loss"), X, Y)
    seeds = [each.random_state for each in net.estimators_]
    assert len(set(seeds)) == 4
    for seed, member in zip(seeds, net.estimators_, strict=True):
        alone = fit(ensemble(1, early_stopping=True, scoring="loss", random_state=seed), X, Y)
        np.testing.assert_array_equal(alone.coefs_[0], member.coefs_[0])
        assert alone.validation_scores_ == member.validation_scores_
    assert len({each.validation_scores_[0] for each in net.estimators_}) == 4
    again = fit(clone(net), X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    # What describes the training is that of the first.
    assert net.loss_curve_ == net.estimators_[0].loss_curve_
    assert net.n_layers_ == 3
    assert net.n_outputs_ == 3
    assert net.out_activation_ == "softmax"
    assert not hasattr(net, "coefs_")


def test_one_network_is_as_without_an_ensemble():
    plain = fit(NeuralNetworkClassifier((6,), max_iter=5, random_state=0), X, Y)
    one = fit(NeuralNetworkClassifier((6,), max_iter=5, random_state=0, n_ensemble=1), X, Y)
    np.testing.assert_array_equal(plain.coefs_[0], one.coefs_[0])
    assert not hasattr(one, "estimators_")


def test_another_fit_replaces_everything():
    net = fit(ensemble(), X, Y)
    fit(net.set_params(n_ensemble=1), X[:, :4], Y)
    assert not hasattr(net, "estimators_")
    assert not hasattr(net, "parameters_")
    assert net.coefs_[0].shape == (4, 6)
    fit(net.set_params(n_ensemble=2), X[:, :5], Y)
    assert len(net.estimators_) == 2
    assert not hasattr(net, "coefs_")
    before = net.predict_proba(X[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        net.fit(np.full((3, 2), np.nan), [0, 1, 1])
    np.testing.assert_array_equal(net.predict_proba(X[:, :5]), before)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_stored_ensemble_predicts_the_same(dtype):
    rows = X.astype(dtype)
    net = fit(ensemble(), rows, Y)
    expected = net.predict_proba(rows)
    assert expected.dtype == dtype
    for stored in (
        pickle.loads(pickle.dumps(net)),
        skops.io.loads(skops.io.dumps(net), trusted=["quadnet.NeuralNetworkClassifier"]),
    ):
        np.testing.assert_array_equal(stored.predict_proba(rows), expected)
        assert len(stored.estimators_) == 3
    again = NeuralNetworkClassifier.from_arrays(net.to_arrays())
    assert_close(again.predict_proba(rows), expected, 1e-9 if dtype == np.float64 else 1e-4)
    frozen = pickle.loads(pickle.dumps(net.freeze()))
    assert_close(frozen.probabilities(rows), expected, 1e-9 if dtype == np.float64 else 1e-4)


def test_probabilities_that_underflow_have_finite_logarithms():
    net = fit(ensemble(2, solver="lbfgs", scale=False), 1e3 * X, Y)
    logarithms = net.predict_log_proba(1e6 * X)
    assert np.isfinite(logarithms).all()
    assert logarithms.min() < -1e4
    assert np.isfinite(net.decision_function(1e6 * X)).all()


def test_pictures_names_sparse_rows_and_one_class():
    pixels, digits = load_digits(return_X_y=True)
    layers = [Conv2D(3, 3, padding="same"), BatchNorm(), "relu", Flatten(), Dropout(0.2), Dense(8)]
    net = NeuralNetworkClassifier(
        layers=layers,
        input_shape=(8, 8), n_ensemble=2, scale=True, max_iter=3, random_state=0,
    )  # fmt: skip
    fit(net, pixels[:300], digits[:300])
    mean = np.mean([each.predict_proba(pixels) for each in net.estimators_], axis=0)
    assert_close(net.predict_proba(pixels.reshape(-1, 8, 8)), mean, 1e-10)
    assert_close(net.freeze().probabilities(pixels), mean, 1e-8)
    named = pd.DataFrame(X[:, :2], columns=["a", "b"])
    assert list(fit(ensemble(), named, Y).feature_names_in_) == ["a", "b"]
    sparse = fit(ensemble(), csr_array(X), Y)
    assert_close(sparse.predict_proba(csr_array(X)), sparse.predict_proba(X))
    alone = fit(ensemble(), X, np.zeros(len(X)))
    np.testing.assert_array_equal(alone.predict_proba(X), np.ones((len(X), 1)))
    np.testing.assert_array_equal(alone.freeze().probabilities(X), np.ones((len(X), 1)))


def test_weights_validation_rows_and_groups_are_those_of_every_network():
    weights = np.random.default_rng(0).uniform(0.1, 2, len(X))
    net = fit(ensemble(2), X, Y, weights, X_val=X[::3], y_val=Y[::3])
    for member in net.estimators_:
        alone = ensemble(1, random_state=member.random_state)
        fit(alone, X, Y, weights, X_val=X[::3], y_val=Y[::3])
        assert alone.validation_scores_ == member.validation_scores_
    fit(ensemble(2, early_stopping=True), X, Y, groups=np.arange(len(X)) % 9)
    seen = []
    fit(ensemble(2, max_iter=3), X, Y, on_epoch=lambda history: seen.append(history.epochs))
    assert seen == [1, 2, 3, 1, 2, 3]


def test_an_interrupt_keeps_the_networks_so_far():
    def interrupt(history):
        seen.append(history.epochs)
        if len(seen) == 7:
            raise KeyboardInterrupt

    seen = []
    net = ensemble(3, max_iter=5)
    with pytest.warns(UserWarning, match="Training interrupted"):
        fit(net, X, Y, on_epoch=interrupt)
    assert len(net.estimators_) == 2
    assert net.score(X, Y) > 0


def test_an_ensemble_is_a_classifier_of_scikit_learn():
    net = ensemble(3, max_iter=200, learning_rate_init=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert cross_val_score(net, X, Y).mean() > 0.95
    with pytest.raises(NotFittedError):
        ensemble().predict(X)


def test_what_needs_a_single_network_is_refused():
    net = fit(ensemble(), X, Y)
    assert not hasattr(net, "partial_fit")
    with pytest.raises(ValueError, match="partial_fit does not support n_ensemble above 1"):
        net.partial_fit(X, Y)
    with pytest.raises(ValueError, match="An Ensemble cannot be trained, nor can its gradient be"):
        net.check_gradients(X, Y)
    with pytest.raises(ValueError, match=r"'warm_start' .* False with n_ensemble above 1"):
        ensemble(warm_start=True).fit(X, Y)
    for value in (0, 1.5, "2", None):
        with pytest.raises(ValueError, match="'n_ensemble' parameter"):
            ensemble(value).fit(X, Y)


def test_the_layer_names_what_is_wrong_with_it():
    for layers, count, loss, message in [
        ([], 2, "softmax_cross_entropy", "layers must be a list of layers"),
        ([Dense(2)], 0, "softmax_cross_entropy", "count must be a whole number of at least 1"),
        ([Dense(2)], 2, "hinge", "loss must be one of softmax_cross_entropy"),
    ]:
        with pytest.raises(ValueError, match=message):
            Ensemble(layers, count, loss)
    with pytest.raises(ValueError, match="layers that end with one row of logits"):
        Network(
            [Ensemble(["relu"], 2, "softmax_cross_entropy"), Dense(2)],
            (1, 2, 2),
            loss="softmax_cross_entropy",
        )
    with pytest.raises(ValueError, match="layers that fit each other"):
        Network(
            [Ensemble([Dense(2)], 2, "softmax_cross_entropy"), Dense(2)],
            (1, 2, 2),
            loss="softmax_cross_entropy",
        )
    net = NeuralNetworkClassifier(layers=[Ensemble([Dense(2)], 2, "softmax_cross_entropy")])
    with pytest.raises(ValueError, match="An Ensemble cannot be trained"):
        net.fit(X, Y)


def regressors(n=3, **options):
    defaults = {"max_iter": 15, "random_state": 0, "scale": True, "scale_target": True}
    return NeuralNetworkRegressor(
        hidden_layer_sizes=(6,), n_ensemble=n, **defaults | {"early_stopping": True} | options
    )


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
def test_predicted_numbers_are_the_mean(loss, columns):
    X, y = load_diabetes(return_X_y=True)
    targets = y if columns == 1 else np.stack([y, 10 + y**0.5], axis=1)
    scale = {"scale_target": False, "init": "glorot_uniform"} if loss == "poisson" else {}
    net = fit(regressors(loss=loss, **scale), X, targets)
    each = [member.predict(X) for member in net.estimators_]
    assert np.abs(each[0] - each[1]).max() > 0.1
    mean = np.mean(each, axis=0)
    assert_close(net.predict(X), mean)
    assert_close(net.freeze().predict(X), mean, 1e-9)
    assert_close(pickle.loads(pickle.dumps(net)).predict(X), mean)
    assert_close(NeuralNetworkRegressor.from_arrays(net.to_arrays()).predict(X), mean, 1e-9)
    assert len({member.random_state for member in net.estimators_}) == 3
    assert net.loss_curve_ == net.estimators_[0].loss_curve_


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_an_exported_ensemble_of_numbers_predicts_the_same(loss):
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = load_diabetes(return_X_y=True)
    net = fit(regressors(loss=loss, scale_target=loss != "poisson"), X, y)
    session = onnxruntime.InferenceSession(net.to_onnx(), providers=["CPUExecutionProvider"])
    assert_close(session.run(["value"], {"x": X})[0], net.predict(X), 1e-9)


def test_intervals_of_several_networks_need_rows_to_calibrate_with():
    X, y = load_diabetes(return_X_y=True)
    net = regressors()
    with pytest.warns(ConvergenceWarning):
        net.fit(X[:200], y[:200], X_cal=X[200:300], y_cal=y[200:300])
    lower, upper = net.predict_interval(X[300:], 0.8)
    # By hand: the 81st of the 100 distances, so that 0.8 of 101 rows are covered.
    distances = np.sort(np.abs(y[200:300] - net.predict(X[200:300])))
    assert_close(upper - lower, np.full(142, 2 * distances[80]), 1e-9)
    with pytest.raises(ValueError, match="calibrated by X_cal"):
        regressors(calibration_fraction=0.2).fit(X, y)
    with pytest.raises(ValueError, match="a mean of quantiles is no quantile"):
        regressors(loss="quantile").fit(X, y)
    with pytest.raises(AttributeError, match="n_ensemble above 1"):
        _ = regressors().partial_fit
    before = net.predict(X)
    with pytest.raises(ValueError, match="X_cal is provided"):
        net.fit(X, y, X_cal=X)
    np.testing.assert_array_equal(net.predict(X), before)
