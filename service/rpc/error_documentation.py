"""The situations in which a caller gets each status: the table of errors in the reference.

The server does not use it. `tests.reference` generates the table from it, and a test creates each
situation and compares what the caller gets.
"""

from dataclasses import dataclass

from grpc import StatusCode

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
from service.rpc.errors import (
    HTTP_STATUSES,
    NEVER_RETRY,
    PUSHBACK,
    STATUSES,
    UnknownMethod,
    UnknownPath,
    UnsupportedContent,
    WrongHttpMethod,
)

BOTH, GRPC, HTTP = ("grpc", "http"), ("grpc",), ("http",)


@dataclass(frozen=True)
class Situation:
    """A situation, the error or the status that reports it, and the details of the status.

    It has a status instead of an error if gRPC itself sets the status, or the server has a fault.
    `transports` are those over which the situation, or its status, occurs.
    """

    what: str
    reported_by: type[QuadnetError] | StatusCode
    details: str
    transports: tuple[str, ...] = BOTH

    @property
    def code(self) -> StatusCode:
        """The status that the caller gets."""
        if isinstance(self.reported_by, StatusCode):
            return self.reported_by
        return STATUSES[self.reported_by].code

    @property
    def http(self) -> int | None:
        """The HTTP status that the caller gets; None if it gets no answer over HTTP."""
        if "http" not in self.transports:
            return None
        if isinstance(self.reported_by, StatusCode):
            return HTTP_STATUSES[self.reported_by]
        return STATUSES[self.reported_by].http


def _error_info(error: type[QuadnetError]) -> str:
    return f"`ErrorInfo` with the reason `{STATUSES[error].reason}`"


def _retry(error: type[QuadnetError]) -> str:
    return f"{_error_info(error)}; `RetryInfo`, and `{PUSHBACK}` for the retries of gRPC itself"


_VIOLATIONS = "`BadRequest` with the fields, the first 16 at most"
_INVALID = f"{_error_info(InvalidInput)}; {_VIOLATIONS}"
_ONLY_GRPC = "no details: the status comes from gRPC"
_UNSEEN = f"{_ONLY_GRPC}; the log and the metrics have CANCELLED"

