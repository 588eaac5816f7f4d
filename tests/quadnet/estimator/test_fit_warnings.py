"""What a fit warns of: bad scales, too few held-out rows, light weights, one-hot targets."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from quadnet import NeuralNetworkClassifier
from quadnet.estimator.fitting.fit_warnings import loss_of_class_frequencies
from quadnet.nn.losses.of_classes import LOSSES
from tests.support.oracle import fit


def said_by(net, *data, **options):
    """Return what a fit warns of, except that it needs more epochs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(*data, **options)
    return [each for each in caught if "Maximum iterations" not in str(each.message)]


def ages_and_incomes(n_rows=600):
    rng = np.random.default_rng(0)
    age, income = rng.integers(18, 80, n_rows), rng.normal(40_000, 15_000, n_rows)
    y = (age - 45) / 15 + (income - 40_000) / 15_000 + 0.5 * rng.normal(size=n_rows) > 0
    return np.c_[age, income], y


UNSCALED = {
    "ages and incomes": ages_and_incomes(),
    "sparse": (csr_array(ages_and_incomes()[0]), ages_and_incomes()[1]),
    "float32": (ages_and_incomes()[0].astype(np.float32), ages_and_incomes()[1]),
    "several labels": (ages_and_incomes()[0], np.c_[ages_and_incomes()[1], ages_and_incomes()[1]]),
    "far from zero": (scale(ages_and_incomes()[0]) + 2_000, ages_and_incomes()[1]),
    "far too small": (1e-4 * scale(ages_and_incomes()[0]), ages_and_incomes()[1]),
    "huge": (1e30 * ages_and_incomes()[0].astype(np.float32), ages_and_incomes()[1]),
}


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("table", UNSCALED)
def test_an_unscaled_table_that_was_not_learned_brings_the_advice_to_scale(table, solver):
    X, y = UNSCALED[table]
    net = NeuralNetworkClassifier((20,), solver=solver, random_state=0, max_iter=100)
    if table == "huge":
        net.set_params(max_iter=1)
        try:
            said = said_by(net, X, y)
        except ValueError as error:
            assert "scale X to zero mean" in str(error)
            return
    else:
        said = said_by(net, X, y)
    if solver == "lbfgs" and net.score(X, y) > 0.9:
        return  # its line search finds a way where the others do not
    assert any("Scale X to zero mean and unit variance" in str(each.message) for each in said)
    assert all(each.category is ConvergenceWarning for each in said)
    assert {each.filename for each in said} == {__file__}


@pytest.mark.parametrize("convert", [np.asarray, csr_array])
def test_columns_that_differ_by_orders_of_magnitude_are_said(convert):
    X, y = ages_and_incomes()
    # Neither column is large: the one that matters for half of the labels is tiny.
    X = scale(X) * [10.0, 1e-3]
    net = NeuralNetworkClassifier((20,), random_state=0, max_iter=100)
    (said,) = said_by(net, convert(X), y)
    smallest, largest = np.sort(abs(X).max(axis=0))
    expected = f"the largest value of a column is between {smallest:.3g} and {largest:.3g}."
    assert "columns of X differ by orders of magnitude: " + expected in str(said.message)
    assert "set scale=True" in str(said.message)
    assert said_by(net, convert(X * [1.0, 1e4]), y) == []
    # A rare category is no small column.
    rare = np.zeros((len(X), 1))
    rare[3] = 1.0
    assert said_by(net, convert(np.c_[X * [1.0, 1e4], rare]), y) == []


