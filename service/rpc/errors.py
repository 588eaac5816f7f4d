"""One table from what goes wrong to the status that a caller sees.

Everything outside the table is a fault of ours: the caller gets a fixed text with a request id,
the log gets the rest. The table in docs/reference.md is made from this one.
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
"""In an ErrorInfo's metadata: how many faults the input has, of which the first are named."""

_DETAILS = "grpc-status-details-bin"
_PUSHBACK = "grpc-retry-pushback-ms"
_NEVER = "-1"
"""A pushback that tells gRPC not to retry the call."""

_MOST_TEXT, _MOST_FIELD = 1000, 200
_MOST_VIOLATIONS = 2000
"""Bytes. Clients accept 8 KiB of metadata, in which the text is three times as long where it is not
ASCII, and stands in the details again; those are a third longer in base64.
"""

_CUT = "…"

_log = structlog.get_logger(__name__)


class UnknownMethod(QuadnetError):
    """The server has no such service or method.

    Parameters
    ----------
    services : iterable of str
        Those that it has.
    """

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__(
            f"The server has no such service or method. Its services: {', '.join(services)}."
        )


@dataclass(frozen=True)
class Situation:
    """What goes wrong, the error that says so, and the status that it becomes.

    An error of None is gRPC's own, which comes without details.
    """

    what: str
    error: type[Exception] | None
    code: grpc.StatusCode
    details: str


_ErrorInfo = "`ErrorInfo` with the reason"
_Violations = f"{_ErrorInfo}; `BadRequest` with the fields, the first 16 at most"
_Retry = f"{_ErrorInfo}; `RetryInfo`, and `{_PUSHBACK}` for the retries of gRPC itself"
_Code = grpc.StatusCode

TABLE = (
    Situation("unknown model, version or alias", NotFound, _Code.NOT_FOUND,
              f"{_ErrorInfo}; the text says what exists"),
    Situation("x and y differ in length", InvalidInput, _Code.INVALID_ARGUMENT, _Violations),
    Situation("a number is NaN or infinite", InvalidInput, _Code.INVALID_ARGUMENT, _Violations),
    Situation("min_certainty is outside 0 to 1", InvalidInput, _Code.INVALID_ARGUMENT, _Violations),
    Situation("more points than --max-points", InvalidInput, _Code.INVALID_ARGUMENT, _Violations),
    Situation("another number of features than the model's", InvalidInput,
              _Code.INVALID_ARGUMENT, _Violations),
    Situation("ModelInfer: an input is missing, unexpected or there twice", InvalidInput,
              _Code.INVALID_ARGUMENT, _Violations),
    Situation("ModelInfer: another datatype, shape or number of bytes than the input's",
              InvalidInput, _Code.INVALID_ARGUMENT, _Violations),
    Situation("ModelInfer: raw and typed numbers together, or neither", InvalidInput,
              _Code.INVALID_ARGUMENT, _Violations),
    Situation("ModelInfer: an output that there is not, or twice; a bad class_count; shared memory",
              InvalidInput, _Code.INVALID_ARGUMENT, _Violations),
    Situation("an answer larger than --max-message-bytes", InvalidInput, _Code.INVALID_ARGUMENT,
              _Violations),
    Situation("bytes that are not the method's message", InvalidInput, _Code.INVALID_ARGUMENT,
              _Violations),
    Situation("a request larger than --max-message-bytes", TooLarge, _Code.RESOURCE_EXHAUSTED,
              f"{_ErrorInfo}; `{_PUSHBACK}` of {_NEVER}, against retries"),
    Situation("a request larger still, by 4 MiB (by 1 MiB under a limit of 1 MiB)", None,
              _Code.RESOURCE_EXHAUSTED,
              "none: gRPC's own, which log and metrics count as CANCELLED"),
    Situation("a message that cannot be decompressed", None, _Code.INTERNAL,
              "none: gRPC's own, which log and metrics count as CANCELLED"),
    Situation("more calls in progress than --max-calls; health is exempt", Overloaded,
              _Code.RESOURCE_EXHAUSTED, _Retry),
    Situation("over a second inside gRPC, where more calls wait than --max-calls",
              Overloaded, _Code.RESOURCE_EXHAUSTED, _Retry),
    Situation("a call that waits for its caller makes room for a new one", Overloaded,
              _Code.RESOURCE_EXHAUSTED, _Retry),
    Situation("the message does not arrive within --message-timeout", MessageTimeout,
              _Code.DEADLINE_EXCEEDED, _ErrorInfo),
    Situation("the deadline has passed when work would start", DeadlinePassed,
              _Code.DEADLINE_EXCEEDED, "none: gRPC's own"),
    Situation("the model cannot do this RPC", Unsupported, _Code.FAILED_PRECONDITION, _ErrorInfo),
    Situation("the version is not what was published", CorruptVersion, _Code.FAILED_PRECONDITION,
              _ErrorInfo),
    Situation("no version loaded yet, or the registry cannot be read now", NotReady,
              _Code.UNAVAILABLE, _ErrorInfo),
    Situation("the registry does not answer in time, or there is too little memory for a version",
              NotReady, _Code.UNAVAILABLE, _Retry),
    Situation("64 calls already wait for the registry", Overloaded, _Code.RESOURCE_EXHAUSTED,
              _Retry),
    Situation("the server is stopping", NotReady, _Code.UNAVAILABLE, _Retry),
    Situation("the server has stopped", None, _Code.UNAVAILABLE, "none: gRPC's own"),
    Situation("the call was still in progress when the server's grace was over", None,
              _Code.UNAVAILABLE, "none: gRPC's own"),
    Situation("no token, or a wrong one; health is exempt", Unauthenticated, _Code.UNAUTHENTICATED,
              _ErrorInfo),
    Situation("no client certificate, or one that is refused", None, _Code.UNAVAILABLE,
              "none: TLS ends the connection before a call can begin"),
    Situation("an unknown service or method; log and metrics name the method `unknown`",
              UnknownMethod, _Code.UNIMPLEMENTED, f"{_ErrorInfo}; the text says what exists"),
    Situation("a fault of the server", Exception, _Code.INTERNAL,
              "none; the text names the request id under which the log says more"),
)  # fmt: skip

