"""What a constructor parameter may be, and scikit-learn's sentence when it is something else.

scikit-learn's own helpers for this are private and have moved between releases, so only the
format of their message is kept: parameter, class, what was expected, what came.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np


class InvalidParameterError(ValueError, TypeError):
    """A constructor parameter is out of its range (ValueError) or of the wrong type (TypeError)."""


@dataclass(frozen=True)
class Constraint:
    """A predicate and the words that complete "must be ..."."""

    accepts: Callable[[Any], bool]
    description: str

    def __or__(self, other: "Constraint") -> "Constraint":
        return Constraint(
            lambda value: self.accepts(value) or other.accepts(value),
            f"{self.description} or {other.description}",
        )


def one_of(*options: str) -> Constraint:
    """Accept one of a few names."""
    names = ", ".join(repr(option) for option in sorted(options))
    return Constraint(
        lambda value: isinstance(value, str) and value in options, f"a str among {{{names}}}"
    )


def boolean() -> Constraint:
    """Accept True or False."""
    return Constraint(lambda value: isinstance(value, (bool, np.bool_)), "an instance of 'bool'")


def integer(low: int) -> Constraint:
    """Accept an integer of at least `low`."""
    return Constraint(
        lambda value: (
            not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= low
        ),
        f"an int in the range [{low}, inf)",
    )


def real(low: float, high: float = float("inf"), *, open_low: bool = False) -> Constraint:
    """Accept a number from `low`, itself excluded if `open_low`, up to but not including `high`."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        number = float(value)
        return (low < number if open_low else low <= number) and number < high

    return Constraint(accepts, f"a float in the range {'(' if open_low else '['}{low}, {high})")


def layer_sizes() -> Constraint:
    """Accept one hidden layer's size, or a sequence of sizes."""

    def accepts(value: Any) -> bool:
        sizes = [value] if isinstance(value, Integral) else value
        return isinstance(sizes, (Sequence, np.ndarray)) and all(
            not isinstance(n, bool) and isinstance(n, Integral) and int(n) > 0 for n in sizes
        )

    return Constraint(accepts, "an int above 0 or a sequence of them")


def check(owner: str, constraints: Mapping[str, Constraint], values: Mapping[str, Any]) -> None:
    """Raise `InvalidParameterError` for the first value that its constraint does not accept."""
    for name, constraint in constraints.items():
        if not constraint.accepts(values[name]):
            raise InvalidParameterError(
                f"The {name!r} parameter of {owner} must be {constraint.description}. "
                f"Got {values[name]!r} instead."
            )
