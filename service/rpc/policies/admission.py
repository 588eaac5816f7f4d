"""Limits the number of calls in progress."""

import random

from quadnet.errors import Overloaded
from service.rpc.call import Call
from service.rpc.policies.policy import CallPolicy

LONGEST_WAIT = 1.0
"""Seconds that a call may wait inside gRPC while more calls than the limit wait there."""

_ANSWERED_EVERY = 4
"""Of the calls that have waited too long, every fourth is answered.

Refusing a small call costs half as much as answering it. If the server refused all of them, a load
that is too large even for refusals would leave no time for answers.
"""

_RETRY_SECONDS = 0.2

_ATTEMPTS = "grpc-previous-rpc-attempts"
"""Metadata key in which gRPC's retries send the number of earlier attempts."""

_COUNTS = ("1", "2", "3", "4")


class Admission(CallPolicy):
    """Refuses calls at once under overload: a queue would only delay the refusal.

    A call takes one of `limit` slots when its message has arrived and releases it when its answer
    is computed. While a call waits for a message or for its reader, it holds no slot.
    """

    exempts_health = True

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._working = 0
        self._too_late = 0

    def begin(self, call: Call) -> None:
        """Refuse the call, before its message is read, if no slot is free or it waited too long."""
        self._check_slots(call)
        if call.waited > LONGEST_WAIT and call.queued > self._limit:
            self._too_late += 1
            if self._too_late % _ANSWERED_EVERY:
                raise overload_error(
                    call,
                    f"The call has waited for {call.waited:.1f} seconds in the server's queue, "
                    f"where {call.queued} calls wait; the limit is {self._limit}. Retry in a "
                    "moment.",
                )

    def begin_work(self, call: Call) -> None:
        """Take a slot, or refuse the call if all slots are taken."""
        self._check_slots(call)
        self._working += 1

    def end_work(self, call: Call) -> None:
        """Release the slot."""
        self._working -= 1

    def _check_slots(self, call: Call) -> None:
        if self._working >= self._limit:
            raise overload_error(
                call,
                f"The server already answers {self._limit} calls, its limit. Retry in a moment.",
            )


def overload_error(call: Call, message: str) -> Overloaded:
    """Return the error for a call that is refused because of overload."""
    attempts = str(call.metadata.get(_ATTEMPTS, ""))
    return Overloaded(message, retry_after=_retry_delay(attempts))


def _retry_delay(attempts: str) -> float:
    """Return the seconds until the next attempt: doubled at each attempt, and randomized.

    Clients wait exactly this long. Without the randomness, all refused calls would return at the
    same time.
    """
    doublings = int(attempts) if attempts in _COUNTS else 0
    spread = random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
    return _RETRY_SECONDS * 2.0**doublings * spread
