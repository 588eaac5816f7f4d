"""The estimator as scikit-learn's users meet it, with scikit-learn as the oracle."""

import copy
import pickle
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_array, csr_array
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from quadnet import NeuralNetworkClassifier
from quadnet.nn.activations import ACTIVATIONS, Activation
from quadnet.nn.initializers import INITIALIZERS
from tests.support.oracle import fit
from tests.support.serving import ROOT


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


def test_a_fit_that_fails_leaves_the_network_there_was():
    X, y = load_iris(return_X_y=True)
    net = fit(NeuralNetworkClassifier((4,), "identity", max_iter=3), X, y)
    with pytest.raises(ValueError, match="parameter"):
        net.set_params(alpha=-1).fit(X, y)
    net.predict(X)  # refused before it began: the old network stays
    net.set_params(alpha=0, solver="sgd", learning_rate_init=1e300)
    before = net.predict_proba(X)
    with pytest.raises(ValueError, match="diverged"):
        net.fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X), before)
    with pytest.raises(ValueError, match="diverged"):
        clone(net).fit(X, y)


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


def test_clones_and_shows_its_parameters():
    net = NeuralNetworkClassifier((6,), "tanh", loss="squared_error")
    assert repr(clone(net)) == repr(net)
    assert "loss='squared_error'" in repr(net)


X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_SCALED = (X_IRIS - X_IRIS.mean(axis=0)) / X_IRIS.std(axis=0)


@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_loss_learns_and_its_probabilities_sum_to_one(loss, n_classes):
    rows = n_classes > Y_IRIS
    X, y = X_SCALED[rows], Y_IRIS[rows]
    net = fit(NeuralNetworkClassifier((6,), loss=loss, solver="lbfgs", random_state=0), X, y)
    assert net.score(X, y) > 0.95
    np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1.0, rtol=1e-12)
    raw = net.activations(X)[-1]
    assert raw.shape[1] == net.n_outputs_
    sums_to_one = np.allclose(raw.sum(axis=1), 1.0)
    assert sums_to_one == (loss == "log_loss" and n_classes == 3)
    np.testing.assert_array_equal(net.predict(X), net.classes_[net.predict_proba(X).argmax(axis=1)])


@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
def test_each_loss_learns_several_labels_a_row(loss):
    X, y = make_multilabel_classification(n_samples=80, random_state=0)
    net = fit(NeuralNetworkClassifier((20,), loss=loss, solver="lbfgs", random_state=0), X, y)
    assert net.score(X, y) > 0.8
    answers = net.predict(X)
    assert answers.shape == y.shape
    assert set(np.unique(answers)) == {0, 1}
    np.testing.assert_array_equal(answers, net.predict_proba(X) > 0.5)
    np.testing.assert_array_equal(answers, net.decision_function(X) > 0)
    np.testing.assert_array_equal(answers, net.freeze().predict(X))
    sparse_y = fit(clone(net), X, csr_array(y))
    np.testing.assert_array_equal(sparse_y.predict(X), answers)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_activation_learns(activation):
    X, y = X_SCALED, Y_IRIS
    net = NeuralNetworkClassifier((10,), activation, learning_rate_init=0.02, random_state=0)
    assert fit(net, X, y).score(X, y) > 0.93


def test_layers_can_have_activations_of_their_own():
    net = NeuralNetworkClassifier((5, 4), ("tanh", "relu"), max_iter=5, random_state=0)
    first, second, _ = fit(net, X_SCALED, Y_IRIS).activations(X_SCALED)
    np.testing.assert_allclose(
        first, np.tanh(X_SCALED @ net.coefs_[0] + net.intercepts_[0]), rtol=1e-12
    )
    expected = np.maximum(first @ net.coefs_[1] + net.intercepts_[1], 0)
    np.testing.assert_allclose(second, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="one name for each of the 3 hidden layers"):
        net.set_params(hidden_layer_sizes=(5, 4, 3)).fit(X_SCALED, Y_IRIS)


