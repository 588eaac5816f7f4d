"""How many calls may be in flight."""

import random

from quadnet.errors import Overloaded
from service import metrics
from service.call import Call
from service.policies.policy import Policy


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
                # Each its own, or all who were refused would come back together.
                retry_after=random.uniform(0.05, 0.2),  # noqa: S311 - nobody gains by guessing it
            )
        self._in_flight += 1

    def end(self, call: Call) -> None:
        """Count the call out."""
        self._in_flight -= 1
