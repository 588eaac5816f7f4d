"""Converts the status of a failed call into an error: the reverse of `service.rpc.errors`."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from quadnet.errors import ErrorKind, InvalidInput, NotReady, Overloaded, QuadnetError, Violation
from service.rpc import errors
from service.wire.checks import MAX_POINTS

_ROW = re.compile(r"\[(\d+)\]$")
"""The row in the path of a field, such as ``x[17]``."""

M = TypeVar("M", bound=Message)


class Refused(QuadnetError):
    """The server answered with an error that has no class in `quadnet.errors`."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        super().__init__(message)


def error_from_call(call: grpc.Call) -> QuadnetError | None:
    """Return the error in the details of a call; None without details that match the status."""
    try:
        status = rpc_status.from_call(call)
    except (ValueError, DecodeError):
        # Details that contradict the code or the text of the call are not of this error.
        return None
    if status is None:
        return None
    return _error_from_details(call.code(), call.details() or "", status.details)


def _error_from_details(code: grpc.StatusCode, text: str, details: Any) -> QuadnetError:
    """Return the error of `quadnet.errors` that the server raised."""
    info = _unpack_detail(details, error_details_pb2.ErrorInfo)
    kind = errors.ERRORS_BY_REASON.get(info.reason) if info.domain == errors.DOMAIN else None
    if kind is None:
        return Refused(code, text)
    if kind is InvalidInput:
        found = _unpack_detail(details, error_details_pb2.BadRequest).field_violations
        if not found:
            return Refused(code, text)
        violations = [Violation(each.field, each.description) for each in found]
        limit = _read_number(info.metadata, MAX_POINTS)
        facts = {} if limit is None else {MAX_POINTS: limit}
        return InvalidInput(
            violations, total=_read_number(info.metadata, errors.FAULTS), facts=facts
        )
    if kind is Overloaded or kind is NotReady:
        delay = _unpack_detail(details, error_details_pb2.RetryInfo).retry_delay
        return kind(text, retry_after=delay.ToMilliseconds() / 1e3)
    return kind(text)


def _unpack_detail(details: Any, kind: type[M]) -> M:
    """Return the detail of this type; an empty message if it is missing."""
    found = kind()
    for packed in details:
        if packed.Is(kind.DESCRIPTOR):
            packed.Unpack(found)
    return found


def _read_number(metadata: Mapping[str, str], name: str) -> int | None:
    """Return the number with this name; None if the server has not sent it."""
    text = metadata.get(name, "")
    return int(text) if text.isdecimal() else None


def refine_error(error: InvalidInput, start: int, n_rows: int, *, argument: str) -> InvalidInput:
    """Return the error of one of several calls with the rows and arguments of the caller.

    Parameters
    ----------
    error : InvalidInput
    start : int
        The row, among all of the caller's, of the first row of the call.
    n_rows : int
        Number of rows of the call.
    argument : str
        The client's argument with the number of rows per call.
    """
    limit = error.facts.get(MAX_POINTS)
    if isinstance(limit, int):
        description = f"expected at most {limit}, the server's limit, got {n_rows}"
        return InvalidInput(
            [Violation(argument, description)],
            kind=ErrorKind.TOO_MANY_POINTS,
            facts={MAX_POINTS: limit},
        )
    violations = [
        Violation(
            _ROW.sub(lambda row: f"[{start + int(row[1])}]", violation.field), violation.description
        )
        for violation in error.violations
    ]
    return InvalidInput(violations, total=error.total)
