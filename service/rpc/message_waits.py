"""Calls that wait for a message from their caller.

Such a call does no work, so it holds no slot of `policies.admission`. What it may hold is memory:
the part of its message that has arrived. The number of such calls has a limit of its own, and the
call that has waited longest makes room for one that has just come.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quadnet.errors import MessageTimeout, QuadnetError
from service.rpc.call import Call, read_message
from service.rpc.policies.admission import refusal

_SWEEP_SECONDS = 0.25


@dataclass(slots=True)
class _Wait:
    """One call that waits, and the error that ends the wait early, if one does."""

    call: Call
    task: "asyncio.Task[Any]"
    since: float
    error: QuadnetError | None = field(default=None)


class MessageWaits:
    """The calls of one kind that wait for a message.

    Parameters
    ----------
    limit : int
        The most calls that may wait at a time.
    patience : float
        Seconds after which a waiting call may be ended to make room for another. While all are
        younger than that, a new call is refused instead.
    timeout : float or None
        Seconds in which a message has to arrive; None for calls that may be idle for any time.
    """

    def __init__(self, limit: int, *, patience: float, timeout: float | None) -> None:
        self._limit = limit
        self._patience = patience
        self._timeout = timeout
        # In the order in which the waits began.
        self._waits: dict[asyncio.Task[Any], _Wait] = {}
        self._ends_idle: Callable[[], QuadnetError] | None = None
        self._longest_idle = 0.0
        self._sweeping: asyncio.TimerHandle | None = None

    async def message(self, call: Call) -> object:
        """Return the call's next message, or `grpc.aio.EOF`.

        Raises
        ------
        Overloaded
            If too many calls wait, or this one has made room for another.
        MessageTimeout
            If the message does not arrive in time.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if len(self._waits) >= self._limit:
            self._make_room(call, now)
        task = asyncio.current_task()
        assert task is not None
        wait = self._waits[task] = _Wait(call, task, now)
        if self._sweeping is None:
            self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)
        try:
            return await read_message(call.context)
        except asyncio.CancelledError:
            if wait.error is None:
                raise
            task.uncancel()
            raise wait.error from None
        finally:
            del self._waits[task]

    def end_idle(self, seconds: float, error: Callable[[], QuadnetError]) -> None:
        """From now on, end each wait that has lasted for so many seconds, with this error."""
        self._longest_idle, self._ends_idle = seconds, error
        self._sweep()

    def close(self) -> None:
        """Stop looking at the waits: no call is left."""
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _make_room(self, call: Call, now: float) -> None:
        """End the longest wait, or refuse the new call if no wait is long enough."""
        oldest = next((wait for wait in self._waits.values() if wait.error is None), None)
        if oldest is None or now - oldest.since < self._patience:
            raise refusal(
                call,
                f"The server already receives {self._limit} messages, as many as it may at a time. "
                "Call again in a moment.",
            )
        _interrupt(
            oldest,
            refusal(
                oldest.call,
                f"{self._limit} calls waited for a message from their callers, as many as may. "
                "This one had waited longest and made room for a new one.",
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
            if self._ends_idle is not None and waited >= self._longest_idle:
                _interrupt(wait, self._ends_idle())
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
