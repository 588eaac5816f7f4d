"""Row weights: what the caller gives, and what `class_weight` makes of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.class_weight import compute_sample_weight

from quadnet.labels import Labels
from quadnet.types import FloatArray


def row_weights(sample_weight: ArrayLike | None, X: Any, name: str) -> FloatArray | None:
    """Return one weight a row of X, in X's dtype, or None for None.

    Raises
    ------
    ValueError
        If there is not one number for each row, or one is negative or not finite, or all are 0.
    """
    if sample_weight is None:
        return None
    n_rows = X.shape[0]
    weights: FloatArray = np.asarray(sample_weight, dtype=X.dtype)
    if weights.ndim == 0:
        weights = np.full(n_rows, weights)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"{name} must have one entry for each row of X, the shape ({n_rows},). "
            f"Got the shape {weights.shape}."
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite and not negative. Got {weights[wrong[0]]} in row {wrong[0]}."
        )
    if not weights.any():
        raise ValueError(f"{name} must contain at least one non-zero number. All weights are zero.")
    return weights


def with_class_weights(
    weights: FloatArray | None,
    class_weight: str | Mapping[Any, float] | None,
    y: Any,
    labels: Labels,
    dtype: np.dtype[np.floating],
) -> FloatArray | None:
    """Return the rows' weights times those of their classes.

    'balanced' gives every class of the present rows the same sum of weights.
    """
    if class_weight is None:
        return weights
    if class_weight == "balanced" and not labels.multilabel:
        # scikit-learn's own counts rows; weights are what rows count here.
        _, codes = np.unique(y, return_inverse=True)
        counted = np.ones(len(codes)) if weights is None else weights
        totals = np.bincount(codes, counted)
        shares = np.divide(
            counted.sum(), np.count_nonzero(totals) * totals, where=totals > 0, out=totals.copy()
        )
        by_class = shares[codes]
    else:
        by_class = compute_sample_weight(class_weight, y)
    product: FloatArray = (by_class if weights is None else weights * by_class).astype(dtype)
    return product
