"""Parse columns of dates, in a format that all of their texts have."""

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np

from pipeline.data.files.cells import BadCell
from pipeline.data.parsing.parsed_column import ParsedColumn, parse_distinct
from quadnet.errors import ConfigurationError, shorten
from quadnet.tables.columns import DateArray, Texts
from quadnet.tables.iso_dates import read_iso_date, to_utc

ISO_8601 = "ISO 8601"
"""The format 2024-01-31, with or without a time and a time zone."""

_YEAR = re.compile("%[YyGcx]")

_DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = (ISO_8601, *(day + time for day in _DAYS for time in _TIMES))


def find_date_formats(texts: Texts, share: float = 1.0) -> tuple[str, ...]:
    """Return the formats in which the texts are dates, as `parse_dates` takes them.

    Parameters
    ----------
    texts : Texts
    share : float
        The least share of the rows with a text that must be dates in the same format.

    Returns
    -------
    tuple of str
        Those in which the fewest rows are not dates. Empty if the texts are not dates, or there are
        no texts. Two formats if no day is above 12, so that day and month may be exchanged.
    """
    counts = texts.count().tolist()
    used = [(text, n) for text, n in zip(texts.values, counts, strict=True) if n]
    allowed = int((1.0 - share) * sum(counts))
    found: dict[str, int] = {}
    for name in _FORMATS if used else ():
        n_bad = _count_bad(used, _make_parser(name), allowed)
        if n_bad <= allowed:
            found[name], allowed = n_bad, n_bad
    return tuple(name for name, n_bad in found.items() if n_bad == allowed)


def parse_dates(column: Texts | DateArray, format_: str = ISO_8601) -> ParsedColumn[DateArray]:
    """Return the dates of a column.

    Parameters
    ----------
    column : Texts or ndarray of datetime64
        Dates of a file are returned as they are.
    format_ : str
        `ISO_8601`, or codes of `datetime.strptime`, such as "%d.%m.%Y".

    Returns
    -------
    ParsedColumn
        Values in ``datetime64[us]``, in UTC if a text has a time zone.

    Raises
    ------
    ConfigurationError
        If the format is wrong.
    """
    if not isinstance(column, Texts):
        return ParsedColumn(column, np.empty(0, np.intp), str)
    if format_ != ISO_8601:
        _check_format(format_)
    parse = _make_parser(format_)
    return parse_distinct(column, parse, missing=np.datetime64("NaT"), dtype="M8[us]")


def _count_bad(used: list[tuple[str, int]], parse: Callable[[str], datetime], allowed: int) -> int:
    """Return how many rows are not dates; with more than `allowed`, any larger number."""
    n_bad = 0
    for text, n in used:
        try:
            parse(text)
        except BadCell:
            n_bad += n
            if n_bad > allowed:
                break
    return n_bad


def _check_format(format_: str) -> None:
    reason = "it has no year"
    if _YEAR.search(format_):
        try:
            datetime.strptime("", format_)
        except (ValueError, re.error) as error:
            # A valid format does not match the empty text.
            if str(error).startswith("time data "):
                return
            reason = str(error)
    raise ConfigurationError(
        f"Expected a date format such as %d.%m.%Y, got {shorten(format_)} ({reason})."
    )


def _make_parser(format_: str) -> Callable[[str], datetime]:
    def parse(text: str) -> datetime:
        text = text.strip()
        try:
            return to_utc(read(text))
        except (ValueError, OverflowError):
            raise BadCell(f"expected a date in the format {format_}, got {shorten(text)}") from None

    def read(text: str) -> datetime:
        if format_ != ISO_8601:
            return datetime.strptime(text, format_)
        return read_iso_date(text)

    return parse
