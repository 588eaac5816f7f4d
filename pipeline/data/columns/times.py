"""When each row of a table was made, for splits by time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.config.held_out_rows import TestPart
from pipeline.config.table_data import DateColumn, NumberColumn
from pipeline.data.columns.column_reader import ColumnReader
from pipeline.data.columns.kinds import ColumnDecision
from pipeline.data.datasets import Dataset
from quadnet.errors import ConfigurationError, shorten
from quadnet.tables.columns import Texts, is_dates
from quadnet.types import BoolArray, FloatArray


def read_times(reader: ColumnReader, test: TestPart, kept: Sequence[ColumnDecision]) -> FloatArray:
    """Return when each row was made: the numbers, or microseconds since 1970."""
    name = test.time
    options = {each.name: each.options for each in kept}
    if name is None:
        dates = [each.name for each in kept if each.kind == "date"]
        if len(dates) != 1:
            found = f"{len(dates)}: {', '.join(map(shorten, dates[:5]))}" if dates else "0"
            raise ConfigurationError(
                f"test.after: expected a table with one column of dates, got {found}. Name the "
                "column in test.time."
            )
        (name,) = dates
    found_options = options.get(name)
    if found_options is None:
        raise ConfigurationError(
            "test.time or test.after: expected a column of dates or numbers that is used, or for "
            f"test.after a date such as 2026-01-31, got {shorten(name)}."
        )
    if not isinstance(found_options, DateColumn | NumberColumn):
        raise ConfigurationError(
            f"test.time: expected a column of dates or numbers, got {shorten(name)}, which is not."
        )
    column = reader.read(name, found_options, required=True)
    assert not isinstance(column, Texts)
    is_date = is_dates(column)
    if test.after is not None and is_date != isinstance(test.after, str):
        kind = "a date, such as 2026-01-31" if is_date else "a number"
        raise ConfigurationError(
            f"test.after: expected {kind}, as column {shorten(name)} has, got {test.after!r}."
        )
    return column.astype(np.int64).astype(np.float64) if is_date else column.astype(np.float64)


def find_later_rows(rows: Dataset, after: str | float) -> BoolArray:
    """Return a mask of the rows from a point in time on, or from a number on."""
    assert rows.times is not None
    later: BoolArray = rows.times >= _to_time(after)
    return later


def _to_time(value: str | float) -> float:
    """Return a date as microseconds since 1970-01-01 UTC, or a number as it is."""
    if not isinstance(value, str):
        return float(value)
    point = datetime.fromisoformat(value)
    if point.tzinfo is None:
        point = point.replace(tzinfo=UTC)
    return (point - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)
