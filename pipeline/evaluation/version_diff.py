"""Compare two versions by their predictions, metrics and settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.shared_rows import CELLS, choose_rows
from quadnet.errors import NotComparable, listing
from quadnet.nn.predictor import Predictor
from quadnet.registry.metric_records import (
    AnyMetrics,
    ClassMetrics,
    LabelMetrics,
    LabelsMetrics,
    Metrics,
    NumberMetrics,
    as_class_metrics,
)
from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray

NO_ANSWER = "(no answer)"
NO_LABEL = "(no label)"
_MUCH = 0.01
"""The share of a target's range that is a large change."""
_DIGITS = "123456789" + "?" * 1000

AnswerPair = tuple[NDArray[np.str_], NDArray[np.str_]]
"""The predictions of two versions for the same rows."""


@dataclass(frozen=True)
class PredictionChanges:
    """The predictions of versions a and b for the same rows, and where they differ.

    Parameters
    ----------
    where : str
        A description of the rows: points of the plane, or rows drawn from the training ranges.
    answers : tuple of two ndarrays of str, each of shape (n_points,)
        For the plane row by row, the highest y first.
    certainty : float
        The mean change of the prediction's certainty.
    x_range, y_range : tuple of float
        The ranges of the plane; None unless the model has two features.
    """

    where: str
    answers: AnswerPair
    certainty: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None

    @property
    def changed(self) -> BoolArray:
        """The points at which the two predictions differ."""
        return np.not_equal(*self.answers)

    @property
    def grid(self) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """The predictions on the plane, each of shape (n, n)."""
        n = round(len(self.answers[0]) ** 0.5)
        return self.answers[0].reshape(n, n), self.answers[1].reshape(n, n)

    def moves(self) -> list[tuple[str, str, float]]:
        """Return (from, to, share of all points) of each kind of change, the largest first."""
        pairs = np.stack(self.answers, axis=1)[self.changed]
        kinds, counts = np.unique(pairs, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        total = len(self.answers[0])
        return [(str(kinds[i, 0]), str(kinds[i, 1]), float(counts[i] / total)) for i in order]


@dataclass(frozen=True)
class NumberChanges:
    """The numbers that versions a and b predict for the same rows.

    Parameters
    ----------
    where : str
        A description of the rows.
    values : tuple of two ndarrays, each of shape (n_rows,)
        NaN or infinite where a row's values overflow in the network.
    low, high : float
        The range of the numbers in training, over both versions.
    """

    where: str
    values: tuple[FloatArray, FloatArray]
    low: float
    high: float

    @property
    def changes(self) -> FloatArray:
        """The number of b minus that of a, for each row on which both are finite."""
        with np.errstate(invalid="ignore"):
            found = self.values[1] - self.values[0]
        return found[np.isfinite(found)]

    def describe(self) -> str:
        """Return how the numbers change, in sentences."""
        changes = self.changes
        if not len(changes):
            return f"No row has a number of both versions, of {self.where}."
        sizes, width = np.abs(changes), self.high - self.low
        much = float((sizes > _MUCH * width).mean())
        lost = len(self.values[0]) - len(changes)
        aside = f" {lost:,} rows have no number, because their values overflow." if lost else ""
        return (
            f"The value changes by {changes.mean():+.4g} on average, by {sizes.mean():.4g} in size "
            f"on average and by {sizes.max():.4g} at most; by more than {_MUCH:.0%} of the range "
            f"{self.low:.4g} to {self.high:.4g} for {much:.3%}, of {self.where}.{aside}"
        )


def compare_predictions(a: Model, b: Model) -> PredictionChanges:
    """Predict the same rows with both versions, each with its columns in its own order.

    Raises
    ------
    NotComparable
        If the versions have different features, or predict different things.
    """
    _check_tasks(a, b)
    rows = choose_rows(a, b)
    answers, certainty = _predict_with_both(a, b, rows.inputs)
    x_range, y_range = rows.plane or (None, None)
    return PredictionChanges(rows.where, answers, certainty, x_range, y_range)


def compare_numbers(a: Model, b: Model) -> NumberChanges:
    """Predict the same rows with two versions that predict numbers.

    Raises
    ------
    NotComparable
        If the versions have different features, or predict different things.
    """
    _check_tasks(a, b)
    rows = choose_rows(a, b)
    values = []
    for model, X in zip((a, b), rows.inputs, strict=True):
        with np.errstate(all="ignore"):
            values.append(model.predictor.predict(X).astype(np.float64))
    targets = [model.manifest.signature.target for model in (a, b)]
    ends = [(each.min, each.max) for each in targets if each is not None]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return NumberChanges(rows.where, (values[0], values[1]), low, high)


def _check_tasks(a: Model, b: Model) -> None:
    tasks = [model.manifest.task for model in (a, b)]
    targets = [model.manifest.signature.target for model in (a, b)]
    labels = [model.manifest.signature.classes for model in (a, b)]
    said = [f"{model.name} is for {model.manifest.task}" for model in (a, b)]
    if tasks[0] == tasks[1] == "multilabel" and sorted(labels[0]) != sorted(labels[1]):
        said = [
            f"{model.name} has the labels {listing(names)}"
            for model, names in zip((a, b), labels, strict=True)
        ]
    elif targets[0] is not None and targets[1] is not None and targets[0].name != targets[1].name:
        said = [
            f"{model.name} predicts {target.name}"
            for model, target in zip((a, b), targets, strict=True)
            if target is not None
        ]
    elif tasks[0] == tasks[1]:
        return
    raise NotComparable(
        f"The versions cannot be compared, because they predict different things: {said[0]}, and "
        f"{said[1]}."
    )


Comparison = tuple[str, float | None, float | None]


def compare_metrics(a: AnyMetrics, b: AnyMetrics) -> Iterator[Comparison]:
    """Yield each metric's name and its two values, of versions of the same task."""
    if isinstance(a, NumberMetrics) and isinstance(b, NumberMetrics):
        return _compare_number_metrics(a, b)
    if isinstance(a, LabelsMetrics) and isinstance(b, LabelsMetrics):
        return _compare_labels_metrics(a, b)
    return _compare_class_metrics(as_class_metrics(a), as_class_metrics(b))


def _compare_class_metrics(a: Metrics, b: Metrics) -> Iterator[Comparison]:
    yield "accuracy", a.accuracy, b.accuracy
    yield "log loss", a.log_loss, b.log_loss
    yield "calibration error", a.calibration_error, b.calibration_error
    yield from _compare_each(a.classes, b.classes, ("recall", "precision"))


def _compare_labels_metrics(a: LabelsMetrics, b: LabelsMetrics) -> Iterator[Comparison]:
    yield "accuracy", a.accuracy, b.accuracy
    yield "F1 micro", a.f1_micro, b.f1_micro
    yield "F1 macro", a.f1_macro, b.f1_macro
    yield "log loss", a.log_loss, b.log_loss
    yield from _compare_each(a.labels, b.labels, ("recall", "precision", "f1"))


def _compare_each(
    a: Mapping[str, ClassMetrics | LabelMetrics],
    b: Mapping[str, ClassMetrics | LabelMetrics],
    attributes: Sequence[str],
) -> Iterator[Comparison]:
    for name in sorted(a.keys() | b.keys()):
        one, other = a.get(name), b.get(name)
        for what in attributes:
            yield f"{what} of {name}", getattr(one, what, None), getattr(other, what, None)


def _compare_number_metrics(a: NumberMetrics, b: NumberMetrics) -> Iterator[Comparison]:
    yield "RMSE", a.rmse, b.rmse
    yield "mean absolute error", a.mae, b.mae
    yield "median absolute error", a.median_absolute_error, b.median_absolute_error
    yield "R2", a.r2, b.r2
    if a.quantiles or b.quantiles:
        yield "pinball loss", a.pinball, b.pinball
        yield "coverage", a.coverage, b.coverage
        yield "interval width", a.width, b.width


def compare_settings(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each setting in which two configurations differ, and its two values."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from compare_settings(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif a != b:
        yield path, a, b


def sketch_changes(found: PredictionChanges, *, columns: int = 48, rows: int = 24) -> str:
    """Return the plane in characters: '#' where an answer changes, otherwise the class's number."""
    one, _ = found.grid
    changed = found.changed.reshape(one.shape)
    names, numbers = np.unique(found.answers, return_inverse=True)
    here = numbers.reshape(2, *one.shape)[0]
    lines = []
    for i in range(rows):
        line = ""
        for j in range(columns):
            cell = np.s_[
                i * CELLS // rows : (i + 1) * CELLS // rows,
                j * CELLS // columns : (j + 1) * CELLS // columns,
            ]
            line += (
                "#" if changed[cell].any() else _DIGITS[np.bincount(here[cell].ravel()).argmax()]
            )
        lines.append("  " + line)
    legend = ", ".join(f"{_DIGITS[i]} {name}" for i, name in enumerate(names))
    return "\n".join([*lines, f"  # changed; {legend}"])


def _predict_with_both(
    a: Model, b: Model, inputs: tuple[FloatArray, FloatArray]
) -> tuple[AnswerPair, float]:
    """Return both versions' predictions, and the mean change of their certainty.

    A row whose values overflow in a network gets NO_ANSWER, with every class equally probable, as
    in the server's answer.
    """
    answers, certainties = [], []
    for model, rows in zip((a, b), inputs, strict=True):
        with np.errstate(all="ignore"):
            P = model.classifier.probabilities(rows)
            names = _name_answers(model.classifier, rows)
        unanswered: BoolArray = np.isnan(P.sum(axis=1))
        names[unanswered] = NO_ANSWER
        answers.append(names.astype(str))
        certainties.append(_find_certainties(model.classifier, P, unanswered))
    return (answers[0], answers[1]), float((certainties[1] - certainties[0]).mean())


def _name_answers(predictor: Predictor, X: FloatArray) -> NDArray[np.generic]:
    """Return each row's class, or its labels in alphabetical order, separated by commas."""
    answers = predictor.predict(X)
    if not predictor.network.loss.multilabel:
        return answers.astype(object)
    names = np.array([str(name) for name in predictor.classes])
    combinations, place = np.unique(answers, axis=0, return_inverse=True)
    texts = [", ".join(sorted(names[row == 1])) or NO_LABEL for row in combinations]
    named: NDArray[np.generic] = np.array(texts, object)[place.ravel()]
    return named


def _find_certainties(predictor: Predictor, P: FloatArray, unanswered: BoolArray) -> FloatArray:
    """Return the certainty of each answer; of several labels, their mean certainty."""
    if predictor.network.loss.multilabel:
        certainties: FloatArray = np.where(unanswered, 0.5, np.maximum(P, 1.0 - P).mean(axis=1))
        return certainties
    highest: FloatArray = np.where(unanswered, 1.0 / P.shape[1], P.max(axis=1))
    return highest
