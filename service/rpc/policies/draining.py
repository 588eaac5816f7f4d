"""Refuses new calls while the server is stopping."""

import asyncio

from quadnet.errors import NotReady
from service.rpc.call import Call
from service.rpc.open_calls import OpenCalls
from service.rpc.policies.policy import CallPolicy

_RETRY_SECONDS = 1.0


def stopping_error() -> NotReady:
    """Return the error for calls that arrive or are idle while the server is stopping."""
    return NotReady(
        "The server is stopping. Call another server, or retry in a moment.",
        retry_after=_RETRY_SECONDS,
    )


class Draining(CallPolicy):
    """Refuses calls with UNAVAILABLE once `drain` is called, and waits for the others to end.

    When gRPC itself is stopped, it ends with CANCELLED the calls that it has received and not yet
    passed to the server. Clients retry UNAVAILABLE, but not CANCELLED.

    Attributes
    ----------
    in_flight : OpenCalls
        The accepted calls that have not ended.
    """

    exempts_health = True

    def __init__(self) -> None:
        self._draining = False
        self.in_flight = OpenCalls()
        self._last_refusal = 0.0

    def begin(self, call: Call) -> None:
        """Count the call as in flight, or refuse it."""
        if self._draining:
            self._last_refusal = asyncio.get_running_loop().time()
            raise stopping_error()
        self.in_flight.add()

    async def drain(self) -> None:
        """Refuse new calls from now on, and wait until the accepted calls have ended."""
        self._draining = True
        await self.in_flight.wait_until_zero()

    async def wait_until_quiet(self, seconds: float, *, at_most: float) -> None:
        """Wait until no call has arrived for `seconds`, but not longer than `at_most` seconds."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while (now := loop.time()) < since + at_most:
            left = max(self._last_refusal, since) + seconds - now
            if left <= 0:
                return
            await asyncio.sleep(min(left, since + at_most - now))
