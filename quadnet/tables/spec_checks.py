"""Checks of the values in an encoder's spec, which may come from a hostile file."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from quadnet.errors import shorten


def find_repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurred before; None if all are distinct."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def check_text(owner: Any, field: str) -> None:
    """Raise ValueError unless a field is a text."""
    value = getattr(owner, field)
    if not isinstance(value, str):
        raise ValueError(f"{field} must be a text, got {show_value(value)}")  # noqa: TRY004


def check_texts(owner: Any, field: str) -> None:
    """Check that a field is a sequence of texts; make it a tuple."""
    value = getattr(owner, field)
    if not isinstance(value, (tuple, list)) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{field} must be a list of texts, got {show_value(value)}")
    object.__setattr__(owner, field, tuple(value))


def check_number(owner: Any, field: str) -> None:
    """Check that a field is a finite number; make it a float."""
    value = getattr(owner, field)
    try:
        number = float(value) if type(value) in (int, float) else float("nan")
    except OverflowError:  # an integer beyond the largest float
        number = float("inf")
    if not isfinite(number):
        raise ValueError(f"{field} must be a finite number, got {show_value(value)}")
    object.__setattr__(owner, field, number)


def check_above_zero(owner: Any, field: str) -> None:
    """Raise ValueError unless a field, which is a number, is above 0."""
    value = getattr(owner, field)
    if value <= 0:
        raise ValueError(f"{field} must be above 0, got {value!r}")


def check_flag(owner: Any, field: str) -> None:
    """Raise ValueError unless a field is True or False."""
    value = getattr(owner, field)
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be true or false, got {show_value(value)}")  # noqa: TRY004


def check_choice(owner: Any, field: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless a field is one of these texts."""
    value = getattr(owner, field)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, got {show_value(value)}")


def show_value(value: Any) -> str:
    """Return a value for a message, shortened if it is long."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)} values"
    return shorten(value) if isinstance(value, str) else shorten(repr(value))[1:-1]
