"""Several processes on one port: started, watched over, replaced when they die, and stopped.

The kernel hands each new connection to one of those who listen (SO_REUSEPORT). The supervisor
answers no call: it holds the port, starts workers anew, sums up their metrics and passes on the
signal to stop. A worker whose supervisor is gone notices the end of its standard input, and stops.
"""

import asyncio
import json
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

import structlog
from prometheus_client import multiprocess

from quadnet.errors import QuadnetError
from service import address, metrics
from service.handover import command
from service.settings import ServeSettings
from service.stop_signals import stop_signals
from service.worker import OnStart

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SOUND_AFTER = 30.0
"""Seconds after which a worker that dies is a new case, and not the same one again."""

_KILLED_AFTER = 10.0
"""Seconds beyond the grace after which a worker that does not stop is ended."""

_log = structlog.get_logger(__name__)


class WorkerFailed(QuadnetError):
    """A worker ended before it had begun to answer; it has said why."""


class Supervisor:
    """Keeps `settings.workers` workers going.

    Parameters
    ----------
    settings : ServeSettings
    directory : str
        Where the workers write their metrics.
    """

    def __init__(self, settings: ServeSettings, directory: str) -> None:
        self._settings = settings
        self._directory = directory
        self._workers: set[Process] = set()
        self._stopping = asyncio.Event()
        self._signals: asyncio.Queue[int] = asyncio.Queue()

    async def run(self, on_start: OnStart) -> None:
        """Serve until SIGTERM or SIGINT, which the workers are then told of.

        Raises
        ------
        CannotListen
            If the port is taken.
        WorkerFailed
            If a worker cannot begin.
        """
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        with address.reserved(self._settings.host, self._settings.port) as port:
            # Port 0 has become one, which is the same for all.
            self._settings = self._settings.model_copy(update={"port": port})
            keeping: list[asyncio.Task[None]] = []
            asked_to_stop = asyncio.create_task(self._signals.get())
            starting = asyncio.gather(*(self._start() for _ in range(self._settings.workers)))
            try:
                await asyncio.wait((starting, asked_to_stop), return_when=asyncio.FIRST_COMPLETED)
                if not asked_to_stop.done():
                    started = starting.result()
                    keeping = [asyncio.create_task(self._keep(process)) for process, _ in started]
                    on_start(started[0][1], port)
                    await asked_to_stop
            finally:
                starting.cancel()
                asked_to_stop.cancel()
                # What is cancelled is to be looked at, or asyncio complains.
                await asyncio.gather(starting, return_exceptions=True)
                await self._stop(keeping)

    async def _start(self, *, replaces: bool = False) -> tuple[Process, str]:
        """Start a worker; return it, once it answers, and what it says that it serves."""
        process = await asyncio.create_subprocess_exec(
            *command("service.worker"),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, metrics.DIRECTORY: self._directory},
            # Ctrl-C reaches whole groups: it is for the supervisor to pass on.
            start_new_session=True,
        )
        self._workers.add(process)
        if self._stopping.is_set():
            # It was on its way into being when the others were told.
            with suppress(ProcessLookupError):
                process.terminate()
        assert process.stdin is not None
        assert process.stdout is not None
        given = {"settings": self._settings.model_dump(mode="json"), "replaces": replaces}
        with suppress(ConnectionError):
            process.stdin.write(json.dumps(given).encode() + b"\n")
            await process.stdin.drain()
        state = (await process.stdout.readline()).decode().strip()
        if not state:
            await self._bury(process)
            raise WorkerFailed("A worker ended before it had begun to answer; see above.")
        return process, state

    async def _keep(self, process: Process) -> None:
        """Wait for the worker's death, and put another in its place, until all shall stop."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            code = await self._bury(process)
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _SOUND_AFTER:
                pause = _FIRST_PAUSE
            while True:
                _log.error("worker died", pid=process.pid, exit_code=code, restarted_in=pause)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    process, _ = await self._start(replaces=True)
                    break
                except WorkerFailed:
                    continue

    async def _bury(self, process: Process) -> int:
        """Return the worker's exit code, once it has ended."""
        code = await process.wait()
        self._workers.discard(process)
        # What it was doing it does no more; what it has counted counts.
        multiprocess.mark_process_dead(process.pid, self._directory)  # type: ignore[no-untyped-call]
        return code

    async def _stop(self, keeping: list[asyncio.Task[None]]) -> None:
        """Pass on the signal, and every further one, until no worker is left."""
        self._stopping.set()
        settings = self._settings
        deadline = time.monotonic() + settings.drain_delay + settings.grace + _KILLED_AFTER
        self._tell(signal.SIGTERM)
        another = asyncio.create_task(self._signals.get())
        # Those that had not begun to answer have nobody who keeps them.
        ends = [*keeping, *(asyncio.create_task(self._bury(each)) for each in self._workers)]
        while not all(task.done() for task in ends):
            left = deadline - time.monotonic()
            waited_for = (another, *(task for task in ends if not task.done()))
            await asyncio.wait(
                waited_for, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED
            )
            if another.done():
                self._tell(signal.SIGTERM)
                another = asyncio.create_task(self._signals.get())
            elif left <= 0:
                self._tell(signal.SIGKILL)
        another.cancel()

    def _tell(self, number: signal.Signals) -> None:
        for process in self._workers:
            with suppress(ProcessLookupError):
                process.send_signal(number)
