"""Measure a network that predicts numbers on one part of the data."""

from collections.abc import Sequence

import numpy as np

from pipeline.data.datasets import Dataset
from quadnet.nn.predictor import RegressionPredictor, find_middle
from quadnet.records import Frozen
from quadnet.registry.metric_records import JudgedBy, NumberMetrics, QuantileMetrics
from quadnet.types import BoolArray, FloatArray

N_BINS = 20
N_WORST = 16

JUDGED_BY: dict[str, JudgedBy] = {
    "squared_error": "rmse",
    "absolute_error": "mae",
    "huber": "mae",
    "poisson": "rmse",
    "quantile": "pinball",
}
"""The error that a network minimises, by its loss; Huber's is nearly the absolute error."""


class ResidualBin(Frozen):
    """The number of rows whose error, the prediction minus the number, is in this range."""

    low: float
    high: float
    rows: int


class WorstNumber(Frozen):
    """A row with a large error: its features, its number and its prediction."""

    row: int
    """Line in a CSV file or row in a Parquet file, starting at 1; without a file, the index."""
    x: list[float | str | None]
    number: float
    prediction: float | None
    """None if the row's values overflow in the network."""


class NumberEvaluation(Frozen):
    """A predictor's metrics on one part, its errors by size, and its worst rows."""

    metrics: NumberMetrics
    distinct_rows: int
    residuals: list[ResidualBin]
    worst: list[WorstNumber]


def predict_numbers(
    predictor: RegressionPredictor, X: FloatArray, y: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return the predicted numbers of each row, and which rows have no prediction.

    A row whose values overflow in the network has no prediction. It counts as predicted with that
    end of the range of y that is farther away.

    Parameters
    ----------
    predictor : RegressionPredictor
    X : ndarray of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)

    Returns
    -------
    Q : ndarray of float64, shape (n_rows, n_quantiles)
        Without quantiles one column.
    unanswered : ndarray of bool, shape (n_rows,)
    """
    with np.errstate(all="ignore"):
        Q = predictor.outputs(X).astype(np.float64)
    unanswered: BoolArray = np.logical_not(np.isfinite(Q).all(axis=1))
    low, high = y.min(), y.max()
    farther = np.where(y / 2 - low / 2 > high / 2 - y / 2, low, high)
    Q[unanswered] = farther[unanswered, np.newaxis]
    return Q, unanswered


def measure_numbers(predictor: RegressionPredictor, part: Dataset) -> NumberEvaluation:
    """Measure the predictor on this part of a run that predicts numbers."""
    y = part.number_target.values
    Q, unanswered = predict_numbers(predictor, part.X, y)
    P = Q[:, find_middle(predictor.quantiles)]
    judged_by = JUDGED_BY[predictor.network.loss_name]
    errors = np.abs(P - y)
    squares, spread = _root_mean_square(P - y), _root_mean_square(y - _mean(y))
    constant = {
        "rmse": spread,
        "mae": _mean(np.abs(y - np.median(y))),
        "pinball": _mean_pinball(
            y,
            np.quantile(y, predictor.quantiles, method="inverted_cdf")[np.newaxis],
            predictor.quantiles,
        ),
    }
    quantiles = [
        QuantileMetrics(
            level=level,
            pinball=_mean_pinball(y, Q[:, [j]], [level]),
            share_up_to=float((y <= Q[:, j]).mean()),
        )
        for j, level in enumerate(predictor.quantiles)
    ]
    has_interval = len(quantiles) > 1
    metrics = NumberMetrics(
        rmse=squares,
        mae=_mean(errors),
        median_absolute_error=float(np.median(errors)),
        r2=_r2(squares, spread),
        judged_by=judged_by,
        constant_error=constant[judged_by],
        quantiles=quantiles,
        coverage=float(((Q[:, 0] <= y) & (y <= Q[:, -1])).mean()) if has_interval else None,
        width=_mean(Q[:, -1] - Q[:, 0]) if has_interval else None,
    )
    return NumberEvaluation(
        metrics=metrics,
        distinct_rows=len(np.unique(part.row_hashes(0))),
        residuals=_count_residuals(P - y),
        worst=[
            WorstNumber(
                row=part.place(int(i)),
                x=part.values_of(int(i)),
                number=float(y[i]),
                prediction=None if unanswered[i] else float(P[i]),
            )
            for i in np.argsort(-errors, kind="stable")[:N_WORST]
        ],
    )


def _mean(values: FloatArray) -> float:
    """Return the mean, without overflow of the sum."""
    return float((values / len(values)).sum())


def _r2(error: float, spread: float) -> float | None:
    """Return R2; None if the numbers are equal, or so nearly that it is no finite number."""
    with np.errstate(all="ignore"):
        r2 = float(1.0 - (np.float64(error) / spread) ** 2)
    return r2 if np.isfinite(r2) else None


def _root_mean_square(values: FloatArray) -> float:
    """Return the root of the mean square, without overflow of the squares."""
    size = float(np.abs(values).max())
    return size * float(np.sqrt(np.mean((values / size) ** 2))) if size else 0.0


def _mean_pinball(y: FloatArray, Q: FloatArray, levels: Sequence[float]) -> float:
    """Return the mean over the quantiles' pinball losses; 0 without quantiles."""
    if not len(levels):
        return 0.0
    above, level = y[:, np.newaxis] - Q, np.array(levels)
    return _mean(np.maximum(level * above, (level - 1.0) * above).ravel())


def _count_residuals(residuals: FloatArray) -> list[ResidualBin]:
    """Return the bins of a histogram between the 1 % and the 99 % quantile, and the two tails."""
    low, high = np.quantile(residuals, [0.01, 0.99])
    least, most = float(residuals.min()), float(residuals.max())
    if not low < high:
        return [ResidualBin(low=least, high=most, rows=len(residuals))]
    edges = np.unique([least, *np.linspace(low, high, N_BINS + 1), most])
    counts, _ = np.histogram(residuals, edges)
    return [
        ResidualBin(low=float(edges[i]), high=float(edges[i + 1]), rows=int(n))
        for i, n in enumerate(counts)
    ]