CODES = {row.error: row.code for row in TABLE}


def to_status(
    error: Exception, method: str, request_id: str
) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """Return what a caller may see of this error: its code, and the whole as google.rpc.Status."""
    code = CODES.get(type(error))
    if code is None:
        _log.error("failed", method=method, request_id=request_id, exc_info=error)
        code = CODES[Exception]
        text = f"The server failed. Its log has more under the request id {request_id}."
        return code, status_pb2.Status(code=_number(code), message=text)
    info = error_details_pb2.ErrorInfo(reason=_reason(type(error)), domain=DOMAIN)
    details: list[Message] = [info]
    if isinstance(error, InvalidInput):
        info.metadata[FAULTS] = str(error.total)
        details.append(_bad_request(error))
    if isinstance(error, Overloaded | NotReady) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1e3))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return code, status_pb2.Status(
        code=_number(code),
        message=_cut(str(error), _MOST_TEXT),
        details=[_pack(detail) for detail in details],
    )


def _bad_request(error: InvalidInput) -> error_details_pb2.BadRequest:
    """Return the violations, as far as there is room for them."""
    bad_request = error_details_pb2.BadRequest()
    room = _MOST_VIOLATIONS
    for violation in error.violations:
        field = _cut(violation.field, _MOST_FIELD)
        description = _cut(violation.description, _MOST_TEXT)
        room -= len(field.encode()) + len(description.encode())
        if room < 0:
            break
        bad_request.field_violations.add(field=field, description=description)
    return bad_request


def _cut(text: str, n_bytes: int) -> str:
    """Return the text if it has at most so many bytes, else its beginning."""
    content = text.encode()
    if len(content) <= n_bytes:
        return text
    return f"{content[: n_bytes - len(_CUT.encode())].decode(errors='ignore')}{_CUT}"


def trailing_metadata(
    error: Exception, status: status_pb2.Status
) -> tuple[tuple[str, str | bytes], ...]:
    """Return what travels beside the code and the text: details, and when to retry."""
    metadata: list[tuple[str, str | bytes]] = [(_DETAILS, status.SerializeToString())]
    if isinstance(error, Overloaded | NotReady) and error.retry_after is not None:
        metadata.append((_PUSHBACK, str(int(error.retry_after * 1e3))))
    if isinstance(error, TooLarge):
        metadata.append((_PUSHBACK, _NEVER))
    return tuple(metadata)


def reasons() -> dict[str, type[QuadnetError]]:
    """Return each error of the table by the reason that an ErrorInfo gives for it."""
    return {
        _reason(row.error): row.error
        for row in TABLE
        if row.error is not None and issubclass(row.error, QuadnetError)
    }


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number


def _reason(error: type[Exception]) -> str:
    """Spell the class's name as google.rpc.ErrorInfo spells reasons: INVALID_INPUT."""
    name = error.__name__
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
