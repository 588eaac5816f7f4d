"""Several processes on one port: started, watched, replaced when they die or hang, and stopped.

The kernel hands each new connection to one of those who listen (SO_REUSEPORT). The supervisor
answers no call: it holds the port, replaces workers, sums up their metrics and passes on the
signal to stop. A worker whose supervisor is gone sees the end of its standard input, and stops.
"""

import asyncio
import signal
import time
from collections.abc import Iterable
from concurrent.futures import CancelledError
from contextlib import suppress

import structlog
from prometheus_client import Metric
from prometheus_client.registry import Collector

from service.net import address
from service.server.stop_signals import stop_signals
from service.server.worker import OnStart
from service.server.worker_process import WorkerFailed, WorkerProcess
from service.settings import ServeSettings
from service.telemetry import metrics

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SOUND_AFTER = 30.0
"""Seconds after which a worker that dies is a new case, and not the same one again."""

_HEARTBEAT = 1.0
"""Seconds between two reports of a worker."""

_SECONDS_TO_START = 120.0
"""How long a worker may take until it answers calls, without a report: it imports everything."""

_SECONDS_TO_SCRAPE = 2.0
"""How long metrics wait for the workers' reports before they are made of the last ones."""

_KILLED_AFTER = 10.0
"""Seconds beyond the grace after which a worker that does not stop is killed."""

_ABANDONED_AFTER = 5.0
"""Seconds after which a killed worker that the kernel does not end is left behind."""

_log = structlog.get_logger(__name__)


class Supervisor(Collector):
    """Keeps `settings.workers` workers running. A collector of their metrics for Prometheus.

    Parameters
    ----------
    settings : ServeSettings
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._workers: set[WorkerProcess] = set()
        self._counted_by_the_dead = metrics.MetricsSum()
        self._stopping = asyncio.Event()
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, on_start: OnStart) -> None:
        """Serve until one of the signals of `stop_signals`, which the workers are then sent.

        Raises
        ------
        CannotListen
            If the port is taken.
        WorkerFailed
            If a worker cannot begin.
        """
        self._loop = loop = asyncio.get_running_loop()
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
                    keeping = [asyncio.create_task(self._keep(worker)) for worker, _ in started]
                    on_start(started[0][1], port)
                    await asked_to_stop
            finally:
                starting.cancel()
                asked_to_stop.cancel()
                # What is cancelled is to be looked at, or asyncio complains.
                await asyncio.gather(starting, return_exceptions=True)
                await self._stop(keeping)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers together. Must be called on another thread.

        A worker that does not answer at once counts with its last report, which is then some
        seconds old. What a killed worker counted after its last report is lost.
        """
        if self._loop is not None and self._loop.is_running():
            # RuntimeError, CancelledError: the loop has just ended.
            with suppress(RuntimeError, TimeoutError, CancelledError):
                asking = asyncio.run_coroutine_threadsafe(self._ask_all(), self._loop)
                asking.result(_SECONDS_TO_SCRAPE + 1)
        total = self._counted_by_the_dead.copy()
        # Its gauges are of this process, which serves nothing.
        total.add(metrics.make_report(), gauges=False)
        for worker in list(self._workers):
            total.add(worker.report)
        return total.families()

    async def _ask_all(self) -> None:
        workers = [worker for worker in self._workers if worker.answers_calls]
        await asyncio.gather(*(worker.is_alive(_SECONDS_TO_SCRAPE) for worker in workers))

    async def _start(self) -> tuple[WorkerProcess, str]:
        """Start a worker; return it, once it answers calls, and what it says that it serves."""
        worker = await WorkerProcess.start(self._settings)
        self._workers.add(worker)
        if self._stopping.is_set():
            # It was on its way into being when the others were told.
            worker.send_signal(signal.SIGTERM)
        # Watched from the start: one may hang before it answers calls.
        watching = asyncio.create_task(self._kill_if_silent(worker))
        try:
            return worker, await worker.state()
        except WorkerFailed:
            await self._bury(worker)
            raise
        finally:
            # What keeps the worker watches it from now on.
            watching.cancel()

    async def _keep(self, worker: WorkerProcess) -> None:
        """Wait for the worker's death, and replace it, until all shall stop."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            watching = asyncio.create_task(self._kill_if_silent(worker))
            code = await self._bury(worker)
            watching.cancel()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _SOUND_AFTER:
                pause = _FIRST_PAUSE
            _log.error("worker died", pid=worker.pid, exit_code=code, restarted_in=pause)
            while not await self._stops_within(pause):
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    worker, _ = await self._start()
                except WorkerFailed as error:
                    _log.error("worker not replaced", reason=str(error), retried_in=pause)
                except Exception:  # noqa: BLE001 - else the worker is never replaced
                    _log.exception("worker not replaced", retried_in=pause)
                else:
                    metrics.WORKER_RESTARTS.inc()
                    break
            else:
                return

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _kill_if_silent(self, worker: WorkerProcess) -> None:
        """Ask the worker for a report every second; kill it if none comes for too long.

        Seconds are counted one by one, not read off a clock: where the whole machine, or
        container, was halted, the worker has missed one.
        """
        allowed = self._settings.worker_timeout
        silent = 0.0
        while True:
            if await worker.is_alive(_HEARTBEAT):
                silent = 0.0
                await asyncio.sleep(_HEARTBEAT)
                continue
            silent += _HEARTBEAT
            limit = allowed if worker.answers_calls else max(allowed, _SECONDS_TO_START)
            if allowed and silent >= limit:
                _log.error("worker does not answer", pid=worker.pid, seconds=silent)
                worker.send_signal(signal.SIGKILL)
                return

    async def _bury(self, worker: WorkerProcess) -> int:
        """Return the worker's exit code, once it has ended."""
        code = await worker.wait()
        if worker in self._workers:
            self._workers.discard(worker)
            # What it was doing it does no more; what it has counted counts.
            self._counted_by_the_dead.add(worker.report, gauges=False)
        return code

    async def _stop(self, keeping: list[asyncio.Task[None]]) -> None:
        """Pass on the signal, and every further one, until no worker is left."""
        self._stopping.set()
        settings = self._settings
        deadline = time.monotonic() + settings.drain_delay + settings.grace + _KILLED_AFTER
        killed = False
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
            elif left <= 0 and not killed:
                self._tell(signal.SIGKILL)
                killed = True
                deadline += _ABANDONED_AFTER
            elif left <= 0:
                # The kernel keeps a process that waits for a silent file system.
                _log.error("workers cannot be ended", pids=[each.pid for each in self._workers])
                break
        another.cancel()
        for end in ends:
            if end.done() and not end.cancelled() and (fault := end.exception()) is not None:
                _log.error("a fault in watching a worker", exc_info=fault)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send_signal(number)
