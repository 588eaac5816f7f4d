"""The errors of Quadnet. A class says what its caller can do about them.

    QuadnetError
    ├── InvalidInput         values of a request or a data file are wrong: correct them
    ├── ConfigurationError   a setting, an argument or a run file is wrong: change it
    ├── UnsuitableData       the rows do not allow what a run asks: give others, or split otherwise
    ├── FileUnusable         a file cannot be read or written, or holds something else: name another
    ├── OutputExists         a file to write exists already: overwrite it, or resume what was begun
    ├── ResumeRefused        what was begun is of other work, or damaged: begin again
    ├── TrainingFailed       training gave no usable network: change its parameters
    ├── GateFailed           a trained model was judged and not published: train a better one
    ├── NotComparable        two models have other features or classes: compare others
    ├── NotFound             no such model, version, alias, preset or ledger: name one that exists
    ├── Unsupported          this model cannot do this: use another model or another method
    │   └── MissingExtra     this installation lacks optional packages: install them
    ├── CorruptVersion       a published version is not what its manifest says: use another version
    ├── RegistryError        the registry's directory cannot be used: mend it, or name another
    │   └── Conflict         another process changed it first: look at the change, then try again
    ├── NotReady             nothing is loaded yet, or the server is stopping: try again later
    ├── Overloaded           more work than is allowed at a time: try again after `retry_after`
    ├── TooLarge             more bytes than the server reads: send less in one call
    ├── DeadlinePassed       the caller's deadline passed before the work began: allow more time
    ├── MessageTimeout       a request did not arrive completely in time: send faster, or less
    ├── Unauthenticated      the call has no accepted token: send one
    └── Unreachable          no server answered: start one, or name another address

Where a server raises an error that has a row in `service.rpc.errors`, its client raises the same.
The service adds three classes about its transport: CannotListen, UnknownMethod and Refused.

Messages state facts: what was expected, what was found, and where. They name no option of the
command line, which adds its own advice: `quadnet.cli.advice` has it by `ErrorKind`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

_MOST_NAMES, _LONGEST = 10, 80
"""How much a message repeats of what it speaks of: gRPC carries 8 KB of a status, in two forms."""


def listing(names: Sequence[str]) -> str:
    """Return the names for a message, or the first of them, each cut if it is long."""
    if not names:
        return "none"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(_cut, names[:_MOST_NAMES])) + more


def shorten(text: str) -> str:
    """Return a caller's own text for a message, quoted, and cut if it is long."""
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
    METRICS_ADDRESS = auto()
    PAGE_ADDRESS = auto()
    NO_SERVER = auto()
    NO_SERVER_OVER_TLS = auto()
    TOO_MANY_POINTS = auto()


class QuadnetError(Exception):
    """Base of every error that is a fact about the input or the world, not a fault of ours.

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

    `field` is a path such as ``x[17]``; `description` says what was expected and what came.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class InvalidInput(QuadnetError):
    """The caller's data is wrong.

    Only the first `MAX_VIOLATIONS` faults are carried, so that a reply stays small however
    large the batch; `total` counts them all.
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
    """The rows do not allow what a run asks: a class or a part has too few, or values too large."""


class FileUnusable(QuadnetError):
    """A file cannot be read or written, or does not hold what it must."""


class OutputExists(QuadnetError):
    """A file that was to be written exists already, finished or not."""


class ResumeRefused(QuadnetError):
    """What was begun cannot be resumed: it belongs to other work, or is damaged."""


class TrainingFailed(QuadnetError):
    """Training gave no usable network: it diverged, needs too much memory, or was killed."""


class NotComparable(QuadnetError):
    """Two models have other features or other classes."""


class NotFound(QuadnetError):
    """No such model, version, alias, preset or ledger; the message lists what exists."""


class Unsupported(QuadnetError):
    """The model cannot do what was asked of it."""


class MissingExtra(Unsupported):
    """Optional packages are not installed; the message names the extra that holds them."""


class NotReady(QuadnetError):
    """Nothing is loaded yet, the registry cannot be read now, or who was asked is about to stop.

    `retry_after` is in seconds: when to ask again; None if nobody knows.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Overloaded(QuadnetError):
    """There is more to do than is allowed at a time.

    `retry_after` is in seconds: when to ask again.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TooLarge(QuadnetError):
    """A request has more bytes than the server reads. The same request fails again."""


class DeadlinePassed(QuadnetError):
    """Whoever asked no longer waits for the answer."""


class MessageTimeout(QuadnetError):
    """A request message did not arrive completely in time."""


class Unauthenticated(QuadnetError):
    """Whoever asked did not show that they may."""


class CorruptVersion(QuadnetError):
    """A published version is not what its manifest says; it must not be served."""


class RegistryError(QuadnetError):
    """The registry's directory cannot be used as asked."""


class Conflict(RegistryError):
    """Somebody else changed the registry first, so that what was asked no longer fits it."""


class GateFailed(QuadnetError):
    """A trained model was judged, found wanting, and not published."""


class Unreachable(QuadnetError):
    """No server answered, or it gave no answer in time."""
