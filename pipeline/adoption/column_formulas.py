"""What a column between two steps of a pipeline is, as a function of one column of the caller.

A value that a step would compute for a row is a float; NaN is a gap that a later step may fill, and
`REFUSED` is a row for which the step raises an error.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from quadnet.errors import Unsupported
from quadnet.tables.raw_columns import to_text

REFUSED = None
"""In place of a value: the step raises an error for the row."""

Value = float | None


@dataclass(frozen=True)
class Scaling:
    """The map v -> (v - centre) / scale * factor + shift.

    Parameters
    ----------
    centre, scale, factor, shift : float
        The scale is above 0.
    """

    centre: float = 0.0
    scale: float = 1.0
    factor: float = 1.0
    shift: float = 0.0

    def apply(self, value: Value) -> Value:
        """Return the map of a value."""
        if value is None:
            return REFUSED
        return (value - self.centre) / self.scale * self.factor + self.shift

    def then(self, other: "Scaling") -> "Scaling":
        """Return the map that applies this one first, with the centre and scale of this one."""
        factor = other.factor / other.scale
        shift = (self.shift - other.centre) * factor + other.shift
        return Scaling(self.centre, self.scale, self.factor * factor, shift)


@dataclass(frozen=True, eq=False)
class CategoryMap:
    """What one output of a step is for each category of its input.

    Parameters
    ----------
    known : tuple of str
        The categories, as texts. Shared between the outputs of a step.
    values : mapping of str to float
        The categories whose output is not `default`.
    default : float
    unknown, gap : float or REFUSED
        For a text that is not known, and for a gap.
    """

    known: Mapping[str, int]
    values: Mapping[str, float]
    default: float
    unknown: Value
    gap: Value

    def value_of(self, value: str | Value) -> Value:
        """Return the output for a text, a number, or a gap, which is NaN."""
        if value is None:
            return REFUSED
        if not isinstance(value, str):
            if math.isnan(value):
                return self.gap
            value = to_text(value)
        if value in self.values:
            return self.values[value]
        return self.default if value in self.known else self.unknown


@dataclass(frozen=True, eq=False)
class Formula(ABC):
    """A column between two steps.

    Parameters
    ----------
    source : int
        The index of the caller's column.
    """

    source: int

    @abstractmethod
    def scale(self, scaling: Scaling) -> "Formula":
        """Return the scaled column."""

    @abstractmethod
    def fill(self, value: str | float) -> "Formula":
        """Return the column with this value in place of gaps."""

    @abstractmethod
    def flag_gaps(self) -> "Formula":
        """Return the column that is 1 where this one has a gap, and 0 elsewhere."""

    @abstractmethod
    def look_up(self, mapped: CategoryMap) -> "Formula":
        """Return an output of a step for categories."""


@dataclass(frozen=True, eq=False)
class RawFormula(Formula):
    """The caller's column itself: numbers, texts or dates.

    Parameters
    ----------
    gap : str or float
        What is in place of a gap; NaN as long as it is one.
    """

    gap: str | float = math.nan

    @property
    def has_gaps(self) -> bool:
        """Whether gaps have not been filled."""
        return isinstance(self.gap, float) and math.isnan(self.gap)

    def scale(self, scaling: Scaling) -> Formula:
        return NumberFormula(self.source, scaling, scaling.apply(self._number_of_gap()))

    def fill(self, value: str | float) -> Formula:
        return replace(self, gap=value) if self.has_gaps else self

    def flag_gaps(self) -> Formula:
        return GapFormula(self.source, 0.0, 1.0 if self.has_gaps else 0.0)

    def look_up(self, mapped: CategoryMap) -> Formula:
        return LookupFormula(self.source, replace(mapped, gap=mapped.value_of(self.gap)))

    def _number_of_gap(self) -> float:
        if isinstance(self.gap, str):
            raise Unsupported(f"its gaps are filled with the text {self.gap!r}")
        return float(self.gap)


@dataclass(frozen=True, eq=False)
class NumberFormula(Formula):
    """A scaled column of numbers.

    Parameters
    ----------
    scaling : Scaling
    gap : float or REFUSED
        What is in place of a gap; NaN as long as it is one.
    """

    scaling: Scaling
    gap: Value

    def scale(self, scaling: Scaling) -> Formula:
        return NumberFormula(self.source, self.scaling.then(scaling), scaling.apply(self.gap))

    def fill(self, value: str | float) -> Formula:
        return replace(self, gap=_fill(self.gap, value))

    def flag_gaps(self) -> Formula:
        return GapFormula(self.source, 0.0, _flag(self.gap))

    def look_up(self, mapped: CategoryMap) -> Formula:
        raise Unsupported("it takes scaled numbers as categories. Encode them before scaling")


class _FewValues(Formula):
    """A column with few different values, each of which a step changes alone."""

    def scale(self, scaling: Scaling) -> Formula:
        return self._map(scaling.apply)

    def fill(self, value: str | float) -> Formula:
        return self._map(lambda found: _fill(found, value))

    def flag_gaps(self) -> Formula:
        return self._map(_flag)

    def look_up(self, mapped: CategoryMap) -> Formula:
        return self._map(mapped.value_of)

    @abstractmethod
    def _map(self, change: Callable[[Value], Value]) -> Formula:
        """Return the column with each of its values changed."""


@dataclass(frozen=True, eq=False)
class GapFormula(_FewValues):
    """A column with two values: one where the caller's column has a gap, one elsewhere.

    Parameters
    ----------
    present, gap : float or REFUSED
    """

    present: Value
    gap: Value

    def _map(self, change: Callable[[Value], Value]) -> Formula:
        return GapFormula(self.source, change(self.present), change(self.gap))


@dataclass(frozen=True, eq=False)
class LookupFormula(_FewValues):
    """A column with a value for each category of the caller's column.

    Parameters
    ----------
    mapped : CategoryMap
    """

    mapped: CategoryMap

    def _map(self, change: Callable[[Value], Value]) -> Formula:
        old = self.mapped
        values, default = {}, change(old.default)
        for text in old.known if default is REFUSED else old.values:
            value = change(old.values.get(text, old.default))
            if value is not REFUSED:
                values[text] = value
        known = old.known
        if default is REFUSED:
            known = {text: place for text, place in known.items() if text in values}
            default = 0.0
        elif len(values) < len(old.values):
            known = {t: place for t, place in known.items() if t in values or t not in old.values}
        unknown = change(old.unknown)
        # A category for which a later step raises an error is like an unknown one.
        if len(known) < len(old.known) and unknown is not REFUSED:
            raise Unsupported("it refuses categories that an earlier step knows")
        return LookupFormula(
            self.source, CategoryMap(known, values, default, unknown, change(old.gap))
        )


def _fill(found: Value, value: str | float) -> Value:
    if found is None or not math.isnan(found):
        return found
    if isinstance(value, str):
        raise Unsupported(f"it fills gaps of numbers with the text {value!r}")
    return float(value)


def _flag(found: Value) -> Value:
    return REFUSED if found is None else float(math.isnan(found))
