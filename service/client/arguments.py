"""The arguments of a client, each checked before anything is sent.

One function for each kind of value: it returns the value as the client needs it, or raises an error
that names the argument, what was expected and what came.
"""

import operator
import os
import reprlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import TypeGuard

import numpy as np

from quadnet.cli.settings import check_host
from quadnet.errors import ConfigurationError, InvalidInput, Violation
from quadnet.types import FloatArray
from service.client.channel import hosts
from service.settings import MOST_SECONDS
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


def seconds(timeout: object) -> float | None:
    """Return a timeout; raise ConfigurationError if it is not a number of seconds, or None."""
    if timeout is None:
        return None
    if _is_real(timeout) and 0 < timeout <= MOST_SECONDS:
        # As a float: gRPC adds it to the time of day, which NumPy would round to a short float's.
        return float(timeout)
    raise ConfigurationError(
        f"timeout: expected seconds, above 0 and up to {MOST_SECONDS}, or None, got "
        f"{_repr.repr(timeout)}."
    )


def server_address(value: object) -> str:
    """Return an address; raise ConfigurationError if it cannot be one."""
    expected = "address: expected a text such as 'localhost:50051'"
    if not isinstance(value, str):
        raise ConfigurationError(f"{expected}, got {_repr.repr(value)}.")
    try:
        for host in hosts(value):
            check_host(host)
    except ValueError as error:
        raise ConfigurationError(f"{expected}; in {_repr.repr(value)}: {error}.") from error
    return value


def path(name: str, value: object) -> Path | None:
    """Return the path of a file, or None; raise ConfigurationError if it is neither."""
    if value is None:
        return None
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str) or not found or "\0" in found:
        raise ConfigurationError(
            f"{name}: expected a path of a file, or None, got {_repr.repr(value)}."
        )
    return Path(found)


def text(field: str, value: object) -> str:
    """Return a text; raise InvalidInput if it is not one that can be sent."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise _unexpected(field, "a text", value)


def flag(field: str, value: object) -> bool:
    """Return a truth value; raise InvalidInput if it is another."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise _unexpected(field, "True or False", value)


def share(field: str, value: object) -> float:
    """Return a number from 0 to 1; raise InvalidInput if it is not one."""
    if _is_real(value) and 0 <= value <= 1:
        return float(value)
    raise _unexpected(field, "a number from 0 to 1", value)


def whole(field: str, value: object, allowed: range, expected: str) -> int:
    """Return an integer; raise InvalidInput if it is not one, or not allowed."""
    number = None
    if not isinstance(value, bool | np.bool_):
        with suppress(TypeError):
            number = operator.index(value)  # type: ignore[arg-type]
    if number is None or number not in allowed:
        raise _unexpected(field, expected, value)
    return number


def floats(field: str, values: object, shape: str) -> FloatArray:
    """Return numbers as an array of doubles; raise InvalidInput if they are not numbers."""
    expected = f"expected numbers, in the shape {shape}"
    try:
        found = np.asarray(values)
        # Decimals, and numbers as text.
        if found.dtype.kind in "OSU":
            found = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(field, f"{expected}; NumPy says: {error}") from error
    # Neither complex numbers nor dates, of which NumPy would keep a part.
    if found.dtype.kind not in "biuf":
        raise invalid(field, f"{expected}, got {found.dtype}")
    if np.ma.is_masked(values):
        raise invalid(field, f"{expected}, got a masked array with values that are missing")
    return np.asarray(found, np.float64)


def sequence(field: str, values: object) -> object:
    """Return something that NumPy reads as numbers in order; of an iterator, a list."""
    if (
        isinstance(values, str | bytes | Mapping | AbstractSet)
        or not isinstance(values, Iterable)
        # An array of no dimensions says that it is iterable.
        or getattr(values, "ndim", None) == 0
    ):
        raise _unexpected(field, "a sequence of numbers", values)
    return values if hasattr(values, "__array__") else list(values)


def invalid(field: str, description: str) -> InvalidInput:
    """Return the error that says of one field what was expected and what came."""
    return InvalidInput([Violation(field, description)])


def reference(
    name: object, version: object, alias: object, *, name_field: str = "name"
) -> pb.ModelRef:
    """Return the reference to a version by its number, by an alias, or to the server's default."""
    name, alias = text(name_field, name), text("alias", alias)
    if version is not None:
        version = whole("version", version, range(-(2**63), 2**63), "a whole number of 64 bits")
        if alias:
            raise invalid("version", f"expected a version or an alias, got {version} and {alias!r}")
        return pb.ModelRef(name=name, version=version)
    return pb.ModelRef(name=name, alias=alias) if alias else pb.ModelRef(name=name)


def _unexpected(field: str, expected: str, value: object) -> InvalidInput:
    return invalid(field, f"expected {expected}, got {_repr.repr(value)}")


def _is_real(value: object) -> TypeGuard[float]:
    """Return whether the value is a real number; True and False are not taken for 1 and 0."""
    return isinstance(value, Real) and not isinstance(value, bool)
