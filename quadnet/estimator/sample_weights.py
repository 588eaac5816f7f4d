"""Row weights: what the caller gives, and what `class_weight` makes of it."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.class_weight import compute_sample_weight

from quadnet.estimator.targets import Labels
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
            f"{name} must be finite and not negative, in {X.dtype} too. Got {given.flat[wrong[0]]} "
            f"in row {wrong[0]}."
        )
    refuse_nothing(weights, name)
    return weights


def refuse_nothing(weights: FloatArray, name: str) -> None:
    """Raise ValueError if no row has any weight."""
    if not weights.any():
        raise ValueError(f"{name} must contain at least one non-zero number. All weights are zero.")


def with_class_weights(
    weights: FloatArray | None,
    class_weight: str | Mapping[Any, Any] | None,
    y: Any,
    labels: Labels,
    dtype: np.dtype[np.floating],
) -> FloatArray | None:
    """Return the rows' weights times those of their classes.

    'balanced' gives every class of the present rows the same sum of weights.

    Raises
    ------
    ValueError
        If `class_weight` does not fit the classes, or leaves no row any weight.
    """
    if class_weight is None:
        return weights
    if class_weight == "balanced":
        by_row = _balanced(weights, y, labels)
    else:
        assert isinstance(class_weight, Mapping)
        by_row = _by_class(class_weight, y, labels)
    product: FloatArray = (by_row if weights is None else weights * by_row).astype(dtype)
    refuse_nothing(product, "class_weight, times sample_weight,")
    return product


def _balanced(weights: FloatArray | None, y: Any, labels: Labels) -> NDArray[np.float64]:
    if labels.multilabel:
        dense = y.toarray() if hasattr(y, "toarray") else y
        return np.asarray(compute_sample_weight("balanced", dense))
    # scikit-learn's own counts rows; weights are what rows count here.
    _, codes = np.unique(y, return_inverse=True)
    counted = np.ones(len(codes)) if weights is None else weights
    totals = np.bincount(codes, counted)
    shares = np.divide(
        counted.sum(), np.count_nonzero(totals) * totals, where=totals > 0, out=totals.copy()
    )
    return np.asarray(shares[codes])


def _is_finite_and_not_negative(number: Real) -> bool:
    try:
        return 0 <= float(number) < np.inf
    except OverflowError:  # an integer beyond every float
        return False


def _by_class(class_weight: Mapping[Any, Any], y: Any, labels: Labels) -> NDArray[np.float64]:
    if labels.multilabel:
        raise ValueError(
            "class_weight must be 'balanced' or None for multilabel y, whose rows can be of "
            "several classes at once. Got a dict; use sample_weight."
        )
    for label, weight in class_weight.items():
        if not (isinstance(weight, Real) and _is_finite_and_not_negative(weight)):
            raise ValueError(
                "class_weight must have values that are numbers, finite and not negative. "
                f"Got {weight!r} for the class {label!r}."
            )
    classes = labels.classes.tolist()
    # The rows of a fold or a site may lack classes of the problem: their names are passed over.
    if class_weight and class_weight.keys().isdisjoint(classes):
        raise ValueError(
            f"class_weight must have keys from the classes {classes}. Got {[*class_weight]}."
        )
    # Classes that are not named weigh 1.
    each = np.array([class_weight.get(label, 1.0) for label in classes], float)
    return np.asarray(each[labels.indices(y)])
