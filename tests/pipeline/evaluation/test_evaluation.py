"""Metrics against scikit-learn and hand arithmetic; the gate; folding into the network."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from pipeline.config.gate import Gate
from pipeline.data.datasets import Dataset
from pipeline.data.targets import ClassTarget
from pipeline.evaluation.gate import format_verdicts, judge_candidate
from pipeline.evaluation.model_metrics import measure_model
from pipeline.training import weight_folding
from quadnet import NeuralNetworkClassifier
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry.manifest import Baseline


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return Dataset(
        ("a", "b", "c", "d"),
        X,
        ClassTarget.from_labels(np.array(["setosa", "versicolor", "virginica"])[y]),
    )


@pytest.fixture(scope="module")
def predictor(iris):
    net = NeuralNetworkClassifier((5,), max_iter=30, learning_rate_init=0.02, random_state=0)
    with pytest.warns(ConvergenceWarning):
        net.fit(iris.X, iris.y)
    return net.freeze()


def test_metrics_are_scikit_learns(iris, predictor):
    measured = measure_model(predictor, iris)
    P, answers = predictor.probabilities(iris.X), predictor.predict(iris.X)
    ours = measured.metrics
    assert ours.accuracy == metrics.accuracy_score(iris.y, answers)
    assert ours.log_loss == pytest.approx(metrics.log_loss(iris.y, P), rel=1e-12)
    precision, recall, _, rows = metrics.precision_recall_fscore_support(
        iris.y, answers, zero_division=0
    )
    for i, name in enumerate(predictor.classes):
        assert ours.classes[name].recall == recall[i]
        assert (ours.classes[name].precision or 0) == precision[i]
        assert ours.classes[name].rows == rows[i]
    assert measured.confusion == metrics.confusion_matrix(iris.y, answers).tolist()


def constant(probabilities, classes):
    """Return a predictor that gives these probabilities for x = 0, 1, 2, ..."""
    network = Network.dense(
        [len(probabilities), len(classes)], activations=[], loss="softmax_cross_entropy"
    )
    network.parameters.weights[0][:] = np.log(probabilities)
    return Predictor(network, classes)


def test_the_calibration_error_by_hand():
    P = np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.1, 0.62, 0.28], [0.2, 0.18, 0.62]])
    part = Dataset(tuple("wxyz"), np.eye(4), ClassTarget.from_labels(["a", "b", "b", "a"]))
    measured = measure_model(constant(P, ["a", "b", "c"]), part)
    # Two predictions with certainty 0.9, one right; two with 0.62, one right.
    assert measured.metrics.calibration_error == pytest.approx((2 * 0.4 + 2 * 0.12) / 4)
    assert [(b.rows, b.accuracy) for b in measured.reliability] == [(2, 0.5), (2, 0.5)]
    assert measured.reliability[0].low <= 0.62 <= measured.reliability[0].high
    worst = measured.worst
    assert [case.row for case in worst] == [1, 3, 2, 0]
    assert (worst[0].label, worst[0].answer) == ("b", "a")
    assert worst[0].probability == pytest.approx(0.05)
    assert worst[0].certainty == pytest.approx(0.9)
    c = measured.metrics.classes["c"]
    assert (c.rows, c.recall, c.precision) == (0, None, 0.0)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_rows_that_overflow_in_the_network_are_wrong_and_every_class_as_probable(loss):
    network = Network.dense([1, 2, 3], activations=["relu"], loss=loss)
    network.parameters.weights[0][:] = [[1e9, -1e9]]
    network.parameters.weights[1][:] = [[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]
    predictor = Predictor(network, ["a", "b", "c"])
    X = np.array([[1.0], [1e308], [-1.0], [-1e308]])
    part = Dataset(("x",), X, ClassTarget.from_labels(["a", "a", "c", "b"]))
    measured = measure_model(predictor, part)
    assert measured.metrics.accuracy == 0.5
    assert measured.metrics.log_loss == pytest.approx(np.log(3) / 2, rel=0.4)
    assert np.isfinite(measured.metrics.calibration_error)
    assert measured.confusion == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    of_class = measured.metrics.classes
    assert [(c.rows, c.recall) for c in of_class.values()] == [(2, 0.5), (1, 0.0), (1, 1.0)]
    unanswered = [case for case in measured.worst if case.row in {1, 3}]
    assert [case.answer for case in unanswered] == ["", ""]
    assert [case.probability for case in unanswered] == [pytest.approx(1 / 3)] * 2


def test_every_limit_of_the_gate():
    P = np.array([[0.9, 0.1, 0.0001], [0.9, 0.1, 0.0001], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    P /= P.sum(axis=1, keepdims=True)
    part = Dataset(tuple("wxyz"), np.eye(4), ClassTarget.from_labels(["a", "b", "b", "c"]))
    measured = measure_model(constant(P, ["a", "b", "c"]), part).metrics
    limits = Gate(accuracy=0.75, log_loss=0.5, calibration_error=0.9, recall=0.6, precision=0.5)
    verdicts = {v.metric: v.passed for v in judge_candidate(limits, measured, None)}
    assert verdicts == {
        "accuracy": True,
        "log loss": False,
        "calibration error": True,
        "recall of a": True,
        "recall of b": False,
        "recall of c": True,
        "precision of a": True,
        "precision of b": True,
        "precision of c": True,
    }


def test_the_champion_sets_limits_that_a_tolerance_moves(iris, predictor):
    measured = measure_model(predictor, iris).metrics
    net = NeuralNetworkClassifier((), solver="lbfgs", max_iter=2000, alpha=0.01).fit(iris.X, iris.y)
    better = net.freeze()
    champion = Baseline(
        version=3,
        manifest_sha256="0" * 64,
        metrics=measure_model(better, iris).metrics,
    )
    strict = judge_candidate(Gate(accuracy=0), measured, champion)
    failed = [v for v in strict if not v.passed]
    assert "accuracy (champion: version 3)" in {v.metric for v in failed}
    gap = max(v.limit - v.value for v in failed)
    lenient = judge_candidate(Gate(accuracy=0, tolerance=gap + 1e-9), measured, champion)
    assert all(v.passed for v in lenient)
    assert len(judge_candidate(Gate(accuracy=0, champion=False), measured, champion)) == 1


def test_a_class_that_is_never_answered_meets_no_limit():
    P = np.array([[0.9, 0.1], [0.8, 0.2]])
    network = constant(np.column_stack([P, [1e-9, 1e-9]]), ["a", "b", "c"])
    part = Dataset(("x", "y"), np.eye(2), ClassTarget.from_labels(["a", "b"]))
    measured = measure_model(network, part).metrics
    verdicts = judge_candidate(Gate(accuracy=0, precision=0.1), measured, None)
    (of_b,) = [v for v in verdicts if v.metric == "precision of b"]
    assert (of_b.value, of_b.passed) == (None, False)
    assert "nothing to measure" in format_verdicts(verdicts)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(), (5,), (4, 3)])
@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_folded_scaler_and_temperature_change_nothing_else(iris, bias, hidden, loss, n_classes):
    keep = np.isin(iris.y, np.unique(iris.y)[:n_classes])
    X, y = iris.X[keep], iris.y[keep]
    scaler = StandardScaler().fit(X)
    net = NeuralNetworkClassifier(
        hidden, fit_intercept=bias, loss=loss, solver="lbfgs", max_iter=50, random_state=0, alpha=1
    )
    scaled = scaler.transform(X)
    net.fit(scaled, y) if hidden == () else _quietly(net, scaled, y)
    folded = weight_folding.fold_scaler(net.freeze(), scaler.mean_, scaler.scale_)
    np.testing.assert_allclose(folded.probabilities(X), net.predict_proba(scaled), atol=1e-12)
    cooled = weight_folding.fold_temperature(folded, 2.5)
    np.testing.assert_allclose(cooled.network.logits(X), folded.network.logits(X) / 2.5, atol=1e-12)
    if n_classes == 3 and loss == "log_loss":
        np.testing.assert_array_equal(cooled.predict(X), folded.predict(X))


def _quietly(net, X, y):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(X, y)


def test_folding_in_float32_stays_float32(iris, predictor):
    network = Network.dense([4, 3], activations=[], loss="softmax_cross_entropy", dtype=np.float32)
    network.parameters.flat[:] = 0.1
    folded = weight_folding.fold_scaler(
        Predictor(network, ["a", "b", "c"]), iris.X.mean(axis=0), iris.X.std(axis=0)
    )
    assert folded.dtype == np.float32


def test_the_temperature_is_the_one_that_overconfidence_was_made_with():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 3))
    # Labels are drawn from the probabilities, so that temperature 1 is right.
    P = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    y = np.array(list("abc"))[(P.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)]
    network = Network.dense([3, 3], activations=[], loss="softmax_cross_entropy")
    network.parameters.weights[0][:] = 3.0 * np.eye(3)
    sure = Predictor(network, list("abc"))
    part = Dataset(("x", "y", "z"), X, ClassTarget.from_labels(y))
    temperature = weight_folding.fit_temperature(sure, part)
    assert temperature == pytest.approx(3.0, rel=0.05)
    cooled = weight_folding.fold_temperature(sure, temperature)
    before, after = (measure_model(p, part).metrics for p in (sure, cooled))
    assert before.calibration_error > 0.1
    assert after.calibration_error < 0.02
    assert after.log_loss < before.log_loss
    assert after.accuracy == before.accuracy