@pytest.mark.parametrize("init", [*INITIALIZERS, "auto"])
def test_every_initializer_is_a_start_from_which_it_learns(init):
    net = NeuralNetworkClassifier((8,), "tanh", init=init, solver="lbfgs", random_state=0)
    assert fit(net, X_SCALED, Y_IRIS).score(X_SCALED, Y_IRIS) > 0.95


def first_weights(init):
    # The least rate there is: the products with it are lost in whatever they are added to, and
    # where that is 0 they are 0 too.
    net = NeuralNetworkClassifier(
        (1000,), init=init, solver="sgd", learning_rate_init=5e-324, max_iter=1, random_state=0
    )
    return fit(net, np.random.default_rng(0).normal(size=(20, 50)), np.arange(20) % 2)


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("auto", 2 / 1050),
        ("glorot_uniform", 2 / 1050),
        ("glorot_normal", 2 / 1050),
        ("he_uniform", 2 / 50),
        ("he_normal", 2 / 50),
        ("uniform", 1 / 3),
        ("uniform01", 1 / 12),
    ],
)
def test_starting_weights_have_the_variance_of_their_formula(init, variance):
    net = first_weights(init)
    assert net.coefs_[0].var() == pytest.approx(variance, rel=0.02)
    assert net.coefs_[0].mean() == pytest.approx(0.5 if init == "uniform01" else 0, abs=0.01)
    assert (net.intercepts_[0] == 0).all() == (init != "auto")


def test_a_callable_may_draw_the_weights():
    def halves(rng, fan_in, fan_out):
        return np.full((fan_in, fan_out), 0.5), np.full(fan_out, -1.0)

    net = first_weights(halves)
    assert (net.coefs_[0] == 0.5).all()
    assert (net.intercepts_[0] == -1.0).all()
    assert (first_weights(lambda rng, n, m: np.ones((n, m))).intercepts_[1] == 0).all()
    with pytest.raises(ValueError, match=r"shape \(50, 1000\).*Got shapes \(1000, 50\)"):
        first_weights(lambda rng, n, m: np.ones((m, n)))


def test_class_weights_balance_a_rare_class():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(0, 1, (500, 2)), rng.normal(1.5, 1, (20, 2))]
    y = np.r_[np.zeros(500), np.ones(20)]
    options = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0, "random_state": 0}
    plain = fit(NeuralNetworkClassifier(**options), X, y)
    balanced = fit(NeuralNetworkClassifier(**options, class_weight="balanced"), X, y)
    assert plain.predict(X)[y == 1].mean() < 0.5
    assert balanced.predict(X)[y == 1].mean() > 0.7
    by_hand = np.where(y == 1, 520 / (2 * 20), 520 / (2 * 500))
    weighted = fit(NeuralNetworkClassifier(**options), X, y, sample_weight=by_hand)
    np.testing.assert_allclose(balanced.coefs_[0], weighted.coefs_[0], rtol=1e-6)
    named = fit(NeuralNetworkClassifier(**options, class_weight={1: 13.0, 0: 0.52}), X, y)
    np.testing.assert_allclose(named.coefs_[0], weighted.coefs_[0], rtol=1e-6)


def test_adamw_shrinks_weights_without_a_penalty_in_the_loss():
    options = {"hidden_layer_sizes": (10,), "max_iter": 200, "random_state": 0, "tol": 0.0}
    held = fit(NeuralNetworkClassifier(solver="adamw", alpha=10.0, **options), X_SCALED, Y_IRIS)
    free = fit(NeuralNetworkClassifier(solver="adamw", alpha=0.0, **options), X_SCALED, Y_IRIS)
    assert np.abs(held.coefs_[0]).sum() < 0.8 * np.abs(free.coefs_[0]).sum()
    adam = fit(NeuralNetworkClassifier(solver="adam", alpha=0.0, **options), X_SCALED, Y_IRIS)
    np.testing.assert_array_equal(free.coefs_[0], adam.coefs_[0])
    likelihood = np.log(held.predict_proba(X_SCALED)[np.arange(150), Y_IRIS])
    assert held.loss_ == pytest.approx(-likelihood.mean(), rel=0.01)


