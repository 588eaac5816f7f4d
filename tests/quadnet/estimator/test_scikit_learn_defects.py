"""What scikit-learn's MLP does wrong or says wrongly, and ours does not: one test each.

Where both would agree, scikit-learn's behaviour is asserted too, so that a test says so when it
has been mended there.
"""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import MLP_TAKES_WEIGHTS, fit

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
WEIGHTS = np.random.default_rng(0).uniform(0.1, 5.0, len(X))


def test_the_logarithm_of_a_probability_that_underflows_is_finite():
    ours = fit(NeuralNetworkClassifier((5,), random_state=0, max_iter=20), X, Y)
    theirs = fit(MLPClassifier((5,), random_state=0, max_iter=20), X, Y)
    with np.errstate(divide="ignore"):
        assert np.isneginf(theirs.predict_log_proba(1e4 * X)).any()
    assert np.isfinite(ours.predict_log_proba(1e4 * X)).all()
    assert np.isfinite(ours.predict_log_proba(1e4 * X.astype(np.float32))).all()
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-9)


def test_the_epochs_without_improvement_are_as_many_as_the_docstring_says():
    # scikit-learn's says n_iter_no_change epochs; it stops after one more. So does ours, for the
    # numbers' sake, and its docstring says "more than".
    net = NeuralNetworkClassifier(tol=1e9, n_iter_no_change=4, max_iter=100).fit(X, Y)
    # The first epoch is an improvement on nothing; five more are not on the first.
    assert net.n_iter_ == 1 + 5
    assert "more than this many epochs in a row" in NeuralNetworkClassifier.__doc__


def test_adaptive_waits_for_as_many_epochs_as_the_docstring_says():
    # scikit-learn's says two epochs; it waits for n_iter_no_change.
    net = fit(
        NeuralNetworkClassifier(
            solver="sgd",
            learning_rate="adaptive",
            learning_rate_init=0.5,
            tol=1e9,
            n_iter_no_change=3,
            max_iter=10,
        ),
        X,
        Y,
    )
    # The first epoch is an improvement; the rate falls after each four that are none.
    np.testing.assert_allclose(net.learning_rate_curve_, [0.5] * 5 + [0.1] * 4 + [0.02])
    words = " ".join(NeuralNetworkClassifier.__doc__.split())
    assert "each time that more than `n_iter_no_change` epochs in a row improve nothing" in words


def test_lbfgs_keeps_its_losses():
    ours = fit(NeuralNetworkClassifier(solver="lbfgs", max_iter=7, random_state=0), X, Y)
    assert len(ours.loss_curve_) == ours.n_iter_ == 7
    assert sorted(ours.loss_curve_, reverse=True) == ours.loss_curve_
    assert ours.best_loss_ == ours.loss_ == ours.loss_curve_[-1]
    assert ours.best_iteration_ == 7


def test_lbfgs_leaves_float32_as_float32():
    X32 = X.astype(np.float32)
    theirs = fit(MLPClassifier(solver="lbfgs", max_iter=7), X32, Y)
    assert theirs.coefs_[0].dtype == np.float64
    ours = fit(NeuralNetworkClassifier(solver="lbfgs", max_iter=7), X32, Y)
    assert {a.dtype.name for a in ours.coefs_ + ours.intercepts_} == {"float32"}
    assert ours.predict_proba(X32).dtype == np.float32


def test_a_weighted_epochs_loss_is_averaged_by_the_weights():
    shared = {
        "batch_size": 40,
        "shuffle": False,
        "max_iter": 1,
        "solver": "sgd",
        "learning_rate_init": 1e-300,
        "alpha": 0.0,
        "random_state": 0,
    }
    ours = fit(NeuralNetworkClassifier(**shared), X, Y, sample_weight=WEIGHTS)
    likelihood = np.log(ours.predict_proba(X)[np.arange(len(X)), Y])
    expected = -np.average(likelihood, weights=WEIGHTS)
    assert ours.loss_ == pytest.approx(expected, rel=1e-12)
    if MLP_TAKES_WEIGHTS:
        theirs = fit(MLPClassifier(**shared), X, Y, sample_weight=WEIGHTS)
        assert theirs.loss_ != pytest.approx(expected, rel=1e-3)


