"""The estimator as scikit-learn's users meet it, with scikit-learn as the oracle."""

import copy
import doctest
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import quadnet.estimator
from quadnet import NeuralNetworkClassifier

CHECKED = [
    NeuralNetworkClassifier(),
    NeuralNetworkClassifier(solver="sgd", learning_rate_init=0.1),
    NeuralNetworkClassifier(loss="squared_error", activation="logistic", learning_rate_init=0.05),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def fit(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam"},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "shuffle": False},
    ],
    ids=["adam", "plain", "momentum", "nesterov"],
)
def test_ten_epochs_equal_scikit_learns(n_classes, activation, solver):
    X, y = make_classification(
        130, 5, n_informative=4, n_redundant=0, n_classes=n_classes, random_state=0
    )
    shared = {
        "hidden_layer_sizes": (7, 5),
        "activation": activation,
        "learning_rate_init": 0.02,
        "batch_size": 32,
        "alpha": 0.3,
        "max_iter": 10,
        "random_state": 5,
        **solver,
    }
    ours = fit(NeuralNetworkClassifier(**shared), X, y)
    theirs = fit(MLPClassifier(**shared), X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    for a, b in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_defaults_stop_at_scikit_learns_epoch():
    X, y = load_iris(return_X_y=True)
    settings = {"max_iter": 3000, "tol": 1e-3, "random_state": 0}
    ours = NeuralNetworkClassifier(**settings).fit(X, y)
    theirs = MLPClassifier(**settings).fit(X, y)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-6)


def test_shared_parameters_have_scikit_learns_defaults():
    theirs = MLPClassifier().get_params()
    ours = NeuralNetworkClassifier().get_params()
    beyond = {"loss", "init", "fit_intercept"}
    assert {name: theirs[name] for name in ours.keys() - beyond} == {
        name: value for name, value in ours.items() if name not in beyond
    }


def test_grid_search_over_a_pipeline_with_string_labels():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    pipeline = make_pipeline(
        StandardScaler(), NeuralNetworkClassifier(max_iter=60, random_state=0, tol=0)
    )
    search = GridSearchCV(
        pipeline,
        {
            "neuralnetworkclassifier__hidden_layer_sizes": [(), (8,), (8, 4)],
            "neuralnetworkclassifier__learning_rate_init": [0.01, 0.05],
        },
        cv=3,
    )
    fit(search, X, names)
    assert search.best_score_ > 0.93
    assert set(search.predict(X)) == set(names)


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [-1, 1], [2.0, 5.0]])
def test_labels_of_any_kind_come_back_as_they_went_in(labels):
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    net = fit(NeuralNetworkClassifier((), learning_rate_init=0.1, max_iter=100), X, y)
    assert net.classes_.tolist() == labels
    assert (net.predict(X) == y).mean() > 0.9
    assert net.predict(X).dtype == y.dtype


def test_float32_stays_float32():
    X, y = load_iris(return_X_y=True)
    net = fit(NeuralNetworkClassifier((5,), max_iter=5), X.astype(np.float32), y)
    assert {a.dtype for a in net.coefs_ + net.intercepts_} == {np.dtype(np.float32)}
    assert net.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_without_intercepts_the_origin_is_undecided():
    X, y = make_classification(80, 4, n_classes=3, n_informative=4, n_redundant=0, random_state=0)
    net = fit(NeuralNetworkClassifier((6,), "tanh", fit_intercept=False, max_iter=20), X, y)
    np.testing.assert_allclose(net.predict_proba(np.zeros((1, 4))), [[1 / 3] * 3])
    assert all((b == 0).all() for b in net.intercepts_)


def test_a_pickled_network_predicts_the_same():
    X, y = load_iris(return_X_y=True)
    net = fit(NeuralNetworkClassifier((5,), max_iter=20), X, y)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(net)).predict_proba(X), net.predict_proba(X)
    )


