"""The regressor against scikit-learn: its checks, its MLP's own tests, and its MLP's numbers."""

import inspect
import re
import subprocess
import sys
from numbers import Integral, Real

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor
from sklearn.neural_network import _multilayer_perceptron as theirs_module
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)

from quadnet import NeuralNetworkRegressor
from quadnet.estimator.hyperparameters import REGRESSOR_CONSTRAINTS
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES
from tests.support.oracle import MLP_TAKES_WEIGHTS, fit
from tests.support.serving import ROOT

SHARED = list(inspect.signature(MLPRegressor).parameters)
LOSSES = ["squared_error", "poisson"] if "loss" in SHARED else ["squared_error"]

CHECKED = [
    NeuralNetworkRegressor(max_iter=100),
    # With less of a penalty its path is too long for the checks' 1e-7, as is that of MLPRegressor.
    NeuralNetworkRegressor(solver="lbfgs", alpha=1.0),
    NeuralNetworkRegressor(
        "huber", solver="sgd", learning_rate_init=0.05, scale_target=True, max_iter=100
    ),
    NeuralNetworkRegressor("poisson", learning_rate_init=0.02, max_iter=100),
    NeuralNetworkRegressor(
        "quantile", quantiles=[0.2, 0.5, 0.9], scale_target=True, learning_rate_init=0.02,
        max_iter=100,
    ),
    NeuralNetworkRegressor(
        "absolute_error",
        (20, 10),
        ("silu", "softplus"),
        solver="adamw",
        learning_rate="cosine",
        learning_rate_init=0.01,
        warmup_epochs=2,
        max_grad_norm=1.0,
        alpha_scaling="samples",
        init="he_normal",
        max_iter=100,
    ),
    NeuralNetworkRegressor(missing="indicator", scale=True, max_iter=100),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_check_of_column_names():
    check_dataframe_column_names_consistency(
        "NeuralNetworkRegressor", NeuralNetworkRegressor(max_iter=5)
    )


def test_scikit_learns_check_of_parameters(monkeypatch):
    # Of the parameters shared with its MLP the notation is the MLP's own, of the others it is
    # written here a second time, as for the classifier.
    fraction = Interval(Real, 0, 1, closed="left")
    beyond = {
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "init": [StrOptions({"auto", *INITIALIZERS}), callable],
        "fit_intercept": ["boolean"],
        "dropout": [fraction],
        "warmup_epochs": [Interval(Real, 0, None, closed="left")],
        "step_epochs": [Interval(Integral, 1, None, closed="left")],
        "step_factor": [Interval(Real, 0, 1, closed="right")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "scoring": [str, callable],
        "alpha_scaling": [StrOptions({"batch", "samples"})],
        "layers": [list, tuple, None],
        "input_shape": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
        "solver": [StrOptions({"sgd", "adam", "adamw", "lbfgs"})],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "cosine", "step"})],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantiles": ["array-like", None],
        "scale": ["boolean"],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "missing": [StrOptions({"error", "indicator"})],
        "scale_target": ["boolean"],
        "n_ensemble": [Interval(Integral, 1, None, closed="left")],
        "calibration_fraction": [fraction],
    }
    notation = MLPRegressor._parameter_constraints | beyond
    assert notation.keys() == REGRESSOR_CONSTRAINTS.keys()
    monkeypatch.setattr(NeuralNetworkRegressor, "_parameter_constraints", notation, raising=False)
    check_param_validation("NeuralNetworkRegressor", NeuralNetworkRegressor(max_iter=2))


REBIND = """
import sklearn.neural_network
from quadnet import NeuralNetworkRegressor
sklearn.neural_network.MLPRegressor = NeuralNetworkRegressor
"""

SKIPPED = {
    "test_nonfinite_params": "expects the words of scikit-learn's error; ours is the same type",
    "test_mlp_diverging_loss": "expects a network that diverged; ours is an error",
}
"""Of scikit-learn's tests of its MLP, those that expect another end of a fit that diverges."""


def test_scikit_learns_tests_of_its_mlp_pass_with_ours_in_its_place(tmp_path):
    (tmp_path / "rebind.py").write_text(REBIND)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "rebind", "-p", "no:cacheprovider", "-q"]
        + ["-c", "/dev/null", "--rootdir", str(tmp_path)]
        + ["--pyargs", "sklearn.neural_network.tests.test_mlp"]
        + ["-k", " and ".join(f"not {name}" for name in SKIPPED)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "OPENBLAS_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 30, passed[0]


def assert_same_network(ours, theirs, rtol=1e-9):
    for a, b in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        # Values that came out near 0 by cancellation share the digits of what was cancelled.
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(abs(b).max(), 1e-3))


