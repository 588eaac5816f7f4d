"""How many calls may be in flight."""

import random

from quadnet.errors import Overloaded
from service import metrics
from service.call import Call
from service.policies.policy import Policy

_SECONDS_TO_STAY_AWAY = 0.2

_ATTEMPTS = "grpc-previous-rpc-attempts"
"""The metadata in which gRPC's own retries say how often the call was made before."""

_COUNTS = ("1", "2", "3", "4")


class Admission(Policy):
    """Refuses calls beyond `limit` at a time, at once: who waits in a queue may wait in vain."""

    exempts_health = True

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0

    def begin(self, call: Call) -> None:
        """Count the call in, or refuse it."""
        if self._in_flight >= self._limit:
            metrics.SHED.inc()
            raise Overloaded(
                f"The server already answers {self._limit} calls, as many as it may at a time. "
                "Ask again in a moment.",
                retry_after=_seconds_to_stay_away(str(call.metadata.get(_ATTEMPTS, ""))),
            )
        self._in_flight += 1

    def end(self, call: Call) -> None:
        """Count the call out."""
        self._in_flight -= 1


def _seconds_to_stay_away(attempts: str) -> float:
    """Return twice as many as at the attempt before: what we say is what clients wait.

    For each another number, or all who were refused would come back together.
    """
    doublings = int(attempts) if attempts in _COUNTS else 0
    spread = random.uniform(0.5, 1.5)  # noqa: S311 - nobody gains by guessing it
    return _SECONDS_TO_STAY_AWAY * 2.0**doublings * spread
