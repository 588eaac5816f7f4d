"""`label_smoothing`: targets and losses against hand arithmetic, and the gradient."""

import pickle

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.datasets import load_iris

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import fit

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
SEVERAL = np.tri(3, dtype=int)[Y]


def first_loss(targets, smoothing, loss="log_loss", rows=X):
    """Return the logits before the first update, and the loss that is reported for it."""
    net = NeuralNetworkClassifier(
        (), loss=loss, label_smoothing=smoothing, alpha=0.0, random_state=0, batch_size=150
    )
    # A rate so small that the network after the update is that before it.
    fit(net.set_params(max_iter=1, learning_rate_init=1e-14), rows, targets)
    return rows @ net.coefs_[0] + net.intercepts_[0], net.loss_


def test_the_loss_of_three_classes_by_hand():
    Z, loss = first_loss(Y, 0.1)
    # PyTorch's CrossEntropyLoss(label_smoothing=0.1): 0.1 / 3 for every class, 0.9 more for the
    # row's own.
    targets = np.full((150, 3), 0.1 / 3)
    targets[np.arange(150), Y] += 0.9
    assert loss == pytest.approx(-(targets * np.log(softmax(Z, axis=1))).sum(axis=1).mean())


def test_a_value_written_out():
    # Two rows of three classes and a network of zeros: every probability is 1/3, and the loss is
    # log 3, whatever the smoothing. With logits (log 4, 0, 0) it is, for class 0 and s = 0.3,
    # -(0.8 log(4/6) + 0.1 log(1/6) + 0.1 log(1/6)) = 0.682724...
    net = NeuralNetworkClassifier((), label_smoothing=0.3, alpha=0.0, warm_start=True)
    net.set_params(max_iter=1, learning_rate_init=1e-14, random_state=0)
    for bias, expected in ([0.0, 0.0, 0.0], np.log(3)), ([np.log(4), 0.0, 0.0], 0.6827240):
        net.coefs_, net.intercepts_ = [np.zeros((1, 3))], [np.array(bias)]
        labels = [0, 0, 0, 1, 2]
        weights = [1.0, 1.0, 1.0, 0.0, 0.0]
        fit(net, np.zeros((5, 1)), labels, weights)
        assert net.loss_ == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_two_classes_have_one_output_halfway(dtype):
    labels = (Y == 2).astype(int)
    Z, loss = first_loss(labels, 0.2, rows=X.astype(dtype))
    p, t = expit(Z[:, 0]), 0.8 * labels + 0.1
    assert loss == pytest.approx(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(), rel=1e-5)


@pytest.mark.parametrize(("targets", "share"), [(Y, 0.2 / 3), (SEVERAL, 0.1)])
def test_sigmoids_by_class_and_by_label(targets, share):
    Z, loss = first_loss(targets, 0.2, "binary_cross_entropy")
    one = targets if targets.ndim == 2 else np.eye(3)[targets]
    p, t = expit(Z), 0.8 * one + share
    assert loss == pytest.approx(-(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(axis=1).mean())


def test_a_squared_error_approaches_the_same_targets():
    Z, loss = first_loss(Y, 0.3, "squared_error")
    t = 0.7 * np.eye(3)[Y] + 0.1
    assert loss == pytest.approx(0.5 * ((expit(Z) - t) ** 2).sum(axis=1).mean())


def test_the_minimum_predicts_the_smoothed_targets():
    # With one indicator column for each class the network can have any probabilities.
    # L-BFGS ends when the loss hardly changes, which leaves about five digits.
    rows = np.eye(3)[Y]
    net = NeuralNetworkClassifier(
        (), solver="lbfgs", alpha=0.0, label_smoothing=0.3, tol=1e-10, max_iter=1000
    )
    P = fit(net, rows, Y).predict_proba(rows)
    np.testing.assert_allclose(P, 0.7 * rows + 0.1, atol=1e-4)
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.1))
    assert net.loss_ == pytest.approx(entropy)
    several = NeuralNetworkClassifier(
        (), solver="lbfgs", alpha=0.0, label_smoothing=0.3, tol=1e-10, max_iter=1000
    )
    P = fit(several, rows, SEVERAL).predict_proba(rows)
    np.testing.assert_allclose(P, 0.7 * SEVERAL + 0.15, atol=1e-4)


@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("targets", [Y, Y == 1, SEVERAL], ids=["classes", "two", "labels"])
def test_the_gradient_is_that_of_the_smoothed_loss(loss, targets):
    net = NeuralNetworkClassifier(
        (5,), "tanh", loss=loss, label_smoothing=0.4, max_iter=3, random_state=0
    )
    fit(net, X, targets)
    assert net.check_gradients(X[:30], targets[:30]) < 1e-6
    assert pickle.loads(pickle.dumps(net)).check_gradients(X[:30], targets[:30]) < 1e-6


def test_no_smoothing_is_the_default_and_changes_no_bit():
    plain = fit(NeuralNetworkClassifier((5,), max_iter=5, random_state=0), X, Y)
    spelled = NeuralNetworkClassifier((5,), max_iter=5, random_state=0, label_smoothing=0.0)
    assert fit(spelled, X, Y).loss_curve_ == plain.loss_curve_


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_updates_are_replayed(dtype):
    net = NeuralNetworkClassifier(
        (5,), batch_size=10, label_smoothing=0.1, max_iter=40, random_state=0
    )
    fit(net, X.astype(dtype), Y)
    assert net.coefs_[0].dtype == dtype
    assert net.replay_["refused"] == 0
    assert net.replay_["replayed"] > 0 or net.replay_["reason"]


def test_validation_is_by_the_labels_themselves():
    net = NeuralNetworkClassifier(
        (5,), label_smoothing=0.3, early_stopping=True, scoring="loss", max_iter=30, random_state=0
    )
    fit(net, X, Y, X_val=X, y_val=Y)
    P = net.predict_proba(X)
    by_hand = -np.log(P[np.arange(150), Y]).mean()
    assert net.best_validation_score_ == pytest.approx(-by_hand)
    assert min(net.validation_loss_curve_) == pytest.approx(by_hand)


def test_a_good_fit_brings_no_warning_although_its_loss_is_not_0(recwarn):
    rows = 1_000 * X
    net = NeuralNetworkClassifier(
        (10,), solver="lbfgs", label_smoothing=0.4, max_iter=5000, alpha=0.0, random_state=0
    )
    fit(net, rows, Y)
    assert net.loss_ > 0.1 * np.log(3)
    NeuralNetworkClassifier(
        (10,), solver="lbfgs", label_smoothing=0.4, max_iter=5000, random_state=0
    ).fit(X, Y)
    assert [str(each.message) for each in recwarn if "scale" in str(each.message)] == []


@pytest.mark.parametrize("value", [-0.1, 1.0, "a", None])
def test_a_share_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match=r"'label_smoothing' .* float in the range \[0.0, 1.0\)"):
        NeuralNetworkClassifier(label_smoothing=value).fit(X, Y)
