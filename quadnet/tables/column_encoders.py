"""What becomes of one column: its outputs, learned from the rows to train on.

An encoder is a small frozen object with a JSON spec, as a layer is. A new kind of column is one
more class here, and one more row of `ENCODER_KINDS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from math import isfinite, sqrt
from typing import Any, ClassVar

import numpy as np

from quadnet.errors import ConfigurationError, InvalidInput, UnsuitableData, Violation, shorten
from quadnet.tables.columns import Column, DateArray, Texts, column_kind
from quadnet.types import FloatArray

LIMIT = 1e30
"""Largest output: finite in float32, also when a network has multiplied it by its weights."""

MAX_NAMES = 20_000
"""Most categories of one column, with the rare ones."""

MAX_PIECES = 1000
"""Most pieces of one column of numbers."""

PIECE_HEIGHT = 0.5
"""What a piece is above its interval.

On the tables that the preset `tabular` was chosen on, errors are 1 % lower than with height 1,
whose many inputs are learned by heart, and 1 % lower than with 1/4."""

_MAX_RARE_NAMES = 1000

_ROUNDING = 10 * np.finfo(np.float64).eps
"""Deviations below this share of the values are rounding errors of a constant column."""

_SMALLEST, _LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)

US_PER_DAY = 86_400_000_000
"""Microseconds of a day."""


class ColumnEncoder(ABC):
    """What becomes of one column of a table."""

    kind: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """A readable name for each output."""

    @abstractmethod
    def encode_into(self, column: Any, outputs: FloatArray) -> None:
        """Write the outputs of a column of this kind into zeros of shape (n_rows, n_outputs).

        Raises
        ------
        InvalidInput
            If a value cannot be encoded.
        """

    def count_unknown(self, column: Any) -> int:
        """Return how many rows have a category that did not occur in training."""
        del column
        return 0

    def to_spec(self) -> dict[str, Any]:
        """Return the encoder as values that JSON has; `encoder_from_spec` reads them."""
        settings: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        lists = {name: list(value) for name, value in settings.items() if type(value) is tuple}
        return {"kind": self.kind, **settings, **lists}

    def check_column(self, column: Column) -> None:
        """Raise InvalidInput if the column is of another kind."""
        found = column_kind(column)
        if found != self.kind:
            raise InvalidInput(
                [Violation(self.name, f"must be a column of kind {self.kind}, got {found}")]
            )


@dataclass(frozen=True)
class NumberEncoder(ColumnEncoder):
    """Numbers: ``(x - centre) / scale``, within `LIMIT`, its pieces, and whether it is missing.

    A network learns a step or a bend at one place of x much sooner from pieces of x, each of which
    changes in one interval alone: Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for
    Numerical Features in Tabular Deep Learning", 2022.

    Parameters
    ----------
    name : str
    centre, scale : float
    clip : bool
        Whether outputs z far from 0 are drawn towards it, as z / sqrt(1 + (z / 3)^2), which is
        within -3 and 3.
    fill : float
        What stands for a missing number: the mean of the rows to train on.
    indicator : bool
        Whether there is an output that is 1 where the number is missing, and 0 elsewhere.
    low, high : float
        The range of the rows to train on.
    knots : tuple of float
        Increasing. There is one output for each interval between two of them: 0 below, 1/2 above,
        and a line inside.
    """

    name: str
    centre: float
    scale: float
    clip: bool
    fill: float
    indicator: bool
    low: float
    high: float
    knots: tuple[float, ...]

    kind: ClassVar[str] = "number"

    def __post_init__(self) -> None:
        _check_text(self, "name")
        for field in ("centre", "scale", "fill", "low", "high"):
            _check_number(self, field)
        _check_above_zero(self, "scale")
        for field in ("clip", "indicator"):
            _check_flag(self, field)
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low!r} and {self.high!r}")
        _check_knots(self)

    @property
    def output_names(self) -> tuple[str, ...]:
        pairs = pairwise(self.knots)
        pieces = (f"{self.name} from {low:.6g} to {high:.6g}" for low, high in pairs)
        missing = (f"{self.name} is missing",) if self.indicator else ()
        return (self.name, *pieces, *missing)

    def encode_into(self, column: FloatArray, outputs: FloatArray) -> None:
        _refuse_infinity(self.name, column)
        missing = np.isnan(column)
        values = np.where(missing, self.fill, column)
        outputs[:, 0] = _standardize(values, self.centre, self.scale)
        if self.clip:
            outputs[:, 0] /= np.sqrt(1.0 + (outputs[:, 0] / 3.0) ** 2)
        for i, (low, high) in enumerate(pairwise(self.knots), start=1):
            # Halves, because the difference of two finite numbers need not be finite.
            inside = np.clip(values, low, high) / 2.0 - low / 2.0
            outputs[:, i] = PIECE_HEIGHT * np.minimum(inside / (high / 2.0 - low / 2.0), 1.0)
        if self.indicator:
            outputs[:, -1] = missing


@dataclass(frozen=True)
class CategoryEncoder(ColumnEncoder):
    """Texts: an output for each category, one for all rare ones, one for missing.

    A text that did not occur in training is treated as missing. Without an output for missing, all
    outputs are 0.

    Parameters
    ----------
    name : str
    categories : tuple of str
        The texts with an output of their own.
    rare : tuple of str
        The texts that share one output.
    missing : bool
        Whether there is an output for missing.
    """

    name: str
    categories: tuple[str, ...]
    rare: tuple[str, ...]
    missing: bool

    kind: ClassVar[str] = "category"

    def __post_init__(self) -> None:
        _check_text(self, "name")
        for field in ("categories", "rare"):
            _check_texts(self, field)
        _check_flag(self, "missing")
        names = (*self.categories, *self.rare)
        if len(names) > MAX_NAMES:
            raise ValueError(f"there may be {MAX_NAMES:,} categories, got {len(names):,}")
        if (twice := find_repeated(names)) is not None:
            raise ValueError(f"each category must occur once, got {shorten(twice)} twice")

    @property
    def output_names(self) -> tuple[str, ...]:
        names = [f"{self.name} = {category}" for category in self.categories]
        names += [f"{self.name} is rare"] if self.rare else []
        names += [f"{self.name} is missing"] if self.missing else []
        return tuple(names)

    def encode_into(self, column: Texts, outputs: FloatArray) -> None:
        otherwise = outputs.shape[1] - 1 if self.missing else -1
        # The last entry is that of the code -1.
        by_code = np.array([*(self.places.get(v, otherwise) for v in column.values), otherwise])
        chosen = by_code[column.codes]
        rows = np.flatnonzero(chosen >= 0)
        outputs[rows, chosen[rows]] = 1.0

    def count_unknown(self, column: Texts) -> int:
        known = np.array([value in self.places for value in column.values] + [True])
        return int(np.count_nonzero(~known[column.codes]))

    @cached_property
    def places(self) -> dict[str, int]:
        """The output of each text of the rows to train on."""
        places = {name: i for i, name in enumerate(self.categories)}
        return places | dict.fromkeys(self.rare, len(self.categories))


@dataclass(frozen=True)
class DatePart:
    """A number that is read off a date, standardised: ``(x - centre) / scale``.

    Parameters
    ----------
    part : str
        A key of `DATE_PARTS`.
    centre, scale : float
    """

    part: str
    centre: float
    scale: float

    def __post_init__(self) -> None:
        if not isinstance(self.part, str) or self.part not in DATE_PARTS:
            raise ValueError(f"part must be one of {', '.join(DATE_PARTS)}, got {self.part!r}")
        _check_number(self, "centre")
        _check_number(self, "scale")
        _check_above_zero(self, "scale")


@dataclass(frozen=True)
class DateEncoder(ColumnEncoder):
    """Dates: standardised numbers that are read off them, and whether the date is missing.

    A missing date has the mean of each part.

    Parameters
    ----------
    name : str
    parts : tuple of DatePart
    indicator : bool
        Whether there is an output that is 1 where the date is missing, and 0 elsewhere.
    """

    name: str
    parts: tuple[DatePart, ...]
    indicator: bool

    kind: ClassVar[str] = "date"

    def __post_init__(self) -> None:
        _check_text(self, "name")
        _check_flag(self, "indicator")
        if not isinstance(self.parts, (tuple, list)):
            raise ValueError(f"parts must be a list, got {self.parts!r}")  # noqa: TRY004
        parts = [
            part if isinstance(part, DatePart) else _from_settings(DatePart, part)
            for part in self.parts[: len(DATE_PARTS) + 1]
        ]
        names = [part.part for part in parts]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"parts must be different ones, at least one, got {names}")
        object.__setattr__(self, "parts", tuple(parts))

    @property
    def output_names(self) -> tuple[str, ...]:
        missing = (f"{self.name} is missing",) if self.indicator else ()
        return (*(f"{self.name}: {part.part}" for part in self.parts), *missing)

    def encode_into(self, column: DateArray, outputs: FloatArray) -> None:
        missing = np.isnat(column)
        microseconds = _to_microseconds(column)
        for i, part in enumerate(self.parts):
            values = DATE_PARTS[part.part](microseconds)
            outputs[:, i] = np.where(missing, 0.0, _standardize(values, part.centre, part.scale))
        if self.indicator:
            outputs[:, -1] = missing


def _to_microseconds(column: DateArray) -> Any:
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
        _refuse_infinity(name, column)
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
        microseconds = _to_microseconds(column[~missing])
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

ENCODER_KINDS: dict[str, type[ColumnEncoder]] = {
    kind.kind: kind for kind in (NumberEncoder, CategoryEncoder, DateEncoder)
}
"""The kinds of encoders by their names in files."""


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


def encoder_from_spec(spec: Any, *, name: str = "encoder") -> ColumnEncoder:
    """Return the encoder of a column that `ColumnEncoder.to_spec` was called on.

    Parameters
    ----------
    spec : mapping of str to object
    name : str
        What to call the encoder in errors, such as "encoder[2]".

    Raises
    ------
    ValueError
        If it is not such a mapping, the kind is unknown, or a setting is wrong.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(f"{name} must be a mapping with a kind, got {_show(spec)}")  # noqa: TRY004
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in ENCODER_KINDS:
        raise ValueError(
            f"{name} is of the unknown kind {_show(kind)}; this release has "
            f"{', '.join(ENCODER_KINDS)}"
        )
    try:
        return _from_settings(ENCODER_KINDS[kind], settings)  # type: ignore[no-any-return]
    except ValueError as error:
        raise ValueError(f"{name}, of kind {kind!r}, has a wrong setting: {error}") from None


