"""Training that goes on from where it was: warm starts, partial fits, and failures in between."""

import copy
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from quadnet import NeuralNetworkClassifier
from quadnet.layers import BatchNorm, Dense
from tests.support.oracle import fit
from tests.support.serving import ROOT

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


def new(**parameters):
    return NeuralNetworkClassifier(
        **({"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 20} | parameters)
    )


def test_weights_that_were_taken_out_can_be_put_back():
    net = fit(new(), X, Y)
    before, old = net.predict_proba(X), net.coefs_
    net.coefs_ = [np.zeros_like(W) for W in old]
    assert (net.predict_proba(X) != before).any()
    net.coefs_ = old
    np.testing.assert_array_equal(net.predict_proba(X), before)


def test_the_lists_and_the_arrays_put_in_are_the_ones_used():
    net = fit(new(), X, Y)
    layers = net.coefs_
    for value in (0.0, 1.0):
        layers[0] = np.full((4, 5), value)
        expected = fit(new(), X, Y)
        expected.coefs_[0] = np.full((4, 5), value)
        np.testing.assert_array_equal(net.predict_proba(X), expected.predict_proba(X))
    mine = np.zeros((4, 5))
    net.coefs_[0] = mine
    zero = net.predict_proba(X)
    mine[:] = 1.0
    assert (net.predict_proba(X) != zero).any()
    np.testing.assert_array_equal(net.freeze().probabilities(X), net.predict_proba(X))


def test_a_copys_weights_are_its_own_to_replace():
    net = fit(new(), X, Y)
    before = net.predict_proba(X)
    copied = copy.copy(net)
    copied.coefs_ = [np.zeros_like(W) for W in net.coefs_]
    assert (copied.predict_proba(X) != before).any()
    copied.partial_fit(X, Y)
    np.testing.assert_array_equal(net.predict_proba(X), before)
    assert len(net.loss_curve_) == net.n_iter_


def test_weights_that_do_not_fit_change_nothing():
    net = fit(new(), X, Y)
    before, coefs, intercepts = net.predict_proba(X), net.coefs_, net.intercepts_
    for wrong in ({"intercepts_": []}, {"intercepts_": [np.zeros(3)] * 2}, {"coefs_": coefs[:1]}):
        net.coefs_ = [np.zeros_like(W) for W in coefs]
        vars(net).update(wrong)
        with pytest.raises(ValueError, match="do not fit the network"):
            net.predict(X)
        net.coefs_, net.intercepts_ = coefs, intercepts
        np.testing.assert_array_equal(net.predict_proba(X), before)


@pytest.mark.parametrize("way", ["warm_start", "partial_fit"])
def test_weights_put_in_before_the_first_fit_are_where_it_begins(way):
    trained = fit(new(), X, Y)
    net = new(warm_start=True, learning_rate_init=1e-300, solver="sgd", max_iter=1)
    net.coefs_ = [W.copy() for W in trained.coefs_]
    with pytest.raises(ValueError, match="must both be set"):
        fit(net, X, Y)
    net.intercepts_ = [b.copy() for b in trained.intercepts_]
    data = pd.DataFrame(X, columns=list("abcd"))
    if way == "warm_start":
        fit(net, data, Y)
    else:
        net.partial_fit(data, Y, classes=[0, 1, 2])
    np.testing.assert_allclose(net.predict_proba(data), trained.predict_proba(X))
    assert net.n_features_in_ == 4
    assert net.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(data[["a", "b"]])


def test_a_warm_start_scores_anew_with_early_stopping():
    net = new(early_stopping=True, warm_start=True, max_iter=60, learning_rate_init=0.05)
    before = fit(net, X, Y).predict_proba(X)
    other = X[:, ::-1].copy()
    fit(net, other, Y)
    assert (net.predict_proba(X) != before).any()
    assert net.score(other, Y) > 0.7
    fit(net.set_params(scoring="loss", max_iter=15), X, Y)
    assert net.best_validation_score_ < 0
    assert net.n_iter_ > 1


def test_nothing_of_a_fit_that_failed_is_left_in_the_record():
    calls = []

    def scorer(estimator, X, y):
        calls.append(None)
        if len(calls) == 4:
            raise RuntimeError("out of luck")
        return 13.0 if len(calls) == 3 else 0.5

    net = new(early_stopping=True, warm_start=True, scoring=scorer, max_iter=2)
    fit(net, X, Y)
    curve, before = list(net.loss_curve_), net.predict_proba(X)
    with pytest.raises(RuntimeError):
        fit(net, X, Y)
    assert net.loss_curve_ == curve
    np.testing.assert_array_equal(net.predict_proba(X), before)
    fit(net.set_params(max_iter=1), X, Y)
    assert net.best_validation_score_ == 0.5
    assert len(net.loss_curve_) == 3


def test_steps_that_failed_are_not_counted():
    net = new(
        solver="sgd", hidden_layer_sizes=(), learning_rate_init=1e10, batch_size=10, alpha=0.0
    )
    net.partial_fit(X, Y, classes=[0, 1, 2])
    for _ in range(3):
        with pytest.raises(ValueError, match="diverged"):
            net.partial_fit(X * 1e300, Y)
    net.partial_fit(X, Y)
    assert (net.n_updates_, net.t_, len(net.loss_curve_)) == (30, 300, 2)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("types", [(np.float64, np.float32), (np.float32, np.float64)])
def test_the_network_keeps_its_type_when_rows_come_in_another(solver, types):
    net = new(solver=solver)
    net.partial_fit(X.astype(types[0]), Y, classes=[0, 1, 2])
    net.partial_fit(X.astype(types[1]), Y)
    assert {a.dtype for a in net.coefs_ + net.intercepts_} == {np.dtype(types[0])}
    same = new(solver=solver).partial_fit(X.astype(types[0]), Y, classes=[0, 1, 2])
    same.partial_fit(X.astype(types[0]), Y)
    np.testing.assert_allclose(net.coefs_[0], same.coefs_[0], rtol=1e-5)


def test_biases_are_not_forgotten_by_a_fit_without_them():
    net = fit(new(warm_start=True), X, Y)
    with pytest.raises(ValueError, match=r"expected biases of 0.*fit_intercept"):
        net.set_params(fit_intercept=False).fit(X, Y)
    net = fit(new(fit_intercept=False), X, Y)
    net.intercepts_ = [np.ones(5), np.ones(3)]
    with pytest.raises(ValueError, match="expected biases of 0"):
        net.predict(X)


def test_decay_follows_the_parameters_from_call_to_call():
    free = new(solver="adam", alpha=0.0).partial_fit(X, Y, classes=[0, 1, 2])
    held = copy.deepcopy(free).set_params(solver="adamw", alpha=100.0)
    for _ in range(5):
        free.partial_fit(X, Y)
        held.partial_fit(X, Y)
    assert np.abs(held.coefs_[0]).sum() < 0.8 * np.abs(free.coefs_[0]).sum()
    before = np.abs(held.coefs_[0]).sum()
    held.set_params(alpha=0.0).partial_fit(X, Y)
    assert np.abs(held.coefs_[0]).sum() == pytest.approx(before, rel=0.02)


@pytest.mark.parametrize(
    "data",
    [
        {"X": X * np.nan, "y": Y},
        {"X": X, "y": Y, "sample_weight": -np.ones(150)},
        {"X": X[:, :2], "y": np.full(150, 0.5)},
        {"X": X[:, :2], "y": Y[:9]},
    ],
)
def test_a_fit_that_is_refused_leaves_the_network_as_it_was(data):
    net = fit(new(), pd.DataFrame(X, columns=list("abcd")), Y)
    before, known = net.predict_proba(pd.DataFrame(X, columns=list("abcd"))), set(vars(net))
    with pytest.raises(ValueError, match=r"NaN|negative|Unknown label|inconsistent"):
        net.fit(**data)
    assert set(vars(net)) == known
    np.testing.assert_array_equal(net.predict_proba(pd.DataFrame(X, columns=list("abcd"))), before)


def test_a_warning_that_is_an_error_does_not_cost_the_network():
    net = fit(new(max_iter=2), X, Y)
    before = net.predict_proba(X)
    with pytest.raises(ConvergenceWarning):
        net.set_params(max_iter=3).fit(X, Y)
    assert net.n_iter_ == 3
    assert (net.predict_proba(X) != before).any()


def test_a_call_that_failed_changes_neither_schedule_nor_moments():
    def after(*, failing):
        net = new(
            learning_rate="cosine", learning_rate_init=1e10, max_iter=10, solver="sgd",
            hidden_layer_sizes=(), alpha=0.0,
        )  # fmt: skip
        for _ in range(8):
            net.partial_fit(X, Y, classes=[0, 1, 2])
        if failing:
            with pytest.raises(ValueError, match="diverged"):
                net.partial_fit(X * 1e300, Y)
        return net.partial_fit(X, Y)

    once, undisturbed = after(failing=True), after(failing=False)
    assert once.learning_rate_curve_ == undisturbed.learning_rate_curve_
    np.testing.assert_allclose(once.coefs_[0], undisturbed.coefs_[0], rtol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_a_call_that_failed_does_not_spoil_running_means(solver):
    def after(*, failing):
        net = new(layers=[BatchNorm(), Dense(5), "relu"], solver=solver)
        net.partial_fit(X, Y, classes=[0, 1, 2])
        if failing:
            with pytest.raises(ValueError, match="diverged"):
                net.partial_fit(X * 1e300, Y)
        return net.partial_fit(X, Y).parameters_

    for once, undisturbed in zip(after(failing=True), after(failing=False), strict=True):
        for name in undisturbed:
            # The call that failed has drawn an order of the rows, so sums round differently.
            np.testing.assert_allclose(once[name], undisturbed[name], rtol=1e-9, atol=1e-12)


def test_rows_without_weight_on_one_side_are_said():
    weights = np.zeros(20)
    weights[3] = 0.5
    y = np.arange(20) % 3
    said = r"sample_weight of the rows (held out|left to train on)"
    with pytest.raises(ValueError, match=said):
        new(early_stopping=True).fit(X[:20], y, weights)


@pytest.mark.parametrize("sizes", [(n for n in (5, 5)), {9, 3}, "55", b"55", np.array(5), [[5]]])
def test_sizes_that_are_no_sequence_are_refused(sizes):
    with pytest.raises(ValueError, match="an int above 0 or a sequence of them"):
        new(hidden_layer_sizes=sizes).fit(X, Y)


def test_a_scorer_is_shown_a_copy():
    def meddling(estimator, X, y):
        estimator.coefs_[0] *= 0.0
        assert not hasattr(estimator, "_history")
        return 0.5

    options = {"early_stopping": True, "max_iter": 3, "n_iter_no_change": 99}
    left = fit(new(scoring=lambda e, X, y: 0.5, **options), X, Y)
    meddled = fit(new(scoring=meddling, **options), X, Y)
    np.testing.assert_array_equal(meddled.coefs_[0], left.coefs_[0])


@pytest.mark.parametrize("policy", ["invscaling", "adaptive"])
@pytest.mark.parametrize("warmup", [0, 1e-9])
def test_partial_fits_follow_the_policy_of_one_fit(policy, warmup):
    parameters = {
        "solver": "sgd", "learning_rate": policy, "learning_rate_init": 0.5, "tol": 1e9,
        "n_iter_no_change": 1 if policy == "adaptive" else np.inf,
        "max_iter": 6, "warmup_epochs": warmup,
    }  # fmt: skip
    whole = fit(new(**parameters), X, Y)
    parts = new(**parameters)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    assert parts.learning_rate_curve_ == pytest.approx(whole.learning_rate_curve_)
    assert len(set(whole.learning_rate_curve_)) > 2


def test_a_constant_rate_after_a_cosine_is_the_initial_one():
    net = fit(new(learning_rate="cosine", learning_rate_init=0.02), X, Y)
    net.set_params(learning_rate="constant").partial_fit(X, Y)
    assert net.learning_rate_curve_[-1] == 0.02


@pytest.mark.filterwarnings("ignore:y looks one-hot")
def test_a_warm_start_keeps_to_one_label_or_several_a_row():
    net = fit(new(warm_start=True), X, np.eye(3, dtype=int)[Y])
    with pytest.raises(ValueError, match="one column for each label"):
        fit(net, X, Y)


def test_a_class_weight_goes_for_rows_of_which_a_class_is_missing():
    net = new(class_weight={0: 2.0, 2: 3.0})
    net.partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X[:100], Y[:100])
    net.partial_fit(X[:50], Y[:50])
    assert net.n_updates_ == 3


@pytest.mark.parametrize(
    ("class_weight", "options", "message"),
    [
        ({0: 0, 1: 0, 2: 0}, {}, "All weights are zero"),
        ({0: 0.0}, {"sample_weight": (Y == 0).astype(float)}, "All weights are zero"),
        ({0: -1.0}, {}, "finite and not negative"),
        ({0: np.nan}, {}, "finite and not negative"),
        ({0: 1.0, 7: -1.0}, {}, "Got -1.0 for the class 7"),
        ({0: 10**400}, {}, "finite and not negative"),
        ({7: 1.0}, {}, r"keys from the classes \[0, 1, 2\]. Got \[7\]"),
        ({"0": 1.0, "1": 2.0}, {}, r"keys from the classes \[0, 1, 2\]. Got \['0', '1'\]"),
    ],
)
def test_class_weights_that_mean_nothing_are_refused(class_weight, options, message):
    with pytest.raises(ValueError, match=message):
        new(class_weight=class_weight).fit(X, Y, **options)
    with pytest.raises(ValueError, match="multilabel"):
        new(class_weight=class_weight).fit(X, np.tri(3, dtype=int)[Y])


@pytest.mark.parametrize("weight", ["2", None])
def test_class_weights_that_are_no_numbers_are_refused(weight):
    with pytest.raises(ValueError, match=r"must be .* a dict of numbers"):
        new(class_weight={0: weight}).fit(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_class_weights_name_the_classes_of_the_problem_and_not_only_those_of_the_rows():
    named = new(class_weight={"a": 1.0, "b": 2.0, "c": 9.0})
    pair = np.array(["a", "b"])[np.arange(150) % 2]
    fit(named, X, pair)
    by_hand = fit(new(), X, pair, np.where(pair == "b", 2.0, 1.0))
    np.testing.assert_allclose(named.coefs_[0], by_hand.coefs_[0])
    # Also in rows to validate on, and where each fold lacks a class.
    letters = np.array(["a", "b", "c"])[Y]
    fit(new(class_weight={"a": 2.0, "z": 1.0}), X, letters, X_val=X[:99], y_val=letters[:99])
    scores = cross_val_score(named, X, letters, groups=Y, cv=LeaveOneGroupOut())
    assert np.isfinite(scores).all()
    sites = cross_val_score(named, X, letters, groups=np.arange(150) < 60, cv=LeaveOneGroupOut())
    assert np.isfinite(sites).all()


def test_a_plain_scorer_is_called_without_weights_and_may_not_answer_nan():
    weights = np.linspace(0.5, 1.5, 150)
    seen = []

    def weighing(estimator, X, y, sample_weight=None):
        seen.append(sample_weight)
        return 0.5

    net = new(early_stopping=True, max_iter=2, class_weight="balanced")
    fit(net.set_params(scoring=lambda e, X, y: e.score(X, y)), X, Y, weights)
    fit(net.set_params(scoring=weighing), X, Y, weights)
    assert all(len(given) == 15 for given in seen)
    fit(net.set_params(scoring="f1_macro"), X, Y, weights)
    with pytest.raises(ValueError, match="must return a number"):
        net.set_params(scoring=lambda e, X, y: np.nan).fit(X, Y)
    with pytest.raises(ValueError, match=r"'scoring' parameter.*get_scorer_names.*Got 'luck'"):
        net.set_params(scoring="luck").fit(X, Y)


def test_a_subclass_may_have_a_constructor_of_its_own():
    class Narrow(NeuralNetworkClassifier):
        def __init__(self, width=3):
            super().__init__((width,), early_stopping=True, scoring="f1_macro", max_iter=3)
            self.width = width

    assert fit(Narrow(4), X, Y).coefs_[0].shape == (4, 4)


def test_a_long_gradient_is_shortened_in_float32_too():
    huge = (X * 1e25).astype(np.float32)
    net = new(hidden_layer_sizes=(), max_grad_norm=1.0, max_iter=1, learning_rate_init=0.1)
    moved = fit(net.set_params(solver="sgd", momentum=0.0), huge, Y).coefs_[0]
    start = fit(
        new(hidden_layer_sizes=(), max_iter=1, solver="sgd", learning_rate_init=1e-30), huge, Y
    )
    step = np.linalg.norm(moved.astype(float) - start.coefs_[0])
    assert step == pytest.approx(0.1, rel=1e-3)


def test_numbers_of_numpys_types_survive_as_arrays():
    net = fit(
        new(
            hidden_layer_sizes=np.array([6]),
            max_iter=np.int64(7),
            alpha=np.float32(0.5),
            shuffle=np.bool_(False),
            class_weight={0: 2.0, 1: np.float64(1.5)},
        ),
        X,
        Y,
    )
    back = NeuralNetworkClassifier.from_arrays(net.to_arrays())
    assert back.hidden_layer_sizes == [6]
    assert (back.max_iter, back.alpha, back.shuffle) == (7, 0.5, False)
    assert back.class_weight == {0: 2.0, 1: 1.5}
    back.partial_fit(X, Y)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights.0", lambda W: (100 * W).astype(int), "finite float32 or float64, got int"),
        ("weights.0", lambda W: W * np.nan, "must be finite"),
        ("biases.1", lambda b: b.astype(complex), "got complex"),
        ("classes", lambda c: c[::-1], "sorted, distinct"),
        ("classes", lambda c: c[:, np.newaxis], "one-dimensional array of sorted"),
        ("feature_names", lambda n: n[:2], r"feature_names of shape \(2,\) for 4 features"),
        (
            "estimator",
            lambda e: np.array(str(e).replace('"relu"', '"cubic"')),
            r"layers\[1\], of kind 'activation', .* Got 'cubic'",
        ),
        ("estimator", lambda e: np.array(str(e).replace('"alpha"', '"omega"')), "'omega'"),
        ("estimator", lambda e: np.array(str(e).replace('"format": 2', '"format": 9')), "format 9"),
    ],
)
def test_arrays_of_the_wrong_kind_are_refused(name, value, message):
    arrays = fit(new(), pd.DataFrame(X, columns=list("abcd")), Y).to_arrays()
    arrays[name] = value(arrays[name])
    with pytest.raises(ValueError, match=message):
        NeuralNetworkClassifier.from_arrays(arrays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": Y + 1}, r"not in `self.classes_`"),
        ({"y": Y.astype(str)}, r"not in `self.classes_`"),
        ({"y": np.eye(3, dtype=int)[Y]}, "should be a 1d array"),
        ({"y": Y, "sample_weight": [1, 2]}, r"the shape \(150,\)"),
        ({"y": Y, "sample_weight": np.zeros(150)}, "All weights are zero"),
    ],
)
def test_a_gradient_check_of_other_data_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(new(), X, Y).check_gradients(X, **arguments)


