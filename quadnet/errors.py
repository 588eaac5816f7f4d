"""The errors of Quadnet. Each class has one remedy for its caller.

    QuadnetError
    ├── InvalidInput         values of a request or a data file are wrong: correct them
    ├── ConfigurationError   a setting, an argument or a run file is wrong: change it
    ├── UnsuitableData       the rows do not fit the run: use other rows or another split
    ├── FileUnusable         a file cannot be read or written, or has other content: use another
    ├── OutputExists         the output file exists already: overwrite it, or resume the work
    ├── ResumeRefused        the unfinished work differs from this one, or is damaged: start again
    ├── TrainingFailed       training produced no usable network: change its parameters
    ├── GateFailed           a trained model failed its gate and was not published: improve it
    ├── NotComparable        two models have different features or classes: compare others
    ├── NotFound             no such model, version, alias, preset or ledger: name one that exists
    ├── Unsupported          this model cannot do this: use another model or another method
    │   └── MissingExtra     this installation lacks optional packages: install them
    ├── CorruptVersion       a published version does not match its manifest: use another version
    ├── RegistryError        the registry's directory cannot be used: correct it, or use another
    │   └── Conflict         another process changed it first: review the change, then try again
    ├── NotReady             no model is loaded yet, or the server is stopping: try again later
    ├── Overloaded           more work than the server allows: try again after `retry_after`
    ├── TooLarge             more bytes than the server accepts: send less in one call
    ├── DeadlinePassed       the caller's deadline passed before the work began: allow more time
    ├── MessageTimeout       a request did not arrive completely in time: send faster, or less
    ├── Unauthenticated      the call has no accepted token: send one
    └── Unreachable          no server answered: start one, or use another address

If a server raises an error with a row in `service.rpc.errors`, its client raises the same class.
The service adds three classes for its transport: CannotListen, UnknownMethod and Refused.

Messages state facts: what was expected, what was found, and where. They do not name options of the
command line, which adds its advice by `ErrorKind`: see `quadnet.cli.advice`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

_MOST_NAMES, _LONGEST = 10, 80
"""Limits for names in messages: gRPC transmits 8 KB of a status, and the text twice."""


def listing(names: Sequence[str]) -> str:
    """Return the first names for a message, each shortened if it is long."""
    if not names:
        return "none"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(_cut, names[:_MOST_NAMES])) + more


def shorten(text: str) -> str:
    """Return the text of a caller for a message, quoted, and shortened if it is long."""
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


Facts = Mapping[str, int | str]


class ErrorKind(Enum):
    """Which of several situations of its class an error reports.

    Only situations that a program treats differently have a kind: the command line has advice on
    each. So no program needs to read a message.
    """

    REGISTRY_INACCESSIBLE = auto()
    REGISTRY_NOT_EMPTY = auto()
    REGISTRY_WITHOUT_LINKS = auto()
    RUN_FILE_CHANGE = auto()
    COLUMN_EXISTS = auto()
    OUTPUT_EXISTS = auto()
    OUTPUT_UNFINISHED = auto()
    OUTPUT_INTERRUPTED = auto()
    OUTPUT_NOT_RESUMABLE = auto()
    LEDGER_EXISTS = auto()
    LEDGER_OF_OTHER_SEARCH = auto()
    LEDGER_UNWRITABLE = auto()
    LEDGER_UNKNOWN = auto()
    LEDGER_LINE_DAMAGED = auto()
    FIT_PROCESS_KILLED = auto()
    GATE_NOT_PASSED = auto()
    NOT_PROMOTED = auto()
    SERVER_ADDRESS = auto()
    HTTP_ADDRESS = auto()
    METRICS_ADDRESS = auto()
    PAGE_ADDRESS = auto()
    NO_SERVER = auto()
    NO_SERVER_OVER_TLS = auto()
    TOO_MANY_POINTS = auto()
    MODEL_NOT_TRUSTED = auto()


class QuadnetError(Exception):
    """Base of all errors with a cause in the input or the environment, not in Quadnet.

    Parameters
    ----------
    message : str
    kind : ErrorKind, optional
    facts : mapping, optional
        Values in the message that a program may need, by name.
    """

    def __init__(
        self, message: str, *, kind: ErrorKind | None = None, facts: Facts | None = None
    ) -> None:
        self.kind, self.facts = kind, dict(facts or {})
        super().__init__(message)


@dataclass(frozen=True)
class Violation:
    """One fault of one field of the input.

    `field` is a path such as ``x[17]``. `description` has the expectation and the value found.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class InvalidInput(QuadnetError):
    """The caller's data is wrong.

    `violations` has only the first `MAX_VIOLATIONS` faults, so that a reply stays small for a batch
    of any size. `total` counts all faults.
    """

    MAX_VIOLATIONS = 16

    def __init__(
        self,
        violations: Sequence[Violation],
        total: int | None = None,
        *,
        kind: ErrorKind | None = None,
        facts: Facts | None = None,
    ) -> None:
        self.violations = tuple(violations[: self.MAX_VIOLATIONS])
        self.total = len(violations) if total is None else total
        more = self.total - 1
        suffix = "" if not more else f" (and {more} more {'fault' if more == 1 else 'faults'})"
        super().__init__(f"{self.violations[0]}{suffix}", kind=kind, facts=facts)


class ConfigurationError(QuadnetError):
    """A setting, an argument or a run file is wrong."""


class UnsuitableData(QuadnetError):
    """The rows do not fit the run: too few rows of a class or part, or too large values."""


class FileUnusable(QuadnetError):
    """A file cannot be read or written, or does not have the expected content."""


class OutputExists(QuadnetError):
    """The output file exists already, complete or partial."""


class ResumeRefused(QuadnetError):
    """Unfinished work cannot be resumed: it has other settings, or is damaged."""


class TrainingFailed(QuadnetError):
    """Training produced no usable network: it diverged, needs too much memory, or was killed."""


class NotComparable(QuadnetError):
    """Two models have different features or different classes."""


class NotFound(QuadnetError):
    """No such model, version, alias, preset or ledger; the message lists what exists."""


class Unsupported(QuadnetError):
    """The model does not support the operation."""


class MissingExtra(Unsupported):
    """Optional packages are not installed; the message names the extra that holds them."""


class NotReady(QuadnetError):
    """No model is loaded yet, the registry cannot be read now, or the server is stopping.

    `retry_after` is the time to wait before a retry, in seconds; None if it is unknown.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Overloaded(QuadnetError):
    """The server has as much work as it allows at a time.

    `retry_after` is the time to wait before a retry, in seconds.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TooLarge(QuadnetError):
    """A request has more bytes than the server accepts. A retry fails too."""


class DeadlinePassed(QuadnetError):
    """The caller's deadline passed before the work began."""


class MessageTimeout(QuadnetError):
    """A request message did not arrive completely in time."""


class Unauthenticated(QuadnetError):
    """The call has no accepted token."""


class CorruptVersion(QuadnetError):
    """A published version does not match its manifest, and must not be served."""


class RegistryError(QuadnetError):
    """The registry's directory cannot be used."""


class Conflict(RegistryError):
    """Another process changed the registry first, so that this change no longer applies."""


class GateFailed(QuadnetError):
    """A trained model failed its gate and was not published."""


class Unreachable(QuadnetError):
    """No server answered, or not in time."""
