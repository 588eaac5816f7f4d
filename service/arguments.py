"""What callers give a client: checked, and named where it is not what it should be."""

import operator
from numbers import Real
from typing import SupportsIndex

import numpy as np

from quadnet.errors import InvalidInput, InvalidSetting, Violation
from quadnet.types import FloatArray
from service.settings import MOST_SECONDS
from service.stubs.quadrant.v1 import quadrant_pb2 as pb


def seconds(timeout: object) -> float | None:
    """Return the timeout; raise InvalidSetting if it is no time to wait."""
    if timeout is None:
        return None
    # As a float: gRPC adds it to the time of day, which NumPy would round to a short float's.
    if isinstance(timeout, Real) and 0 < (seconds := float(timeout)) <= MOST_SECONDS:
        return seconds
    raise InvalidSetting(
        f"timeout: expected seconds, above 0 and up to {MOST_SECONDS}, or None, got {timeout!r}."
    )


def floats(field: str, values: object, shape: str) -> FloatArray:
    """Return the values as an array of doubles; raise InvalidInput if they are no numbers."""
    expected = f"expected numbers, in the shape {shape}"
    try:
        found = np.asarray(values)
        # Decimals, and numbers as text.
        if found.dtype.kind in "OSU":
            found = found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise invalid(field, f"{expected}; NumPy says: {error}") from error
    # Neither complex numbers nor dates, of which NumPy would keep a part.
    if found.dtype.kind not in "biuf":
        raise invalid(field, f"{expected}, got {found.dtype}")
    return np.asarray(found, np.float64)


def whole(field: str, value: SupportsIndex, allowed: range, expected: str) -> int:
    """Return the value as an integer; raise InvalidInput if it is none, or not allowed."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number not in allowed:
        raise invalid(field, f"expected {expected}, got {value!r}")
    return number


def invalid(field: str, description: str) -> InvalidInput:
    """Return the error that says of one field what was expected and what came."""
    return InvalidInput([Violation(field, description)])


def reference(name: str, version: int | None, alias: str) -> pb.ModelRef:
    """Return the reference to a version by its number, by an alias, or to the server's default."""
    if version is not None and alias:
        raise invalid("version", f"expected a version or an alias, got {version} and {alias!r}")
    if alias:
        return pb.ModelRef(name=name, alias=alias)
    if version is not None:
        version = whole("version", version, range(-(2**63), 2**63), "a whole number of 64 bits")
    return pb.ModelRef(name=name, version=version)
