"""Reads of the registry in daemon threads, with a limit on their number and on the wait.

A file system can fail, and it can also hang: a network mount whose server is gone, or a FUSE mount
whose daemon is stopped. A thread that waits for it cannot be interrupted. So:

- The threads are daemon threads. `asyncio.to_thread` was rejected: its threads are joined when the
  event loop closes and when the process exits, so a hanging file system would block the exit.
- A caller waits for a limited time. The thread holds its place until it ends. Once all places are
  held by reads that have exceeded the time limit, further reads are refused at once.
- A read without callers is not started, or stops at its next step.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from quadnet.errors import NotReady, Overloaded

T = TypeVar("T")

CheckCallers = Callable[[], None]
"""Passed to a read, which calls it between two steps. Raises ReadAbandoned if no caller waits."""

_MAX_CALLERS = 64
"""Maximum number of waiting calls. Each of them holds its message, but no slot of Admission."""

_SECONDS_TO_RETRY = 1.0


class ReadAbandoned(Exception):
    """Raised inside a read when its last caller has left."""


def run_in_daemon_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a new daemon thread; return a future of its result."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        # The future is cancelled if the server no longer waits for the result.
        if not future.done():
            settle()

    def run() -> None:
        settle: Callable[[], None]
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised where the future is awaited
            settle = _error_setter(future, error)
        else:
            settle = _result_setter(future, result)
        # RuntimeError: the event loop is closed because the process is about to exit.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, settle)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _result_setter(future: asyncio.Future[T], result: T) -> Callable[[], None]:
    return lambda: future.set_result(result)


def _error_setter(future: asyncio.Future[Any], error: Exception) -> Callable[[], None]:
    return lambda: future.set_exception(error)


@dataclass(eq=False)
class _Read(Generic[T]):
    """One read, which several callers may share."""

    work: Callable[[CheckCallers], T]
    key: Hashable
    result: asyncio.Future[T]
    callers: int = 0
    started: float = 0.0
    abandoned: threading.Event = field(default_factory=threading.Event)

    def check_callers(self) -> None:
        if self.abandoned.is_set():
            raise ReadAbandoned


class RegistryReads:
    """A queue of reads of one kind. All methods are for the event loop.

    Parameters
    ----------
    limit : int
        Maximum number of running reads. Further ones wait in the queue, up to 64 callers in all.
    seconds : float
        Time limit of a caller's wait, including the time in the queue.
    """

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._callers = 0
        self._running: set[_Read[Any]] = set()
        self._waiting: deque[_Read[Any]] = deque()
        self._shared: dict[Hashable, _Read[Any]] = {}

    async def run(self, work: Callable[[CheckCallers], T], *, key: Hashable = None) -> T:
        """Run `work` in a daemon thread and return its result.

        Calls with the same key share one read until its thread ends, unless the key is None.

        Raises
        ------
        NotReady
            If the read exceeds the time limit, or all running reads have exceeded it.
        Overloaded
            If too many callers are waiting.
        """
        if self._callers >= _MAX_CALLERS:
            raise Overloaded(
                f"{_MAX_CALLERS} calls already wait for the registry. Retry in a moment.",
                retry_after=_SECONDS_TO_RETRY,
            )
        read: _Read[T] = self._shared.get(key) or self._add(work, key)
        read.callers += 1
        self._callers += 1
        try:
            done, _ = await asyncio.wait((read.result,), timeout=self._seconds)
        finally:
            read.callers -= 1
            self._callers -= 1
            if not read.callers and not read.result.done():
                self._abandon(read)
        if not done:
            raise self._time_limit_error()
        return read.result.result()

    def _add(self, work: Callable[[CheckCallers], T], key: Hashable) -> _Read[T]:
        read = _Read(work, key, asyncio.get_running_loop().create_future())
        if len(self._running) < self._limit:
            self._start(read)
        elif all(time.monotonic() - each.started > self._seconds for each in self._running):
            raise self._time_limit_error()
        else:
            self._waiting.append(read)
        if key is not None:
            self._shared[key] = read
        return read

    def _start(self, read: _Read[Any]) -> None:
        read.started = time.monotonic()
        thread = run_in_daemon_thread("registry-read", lambda: read.work(read.check_callers))
        self._running.add(read)
        thread.add_done_callback(lambda ended: self._end(read, ended))

    def _end(self, read: _Read[T], ended: asyncio.Future[T]) -> None:
        self._running.discard(read)
        self._stop_sharing(read)
        error = ended.exception()
        if error is None:
            read.result.set_result(ended.result())
        else:
            read.result.set_exception(error)
            # Mark the error as retrieved, or asyncio logs it if all callers have left.
            read.result.exception()
        while self._waiting and len(self._running) < self._limit:
            self._start(self._waiting.popleft())

    def _abandon(self, read: _Read[Any]) -> None:
        if read in self._waiting:
            self._waiting.remove(read)
            self._stop_sharing(read)
        else:
            read.abandoned.set()

    def _stop_sharing(self, read: _Read[Any]) -> None:
        if self._shared.get(read.key) is read:
            del self._shared[read.key]

    def _time_limit_error(self) -> NotReady:
        return NotReady(
            f"The registry has not responded within {self._seconds:g} seconds. Retry later; calls "
            "for loaded versions are still answered.",
            retry_after=_SECONDS_TO_RETRY,
        )
