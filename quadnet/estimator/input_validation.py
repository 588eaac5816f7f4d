"""The checks of the caller's arrays, before training and before predicting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import (
    check_consistent_length,
    check_X_y,
    column_or_1d,
    validate_data,
)

from quadnet.estimator.columns.encoding import (
    encode_rows,
    encode_training_rows,
    find_encoder,
    needs_encoder,
)
from quadnet.estimator.columns.scaling import ColumnScaler, choose_scaler, find_scaler
from quadnet.estimator.network_builder import StartingWeights
from quadnet.estimator.sample_weights import make_row_weights, validate_sample_weight
from quadnet.estimator.targets.encoding import TargetEncoding
from quadnet.estimator.targets.labels import (
    Labels,
    are_more_classes,
    are_plain_labels,
    are_same_classes,
    sort_classes,
    warn_if_one_hot,
)
from quadnet.estimator.targets.numbers import as_numbers
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray

_COLUMN_ATTRIBUTES = ("n_features_in_", "feature_names_in_")
_FLOAT_TYPES = (np.float64, np.float32)


def _validate_data(estimator: Any, X: Any, *arguments: Any, **options: Any) -> Any:
    if estimator.input_shape is not None:
        X = _flatten_examples(X, estimator.input_shape)
    elif estimator.layers is not None and len(getattr(X, "shape", ())) > 2:
        raise ValueError(f"X of shape {X.shape} needs input_shape={X.shape[1:]}, which is not set.")
    # scikit-learn looks for NaN in a sum, which for large values of both signs is inf - inf.
    with np.errstate(over="ignore", invalid="ignore"):
        return validate_data(estimator, X, *arguments, **options)


def _flatten_examples(X: Any, input_shape: Any) -> Any:
    """Return X of shape (n_rows, *input_shape), or of rows of as many values, as rows.

    Raises
    ------
    ValueError
        If X has another shape.
    """
    shape = tuple(np.atleast_1d(input_shape).tolist())
    n_values = prod(shape)
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if X.ndim > 2 and X.shape[1:] == shape:
        return X.reshape(len(X), n_values)
    if X.ndim != 2 or X.shape[1] != n_values:
        shapes = [f"(n_rows, {n_values})"]
        shapes += [f"(n_rows, {', '.join(map(str, shape))})"] if len(shape) > 1 else []
        raise ValueError(
            f"X must have the shape {' or '.join(shapes)}, because of input_shape. Got {X.shape}."
        )
    return X


@contextmanager
def columns_restored_on_error(estimator: Any) -> Iterator[None]:
    """Restore the attributes that scikit-learn's `validate_data` sets, if the body fails.

    An estimator whose fit fails then still predicts for the columns that it was fitted with.
    """
    attributes = vars(estimator)
    before = {name: attributes[name] for name in _COLUMN_ATTRIBUTES if name in attributes}
    try:
        yield
    except BaseException:
        for name in _COLUMN_ATTRIBUTES:
            attributes.pop(name, None)
        attributes.update(before)
        raise


def validate_training_rows(
    estimator: Any,
    config: TrainingConfig,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    starting: StartingWeights | None,
    find_encoding: Callable[[Any], TargetEncoding],
) -> TargetRows:
    """Return the rows to train on: X as float32 or float64, dense or CSR.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_`, and `feature_names_in_` if X has names.
    config : TrainingConfig
    X, y, sample_weight
        The arguments of `fit` or `partial_fit`.
    starting : StartingWeights or None
        The weights to continue from. Training then continues in their type, and if the estimator
        has been fitted, X must have the same columns as before.
    find_encoding : callable
        Returns how y is encoded, for a y that is an array: a classifier's labels.

    Raises
    ------
    ValueError
        If X is not finite, is complex or of another shape, or y or the weights do not fit it.
    """
    # Weights that were set before the first fit have no column names yet.
    reset = starting is None or not estimator.__sklearn_is_fitted__()
    encoder = None
    if needs_encoder(estimator) or (not reset and find_encoder(estimator) is not None):
        rows, encoder = encode_training_rows(estimator, X, continues=not reset)
        rows, y = _check_with_target(estimator, rows, y)
    elif (
        not reset
        and _are_plain_rows(estimator, X)
        and X.flags.c_contiguous
        and are_plain_labels(y)
        and len(y) == len(X)
    ):
        # scikit-learn's validation would return X and y themselves. For a mini-batch it takes as
        # long as the update of a network with 50,000 weights.
        rows = X
    else:
        rows, y = _validate_data(
            estimator,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            dtype=_FLOAT_TYPES,
            order="C",
            reset=reset,
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    encoding = find_encoding(y)
    # The scaler's weights are without those of the classes, as in a pipeline.
    weights = validate_sample_weight(sample_weight, rows, "sample_weight") if config.scale else None
    scaler = choose_scaler(
        estimator, rows, weights, config.input_shape, encoder=encoder, continues=not reset
    )
    if scaler is not None:
        rows = scaler.transform(rows)
    if starting is not None:
        rows = rows.astype(starting.dtype, copy=False)
    return _weigh_rows(
        config,
        rows,
        y,
        encoding,
        sample_weight,
        scaler=scaler,
        encoder=encoder,
        name="sample_weight",
    )


def _check_with_target(estimator: Any, rows: FloatArray, y: Any) -> tuple[Any, Any]:
    """Return encoded rows and y, checked as scikit-learn checks rows that need no encoder."""
    checked: tuple[Any, Any] = check_X_y(
        rows, y, multi_output=True, dtype=_FLOAT_TYPES, order="C", estimator=estimator
    )
    return checked


def _weigh_rows(
    config: TrainingConfig,
    X: Any,
    y: Any,
    encoding: TargetEncoding,
    sample_weight: Any,
    *,
    scaler: ColumnScaler | None,
    encoder: TableEncoder | None,
    name: str,
) -> TargetRows:
    if isinstance(encoding, Labels):
        weights = make_row_weights(sample_weight, config.class_weight, X, y, encoding, name=name)
    else:
        y = as_numbers(y)
        if np.abs(y).max() > np.finfo(X.dtype).max:
            raise ValueError(f"y must be finite, also as {X.dtype}. Got {y.max()}; scale y.")
        weights = validate_sample_weight(sample_weight, X, name)
    return TargetRows(X, y, encoding, weights, scaler, config.label_smoothing, encoder=encoder)


def validate_validation_rows(
    estimator: Any,
    config: TrainingConfig,
    encoding: TargetEncoding,
    *,
    X: Any,
    y: Any,
    sample_weight: Any,
    suffix: str = "val",
    scaler: ColumnScaler | None,
    encoder: TableEncoder | None,
) -> TargetRows | None:
    """Return the rows of `X_val`, `y_val` and `sample_weight_val`; None without them.

    `suffix` is the end of the arguments' names.

    Raises
    ------
    ValueError
        If an argument is missing, or the rows do not fit those to train on.
    """
    if X is None and y is None:
        if sample_weight is not None:
            raise ValueError(
                f"sample_weight_{suffix} is provided, but X_{suffix} and y_{suffix} were not."
            )
        return None
    if X is None or y is None:
        given, missing = ("y", "X") if X is None else ("X", "y")
        raise ValueError(f"{given}_{suffix} is provided, but {missing}_{suffix} was not provided.")
    check_consistent_length(X, y)
    if encoder is None:
        rows = _validate_data(estimator, X, accept_sparse="csr", dtype=_FLOAT_TYPES, reset=False)
    else:
        rows = encode_rows(estimator, encoder, X)
    try:
        y = encoding.conform(y)
    except ValueError as error:
        raise ValueError(f"y_{suffix}: {error}") from None
    if scaler is not None:
        rows = scaler.transform(rows)
    return _weigh_rows(
        config,
        rows,
        y,
        encoding,
        sample_weight,
        scaler=scaler,
        encoder=encoder,
        name=f"sample_weight_{suffix}",
    )


def number_groups(
    config: TrainingConfig, groups: Any, n_rows: int, *, has_validation_rows: bool
) -> NDArray[np.intp] | None:
    """Return the number of each row's group; None without groups.

    Raises
    ------
    ValueError
        If there is not one group for each row, there is only one group in all, or the fit holds
        out no rows.
    """
    if groups is None:
        return None
    if has_validation_rows or not config.splits_rows:
        if has_validation_rows:
            found, remedy = "X_val, which is held out in place of a part of X", "Remove one of both"
        elif config.early_stopping:
            found, remedy = (
                f"solver={config.solver.name!r}, which holds out no rows",
                "Remove groups",
            )
        else:
            found, remedy = "early_stopping=False", "Set early_stopping=True, or remove groups"
        raise ValueError(
            "groups are for early stopping, which holds out some of them. Got groups with "
            f"{found}. {remedy}."
        )
    given = np.asarray(groups)
    if given.shape != (n_rows,):
        raise ValueError(
            f"groups must have one entry for each row of X, the shape ({n_rows},). Got the shape "
            f"{given.shape}."
        )
    if given.dtype.kind == "f" and np.isnan(given).any():
        row = int(np.argmax(np.isnan(given)))
        raise ValueError(f"groups must name a group for each row. Got NaN in row {row}.")
    try:
        names, numbers = np.unique(given, return_inverse=True)
    except TypeError:  # of types that NumPy cannot compare
        raise ValueError(
            "groups must hold values of one kind, such as integers or strings. Got "
            f"{sorted({type(each).__name__ for each in given})}."
        ) from None
    if len(names) == 1:
        raise ValueError(
            "groups must have at least two groups: one to train on, and one to hold out. Got "
            f"{names.tolist()[0]!r} for every row."
        )
    return numbers


def validate_target_rows(
    estimator: Any, encoding: TargetEncoding, X: Any, y: Any
) -> tuple[Any, Any]:
    """Return scaled rows and their y, of the same kind as in the fit, for a fitted estimator.

    Raises
    ------
    ValueError
        If X does not have the columns of the fit, or y is of another kind.
    """
    encoder = find_encoder(estimator)
    if encoder is not None:
        rows, y = _check_with_target(estimator, encode_rows(estimator, encoder, X), y)
    else:
        rows, y = _validate_data(
            estimator, X, y, accept_sparse="csr", multi_output=True, dtype=_FLOAT_TYPES, reset=False
        )
    scaler = find_scaler(estimator)
    return rows if scaler is None else scaler.transform(rows), encoding.conform(y)


def find_labels_of_fit(estimator: Any, y: Any, *, continues: bool) -> Labels:
    """Return the labels of y, which must be those of the previous fit if this one continues it.

    Raises
    ------
    ValueError
        If y does not hold classes, or has others than before.
    """
    labels = Labels.from_targets(y)
    if not continues:
        warn_if_one_hot(y, labels)
        return labels
    known, before = getattr(estimator, "classes_", None), getattr(estimator, "_labels", None)
    if known is not None and not are_same_classes(labels.classes, known):
        # scikit-learn's own words, which its tests expect.
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous "
            f"call to fit. Previously got {known}, `y` has {labels.classes}"
        )
    if before is not None and labels.multilabel != before.multilabel:
        raise ValueError(
            f"warm_start can only be used where `y` has {before.target_shape}, as in the previous "
            f"call to fit. Got {labels.target_shape}."
        )
    return labels


def find_labels_of_partial_fit(
    estimator: Any, y: Any, *, classes: NDArray[np.generic] | None
) -> Labels:
    """Return the labels of the first call: those in `classes`, of which y may have only some.

    Parameters
    ----------
    estimator : estimator
    y : ndarray or sparse matrix
    classes : ndarray or None
        The result of `check_classes`.

    Raises
    ------
    ValueError
        If y has other labels.
    """
    labels: Labels | None = getattr(estimator, "_labels", None)
    if labels is None:
        classes = sort_classes(estimator.classes_) if classes is None else classes
        labels = Labels.from_classes(classes, y)
        warn_if_one_hot(y, labels)
    else:
        labels.check_targets(y)
    return labels


def check_classes(estimator: Any, classes: Any) -> NDArray[np.generic] | None:
    """Return the sorted `classes` of a partial fit, or None if the caller passed no classes.

    Raises
    ------
    ValueError
        If they are not labels, are missing in the first call, or lack some of those before.
    """
    known = getattr(estimator, "classes_", None)
    if classes is None:
        if known is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return None
    found = sort_classes(classes)
    if known is None or are_same_classes(found, known):
        return found
    labels: Labels | None = getattr(estimator, "_labels", None)
    if labels is None or labels.multilabel or not are_more_classes(found, known):
        # scikit-learn's own words, which its tests expect.
        raise ValueError(
            f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}"
        )
    return found


def check_on_epoch(on_epoch: object) -> None:
    """Raise TypeError unless `on_epoch` can be called, or is None."""
    if not (on_epoch is None or callable(on_epoch)):
        raise TypeError(f"on_epoch must be a callable or None. Got {on_epoch!r}.")


def validate_rows(estimator: Any, X: Any) -> Any:
    """Return the rows to predict for, scaled as those of the fit.

    Raises
    ------
    ValueError
        If X does not have the columns of the fit, or is not finite.
    """
    # scikit-learn's validation would return plain rows themselves, and takes ten times as long as
    # a small network for one row.
    encoder = find_encoder(estimator)
    if encoder is not None:
        X = encode_rows(estimator, encoder, X)
    elif not _are_plain_rows(estimator, X):
        X = _validate_data(
            estimator, X, accept_sparse=("csr", "csc"), dtype=_FLOAT_TYPES, reset=False
        )
    scaler = find_scaler(estimator)
    return X if scaler is None else scaler.transform(X)


def _are_plain_rows(estimator: Any, X: Any) -> bool:
    """Whether X is an array that scikit-learn's validation for the fitted estimator accepts."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.shape[1] == getattr(estimator, "n_features_in_", -1)
        and len(X) > 0
        and X.dtype.char in "fd"
        and X.dtype.isnative
        and not hasattr(estimator, "feature_names_in_")
        and _are_finite(X)
    )


def _are_finite(X: NDArray[np.floating]) -> bool:
    # A finite sum of squares shows it in half the time; that of large values may overflow.
    if X.flags.c_contiguous and isfinite(np.vdot(X, X)):
        return True
    return bool(np.isfinite(X).all())
