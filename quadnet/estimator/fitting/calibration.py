"""Prediction intervals: split conformal, from the residuals of rows that training has not seen.

The n-th residual that covers the promised share of n + 1 rows covers a new row with at least that
probability, if the rows are exchangeable and whatever the network: J. Lei et al.,
"Distribution-Free Predictive Inference for Regression", 2018. With quantiles the residual is the
distance to the interval between two of them: Y. Romano, E. Patterson and E. Candes, "Conformalized
Quantile Regression", 2019.
"""

import math
from collections.abc import Mapping
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from quadnet.estimator.sample_weights import check_any_weight
from quadnet.estimator.targets.numbers import Numbers
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.types import FloatArray


def hold_out_calibration_rows(
    rows: TargetRows, fraction: float, rng: RandomState
) -> tuple[TargetRows, TargetRows]:
    """Return the rows to train on, and the rows to calibrate intervals with.

    Raises
    ------
    ValueError
        If no row would be left to train on, or all rows of one side have weight 0.
    """
    n_held = math.ceil(fraction * rows.n_rows)  # rounded as train_test_split does
    if n_held >= rows.n_rows:
        raise ValueError(
            f"calibration_fraction={fraction} of {rows.n_rows} rows leaves no row to train on."
        )
    train, held = train_test_split(np.arange(rows.n_rows), test_size=n_held, random_state=rng)
    remaining, calibration = rows.take(train), rows.take(held)
    if remaining.weights is not None and calibration.weights is not None:
        check_any_weight(remaining.weights, "sample_weight of the rows left to train on")
        check_any_weight(calibration.weights, "sample_weight of the rows to calibrate with")
    return remaining, calibration


def measure_residuals(
    numbers: Numbers, outputs: FloatArray, rows: TargetRows
) -> dict[str, NDArray[Any]]:
    """Return what intervals need of the calibration rows.

    Parameters
    ----------
    numbers : Numbers
    outputs : ndarray of shape (n_rows, n_outputs)
        The fitted network's for these rows, in the units of y.
    rows : TargetRows

    Returns
    -------
    dict of str to ndarray
        ``residuals``, y minus each output, and ``residual_weights`` if rows have weights.
    """
    measured: dict[str, NDArray[Any]] = {"residuals": numbers.unscaled.encode(rows.y) - outputs}
    return measured | ({} if rows.weights is None else {"residual_weights": rows.weights})


def check_coverage(coverage: Any) -> float:
    """Return the coverage as a float.

    Raises
    ------
    ValueError
        If it is no number between 0 and 1.
    """
    if isinstance(coverage, bool) or not isinstance(coverage, Real) or not 0 < float(coverage) < 1:
        raise ValueError(f"coverage must be a number between 0 and 1. Got {coverage!r}.")
    return float(coverage)


def make_intervals(
    numbers: Numbers,
    outputs: FloatArray,
    calibration: Mapping[str, NDArray[Any]],
    coverage: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the lower and the upper bound for each row, in the shape of y.

    Parameters
    ----------
    numbers : Numbers
    outputs : ndarray of shape (n_rows, n_outputs)
    calibration : mapping of str to ndarray
        The result of `measure_residuals`.
    coverage : float
        The share of new rows that the intervals shall cover.

    Raises
    ------
    ValueError
        If there are too few calibration rows for this coverage, or a single quantile.
    """
    low, high = _choose_outputs(numbers, coverage)
    residuals = numbers.by_quantile(calibration["residuals"])
    if low == high:
        scores = np.abs(residuals[..., low])
    else:
        scores = np.maximum(-residuals[..., low], residuals[..., high])
    margin = _find_margin(scores, calibration.get("residual_weights"), coverage)
    predicted = numbers.by_quantile(outputs)
    # In the type of the outputs, of which float32 stays float32.
    margin = margin.astype(outputs.dtype)
    lower, upper = predicted[..., low] - margin, predicted[..., high] + margin
    if numbers.loss == "poisson":
        lower = np.maximum(lower, 0)
    # A negative margin, by which quantiles are too far apart, can be more than half their distance.
    crossed, middle = lower > upper, 0.5 * lower + 0.5 * upper
    return np.where(crossed, middle, lower), np.where(crossed, middle, upper)


def _choose_outputs(numbers: Numbers, coverage: float) -> tuple[int, int]:
    """Return the quantiles that an interval begins from, nearest to those of equal tails."""
    quantiles = numbers.quantiles
    if not quantiles:
        return 0, 0
    if len(quantiles) == 1:
        raise ValueError(
            "predict_interval needs at least two quantiles, such as quantiles=[0.05, 0.95]. Got "
            f"quantiles={[*quantiles]}."
        )
    tail = 0.5 * (1.0 - coverage)
    pairs = combinations(range(len(quantiles)), 2)
    return min(
        pairs, key=lambda pair: abs(quantiles[pair[0]] - tail) + abs(1 - quantiles[pair[1]] - tail)
    )


def _find_margin(
    scores: FloatArray, weights: FloatArray | None, coverage: float
) -> NDArray[np.float64]:
    """Return for each column the score that covers the share of all rows and a new one.

    Without weights it is the score of rank ceil((n + 1) coverage). A weight counts as copies.
    """
    weights = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
    total = float(weights.sum())
    # Rounded down by a little, so that 0.9 of 10 is 9.
    needed = coverage * (total + 1.0) * (1.0 - 1e-12)
    if needed > total:
        least = math.ceil(coverage / (1.0 - coverage) * (1.0 - 1e-12))
        raise ValueError(
            f"coverage={coverage} needs at least {least} calibration rows. Got {total:g}. "
            "Increase calibration_fraction, pass more rows as X_cal, or lower coverage."
        )
    columns = scores.reshape(len(scores), -1)
    order = np.argsort(columns, axis=0, kind="stable")
    ranks = np.cumsum(weights[order], axis=0)
    firsts = np.argmax(ranks >= needed, axis=0)
    margins = np.take_along_axis(columns, order, axis=0)[firsts, np.arange(columns.shape[1])]
    return np.asarray(margins, np.float64).reshape(scores.shape[1:])
