"""How a column is encoded, and the encoder that its rows to train on give."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from quadnet.errors import ConfigurationError, UnsuitableData
from quadnet.tables.column_encoders import (
    MAX_NAMES,
    MAX_PIECES,
    CategoryEncoder,
    ColumnEncoder,
    DateEncoder,
    DatePart,
    NumberEncoder,
    refuse_infinity,
)
from quadnet.tables.columns import Column, DateArray, Texts, column_kind
from quadnet.tables.date_parts import DATE_PARTS, US_PER_DAY, to_microseconds
from quadnet.types import FloatArray

_MAX_RARE_NAMES = 1000

_SMALLEST, _LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)

_ROUNDING = 10 * np.finfo(np.float64).eps
"""Deviations below this share of the values are rounding errors of a constant column."""


@dataclass(frozen=True)
class NumberSettings:
    """How to encode a column of numbers.

    Parameters
    ----------
    scale : {"standard", "robust", "none"}, default="standard"
        "standard" subtracts the mean and divides by the standard deviation. "robust" subtracts the
        median and divides by the distance of the quartiles, or by half the range if the quartiles
        are equal. A constant column is divided by 1.
    clip : bool, default=False
        Whether to draw values far from the centre towards it: see `NumberEncoder`.
    n_pieces : int, default=0
        Most pieces besides the value, between quantiles of the rows. Below 2, and for a column of
        two values, there are no pieces.
    """

    scale: str = "standard"
    clip: bool = False
    n_pieces: int = 0

    kind: ClassVar[str] = "number"

    def __post_init__(self) -> None:
        if not isinstance(self.scale, str) or self.scale not in _FIND_SCALE:
            names = ", ".join(map(repr, _FIND_SCALE))
            raise ConfigurationError(f"scale must be one of {names}, got {self.scale!r}")
        if not isinstance(self.clip, bool):
            raise ConfigurationError(f"clip must be True or False, got {self.clip!r}")
        if type(self.n_pieces) is not int or not 0 <= self.n_pieces <= MAX_PIECES:
            raise ConfigurationError(
                f"n_pieces must be a whole number from 0 to {MAX_PIECES}, got {self.n_pieces!r}"
            )

    def fit(self, name: str, column: FloatArray) -> NumberEncoder:
        """Return the encoder of a column of numbers, by the statistics of its rows."""
        refuse_infinity(name, column)
        missing = np.isnan(column)
        values = column[~missing].astype(np.float64)
        if not len(values):
            return NumberEncoder(name, 0.0, 1.0, self.clip, 0.0, bool(missing.any()), 0.0, 0.0, ())
        # Squares and sums of very large values overflow, and squares of very small ones are 0.
        largest, unit = float(np.abs(values).max()), 1.0
        if largest > 2.0**480:
            unit = 2.0**-600
        elif 0.0 < largest < 2.0**-480:
            unit = 2.0**700
        scaled = values * unit
        fill = _find_mean(scaled) / unit
        centre, scale = (each / unit for each in _FIND_SCALE[self.scale](scaled))
        scale = min(scale, _LARGEST)  # the distance of two finite numbers need not be finite
        if self.scale == "none" or scale < max(_SMALLEST, _ROUNDING * largest):
            scale = 1.0
        indicator = bool(missing.any())
        low, high = float(values.min()), float(values.max())
        knots = _find_knots(values, self.n_pieces)
        return NumberEncoder(name, centre, scale, self.clip, fill, indicator, low, high, knots)


def _find_knots(values: FloatArray, n_pieces: int) -> tuple[float, ...]:
    """Return the distinct ones of n_pieces + 1 quantiles; empty if there are no two pieces."""
    if n_pieces < 2:
        return ()
    # Values of the rows: between two very large ones a quantile would overflow.
    quantiles = np.quantile(values, np.linspace(0.0, 1.0, n_pieces + 1), method="lower")
    # Distinct in halves, of which pieces are computed: the half of 5e-324 is 0.
    knots = tuple((np.unique(quantiles / 2.0) * 2.0).tolist())
    return knots if len(knots) > 2 else ()


def _find_mean(values: FloatArray) -> float:
    # Relative to a value, the mean of equal values is exact.
    return float(values[0] + np.mean(values - values[0]))


def _find_mean_and_deviation(values: FloatArray) -> tuple[float, float]:
    mean = _find_mean(values)
    return mean, sqrt(np.mean((values - mean) ** 2))


def _find_median_and_spread(values: FloatArray) -> tuple[float, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    half = float(values.max() - values.min()) / 2
    return median, high - low if high > low else half


_FIND_SCALE: dict[str, Callable[[FloatArray], tuple[float, float]]] = {
    "standard": _find_mean_and_deviation,
    "robust": _find_median_and_spread,
    "none": lambda _: (0.0, 1.0),
}


@dataclass(frozen=True)
class CategorySettings:
    """How to encode a column of texts.

    Parameters
    ----------
    max_categories : int, default=100
        Most categories, where the rare ones together are one of them. The most frequent are kept.
    min_rows : int, default=2
        Categories with fewer rows are rare.

    Notes
    -----
    Of the rare texts the 1,000 most frequent are remembered; others are treated as unknown.
    """

    max_categories: int = 100
    min_rows: int = 2

    kind: ClassVar[str] = "category"

    def __post_init__(self) -> None:
        for field, low, high in (("max_categories", 2, MAX_NAMES // 2), ("min_rows", 1, 2**31)):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigurationError(
                    f"{field} must be a whole number from {low} to {high}, got {value!r}"
                )

    def fit(self, name: str, column: Texts) -> CategoryEncoder:
        """Return the encoder of a column of texts, by the frequencies of its rows."""
        counts = column.count()
        # Of equally frequent texts the first in the alphabet are rare, as in scikit-learn.
        by_frequency = sorted(
            np.flatnonzero(counts).tolist(), key=lambda i: (counts[i], column.values[i])
        )
        n_rare = int(np.count_nonzero(counts[by_frequency] < self.min_rows))
        if len(by_frequency) - n_rare + (n_rare > 0) > self.max_categories:
            n_rare = len(by_frequency) - self.max_categories + 1
        texts = [column.values[i] for i in by_frequency]
        rare, frequent = texts[:n_rare], texts[n_rare:]
        return CategoryEncoder(
            name,
            categories=tuple(sorted(frequent)),
            rare=tuple(sorted(rare[-_MAX_RARE_NAMES:])),
            missing=bool((column.codes < 0).any()),
        )


@dataclass(frozen=True)
class DateSettings:
    """How to encode a column of dates.

    Parameters
    ----------
    parts : tuple of str, default=("year", "month", "weekday", "hour", "elapsed")
        Keys of `DATE_PARTS`. The hour is left out if no date has a time of day.
    """

    parts: tuple[str, ...] = ("year", "month", "weekday", "hour", "elapsed")

    kind: ClassVar[str] = "date"

    def __post_init__(self) -> None:
        known = isinstance(self.parts, (tuple, list)) and all(
            isinstance(part, str) and part in DATE_PARTS for part in self.parts
        )
        if not known or not self.parts or len(set(self.parts)) < len(self.parts):
            raise ConfigurationError(
                f"parts must be different ones of {', '.join(DATE_PARTS)}, got {self.parts!r}"
            )

    def fit(self, name: str, column: DateArray) -> DateEncoder:
        """Return the encoder of a column of dates, by the statistics of its rows."""
        missing = np.isnat(column)
        microseconds = to_microseconds(column[~missing])
        has_times = bool((microseconds % US_PER_DAY).any())
        parts = []
        for part in self.parts:
            if part == "hour" and not has_times and len(self.parts) > 1:
                continue
            centre, scale = 0.0, 1.0
            if len(microseconds):
                values = DATE_PARTS[part](microseconds)
                centre, scale = _find_mean_and_deviation(values)
                if scale <= _ROUNDING * np.abs(values).max():
                    scale = 1.0
            parts.append(DatePart(part, centre, scale))
        return DateEncoder(name, tuple(parts), bool(missing.any()))


ColumnSettings = NumberSettings | CategorySettings | DateSettings

DEFAULT_SETTINGS: dict[str, ColumnSettings] = {
    settings.kind: settings for settings in (NumberSettings(), CategorySettings(), DateSettings())
}
"""The settings of each kind of column, where no others are given."""


def fit_column(name: str, column: Column, settings: ColumnSettings | None) -> ColumnEncoder:
    """Return the encoder of a column, by the statistics of its rows alone.

    Parameters
    ----------
    name : str
    column : Column
    settings : NumberSettings, CategorySettings, DateSettings or None
        None for those of `DEFAULT_SETTINGS`.

    Raises
    ------
    ConfigurationError
        If the settings are for another kind of column.
    InvalidInput
        If a number is infinite.
    UnsuitableData
        If there are no rows.
    """
    kind = column_kind(column)
    settings = DEFAULT_SETTINGS[kind] if settings is None else settings
    if settings.kind != kind:
        raise ConfigurationError(
            f"The settings of column {name!r} are for the kind {settings.kind}, but the column is "
            f"of kind {kind}."
        )
    if not len(column):
        raise UnsuitableData(f"Column {name!r} has no rows to learn its encoding from.")
    return settings.fit(name, column)  # type: ignore[arg-type]