def test_the_advice_is_scale_and_it_helps():
    X, y = ages_and_incomes()
    net = NeuralNetworkClassifier((20,), random_state=0, max_iter=150)
    (said,) = said_by(net, X, y)
    assert "Scale X to zero mean and unit variance: set scale=True" in str(said.message)
    before = net.score(X, y)
    assert said_by(net.set_params(scale=True), X, y) == []
    assert before < 0.6
    assert net.score(X, y) > 0.85
    diverging = NeuralNetworkClassifier(solver="sgd", learning_rate_init=1e9, random_state=0)
    with pytest.raises(ValueError, match=r"scale X to zero mean and unit variance \(scale=True\);"):
        diverging.fit(X, y)
    with pytest.raises(ValueError, match=r"zero mean and unit variance; X or"):
        diverging.set_params(scale=True, learning_rate_init=1e300).fit(X, y)
    # Sparse columns are only divided: an offset stays.
    far = csr_array(scale(X) + 2_000)
    (said,) = said_by(NeuralNetworkClassifier((20,), random_state=0, scale=True), far, y)
    assert "make it dense, or subtract the means" in str(said.message)


def test_a_loss_that_rises_far_above_the_entropy_is_said_at_max_iter_too():
    X, y = GOOD["iris"]
    net = NeuralNetworkClassifier(
        (20,), solver="sgd", learning_rate_init=50.0, random_state=0, max_iter=3
    )
    said = [str(each.message) for each in said_by(net, scale(X), y)]
    assert net.loss_ > 2 * np.log(3)
    assert [each for each in said if "Lower learning_rate_init (now 50.0)." in each] == said
    assert len(said) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1e-25, 1e-4, 2_000.0])
def test_the_advice_names_the_largest_scale_of_a_column(factor, dtype):
    rng = np.random.default_rng(0)
    X, y = (
        (factor * rng.normal(size=(2500, 3)) * [1, 2, 3]).astype(dtype),
        rng.integers(2, size=2500),
    )
    net = NeuralNetworkClassifier((2,), "tanh", random_state=0, max_iter=40, tol=1.0)
    (said,) = [str(each.message) for each in said_by(net, X, y) if "scaled" in str(each.message)]
    largest = np.sqrt((X.astype(np.float64) ** 2).mean(axis=0)).max()
    assert f"the largest root mean square of a column is {largest:.3g}." in said


@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
def test_the_advice_is_for_every_loss(loss):
    X, y = ages_and_incomes()
    for targets in (y, y + (X[:, 0] > 60)):
        net = NeuralNetworkClassifier((20,), loss=loss, random_state=0, max_iter=60)
        assert any("not scaled" in str(each.message) for each in said_by(net, X, targets))


GOOD = {
    "iris": load_iris(return_X_y=True),
    "wine": load_wine(return_X_y=True),
    "digits": tuple(part[:400] for part in load_digits(return_X_y=True)),
    "ages and incomes": ages_and_incomes(),
    "no signal": (np.random.default_rng(0).normal(size=(300, 5)), np.arange(300) % 2),
    "one class": (np.random.default_rng(0).normal(size=(50, 5)), np.zeros(50)),
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "learning_rate_init": 0.1},
        {"solver": "lbfgs", "alpha": 1.0},
        {"dropout": 0.3},
        {"early_stopping": True, "scoring": "loss", "learning_rate_init": 0.01},
        {"learning_rate": "cosine", "learning_rate_init": 0.01, "loss": "squared_error"},
        {"class_weight": "balanced", "alpha": 10.0},
    ],
)
@pytest.mark.parametrize("table", GOOD)
def test_a_good_fit_brings_no_advice(table, options):
    X, y = GOOD[table]
    net = NeuralNetworkClassifier((20,), max_iter=150, random_state=0, **options)
    assert [str(each.message) for each in said_by(net, scale(X), y)] == []