@pytest.mark.filterwarnings("ignore:y looks one-hot")
def test_a_list_of_lists_can_be_validated_on():
    targets = np.eye(3, dtype=int)[Y]
    net = new(early_stopping=True)
    fit(net, X, targets.tolist(), X_val=X.tolist(), y_val=targets.tolist())
    assert len(net.validation_scores_) == net.n_iter_


def test_divergence_of_lbfgs_says_what_lbfgs_has():
    net = new(solver="lbfgs", activation="identity", init=lambda rng, n, m: np.full((n, m), 1e300))
    with pytest.raises(ValueError, match="Start from smaller weights"):
        net.fit(X * 1e100, Y)


def test_an_interrupted_partial_fit_says_so(monkeypatch):
    net = new(verbose=True)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupt)
    with pytest.warns(UserWarning, match="interrupted by user after 0 epochs"):
        net.partial_fit(X, Y, classes=[0, 1, 2])
    assert net.stop_reason_ == "interrupted"
    assert net.predict(X).shape == (150,)


def test_lbfgs_shows_each_iterations_weights_and_not_the_line_searchs_last_trial():
    net = new(solver="lbfgs", alpha=0.0, early_stopping=True, scoring="loss", max_iter=30)
    fit(net, X, Y, X_val=X, y_val=Y)
    assert net.validation_loss_curve_ == pytest.approx(net.loss_curve_, rel=1e-12)