def test_the_curve_of_learning_rates_follows_the_schedule():
    net = NeuralNetworkClassifier(
        (3,), learning_rate="step", step_epochs=2, step_factor=0.1, warmup_epochs=1, max_iter=5,
        learning_rate_init=0.5, batch_size=50, random_state=0,
    )  # fmt: skip
    np.testing.assert_allclose(
        fit(net, X_SCALED, Y_IRIS).learning_rate_curve_, [0.5, 0.5, 0.05, 0.05, 0.005]
    )
    partly = clone(net)
    for _ in range(5):
        partly.partial_fit(X_SCALED, Y_IRIS, classes=[0, 1, 2])
    assert partly.learning_rate_curve_ == net.learning_rate_curve_


def test_a_cosine_that_has_run_its_course_is_no_reason_to_warn():
    net = NeuralNetworkClassifier((3,), learning_rate="cosine", max_iter=5)
    assert net.fit(X_SCALED, Y_IRIS).stop_reason_ == "max_iter"


def test_dropout_is_for_training_only_and_repeatable():
    options = {"hidden_layer_sizes": (50,), "dropout": 0.5, "max_iter": 60, "random_state": 0}
    net = fit(NeuralNetworkClassifier(**options), X_SCALED, Y_IRIS)
    again = fit(NeuralNetworkClassifier(**options), X_SCALED, Y_IRIS)
    np.testing.assert_array_equal(net.coefs_[0], again.coefs_[0])
    np.testing.assert_array_equal(net.predict_proba(X_SCALED), net.predict_proba(X_SCALED))
    assert net.score(X_SCALED, Y_IRIS) > 0.9
    without = fit(NeuralNetworkClassifier(**(options | {"dropout": 0.0})), X_SCALED, Y_IRIS)
    assert (net.coefs_[0] != without.coefs_[0]).any()


def test_sparse_rows_answer_as_dense_ones_do():
    net = fit(NeuralNetworkClassifier((5,), max_iter=5, random_state=0), X_IRIS, Y_IRIS)
    for sparse in (csr_array(X_IRIS), csc_array(X_IRIS)):
        np.testing.assert_allclose(net.predict_proba(sparse), net.predict_proba(X_IRIS))
        np.testing.assert_array_equal(net.predict(sparse), net.predict(X_IRIS))


def test_the_callers_own_validation_rows_decide_and_the_best_epoch_is_kept():
    order = np.random.default_rng(0).permutation(150)
    train, held = order[:100], order[100:]
    options = {
        "hidden_layer_sizes": (30,), "early_stopping": True, "scoring": "loss", "tol": 0.0,
        "learning_rate_init": 0.05, "max_iter": 300, "n_iter_no_change": 15, "random_state": 0,
    }  # fmt: skip
    net = fit(
        NeuralNetworkClassifier(**options),
        X_SCALED[train],
        Y_IRIS[train],
        X_val=X_SCALED[held],
        y_val=Y_IRIS[held],
    )
    curve = net.validation_loss_curve_
    best = int(np.argmin(curve))
    assert net.stop_reason_ == "no_improvement"
    assert net.best_iteration_ == best + 1 < net.n_iter_ == len(curve)
    kept = log_loss(Y_IRIS[held], net.predict_proba(X_SCALED[held]))
    assert kept == pytest.approx(curve[best], rel=1e-9)
    assert net.validation_scores_ == [-loss for loss in curve]
    assert net.best_validation_score_ == -curve[best]
    assert net.best_loss_ is None


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "lbfgs"])
def test_any_scorer_can_decide_and_sees_what_it_would_see_later(solver):
    seen = []

    def scorer(estimator, X, y):
        assert set(estimator.classes_) == {"setosa", "versicolor", "virginica"}
        assert estimator.predict_proba(X).shape == (len(y), 3)
        seen.append(estimator.score(X, y))
        return seen[-1]

    names = np.array(["setosa", "versicolor", "virginica"])[Y_IRIS]
    net = NeuralNetworkClassifier(
        (10,), solver=solver, early_stopping=True, scoring=scorer, max_iter=8, random_state=0
    )
    fit(net, X_SCALED[::2], names[::2], X_val=X_SCALED[1::2], y_val=names[1::2])
    assert net.validation_scores_ == seen
    assert net.score(X_SCALED[1::2], names[1::2]) == max(seen) == net.best_validation_score_
    by_name = clone(net).set_params(scoring="balanced_accuracy")
    fit(by_name, X_SCALED[::2], names[::2], X_val=X_SCALED[1::2], y_val=names[1::2])
    assert by_name.validation_scores_ == pytest.approx(seen)