def test_frozen_equals_the_estimator_and_cannot_be_changed():
    X, y = load_iris(return_X_y=True)
    net = fit(NeuralNetworkClassifier((5,), max_iter=20), X, y)
    frozen = net.freeze()
    np.testing.assert_array_equal(frozen.probabilities(X), net.predict_proba(X))
    np.testing.assert_array_equal(frozen.predict(X), net.predict(X))
    with pytest.raises(ValueError, match="read-only"):
        frozen.network.parameters.flat[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        frozen.network.parameters.weights[0][:] = 1
    net.coefs_[0][:] = 0
    assert (frozen.network.parameters.weights[0] != 0).any()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("alpha", -1, "a float in the range [0.0, inf)"),
        ("hidden_layer_sizes", (3, 0), "an int above 0 or a sequence of them"),
        ("activation", "step", "a str among {'identity', 'logistic', 'relu', 'tanh'}"),
        ("solver", "lion", "a str among {'adam', 'sgd'}"),
        ("batch_size", 0, "a str among {'auto'} or an int in the range [1, inf)"),
        ("momentum", 1.0, "a float in the range [0.0, 1.0)"),
        ("max_iter", 2.5, "an int in the range [1, inf)"),
        ("shuffle", "yes", "an instance of 'bool'"),
        ("learning_rate_init", 0.0, "a float in the range (0.0, inf)"),
        ("loss", "hinge", "a str among {'log_loss', 'squared_error'}"),
    ],
)
def test_a_wrong_parameter_is_named_at_fit_as_scikit_learn_does(name, value, expected):
    net = NeuralNetworkClassifier(**{name: value})
    with pytest.raises((ValueError, TypeError)) as caught:
        net.fit([[0.0], [1.0]], [0, 1])
    assert str(caught.value) == (
        f"The {name!r} parameter of NeuralNetworkClassifier must be {expected}. "
        f"Got {value!r} instead."
    )


def test_divergence_is_an_error_that_says_what_to_lower():
    X, y = make_classification(50, 4, random_state=0)
    net = NeuralNetworkClassifier(solver="sgd", learning_rate_init=1e200, activation="identity")
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"diverged.*Lower learning_rate_init"),
    ):
        net.fit(X * 1e100, y)


def test_a_fit_that_fails_leaves_no_network_behind():
    X, y = load_iris(return_X_y=True)
    net = fit(NeuralNetworkClassifier((4,), "identity", max_iter=3), X, y)
    with pytest.raises(ValueError, match="parameter"):
        net.set_params(alpha=-1).fit(X, y)
    net.predict(X)  # refused before it began: the old network stays
    net.set_params(alpha=0, solver="sgd", learning_rate_init=1e300)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="diverged"):
        net.fit(X, y)
    with pytest.raises(NotFittedError):
        net.predict_proba(X)


def test_epochs_that_were_not_enough_are_warned_of():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(5\) reached"):
        NeuralNetworkClassifier(max_iter=5).fit(X, y)


@pytest.mark.parametrize("sizes", [np.array([5, 3]), range(3, 5), [np.int64(4)], np.int32(7)])
def test_hidden_layer_sizes_may_be_any_sequence_of_integers(sizes):
    X, y = load_iris(return_X_y=True)
    net = fit(NeuralNetworkClassifier(sizes, shuffle=np.True_, max_iter=2), X, y)
    hidden = [W.shape[1] for W in net.coefs_[:-1]]
    assert hidden == np.atleast_1d(sizes).tolist()


def test_one_class_is_always_the_answer_frozen_or_not():
    X = np.random.default_rng(0).normal(size=(20, 2))
    net = fit(NeuralNetworkClassifier((3,), max_iter=2), X, ["a"] * 20)
    for answers in (net.predict_proba(X * 1e6), net.freeze().probabilities(X * 1e6)):
        assert (answers == np.ones((20, 1))).all()
    assert set(net.freeze().predict(X)) == {"a"}


@pytest.mark.parametrize("clone_of", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_copy_of_a_frozen_network_is_frozen_too(clone_of):
    X, y = load_iris(return_X_y=True)
    frozen = fit(NeuralNetworkClassifier((5,), max_iter=2), X, y).freeze()
    copied = clone_of(frozen)
    np.testing.assert_array_equal(copied.probabilities(X), frozen.probabilities(X))
    with pytest.raises(ValueError, match="read-only"):
        copied.network.parameters.flat[0] = 1


def test_predicting_before_fitting_is_said():
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(NeuralNetworkClassifier(), method)([[0.0, 0.0]])
    with pytest.raises(NotFittedError):
        NeuralNetworkClassifier().freeze()


def test_clones_and_shows_its_parameters():
    net = NeuralNetworkClassifier((6,), "tanh", loss="squared_error")
    assert repr(clone(net)) == repr(net)
    assert "loss='squared_error'" in repr(net)


def test_the_docstrings_example_runs():
    assert doctest.testmod(quadnet.estimator).failed == 0
    assert doctest.testmod(quadnet.estimator).attempted > 3
