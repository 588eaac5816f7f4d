"""Rows and targets that a caller passes in Python, as parts of the data of a version."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adoption.adopted_model import AdoptedModel
from pipeline.data.datasets import Dataset
from pipeline.data.targets import ClassTarget, LabelsTarget, NumberTarget, Target
from quadnet.errors import InvalidInput, Violation, listing, shorten
from quadnet.nn.predictor import Predictor
from quadnet.tables.column_encoders import NumberEncoder
from quadnet.tables.columns import Column, Texts, is_numbers
from quadnet.tables.encoder import TableEncoder
from quadnet.tables.frames import (
    drop_columns,
    is_frame,
    make_pandas_frame,
    open_frame,
    open_series,
    order_columns,
)
from quadnet.tables.raw_columns import ArrayColumn, RawColumn
from quadnet.tables.table_reading import make_number_encoder, read_column, read_table


@dataclass(frozen=True)
class ReadRows:
    """The rows that a caller passes, as a part of the data.

    Parameters
    ----------
    part : Dataset
    target_name : str or None
        The name that y has.
    """

    part: Dataset
    target_name: str | None


def read_rows(model: AdoptedModel, X: Any, y: Any, what: str) -> ReadRows:
    """Return rows and their targets as a part of the data of a model.

    Parameters
    ----------
    model : AdoptedModel
    X : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)
        With the columns that the model was fitted to.
    y : series, data frame, Texts, mapping of str to column, or array-like
    what : {"test", "train"}
        For messages: what is wrong with `X_test` or `y_test`.

    Raises
    ------
    InvalidInput
        If columns or values are not those of the model, or X and y differ in length.
    """
    encoder = model.encoder or make_number_encoder(model.columns)
    try:
        table = read_table(_select_columns(model, X, encoder), encoder)
        rows = encoder.transform(table)
    except InvalidInput as error:
        raise _name_argument(error, f"X_{what}") from None
    target, name = _read_target(model, y, f"y_{what}")
    if len(target) != len(rows):
        raise InvalidInput(
            [Violation(f"y_{what}", f"must have {len(rows):,} rows, as X has; got {len(target):,}")]
        )
    if not len(rows):
        raise InvalidInput([Violation(f"X_{what}", "must have at least one row, got 0")])
    if model.encoder is None:
        return ReadRows(Dataset(model.columns, rows, target), name)
    return ReadRows(Dataset(encoder.output_names, rows, target, table=table), name)


def with_ranges(encoder: TableEncoder, table: Mapping[str, Column]) -> TableEncoder:
    """Return the encoder with the ranges that columns of numbers have in these rows."""
    columns = []
    for column in encoder.columns:
        values = table[column.name]
        if isinstance(column, NumberEncoder) and is_numbers(values):
            known = values[~np.isnan(values)]
            low, high = (known.min(), known.max()) if len(known) else (column.low, column.high)
            columns.append(replace(column, low=float(low), high=float(high)))
        else:
            columns.append(column)  # type: ignore[arg-type]
    return TableEncoder(tuple(columns))


def name_labels(model: AdoptedModel, y: Any) -> AdoptedModel:
    """Return a model of several labels with the names of the columns of y, if they have names."""
    if model.task != "multilabel":
        return model
    if isinstance(y, Mapping):
        names = list(y)
    elif is_frame(y):
        names = [column.series.name for column in open_frame(y)]
    else:
        return model
    predictor = model.predictor
    assert isinstance(predictor, Predictor)
    if len(names) != len(predictor.classes) or not all(isinstance(name, str) for name in names):
        return model
    return replace(model, predictor=Predictor(predictor.network, names))


def list_forms(model: AdoptedModel, X: Any) -> Iterator[Any]:
    """Yield rows as the estimator may have been fitted to them.

    A version takes columns in any order, and frames of any library. An estimator wants the order
    that it was fitted to; and scikit-learn's encoders tell a missing text in polars from one in
    pandas.
    """
    if is_frame(X):
        ordered = order_columns(X, model.columns)
        yield ordered
        columns = {each.series.name: each.series.to_list() for each in open_frame(ordered)}
    else:
        yield X
        array = X if isinstance(X, np.ndarray) else np.asarray(X, object)
        columns = {name: array[:, i].tolist() for i, name in enumerate(model.columns)}
    rows = make_pandas_frame(columns)
    if rows is not None:
        yield rows.where(rows.notna(), np.nan)


def _select_columns(model: AdoptedModel, X: Any, encoder: TableEncoder) -> Any:
    """Return X without the columns that the estimator was fitted to, and does not use."""
    unused = [name for name in model.columns if name not in encoder.input_names]
    if not unused:
        return X
    if isinstance(X, Mapping):
        return {name: values for name, values in X.items() if name not in unused}
    if is_frame(X):
        return drop_columns(X, unused)
    places = [model.columns.index(name) for name in encoder.input_names]
    array = X if isinstance(X, np.ndarray) else np.asarray(X, object)
    if array.ndim == 2 and array.shape[1] == len(model.columns):
        return array[:, places]
    return X


def _name_argument(error: InvalidInput, argument: str) -> InvalidInput:
    violations = [
        each
        if each.field == argument
        else Violation(
            argument if each.field == "X" else f"{argument}, column {each.field}", each.description
        )
        for each in error.violations
    ]
    return InvalidInput(violations, error.total)


def _read_target(model: AdoptedModel, y: Any, argument: str) -> tuple[Target, str | None]:
    if model.task == "multilabel":
        return _read_labels(model, y, argument), None
    column, name = _open_target(y, argument)
    if model.task == "regression":
        numbers = read_column(argument, column, "number")
        assert is_numbers(numbers)
        wrong = ~np.isfinite(numbers)
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidInput(
                [Violation(f"{argument}[{row}]", f"must be a finite number, got {numbers[row]}")],
                int(wrong.sum()),
            )
        return NumberTarget(numbers), name or "y"
    assert isinstance(model.predictor, Predictor)
    classes = model.predictor.classes.astype(str)
    texts = read_column(argument, column, "category").to_array()  # type: ignore[union-attr]
    places = {text: i for i, text in enumerate(classes.tolist())}
    if {*places} == {"0", "1"}:
        # What scikit-learn makes of pandas' dtype boolean, with which y_test may still come.
        places |= {"False": places["0"], "True": places["1"]}
    codes = np.array([places.get(text, -1) for text in texts], np.intp)
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        found = "a missing value" if texts[row] is None else shorten(texts[row])
        raise InvalidInput(
            [
                Violation(
                    f"{argument}[{row}]",
                    f"must be one of the model's classes, {listing(classes.tolist())}; got {found}",
                )
            ],
            int((codes < 0).sum()),
        )
    return ClassTarget(codes, classes), name


def _read_labels(model: AdoptedModel, y: Any, argument: str) -> LabelsTarget:
    assert isinstance(model.predictor, Predictor)
    names = tuple(str(name) for name in model.predictor.classes)
    columns: list[RawColumn | Texts]
    if isinstance(y, Mapping):
        columns = [_open_target(column, argument)[0] for column in y.values()]
    elif is_frame(y):
        columns = [*open_frame(y)]
    else:
        array = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
        if array.ndim != 2:
            raise InvalidInput(
                [Violation(argument, f"must have a column for each of {len(names)} labels")]
            )
        columns = [ArrayColumn(array[:, i]) for i in range(array.shape[1])]
    if len(columns) != len(names):
        expected = f"must have a column for each of {len(names)} labels"
        raise InvalidInput([Violation(argument, f"{expected}, got {len(columns)}")])
    read = [read_column(argument, column, "number") for column in columns]
    Y = np.column_stack(read)  # type: ignore[arg-type]
    wrong = (Y != 0) & (Y != 1)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        raise InvalidInput(
            [Violation(f"{argument}[{row}]", f"must be 0 or 1, got {Y[row][wrong[row]][0]:g}")],
            int(wrong.sum()),
        )
    return LabelsTarget(Y.astype(np.int8), names)


def _open_target(y: Any, argument: str) -> tuple[RawColumn | Texts, str | None]:
    """Return y as one column, and its name."""
    if isinstance(y, Texts):
        return y, None
    if is_frame(y):
        columns = open_frame(y)
        if len(columns) != 1:
            raise InvalidInput([Violation(argument, f"must be one column, got {len(columns)}")])
        return columns[0], _as_name(columns[0].series.name)
    series = None if isinstance(y, (np.ndarray, list, tuple)) else open_series(y)
    if series is not None:
        return series, _as_name(series.series.name)
    array: NDArray[Any] = np.asarray(y)
    if isinstance(y, (list, tuple)) and array.dtype.kind in "US":
        array = np.asarray(y, object)  # not 1.0 as a text
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InvalidInput(
            [Violation(argument, f"must have one value for each row, got the shape {array.shape}")]
        )
    return ArrayColumn(array), None


def _as_name(name: Any) -> str | None:
    return name if isinstance(name, str) and name else None
