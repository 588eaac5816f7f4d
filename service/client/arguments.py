"""Checks the arguments of a client before anything is sent.

One function for each kind of value. It returns the value in the form that the client needs, or
raises an error that names the argument, what was expected and what was found.
"""

import math
import operator
import os
import reprlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date
from numbers import Real
from pathlib import Path
from typing import TypeGuard

import numpy as np

from quadnet.cli.settings import check_host
from quadnet.errors import ConfigurationError, InvalidInput, Violation
from quadnet.types import FloatArray
from service.client.channel import parse_hosts
from service.settings import MOST_SECONDS
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


def check_timeout(timeout: object) -> float | None:
    """Return a timeout in seconds, or None; raise ConfigurationError for any other value."""
    if timeout is None:
        return None
    if _is_real(timeout) and 0 < timeout <= MOST_SECONDS:
        # As a float: gRPC adds it to the time of day, which NumPy would round to float32.
        return float(timeout)
    raise ConfigurationError(
        f"timeout: expected seconds, above 0 and up to {MOST_SECONDS}, or None, got "
        f"{_repr.repr(timeout)}."
    )


def check_server_address(value: object) -> str:
    """Return an address; raise ConfigurationError if it is invalid."""
    expected = "address: expected a text such as 'localhost:50051'"
    if not isinstance(value, str):
        raise ConfigurationError(f"{expected}, got {_repr.repr(value)}.")
    try:
        for host in parse_hosts(value):
            check_host(host)
    except ValueError as error:
        raise ConfigurationError(f"{expected}; in {_repr.repr(value)}: {error}.") from error
    return value


def check_path(name: str, value: object) -> Path | None:
    """Return the path of a file, or None; raise ConfigurationError for any other value."""
    if value is None:
        return None
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str) or not found or "\0" in found:
        raise ConfigurationError(
            f"{name}: expected a path of a file, or None, got {_repr.repr(value)}."
        )
    return Path(found)


def check_text(field: str, value: object) -> str:
    """Return a text; raise InvalidInput if it is not a text or not encodable in UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise _unexpected_value(field, "a text", value)


def check_flag(field: str, value: object) -> bool:
    """Return True or False; raise InvalidInput for any other value."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise _unexpected_value(field, "True or False", value)


def check_fraction(field: str, value: object) -> float:
    """Return a number from 0 to 1; raise InvalidInput for any other value."""
    if _is_real(value) and 0 <= value <= 1:
        return float(value)
    raise _unexpected_value(field, "a number from 0 to 1", value)


def check_integer(field: str, value: object, allowed: range, expected: str) -> int:
    """Return an integer in the range; raise InvalidInput for any other value."""
    number = None
    if not isinstance(value, bool | np.bool_):
        with suppress(TypeError):
            number = operator.index(value)  # type: ignore[arg-type]
    if number is None or number not in allowed:
        raise _unexpected_value(field, expected, value)
    return number


def convert_to_floats(field: str, values: object, shape: str) -> FloatArray:
    """Return numbers as an array of float64; raise InvalidInput if they are not numbers."""
    expected = f"expected numbers, in the shape {shape}"
    try:
        found = np.asarray(values)
        # Decimal objects, and numbers in text form.
        if found.dtype.kind in "OSU":
            found = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid_input(field, f"{expected}; NumPy's error: {error}") from error
    # Not complex numbers or dates, of which NumPy would drop a part.
    if found.dtype.kind not in "biuf":
        raise invalid_input(field, f"{expected}, got {found.dtype}")
    if np.ma.is_masked(values):
        raise invalid_input(field, f"{expected}, got a masked array with values that are missing")
    return np.asarray(found, np.float64)


def check_sequence(field: str, values: object) -> object:
    """Return the values in a form that NumPy accepts as a sequence; iterators become lists."""
    if (
        isinstance(values, str | bytes | Mapping | AbstractSet)
        or not isinstance(values, Iterable)
        # A zero-dimensional array claims to be iterable.
        or getattr(values, "ndim", None) == 0
    ):
        raise _unexpected_value(field, "a sequence of numbers", values)
    return values if hasattr(values, "__array__") else list(values)


def invalid_input(field: str, description: str) -> InvalidInput:
    """Return the error for one field, with this description."""
    return InvalidInput([Violation(field, description)])


def make_column_values(field: str, values: Mapping[str, object]) -> list[pb.ColumnValue]:
    """Return the values of columns as messages; raise InvalidInput for names and values of others.

    None, NaN and NaT are missing.
    """
    made = []
    for name, value in values.items():
        sent = pb.ColumnValue(name=check_text(field, name))
        if isinstance(value, str):
            sent.text = check_text(f"{field}[{name!r}]", value)
        elif isinstance(value, date):
            # Of pandas' NaT, too, which is not equal to itself.
            if value == value:  # noqa: PLR0124
                sent.text = value.isoformat()
        elif value is not None:
            if not isinstance(value, Real):
                raise _unexpected_value(
                    f"{field}[{name!r}]", "a number, a text, a date or None", value
                )
            if not math.isnan(value):
                sent.number = float(value)
        made.append(sent)
    return made


def make_reference(model: object, version: object, alias: object) -> pb.ModelRef:
    """Return a reference to a version: by number, by alias, or to the server's default."""
    model, alias = check_text("model", model), check_text("alias", alias)
    if version is not None:
        version = check_integer(
            "version", version, range(-(2**63), 2**63), "a whole number of 64 bits"
        )
        if alias:
            raise invalid_input(
                "version", f"expected a version or an alias, got {version} and {alias!r}"
            )
        return pb.ModelRef(name=model, version=version)
    return pb.ModelRef(name=model, alias=alias) if alias else pb.ModelRef(name=model)


def _unexpected_value(field: str, expected: str, value: object) -> InvalidInput:
    return invalid_input(field, f"expected {expected}, got {_repr.repr(value)}")


def _is_real(value: object) -> TypeGuard[float]:
    """Return whether the value is a real number. True and False are not numbers here."""
    return isinstance(value, Real) and not isinstance(value, bool)
