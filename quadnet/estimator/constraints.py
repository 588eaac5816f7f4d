"""Constraints on a constructor parameter, and scikit-learn's message for a wrong value.

scikit-learn's own helpers are private and have moved between releases. Only their error class and
the format of its message are used: parameter, class, what was expected, what was found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

try:
    # The class that scikit-learn's users catch. It is private: the fallback behaves like it.
    from sklearn.utils._param_validation import InvalidParameterError
except ImportError:

    class InvalidParameterError(ValueError, TypeError):  # type: ignore[no-redef]
        """A constructor parameter is out of range (ValueError) or of the wrong type (TypeError)."""


@dataclass(frozen=True)
class Constraint:
    """A predicate, and a description that completes "must be ..."."""

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


def sequence_of(*options: str) -> Constraint:
    """Accept a sequence of these names."""
    single = one_of(*options)
    return Constraint(
        lambda value: (
            isinstance(value, (Sequence, np.ndarray))
            and not isinstance(value, str)
            and all(single.accepts(entry) for entry in value)
        ),
        "a sequence of them",
    )


def boolean() -> Constraint:
    """Accept True or False."""
    return Constraint(lambda value: isinstance(value, (bool, np.bool_)), "an instance of 'bool'")


def integer(low: int) -> Constraint:
    """Accept an integer of at least `low`."""
    return Constraint(
        lambda value: (
            not isinstance(value, bool) and isinstance(value, (int, Integral)) and int(value) >= low
        ),
        f"an int in the range [{low}, inf)",
    )


def real(
    low: float, high: float = float("inf"), *, open_low: bool = False, closed_high: bool = False
) -> Constraint:
    """Accept a number from `low` to `high`; by default `low` is included and `high` is not."""

    def accepts(value: Any) -> bool:
        # `float` first: the abstract class alone takes five times as long.
        if isinstance(value, bool) or not isinstance(value, (float, Real)):
            return False
        try:
            number = float(value)
        except OverflowError:  # an integer beyond the largest float
            return False
        above = low < number if open_low else low <= number
        return above and (number <= high if closed_high else number < high)

    interval = f"{'(' if open_low else '['}{low}, {high}{']' if closed_high else ')'}"
    return Constraint(accepts, f"a float in the range {interval}")


def infinity() -> Constraint:
    """Accept infinity."""
    return Constraint(lambda value: isinstance(value, Real) and value == float("inf"), "inf")


def nothing() -> Constraint:
    """Accept None."""
    return Constraint(lambda value: value is None, "None")


def text() -> Constraint:
    """Accept any string."""
    return Constraint(lambda value: isinstance(value, str), "an instance of 'str'")


def function() -> Constraint:
    """Accept a callable."""
    return Constraint(callable, "a callable")


def mapping() -> Constraint:
    """Accept a dict of numbers."""
    return Constraint(
        lambda value: (
            isinstance(value, Mapping)
            and all(isinstance(number, (Real, np.bool_)) for number in value.values())
        ),
        "a dict of numbers",
    )


def numbers() -> Constraint:
    """Accept a sequence of real numbers."""
    return Constraint(
        lambda value: (
            isinstance(value, (Sequence, np.ndarray))
            and not isinstance(value, (str, bytes))
            and np.ndim(value) == 1
            and all(isinstance(each, Real) and not isinstance(each, bool) for each in value)
        ),
        "a sequence of numbers",
    )


def random_state() -> Constraint:
    """Accept the same values as `sklearn.utils.check_random_state`."""
    seed = Constraint(
        lambda value: integer(0).accepts(value) and value < 2**32,
        "an int in the range [0, 2**32 - 1]",
    )
    state = Constraint(
        lambda value: isinstance(value, np.random.RandomState),
        "an instance of 'numpy.random.RandomState'",
    )
    module = Constraint(lambda value: value is np.random, "numpy.random")
    return seed | state | module | nothing()


def column_selection() -> Constraint:
    """Accept names or indices of columns, or a mask of all columns."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, (list, tuple, np.ndarray)):
            return False
        # True is an Integral, too.
        kinds = ((bool, np.bool_), Integral, str)
        found = [next((k for k in kinds if isinstance(each, k)), None) for each in value]
        return len(set(found)) <= 1 and None not in found

    return Constraint(accepts, "a sequence of names, of indices, or of truth values")


def sequence() -> Constraint:
    """Accept a list or a tuple, whose entries are checked elsewhere."""
    return Constraint(lambda value: isinstance(value, (list, tuple)), "a list of layers")


def layer_sizes() -> Constraint:
    """Accept one hidden layer's size, or a sequence of sizes."""

    def accepts(value: Any) -> bool:
        if isinstance(value, (tuple, list)) and all(type(n) is int and n > 0 for n in value):
            return True  # the usual case, without NumPy
        sizes: Any = [value] if isinstance(value, Integral) else value
        if not isinstance(sizes, (Sequence, np.ndarray)) and not hasattr(sizes, "__array__"):
            return False
        if isinstance(sizes, (str, bytes)):
            return False
        try:
            if np.ndim(sizes) != 1:
                return False
        except ValueError:  # a list of lists of different lengths
            return False
        return all(
            not isinstance(n, bool) and isinstance(n, Integral) and int(n) > 0 for n in sizes
        )

    return Constraint(accepts, "an int above 0 or a sequence of them")


def invalid_parameter(owner: str, name: str, value: Any, expected: str) -> InvalidParameterError:
    """Return scikit-learn's error for a parameter with a wrong value."""
    return InvalidParameterError(
        f"The {name!r} parameter of {owner} must be {expected}. Got {value!r} instead."
    )


def check_parameters(
    owner: str, constraints: Mapping[str, Constraint], values: Mapping[str, Any]
) -> None:
    """Raise `InvalidParameterError` for the first value that its constraint does not accept."""
    for name, constraint in constraints.items():
        if not constraint.accepts(values[name]):
            raise invalid_parameter(owner, name, values[name], constraint.description)
