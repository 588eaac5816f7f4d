"""No new calls for a server that is about to stop."""

import asyncio

from quadnet.errors import NotReady
from service.rpc.call import Call
from service.rpc.open_calls import OpenCalls
from service.rpc.policies.policy import Policy

_SECONDS_TO_STAY_AWAY = 1.0


def stopping() -> NotReady:
    """Return the error for a call that comes too late, or waits for its caller meanwhile."""
    return NotReady(
        "The server is stopping. Call another one, or call again in a moment.",
        retry_after=_SECONDS_TO_STAY_AWAY,
    )


class Draining(Policy):
    """Refuses calls once `drain` has been called, and knows when the others have ended.

    gRPC itself, told to stop, ends with CANCELLED what it has received and not yet handed over.
    UNAVAILABLE is what clients try again, elsewhere or later.

    Attributes
    ----------
    in_flight : OpenCalls
        The calls that were not refused and have not ended.
    """

    exempts_health = True

    def __init__(self) -> None:
        self._draining = False
        self.in_flight = OpenCalls()
        self._last_refusal = 0.0

    def begin(self, call: Call) -> None:
        """Count the call in, or refuse it."""
        if self._draining:
            self._last_refusal = asyncio.get_running_loop().time()
            raise stopping()
        self.in_flight.add()

    async def drain(self) -> None:
        """Refuse new calls from now on, and wait until those that had begun have ended."""
        self._draining = True
        await self.in_flight.wait_for_none()

    async def quiet(self, seconds: float, *, at_most: float) -> None:
        """Go on refusing until no call has come for so many seconds."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while (now := loop.time()) < since + at_most:
            left = max(self._last_refusal, since) + seconds - now
            if left <= 0:
                return
            await asyncio.sleep(min(left, since + at_most - now))
