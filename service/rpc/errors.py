"""The status that a caller gets for each error.

Any other exception is a fault of the server: the caller gets a fixed text with a request id, and
the log gets the exception. `service.rpc.error_documentation` describes when each error is raised.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from quadnet.errors import (
    CorruptVersion,
    DeadlinePassed,
    InvalidInput,
    MessageTimeout,
    NotFound,
    NotReady,
    Overloaded,
    QuadnetError,
    TooLarge,
    Unauthenticated,
    Unsupported,
)

DOMAIN = "quadnet"

FAULTS = "faults"
"""Key in the metadata of an ErrorInfo: the number of faults of the input, of which only the first
ones are listed."""

_DETAILS = "grpc-status-details-bin"
PUSHBACK = "grpc-retry-pushback-ms"
NEVER_RETRY = "-1"
"""A pushback that tells gRPC not to retry the call."""

_MAX_TEXT_BYTES, _MAX_FIELD_BYTES = 1000, 200
_MAX_VIOLATION_BYTES = 2000
"""Clients accept 8 KiB of metadata. The text is in them twice: once with non-ASCII characters at
three times their length, and again in the details, which are a third longer in base64.
"""

_CUT = "…"

_log = structlog.get_logger(__name__)


class UnknownMethod(QuadnetError):
    """The server has no such service or method.

    Parameters
    ----------
    services : iterable of str
        The services of the server.
    """

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__(
            f"The server has no such service or method. Its services: {', '.join(services)}."
        )


@dataclass(frozen=True)
class ErrorStatus:
    """The status code of an error, and the reason in its google.rpc.ErrorInfo."""

    code: grpc.StatusCode
    reason: str


STATUSES: dict[type[QuadnetError], ErrorStatus] = {
    InvalidInput: ErrorStatus(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    NotFound: ErrorStatus(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    Unsupported: ErrorStatus(grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED"),
    CorruptVersion: ErrorStatus(grpc.StatusCode.FAILED_PRECONDITION, "CORRUPT_VERSION"),
    NotReady: ErrorStatus(grpc.StatusCode.UNAVAILABLE, "NOT_READY"),
    Overloaded: ErrorStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    TooLarge: ErrorStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
    DeadlinePassed: ErrorStatus(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED"),
    MessageTimeout: ErrorStatus(grpc.StatusCode.DEADLINE_EXCEEDED, "MESSAGE_TIMEOUT"),
    Unauthenticated: ErrorStatus(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    UnknownMethod: ErrorStatus(grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD"),
}
"""The errors that a server reports. Clients depend on the codes and the reasons, not on the names
of the classes."""

ERRORS_BY_REASON = {status.reason: error for error, status in STATUSES.items()}


def to_status(
    error: Exception, method: str, request_id: str
) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """Return the code of an error, and the google.rpc.Status that the caller gets."""
    if not isinstance(error, QuadnetError) or type(error) not in STATUSES:
        _log.error("call failed", method=method, request_id=request_id, exc_info=error)
        code = grpc.StatusCode.INTERNAL
        text = f"The server failed. Its log has more under the request id {request_id}."
        return code, status_pb2.Status(code=_number(code), message=text)
    known = STATUSES[type(error)]
    info = error_details_pb2.ErrorInfo(reason=known.reason, domain=DOMAIN)
    for name, value in error.facts.items():
        info.metadata[name] = str(value)
    details: list[Message] = [info]
    if isinstance(error, InvalidInput):
        info.metadata[FAULTS] = str(error.total)
        details.append(_bad_request(error))
    if isinstance(error, Overloaded | NotReady) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1e3))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return known.code, status_pb2.Status(
        code=_number(known.code),
        message=_cut(str(error), _MAX_TEXT_BYTES),
        details=[_pack(detail) for detail in details],
    )


def _bad_request(error: InvalidInput) -> error_details_pb2.BadRequest:
    """Return the violations, up to the maximum size."""
    bad_request = error_details_pb2.BadRequest()
    room = _MAX_VIOLATION_BYTES
    for violation in error.violations:
        field = _cut(violation.field, _MAX_FIELD_BYTES)
        description = _cut(violation.description, _MAX_TEXT_BYTES)
        room -= len(field.encode()) + len(description.encode())
        if room < 0:
            break
        bad_request.field_violations.add(field=field, description=description)
    return bad_request


def _cut(text: str, n_bytes: int) -> str:
    """Return the text, cut to this number of bytes."""
    content = text.encode()
    if len(content) <= n_bytes:
        return text
    return f"{content[: n_bytes - len(_CUT.encode())].decode(errors='ignore')}{_CUT}"


def make_trailing_metadata(
    error: Exception, status: status_pb2.Status
) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata with the details and the delay until a retry."""
    metadata: list[tuple[str, str | bytes]] = [(_DETAILS, status.SerializeToString())]
    if isinstance(error, Overloaded | NotReady) and error.retry_after is not None:
        metadata.append((PUSHBACK, str(int(error.retry_after * 1e3))))
    if isinstance(error, TooLarge):
        metadata.append((PUSHBACK, NEVER_RETRY))
    return tuple(metadata)


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
