"""The numbers that are read off a date."""

from collections.abc import Callable
from typing import Any

import numpy as np

from quadnet.tables.columns import DateArray
from quadnet.types import FloatArray

US_PER_DAY = 86_400_000_000
"""Microseconds of a day."""


def to_microseconds(column: DateArray) -> Any:
    """Return microseconds since 1970 as int64; those of a missing date are the smallest integer."""
    return column.astype("datetime64[us]").astype(np.int64)


def _read_years(microseconds: Any) -> FloatArray:
    years = microseconds.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64)
    return np.asarray(years + 1970.0, np.float64)


def _read_months(microseconds: Any) -> FloatArray:
    months = microseconds.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return np.asarray(months % 12 + 1, np.float64)


def _read_weekdays(microseconds: Any) -> FloatArray:
    # 1970-01-01 was a Thursday.
    return np.asarray((microseconds // US_PER_DAY + 3) % 7, np.float64)


def _read_hours(microseconds: Any) -> FloatArray:
    return np.asarray(microseconds % US_PER_DAY / (US_PER_DAY / 24), np.float64)


def _read_elapsed(microseconds: Any) -> FloatArray:
    return np.asarray(microseconds / US_PER_DAY, np.float64)


DATE_PARTS: dict[str, Callable[[Any], FloatArray]] = {
    "year": _read_years,
    "month": _read_months,
    "weekday": _read_weekdays,
    "hour": _read_hours,
    "elapsed": _read_elapsed,
}
"""The numbers in a date, from microseconds since 1970-01-01, UTC.

The month is from 1 to 12, the weekday from 0 (Monday) to 6, the hour has fractions, and elapsed are
the days since 1970-01-01.
"""
