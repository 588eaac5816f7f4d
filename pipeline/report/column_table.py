"""The table of the columns that a version with an encoder takes."""

from pipeline.wording import DASH, TextTable, format_count, format_number
from quadnet.tables.column_encoders import (
    CategoryEncoder,
    ColumnEncoder,
    DateEncoder,
    NumberEncoder,
)
from quadnet.tables.encoder import TableEncoder

_MOST_COLUMNS, _MOST_CATEGORIES = 100, 8


def make_column_table(encoder: TableEncoder, ranges_of: str) -> TextTable:
    """Return the table of columns; of many, the first ones and the number of others.

    Parameters
    ----------
    encoder : TableEncoder
    ranges_of : str
        The rows that the ranges of numbers are of. Categories are always those of training.
    """
    shown = encoder.columns[:_MOST_COLUMNS]
    rows = [(each.name, each.kind, _describe_values(each), _describe_gaps(each)) for each in shown]
    if rest := len(encoder.columns) - len(shown):
        rows.append((f"and {rest:,} more", DASH, DASH, DASH))
    values = "In training" if ranges_of == "training" else f"Categories, or range in {ranges_of}"
    columns = ("Column", "Kind", values, "Gaps")
    return TextTable("Columns", columns, rows)


def _describe_values(column: ColumnEncoder) -> str:
    """Return the values of a column."""
    if isinstance(column, NumberEncoder):
        return f"{format_number(column.low)} to {format_number(column.high)}"
    if isinstance(column, CategoryEncoder):
        distinct = column.distinct_categories
        names = list(distinct[:_MOST_CATEGORIES])
        if more := len(distinct) - len(names):
            names.append(f"{more:,} more")
        if column.rare:
            names.append(format_count(len(column.rare), "rare one"))
        return ", ".join(names)
    assert isinstance(column, DateEncoder)
    return "dates, as " + ", ".join(part.part for part in column.parts)


def _describe_gaps(column: ColumnEncoder) -> str:
    """Return what becomes of a gap in a column."""
    if column.has_missing_output:
        return "an input of their own"
    return {"unseen": "none in training", "filled": "filled", "refused": "refused"}[column.gaps]
