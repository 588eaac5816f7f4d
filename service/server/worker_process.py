"""A worker as its supervisor sees it: a process that is started, asked for reports, and ended.

Both ways a line is a message. The supervisor writes the settings, then a number for each report
that it asks for; the worker writes what it serves once it answers calls, then the reports. A
report proves that the worker's event loop runs, and holds what the worker has counted. It travels
through a pipe, not through prometheus_client's memory-mapped files: on a full disk a process that
writes into those is killed by SIGBUS.
"""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any, Self

import structlog

from quadnet.errors import QuadnetError
from service.server.process_settings import command
from service.settings import ServeSettings
from service.telemetry import metrics

_LONGEST_LINE = 2**24
"""Bytes. A report has some tens of thousands."""

_MOST_UNANSWERED = 100
"""Requests for a report after which a worker that answers none gets no further ones."""

_log = structlog.get_logger(__name__)


class WorkerFailed(QuadnetError):
    """A worker cannot be started, or ended before it answered calls and has said why."""


class WorkerProcess:
    """One worker.

    Attributes
    ----------
    report : metrics.Report
        What the worker had counted when it last answered.
    """

    def __init__(self, process: Process) -> None:
        self.report: metrics.MetricsReport = []
        self._ended = False
        self._process = process
        self._asked = self._answered = 0
        self._changed = asyncio.Condition()
        self._state = ""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: ServeSettings) -> Self:
        """Start a worker process.

        Raises
        ------
        WorkerFailed
            If the system cannot start one.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command("service.server.worker"),
                stdin=PIPE,
                stdout=PIPE,
                limit=_LONGEST_LINE,
                # Ctrl-C reaches whole groups: it is for the supervisor to pass on.
                start_new_session=True,
            )
        except (OSError, RuntimeError) as error:
            # RuntimeError: asyncio has no thread left to wait for the process.
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else str(error)
            raise WorkerFailed(f"A worker process cannot be started: {reason}.") from error
        worker = cls(process)
        worker._write(json.dumps(settings.model_dump(mode="json")))
        return worker

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def answers_calls(self) -> bool:
        """Whether it has begun to answer calls."""
        return bool(self._state)

    async def state(self) -> str:
        """Return what it says that it serves, once it answers calls.

        Raises
        ------
        WorkerFailed
            If it ends before.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._state or self._ended)
        if not self._state:
            raise WorkerFailed("A worker ended before it answered calls; see above.")
        return self._state

    async def is_alive(self, seconds: float) -> bool:
        """Ask for a report; return whether it comes within so many seconds."""
        self._asked += 1
        number = self._asked
        if number - self._answered <= _MOST_UNANSWERED:
            self._write(str(number))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._answered >= number)
        return self._answered >= number

    async def wait(self) -> int:
        """Return the exit code, once the process has ended and all that it wrote is read."""
        code = await self._process.wait()
        await self._reading
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        if not self._ended:
            self._process.stdin.write(line.encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
                if not line.endswith(b"\n"):
                    # The end; of a line that was being written when the worker was killed, too.
                    break
                await self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                _log.exception("a worker's report cannot be read", pid=self.pid)
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _take(self, message: dict[str, Any]) -> None:
        async with self._changed:
            if "state" in message:
                self._state = message["state"]
            else:
                self._answered, self.report = message["number"], message["metrics"]
            self._changed.notify_all()
