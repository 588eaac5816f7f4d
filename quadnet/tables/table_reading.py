"""Rows of a caller, in any form, as the table that an encoder takes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, listing, shorten
from quadnet.tables.column_encoders import NumberEncoder
from quadnet.tables.columns import Column, Texts, table_length
from quadnet.tables.encoder import TableEncoder
from quadnet.tables.frames import is_frame, open_frame, open_series
from quadnet.tables.raw_columns import ArrayColumn, RawColumn, UnreadableValue


def read_table(X: Any, encoder: TableEncoder) -> dict[str, Column]:
    """Return rows as the columns of an encoder, each read by its kind.

    Parameters
    ----------
    X : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)
        A data frame of pandas, polars or pyarrow, or columns by their names: arrays, series or
        lists. The order of named columns is free. The columns of an array, and of a data frame
        whose names are no texts, are in the encoder's order. Dates may be texts in ISO 8601.
    encoder : TableEncoder

    Returns
    -------
    dict of str to Column
        In the encoder's order.

    Raises
    ------
    InvalidInput
        If a column is missing, unknown or repeated, a value is of another kind, or two columns
        differ in length. The message names the column, and the row as in ``age[3]``.
    MissingExtra
        If X is a data frame, and narwhals is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from quadnet.tables.columns import Texts
    >>> from quadnet.tables.encoder import fit_encoder
    >>> from quadnet.tables.table_reading import read_table
    >>> city = Texts.from_values(["Oslo", "Rome"] * 2)
    >>> encoder = fit_encoder({"age": np.array([1.0, 3.0] * 2), "city": city})
    >>> table = read_table({"city": ["Rome"], "age": [31]}, encoder)
    >>> encoder.transform(table).tolist()
    [[29.0, 0.0, 1.0]]
    """
    return read_columns(X, {each.name: each.kind for each in encoder.columns})


def read_columns(X: Any, kinds: Mapping[str, str]) -> dict[str, Column]:
    """Return rows as columns of these kinds; `read_table` describes X, the result and the errors.

    Parameters
    ----------
    X : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)
    kinds : mapping of str to str
        The kind of each column: "number", "category" or "date".
    """
    columns = _open_columns(X, list(kinds))
    table = {name: read_column(name, columns[name], kind) for name, kind in kinds.items()}
    table_length(table)
    return table


def read_column(name: str, column: RawColumn | Texts, kind: str) -> Column:
    """Return a column as one of this kind: "number", "category" or "date".

    Raises
    ------
    InvalidInput
        If a value is of another kind.
    """
    if isinstance(column, Texts):
        if kind == "category":
            return column
        column = ArrayColumn(column.to_array())
    try:
        return column.read(kind)
    except UnreadableValue as error:
        field = name if error.row is None else f"{name}[{error.row}]"
        raise InvalidInput([Violation(field, error.description)]) from None
    except (ValueError, TypeError) as error:
        raise InvalidInput([Violation(name, str(error))]) from None


def make_number_encoder(names: Sequence[str]) -> TableEncoder:
    """Return an encoder of numbers without gaps, which gives them as they are.

    With it, rows for a network without an encoder are read as all others.
    """
    return TableEncoder(
        tuple(
            NumberEncoder(
                name,
                centre=0.0,
                scale=1.0,
                clip=False,
                fill=0.0,
                indicator=False,
                low=0.0,
                high=0.0,
                knots=(),
                gaps="refused",
            )
            for name in names
        )
    )


def _open_columns(X: Any, names: Sequence[str]) -> Mapping[str, RawColumn | Texts]:
    """Return the columns of X by their names."""
    if isinstance(X, Mapping):
        _check_names(X, names)
        return {name: _open_values(name, X[name]) for name in names}
    if is_frame(X):
        try:
            columns = open_frame(X)
        except ValueError as error:
            raise InvalidInput([Violation("X", str(error))]) from None
        found = [column.series.name for column in columns]
        if any(isinstance(name, str) for name in found):
            _check_names(found, names)
            return dict(zip(found, columns, strict=True))
        return dict(zip(names, _check_number(columns, names), strict=True))
    array = _open_array(X)
    in_order = [ArrayColumn(array[:, i]) for i in range(array.shape[1])]
    return dict(zip(names, _check_number(in_order, names), strict=True))


def _check_names(found: Iterable[Any], names: Sequence[str]) -> None:
    """Raise InvalidInput unless these are the encoder's columns, in any order."""
    given = list(found)
    unknown = [name for name in given if name not in names]
    missing = [name for name in names if name not in given]
    violations = [
        Violation(name, f"is missing; the columns are {listing(names)}") for name in missing
    ]
    violations += [
        Violation(
            shown := name if isinstance(name, str) else repr(name),
            f"the model has no column {shorten(shown)}; it has {listing(names)}. Leave it out",
        )
        for name in unknown
    ]
    if violations:
        raise InvalidInput(violations)


def _check_number(columns: Sequence[RawColumn], names: Sequence[str]) -> Sequence[RawColumn]:
    if len(columns) != len(names):
        expected = f"must have {len(names)} columns, in the order {listing(names)}"
        raise InvalidInput([Violation("X", f"{expected}; got {len(columns)}")])
    return columns


def _open_array(X: Any) -> Any:
    """Return X as an array of two axes."""
    if hasattr(X, "toarray"):
        raise InvalidInput([Violation("X", "must not be a sparse matrix; pass X.toarray()")])
    if isinstance(X, np.ndarray):
        array = X
    else:
        try:
            array = np.asarray(X)
            if array.dtype.kind in "US":
                array = np.asarray(X, object)  # not 1.0 as a text
        except ValueError as error:
            raise InvalidInput(
                [Violation("X", f"must have rows of equal length: {error}")]
            ) from None
    if array.ndim != 2:
        expected = "must be a data frame, columns by their names, or an array of two axes"
        raise InvalidInput([Violation("X", f"{expected}; got {_describe(X, array)}")])
    return array


def _open_values(name: str, values: Any) -> RawColumn | Texts:
    """Return the values of one column, which a mapping has."""
    if isinstance(values, Texts):
        return values
    if not isinstance(values, (np.ndarray, list, tuple)):
        series = open_series(values)
        if series is not None:
            return series
        is_sequence = isinstance(values, Sequence) or hasattr(values, "__array__")
        if not is_sequence or isinstance(values, (str, bytes)) or np.ndim(values) == 0:
            shown = shorten(values) if isinstance(values, str) else shorten(repr(values))[1:-1]
            expected = "must be a sequence with a value for each row"
            raise InvalidInput([Violation(name, f"{expected}, got {shown}")])
    if isinstance(values, Sequence):
        return ArrayColumn(np.fromiter(values, object, len(values)))
    array: NDArray[Any] = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        expected = "must have one axis, with a value for each row"
        raise InvalidInput([Violation(name, f"{expected}; got the shape {array.shape}")])
    return ArrayColumn(array)


def _describe(X: Any, array: Any) -> str:
    return f"{type(X).__name__} of shape {array.shape}" if array.ndim else type(X).__name__
