"""`categorical_features` and `missing`: columns of categories, dates and gaps as numbers.

The encoder that a fit learns from its rows belongs to the fitted estimator, as `encoder_`. An
estimator without one takes X as it is, and never comes here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from quadnet.errors import InvalidInput, listing
from quadnet.tables.column_encoders import CategoryEncoder
from quadnet.tables.column_settings import ColumnSettings, NumberSettings
from quadnet.tables.columns import Column, Table, find_missing, is_numbers
from quadnet.tables.encoder import TableEncoder, fit_encoder
from quadnet.tables.frames import is_frame, open_frame
from quadnet.tables.raw_columns import ArrayColumn, RawColumn
from quadnet.types import BoolArray, FloatArray


def needs_encoder(estimator: Any) -> bool:
    """Whether a fit with these parameters learns an encoder."""
    return estimator.categorical_features is not None or estimator.missing != "error"


def find_encoder(estimator: Any) -> TableEncoder | None:
    """Return the encoder of a fitted estimator; None if it takes X as it is."""
    encoder: TableEncoder | None = getattr(estimator, "encoder_", None)
    return encoder


def encode_training_rows(
    estimator: Any, X: Any, *, continues: bool
) -> tuple[FloatArray, TableEncoder]:
    """Return the inputs of the network for the rows to train on, and the encoder.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_`, and `feature_names_in_` if X has names.
    X : {array-like, data frame} of shape (n_rows, n_features)
    continues : bool
        Whether training continues from the estimator's last fit, whose encoder is kept.

    Raises
    ------
    ValueError
        If X cannot be encoded, or the weights to continue from are for other inputs.
    """
    if continues:
        encoder = find_encoder(estimator)
        if (encoder is not None) != needs_encoder(estimator):
            trained = "columns as they are" if encoder is None else "encoded columns"
            raise ValueError(
                f"Cannot continue training: the weights are for {trained}, but "
                f"categorical_features is {estimator.categorical_features!r} and missing is "
                f"{estimator.missing!r}. Set them to their previous values, or fit a new network."
            )
        assert encoder is not None
        return encode_rows(estimator, encoder, X), encoder
    X, columns = _open_columns(estimator, X, reset=True)
    names = _find_names(estimator, len(columns))
    categorical = _find_categorical(estimator, columns)
    table: dict[str, Column] = {}
    for name, column, is_category in zip(names, columns, categorical, strict=True):
        kind = "category" if is_category else _find_kind(name, column)
        if kind == "category" and not is_category:
            kind = "number"  # categories that are numbers, such as 1 and 2, may be read so
        table[name] = _read(name, column, kind)
    _refuse_missing(estimator, table)
    # Numbers are standardised by `scale`, for which rows have weights.
    settings: dict[str, ColumnSettings] = {
        name: NumberSettings(scale="none") for name, column in table.items() if is_numbers(column)
    }
    try:
        encoder = fit_encoder(table, settings)
    except InvalidInput as error:
        raise _invalid_numbers(error) from None
    if _are_chosen_by_dtype(estimator):
        _refuse_unique_texts(encoder, columns)
    return _transform(encoder, table, X), encoder


def encode_rows(estimator: Any, encoder: TableEncoder, X: Any) -> FloatArray:
    """Return the inputs of the network for rows with the columns of the fit.

    Raises
    ------
    ValueError
        If X does not have these columns, or a value is of another kind.
    """
    X, columns = _open_columns(estimator, X, reset=False)
    table = {
        each.name: _read(each.name, column, each.kind)
        for each, column in zip(encoder.columns, columns, strict=True)
    }
    _refuse_missing(estimator, table)
    return _transform(encoder, table, X)


def _transform(encoder: TableEncoder, table: Table, X: Any) -> FloatArray:
    try:
        encoded = encoder.transform(table)
    except InvalidInput as error:
        raise _invalid_numbers(error) from None
    return encoded.astype(np.float32) if getattr(X, "dtype", None) == np.float32 else encoded


def _open_columns(estimator: Any, X: Any, *, reset: bool) -> tuple[Any, Sequence[RawColumn]]:
    """Return X as a data frame or an array, checked as scikit-learn does, and its columns."""
    if is_frame(X):
        columns: Sequence[RawColumn] = open_frame(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if not columns or not len(X):
            raise ValueError(
                f"X must have at least 1 row and 1 column. Got a data frame of shape {X.shape}."
            )
        return X, columns
    options: dict[str, Any] = {"ensure_all_finite": False, "estimator": estimator}
    array = check_array(X, dtype=None, input_name="X", **options)
    if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
        array = check_array(X, dtype=object, input_name="X", **options)  # not 1.0 as a text
    validate_data(estimator, array, reset=reset, skip_check_array=True)
    return array, [ArrayColumn(array[:, i]) for i in range(array.shape[1])]


def _find_names(estimator: Any, n_columns: int) -> list[str]:
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{i}" for i in range(n_columns)] if names is None else names.tolist()


def _find_categorical(estimator: Any, columns: Sequence[RawColumn]) -> BoolArray:
    """Return which columns `categorical_features` chooses, as HistGradientBoosting reads it.

    Raises
    ------
    ValueError
        If it names a column that X does not have.
    """
    n_columns = len(columns)
    chosen = np.full(n_columns, False)
    if estimator.categorical_features is None:
        return chosen
    if _are_chosen_by_dtype(estimator):
        shown = _find_names(estimator, n_columns)
        pairs = zip(shown, columns, strict=True)
        return np.array([_find_kind(name, column) == "category" for name, column in pairs])
    given = np.asarray(estimator.categorical_features)
    if not given.size:
        return chosen
    if given.dtype.kind == "b":
        if given.shape != (n_columns,):
            raise ValueError(
                f"categorical_features as a mask must have the shape ({n_columns},), one entry for "
                f"each column of X. Got the shape {given.shape}."
            )
        return given
    if given.dtype.kind in "iu":
        if given.min() < 0 or given.max() >= n_columns:
            raise ValueError(
                f"categorical_features as indices must be from 0 to {n_columns - 1}, because X has "
                f"{n_columns} columns. Got {given.tolist()}."
            )
        chosen[given] = True
        return chosen
    chosen[_find_places(estimator, given.tolist())] = True
    return chosen


def _find_places(estimator: Any, given: Sequence[str]) -> list[int]:
    """Return the indices of the columns with these names."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        raise ValueError(
            "categorical_features has names, but X has no column names. Pass a data frame whose "
            f"columns have names, or indices. Got {given}."
        )
    places = {name: i for i, name in enumerate(names.tolist())}
    for name in given:
        if name not in places:
            raise ValueError(
                f"categorical_features has the name {name!r}, which is not a column of X. X has "
                f"{listing(list(places))}."
            )
    return [places[name] for name in given]


def _are_chosen_by_dtype(estimator: Any) -> bool:
    return isinstance(estimator.categorical_features, str)


def _find_kind(name: str, column: RawColumn) -> str:
    try:
        return column.kind
    except ValueError as error:
        raise ValueError(f"Column {name!r} of X: {error}.") from None


def _read(name: str, column: RawColumn, kind: str) -> Column:
    try:
        return column.read(kind)
    except (ValueError, TypeError) as error:
        advice = " To treat it as categories, name it in categorical_features."
        message = f"Column {name!r} of X: {error}.{advice if kind == 'number' else ''}"
        raise type(error)(message) from None


def _refuse_missing(estimator: Any, table: Table) -> None:
    if estimator.missing != "error":
        return
    for name, column in table.items():
        missing = find_missing(column)
        if missing.any():
            raise ValueError(
                f"Input X contains NaN, or another missing value, in row {int(missing.argmax())} "
                f"of column {name!r}. Fill it, or set missing='indicator'."
            )


def _invalid_numbers(error: InvalidInput) -> ValueError:
    return ValueError(f"Input X contains infinity: {error}.")


def _refuse_unique_texts(encoder: TableEncoder, columns: Sequence[RawColumn]) -> None:
    for each, column in zip(encoder.columns, columns, strict=True):
        if column.is_text and isinstance(each, CategoryEncoder) and not each.categories:
            raise ValueError(
                f"No text of column {each.name!r} of X occurs twice, so nothing can be learned "
                "from it. Leave it out, or list the columns of categories in categorical_features."
            )
