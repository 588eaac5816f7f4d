"""Compare two versions by their predictions, metrics and settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import NotComparable, listing
from quadnet.registry.manifest import Metrics
from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray

_CELLS = 400
"""Cells along each side of the plane: 160,000 answers of each version."""
_ROWS = 10_000
NO_ANSWER = "(no answer)"
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


def compare_predictions(a: Model, b: Model) -> PredictionChanges:
    """Predict the same rows with both versions, each with its columns in its own order.

    Raises
    ------
    NotComparable
        If the versions have different features.
    """
    names = [[f.name for f in model.manifest.signature.features] for model in (a, b)]
    if sorted(names[0]) != sorted(names[1]):
        raise NotComparable(
            f"The versions cannot be compared, because they have different features: "
            f"{_format_version(a)} has {listing(names[0])}, and {_format_version(b)} has "
            f"{listing(names[1])}."
        )
    place = {name: i for i, name in enumerate(names[0])}
    # For each column of b, its index among the columns of a.
    order = [place[name] for name in names[1]]
    low, high = _find_ranges(a, b, order)
    if len(low) != 2:
        # Not `uniform`, whose high - low may overflow.
        share = np.random.default_rng(0).random((_ROWS, len(low)))
        X = low * (1.0 - share) + high * share
        X = np.vstack([a.selftest_inputs, b.selftest_inputs[:, np.argsort(order)], X])
        where = f"{len(X):,} rows, most of them at random within the ranges seen in training"
        answers, certainty = _predict_with_both(a, b, X, order)
        return PredictionChanges(where, answers, certainty)
    steps = (np.arange(_CELLS) + 0.5) / _CELLS
    x, y = (low[i] * (1.0 - steps) + high[i] * steps for i in (0, 1))
    X = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2)
    answers, certainty = _predict_with_both(a, b, X, order)
    return PredictionChanges(
        f"{len(X):,} points of the plane",
        answers,
        certainty,
        (float(low[0]), float(high[0])),
        (float(low[1]), float(high[1])),
    )


def compare_metrics(a: Metrics, b: Metrics) -> Iterator[tuple[str, float | None, float | None]]:
    """Yield each metric's name and its two values."""
    yield "accuracy", a.accuracy, b.accuracy
    yield "log loss", a.log_loss, b.log_loss
    yield "calibration error", a.calibration_error, b.calibration_error
    for name in sorted(a.classes.keys() | b.classes.keys()):
        one, other = a.classes.get(name), b.classes.get(name)
        for what in ("recall", "precision"):
            yield f"{what} of {name}", getattr(one, what, None), getattr(other, what, None)


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
                i * _CELLS // rows : (i + 1) * _CELLS // rows,
                j * _CELLS // columns : (j + 1) * _CELLS // columns,
            ]
            line += (
                "#" if changed[cell].any() else _DIGITS[np.bincount(here[cell].ravel()).argmax()]
            )
        lines.append("  " + line)
    legend = ", ".join(f"{_DIGITS[i]} {name}" for i, name in enumerate(names))
    return "\n".join([*lines, f"  # changed; {legend}"])


def _format_version(model: Model) -> str:
    return f"{model.manifest.model} version {model.manifest.version}"


def _find_ranges(a: Model, b: Model, order: list[int]) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest training value of each feature, over both versions."""
    one, other = (
        np.array([(f.min, f.max) for f in model.manifest.signature.features]) for model in (a, b)
    )
    both = np.stack([one, other[np.argsort(order)]])  # (2 models, n_features, 2)
    return both[:, :, 0].min(axis=0), both[:, :, 1].max(axis=0)


def _predict_with_both(
    a: Model, b: Model, X: FloatArray, order: list[int]
) -> tuple[AnswerPair, float]:
    """Return both versions' predictions, and the mean change of their certainty.

    The rows have the columns of a; `order` has the index of each column of b among them. A row
    whose values overflow in a network gets NO_ANSWER, with every class equally probable, as in the
    server's answer.
    """
    answers, certainties = [], []
    for model, rows in ((a, X), (b, X[:, order])):
        with np.errstate(all="ignore"):
            P = model.predictor.probabilities(rows)
            names = model.predictor.predict(rows).astype(object)
        unanswered = np.isnan(P).any(axis=1)
        names[unanswered] = NO_ANSWER
        answers.append(names.astype(str))
        certainties.append(np.where(unanswered, 1.0 / P.shape[1], P.max(axis=1)))
    return (answers[0], answers[1]), float((certainties[1] - certainties[0]).mean())
