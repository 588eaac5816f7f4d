"""Signals that ask the server to stop, as something that can be waited for.

A Python handler must not take a lock that the code it interrupts may hold, and every event and
queue has one. The interpreter itself can write each signal's number to a socket: that takes none.
"""

import select
import signal
import socket
from types import FrameType
from typing import Self

STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """SIGTERM and SIGINT, counted instead of obeyed while this context manager is entered.

    Only the main thread can enter it.
    """

    def __enter__(self) -> Self:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _ignore) for number in STOPPING}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._receiver.close()
        self._sender.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the next signal, at most so many seconds; say whether it came."""
        ready, _, _ = select.select([self._receiver], [], [], seconds)
        if ready:
            self._receiver.recv(1)
        return bool(ready)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: without a handler in Python the number would not be written."""
