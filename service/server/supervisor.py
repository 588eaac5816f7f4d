"""Several worker processes on one port: starts, watches, replaces and stops them.

The kernel assigns each new connection to one of the listening workers (SO_REUSEPORT). The
supervisor answers no calls: it reserves the port, replaces workers that die or hang, combines their
metrics, and passes on the signal to stop. A worker whose supervisor is gone sees the end of its
standard input, and stops.
"""

import asyncio
import signal
import time
from collections.abc import Iterable
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress

import structlog
from prometheus_client import Metric
from prometheus_client.registry import Collector

from quadnet.errors import ErrorKind
from service.net.address import reserve_port
from service.server.stop_signals import stop_signals
from service.server.worker import OnStart
from service.server.worker_process import WorkerFailed, WorkerProcess
from service.settings import ServeSettings
from service.telemetry import metrics

_FIRST_PAUSE = 0.1
_MAX_PAUSE = 10.0
_STABLE_AFTER = 30.0
"""Seconds of running after which the pause before a restart is reset to the first one."""

_HEARTBEAT = 1.0
"""Seconds between two reports of a worker."""

_SECONDS_TO_START = 120.0
"""Time without a report until a starting worker counts as hanging: it first imports everything."""

_SECONDS_TO_SCRAPE = 2.0
"""Time that a scrape waits for new reports of the workers before it uses the last ones."""

_KILLED_AFTER = 10.0
"""Seconds beyond the grace period after which a worker that does not stop is killed."""

_ABANDONED_AFTER = 5.0
"""Seconds after which a killed worker that the kernel does not end is abandoned."""

_log = structlog.get_logger(__name__)


