"""The supervisor's side of a worker: starts the process, requests reports, and ends it.

In both directions, one line is one message. The supervisor sends the settings, then a number for
each report that it requests. The worker sends its state once it answers calls, then the reports. A
report proves that the worker's event loop runs, and has the worker's metrics. It is sent through a
pipe and not through prometheus_client's memory-mapped files: on a full disk, SIGBUS kills a process
that writes into those.
"""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any, Self

import structlog

from quadnet.errors import QuadnetError
from service.server.process_settings import make_module_command
from service.settings import ServeSettings
from service.telemetry import metrics

_MAX_LINE_BYTES = 2**24
"""A report has some ten thousand bytes."""

_MAX_UNANSWERED = 100
"""Number of unanswered requests for a report after which a worker gets no further request."""

_log = structlog.get_logger(__name__)


class WorkerFailed(QuadnetError):
    """A worker process could not be started, or ended before it answered calls."""


class WorkerProcess:
    """One worker.

    Attributes
    ----------
    report : metrics.MetricsReport
        The worker's metrics in its last report.
    """

    def __init__(self, process: Process) -> None:
        self.report: metrics.MetricsReport = []
        self._ended = False
        self._process = process
        self._requested = self._answered = 0
        self._changed = asyncio.Condition()
        self._state = ""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: ServeSettings) -> Self:
        """Start a worker process.

        Raises
        ------
        WorkerFailed
            If the system cannot start it.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *make_module_command("service.server.worker"),
                stdin=PIPE,
                stdout=PIPE,
                limit=_MAX_LINE_BYTES,
                # Ctrl-C goes to a whole process group; the supervisor alone passes it on.
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
        """Process ID."""
        return self._process.pid

    @property
    def answers_calls(self) -> bool:
        """Whether the worker answers calls."""
        return bool(self._state)

    async def wait_until_started(self) -> str:
        """Wait until the worker answers calls; return its description of what it serves.

        Raises
        ------
        WorkerFailed
            If the worker ends before.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._state or self._ended)
        if not self._state:
            raise WorkerFailed("A worker ended before it answered calls; see above.")
        return self._state

    async def responds_within(self, seconds: float) -> bool:
        """Request a report; return whether it arrives within this time."""
        self._requested += 1
        number = self._requested
        if number - self._answered <= _MAX_UNANSWERED:
            self._write(str(number))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._answered >= number)
        return self._answered >= number

    async def wait_for_exit(self) -> int:
        """Wait until the process has ended and its output is read; return the exit code."""
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
                    # The end, possibly with an incomplete line if the worker was killed.
                    break
                await self._handle_message(json.loads(line))
            except (ValueError, KeyError, TypeError):
                _log.exception("worker report invalid", pid=self.pid)
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _handle_message(self, message: dict[str, Any]) -> None:
        async with self._changed:
            if "state" in message:
                self._state = message["state"]
            else:
                self._answered, self.report = message["number"], message["metrics"]
            self._changed.notify_all()