def test_a_pipeline_can_scale_the_validation_rows_too():
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        net = NeuralNetworkClassifier((5,), early_stopping=True, max_iter=60, random_state=0)
        net.set_params(learning_rate_init=0.05).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])
        fit(pipeline, X_IRIS[::2], Y_IRIS[::2], X_val=X_IRIS[1::2], y_val=Y_IRIS[1::2])
        assert pipeline.score(X_IRIS, Y_IRIS) > 0.5


def test_gradients_can_be_checked_from_outside():
    for n_classes in (2, 3):
        rng = np.random.RandomState(42)
        X, y = rng.rand(5, 10), 1 + np.arange(1, 6) % n_classes
        for activation in ACTIVATIONS:
            net = NeuralNetworkClassifier(
                10, activation, solver="lbfgs", alpha=1e-5, max_iter=1, random_state=1
            )
            assert fit(net, X, y).check_gradients(X, y) < 1e-7
            assert net.check_gradients(X, y, sample_weight=[1, 2, 0, 1, 3]) < 1e-7


def test_a_wrong_gradient_is_found(monkeypatch):
    net = fit(NeuralNetworkClassifier((4,), "tanh", max_iter=3), X_SCALED, Y_IRIS)
    wrong = Activation(ACTIVATIONS["tanh"].forward, lambda z, a, delta, mask: None, in_place=True)
    assert net.check_gradients(X_SCALED, Y_IRIS) < 1e-7
    monkeypatch.setitem(ACTIVATIONS, "tanh", wrong)
    assert net.check_gradients(X_SCALED, Y_IRIS) > 1e-3


