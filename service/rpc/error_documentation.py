"""When a caller gets which status: the prose behind the table of errors in the reference.

The server does not read it. `tests.reference` writes the table from it, and a test provokes each
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
from service.rpc.errors import NEVER_RETRY, PUSHBACK, STATUSES, UnknownMethod


@dataclass(frozen=True)
class Situation:
    """What goes wrong, the error or the status that reports it, and the details with it.

    A status instead of an error is one that gRPC itself gives, or that of a fault of the server.
    """

    what: str
    reported_by: type[QuadnetError] | StatusCode
    details: str

    @property
    def code(self) -> StatusCode:
        """The status that the caller gets."""
        if isinstance(self.reported_by, StatusCode):
            return self.reported_by
        return STATUSES[self.reported_by].code


def _error_info(error: type[QuadnetError]) -> str:
    return f"`ErrorInfo` with the reason `{STATUSES[error].reason}`"


def _retry(error: type[QuadnetError]) -> str:
    return f"{_error_info(error)}; `RetryInfo`, and `{PUSHBACK}` for the retries of gRPC itself"


_VIOLATIONS = "`BadRequest` with the fields, the first 16 at most"
_INVALID = f"{_error_info(InvalidInput)}; {_VIOLATIONS}"
_ONLY_GRPC = "none: gRPC's own"
_UNSEEN = f"{_ONLY_GRPC}, which log and metrics count as CANCELLED"

SITUATIONS = (
    Situation(
        "unknown model, version or alias",
        NotFound,
        f"{_error_info(NotFound)}; the text lists what exists",
    ),
    Situation("x and y differ in length", InvalidInput, _INVALID),
    Situation("a number is NaN or infinite", InvalidInput, _INVALID),
    Situation("min_certainty is outside 0 to 1", InvalidInput, _INVALID),
    Situation(
        "more points than --max-points",
        InvalidInput,
        f"{_error_info(InvalidInput)}, and `max_points` in its metadata; {_VIOLATIONS}",
    ),
    Situation("another number of features than the model's", InvalidInput, _INVALID),
    Situation("ModelInfer: an input is missing, unexpected or there twice", InvalidInput, _INVALID),
    Situation(
        "ModelInfer: another datatype, shape or number of bytes than the input's",
        InvalidInput,
        _INVALID,
    ),
    Situation("ModelInfer: raw and typed numbers together, or neither", InvalidInput, _INVALID),
    Situation(
        "ModelInfer: an output that there is not, or twice; a bad class_count; shared memory",
        InvalidInput,
        _INVALID,
    ),
    Situation("an answer larger than --max-message-bytes", InvalidInput, _INVALID),
    Situation("bytes that are not the method's message", InvalidInput, _INVALID),
    Situation(
        "a request larger than --max-message-bytes",
        TooLarge,
        f"{_error_info(TooLarge)}; `{PUSHBACK}` of {NEVER_RETRY}, against retries",
    ),
    Situation(
        "a request larger still, by 4 MiB (by 1 MiB under a limit of 1 MiB)",
        StatusCode.RESOURCE_EXHAUSTED,
        _UNSEEN,
    ),
    Situation("a message that cannot be decompressed", StatusCode.INTERNAL, _UNSEEN),
    Situation(
        "more calls in progress than --max-calls; health is exempt", Overloaded, _retry(Overloaded)
    ),
    Situation(
        "over a second inside gRPC, where more calls wait than --max-calls",
        Overloaded,
        _retry(Overloaded),
    ),
    Situation(
        "a call that waits for its caller makes room for a new one", Overloaded, _retry(Overloaded)
    ),
    Situation(
        "the message does not arrive within --message-timeout",
        MessageTimeout,
        _error_info(MessageTimeout),
    ),
    Situation("the deadline has passed when work would start", DeadlinePassed, _ONLY_GRPC),
    Situation("the model cannot do this RPC", Unsupported, _error_info(Unsupported)),
    Situation("the version is not what was published", CorruptVersion, _error_info(CorruptVersion)),
    Situation(
        "no version loaded yet, or the registry cannot be read now",
        NotReady,
        _error_info(NotReady),
    ),
    Situation(
        "the registry does not answer in time, or there is too little memory for a version",
        NotReady,
        _retry(NotReady),
    ),
    Situation("64 calls already wait for the registry", Overloaded, _retry(Overloaded)),
    Situation("the server is stopping", NotReady, _retry(NotReady)),
    Situation("the server has stopped", StatusCode.UNAVAILABLE, _ONLY_GRPC),
    Situation(
        "the call was still in progress when the server's grace was over",
        StatusCode.UNAVAILABLE,
        _ONLY_GRPC,
    ),
    Situation(
        "no token, or a wrong one; health is exempt",
        Unauthenticated,
        _error_info(Unauthenticated),
    ),
    Situation(
        "no client certificate, or one that is refused",
        StatusCode.UNAVAILABLE,
        "none: TLS ends the connection before a call can begin",
    ),
    Situation(
        "an unknown service or method; log and metrics name the method `unknown`",
        UnknownMethod,
        f"{_error_info(UnknownMethod)}; the text lists what exists",
    ),
    Situation(
        "a fault of the server",
        StatusCode.INTERNAL,
        "none; the text names the request id under which the log has more",
    ),
)
