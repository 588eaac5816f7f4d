"""`scale=True`: equal to a StandardScaler before the network, for raw rows everywhere."""

import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.sparse import csc_array, csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quadnet import NeuralNetworkClassifier
from quadnet.layers import BatchNorm, Conv2D, Dense, Flatten, LayerNorm, MaxPool2D
from tests.support.oracle import fit

X, Y = load_wine(return_X_y=True)
NAMED = pd.DataFrame(X, columns=[f"column {i}" for i in range(13)])


def scaled_net(**options):
    return NeuralNetworkClassifier((8,), random_state=0, scale=True, **{"max_iter": 20, **options})


def in_a_pipeline(**options):
    net = NeuralNetworkClassifier((8,), random_state=0, **{"max_iter": 20, **options})
    return make_pipeline(StandardScaler(), net)


def assert_close(a, b, tolerance=1e-9):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


OPTIONS = [
    {},
    {"solver": "lbfgs"},
    {"solver": "sgd", "batch_size": 16, "shuffle": False},
    {"early_stopping": True, "scoring": "loss"},
    {"early_stopping": True, "scoring": "f1_macro"},
    {"class_weight": "balanced"},
    {"fit_intercept": False},
    {"loss": "squared_error", "dropout": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_equals_a_scaler_in_a_pipeline(options):
    ours, theirs = fit(scaled_net(**options), X, Y), fit(in_a_pipeline(**options), X, Y)
    assert_close(ours.loss_curve_, theirs[-1].loss_curve_)
    for a, b in zip(ours.coefs_, theirs[-1].coefs_, strict=True):
        assert_close(a, b)
    assert_close(ours.predict_proba(X), theirs.predict_proba(X))
    assert_close(ours.decision_function(X), theirs.decision_function(X))
    assert_close(ours.predict_log_proba(X), theirs.predict_log_proba(X))
    assert_close(ours.activations(X)[0], theirs[-1].activations(theirs[0].transform(X))[0])
    assert_close(ours.column_means_, theirs[0].mean_)
    assert_close(ours.column_deviations_, theirs[0].scale_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert_close(ours.freeze().probabilities(X), theirs.predict_proba(X))
    assert ours.replay_["refused"] == 0
    assert ours.validation_scores_ == theirs[-1].validation_scores_


def test_weights_count_in_the_means_and_deviations():
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    ours = fit(scaled_net(solver="lbfgs"), X, Y, weights)
    steps = {
        "standardscaler__sample_weight": weights,
        "neuralnetworkclassifier__sample_weight": weights,
    }
    theirs = fit(in_a_pipeline(solver="lbfgs"), X, Y, **steps)
    assert_close(ours.column_means_, theirs[0].mean_)
    assert_close(ours.predict_proba(X), theirs.predict_proba(X))
    copies = np.repeat(X, weights, axis=0)
    assert_close(ours.column_deviations_, copies.std(axis=0))


def test_validation_rows_are_scaled_as_the_rows_trained_on():
    scaler = StandardScaler().fit(X[::2])
    rows = {"X_val": X[1::2], "y_val": Y[1::2]}
    ours = fit(scaled_net(early_stopping=True, scoring="loss"), X[::2], Y[::2], **rows)
    rows["X_val"] = scaler.transform(rows["X_val"])
    plain = NeuralNetworkClassifier(
        (8,), random_state=0, max_iter=20, early_stopping=True, scoring="loss"
    )
    fit(plain, scaler.transform(X[::2]), Y[::2], **rows)
    assert_close(ours.validation_scores_, plain.validation_scores_)


def test_a_constant_column_is_only_centred_and_the_default_scales_nothing():
    constant = np.c_[X[:, :2], np.full(len(X), 7.5)]
    net = fit(scaled_net(), constant, Y)
    assert net.column_means_[2] == 7.5
    assert net.column_deviations_[2] == 1.0
    plain = fit(NeuralNetworkClassifier((3,), max_iter=2), X, Y)
    assert plain.column_means_ is None
    assert plain.column_deviations_ is None


@pytest.mark.parametrize("convert", [csr_array, csc_array])
def test_sparse_columns_are_only_divided(convert):
    pixels, digits = load_digits(return_X_y=True)
    ours = fit(scaled_net(max_iter=5), convert(pixels), digits)
    scaler = StandardScaler(with_mean=False).fit(pixels)
    plain = NeuralNetworkClassifier((8,), max_iter=5, random_state=0)
    fit(plain, csr_array(scaler.transform(pixels)), digits)
    assert not ours.column_means_.any()
    for rows in (pixels, convert(pixels)):
        assert_close(ours.predict_proba(rows), plain.predict_proba(scaler.transform(pixels)))
    assert_close(ours.freeze().probabilities(pixels), ours.predict_proba(pixels))


def test_sparse_rows_for_a_network_of_dense_ones_are_centred():
    net = fit(scaled_net(), X, Y)
    assert_close(net.predict_proba(csr_array(X)), net.predict_proba(X))


STACKS = {
    "convolution": [Conv2D(4, 3), "relu", Flatten()],
    "convolution with zeros at the border": [Conv2D(4, 3, padding="same"), "relu", Flatten()],
    "batch normalization": [BatchNorm(), Flatten()],
    "flat": [Flatten(), Dense(9), "tanh"],
    "pooling": [MaxPool2D(2), Flatten()],
    "no layer that absorbs": [LayerNorm(), Flatten()],
}


@pytest.mark.parametrize("stack", STACKS)
def test_a_picture_has_one_mean_for_each_channel(stack):
    pixels, digits = load_digits(return_X_y=True)
    pictures = np.stack([pixels.reshape(-1, 8, 8), 100 + pixels.reshape(-1, 8, 8)], axis=1)[:300]
    net = NeuralNetworkClassifier(
        layers=STACKS[stack], input_shape=(2, 8, 8), scale=True, max_iter=3, random_state=0
    )
    fit(net, pictures, digits[:300])
    means, deviations = pictures.mean(axis=(0, 2, 3)), pictures.std(axis=(0, 2, 3))
    assert_close(net.column_means_, np.repeat(means, 64))
    assert_close(net.column_deviations_, np.repeat(deviations, 64))
    by_hand = (pictures - means[:, np.newaxis, np.newaxis]) / deviations[:, np.newaxis, np.newaxis]
    plain = clone(net).set_params(scale=False)
    fit(plain, by_hand, digits[:300])
    assert_close(net.predict_proba(pictures), plain.predict_proba(by_hand))
    flat = pictures.reshape(300, -1)
    assert_close(net.freeze().probabilities(flat), plain.predict_proba(by_hand), 1e-8)
    again = NeuralNetworkClassifier.from_arrays(net.to_arrays())
    assert_close(again.predict_proba(pictures), plain.predict_proba(by_hand), 1e-8)


def test_a_time_stamp_in_float32_keeps_its_digits():
    rng = np.random.default_rng(0)
    seconds = 1.7e9 + 128 * rng.integers(0, 1000, 400).astype(float)
    rows = np.c_[seconds, rng.normal(size=400)]
    labels = seconds > np.median(seconds)
    net = NeuralNetworkClassifier(
        (8,), scale=True, solver="lbfgs", max_iter=200, alpha=0.01, random_state=0
    )
    fit(net, rows.astype(np.float32), labels)
    assert net.coefs_[0].dtype == np.float32
    assert net.score(rows.astype(np.float32), labels) > 0.98
    frozen = net.freeze()
    assert frozen.dtype == np.float64
    assert_close(frozen.probabilities(rows), net.predict_proba(rows.astype(np.float32)), 1e-4)
    # A network in float32 that continues with rows of float64 subtracts the means first.
    finer = rows + np.c_[rng.integers(0, 128, 400), np.zeros(400)]
    net.set_params(warm_start=True)
    fit(net, finer, labels)
    assert net.coefs_[0].dtype == np.float32
    assert net.score(finer, labels) > 0.97


def test_partial_fit_keeps_the_statistics_of_the_first_call():
    net = scaled_net().partial_fit(X[:100], Y[:100], classes=[0, 1, 2])
    assert_close(net.column_means_, X[:100].mean(axis=0))
    scaler = StandardScaler().fit(X[:100])
    plain = NeuralNetworkClassifier((8,), random_state=0)
    plain.partial_fit(scaler.transform(X[:100]), Y[:100], classes=[0, 1, 2])
    for part in (slice(100, 140), slice(140, None)):
        net.partial_fit(X[part], Y[part])
        plain.partial_fit(scaler.transform(X[part]), Y[part])
    assert_close(net.predict_proba(X), plain.predict_proba(scaler.transform(X)))
    assert_close(net.column_means_, X[:100].mean(axis=0))


def test_weights_for_other_columns_are_not_continued():
    net = fit(scaled_net(warm_start=True), X, Y).set_params(scale=False)
    before = net.predict_proba(X)
    message = "the weights are for scaled columns, but scale is False. Set scale=True"
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        net.partial_fit(X, Y)
    np.testing.assert_array_equal(net.predict_proba(X), before)
    loaded = NeuralNetworkClassifier.from_arrays(net.set_params(scale=True).to_arrays())
    with pytest.raises(ValueError, match="for columns as they are, but scale is True"):
        loaded.fit(X, Y)


def test_weights_that_the_caller_sets_get_new_statistics():
    net = scaled_net(warm_start=True)
    trained = fit(scaled_net(), X, Y)
    net.coefs_, net.intercepts_ = trained.coefs_, trained.intercepts_
    assert_close(fit(net, X, Y).column_means_, X.mean(axis=0))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_stored_estimator_predicts_the_same(dtype):
    net = fit(scaled_net(), X.astype(dtype), Y)
    expected = net.predict_proba(X.astype(dtype))
    for stored in (
        pickle.loads(pickle.dumps(net)),
        skops.io.loads(skops.io.dumps(net), trusted=["quadnet.NeuralNetworkClassifier"]),
    ):
        np.testing.assert_array_equal(stored.predict_proba(X.astype(dtype)), expected)
    arrays = net.to_arrays()
    again = NeuralNetworkClassifier.from_arrays(arrays)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    assert_close(again.predict_proba(X.astype(dtype)), expected, tolerance)
    # What is stored is for raw columns: the first layer, by hand.
    first = X @ arrays["weights.0"] + arrays["biases.0"]
    assert_close(np.maximum(first, 0), net.activations(X.astype(dtype))[0], 1e-3)


def test_column_names_and_a_grid_over_scale_work():
    search = GridSearchCV(
        NeuralNetworkClassifier((8,), solver="lbfgs", max_iter=40, random_state=0),
        {"scale": [False, True]},
    )
    fit(search, NAMED, Y)
    assert search.best_params_ == {"scale": True}
    assert search.best_score_ > 0.95
    assert list(search.best_estimator_.feature_names_in_) == list(NAMED.columns)
    assert search.best_estimator_.check_gradients(NAMED[:30], Y[:30]) < 1e-6
    assert clone(search.best_estimator_).get_params()["scale"] is True


def test_columns_beyond_every_scale_are_named():
    rows = X.copy()
    rows[:, 3] *= 1e200
    with pytest.raises(ValueError, match="values of column 3 of X are too large for scale=True"):
        scaled_net().fit(rows, Y)


def test_a_scorer_gets_scaled_rows_as_in_a_pipeline():
    seen = []

    def score(estimator, rows, labels):
        seen.append(abs(rows).max())
        return estimator.score(rows, labels)

    net = fit(scaled_net(scoring=score, early_stopping=True), X, Y)
    assert max(seen) < 20
    theirs = fit(in_a_pipeline(scoring=score, early_stopping=True), X, Y)
    assert net.validation_scores_ == theirs[-1].validation_scores_
