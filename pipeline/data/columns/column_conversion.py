"""Convert a column as it was read into one of its kind, in training and in scoring alike."""

import numpy as np

from pipeline.config.table_data import CategoryColumn, ColumnOptions, DateColumn, NumberColumn
from pipeline.data.parsing.dates import ISO_8601, parse_dates
from pipeline.data.parsing.numbers import parse_numbers
from pipeline.data.parsing.parsed_column import ParsedColumn
from quadnet.tables.columns import Column, Texts, find_missing, is_dates, is_numbers


def convert_column(column: Column, options: ColumnOptions, decimal: str) -> ParsedColumn[Column]:
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
        return ParsedColumn(to_texts(column), np.empty(0, np.intp), str)
    if isinstance(options, NumberColumn):
        if is_dates(column):
            return _refuse_all(column, "expected numbers, got dates")
        return parse_numbers(column, decimal)  # type: ignore[arg-type]  # no dates any more
    assert isinstance(options, DateColumn)
    if is_numbers(column):
        if options.format is None:
            return _refuse_all(column, "expected dates, got numbers")
        column = to_texts(column)
    return parse_dates(column, options.format or ISO_8601)  # type: ignore[arg-type]


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


def _refuse_all(column: Column, problem: str) -> ParsedColumn[Column]:
    present = np.flatnonzero(~find_missing(column))
    return ParsedColumn(np.full(len(column), np.nan), present, lambda row: problem)