def test_a_network_worse_than_guessing_on_scaled_rows_is_advised_to_lower_its_rate():
    X, y = GOOD["iris"]
    net = NeuralNetworkClassifier(
        (20,), solver="sgd", learning_rate_init=50.0, random_state=0, tol=1e9
    )
    (said,) = said_by(net, scale(X), y)
    assert "worse than guessing. Lower learning_rate_init (now 50.0)." in str(said.message)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_the_shares_is_that_of_a_constant_answer(name):
    rng, loss = np.random.default_rng(0), LOSSES[name]()
    weights = rng.uniform(0.1, 2, 50)
    Y = rng.integers(0, 2, (50, 4)).astype(bool) if loss.multilabel else np.eye(4) > 0
    Y = Y if loss.multilabel else Y[rng.integers(0, 4, 50)]
    for given in (None, weights):
        shares = np.average(Y, axis=0, weights=given)
        P = np.tile(shares[:, np.newaxis], 50)
        expected = np.average(loss.values(P, Y.T.astype(float)), weights=given)
        assert loss_of_class_frequencies(loss, Y, given) == pytest.approx(expected)


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize("given", [False, True])
def test_few_held_out_rows_that_end_training_too_early_are_said(load, given):
    X, y = load(return_X_y=True)
    X, said = scale(X), {}
    for scoring in ("accuracy", "loss", "f1_macro"):
        net = NeuralNetworkClassifier(early_stopping=True, scoring=scoring, random_state=0)
        rows = {"X_val": X[::10], "y_val": y[::10]} if given else {}
        said[scoring] = said_by(net, X, y, **rows)
    assert said["loss"] == []
    for scoring in ("accuracy", "f1_macro"):
        (only,) = said[scoring]
        assert only.category is ConvergenceWarning
        assert "score of only 1" in str(only.message)
        assert "Use scoring='loss'" in str(only.message)


def test_enough_held_out_rows_are_no_reason_to_warn():
    X, y = load_digits(return_X_y=True)
    net = NeuralNetworkClassifier(
        (20,), early_stopping=True, learning_rate_init=0.01, random_state=0
    )
    assert said_by(net, scale(X[:1100]), y[:1100]) == []


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_rows_outweighed_by_the_penalty_are_said(solver):
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    net = NeuralNetworkClassifier((5,), solver=solver, max_iter=20, random_state=0)
    said = [str(each.message) for each in said_by(net, X, y, np.full(150, 1e-6))]
    light = "The rows weigh 1e-06 on average, which makes the penalty 1e+06 times as strong"
    assert any(each.startswith(light) for each in said)
    for scaled in (np.ones(150), np.full(150, 1 / 150), np.linspace(0, 1, 150)):
        assert not any("penalty" in str(each.message) for each in said_by(net, X, y, scaled))
    for harmless in ({"alpha": 0.0}, {"solver": "adamw", "alpha": 0.01}):
        quiet = NeuralNetworkClassifier((5,), max_iter=20, **harmless)
        light_rows = said_by(quiet, X, y, np.full(150, 1e-6))
        assert not any("penalty" in str(each.message) for each in light_rows)
    if solver != "lbfgs":
        with pytest.warns(UserWarning, match="The rows weigh 1e-06"):
            net.partial_fit(X, y, np.full(150, 1e-6))


def test_warnings_point_at_the_users_line():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations") as caught:
        NeuralNetworkClassifier((2,), max_iter=1).fit(X, y)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="batch_size=200 for 150") as caught:
        NeuralNetworkClassifier((2,), batch_size=200).partial_fit(X, y, classes=[0, 1, 2])
    assert caught[0].filename == __file__


def test_one_hot_targets_are_said_to_be_labels_of_their_own():
    X, y = load_iris(return_X_y=True)
    net = NeuralNetworkClassifier((5,), max_iter=2)
    one_hot = np.eye(3, dtype=int)[y]
    for targets in (one_hot, one_hot > 0, csr_array(one_hot), one_hot.tolist()):
        said = [each for each in said_by(net, X, targets) if each.category is UserWarning]
        assert len(said) == 1
        assert "one class per row pass y.argmax(axis=1)" in str(said[0].message)
        assert said[0].filename == __file__
    with pytest.warns(UserWarning, match="looks one-hot"):
        NeuralNetworkClassifier().partial_fit(X, one_hot, classes=[0, 1, 2]).partial_fit(X, one_hot)
    several = one_hot.copy()
    several[3] = 1
    fit(net, X, several)  # the tests make errors of warnings
    fit(net, X, one_hot[:, :1].ravel())