def test_interrupting_keeps_the_network_trained_so_far():
    calls = []

    def scorer(estimator, X, y):
        calls.append(estimator.score(X, y))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return calls[-1]

    net = NeuralNetworkClassifier((5,), early_stopping=True, scoring=scorer, random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user after 3 epochs"):
        net.fit(X_SCALED, Y_IRIS)
    assert net.stop_reason_ == "interrupted"
    assert len(net.validation_scores_) == 3
    assert net.predict(X_SCALED).shape == (150,)


ENDLESS = """
import signal
import numpy as np
from quadnet import NeuralNetworkClassifier
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
X = np.random.default_rng(0).normal(size=(2000, 2))
net = NeuralNetworkClassifier((5,), max_iter=10**9, tol=0, n_iter_no_change=10**9, verbose=True)
net.fit(X, X[:, 0] > 0)
print(net.stop_reason_, net.n_iter_ == len(net.loss_curve_), net.predict(X).shape)
"""


def test_a_real_sigint_keeps_the_network():
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", ENDLESS], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        for _ in range(3):
            assert process.stdout.readline().startswith("Iteration")
        process.send_signal(signal.SIGINT)
        *_, last = process.communicate(timeout=60)[0].splitlines()
    finally:
        process.kill()
    assert last.endswith("interrupted True (2000,)")  # the interrupt may cut a printed line short
    assert process.returncode == 0


def test_arrays_go_through_a_file_without_pickle(tmp_path):
    data = pd.DataFrame(X_IRIS, columns=["a", "b", "c", "d"])
    names = np.array(["setosa", "versicolor", "virginica"])[Y_IRIS]
    net = NeuralNetworkClassifier((5, 4), ("tanh", "gelu"), max_iter=20, random_state=0)
    fit(net, data, names)
    np.savez(tmp_path / "net.npz", **net.to_arrays())
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        back = NeuralNetworkClassifier.from_arrays(arrays)
    np.testing.assert_array_equal(back.predict_proba(data), net.predict_proba(data))
    np.testing.assert_array_equal(back.predict(data), net.predict(data))
    assert back.hidden_layer_sizes == [5, 4]
    assert back.max_iter == 20
    with pytest.raises(ValueError, match="feature names should match"):
        back.predict(data.rename(columns={"a": "z"}))


def test_weights_that_are_put_in_are_used():
    net = fit(NeuralNetworkClassifier((3,), max_iter=2, random_state=0), X_IRIS, Y_IRIS)
    before = net.predict_proba(X_IRIS)
    mine = [np.zeros_like(W) for W in net.coefs_]
    net.coefs_ = mine
    np.testing.assert_allclose(net.predict_proba(X_IRIS[:1]), net.predict_proba(X_IRIS[9:10]))
    assert (net.predict_proba(X_IRIS) != before).any()
    net.intercepts_[-1] = np.array([0.0, 5.0, 0.0])
    assert set(net.predict(X_IRIS)) == {1}
    assert set(pickle.loads(pickle.dumps(net)).predict(X_IRIS)) == {1}
    net.coefs_ = mine[:1]
    with pytest.raises(ValueError, match="do not fit the network"):
        net.predict(X_IRIS)


def test_a_pickle_goes_on_training_where_it_was_and_holds_each_weight_once():
    options = {"random_state": 0, "hidden_layer_sizes": (500,), "batch_size": 20}
    kept = NeuralNetworkClassifier(**options)
    kept.partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2])
    through = pickle.loads(pickle.dumps(kept))
    # Weights, and Adam's two moments of each.
    assert len(pickle.dumps(kept)) < 3.5 * kept.n_parameters_ * 8
    for net in (kept, through):
        net.partial_fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(kept.coefs_[0], through.coefs_[0])


