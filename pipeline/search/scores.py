"""The scores by which a search ranks its candidates: of any task, by any scikit-learn scorer."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from pipeline.data.datasets import Dataset
from pipeline.data.targets import ClassTarget, LabelsTarget, NumberTarget, Target, encoded_values
from pipeline.evaluation.number_metrics import predict_numbers
from pipeline.evaluation.part_evaluation import measure_part
from pipeline.search.ledger import LedgerLine
from quadnet.errors import ConfigurationError
from quadnet.nn.predictor import AnyPredictor, Predictor, RegressionPredictor, find_middle
from quadnet.registry.metric_records import NumberMetrics
from quadnet.types import FloatArray

MEASURED = ("accuracy", "log_loss")
"""The scores of classes and labels that each fit has in the ledger."""


_SEVERAL = np.arange(3)
"""Classes of a classifier of several labels. With two, scikit-learn would score one column only."""


def check_scorer_name(metric: str) -> None:
    """Raise ConfigurationError if the metric is not a score of ours, nor of scikit-learn."""
    if metric not in {*MEASURED, *get_scorer_names()}:
        raise ConfigurationError(
            f"search.metric: expected {', '.join(MEASURED)} or the name of a scikit-learn scorer, "
            f"such as r2 or roc_auc_ovr, got {metric!r}. "
            "sklearn.metrics.get_scorer_names() lists them."
        )


def check_metric(metric: str, target: Target) -> None:
    """Check that the metric can score predictions of this target.

    Raises
    ------
    ConfigurationError
        If the scorer fails on right answers for a few rows.
    """
    check_scorer_name(metric)
    if metric in MEASURED:
        if isinstance(target, NumberTarget):
            raise ConfigurationError(
                f"search.metric: expected the name of a scorer of numbers, such as "
                f"neg_root_mean_squared_error, got {metric!r}."
            )
        return
    answers: _Answers
    y: NDArray[Any]
    if isinstance(target, ClassTarget):
        y = np.tile(np.arange(len(target.classes)), 2)
        answers = _ClassAnswers(y, np.eye(len(target.classes))[y], np.arange(len(target.classes)))
    elif isinstance(target, LabelsTarget):
        y = np.vstack([np.eye(len(target.names)), 1 - np.eye(len(target.names))]).astype(np.int64)
        answers = _ClassAnswers(y, y.astype(float), _SEVERAL)
    else:
        numbers = np.array([1.5, 2.25, 4.125])  # not whole, which might be classes
        y, answers = numbers, _NumberAnswers(numbers)
    try:
        float(get_scorer(metric)(answers, y.reshape(len(y), -1), y))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"search.metric: {metric} does not fit what the run predicts: {error}"
        ) from error


def score_predictor(predictor: AnyPredictor, part: Dataset, metric: str) -> dict[str, float]:
    """Return the values that the ledger has of a fit, measured on this part.

    Raises
    ------
    ValueError
        If the scorer of the metric fails on these rows.
    """
    scores: dict[str, float] = {}
    if isinstance(predictor, Predictor):
        metrics = measure_part(predictor, part).metrics
        assert not isinstance(metrics, NumberMetrics)
        scores = {"accuracy": metrics.accuracy, "log_loss": metrics.log_loss}
    if metric not in MEASURED:
        y = encoded_values(part.target)
        scores["score"] = float(get_scorer(metric)(_make_answers(predictor, part), part.X, y))
    return scores


def read_score(line: LedgerLine, metric: str) -> float | None:
    """Return the score of a recorded fit; None if the fit failed."""
    if metric not in MEASURED:
        return line.score
    return line.log_loss if metric == "log_loss" else line.accuracy


class _ClassAnswers(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # no types
    """The answers for some rows, in the form that scikit-learn's scorers need."""

    def __init__(self, answers: NDArray[Any], P: Any, classes: NDArray[Any]) -> None:
        self.answers, self.P, self.classes = answers, P, classes
        self.classes_ = classes

    def fit(self, X: Any, y: Any) -> Self:
        """Do nothing: the answers are known."""
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the answers, whatever X is."""
        return self.answers

    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities, whatever X is."""
        return self.P


class _NumberAnswers(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no types
    """The predicted numbers of some rows, in the form that scikit-learn's scorers need."""

    def __init__(self, answers: FloatArray) -> None:
        self.answers = answers
        self.answers_ = answers

    def fit(self, X: Any, y: Any) -> Self:
        """Do nothing: the answers are known."""
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the answers, whatever X is."""
        return self.answers


_Answers = _ClassAnswers | _NumberAnswers


def _make_answers(predictor: AnyPredictor, part: Dataset) -> _Answers:
    """Return the predictor's answers for the rows of the part."""
    if isinstance(predictor, RegressionPredictor):
        Q, _ = predict_numbers(predictor, part.X, part.number_target.values)
        return _NumberAnswers(Q[:, find_middle(predictor.quantiles)])
    with np.errstate(all="ignore"):
        P = predictor.probabilities(part.X).astype(np.float64)
        answers = predictor.predict(part.X)
    if not np.isfinite(P).all():
        raise ValueError("values of a row overflow in the network")
    if isinstance(part.target, LabelsTarget):
        return _ClassAnswers(answers, P, _SEVERAL)
    return _ClassAnswers(*_by_code(predictor, P, answers, part.class_target))


def _by_code(
    predictor: Predictor, P: FloatArray, answers: NDArray[Any], target: ClassTarget
) -> tuple[NDArray[Any], FloatArray, NDArray[Any]]:
    """Return answers and probabilities with indices into the target's classes."""
    codes = np.searchsorted(target.classes, predictor.classes.astype(str))
    P = P / P.sum(axis=1, keepdims=True)  # in float32 they sum to 1 only in float32
    return codes[np.searchsorted(predictor.classes, answers)], P, codes