def test_balance_is_among_the_classes_that_have_weight():
    weights = np.where(Y == 2, 0.0, 1.0)
    weights[:10] = 3.0
    balanced = fit(new(class_weight="balanced", alpha=5.0), X, Y, weights)
    by_hand = weights * np.where(Y == 0, 120 / (2 * 70), 120 / (2 * 50))
    np.testing.assert_allclose(balanced.coefs_[0], fit(new(alpha=5.0), X, Y, by_hand).coefs_[0])


@pytest.mark.parametrize("n_rows", [1, 32])
def test_a_mini_batch_of_known_classes_is_no_regression(n_rows):
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(n_rows, 5)), rng.permutation(100)[:n_rows]
    net = new().partial_fit(rows, y, classes=range(100))  # the tests make errors of warnings
    net.partial_fit(rows, y[::-1]).check_gradients(rows, y)
    named = new().partial_fit(rows, y.astype(str), classes=np.arange(100).astype(str))
    assert named.predict(rows).dtype.kind == "U"
    # All rows of a fit may be a regression: a warning says so, from scikit-learn 1.7 on.
    said = []
    for estimator in (new(max_iter=2), KNeighborsClassifier(1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(estimator, rng.normal(size=(32, 5)), np.arange(32))
        said.append({str(each.message) for each in caught})
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "convert",
    [
        lambda X, y: (X.tolist(), y.tolist()),
        lambda X, y: (np.asfortranarray(X), y),
        lambda X, y: (X.astype(">f8"), y.astype(float)),
        lambda X, y: (X, pd.Series(y)),
    ],
)
def test_rows_in_any_form_make_the_same_update(convert):
    plain, converted = (new().partial_fit(X, Y, classes=[0, 1, 2]) for _ in range(2))
    for part in (slice(0, 120), slice(120, 150)):
        plain.partial_fit(X[part], Y[part])
        converted.partial_fit(*convert(X[part], Y[part]))
    np.testing.assert_array_equal(plain.coefs_[0], converted.coefs_[0])


@pytest.mark.parametrize(
    ("X_bad", "y_bad", "message"),
    [
        (np.where(X > 2, np.nan, X), Y, "contains NaN"),
        (np.where(X > 2, np.inf, X), Y, "contains infinity"),
        (X[:, :3], Y, "X has 3 features, but .* expecting 4"),
        (X[:9], Y[:8], "inconsistent numbers of samples"),
        (X[:0], Y[:0], "0 sample"),
        (X, Y + 1, r"not in `self.classes_`.*'y' has \[1 2 3\]"),
        (X, Y - 1, r"not in `self.classes_`.*'y' has \[-1  0  1\]"),
        (X, Y.astype(str), "not in `self.classes_`"),
    ],
)
def test_bad_arrays_of_a_later_call_are_refused(X_bad, y_bad, message):
    net = new().partial_fit(X, Y, classes=[0, 1, 2])
    before = net.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        net.partial_fit(X_bad, y_bad)
    np.testing.assert_array_equal(net.predict_proba(X), before)


MANY_CLASSES = """
import resource
import numpy as np
from quadnet import NeuralNetworkClassifier
X = np.random.default_rng(0).normal(size=(64, 5))
net = NeuralNetworkClassifier((5,), max_iter=1, batch_size=64)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
net.partial_fit(X[:8], np.arange(8), classes=np.arange(10))
before = peak()
net = NeuralNetworkClassifier((5,), max_iter=1)
net.partial_fit(X, np.arange(64), classes=np.arange(30_000))
print(peak() - before)
"""


def test_memory_grows_with_rows_times_classes():
    done = subprocess.run(
        [sys.executable, "-c", MANY_CLASSES], capture_output=True, text=True, check=True, cwd=ROOT
    )
    # 64 x 30,000 outputs are 15 MB in float64; a square of the classes is 900 MB in bytes.
    assert float(done.stdout) < 300