def test_a_partial_fit_that_fails_leaves_the_network_as_it_was():
    net = NeuralNetworkClassifier((), solver="sgd", learning_rate_init=1e10, random_state=0)
    net.partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2])
    before = net.predict_proba(X_IRIS)
    weights = np.zeros(150)
    with pytest.raises(ValueError, match="All weights are zero"):
        net.partial_fit(X_IRIS, Y_IRIS, sample_weight=weights)
    with pytest.raises(ValueError, match="diverged"):
        net.partial_fit(1e300 * X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(net.predict_proba(X_IRIS), before)
    net.partial_fit(X_IRIS, Y_IRIS)
    assert np.isfinite(net.predict_proba(X_IRIS)).all()


@pytest.mark.parametrize("n_rows", [1, 7])
def test_a_frozen_answer_is_the_estimators_whatever_the_kind_of_rows(n_rows):
    net = fit(NeuralNetworkClassifier((5,), max_iter=20, random_state=0), X_IRIS, Y_IRIS)
    expected = net.predict_proba(X_IRIS[:n_rows].tolist())
    for rows in (X_IRIS[:n_rows], np.asfortranarray(X_IRIS[:n_rows]), X_IRIS[:n_rows].tolist()):
        np.testing.assert_array_equal(net.predict_proba(rows), expected)
    np.testing.assert_array_equal(net.freeze().probabilities(X_IRIS[:n_rows]), expected)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("targets", [Y_IRIS > 0, Y_IRIS, np.tri(3, dtype=int)[Y_IRIS]])
def test_underflow_is_zero_whatever_numpy_is_told_to_raise(activation, loss, targets):
    for X in (1e4 * X_SCALED, np.float32(1e4) * X_SCALED.astype(np.float32)):
        weights = np.linspace(1e-60, 1.0, 150)
        net = NeuralNetworkClassifier((5,), activation, loss=loss, max_iter=2, random_state=0)
        with np.errstate(all="raise"):
            fit(net, X, targets, weights, X_val=X, y_val=targets)
            net.partial_fit(X, targets, weights)
            net.score(X, targets)
            net.predict_log_proba(X)
            net.decision_function(X)
            net.activations(X)
            net.check_gradients(X[:3], targets[:3])
            frozen = net.freeze()
            frozen.predict(X)
            frozen.probabilities_by_class(X)
            P = net.predict_proba(X)
        np.testing.assert_array_equal(P, frozen.probabilities(X))
        assert np.isfinite(P).all()


def test_a_temperature_can_be_fitted_to_the_logits():
    net = NeuralNetworkClassifier((30,), solver="lbfgs", random_state=0, max_iter=100)
    X, y = make_classification(400, 10, n_informative=4, flip_y=0.2, random_state=0)
    plain = fit(clone(net), X[::2], y[::2])
    frozen = FrozenEstimator(plain)
    calibrated = CalibratedClassifierCV(frozen, method="sigmoid").fit(X[1::2], y[1::2])
    assert log_loss(y[1::2], calibrated.predict_proba(X[1::2])) < log_loss(
        y[1::2], plain.predict_proba(X[1::2])
    )


@pytest.mark.filterwarnings("ignore:Number of classes in training fold:RuntimeWarning")
def test_calibration_across_folds_needs_all_classes_in_each():
    net = NeuralNetworkClassifier((5,), solver="lbfgs", random_state=0)
    for estimator in (net, LogisticRegression()):
        sorted_folds = CalibratedClassifierCV(estimator, cv=KFold(3), ensemble=False)
        with pytest.raises(ValueError, match="Only 2 class/es in training fold"):
            fit(sorted_folds, X_SCALED, Y_IRIS)
    for folds in (StratifiedKFold(3), 3):
        calibrated = CalibratedClassifierCV(net, cv=folds, ensemble=False)
        assert fit(calibrated, X_SCALED, Y_IRIS).score(X_SCALED, Y_IRIS) > 0.9
    assert "StratifiedKFold" in NeuralNetworkClassifier.decision_function.__doc__


def test_every_epoch_is_printed_when_asked(capsys):
    net = NeuralNetworkClassifier((2,), verbose=True, early_stopping=True, max_iter=3)
    fit(net, X_IRIS, Y_IRIS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[::2]] == [f"Iteration {i}" for i in (1, 2, 3)]
    assert all(line.startswith("Validation score: ") for line in lines[1::2])


def test_why_training_ended_is_said():
    def reason(**parameters):
        return fit(NeuralNetworkClassifier((3,), random_state=0, **parameters), X_SCALED, Y_IRIS)

    assert reason(max_iter=2).stop_reason_ == "max_iter"
    assert reason(tol=1e9, n_iter_no_change=2).stop_reason_ == "no_improvement"
    assert reason(solver="lbfgs", tol=0.1).stop_reason_ == "converged"
    assert reason(solver="lbfgs", max_iter=3).stop_reason_ == "max_iter"
    assert reason(solver="lbfgs", max_fun=3).stop_reason_ == "max_fun"
    assert reason(max_iter=2).n_parameters_ == 4 * 3 + 3 + 3 * 3 + 3
