"""The status that a caller gets for each error.

Any other exception is a fault of the server: the caller gets a fixed text with a request id, and
the log gets the exception. `service.rpc.error_documentation` describes when each error is raised.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
    Violation,
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


class UnknownPath(QuadnetError):
    """The server has no REST method at this path.

    Parameters
    ----------
    templates : iterable of str
        The paths of the server.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        super().__init__(f"There is no such path. The server has: {', '.join(templates)}.")


class WrongHttpMethod(QuadnetError):
    """The path exists, but not with this HTTP method.

    Parameters
    ----------
    allowed : sequence of str
        The HTTP methods of the path.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(
            f"Expected the HTTP method {' or '.join(allowed)} at this path, got another one."
        )
        self.allowed = tuple(allowed)


class UnsupportedContent(QuadnetError):
    """The body of a request over HTTP has a type or an encoding that the server cannot read."""


HTTP_STATUSES = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""The HTTP status of each code, over REST and for the page. Source: google/rpc/code.proto."""


@dataclass(frozen=True)
class ErrorStatus:
    """The status code of an error, the reason in its google.rpc.ErrorInfo, and the HTTP status.

    `own_http` is the HTTP status where it is more specific than that of the code.
    """

    code: grpc.StatusCode
    reason: str
    own_http: int | None = None

    @property
    def http(self) -> int:
        """The HTTP status."""
        return self.own_http or HTTP_STATUSES[self.code]


STATUSES: dict[type[QuadnetError], ErrorStatus] = {
    InvalidInput: ErrorStatus(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    NotFound: ErrorStatus(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    Unsupported: ErrorStatus(grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED"),
    CorruptVersion: ErrorStatus(grpc.StatusCode.FAILED_PRECONDITION, "CORRUPT_VERSION", 500),
    NotReady: ErrorStatus(grpc.StatusCode.UNAVAILABLE, "NOT_READY"),
    Overloaded: ErrorStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    TooLarge: ErrorStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE", 413),
    DeadlinePassed: ErrorStatus(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED"),
    MessageTimeout: ErrorStatus(grpc.StatusCode.DEADLINE_EXCEEDED, "MESSAGE_TIMEOUT", 408),
    Unauthenticated: ErrorStatus(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    UnknownMethod: ErrorStatus(grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD"),
    UnknownPath: ErrorStatus(grpc.StatusCode.NOT_FOUND, "UNKNOWN_PATH"),
    WrongHttpMethod: ErrorStatus(grpc.StatusCode.UNIMPLEMENTED, "WRONG_HTTP_METHOD", 405),
    UnsupportedContent: ErrorStatus(grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED_CONTENT", 415),
}
"""The errors that a server reports. Clients depend on the codes and the reasons, not on the names
of the classes."""

ERRORS_BY_REASON = {status.reason: error for error, status in STATUSES.items()}


@dataclass(frozen=True)
class ErrorReport:
    """What a caller gets of an error, over any transport.

    Attributes
    ----------
    code : grpc.StatusCode
    http : int
        The HTTP status.
    message : str
    reason : str
        The stable name of the error; "" for a fault of the server.
    facts : dict of str to str
        Values that a program may need, by name.
    violations : tuple of Violation
        The faults of the input, as many as there is room for.
    retry_after : float or None
        Seconds until a retry may succeed.
    is_permanent : bool
        Whether the same request would always be refused.
    """

    code: grpc.StatusCode
    http: int
    message: str
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after: float | None = None
    is_permanent: bool = False


def describe_error(error: Exception, method: str, request_id: str) -> ErrorReport:
    """Return what the caller gets of an error; log an error that is a fault of the server."""
    if not isinstance(error, QuadnetError) or type(error) not in STATUSES:
        _log.error("call failed", method=method, request_id=request_id, exc_info=error)
        code = grpc.StatusCode.INTERNAL
        text = f"The server failed. Its log has more under the request id {request_id}."
        return ErrorReport(code, HTTP_STATUSES[code], text)
    known = STATUSES[type(error)]
    facts = {name: str(value) for name, value in error.facts.items()}
    violations: tuple[Violation, ...] = ()
    if isinstance(error, InvalidInput):
        facts[FAULTS] = str(error.total)
        violations = _cut_violations(error)
    return ErrorReport(
        known.code,
        known.http,
        _cut(str(error), _MAX_TEXT_BYTES),
        known.reason,
        facts,
        violations,
        error.retry_after if isinstance(error, Overloaded | NotReady) else None,
        isinstance(error, TooLarge),
    )


def make_status(report: ErrorReport) -> status_pb2.Status:
    """Return the google.rpc.Status that a caller over gRPC gets."""
    status = status_pb2.Status(code=_number(report.code), message=report.message)
    if not report.reason:
        return status
    info = error_details_pb2.ErrorInfo(reason=report.reason, domain=DOMAIN, metadata=report.facts)
    details: list[Message] = [info]
    if report.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in report.violations:
            bad_request.field_violations.add(
                field=violation.field, description=violation.description
            )
        details.append(bad_request)
    if report.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(report.retry_after * 1e3))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status.details.extend(_pack(detail) for detail in details)
    return status


def _cut_violations(error: InvalidInput) -> tuple[Violation, ...]:
    """Return the violations, up to the maximum size."""
    found = []
    room = _MAX_VIOLATION_BYTES
    for violation in error.violations:
        field_name = _cut(violation.field, _MAX_FIELD_BYTES)
        description = _cut(violation.description, _MAX_TEXT_BYTES)
        room -= len(field_name.encode()) + len(description.encode())
        if room < 0:
            break
        found.append(Violation(field_name, description))
    return tuple(found)


def _cut(text: str, n_bytes: int) -> str:
    """Return the text, cut to this number of bytes."""
    content = text.encode()
    if len(content) <= n_bytes:
        return text
    return f"{content[: n_bytes - len(_CUT.encode())].decode(errors='ignore')}{_CUT}"


def make_trailing_metadata(
    report: ErrorReport, status: status_pb2.Status
) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata with the details and the delay until a retry."""
    metadata: list[tuple[str, str | bytes]] = [(_DETAILS, status.SerializeToString())]
    if report.retry_after is not None:
        metadata.append((PUSHBACK, str(int(report.retry_after * 1e3))))
    if report.is_permanent:
        metadata.append((PUSHBACK, NEVER_RETRY))
    return tuple(metadata)


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
