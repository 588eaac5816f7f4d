"""Rows of a caller as the input tensors that one version of a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quadnet.errors import InvalidInput, Violation
from quadnet.tables.columns import Column, Table, Texts
from quadnet.tables.table_reading import read_columns
from quadnet.types import FloatArray
from service.client.arguments import invalid_input
from service.client.model_description import MATRIX, ModelDescription
from service.client.tensors import SentColumn, encode_column, encode_numbers
from service.wire.checks import check_finite_numbers


def encode_rows(rows: Any, description: ModelDescription) -> list[SentColumn]:
    """Return rows as tensors: one for each column, or `x` for a model without an encoder.

    Raises
    ------
    InvalidInput
        If the rows do not have the model's columns, or a value is of another kind. The message
        names the column and the row.
    """
    try:
        table = read_columns(_as_columns(rows), description.columns)
    except InvalidInput as error:
        raise _name_argument(error, description) from error
    if description.has_encoder:
        return [_encode(name, column) for name, column in table.items()]
    return [encode_numbers(MATRIX, stack_numbers(table))]


def stack_numbers(table: Table) -> FloatArray:
    """Return columns of finite numbers as an array of shape (n_rows, n_columns).

    Raises
    ------
    InvalidInput
        If a number is missing or infinite. The message names the column and the row.
    """
    names = list(table)
    X: FloatArray = np.column_stack([np.asarray(column) for column in table.values()])
    check_finite_numbers(X, lambda row, column: f"{names[column]}[{row}]")
    return X


def _name_argument(error: InvalidInput, description: ModelDescription) -> InvalidInput:
    """Return an error of the whole table, which the library calls X, under our argument's name."""
    if error.violations[0].field != "X" or "X" in description.columns:
        return error
    return invalid_input("rows", error.violations[0].description)


def _encode(name: str, column: Column) -> SentColumn:
    try:
        return encode_column(name, column)
    except UnicodeEncodeError as error:
        assert isinstance(column, Texts)
        row = int(np.flatnonzero(column.codes == column.values.index(error.object))[0])
        raise invalid_input(
            f"{name}[{row}]", f"expected a text that UTF-8 can encode, got {error.object!r}"
        ) from None


def _as_columns(rows: Any) -> Any:
    """Return a list of mappings, or a mapping of one row's values, as columns by their names."""
    if isinstance(rows, Mapping):
        if rows and all(map(_is_scalar, rows.values())):
            return {name: [value] for name, value in rows.items()}
        return rows
    if isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
        return _transpose(rows)
    return rows


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bytes)) or np.ndim(value) == 0


def _transpose(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows, each of which has its values by name, as columns.

    Raises
    ------
    InvalidInput
        If a row has other names than the first one.
    """
    names = list(rows[0])
    expected = rows[0].keys()
    for number, row in enumerate(rows):
        if row.keys() != expected:
            name = next(iter(expected ^ row.keys()))
            has, lacks = ("the first row", "this one") if name in expected else ("it", "the first")
            raise InvalidInput(
                [
                    Violation(
                        f"rows[{number}]",
                        f"expected the same names in all rows, but {has} has {name!r}, which "
                        f"{lacks} lacks. Give a missing value as None",
                    )
                ]
            )
    return {name: [row[name] for row in rows] for name in names}
