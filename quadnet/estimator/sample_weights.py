"""Row weights: the caller's `sample_weight`, multiplied by `class_weight`."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.class_weight import compute_sample_weight

from quadnet.estimator.targets.labels import Labels
from quadnet.types import FloatArray


def make_row_weights(
    sample_weight: ArrayLike | None,
    class_weight: str | Mapping[Any, float] | None,
    X: Any,
    y: Any,
    labels: Labels,
    *,
    name: str,
) -> FloatArray | None:
    """Return the weight of each row, in the dtype of X; None if all weigh the same.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,), optional
    class_weight : dict, 'balanced' or None
    X, y, labels
        The rows, their labels, and the classes of the problem.
    name : str
        The argument that `sample_weight` came from, for error messages.

    Raises
    ------
    ValueError
        If weights are negative or not finite, do not fit the rows or classes, or are all 0.
    """
    weights = validate_sample_weight(sample_weight, X, name)
    if class_weight is None:
        return weights
    if isinstance(class_weight, str):
        by_row = _balanced_weights(weights, y, labels)
    else:
        by_row = _weights_by_class(class_weight, y, labels)
    product: FloatArray = (by_row if weights is None else weights * by_row).astype(X.dtype)
    check_any_weight(product, f"class_weight multiplied by {name}")
    return product


def validate_sample_weight(sample_weight: ArrayLike | None, X: Any, name: str) -> FloatArray | None:
    """Return one weight per row of X, in the dtype of X, or None for None.

    Raises
    ------
    ValueError
        If there is not one number for each row, or one is negative or not finite, or all are 0.
    """
    if sample_weight is None:
        return None
    n_rows = X.shape[0]
    given = np.asarray(sample_weight)
    if np.iscomplexobj(given):
        raise ValueError(f"{name} must be real numbers. Complex data not supported.")
    with np.errstate(over="ignore"):
        weights: FloatArray = given.astype(X.dtype)
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
            f"{name} must be finite and not negative, also as {X.dtype}. "
            f"Got {given.flat[wrong[0]]} in row {wrong[0]}."
        )
    check_any_weight(weights, name)
    return weights


def check_any_weight(weights: FloatArray, name: str) -> None:
    """Raise ValueError if every weight is 0."""
    if not weights.any():
        raise ValueError(f"{name} must contain at least one non-zero number. All weights are zero.")


def _balanced_weights(weights: FloatArray | None, y: Any, labels: Labels) -> NDArray[np.float64]:
    """Return weights with which every class that y has gets the same sum."""
    if labels.multilabel:
        dense = y.toarray() if hasattr(y, "toarray") else y
        return np.asarray(compute_sample_weight("balanced", dense))
    # scikit-learn's function counts rows; here each row counts by its weight.
    _, codes = np.unique(y, return_inverse=True)
    counted = np.ones(len(codes)) if weights is None else weights
    totals = np.bincount(codes, counted)
    shares = np.divide(
        counted.sum(), np.count_nonzero(totals) * totals, where=totals > 0, out=totals.copy()
    )
    return np.asarray(shares[codes])


def _weights_by_class(
    class_weight: Mapping[Any, float], y: Any, labels: Labels
) -> NDArray[np.float64]:
    """Return for each row the weight of its class, 1 for classes that the mapping lacks."""
    if labels.multilabel:
        raise ValueError(
            "class_weight must be 'balanced' or None for multilabel y, whose rows can have "
            "several classes. Got a dict; use sample_weight."
        )
    for label, weight in class_weight.items():
        if not _is_finite_and_not_negative(weight):
            raise ValueError(
                "class_weight must have values that are finite and not negative. "
                f"Got {weight!r} for the class {label!r}."
            )
    classes = labels.classes.tolist()
    # The rows of a fold may lack classes of the problem: their weights are ignored.
    if class_weight and class_weight.keys().isdisjoint(classes):
        raise ValueError(
            f"class_weight must have keys from the classes {classes}. Got {[*class_weight]}."
        )
    each = np.array([class_weight.get(label, 1.0) for label in classes], float)
    return np.asarray(each[labels.indices(y)])


def _is_finite_and_not_negative(number: Real | float) -> bool:
    try:
        return 0 <= float(number) < np.inf
    except OverflowError:  # an integer beyond the largest float
        return False
