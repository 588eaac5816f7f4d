"""No new calls for a server that is about to stop."""

import asyncio

from quadnet.errors import NotReady
from service.call import Call
from service.policies.policy import Policy

_SECONDS_TO_STAY_AWAY = 1.0


class Draining(Policy):
    """Turns calls away once `drain` has been asked for, and knows when the others have ended.

    gRPC itself, told to stop, ends with CANCELLED what it has received and not yet handed over.
    UNAVAILABLE is what clients try again, elsewhere or later.

    Attributes
    ----------
    in_flight : int
        How many calls have begun and not ended.
    """

    exempts_health = True

    def __init__(self) -> None:
        self._draining = False
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, call: Call) -> None:
        """Count the call in, or turn it away."""
        if self._draining:
            raise NotReady(
                "The server is stopping. Ask another one, or ask again in a moment.",
                retry_after=_SECONDS_TO_STAY_AWAY,
            )
        self.in_flight += 1
        self._idle.clear()

    def end(self, call: Call) -> None:
        """Count the call out."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def drain(self) -> None:
        """Turn new calls away from now on, and wait until those that had begun have ended."""
        self._draining = True
        await self._idle.wait()
