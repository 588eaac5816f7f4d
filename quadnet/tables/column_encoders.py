"""What becomes of one column: its outputs, learned from the rows to train on.

An encoder is a small frozen object with a JSON spec, as a layer is. A new kind of column is one
more class here, and one more row of `ENCODER_KINDS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from quadnet.errors import InvalidInput, Violation, listing, shorten
from quadnet.tables.columns import Column, DateArray, Texts, column_kind, find_missing
from quadnet.tables.date_parts import DATE_PARTS, to_microseconds
from quadnet.tables.spec_checks import (
    check_above_zero,
    check_choice,
    check_flag,
    check_number,
    check_text,
    check_texts,
    find_repeated,
    show_value,
)
from quadnet.types import BoolArray, FloatArray

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


GAPS = ("unseen", "filled", "refused")
"""What a column without an output for missing does with a gap: see `ColumnEncoder.gaps`."""

UNKNOWN = ("missing", "rare", "zeros", "refused")
"""What a column of texts does with an unknown one: see `CategoryEncoder.unknown`."""


class ColumnEncoder(ABC):
    """What becomes of one column of a table.

    Attributes
    ----------
    kind : str
        The kind of column: a key of `ENCODER_KINDS`.
    name : str
    gaps : {"unseen", "filled", "refused"}
        What gaps mean without an output for missing. "unseen": no row of training had one;
        `encode_into` fills it, and `find_unseen_gaps` finds it. "filled": they are filled, as in
        training, or in the held-out rows, which alone had some. "refused": `encode_into` raises
        InvalidInput.
    """

    kind: ClassVar[str]
    name: str
    gaps: str

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

    @abstractmethod
    def check_values(self, column: Any) -> None:
        """Raise InvalidInput if `encode_into` would, for a column of this kind.

        A caller that encodes a slice of rows at a time checks the whole column first: the message
        then has the row in the column, and not in the slice.
        """

    @property
    @abstractmethod
    def has_missing_output(self) -> bool:
        """Whether there is an output for missing."""

    @property
    def takes_gaps(self) -> bool:
        """Whether the model was trained, or judged, on gaps in this column."""
        return self.has_missing_output or self.gaps == "filled"

    def find_unseen_gaps(self, column: Column) -> BoolArray:
        """Return a mask of the gaps in a column that had no gaps in training."""
        if self.has_missing_output or self.gaps != "unseen":
            return np.zeros(len(column), np.bool_)
        return find_missing(column)

    def refuse_unseen_gaps(self, column: Column) -> None:
        """Raise InvalidInput if a column that had no gaps in training has one."""
        gaps = self.find_unseen_gaps(column)
        if gaps.any():
            raise invalid_rows(
                self.name,
                gaps,
                lambda _: (
                    "is missing, but no row that the model was trained on had a gap in this "
                    "column; fill it, or train with rows that have gaps"
                ),
            )

    def count_unknown(self, column: Any) -> int:
        """Return how many rows have a category that did not occur in training."""
        del column
        return 0

    def to_spec(self) -> dict[str, Any]:
        """Return the encoder as values that JSON has; `encoder_from_spec` reads them.

        Settings with a default came later than the others, and are left out at their default: so
        the digest of an older version stays the same.
        """
        settings: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        for field in fields(self):  # type: ignore[arg-type]
            if settings[field.name] == field.default:
                del settings[field.name]
        lists = {name: list(value) for name, value in settings.items() if type(value) is tuple}
        return {"kind": self.kind, **settings, **lists}

    def check_column(self, column: Column) -> None:
        """Raise InvalidInput if the column is of another kind."""
        found = column_kind(column)
        if found != self.kind:
            raise InvalidInput(
                [Violation(self.name, f"must be a column of kind {self.kind}, got {found}")]
            )

    def _check_gaps(self) -> None:
        check_choice(self, "gaps", GAPS)
        if self.has_missing_output and self.gaps != "unseen":
            raise ValueError(f"gaps must be 'unseen' with an output for missing, got {self.gaps!r}")

    def _refuse_gaps(self, missing: BoolArray) -> None:
        """Raise InvalidInput if there are gaps, and the model takes no gaps."""
        if self.gaps == "refused" and missing.any():
            raise invalid_rows(
                self.name, missing, lambda _: "is missing; the model takes no gaps in this column"
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
    gaps : {"unseen", "filled", "refused"}, default="unseen"
        See `ColumnEncoder`.
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
    gaps: str = "unseen"

    kind: ClassVar[str] = "number"

    def __post_init__(self) -> None:
        check_text(self, "name")
        for field in ("centre", "scale", "fill", "low", "high"):
            check_number(self, field)
        check_above_zero(self, "scale")
        for field in ("clip", "indicator"):
            check_flag(self, field)
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low!r} and {self.high!r}")
        _check_knots(self)
        self._check_gaps()

    @property
    def has_missing_output(self) -> bool:
        return self.indicator

    @property
    def output_names(self) -> tuple[str, ...]:
        pairs = pairwise(self.knots)
        pieces = (f"{self.name} from {low:.6g} to {high:.6g}" for low, high in pairs)
        missing = (f"{self.name} is missing",) if self.indicator else ()
        return (self.name, *pieces, *missing)

    def check_values(self, column: FloatArray) -> None:
        refuse_infinity(self.name, column)
        self._refuse_gaps(np.isnan(column))

    def encode_into(self, column: FloatArray, outputs: FloatArray) -> None:
        self.check_values(column)
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

    Parameters
    ----------
    name : str
    categories : tuple of str
        The texts with an output of their own.
    rare : tuple of str
        The texts that share one output.
    missing : bool
        Whether there is an output for missing. Without it, a gap is encoded as an unknown text is.
    gaps : {"unseen", "filled", "refused"}, default="unseen"
        See `ColumnEncoder`.
    unknown : {"missing", "rare", "zeros", "refused"}, default="missing"
        How to encode a text that did not occur in training. "missing": as a gap; all outputs are 0
        without an output for missing. "rare": as the rare ones. "zeros": all outputs are 0.
        "refused": `encode_into` raises InvalidInput.
    """

    name: str
    categories: tuple[str, ...]
    rare: tuple[str, ...]
    missing: bool
    gaps: str = "unseen"
    unknown: str = "missing"

    kind: ClassVar[str] = "category"

    def __post_init__(self) -> None:
        check_text(self, "name")
        for field in ("categories", "rare"):
            check_texts(self, field)
        check_flag(self, "missing")
        names = (*self.categories, *self.rare)
        if len(names) > MAX_NAMES:
            raise ValueError(f"there may be {MAX_NAMES:,} categories, got {len(names):,}")
        if (twice := find_repeated(names)) is not None:
            raise ValueError(f"each category must occur once, got {shorten(twice)} twice")
        self._check_gaps()
        check_choice(self, "unknown", UNKNOWN)
        if self.unknown == "rare" and not self.rare:
            raise ValueError("unknown must not be 'rare' without rare categories")

    @property
    def has_missing_output(self) -> bool:
        return self.missing

    @property
    def distinct_categories(self) -> tuple[str, ...]:
        """The categories, of which "1" and "1.0", the text of a number in a file, are one."""
        known = {*self.categories}
        return tuple(
            name
            for name in self.categories
            if not (name.endswith(".0") and name.removesuffix(".0") in known)
        )

    @property
    def output_names(self) -> tuple[str, ...]:
        names = [f"{self.name} = {category}" for category in self.categories]
        names += [f"{self.name} is rare"] if self.rare else []
        names += [f"{self.name} is missing"] if self.missing else []
        return tuple(names)

    def check_values(self, column: Texts) -> None:
        self._refuse_gaps(column.codes < 0)
        if self.unknown == "refused":
            self._refuse_unknown(column)

    def encode_into(self, column: Texts, outputs: FloatArray) -> None:
        self.check_values(column)
        unknown, gap = self.unknown_place, self.gap_place
        # The last entry is that of the code -1.
        by_code = np.array([*(self.places.get(v, unknown) for v in column.values), gap])
        chosen = by_code[column.codes]
        rows = np.flatnonzero(chosen >= 0)
        outputs[rows, chosen[rows]] = 1.0

    def count_unknown(self, column: Texts) -> int:
        return int(np.count_nonzero(self._find_unknown(column)))

    def _find_unknown(self, column: Texts) -> BoolArray:
        known = np.array([value in self.places for value in column.values] + [True])
        unknown: BoolArray = ~known[column.codes]
        return unknown

    def _refuse_unknown(self, column: Texts) -> None:
        unknown = self._find_unknown(column)
        if unknown.any():
            names = listing([*self.categories, *self.rare])
            raise invalid_rows(
                self.name,
                unknown,
                lambda row: (
                    f"must be one of {names}; the model takes no other category, got "
                    f"{shorten(column.values[column.codes[row]])}"
                ),
            )

    @property
    def unknown_place(self) -> int:
        """The output that is 1 for an unknown text; -1 if all are 0."""
        if self.unknown == "rare":
            return len(self.categories)
        return self.gap_place if self.unknown == "missing" else -1

    @property
    def gap_place(self) -> int:
        """The output that is 1 for a gap; -1 if all are 0."""
        if self.missing:
            return len(self.output_names) - 1
        return len(self.categories) if self.unknown == "rare" else -1

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
        check_number(self, "centre")
        check_number(self, "scale")
        check_above_zero(self, "scale")


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
    gaps : {"unseen", "filled", "refused"}, default="unseen"
        See `ColumnEncoder`.
    """

    name: str
    parts: tuple[DatePart, ...]
    indicator: bool
    gaps: str = "unseen"

    kind: ClassVar[str] = "date"

    def __post_init__(self) -> None:
        check_text(self, "name")
        check_flag(self, "indicator")
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
        self._check_gaps()

    @property
    def has_missing_output(self) -> bool:
        return self.indicator

    @property
    def output_names(self) -> tuple[str, ...]:
        missing = (f"{self.name} is missing",) if self.indicator else ()
        return (*(f"{self.name}: {part.part}" for part in self.parts), *missing)

    def check_values(self, column: DateArray) -> None:
        self._refuse_gaps(np.isnat(column))

    def encode_into(self, column: DateArray, outputs: FloatArray) -> None:
        self.check_values(column)
        missing = np.isnat(column)
        microseconds = to_microseconds(column)
        for i, part in enumerate(self.parts):
            values = DATE_PARTS[part.part](microseconds)
            outputs[:, i] = np.where(missing, 0.0, _standardize(values, part.centre, part.scale))
        if self.indicator:
            outputs[:, -1] = missing


ENCODER_KINDS: dict[str, type[ColumnEncoder]] = {
    kind.kind: kind for kind in (NumberEncoder, CategoryEncoder, DateEncoder)
}
"""The kinds of encoders by their names in files."""


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
        raise ValueError(f"{name} must be a mapping with a kind, got {show_value(spec)}")  # noqa: TRY004
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in ENCODER_KINDS:
        raise ValueError(
            f"{name} is of the unknown kind {show_value(kind)}; this release has "
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
        raise ValueError(f"expected a mapping, got {show_value(settings)}")  # noqa: TRY004
    names = [field.name for field in fields(kind)]
    for name in settings:
        if name not in names:
            raise ValueError(
                f"there is no setting {show_value(name)}; the settings are {', '.join(names)}"
            )
    for field in fields(kind):
        if field.name not in settings and field.default is MISSING:
            raise ValueError(f"the setting {field.name!r} is missing")
    return kind(**settings)


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


def refuse_infinity(name: str, column: FloatArray) -> None:
    """Raise InvalidInput if a number is infinite."""
    infinite = np.isinf(column)
    if infinite.any():
        raise invalid_rows(
            name, infinite, lambda row: f"must be finite or missing, got {column[row]}"
        )


def invalid_rows(name: str, rows: BoolArray, describe: Callable[[int], str]) -> InvalidInput:
    """Return the error of a column with these wrong rows, given by a mask."""
    places = np.flatnonzero(rows)
    return InvalidInput(
        [
            Violation(f"{name}[{row}]", describe(row))
            for row in places[: InvalidInput.MAX_VIOLATIONS].tolist()
        ],
        total=len(places),
    )


def _check_knots(encoder: NumberEncoder) -> None:
    """Check that there are no knots, or three or more increasing numbers; make them a tuple."""
    knots = encoder.knots
    if not isinstance(knots, (tuple, list)) or len(knots) > MAX_PIECES + 1:
        raise ValueError(
            f"knots must be a list of at most {MAX_PIECES + 1} numbers, got {show_value(knots)}"
        )
    numbers = [float(each) if type(each) in (int, float) else float("nan") for each in knots]
    increasing = all(low / 2.0 < high / 2.0 for low, high in pairwise(numbers))
    if not all(map(isfinite, numbers)) or not increasing or len(numbers) in (1, 2):
        raise ValueError(
            f"knots must be empty, or at least three increasing numbers, got {show_value(knots)}"
        )
    object.__setattr__(encoder, "knots", tuple(numbers))
