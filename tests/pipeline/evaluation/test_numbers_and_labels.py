"""Metrics of numbers and labels: scikit-learn's, and what is worked out by hand; the gate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.datasets import load_diabetes, make_multilabel_classification
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.preprocessing import scale

from pipeline.config.gate import Gate
from pipeline.data.datasets import Dataset
from pipeline.data.targets import LabelsTarget, NumberTarget
from pipeline.evaluation.gate import compare_with_constant, judge_candidate
from pipeline.evaluation.label_metrics import measure_labels
from pipeline.evaluation.number_metrics import measure_numbers
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry.manifest import Baseline

LEVELS = [0.05, 0.25, 0.5, 0.95]
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


def echo(n_outputs, loss="squared_error", **settings):
    """Return a predictor whose outputs are its inputs; of quantiles their links."""
    layers = Network.dense([n_outputs, n_outputs], activations=[], loss="squared_error").layers
    network = Network(layers, (n_outputs,), loss=loss, loss_settings=settings)
    network.parameters.weights[0][:] = np.eye(n_outputs)
    return RegressionPredictor(network, None)


def rows(X, y):
    return Dataset(tuple(f"x{i}" for i in range(X.shape[1])), X, NumberTarget(y))


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return rows(scale(X), y)


@pytest.fixture(scope="module")
def quantiles(diabetes):
    net = NeuralNetworkRegressor(
        "quantile", (), quantiles=LEVELS, solver="lbfgs", scale_target=True, max_iter=2000, tol=1e-3
    )
    return net.fit(diabetes.X[::2], diabetes.y[::2]).freeze()


def test_errors_and_quantiles_are_those_of_scikit_learn(diabetes, quantiles):
    measured = measure_numbers(quantiles, diabetes)
    found, y = measured.metrics, diabetes.y
    P, Q = quantiles.predict(diabetes.X), quantiles.predict_quantiles(diabetes.X)
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(y, P), rel=1e-12)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(y, P), rel=1e-12)
    assert found.median_absolute_error == metrics.median_absolute_error(y, P)
    assert found.r2 == pytest.approx(metrics.r2_score(y, P), rel=1e-12)
    for each, level, q in zip(found.quantiles, LEVELS, Q.T, strict=True):
        expected = metrics.mean_pinball_loss(y, q, alpha=level)
        assert (each.level, each.pinball) == (level, pytest.approx(expected, rel=1e-12))
        assert each.share_up_to == (y <= q).mean()
    assert found.coverage == ((Q[:, 0] <= y) & (y <= Q[:, -1])).mean()
    assert found.width == pytest.approx((Q[:, -1] - Q[:, 0]).mean(), rel=1e-12)
    assert found.promised_coverage == pytest.approx(0.9)
    assert sum(each.rows for each in measured.residuals) == len(y)
    worst = np.argsort(-np.abs(P - y))[: len(measured.worst)]
    assert [each.row for each in measured.worst] == worst.tolist()
    assert measured.worst[0].prediction == P[worst[0]]


@pytest.mark.parametrize(
    ("loss", "judged_by", "strategy"),
    [("squared_error", "rmse", "mean"), ("absolute_error", "mae", "median")],
)
def test_the_constant_is_the_best_dummy_regressor(diabetes, loss, judged_by, strategy):
    found = measure_numbers(echo(1, loss), rows(diabetes.X[:, :1], diabetes.y)).metrics
    constant = DummyRegressor(strategy=strategy).fit(diabetes.X, diabetes.y).predict(diabetes.X)
    scorers = {"rmse": metrics.root_mean_squared_error, "mae": metrics.mean_absolute_error}
    assert found.judged_by == judged_by
    expected = scorers[judged_by](diabetes.y, constant)
    assert found.constant_error == pytest.approx(expected, rel=1e-12)


def test_no_constant_has_a_smaller_pinball_loss(diabetes, quantiles):
    found, y = measure_numbers(quantiles, diabetes).metrics, diabetes.y
    losses = [
        min(metrics.mean_pinball_loss(y, np.full(len(y), value), alpha=level) for value in y)
        for level in LEVELS
    ]
    assert found.constant_error == pytest.approx(np.mean(losses), rel=1e-9)


def test_a_few_numbers_by_hand():
    y = np.array([1.0, 2.0, 3.0, 6.0])
    measured = measure_numbers(echo(1), rows(np.array([[1.0], [2.0], [5.0], [3.0]]), y))
    found = measured.metrics
    assert (found.rmse, found.mae) == (pytest.approx(np.sqrt(13 / 4)), 1.25)
    assert (found.median_absolute_error, found.r2) == (1.0, pytest.approx(1 - 13 / 14))
    assert found.constant_error == pytest.approx(np.sqrt(14 / 4))
    assert (found.pinball, found.coverage, found.width) == (None, None, None)
    assert [each.number for each in measured.worst] == [6.0, 3.0, 1.0, 2.0]


def test_a_row_that_overflows_counts_as_far_off():
    X = np.array([[1.0], [1e308], [3.0]])
    predictor = echo(1)
    network = predictor.network.with_arrays(
        [{"weights": np.array([[1e10]]), "biases": np.zeros(1)}]
    )
    measured = measure_numbers(
        RegressionPredictor(network, None), rows(X, np.array([1e10, 2e10, 5e10]))
    )
    assert measured.worst[0].prediction is None
    assert measured.metrics.mae == pytest.approx((0 + 3e10 + 2e10) / 3)


@pytest.mark.parametrize("y", [[1.0, 1.0], [1.0, 1.0 + 2.0**-52], [1e-270, 0.0], [5e-324, 0.0]])
def test_numbers_that_hardly_differ_have_a_finite_r2_or_none(y):
    found = measure_numbers(echo(1), rows(np.array([[1.0], [2.0]]), np.array(y))).metrics
    assert found.r2 is None or np.isfinite(found.r2)


def test_a_part_of_one_number_has_no_r2():
    found = measure_numbers(echo(1), rows(np.array([[1.0], [2.0]]), np.array([1.0, 1.0]))).metrics
    assert (found.r2, found.rmse) == (None, pytest.approx(np.sqrt(0.5)))
    assert compare_with_constant(Gate(), found) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=30))
def test_any_numbers_are_measured_as_by_scikit_learn(pairs):
    P, y = np.array(pairs).T
    found = measure_numbers(echo(1), rows(P[:, np.newaxis], y)).metrics
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(y, P), rel=1e-9, abs=1e-9)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(y, P), rel=1e-9, abs=1e-9)
    if np.ptp(y) > 1e-3:
        assert found.r2 == pytest.approx(metrics.r2_score(y, P), rel=1e-6, abs=1e-6)


def verdicts(gate, found, champion=None):
    judged = [*judge_candidate(gate, found, champion), *compare_with_constant(gate, found)]
    return {each.metric: each.passed for each in judged}


def test_each_limit_of_numbers_passes_and_fails(diabetes, quantiles):
    found = measure_numbers(quantiles, diabetes).metrics
    off = abs(found.coverage - 0.9)
    exact = {
        "rmse": found.rmse, "mae": found.mae, "r2": found.r2, "pinball": found.pinball,
        "coverage": round(off, 12),
    }  # fmt: skip
    names = ["RMSE", "mean absolute error", "R2", "pinball loss", "coverage error"]
    met = verdicts(Gate(**exact), found)
    assert [met[name] for name in names] == [True] * 5
    worse = {name: value * (1.01 if name == "r2" else 0.99) for name, value in exact.items()}
    missed = verdicts(Gate(**worse), found)
    assert [missed[name] for name in names] == [False] * 5
    assert met["pinball loss (better_than_constant)"]
    assert "pinball loss (better_than_constant)" not in verdicts(
        Gate(better_than_constant=False), found
    )


def test_a_limit_on_quantiles_that_are_not_predicted_is_missed(diabetes):
    found = measure_numbers(echo(1), rows(diabetes.X[:, :1], diabetes.y)).metrics
    assert not any(verdicts(Gate(pinball=1e9, coverage=1.0), found).values())


def test_the_constant_itself_does_not_beat_the_constant():
    y = np.array([1.0, 2.0, 4.0, 9.0])
    for shift, passed in ((0.0, False), (0.1, False)):
        X = np.full((4, 1), y.mean() + shift)
        found = measure_numbers(echo(1), rows(X, y)).metrics
        assert verdicts(Gate(), found) == {"RMSE (better_than_constant)": passed}
    found = measure_numbers(echo(1), rows(y[:, np.newaxis] * 0.9, y)).metrics
    assert verdicts(Gate(), found) == {"RMSE (better_than_constant)": True}


def test_the_champion_is_compared_by_the_error_that_is_minimised(diabetes, quantiles):
    found = measure_numbers(quantiles, diabetes).metrics
    worse = found.model_copy(
        update={
            "quantiles": [
                q.model_copy(update={"pinball": q.pinball * 0.9}) for q in found.quantiles
            ]
        }
    )
    same = Baseline(version=3, manifest_sha256="0" * 64, metrics=found)
    better = same.model_copy(update={"metrics": worse})
    name = "pinball loss (champion: version 3)"
    assert verdicts(Gate(), found, same)[name]
    assert not verdicts(Gate(), found, better)[name]
    assert verdicts(Gate(tolerance=0.12), found, better)[name]
    assert name not in verdicts(Gate(champion=False), found, better)
    others = same.model_copy(update={"metrics": found.model_copy(update={"quantiles": []})})
    assert verdicts(Gate(), found, others)["mean absolute error (champion: version 3)"]


@pytest.fixture(scope="module")
def labelled():
    X, Y = make_multilabel_classification(200, n_features=6, n_classes=4, random_state=1)
    names = ("a", "b", "c", "d")
    return Dataset(tuple("uvwxyz"), scale(X), LabelsTarget(Y.astype(np.int8), names))


@pytest.fixture(scope="module")
def tagger(labelled):
    net = NeuralNetworkClassifier((), solver="lbfgs", max_iter=2000, alpha=0.01)
    net.fit(labelled.X[::2], labelled.y[::2])
    return Predictor(net.freeze().network, labelled.labels_target.names)


def test_labels_are_measured_as_by_scikit_learn(labelled, tagger):
    found, Y = measure_labels(tagger, labelled).metrics, labelled.y
    answers, P = tagger.predict(labelled.X), tagger.probabilities(labelled.X)
    assert found.accuracy == metrics.accuracy_score(Y, answers)
    assert found.f1_micro == pytest.approx(metrics.f1_score(Y, answers, average="micro"), rel=1e-12)
    macro = metrics.f1_score(Y, answers, average="macro", zero_division=0)
    assert found.f1_macro == pytest.approx(macro, rel=1e-12)
    precision, recall, f1, count = metrics.precision_recall_fscore_support(
        Y, answers, zero_division=0
    )
    for j, (name, each) in enumerate(found.labels.items()):
        assert name == "abcd"[j]
        assert (each.precision or 0.0, each.recall, each.f1) == (
            precision[j],
            recall[j],
            pytest.approx(f1[j]),
        )
        assert each.rows == count[j]
        expected = metrics.log_loss(Y[:, j], P[:, j])
        assert each.log_loss == pytest.approx(expected, rel=1e-9)
    losses = [each.log_loss for each in found.labels.values()]
    assert found.log_loss == pytest.approx(np.mean(losses))
    dummy = DummyClassifier(strategy="prior").fit(labelled.X, Y)
    shares = [metrics.log_loss(Y[:, j], p) for j, p in enumerate(dummy.predict_proba(labelled.X))]
    assert found.constant_log_loss == pytest.approx(np.mean(shares))
    _, counts = np.unique(Y, axis=0, return_counts=True)
    assert found.majority == counts.max() / len(Y)


def test_each_limit_of_labels_passes_and_fails(labelled, tagger):
    found = measure_labels(tagger, labelled).metrics
    exact = {
        "accuracy": found.accuracy, "f1_micro": found.f1_micro, "f1_macro": found.f1_macro,
        "log_loss": found.log_loss, "recall": min(each.recall for each in found.labels.values()),
    }  # fmt: skip
    assert all(verdicts(Gate(**exact), found).values())
    for name, value in exact.items():
        limits = {name: value * (0.99 if name == "log_loss" else 1.01)}
        failed = [
            metric for metric, passed in verdicts(Gate(**limits), found).items() if not passed
        ]
        assert len(failed) == 1, name
    champion = Baseline(version=2, manifest_sha256="0" * 64, metrics=found)
    assert all(verdicts(Gate(), found, champion).values())
    lower = found.model_copy(update={"accuracy": found.accuracy - 0.01})
    assert not verdicts(Gate(), lower, champion)["accuracy (champion: version 2)"]
