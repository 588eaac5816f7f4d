"""The error that a server raised, made again from its status: `service.rpc.errors` reversed."""

import re
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from quadnet.errors import InvalidInput, NotReady, Overloaded, QuadnetError, Violation
from service.rpc import errors

_TOO_MANY = re.compile(r"^(expected at most (\d+) points a call, got \d+);.*")
"""How a server says that a part is more than it takes in one call."""

_ROW = re.compile(r"\[(\d+)\]$")

M = TypeVar("M", bound=Message)


class Refused(QuadnetError):
    """The server answered with an error that is none of `quadnet.errors`; the text is its own."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        super().__init__(message)


def error_from_call(call: grpc.Call) -> QuadnetError | None:
    """Return the error that the call's details tell of; None if it brought none that fit it."""
    try:
        status = rpc_status.from_call(call)
    except (ValueError, DecodeError):
        # Details that contradict the call's own code and text are not of this error.
        return None
    if status is None:
        return None
    return _error_from_details(call.code(), call.details() or "", status.details)


def _error_from_details(code: grpc.StatusCode, text: str, details: Any) -> QuadnetError:
    """Return the error of `quadnet.errors` that the server raised."""
    info = _detail(details, error_details_pb2.ErrorInfo)
    kind = errors.ERRORS_BY_REASON.get(info.reason) if info.domain == errors.DOMAIN else None
    if kind is None:
        return Refused(code, text)
    if kind is InvalidInput:
        found = _detail(details, error_details_pb2.BadRequest).field_violations
        violations = [Violation(each.field, each.description) for each in found]
        return InvalidInput(violations, total=int(info.metadata[errors.FAULTS]))
    if kind is Overloaded or kind is NotReady:
        delay = _detail(details, error_details_pb2.RetryInfo).retry_delay
        return kind(text, retry_after=delay.ToMilliseconds() / 1e3)
    return kind(text)


def _detail(details: Any, kind: type[M]) -> M:
    """Return the detail of this kind; an empty one if there is none."""
    found = kind()
    for packed in details:
        if packed.Is(kind.DESCRIPTOR):
            packed.Unpack(found)
    return found


def renumber_rows(start: int, error: InvalidInput) -> InvalidInput:
    """Return the error of a part, which starts at this row, in the caller's terms."""
    violations = [
        Violation(
            _ROW.sub(lambda row: f"[{start + int(row[1])}]", violation.field),
            _TOO_MANY.sub(
                r"\1; set points_a_call, on the command line --points-a-call, to \2 or less",
                violation.description,
            ),
        )
        for violation in error.violations
    ]
    return InvalidInput(violations, total=error.total)
