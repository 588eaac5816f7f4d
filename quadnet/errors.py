"""What can go wrong, said once, in words that name no transport.

    QuadnetError
    ├── InvalidInput        the caller's data is wrong; carries one Violation per fault
    ├── InvalidSetting      a configuration file, flag or parameter is wrong
    ├── NotFound            no such model, version, alias or preset
    ├── Unsupported         this model cannot do what was asked of it
    │   └── MissingExtra    this installation lacks optional packages
    ├── NotReady            nothing is loaded yet, or who was asked is about to stop
    ├── Overloaded          there is more to do than is allowed at a time
    ├── TooLarge            a request has more bytes than the server reads
    ├── DeadlinePassed      whoever asked no longer waits for the answer
    ├── Unauthenticated     whoever asked did not show that they may
    ├── CorruptVersion      a published version is not what its manifest says
    ├── RegistryError       the registry's directory cannot be used as asked
    │   └── Conflict        somebody else changed it first
    ├── GateFailed          a trained model was judged and not published
    └── Unreachable         no server answered

The service adds three of its own, which speak of its transport: CannotListen, UnknownMethod and
Refused.
Every message stands alone: what was expected, what came, where, and what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


class QuadnetError(Exception):
    """Base of every error that is a fact about the input or the world, not a fault of ours."""


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

    def __init__(self, violations: Sequence[Violation], total: int | None = None) -> None:
        self.violations = tuple(violations[: self.MAX_VIOLATIONS])
        self.total = len(violations) if total is None else total
        more = self.total - 1
        suffix = "" if not more else f" (and {more} more {'fault' if more == 1 else 'faults'})"
        super().__init__(f"{self.violations[0]}{suffix}")


class InvalidSetting(QuadnetError):
    """A configuration file, a flag or a parameter is wrong."""


class NotFound(QuadnetError):
    """No such model, version, alias or preset; the message lists what exists."""


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