def assert_same_training(shared, X, y, *, rtol=1e-9, curves=True, **fit_options):
    ours = fit(NeuralNetworkRegressor(**shared), X, y, **fit_options)
    theirs = fit(MLPRegressor(**shared), X, y, **fit_options)
    assert_same_network(ours, theirs, rtol)
    if shared.get("solver") == "lbfgs":
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=rtol)
    elif curves:
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    predicted = theirs.predict(X)
    assert ours.predict(X).shape == predicted.shape
    np.testing.assert_allclose(ours.predict(X), predicted, rtol=100 * rtol, atol=100 * rtol)
    return ours, theirs


SOLVERS = {
    "adam": {"solver": "adam"},
    "plain": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
}


@st.composite
def problems(draw):
    """Return parameters both have, rows, numbers and weights or None."""
    n_rows, n_features = draw(st.integers(8, 60)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n_rows, n_features))
    n_columns, loss = draw(st.sampled_from([None, 1, 2, 3])), draw(st.sampled_from(LOSSES))
    shape = (n_rows,) if n_columns in {None, 1} else (n_rows, n_columns)
    y = rng.poisson(1.5, shape) if loss == "poisson" else rng.normal(0.5, 2.0, shape)
    y.ravel()[0] += loss == "poisson"
    if loss == "poisson" and y.ndim == 2:
        y[0] += 1
    weighted = draw(st.booleans()) and MLP_TAKES_WEIGHTS
    weights = rng.uniform(0.1, 3.0, n_rows) if weighted else None
    if draw(st.booleans()):
        X = draw(st.sampled_from([sparse.csr_matrix, sparse.csc_array]))(X)
    parameters = {
        "hidden_layer_sizes": tuple(draw(st.lists(st.integers(1, 9), max_size=3))),
        "activation": draw(st.sampled_from(["identity", "logistic", "tanh", "relu"])),
        "alpha": draw(st.sampled_from([0.0, 1e-4, 0.3])),
        "batch_size": draw(st.sampled_from(["auto", 1, 3, 8])),
        "learning_rate_init": draw(st.sampled_from([1e-4, 2e-3])),
        "shuffle": draw(st.booleans()),
        "max_iter": 10,
        "random_state": draw(st.integers(0, 2**32 - 1)),
        **SOLVERS[draw(st.sampled_from(sorted(SOLVERS)))],
    }
    return parameters | ({"loss": loss} if len(LOSSES) > 1 else {}), X, y, weights


def mean_of_sums(y_true, y_pred, sample_weight=None):
    return 0.5 * np.average((y_true - y_pred) ** 2, weights=sample_weight, axis=0).sum()


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,  # a training that is near chaos can spread rounding errors beyond any bound
    suppress_health_check=[HealthCheck.too_slow],
)
@given(problems())
def test_ten_epochs_equal_scikit_learns(problem):
    parameters, X, y, weights = problem
    if parameters["batch_size"] != "auto":
        parameters["batch_size"] = min(parameters["batch_size"], X.shape[0])
    # With weights, and batches of different sums of them, scikit-learn averages an epoch's loss
    # by rows, as its classifier does. A single batch leaves no difference.
    curves = weights is None or parameters["batch_size"] == "auto"
    lbfgs = parameters["solver"] == "lbfgs"
    if lbfgs and y.ndim == 2 and parameters.get("loss") != "poisson":
        return  # test_lbfgs_minimises_the_sum_over_columns
    assert_same_training(
        parameters,
        X,
        y,
        rtol=1e-6 if lbfgs else 1e-9,
        curves=curves,
        **({} if weights is None else {"sample_weight": weights}),
    )


X_ALL, Y_ALL = load_diabetes(return_X_y=True)
X, Y = X_ALL[:150] * 20, Y_ALL[:150] / 100
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2.0, 150)
COUNTS = np.random.default_rng(0).poisson(np.exp(X[:, 2] / 2))


