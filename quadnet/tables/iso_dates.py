"""Dates in the format ISO 8601: 2024-01-31, with or without a time and a time zone."""

import re
from datetime import UTC, datetime

_TIME = r"\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
_ZONE = r" ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?)"
_ISO = re.compile(rf"\d{{4}}-\d\d-\d\d(?:[T ]{_TIME}(?:{_ZONE})?)?", re.ASCII)


def read_iso_date(text: str) -> datetime:
    """Return a point in time; it has a time zone if the text has one.

    Raises
    ------
    ValueError
        If the text has another format, or there is no such day or time.
    """
    if not _ISO.fullmatch(text):
        raise ValueError(f"expected a date such as 2024-01-31, got {text!r}")
    return datetime.fromisoformat(text.replace("UTC", "Z").replace(" Z", "Z"))


def to_utc(moment: datetime) -> datetime:
    """Return a point in time in UTC, without a time zone.

    Raises
    ------
    OverflowError
        If it is outside of the years 1 to 9999.
    """
    if moment.tzinfo is None:
        return moment
    return moment.astimezone(UTC).replace(tzinfo=None)