class Supervisor(Collector):
    """Keeps `settings.workers` workers running, and collects their metrics for Prometheus.

    Parameters
    ----------
    settings : ServeSettings
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._workers: set[WorkerProcess] = set()
        self._metrics_of_ended = metrics.MetricsSum()
        self._stopping = asyncio.Event()
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, on_start: OnStart) -> None:
        """Serve until one of `stop_signals` arrives; then stop the workers.

        Raises
        ------
        CannotListen
            If the port is taken.
        WorkerFailed
            If one of the first workers cannot start.
        """
        self._loop = loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        with ExitStack() as reserved:
            # The system chooses a port if the settings have 0. All workers use the same ports.
            port = reserved.enter_context(reserve_port(self._settings.host, self._settings.port))
            ports = {"port": port}
            if self._settings.http_port is not None:
                ports["http_port"] = reserved.enter_context(
                    reserve_port(
                        self._settings.host,
                        self._settings.http_port,
                        kind=ErrorKind.HTTP_ADDRESS,
                    )
                )
            self._settings = self._settings.model_copy(update=ports)
            keeping: list[asyncio.Task[None]] = []
            stop_requested = asyncio.create_task(self._signals.get())
            starting = asyncio.gather(*(self._start() for _ in range(self._settings.workers)))
            try:
                await asyncio.wait((starting, stop_requested), return_when=asyncio.FIRST_COMPLETED)
                if not stop_requested.done():
                    started = starting.result()
                    keeping = [
                        asyncio.create_task(self._keep_running(worker)) for worker, _ in started
                    ]
                    on_start(started[0][1], port)
                    await stop_requested
            finally:
                starting.cancel()
                stop_requested.cancel()
                # Retrieves errors of the cancelled tasks, or asyncio logs them.
                await asyncio.gather(starting, return_exceptions=True)
                await self._stop(keeping)

    def collect(self) -> Iterable[Metric]:
        """Return the combined metrics of all workers. Must be called on another thread.

        For a worker that does not respond in time, the last report is used, which may be some
        seconds old. What a killed worker counted after its last report is lost.
        """
        if self._loop is not None and self._loop.is_running():
            # RuntimeError, CancelledError: the event loop has just ended.
            with suppress(RuntimeError, TimeoutError, CancelledError):
                requests = asyncio.run_coroutine_threadsafe(self._request_reports(), self._loop)
                requests.result(_SECONDS_TO_SCRAPE + 1)
        total = self._metrics_of_ended.copy()
        # Without gauges: those of this process, which serves nothing, mean nothing.
        total.add(metrics.make_report(), gauges=False)
        for worker in list(self._workers):
            total.add(worker.report)
        return total.families()

    async def _request_reports(self) -> None:
        workers = [worker for worker in self._workers if worker.answers_calls]
        await asyncio.gather(*(worker.responds_within(_SECONDS_TO_SCRAPE) for worker in workers))

    async def _start(self) -> tuple[WorkerProcess, str]:
        """Start a worker, wait until it answers calls; return it and what it serves."""
        worker = await WorkerProcess.start(self._settings)
        self._workers.add(worker)
        if self._stopping.is_set():
            # It was being started when the signal was sent to the other workers.
            worker.send_signal(signal.SIGTERM)
        # Watched from the start, because it may hang before it answers calls.
        watching = asyncio.create_task(self._kill_if_unresponsive(worker))
        try:
            return worker, await worker.wait_until_started()
        except WorkerFailed:
            await self._wait_for_exit(worker)
            raise
        finally:
            # From here on `_keep_running` watches the worker.
            watching.cancel()

    async def _keep_running(self, worker: WorkerProcess) -> None:
        """Replace the worker whenever it ends, until the supervisor stops."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            watching = asyncio.create_task(self._kill_if_unresponsive(worker))
            code = await self._wait_for_exit(worker)
            watching.cancel()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _STABLE_AFTER:
                pause = _FIRST_PAUSE
            _log.error("worker died", pid=worker.pid, exit_code=code, restarted_in=pause)
            while not await self._stops_within(pause):
                pause = min(2 * pause, _MAX_PAUSE)
                try:
                    worker, _ = await self._start()
                except WorkerFailed as error:
                    _log.error("worker not replaced", reason=str(error), retried_in=pause)
                except Exception:  # noqa: BLE001 - otherwise the worker is never replaced
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

    async def _kill_if_unresponsive(self, worker: WorkerProcess) -> None:
        """Request a report every second; kill the worker if no report arrives for too long.

        The time is a count of missed reports, not a difference of clock times: after the whole
        machine or container was halted, a worker has missed only one report.
        """
        allowed = self._settings.worker_timeout
        silent = 0.0
        while True:
            if await worker.responds_within(_HEARTBEAT):
                silent = 0.0
                await asyncio.sleep(_HEARTBEAT)
                continue
            silent += _HEARTBEAT
            limit = allowed if worker.answers_calls else max(allowed, _SECONDS_TO_START)
            if allowed and silent >= limit:
                _log.error("worker does not respond", pid=worker.pid, seconds=silent)
                worker.send_signal(signal.SIGKILL)
                return

    async def _wait_for_exit(self, worker: WorkerProcess) -> int:
        """Wait until the worker has ended, keep its counters, and return its exit code."""
        code = await worker.wait_for_exit()
        if worker in self._workers:
            self._workers.discard(worker)
            # Gauges describe a running process; counters stay.
            self._metrics_of_ended.add(worker.report, gauges=False)
        return code

    async def _stop(self, keeping: list[asyncio.Task[None]]) -> None:
        """Pass on the signal, and each further one, until all workers have ended."""
        self._stopping.set()
        settings = self._settings
        deadline = time.monotonic() + settings.drain_delay + settings.grace + _KILLED_AFTER
        killed = False
        self._signal_workers(signal.SIGTERM)
        another_signal = asyncio.create_task(self._signals.get())
        # Workers that have not started to answer have no `_keep_running` task.
        ends = [
            *keeping,
            *(asyncio.create_task(self._wait_for_exit(each)) for each in self._workers),
        ]
        while not all(task.done() for task in ends):
            left = deadline - time.monotonic()
            waited_for = (another_signal, *(task for task in ends if not task.done()))
            await asyncio.wait(
                waited_for, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED
            )
            if another_signal.done():
                self._signal_workers(signal.SIGTERM)
                another_signal = asyncio.create_task(self._signals.get())
            elif left <= 0 and not killed:
                self._signal_workers(signal.SIGKILL)
                killed = True
                deadline += _ABANDONED_AFTER
            elif left <= 0:
                # The kernel does not end a process that waits for a hanging file system.
                _log.error("workers not ended", pids=[each.pid for each in self._workers])
                break
        another_signal.cancel()
        for end in ends:
            if end.done() and not end.cancelled() and (fault := end.exception()) is not None:
                _log.error("worker task failed", exc_info=fault)

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send_signal(number)