@pytest.mark.parametrize("weighted", [False, True])
def test_lbfgs_minimises_the_sum_over_columns(monkeypatch, weighted):
    # scikit-learn's value is the mean over the columns, and its gradient that of the sum. With a
    # value that fits its gradient it trains the same network.
    if weighted and not MLP_TAKES_WEIGHTS:
        pytest.skip("this scikit-learn's MLP takes no weights")
    name = "squared_error" if len(LOSSES) > 1 else "squared_loss"
    table = theirs_module.LOSS_FUNCTIONS
    if not MLP_TAKES_WEIGHTS:
        monkeypatch.setitem(table, "squared_error", lambda y, p: ((y - p) ** 2).sum() / 2 / len(y))
    else:
        monkeypatch.setitem(table, name, mean_of_sums)
    options = {"sample_weight": WEIGHTS} if weighted else {}
    shared = {"solver": "lbfgs", "max_iter": 15, "random_state": 0, "activation": "tanh"}
    both = np.c_[Y, X[:, 0] - Y, X[:, 3]]
    ours = fit(NeuralNetworkRegressor(**shared), X, both, **options)
    theirs = fit(MLPRegressor(**shared), X, both, **options)
    assert_same_network(ours, theirs, 1e-7)
    penalty = 0.5 * 1e-4 * sum((W**2).sum() for W in ours.coefs_)
    penalty /= WEIGHTS.sum() if weighted else 150
    assert ours.loss_ == pytest.approx((theirs.loss_ - penalty) / 3 + penalty, rel=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", ["adam", "nesterov"])
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_splits_scores_and_restores_as_scikit_learn_does(solver, loss, weighted):
    if weighted and not MLP_TAKES_WEIGHTS:
        pytest.skip("this scikit-learn's MLP takes no weights")
    shared = {
        "early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 3,
        "learning_rate_init": 0.01, "max_iter": 100, "random_state": 3, **SOLVERS[solver],
    }  # fmt: skip
    shared |= {"loss": loss} if len(LOSSES) > 1 else {}
    options = {"sample_weight": WEIGHTS} if weighted else {}
    y = Y if loss == "squared_error" else COUNTS
    ours, theirs = assert_same_training(shared, X, y, rtol=1e-7, curves=not weighted, **options)
    assert ours.validation_scores_ == pytest.approx(theirs.validation_scores_)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert ours.stop_reason_ == "no_improvement"


@pytest.mark.parametrize("policy", ["invscaling", "adaptive"])
def test_the_learning_rate_policies_are_scikit_learns(policy):
    shared = {
        "solver": "sgd", "learning_rate": policy, "learning_rate_init": 0.1, "tol": 0.01,
        "n_iter_no_change": 2, "batch_size": 20, "max_iter": 30, "random_state": 3,
    }  # fmt: skip
    ours, theirs = assert_same_training(shared, X, Y, rtol=1e-7)
    assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate)
    assert len(set(ours.learning_rate_curve_)) > 1


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_continues_as_scikit_learns_does(solver):
    shared = {"warm_start": True, "max_iter": 5, "random_state": 1, "hidden_layer_sizes": (6,)}
    ours = NeuralNetworkRegressor(**shared, **SOLVERS[solver])
    theirs = MLPRegressor(**shared, **SOLVERS[solver])
    for _ in range(2):
        fit(ours, X, Y)
        fit(theirs, X, Y)
        assert_same_network(ours, theirs, 1e-6 if solver == "lbfgs" else 1e-9)
    if solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        assert ours.t_ == theirs.t_


def test_partial_fits_are_scikit_learns():
    shared = {"hidden_layer_sizes": (6,), "random_state": 2, "batch_size": 20, "shuffle": False}
    ours, theirs = NeuralNetworkRegressor(**shared), MLPRegressor(**shared)
    for part in (slice(0, 60), slice(60, 150), slice(0, 60)):
        ours.partial_fit(X[part], Y[part])
        theirs.partial_fit(X[part], Y[part])
        assert_same_network(ours, theirs)


@pytest.mark.parametrize("column", [Y, Y[:, np.newaxis]])
def test_a_fit_until_it_converges_stops_at_scikit_learns_epoch(column):
    options = {"max_iter": 3000, "tol": 1e-3, "random_state": 0}
    ours = NeuralNetworkRegressor(**options)
    theirs = MLPRegressor(**options)
    for net in (ours, theirs):
        if column.ndim == 2:
            with pytest.warns(UserWarning, match="A column-vector y was passed"):
                net.fit(X, column)
        else:
            net.fit(X, column)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-6)
    assert ours.score(X, Y) == pytest.approx(theirs.score(X, Y), rel=1e-6)


def test_shared_parameters_have_scikit_learns_names_order_and_defaults():
    theirs = MLPRegressor().get_params()
    ours = NeuralNetworkRegressor().get_params()
    assert {name: ours[name] for name in theirs} == theirs
    names = list(inspect.signature(NeuralNetworkRegressor).parameters)
    first = SHARED if "loss" in SHARED else ["loss", *SHARED]
    assert names[: len(first)] == first
    assert theirs.keys() < ours.keys()


def test_shared_attributes_have_scikit_learns_names():
    for options in ({}, {"early_stopping": True}):
        theirs = fit(MLPRegressor(max_iter=2, **options), X, Y)
        ours = fit(NeuralNetworkRegressor(max_iter=2, **options), X, Y)
        public = {name for name in vars(theirs) if name.endswith("_") and name[0] != "_"}
        assert public <= set(vars(ours))
        for name in public:
            # Its numbers are NumPy's, which are Python's too.
            assert isinstance(getattr(theirs, name), type(getattr(ours, name))), name
