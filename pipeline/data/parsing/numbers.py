"""Parse columns of numbers, and of truth values as 0 and 1."""

from collections.abc import Sequence

import numpy as np

from pipeline.data.files import cells
from pipeline.data.files.cells import BadCell, describe_non_number
from pipeline.data.parsing.parsed_column import ParsedColumn, parse_distinct
from quadnet.errors import shorten
from quadnet.tables.columns import Texts
from quadnet.types import FloatArray

_TRUTH_VALUES = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), 0.0),
}


def parse_numbers(column: Texts | FloatArray, decimal: str = ".") -> ParsedColumn[FloatArray]:
    """Return the numbers of a column, exact to the last bit.

    Parameters
    ----------
    column : Texts or ndarray of float
        Numbers of a file are checked to be finite.
    decimal : "." or ","
        The decimal separator of texts. With a comma, a number must not have a point.

    Returns
    -------
    ParsedColumn
        Values in float64.
    """
    if not isinstance(column, Texts):
        infinite = np.isinf(column)
        values = np.where(infinite, np.nan, column)
        bad = np.flatnonzero(infinite)
        return ParsedColumn(values, bad, lambda row: describe_non_number(float(column[row])))
    try:
        numbers = _parse_all(column.values, decimal)
    except BadCell:
        return parse_distinct(
            column, lambda text: _parse_all([text], decimal)[0], missing=np.nan, dtype="f8"
        )
    return ParsedColumn(np.array([*numbers, np.nan])[column.codes], np.empty(0, np.intp), str)


def parse_truth_values(column: Texts | FloatArray) -> ParsedColumn[FloatArray]:
    """Return 1 for true and 0 for false.

    Texts may be true, yes, t, y or 1, and false, no, f, n or 0, in any case.
    """
    if isinstance(column, Texts):
        return parse_distinct(column, _parse_truth_value, missing=np.nan, dtype="f8")
    is_bad = ~(np.isnan(column) | (column == 0) | (column == 1))
    values = np.where(is_bad, np.nan, column)
    return ParsedColumn(
        values, np.flatnonzero(is_bad), lambda row: f"expected 0 or 1, got {column[row]:g}"
    )


def _parse_all(texts: Sequence[str], decimal: str) -> list[float]:
    if decimal == ".":
        return cells.parse_numbers(texts)
    for i, text in enumerate(texts):
        if "." in text:
            raise BadCell(f"expected a number with a decimal comma, got {shorten(text)}", i)
    try:
        return cells.parse_numbers([text.replace(",", ".") for text in texts])
    except BadCell as error:
        message = f"expected a number, got {shorten(texts[error.index])}"
        raise BadCell(message, error.index) from error


def _parse_truth_value(text: str) -> float:
    try:
        return _TRUTH_VALUES[text.strip().lower()]
    except KeyError:
        raise BadCell(f"expected true or false, got {shorten(text)}") from None