SITUATIONS = (
    Situation(
        "unknown model, version or alias",
        NotFound,
        f"{_error_info(NotFound)}; the text lists what exists",
    ),
    Situation("x and y differ in length", InvalidInput, _INVALID),
    Situation("a number is NaN or infinite", InvalidInput, _INVALID),
    Situation("min_certainty is not from 0 to 1", InvalidInput, _INVALID),
    Situation(
        "more points than --max-points",
        InvalidInput,
        f"{_error_info(InvalidInput)}, and `max_points` in its metadata; {_VIOLATIONS}",
    ),
    Situation("the number of features is not that of the model", InvalidInput, _INVALID),
    Situation("ModelInfer: an input is missing, unexpected or duplicated", InvalidInput, _INVALID),
    Situation(
        "ModelInfer: the datatype, shape or number of bytes is not that of the input",
        InvalidInput,
        _INVALID,
    ),
    Situation(
        "ModelInfer: a gap or a value that the column does not accept", InvalidInput, _INVALID
    ),
    Situation("ModelInfer: both raw and typed numbers, or neither", InvalidInput, _INVALID),
    Situation(
        "ModelInfer: an unknown or duplicated output, an invalid class_count, or shared memory",
        InvalidInput,
        _INVALID,
    ),
    Situation("an answer larger than --max-message-bytes", InvalidInput, _INVALID),
    Situation("bytes that are not a message of the method", InvalidInput, _INVALID),
    Situation(
        "a request larger than --max-message-bytes",
        TooLarge,
        f"{_error_info(TooLarge)}; `{PUSHBACK}` of {NEVER_RETRY}, which prevents retries",
    ),
    Situation(
        "a request over --max-message-bytes by more than 4 MiB (1 MiB for limits below 1 MiB)",
        StatusCode.RESOURCE_EXHAUSTED,
        _UNSEEN,
        GRPC,
    ),
    Situation("a message that cannot be decompressed", StatusCode.INTERNAL, _UNSEEN, GRPC),
    Situation(
        "more calls in progress than --max-calls; health checks are exempt",
        Overloaded,
        _retry(Overloaded),
    ),
    Situation(
        "a call that waited inside gRPC for more than a second, with more calls than --max-calls",
        Overloaded,
        _retry(Overloaded),
        GRPC,
    ),
    Situation(
        "a call that waits for its caller and makes room for a new one",
        Overloaded,
        _retry(Overloaded),
    ),
    Situation(
        "the message does not arrive within --message-timeout",
        MessageTimeout,
        _error_info(MessageTimeout),
    ),
    Situation(
        "the deadline passed before the work started",
        DeadlinePassed,
        f"over gRPC the status comes from gRPC; over HTTP {_error_info(DeadlinePassed)}",
    ),
    Situation(
        "the model does not support this RPC, or predicts no single class of several",
        Unsupported,
        _error_info(Unsupported),
    ),
    Situation("the files of the version are damaged", CorruptVersion, _error_info(CorruptVersion)),
    Situation(
        "no version is loaded yet, or the registry cannot be read at the moment",
        NotReady,
        _error_info(NotReady),
    ),
    Situation(
        "the registry does not respond in time, or there is too little memory for a version",
        NotReady,
        _retry(NotReady),
    ),
    Situation("64 calls already wait for the registry", Overloaded, _retry(Overloaded)),
    Situation("the server is stopping", NotReady, _retry(NotReady)),
    Situation("the server has stopped", StatusCode.UNAVAILABLE, _ONLY_GRPC, GRPC),
    Situation(
        "the call was still in progress at the end of the server's grace period",
        StatusCode.UNAVAILABLE,
        _ONLY_GRPC,
        GRPC,
    ),
    Situation(
        "no token, or an invalid one; health checks are exempt",
        Unauthenticated,
        _error_info(Unauthenticated),
    ),
    Situation(
        "no client certificate, or an invalid one",
        StatusCode.UNAVAILABLE,
        "no details: TLS ends the connection before the call starts",
        GRPC,
    ),
    Situation(
        "an unknown service or method; the log and the metrics name the method `unknown`",
        UnknownMethod,
        f"{_error_info(UnknownMethod)}; the text lists what exists",
        GRPC,
    ),
    Situation(
        "an unknown path; the log and the metrics name the method `unknown`",
        UnknownPath,
        f"{_error_info(UnknownPath)}; the text lists what exists",
        HTTP,
    ),
    Situation(
        "another HTTP method than that of the path",
        WrongHttpMethod,
        f"{_error_info(WrongHttpMethod)}; the header Allow has the methods",
        HTTP,
    ),
    Situation(
        "a body of another type, or in an unknown encoding",
        UnsupportedContent,
        _error_info(UnsupportedContent),
        HTTP,
    ),
    Situation("a body that cannot be decompressed", InvalidInput, _INVALID, HTTP),
    Situation("X-Request-Timeout is not a number of seconds", InvalidInput, _INVALID, HTTP),
    Situation("both Content-Length and Transfer-Encoding", InvalidInput, _INVALID, HTTP),
    Situation(
        "the deadline passed during the computation",
        DeadlinePassed,
        f"over gRPC the status comes from gRPC; over HTTP {_error_info(DeadlinePassed)}",
        BOTH,
    ),
    Situation(
        "bytes that are not HTTP/1.1, or headers of more than 16 KiB",
        StatusCode.INVALID_ARGUMENT,
        "no details: the connection is closed, and the log has no line",
        HTTP,
    ),
    Situation(
        "a fault of the server",
        StatusCode.INTERNAL,
        "no details; the text has the request id of the log line with the cause",
    ),
)
