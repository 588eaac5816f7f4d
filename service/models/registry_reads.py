"""Reads of the registry on threads of their own: few at a time, each with a time limit.

A file system can fail, and it can also not answer: a network mount without its server, a FUSE
mount whose daemon is stopped. A thread that waits for it cannot be interrupted. So:

- The threads are daemon threads. `asyncio.to_thread` was rejected: its threads are joined when the
  event loop closes and when the process exits, which a hanging file system would hold up for ever.
- A caller waits for a limited time. The thread keeps its place until it ends, and once all places
  are taken by reads that are over their time, further ones are refused at once.
- A read whose callers have all left is never begun, or stops at its next step.
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
"""Given to a read, which calls it between two steps. It raises ReadAbandoned if no caller waits."""

_MAX_CALLERS = 64
"""The number of calls that may wait at a time. Each holds its message, and no slot of Admission."""

_SECONDS_TO_RETRY = 1.0


class ReadAbandoned(Exception):
    """Raised in a read that no caller waits for any more."""


def start_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a new daemon thread; return the future of its result."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        # Cancelled if the server has stopped waiting for it.
        if not future.done():
            settle()

    def run() -> None:
        settle: Callable[[], None]
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised where the future is awaited
            settle = _raise(future, error)
        else:
            settle = _return(future, result)
        # RuntimeError: the event loop is closed, because the process is about to exit.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, settle)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _return(future: asyncio.Future[T], result: T) -> Callable[[], None]:
    return lambda: future.set_result(result)


def _raise(future: asyncio.Future[Any], error: Exception) -> Callable[[], None]:
    return lambda: future.set_exception(error)


@dataclass(eq=False)
class _Read(Generic[T]):
    """One read, which may have several callers."""

    work: Callable[[CheckCallers], T]
    key: Hashable
    result: asyncio.Future[T]
    callers: int = 0
    began: float = 0.0
    abandoned: threading.Event = field(default_factory=threading.Event)

    def check_callers(self) -> None:
        if self.abandoned.is_set():
            raise ReadAbandoned


class RegistryReads:
    """The reads of one kind. All methods are for the event loop.

    Parameters
    ----------
    limit : int
        The number of reads at a time. Others wait for their turn; up to 64 callers wait in all.
    seconds : float
        How long a caller waits, its turn included.
    """

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._callers = 0
        self._running: set[_Read[Any]] = set()
        self._waiting: deque[_Read[Any]] = deque()
        self._shared: dict[Hashable, _Read[Any]] = {}

    async def run(self, work: Callable[[CheckCallers], T], *, key: Hashable = None) -> T:
        """Return the result of `work`, which runs in a daemon thread.

        Calls with the same key, unless it is None, share one read, until its thread has ended.

        Raises
        ------
        NotReady
            If the read takes too long, or those that run all do.
        Overloaded
            If too many callers wait already.
        """
        if self._callers >= _MAX_CALLERS:
            raise Overloaded(
                f"{_MAX_CALLERS} calls already wait for the registry. Call again in a moment.",
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
            raise self._no_answer()
        return read.result.result()

    def _add(self, work: Callable[[CheckCallers], T], key: Hashable) -> _Read[T]:
        read = _Read(work, key, asyncio.get_running_loop().create_future())
        if len(self._running) < self._limit:
            self._start(read)
        elif all(time.monotonic() - each.began > self._seconds for each in self._running):
            raise self._no_answer()
        else:
            self._waiting.append(read)
        if key is not None:
            self._shared[key] = read
        return read

    def _start(self, read: _Read[Any]) -> None:
        read.began = time.monotonic()
        thread = start_thread("registry-read", lambda: read.work(read.check_callers))
        self._running.add(read)
        thread.add_done_callback(lambda ended: self._end(read, ended))

    def _end(self, read: _Read[T], ended: asyncio.Future[T]) -> None:
        self._running.discard(read)
        self._drop(read)
        error = ended.exception()
        if error is None:
            read.result.set_result(ended.result())
        else:
            read.result.set_exception(error)
            # Marks it as retrieved: its callers may all have left.
            read.result.exception()
        while self._waiting and len(self._running) < self._limit:
            self._start(self._waiting.popleft())

    def _abandon(self, read: _Read[Any]) -> None:
        if read in self._waiting:
            self._waiting.remove(read)
            self._drop(read)
        else:
            read.abandoned.set()

    def _drop(self, read: _Read[Any]) -> None:
        if self._shared.get(read.key) is read:
            del self._shared[read.key]

    def _no_answer(self) -> NotReady:
        return NotReady(
            f"The registry has not answered within {self._seconds:g} seconds. Ask again later; "
            "versions that are loaded are answered meanwhile.",
            retry_after=_SECONDS_TO_RETRY,
        )
