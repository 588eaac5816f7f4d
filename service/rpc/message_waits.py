"""Calls that wait for a message from their caller.

Such a call does no work, so it holds no slot of `policies.admission`. But it may hold memory: the
part of its message that has arrived. So the number of such calls has a separate limit. At the
limit, a new call evicts the one that has waited longest.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from quadnet.errors import MessageTimeout, QuadnetError
from service.rpc.call import Call
from service.rpc.policies.admission import overload_error

T = TypeVar("T")

_SWEEP_SECONDS = 0.25


@dataclass(slots=True)
class _Wait:
    """One waiting call, and the error that ends its wait early, if any."""

    call: Call
    task: "asyncio.Task[Any]"
    since: float
    error: QuadnetError | None = field(default=None)


class MessageWaits:
    """The waiting calls of one kind.

    Parameters
    ----------
    limit : int
        Maximum number of waiting calls.
    eviction_age : float
        Seconds after which a waiting call may be ended to make room for a new one. If no call has
        waited that long, the new call is refused instead.
    timeout : float or None
        Seconds within which a message must arrive; None for calls that may be idle without limit.
    """

    def __init__(self, limit: int, *, eviction_age: float, timeout: float | None) -> None:
        self._limit = limit
        self._eviction_age = eviction_age
        self._timeout = timeout
        # Ordered by start of the wait.
        self._waits: dict[asyncio.Task[Any], _Wait] = {}
        self._idle_error: Callable[[], QuadnetError] | None = None
        self._max_idle_seconds = 0.0
        self._sweeping: asyncio.TimerHandle | None = None

    async def receive(self, call: Call, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns: the call's next message. Must run in the call's own task.

        Raises
        ------
        Overloaded
            If too many calls wait, or this call is evicted.
        MessageTimeout
            If the message does not arrive in time.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if len(self._waits) >= self._limit:
            self._evict_longest_wait(call, now)
        task = asyncio.current_task()
        assert task is not None
        wait = self._waits[task] = _Wait(call, task, now)
        if self._sweeping is None:
            self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)
        try:
            return await read()
        except asyncio.CancelledError:
            if wait.error is None:
                raise
            task.uncancel()
            raise wait.error from None
        finally:
            del self._waits[task]

    def end_idle(self, seconds: float, error: Callable[[], QuadnetError]) -> None:
        """From now on, end each wait that has lasted this long, with this error."""
        self._max_idle_seconds, self._idle_error = seconds, error
        self._sweep()

    def close(self) -> None:
        """Stop checking the waits, after the last call."""
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _evict_longest_wait(self, call: Call, now: float) -> None:
        """End the longest wait, or refuse the new call if no wait has lasted long enough."""
        oldest = next((wait for wait in self._waits.values() if wait.error is None), None)
        if oldest is None or now - oldest.since < self._eviction_age:
            raise overload_error(
                call,
                f"The server already receives {self._limit} messages, its limit. Retry in a "
                "moment.",
            )
        _interrupt(
            oldest,
            overload_error(
                oldest.call,
                f"{self._limit} calls waited for a message from their callers, which is the limit. "
                "This call had waited longest and made room for a new one.",
            ),
        )

    def _sweep(self) -> None:
        """End the waits that have lasted too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for wait in list(self._waits.values()):
            waited = now - wait.since
            if wait.error is not None:
                continue
            if self._idle_error is not None and waited >= self._max_idle_seconds:
                _interrupt(wait, self._idle_error())
            elif self._timeout is not None and waited >= self._timeout:
                _interrupt(
                    wait,
                    MessageTimeout(
                        f"The request message did not arrive completely within {self._timeout:g} "
                        "seconds. Send it faster, or in several smaller calls."
                    ),
                )
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._waits else None


def _interrupt(wait: _Wait, error: QuadnetError) -> None:
    wait.error = error
    wait.task.cancel()