def test_a_mini_batch_of_rows_without_weight_is_passed_over():
    weights = np.where(np.arange(len(X)) < 20, 0.0, 1.0)
    shared = {"batch_size": 10, "shuffle": False, "max_iter": 2, "random_state": 0}
    if MLP_TAKES_WEIGHTS:
        with pytest.raises(ZeroDivisionError):
            fit(MLPClassifier(**shared), X, Y, sample_weight=weights)
    ours = fit(NeuralNetworkClassifier(**shared), X, Y, sample_weight=weights)
    assert ours.n_updates_ == 2 * 13
    assert np.isfinite(ours.loss_curve_).all()


def test_divergence_ends_training_at_the_first_loss_that_is_not_finite(capsys):
    shared = {
        "solver": "sgd",
        "activation": "identity",
        "learning_rate_init": 1e200,
        "max_iter": 50,
        "random_state": 0,
        "verbose": True,
    }
    with pytest.raises(ValueError, match=r"loss of epoch 2 is (nan|inf)\. Lower learning_rate_in"):
        NeuralNetworkClassifier(**shared).fit(X, Y)
    assert capsys.readouterr().out.count("Iteration") == 1
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="non-finite"):
        fit(MLPClassifier(**shared), X, Y)
    assert capsys.readouterr().out.count("Iteration") > 10


def test_the_penalty_can_be_made_independent_of_the_batch_size():
    def weights_size(estimator_class, batch_size, **options):
        net = estimator_class(
            (), solver="sgd", learning_rate_init=0.002, batch_size=batch_size, alpha=30.0,
            max_iter=300, tol=0, n_iter_no_change=1000, random_state=0, **options,
        )  # fmt: skip
        return np.abs(fit(net, X, Y).coefs_[0]).sum()

    # scikit-learn's penalty counts once for each mini-batch of an epoch.
    assert weights_size(MLPClassifier, 10) < 0.5 * weights_size(MLPClassifier, 150)
    ours = [weights_size(NeuralNetworkClassifier, n, alpha_scaling="samples") for n in (10, 150)]
    assert ours[0] == pytest.approx(ours[1], rel=0.1)
    # And a full batch is where both rules say the same.
    assert ours[1] == pytest.approx(weights_size(MLPClassifier, 150), rel=1e-6)


def test_a_changed_architecture_is_noticed_by_a_warm_start():
    net = fit(NeuralNetworkClassifier((6,), warm_start=True, max_iter=3, random_state=0), X, Y)
    before = net.predict_proba(X)
    net.set_params(hidden_layer_sizes=(7,))
    with pytest.raises(ValueError, match=r"another architecture.*\(4, 7\).*got.*\(4, 6\)"):
        net.fit(X, Y)
    np.testing.assert_array_equal(net.predict_proba(X), before)


def test_partial_fits_with_a_seed_shuffle_anew_each_time():
    net = NeuralNetworkClassifier((3,), random_state=0, batch_size=10)
    net.partial_fit(X, Y, classes=[0, 1, 2])
    once = net._random_state.get_state()[2]
    net.partial_fit(X, Y)
    assert net._random_state.get_state()[2] != once
    assert net.loss_curve_[0] != net.loss_curve_[1]


def test_curves_of_endless_partial_fits_do_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr("quadnet.estimator.fitting.fit_loop.MAX_CURVE_LENGTH", 5)
    net = NeuralNetworkClassifier((2,), random_state=0)
    for _ in range(8):
        net.partial_fit(X[:10], Y[:10], classes=[0, 1, 2])
    assert len(net.loss_curve_) == len(net.learning_rate_curve_) == 5
    assert net.n_updates_ == 8
    assert net.n_iter_ == 1


def test_labels_are_named_as_they_are_when_there_are_too_few_to_hold_out():
    with pytest.raises(ValueError, match=r"only 1 sample.*It is 'rare'"):
        NeuralNetworkClassifier(early_stopping=True).fit(
            [[1], [2], [3], [4]], ["common", "common", "common", "rare"]
        )
