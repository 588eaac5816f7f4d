"""Validation rows that only watch, and what is called after each epoch."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import fit

X, Y = load_iris(return_X_y=True)
TRAIN, HELD = slice(0, None, 2), slice(1, None, 2)
SOLVERS = ["sgd", "adam", "lbfgs"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_that_only_watch_change_no_weight(solver):
    plain = fit(NeuralNetworkClassifier((4,), solver=solver, max_iter=12, random_state=0), X, Y)
    watched = NeuralNetworkClassifier((4,), solver=solver, max_iter=12, random_state=0)
    fit(watched, X, Y, X_val=X[HELD], y_val=Y[HELD])
    for a, b in zip(watched.coefs_, plain.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert watched.loss_curve_ == plain.loss_curve_
    assert watched.best_loss_ == plain.best_loss_
    assert watched.best_validation_score_ is None
    assert plain.validation_scores_ is None
    assert len(watched.validation_scores_) == watched.n_iter_ == 12
    assert watched.validation_scores_[-1] == watched.score(X[HELD], Y[HELD])
    assert watched.validation_loss_curve_[-1] == pytest.approx(
        log_loss(Y[HELD], watched.predict_proba(X[HELD])), rel=1e-9
    )


def test_the_curve_is_that_of_scikit_learns_network_epoch_by_epoch():
    parameters = {"hidden_layer_sizes": (4,), "random_state": 0, "batch_size": 25}
    ours = NeuralNetworkClassifier(**parameters, max_iter=8)
    fit(ours, X[TRAIN], Y[TRAIN], X_val=X[HELD], y_val=Y[HELD])
    for epochs in range(1, 9):
        theirs = fit(MLPClassifier(**parameters, max_iter=epochs), X[TRAIN], Y[TRAIN])
        expected = log_loss(Y[HELD], theirs.predict_proba(X[HELD]))
        assert ours.validation_loss_curve_[epochs - 1] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_on_epoch_is_called_with_the_record_of_each_epoch(solver, early_stopping):
    seen = []

    def on_epoch(history):
        seen.append((history.epochs, history.loss_curve[-1], history.scores[-1]))

    net = NeuralNetworkClassifier(
        (4,), solver=solver, max_iter=9, random_state=0, early_stopping=early_stopping
    )
    fit(net, X[TRAIN], Y[TRAIN], X_val=X[HELD], y_val=Y[HELD], on_epoch=on_epoch)
    assert [number for number, _, _ in seen] == list(range(1, net.n_iter_ + 1))
    assert [loss for _, loss, _ in seen] == net.loss_curve_
    assert [score for _, _, score in seen] == net.validation_scores_


def test_what_on_epoch_raises_ends_the_fit_and_leaves_the_estimator_as_it_was():
    net = fit(NeuralNetworkClassifier((4,), max_iter=3, random_state=0), X, Y)
    before = [W.copy() for W in net.coefs_]

    def on_epoch(history):
        raise RuntimeError(f"enough after {history.epochs}")

    with pytest.raises(RuntimeError, match="enough after 1"):
        net.fit(X, Y, on_epoch=on_epoch)
    for a, b in zip(net.coefs_, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_called_is_refused_before_training():
    net = NeuralNetworkClassifier((4,), max_iter=3, random_state=0)
    with pytest.raises(TypeError, match=r"on_epoch must be a callable or None\. Got 3"):
        net.fit(X, Y, on_epoch=3)
    assert not hasattr(net, "n_features_in_")