def _from_settings(kind: type[Any], settings: Any) -> Any:
    """Return an object of a dataclass, all of whose fields are in a mapping.

    Raises
    ------
    ValueError
        If it is no mapping, a field is missing or unknown, or a value is wrong.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"expected a mapping, got {_show(settings)}")  # noqa: TRY004
    names = [field.name for field in fields(kind) if field.default is MISSING]
    for name in settings:
        if name not in names:
            raise ValueError(
                f"there is no setting {_show(name)}; the settings are {', '.join(names)}"
            )
    for name in names:
        if name not in settings:
            raise ValueError(f"the setting {name!r} is missing")
    return kind(**settings)


def find_repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurred before; None if all are distinct."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _standardize(values: FloatArray, centre: float, scale: float) -> FloatArray:
    """Return ``(values - centre) / scale`` within `LIMIT`."""
    with np.errstate(over="ignore", under="ignore"):
        outputs: FloatArray = (values - centre) / scale
        finite = np.isfinite(outputs)
        if not finite.all():
            # The difference of two very large numbers overflows where the quotient does not. The
            # other rows keep their quotients: a fourth of the smallest numbers has fewer digits.
            again = (values / 4.0 - centre / 4.0) / scale * 4.0
            outputs = np.where(finite, outputs, again)
        return np.clip(outputs, -LIMIT, LIMIT)


def _refuse_infinity(name: str, column: FloatArray) -> None:
    infinite = np.isinf(column)
    if infinite.any():
        rows = np.flatnonzero(infinite)
        raise InvalidInput(
            [
                Violation(f"{name}[{row}]", f"must be finite or missing, got {column[row]}")
                for row in rows[: InvalidInput.MAX_VIOLATIONS].tolist()
            ],
            total=len(rows),
        )


def _check_text(owner: Any, field: str) -> None:
    value = getattr(owner, field)
    if not isinstance(value, str):
        raise ValueError(f"{field} must be a text, got {_show(value)}")  # noqa: TRY004


def _check_texts(owner: Any, field: str) -> None:
    """Check that a field is a sequence of texts; make it a tuple."""
    value = getattr(owner, field)
    if not isinstance(value, (tuple, list)) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{field} must be a list of texts, got {_show(value)}")
    object.__setattr__(owner, field, tuple(value))


def _check_number(owner: Any, field: str) -> None:
    """Check that a field is a finite number; make it a float."""
    value = getattr(owner, field)
    try:
        number = float(value) if type(value) in (int, float) else float("nan")
    except OverflowError:  # an integer beyond the largest float
        number = float("inf")
    if not isfinite(number):
        raise ValueError(f"{field} must be a finite number, got {_show(value)}")
    object.__setattr__(owner, field, number)


def _check_knots(encoder: NumberEncoder) -> None:
    """Check that there are no knots, or three or more increasing numbers; make them a tuple."""
    knots = encoder.knots
    if not isinstance(knots, (tuple, list)) or len(knots) > MAX_PIECES + 1:
        raise ValueError(
            f"knots must be a list of at most {MAX_PIECES + 1} numbers, got {_show(knots)}"
        )
    numbers = [float(each) if type(each) in (int, float) else float("nan") for each in knots]
    increasing = all(low / 2.0 < high / 2.0 for low, high in pairwise(numbers))
    if not all(map(isfinite, numbers)) or not increasing or len(numbers) in (1, 2):
        raise ValueError(
            f"knots must be empty, or at least three increasing numbers, got {_show(knots)}"
        )
    object.__setattr__(encoder, "knots", tuple(numbers))


def _check_above_zero(owner: Any, field: str) -> None:
    value = getattr(owner, field)
    if value <= 0:
        raise ValueError(f"{field} must be above 0, got {value!r}")


def _check_flag(owner: Any, field: str) -> None:
    value = getattr(owner, field)
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be true or false, got {_show(value)}")  # noqa: TRY004


def _show(value: Any) -> str:
    """Return a value for a message, shortened if it is long."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)} values"
    return shorten(value) if isinstance(value, str) else shorten(repr(value))[1:-1]
