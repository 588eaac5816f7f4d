"""The gRPC server: put together, started, and stopped without losing a call."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service import address, servicer
from service.address import CannotListen
from service.errors import ErrorInterceptor
from service.health import HealthServicer
from service.live import LiveModels, Watcher
from service.servicer import QuadrantServicer
from service.settings import ServeSettings
from service.signals import StopSignals
from service.stubs.quadrant.v1 import quadrant_pb2_grpc

HEALTH_NAMES = ("", servicer.NAME)


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
        self._health = HealthServicer(HEALTH_NAMES)
        self._watcher = Watcher(live, poll=settings.poll, on_refresh=self._report_health)

        self._server = transport(
            ThreadPoolExecutor(settings.threads, thread_name_prefix="grpc"),
            interceptors=[ErrorInterceptor((servicer.NAME,))],
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

    def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT; then drain and return. A second signal stops at once.

        Must be called in the main thread. `on_start` is called once calls are answered.
        """
        with StopSignals() as signals:
            self.start()
            on_start()
            signals.wait()
            self.stop(signals)

    def start(self) -> None:
        """Load what the alias points to, and begin to answer and to watch."""
        self._live.refresh()
        self._report_health()
        self._server.start()
        self._watcher.start()

    def stop(self, signals: StopSignals) -> None:
        """Say NOT_SERVING, wait for the drain delay, refuse new calls, finish those in flight.

        One more signal ends the delay and the wait for calls.
        """
        self._health.enter_graceful_shutdown()
        at_once = signals.wait(self._settings.drain_delay)
        finished = self._server.stop(0 if at_once else self._settings.grace)
        # Only now, when nobody can begin to watch anew.
        self._health.end_watches()
        # gRPC's event and a signal cannot be waited for in one: each has its turn.
        while not finished.wait(0.05):
            if signals.wait(0):
                self._server.stop(0)
        self._watcher.stop()

    def _bind(self) -> int:
        host, port = self._settings.host, self._settings.port
        address.check_free(host, port)
        try:
            return self._server.add_insecure_port(address.join(host, port))
        except RuntimeError as error:
            raise CannotListen(
                f"{address.join(host, port)} cannot be listened on. "
                "Choose another with --port or --host."
            ) from error

    def _report_health(self) -> None:
        self._health.report(serving=self._live.ready)
