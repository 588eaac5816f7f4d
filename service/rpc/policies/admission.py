"""How many calls may be in progress at a time."""

import random

from quadnet.errors import Overloaded
from service.rpc.call import Call
from service.rpc.policies.policy import Policy

LONGEST_WAIT = 1.0
"""Seconds that a call may wait inside gRPC while more calls than the limit wait there."""

_ANSWERED_NEVERTHELESS = 4
"""Of the calls that have waited for too long, one of so many is answered.

To refuse a small call costs half of what it costs to answer it. If the server refused all of them,
a load that is too large even for refusing would leave no time for answers.
"""

_SECONDS_TO_STAY_AWAY = 0.2

_ATTEMPTS = "grpc-previous-rpc-attempts"
"""The metadata in which gRPC's own retries say how often the call was made before."""

_COUNTS = ("1", "2", "3", "4")


class Admission(Policy):
    """Refuses calls at once when there is too much to do: a queue would only delay the refusal.

    A call takes one of `limit` slots when its message is there and gives it back with the answer.
    While a call waits, for a message or for a reader, it has no slot.
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
            if self._too_late % _ANSWERED_NEVERTHELESS:
                raise refusal(
                    call,
                    f"The call has waited for {call.waited:.1f} seconds in the server's queue, "
                    f"where {call.queued} others wait; {self._limit} may. Call again in a moment.",
                )

    def begin_work(self, call: Call) -> None:
        """Take a slot, or refuse the call if there is none."""
        self._check_slots(call)
        self._working += 1

    def end_work(self, call: Call) -> None:
        """Give the slot back."""
        self._working -= 1

    def _check_slots(self, call: Call) -> None:
        if self._working >= self._limit:
            raise refusal(
                call,
                f"The server already answers {self._limit} calls, as many as it may at a time. "
                "Call again in a moment.",
            )


def refusal(call: Call, message: str) -> Overloaded:
    """Return the error for a call that is refused because there is too much to do."""
    attempts = str(call.metadata.get(_ATTEMPTS, ""))
    return Overloaded(message, retry_after=_seconds_to_stay_away(attempts))


def _seconds_to_stay_away(attempts: str) -> float:
    """Return twice as many as at the attempt before: what we say is what clients wait.

    For each another number, or all who were refused would come back together.
    """
    doublings = int(attempts) if attempts in _COUNTS else 0
    spread = random.uniform(0.5, 1.5)  # noqa: S311 - nobody gains by guessing it
    return _SECONDS_TO_STAY_AWAY * 2.0**doublings * spread
