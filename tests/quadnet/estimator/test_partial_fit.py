"""`partial_fit` with early stopping on given rows, and with classes that appear later."""

import copy
import pickle

import numpy as np
import pytest
from scipy.special import expit
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import log_loss

from quadnet import NeuralNetworkClassifier
from quadnet.layers import BatchNorm, Dense
from tests.support.oracle import fit

X, Y = load_wine(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
TRAIN, HELD = slice(0, None, 2), slice(1, None, 2)
HELD_OUT = {"X_val": X[HELD], "y_val": Y[HELD]}
IRIS = load_iris(return_X_y=True)


def new(**options):
    return NeuralNetworkClassifier(
        (6,), random_state=0, **{"learning_rate_init": 0.05, "scoring": "loss"} | options
    )


def train(net, calls, **options):
    for _ in range(calls):
        net.partial_fit(X[TRAIN], Y[TRAIN], classes=[0, 1, 2], **options)
        if net.stop_reason_ != "partial_fit":
            break
    return net


@pytest.mark.parametrize("scoring", ["loss", "accuracy", "f1_macro"])
def test_calls_stop_where_a_fit_stops_with_its_best_weights(scoring):
    parts = train(new(scoring=scoring, n_iter_no_change=4), 300, **HELD_OUT)
    whole = new(scoring=scoring, n_iter_no_change=4, early_stopping=True, max_iter=300)
    fit(whole, X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert parts.stop_reason_ == whole.stop_reason_ == "no_improvement"
    # The shuffles of a fit continue one another; each call of partial_fit begins with the order of
    # its rows. Without shuffling, both are the same.
    parts = train(new(scoring=scoring, n_iter_no_change=4, shuffle=False), 300, **HELD_OUT)
    fit(whole.set_params(shuffle=False), X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert parts.validation_scores_ == pytest.approx(whole.validation_scores_)
    assert parts.best_validation_score_ == pytest.approx(whole.best_validation_score_)
    assert parts.best_iteration_ == whole.best_iteration_
    for a, b in zip(parts.coefs_, whole.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_best_weights_are_restored_only_at_the_end():
    net = new(n_iter_no_change=3)
    seen = []
    while not seen or net.stop_reason_ == "partial_fit":
        train(net, 1, **HELD_OUT)
        seen.append(log_loss(Y[HELD], net.predict_proba(X[HELD])))
    assert -net.validation_scores_[-2] == pytest.approx(seen[-2])  # not the best weights yet
    assert seen[-2] > min(seen) == pytest.approx(seen[-1])
    assert seen[-1] == pytest.approx(-net.best_validation_score_)
    # The next call begins another round.
    train(net, 1, **HELD_OUT)
    assert net.stop_reason_ == "partial_fit"
    assert net.best_validation_score_ == net.validation_scores_[-1]


def test_a_copy_between_two_calls_has_the_best_weights():
    net = new(n_iter_no_change=3)
    train(net, 15, **HELD_OUT)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        original = copy.deepcopy(net)
        for each in (original, other):
            train(each, 300, **HELD_OUT)
            assert each.stop_reason_ == "no_improvement"
        np.testing.assert_array_equal(original.coefs_[0], other.coefs_[0])


def test_rows_that_only_watch_change_no_weight():
    plain, watched = train(new(), 4), train(new(), 4, **HELD_OUT)
    np.testing.assert_array_equal(plain.coefs_[0], watched.coefs_[0])
    assert plain.validation_scores_ is None
    assert len(watched.validation_scores_) == 4
    train(watched, 1)  # forgets them
    assert watched.best_validation_score_ is None
    assert watched.stop_reason_ == "partial_fit"


def test_wrong_validation_rows_leave_the_estimator_as_it_was():
    net = train(new(), 2, **HELD_OUT)
    before = net.predict_proba(X)
    for wrong, message in [
        ({"X_val": X}, "X_val is provided, but y_val was not"),
        ({"sample_weight_val": [1.0]}, "sample_weight_val is provided, but X_val and y_val"),
        ({"X_val": X, "y_val": Y + 5}, "y_val: .*classes not in"),
        ({"X_val": X[:, :3], "y_val": Y}, "3 features"),
    ]:
        with pytest.raises(ValueError, match=message):
            net.partial_fit(X, Y, **wrong)
        np.testing.assert_array_equal(net.predict_proba(X), before)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        new(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2], **HELD_OUT)


LOSSES = ["log_loss", "binary_cross_entropy", "squared_error"]


def grown(before, after, *, loss="log_loss", solver="adam", **options):
    """Return a network trained on `before`, and one that then got `after` with no step to make."""
    rows, labels = IRIS
    net = NeuralNetworkClassifier(
        (5,), loss=loss, solver=solver, random_state=0, learning_rate_init=0.05, **options
    )
    known = np.isin(labels, before)
    for _ in range(5):
        net.partial_fit(rows[known], labels[known], classes=before)
    more = copy.deepcopy(net).set_params(learning_rate_init=1e-15, momentum=0.0)
    more.partial_fit(rows[known], labels[known], classes=after)
    return net, more


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_outputs_of_known_classes_keep_their_weights(loss, fit_intercept):
    rows, _ = IRIS
    known = [0, 1, 2]
    net, more = grown(known, [-3, 0, 1, 2, 7], loss=loss, fit_intercept=fit_intercept)
    assert list(more.classes_) == [-3, 0, 1, 2, 7]
    np.testing.assert_allclose(more.coefs_[1][:, [1, 2, 3]], net.coefs_[1], atol=1e-12)
    np.testing.assert_allclose(more.coefs_[0], net.coefs_[0], atol=1e-12)
    drawn = more.coefs_[1][:, [0, 4]]
    bound = np.sqrt(6 / (5 + 5))
    assert (abs(drawn) <= bound).all()
    assert len(np.unique(drawn)) == 10
    np.testing.assert_allclose(
        more.decision_function(rows)[:, [1, 2, 3]], net.decision_function(rows), atol=1e-9
    )
    assert more.n_outputs_ == 5


@pytest.mark.parametrize("loss", LOSSES)
def test_two_classes_with_one_output_become_three(loss):
    rows, _ = IRIS
    net, more = grown([0, 1], [0, 1, 2], loss=loss)
    z, P = net.decision_function(rows), more.predict_proba(rows)
    assert more.decision_function(rows).shape == (150, 3)
    expected = expit(z)
    if loss == "log_loss":
        # The ratio of the two known classes stays.
        np.testing.assert_allclose(P[:, 1] / (P[:, 0] + P[:, 1]), expected, rtol=1e-9)
    else:
        sigmoids = more.activations(rows)[-1]
        np.testing.assert_allclose(sigmoids[:, 1], expected, rtol=1e-9)
        np.testing.assert_allclose(sigmoids[:, 0], expit(-z), rtol=1e-9)


@pytest.mark.parametrize(("after", "sign"), [([1, 2], 1.0), ([0, 1], -1.0)])
def test_one_class_becomes_two(after, sign):
    rows, _ = IRIS
    net, more = grown([1], after)
    np.testing.assert_allclose(more.decision_function(rows), sign * net._network.logits(rows)[:, 0])
    _, three = grown([1], [0, 1, 2])
    np.testing.assert_allclose(
        three.decision_function(rows)[:, 1], -0.5 * net._network.logits(rows)[:, 0], atol=1e-9
    )


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw"])
def test_the_moments_of_known_outputs_are_continued(solver):
    rows, labels = IRIS
    net = NeuralNetworkClassifier(
        (), solver=solver, random_state=0, learning_rate_init=0.01, alpha=0.0, loss="squared_error"
    )
    for _ in range(5):
        net.partial_fit(rows, labels, classes=[0, 1, 2])
    more = copy.deepcopy(net)
    # Sigmoids of their own: without hidden layers, known outputs do not notice the new one.
    for _ in range(5):
        net.partial_fit(rows, labels)
        more.partial_fit(rows, labels, classes=[0, 1, 2, 3])
    np.testing.assert_allclose(more.coefs_[0][:, :3], net.coefs_[0], rtol=1e-9)
    assert more.n_updates_ == net.n_updates_ == 10
    assert len(more.loss_curve_) == 10


def test_the_moments_of_a_single_output_are_continued_by_two():
    rows, labels = IRIS
    two = labels < 2
    net = NeuralNetworkClassifier(
        (), solver="adam", random_state=0, learning_rate_init=0.01, alpha=0.0, loss="squared_error"
    )
    for _ in range(5):
        net.partial_fit(rows[two], labels[two], classes=[0, 1])
    more = copy.deepcopy(net)
    for _ in range(5):
        net.partial_fit(rows[two], labels[two])
        more.partial_fit(rows[two], labels[two], classes=[0, 1, 2])
    np.testing.assert_allclose(more.coefs_[0][:, 1], net.coefs_[0][:, 0], rtol=1e-9)
    np.testing.assert_allclose(more.coefs_[0][:, 0], -net.coefs_[0][:, 0], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_class_that_appears_is_learned_and_replayed(dtype):
    rows, labels = IRIS
    names = np.array(["b", "c", "a"])[labels]
    net = NeuralNetworkClassifier(
        layers=[Dense(12), BatchNorm(), "tanh"], scale=True, learning_rate_init=0.02,
        batch_size=8, random_state=0,
    )  # fmt: skip
    known = names != "a"
    for _ in range(20):
        net.partial_fit(rows[known].astype(dtype), names[known], classes=["b", "c"])
    before = net.score(rows[known].astype(dtype), names[known])
    assert before > 0.95
    for _ in range(60):
        net.partial_fit(rows.astype(dtype), names, classes=["a", "b", "c"])
        assert net.replay_["refused"] == 0
    assert net.score(rows.astype(dtype), names) > 0.95
    assert net.parameters_[0]["weights"].dtype == dtype
    assert pickle.loads(pickle.dumps(net)).score(rows.astype(dtype), names) > 0.95
    assert net.freeze().network.n_outputs == 3


def test_a_caller_may_set_weights_between():
    net, _ = grown([0, 1, 2], [0, 1, 2, 3])
    net.coefs_ = [np.full_like(W, 0.25) for W in net.coefs_]
    net.set_params(learning_rate_init=1e-15)
    net.partial_fit(*IRIS, classes=[0, 1, 2, 3])
    np.testing.assert_allclose(net.coefs_[1][:, :3], 0.25, atol=1e-12)


def test_other_lists_are_refused_as_before_and_change_nothing():
    rows, labels = IRIS
    net, _ = grown([0, 1, 2], [0, 1, 2, 3])
    before = copy.deepcopy(net)
    for classes in ([0, 1], [0, 1, 3, 4], ["a", "b", "c", "d"], [0, 1, 2.5, 3]):
        with pytest.raises(ValueError, match=r"classes"):
            net.partial_fit(rows, labels, classes=classes)
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`"):
        net.partial_fit(rows, labels + 1)
    with pytest.raises(ValueError, match="NaN"):
        net.partial_fit(np.full((2, 4), np.nan), [0, 3], classes=[0, 1, 2, 3])
    np.testing.assert_array_equal(net.classes_, before.classes_)
    for each in (net, before):
        each.partial_fit(rows, labels)
    np.testing.assert_array_equal(net.coefs_[0], before.coefs_[0])
    several = NeuralNetworkClassifier((3,)).partial_fit(
        rows, np.tri(3, dtype=int)[labels], classes=[0, 1, 2]
    )
    with pytest.raises(ValueError, match="is not the same as on last call"):
        several.partial_fit(rows, np.tri(3, dtype=int)[labels], classes=[0, 1, 2, 3])
