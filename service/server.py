"""The gRPC server: put together, started, and stopped without losing a call."""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from quadnet.errors import QuadnetError
from service import servicer
from service.errors import ErrorInterceptor
from service.live import LiveModels, Watcher
from service.servicer import QuadrantServicer
from service.settings import ServeSettings
from service.stubs.quadrant.v1 import quadrant_pb2_grpc

HEALTH_NAMES = ("", servicer.NAME)

_log = logging.getLogger(__name__)


class CannotListen(QuadnetError):
    """The address cannot be bound."""


class Server:
    """A gRPC server over live models.

    Parameters
    ----------
    live : LiveModels
    settings : ServeSettings
    transport : callable, default=grpc.server
        Makes the server; takes what `grpc.server` takes.

    Attributes
    ----------
    port : int
        The port that is listened on, also where the settings asked for port 0.
    """

    def __init__(
        self,
        live: LiveModels,
        settings: ServeSettings,
        *,
        transport: Callable[..., grpc.Server] = grpc.server,
    ) -> None:
        self._live = live
        self._settings = settings
        self._watcher = Watcher(live, poll=settings.poll, on_refresh=self._report_health)
        self._health = health.HealthServicer()
        self._reported_ready: bool | None = None
        # The servicer starts with "" as SERVING, which is not true before a version is loaded.
        self._report_health()
        self._server = transport(
            ThreadPoolExecutor(settings.threads, thread_name_prefix="grpc"),
            interceptors=[ErrorInterceptor()],
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                # By default a second server on the same port starts, silently, and gets some of
                # the connections.
                ("grpc.so_reuseport", 0),
            ],
        )
        quadrant_pb2_grpc.add_QuadrantServiceServicer_to_server(  # type: ignore[no-untyped-call]
            QuadrantServicer(live, max_points=settings.max_points), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (servicer.NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self.port = self._bind()

    @property
    def address(self) -> str:
        """Where clients find the server, as host:port."""
        return f"{self._settings.host}:{self.port}"

    def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT; then drain and return. A second signal stops at once.

        Must be called in the main thread. `on_start` is called once calls are answered.
        """
        stop = threading.Event()
        at_once = threading.Event()

        def on_signal(number: int, frame: FrameType | None) -> None:
            if stop.is_set():
                at_once.set()
            stop.set()

        previous = {s: signal.signal(s, on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            on_start()
            stop.wait()
            self.stop(at_once)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """Load what the alias points to, and begin to answer and to watch."""
        self._live.refresh()
        self._report_health()
        self._server.start()
        self._watcher.start()

    def stop(self, at_once: threading.Event | None = None) -> None:
        """Say NOT_SERVING, wait for the drain delay, refuse new calls, finish those in flight.

        Setting `at_once` ends whatever is being waited for.
        """
        at_once = at_once or threading.Event()
        self._watcher.stop()
        self._health.enter_graceful_shutdown()
        at_once.wait(self._settings.drain_delay)
        finished = self._server.stop(self._settings.grace)
        # Two events cannot be waited for at once: the second signal is looked for in between.
        while not finished.wait(0.05):
            if at_once.is_set():
                self._server.stop(0)
        finished.wait()

    def _bind(self) -> int:
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            return self._server.add_insecure_port(f"{host}:{settings.port}")
        except RuntimeError as error:
            raise CannotListen(
                f"{self._settings.host}:{settings.port} cannot be listened on: another process "
                "has the port, or the address is not this machine's. "
                "Choose another with --port or --host."
            ) from error

    def _report_health(self) -> None:
        """Tell the health service; only changes, since each one is sent to all who watch."""
        ready = self._live.ready
        if ready is self._reported_ready:
            return
        self._reported_ready = ready
        status = health_pb2.HealthCheckResponse
        for name in HEALTH_NAMES:
            self._health.set(name, status.SERVING if ready else status.NOT_SERVING)
