"""Columns as callers pass them, read as columns of a table."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import shorten
from quadnet.tables.columns import Column, DateArray, Texts
from quadnet.tables.iso_dates import read_iso_date, to_utc
from quadnet.types import FloatArray


class UnreadableValue(ValueError, TypeError):
    """A value of a column is not of the kind that was expected.

    Parameters
    ----------
    description : str
        What was expected, and what was found.
    row : int, optional
        The row of the value.
    reason : str, optional
        The message of the conversion.
    """

    def __init__(self, description: str, row: int | None = None, reason: str = "") -> None:
        self.description, self.row = description, row
        place = "" if row is None else f" in row {row}"
        super().__init__(f"{description}{place}{reason and f' ({reason})'}")


_EXACT = 2.0**53
"""From here on, a float does not tell which whole number was meant."""

_NO_DATE = np.datetime64("NaT", "us")


class RawColumn(ABC):
    """A column of a caller's array or data frame."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the type of the column stands for: "number", "category" or "date".

        Raises
        ------
        ValueError
            If it stands for something else.
        """

    is_text: bool
    """Whether its type is text, which may be free text and not categories."""

    def read(self, kind: str) -> Column:
        """Return the column as one of this kind: "number", "category" or "date".

        Raises
        ------
        ValueError, TypeError
            If a value is not of this kind.
        """
        if kind == "number":
            return self.read_numbers()
        return self.read_texts() if kind == "category" else self.read_dates()

    @abstractmethod
    def read_numbers(self) -> FloatArray:
        """Return the values as float64; NaN is missing."""

    @abstractmethod
    def read_texts(self) -> Texts:
        """Return the texts of the values: "2" for 2 and 2.0."""

    @abstractmethod
    def read_dates(self) -> DateArray:
        """Return the values as ``datetime64[us]``, in UTC if they have a zone; NaT is missing.

        Texts are read as ISO 8601; an empty text is missing.
        """


@dataclass(frozen=True, eq=False)
class ArrayColumn(RawColumn):
    """A column of an array of numbers, texts, dates or Python objects.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
    """

    values: NDArray[Any]

    is_text = False

    @property
    def kind(self) -> str:
        return "date" if self.values.dtype.kind == "M" else "number"

    def read_numbers(self) -> FloatArray:
        if self.values.dtype.kind == "O":
            return numbers_of_objects(self.values)
        if self.values.dtype.kind in "US":
            return numbers_of_objects(self.values.astype(object))
        if self.values.dtype.kind not in "biuf":
            raise ValueError(f"expected numbers, got the type {self.values.dtype}")
        return self.values.astype(np.float64)

    def read_texts(self) -> Texts:
        if self.values.dtype.kind in "biuf":
            return texts_of_numbers(self.values)
        return texts_of_objects(self.values.tolist())

    def read_dates(self) -> DateArray:
        if self.values.dtype.kind == "M":
            return self.values.astype("datetime64[us]")
        if self.values.dtype.kind not in "OU":
            raise ValueError(f"expected dates, got the type {self.values.dtype}")
        return dates_of_objects(self.values.tolist())


def numbers_of_objects(values: NDArray[np.object_]) -> FloatArray:
    """Return Python objects as float64; what is missing becomes NaN.

    Raises
    ------
    ValueError, TypeError
        If an object is no number. The message has the row.
    """
    try:
        return values.astype(np.float64)
    except (ValueError, TypeError):
        pass  # also for missing values of pandas, which are no numbers
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if not is_missing(value):
            try:
                numbers[row] = value
            except (ValueError, TypeError) as error:
                shown = shorten(value) if isinstance(value, str) else shorten(repr(value))[1:-1]
                raise UnreadableValue(f"expected numbers, got {shown}", row, str(error)) from None
    return numbers


def texts_of_objects(values: Iterable[Any]) -> Texts:
    """Return the texts of Python objects, of which numbers are written as `texts_of_numbers` does.

    None, NaN, NaT and pandas' NA are missing.
    """
    return Texts.from_values(
        value if isinstance(value, str) else None if is_missing(value) else to_text(value)
        for value in values
    )


def texts_of_numbers(values: NDArray[Any]) -> Texts:
    """Return the texts of numbers or truth values: each distinct one is written once."""
    present = ~np.isnan(values) if values.dtype.kind == "f" else np.full(len(values), True)
    distinct, places = np.unique(values[present], return_inverse=True)
    codes = np.full(len(values), -1, dtype=np.intp)
    codes[present] = places
    return Texts(codes, tuple(map(to_text, distinct.tolist())))


def dates_of_objects(values: Iterable[Any]) -> DateArray:
    """Return Python objects, which are dates or texts in ISO 8601, as ``datetime64[us]``.

    Raises
    ------
    UnreadableValue
        If an object is neither.
    """
    known: dict[str, np.datetime64] = {"": _NO_DATE}
    dates = []
    for row, value in enumerate(values):
        try:
            if not isinstance(value, str):
                dates.append(_NO_DATE if is_missing(value) else _to_date(value))
                continue
            if value not in known:
                known[value] = _to_date(read_iso_date(value.strip()))
            dates.append(known[value])
        except (ValueError, OverflowError):
            shown = shorten(value) if isinstance(value, str) else shorten(repr(value))[1:-1]
            expected = "expected a date such as 2024-01-31 or 2024-01-31T12:30:00Z"
            raise UnreadableValue(f"{expected}, got {shown}", row) from None
    return np.array(dates, "datetime64[us]")


def _to_date(value: Any) -> np.datetime64:
    if isinstance(value, datetime):
        return np.datetime64(to_utc(value), "us")
    if isinstance(value, date):
        return np.datetime64(value, "us")
    if isinstance(value, np.datetime64):
        moment: np.datetime64 = value.astype("datetime64[us]")
        return moment
    raise ValueError("neither a text nor a date")


def to_text(value: Any) -> str:
    """Return the text of a value; whole numbers are written alike, whatever their type."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        whole = math.isfinite(number) and number.is_integer() and abs(number) < _EXACT
        return str(int(number)) if whole else repr(number)
    return str(value)


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for no value: None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    try:
        return bool(value != value)  # noqa: PLR0124
    except TypeError:  # pandas' NA has no truth value
        return True
    except ValueError:  # nor has an array
        return False
