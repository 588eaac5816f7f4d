"""Checks of a layer's settings, whose errors name the layer's class and the setting."""

import math
from collections.abc import Iterable
from numbers import Real
from operator import index
from typing import Any


def check_count(layer: Any, name: str) -> None:
    """Check that the setting is a whole number of at least 1; make it Python's int."""
    count = _as_count(getattr(layer, name))
    if count is None:
        raise _invalid_setting(layer, name, "a whole number of at least 1")
    _set(layer, name, count)


def check_pair(layer: Any, name: str) -> None:
    """Check that the setting is a whole number of at least 1, or two; make it a pair."""
    value = getattr(layer, name)
    given = value if isinstance(value, (tuple, list)) else (value, value)
    pair = tuple(map(_as_count, given))
    if len(pair) != 2 or None in pair:
        raise _invalid_setting(layer, name, "a whole number of at least 1, or (height, width)")
    _set(layer, name, pair)


def check_flag(layer: Any, name: str) -> None:
    """Check that the setting is True or False."""
    if not isinstance(getattr(layer, name), bool):
        raise _invalid_setting(layer, name, "True or False")


def check_share(layer: Any, name: str) -> None:
    """Check that the setting is a number from 0 to below 1; make it Python's float."""
    number = _as_number(getattr(layer, name))
    if not 0 <= number < 1:
        raise _invalid_setting(layer, name, "a number from 0 to below 1")
    _set(layer, name, number)


def check_positive(layer: Any, name: str) -> None:
    """Check that the setting is a finite number above 0; make it Python's float."""
    number = _as_number(getattr(layer, name))
    if not 0 < number < math.inf:
        raise _invalid_setting(layer, name, "a finite number above 0")
    _set(layer, name, number)


def check_choice(layer: Any, name: str, choices: Iterable[str]) -> None:
    """Check that the setting is one of these names."""
    value, names = getattr(layer, name), list(choices)
    if not isinstance(value, str) or value not in names:
        raise _invalid_setting(layer, name, f"one of {', '.join(map(repr, names))}")


def _as_count(value: Any) -> int | None:
    """Return a whole number of at least 1 as Python's int; None for anything else."""
    try:
        count = index(value)
    except TypeError:
        return None
    return count if count >= 1 and not isinstance(value, bool) else None


def _as_number(value: Any) -> float:
    """Return a number as Python's float; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    return float(value)


def _set(layer: Any, name: str, value: Any) -> None:
    object.__setattr__(layer, name, value)


def _invalid_setting(layer: Any, name: str, expected: str) -> ValueError:
    value = getattr(layer, name)
    return ValueError(f"{type(layer).__name__}: {name} must be {expected}. Got {value!r}.")
