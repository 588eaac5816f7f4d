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


def make_column_table(encoder: TableEncoder) -> TextTable:
    """Return the table of columns; of many, the first ones and the number of others."""
    shown = encoder.columns[:_MOST_COLUMNS]
    rows = [(column.name, column.kind, *_describe_column(column)) for column in shown]
    if rest := len(encoder.columns) - len(shown):
        rows.append((f"and {rest:,} more", DASH, DASH, DASH))
    columns = ("Column", "Kind", "In training", "Gaps in training")
    return TextTable("Columns", columns, rows)


def _describe_column(column: ColumnEncoder) -> tuple[str, str]:
    """Return the values of a column in training, and whether there were gaps."""
    if isinstance(column, NumberEncoder):
        seen = f"{format_number(column.low)} to {format_number(column.high)}"
        return seen, _yes(column.indicator)
    if isinstance(column, CategoryEncoder):
        # "1" and "1.0", the text of a number in a file, are one category.
        known = {*column.categories}
        distinct = [
            name
            for name in column.categories
            if not (name.endswith(".0") and name.removesuffix(".0") in known)
        ]
        names = distinct[:_MOST_CATEGORIES]
        if more := len(distinct) - len(names):
            names.append(f"{more:,} more")
        if column.rare:
            names.append(format_count(len(column.rare), "rare one"))
        return ", ".join(names), _yes(column.missing)
    assert isinstance(column, DateEncoder)
    return "dates, as " + ", ".join(part.part for part in column.parts), _yes(column.indicator)


def _yes(is_so: bool) -> str:  # noqa: FBT001 - private
    return "yes" if is_so else "no"
