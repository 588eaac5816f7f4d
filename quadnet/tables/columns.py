"""The forms that a column of a table has in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation
from quadnet.types import BoolArray, FloatArray, IntArray

DateArray = NDArray[np.datetime64]
"""Points in time as ``datetime64[us]``, in UTC if they had a time zone; NaT is missing."""

Rows = IntArray | BoolArray | slice
"""Rows of a column: their indices, a mask or a slice."""


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts, each of which is stored once.

    Parameters
    ----------
    codes : ndarray of intp, shape (n_rows,)
        The place of each row's text in `values`; -1 is missing.
    values : tuple of str
        Distinct texts. Not all of them need occur.

    Raises
    ------
    ValueError
        If two values are equal, or a code has no value.
    """

    codes: IntArray
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values):
            raise ValueError("The values of Texts must be distinct.")
        if len(self.codes) and not -1 <= self.codes.min() <= self.codes.max() < len(self.values):
            raise ValueError(
                f"The codes of Texts must be from -1 to {len(self.values) - 1}, got "
                f"{self.codes.min()} to {self.codes.max()}."
            )

    @classmethod
    def from_values(cls, values: Iterable[str | None]) -> "Texts":
        """Return the column of these texts; None is missing.

        The distinct texts are in the order of their first row.
        """
        places: dict[str, int] = {}
        codes = [-1 if value is None else places.setdefault(value, len(places)) for value in values]
        return cls(np.array(codes, dtype=np.intp), tuple(places))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Rows) -> "Texts":
        """Return these rows, given by their indices, a mask or a slice."""
        return Texts(self.codes[rows], self.values)

    def to_array(self) -> NDArray[np.object_]:
        """Return the texts of all rows as an array of shape (n_rows,), with None for missing."""
        return np.array([*self.values, None], dtype=object)[self.codes]

    def count(self) -> IntArray:
        """Return in how many rows each of `values` occurs, shape (n_values,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))


Column = FloatArray | Texts | DateArray
"""Numbers (float64, NaN is missing), texts, or dates; each has one entry for each row."""

Table = Mapping[str, Column]
"""Columns of equal length by their names."""


def column_kind(column: Column) -> str:
    """Return "number", "category" or "date"."""
    if isinstance(column, Texts):
        return "category"
    return "date" if column.dtype.kind == "M" else "number"


def is_numbers(column: Column) -> TypeGuard[FloatArray]:
    """Return whether it is a column of numbers."""
    return column_kind(column) == "number"


def is_dates(column: Column) -> TypeGuard[DateArray]:
    """Return whether it is a column of dates."""
    return column_kind(column) == "date"


def find_missing(column: Column) -> BoolArray:
    """Return a mask of the rows without a value, shape (n_rows,)."""
    if isinstance(column, Texts):
        return column.codes < 0
    missing: BoolArray = np.isnat(column) if column.dtype.kind == "M" else np.isnan(column)
    return missing


def take_rows(column: Column, rows: Rows) -> Column:
    """Return these rows of a column, given by their indices, a mask or a slice."""
    return column.take(rows) if isinstance(column, Texts) else column[rows]


def take_table_rows(table: Table, rows: Rows) -> dict[str, Column]:
    """Return these rows of a table, given by their indices, a mask or a slice."""
    return {name: take_rows(column, rows) for name, column in table.items()}


def table_length(table: Table) -> int:
    """Return the number of rows; 0 for a table without columns.

    Raises
    ------
    InvalidInput
        If two columns differ in length.
    """
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        first, n_rows = next(iter(lengths.items()))
        name = next(name for name, length in lengths.items() if length != n_rows)
        raise InvalidInput(
            [Violation(name, f"must have {n_rows} rows, as {first!r} has; got {lengths[name]}")]
        )
    return next(iter(lengths.values()), 0)
