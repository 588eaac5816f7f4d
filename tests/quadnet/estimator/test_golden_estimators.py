"""Stored estimators of earlier releases load, predict as they did, and continue training."""

import json

import numpy as np
import pandas as pd
import pytest
import skops.io

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from tests.golden import make_estimators as make

EXPECTED = json.loads(make.EXPECTED.read_text())
# The estimator's path, as each release wrote it.
PATHS = {"0.1": "quadnet.estimator.NeuralNetworkClassifier"}
NEWEST = "quadnet.NeuralNetworkClassifier"

each_model = pytest.mark.parametrize("name", make.MODELS)
each_release = pytest.mark.parametrize("release", make.RELEASES)


def tolerance(name):
    return 1e-12 if make.MODELS[name]["dtype"] == "float64" else 2e-6


def rows(name, X):
    names = make.MODELS[name]["names"]
    return pd.DataFrame(X, columns=names) if names else np.array(X)


def assert_predicts(net, name, when):
    points, expected = rows(name, EXPECTED[name]["points"]), np.array(EXPECTED[name][when])
    np.testing.assert_allclose(net.predict_proba(points), expected, rtol=0, atol=tolerance(name))
    assert net.classes_.tolist() == make.MODELS[name]["classes"]
    predicted = net.predict(points)
    if name == "tags":
        np.testing.assert_array_equal(predicted, expected > 0.5)
    else:
        np.testing.assert_array_equal(predicted, net.classes_[expected.argmax(axis=1)])


def load_skops(path, *, trusted=NEWEST):
    assert skops.io.get_untrusted_types(file=path) == [trusted]
    return skops.io.load(path, trusted=[trusted])


def load_arrays(path):
    with np.load(path, allow_pickle=False) as arrays:
        return NeuralNetworkClassifier.from_arrays(arrays)


@each_model
@each_release
def test_arrays_predict_what_the_formulas_say(release, name):
    net = load_arrays(make.HERE / release / f"{name}.npz")
    assert_predicts(net, name, "stored")
    parameters = make.MODELS[name]["parameters"]
    assert {key: getattr(net, key) for key in parameters} == parameters


@each_model
@each_release
def test_a_skops_file_predicts_what_the_formulas_say_and_continues_training(release, name):
    path = make.HERE / release / f"{name}.skops"
    net = load_skops(path, trusted=PATHS.get(release, NEWEST))
    assert_predicts(net, name, "stored")
    assert (net.n_updates_, net.t_, len(net.loss_curve_)) == (1, 30, 1)
    X, Y, _ = make.data(name)
    net.partial_fit(rows(name, X), make.labels(name, Y))
    assert_predicts(net, name, "resumed")
    assert (net.n_updates_, net.t_, len(net.loss_curve_)) == (2, 60, 2)


def assert_predicts_quantiles(net):
    expected = EXPECTED["quantiles"]
    points = np.array(expected["points"])
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(net.predict_quantiles(points), expected["quantiles"], **close)
    lower, upper = net.predict_interval(points, coverage=0.8)
    np.testing.assert_allclose(lower, expected["lower"], **close)
    np.testing.assert_allclose(upper, expected["upper"], **close)


@pytest.mark.parametrize("release", [release for release in make.RELEASES if release >= "0.3"])
def test_a_stored_regressor_predicts_what_the_formulas_say(release):
    path = make.HERE / release / "quantiles"
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert_predicts_quantiles(NeuralNetworkRegressor.from_arrays(arrays))
    stored = load_skops(path.with_suffix(".skops"), trusted="quadnet.NeuralNetworkRegressor")
    assert_predicts_quantiles(stored)
    stored.partial_fit(np.zeros((30, 3)), make.prices())
    assert stored.n_updates_ == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_script_still_makes_such_files(tmp_path):
    make.make(tmp_path)
    for name in make.MODELS:
        for when, numbers in make.expected(name).items():
            np.testing.assert_allclose(numbers, EXPECTED[name][when], rtol=1e-12)
        assert_predicts(load_arrays(tmp_path / f"{name}.npz"), name, "stored")
        assert_predicts(load_skops(tmp_path / f"{name}.skops"), name, "stored")
    assert make.expected_regressor() == EXPECTED["quantiles"]
    stored = load_skops(tmp_path / "quantiles.skops", trusted="quadnet.NeuralNetworkRegressor")
    assert_predicts_quantiles(stored)


def test_there_are_files_of_every_release():
    folders = [path.name for path in make.HERE.iterdir() if path.is_dir()]
    assert sorted(folders) == sorted(make.RELEASES)
