"""Convert a column as it was read into one of its kind, in training and in scoring alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.config.table_data import CategoryColumn, ColumnOptions, DateColumn, NumberColumn
from pipeline.data.parsing.dates import ISO_8601, parse_dates
from pipeline.data.parsing.numbers import parse_numbers
from quadnet.tables.columns import Column, Texts, find_missing, is_dates, is_numbers
from quadnet.types import IntArray


@dataclass(frozen=True)
class ConvertedColumn:
    """A column of its kind.

    Parameters
    ----------
    column : Column
        Missing where the column has no value, or a bad one.
    bad : ndarray of int
        The rows with another value than was expected.
    describe : callable
        Takes the index of a bad row; returns what was expected and what was found.
    """

    column: Column
    bad: IntArray
    describe: Callable[[int], str]


def convert_column(column: Column, options: ColumnOptions, decimal: str) -> ConvertedColumn:
    """Return the column as numbers, texts or dates.

    Parameters
    ----------
    column : Column
        As it was read.
    options : ColumnOptions
        Not those of an ignored column.
    decimal : str
        The decimal separator of numbers in texts.
    """
    if isinstance(options, CategoryColumn):
        return ConvertedColumn(to_texts(column), np.empty(0, np.intp), str)
    if isinstance(options, NumberColumn):
        if is_dates(column):
            return _refuse_all(column, "expected numbers, got dates")
        numbers = parse_numbers(column, decimal)  # type: ignore[arg-type]  # no dates any more
        return ConvertedColumn(numbers.values, numbers.bad, numbers.describe)
    assert isinstance(options, DateColumn)
    if is_numbers(column):
        if options.format is None:
            return _refuse_all(column, "expected dates, got numbers")
        column = to_texts(column)
    dates = parse_dates(column, options.format or ISO_8601)  # type: ignore[arg-type]
    return ConvertedColumn(dates.values, dates.bad, dates.describe)


def to_texts(column: Column) -> Texts:
    """Return the column as categories: whole numbers without a decimal point."""
    if isinstance(column, Texts):
        return column
    missing = find_missing(column)
    values, codes = np.unique(column[~missing], return_inverse=True)
    names = [
        str(int(v)) if isinstance(v, float) and v.is_integer() and abs(v) < 2**53 else str(v)
        for v in values.tolist()
    ]
    of_rows = np.full(len(column), -1, np.intp)
    of_rows[~missing] = codes
    return Texts(of_rows, tuple(names))


def _refuse_all(column: Column, problem: str) -> ConvertedColumn:
    present = np.flatnonzero(~find_missing(column))
    return ConvertedColumn(np.full(len(column), np.nan), present, lambda row: problem)
