"""Columns of the rows that have a target, in their kinds; errors name file, row and column."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.config.table_data import ColumnOptions, NumberColumn
from pipeline.data.columns.column_conversion import convert_column
from pipeline.data.files.chunks import make_file_error
from pipeline.data.files.raw_table import RawTable
from pipeline.data.parsing.numbers import parse_truth_values
from quadnet.errors import InvalidInput, Violation
from quadnet.tables.columns import Column, find_missing, is_dates, is_numbers, take_rows
from quadnet.types import BoolArray, FloatArray, IntArray

_NUMBER = NumberColumn(kind="number")


def find_raw_column(raw: RawTable, path: Path, name: str) -> Column:
    """Return a column as it was read; refuse one of a type that cannot be read."""
    if name not in raw.columns:
        raise make_file_error(
            path, name, f"expected numbers, text or dates, got values of type {raw.unusable[name]}"
        )
    return raw.columns[name]


class ColumnReader:
    """Converts columns of the rows that have a target."""

    def __init__(self, raw: RawTable, path: Path, used: BoolArray) -> None:
        self._raw, self.path, self._used = raw, path, used
        self._rows = np.flatnonzero(used)
        self.n_unlabelled = len(used) - len(self._rows)
        self.places, self.unit = raw.places[used], raw.unit

    def read(
        self, name: str, options: ColumnOptions, *, required: bool = False, hint: str | None = None
    ) -> Column:
        """Return a column of this kind.

        Raises
        ------
        InvalidInput
            If a value cannot be converted, or `required` and missing. `hint` is the advice then.
        """
        found = convert_column(self._raw_column(name), options, self._raw.decimal)
        advice = _hint(name, options) if hint is None else hint
        self._check(name, found.bad, lambda row: found.describe(row) + advice)
        if required:
            self._check_present(name, found.values)
        return found.values

    def read_truth_values(self, name: str) -> FloatArray:
        """Return a column of 0 and 1 without gaps."""
        column = self._raw_column(name)
        if is_dates(column):
            raise make_file_error(self.path, name, "expected 0 and 1, got dates")
        found = parse_truth_values(column)  # type: ignore[arg-type]  # no dates any more
        self._check(name, found.bad, found.describe)
        self._check_present(name, found.values)
        return found.values

    def read_numbers(self, name: str, hint: str) -> FloatArray:
        """Return a column of numbers without gaps."""
        numbers = self.read(name, _NUMBER, required=True, hint=hint)
        assert is_numbers(numbers)
        return numbers

    def read_weights(self, name: str) -> FloatArray:
        """Return the row weights: numbers of at least 0, not all of them 0."""
        weights = self.read_numbers(name, ". Correct it")
        self._check(
            name,
            np.flatnonzero(weights < 0),
            lambda row: f"expected a weight of at least 0, got {weights[row]:g}",
        )
        if not weights.any():
            raise make_file_error(self.path, name, "expected a weight above 0, got only 0")
        return weights

    def _raw_column(self, name: str) -> Column:
        return take_rows(find_raw_column(self._raw, self.path, name), self._used)

    def _check_present(self, name: str, column: Column) -> None:
        missing = np.flatnonzero(find_missing(column))
        self._check(name, missing, lambda row: "expected a value, got a gap")

    def _check(self, name: str, bad: IntArray, describe: Callable[[int], str]) -> None:
        """Raise InvalidInput if there are bad rows."""
        if len(bad):
            violations = [
                Violation(self._locate(row, name), describe(row))
                for row in bad[: InvalidInput.MAX_VIOLATIONS].tolist()
            ]
            raise InvalidInput(violations, len(bad))

    def _locate(self, row: int, name: str) -> str:
        """Return the file and the place of a row, and the column."""
        path, place = self._raw.locate(int(self._rows[row]))
        return f"{path}, {self._raw.unit_in_file} {place}, column {name}"


def _hint(name: str, options: ColumnOptions) -> str:
    """Return what to do about a value that cannot be converted."""
    if isinstance(options, NumberColumn):
        return (
            f'. Correct it, add it to data.read.missing, or set data.columns."{name}" = "category"'
        )
    return f'. Correct it, add it to data.read.missing, or set the format of data.columns."{name}"'
