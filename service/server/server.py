"""The server: assembled from its parts, and run until it is stopped.

All calls run on one thread, an event loop: see ARCHITECTURE.md for the reason.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import grpc.aio
import numpy as np
import structlog

from quadnet.errors import ErrorKind
from service.inference_v2 import servicer
from service.inference_v2.methods import InferenceMethods
from service.inference_v2.servicer import InferenceServicer
from service.models.live_models import LiveModels
from service.models.registry_reads import run_in_daemon_thread
from service.net.address import (
    CannotListen,
    check_port_is_free,
    join_address,
    listen_on_port,
)
from service.net.connections import ServerSockets
from service.net.tls import ServerTLSFiles
from service.quadrant_v1 import codec
from service.quadrant_v1.servicer import QuadrantServicer
from service.rpc.backlog import Backlog
from service.rpc.compute_thread import ComputeThread
from service.rpc.grpc_calls import Context
from service.rpc.handlers import HandlerFactory
from service.rpc.policies.access_log import AccessLog
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import Admission
from service.rpc.policies.authentication import Authentication
from service.rpc.policies.deadline import Deadline
from service.rpc.policies.draining import Draining
from service.rpc.policies.measurement import Measurement
from service.rpc.policies.policy import CallPolicy
from service.server.grpc_options import make_grpc_options
from service.server.health import HEALTH_SERVICE, HealthServicer
from service.server.reflection import make_reflection_handlers
from service.server.shutdown import Shutdown
from service.server.stop_signals import stop_signals
from service.server.transport import make_grpc_server
from service.settings import ServeSettings

if TYPE_CHECKING:
    from service.rest.http_server import HttpServer

SERVICES = (codec.SERVICE, servicer.SERVICE)

_SECONDS_UNTIL_UNRESPONSIVE = 10.0
"""Time after which a registry that does not respond is reported as a failure."""

_log = structlog.get_logger(__name__)


def make_policies(settings: ServeSettings, draining: Draining) -> list[CallPolicy]:
    """Return the policies for these settings, outermost first.

    `draining` comes before the limits, so that a stopping server reports that it stops even when it
    is overloaded.
    """
    policies: list[CallPolicy] = [Accounting(AccessLog(), Measurement())]
    if settings.token_file is not None:
        policies.append(Authentication(settings.token_file))
    return [*policies, draining, Admission(settings.max_calls), Deadline()]


class Server:
    """A server over live models: gRPC, and HTTP if the settings have a port for it.

    It is created, run and stopped on one event loop.

    Parameters
    ----------
    live : LiveModels
    settings : ServeSettings
    policies : sequence of CallPolicy
    draining : Draining
        The policy, one of `policies`, that refuses calls while the server stops.
    transport : callable, default=make_grpc_server
        Creates grpcio's server; takes the arguments of `make_grpc_server`.
    shared_port : bool, default=False
        Whether other processes may listen on the same port.

    Attributes
    ----------
    port : int
        The port on which the server listens. The system chooses it if the settings have port 0.
    http_port : int or None
        The port of the REST methods; None without them.
    """

    def __init__(
        self,
        live: LiveModels,
        settings: ServeSettings,
        policies: Sequence[CallPolicy],
        draining: Draining,
        *,
        transport: Callable[..., grpc.aio.Server] = make_grpc_server,
        shared_port: bool = False,
    ) -> None:
        self._live = live
        self._settings = settings
        self._health = HealthServicer(("", *SERVICES))
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        # Set once the registry has been read, or has not responded in time.
        self._polled = asyncio.Event()

        self._server = transport(
            make_grpc_options(settings, shared_port=shared_port),
            self._refuse_unknown,
        )
        self._backlog = Backlog()
        self._handlers = factory = HandlerFactory(
            policies,
            limit=settings.max_calls,
            message_timeout=settings.message_timeout,
            backlog=self._backlog,
            max_bytes=settings.max_message_bytes,
        )
        compute_thread = ComputeThread()
        quadrant = QuadrantServicer(
            live,
            compute_thread,
            max_points=settings.max_points,
            max_bytes=settings.max_message_bytes,
        )
        methods = InferenceMethods(live, compute_thread, settings, lambda: self._health.serving)
        services = {
            codec.SERVICE: quadrant.make_handlers(factory),
            servicer.SERVICE: InferenceServicer(methods, compute_thread).make_handlers(factory),
            HEALTH_SERVICE: self._health.make_handlers(factory),
        }
        if not settings.no_reflection:
            services |= make_reflection_handlers(factory, services)
        self._services = services
        for service, handlers in services.items():
            self._server.add_registered_method_handlers(service, handlers)
        self.port = self._bind(shared_port=shared_port)
        self.http_port: int | None = None
        self._http: HttpServer | None = None
        if settings.http_port is not None:
            sockets = listen_on_port(
                settings.host,
                settings.http_port,
                shared_port=shared_port,
                kind=ErrorKind.HTTP_ADDRESS,
            )
            self.http_port = sockets[0].getsockname()[1]
            # Only here: these modules need an extra, and their import takes a tenth of a second.
            from service.rest.assembly import make_http_server  # noqa: PLC0415

            self._http = make_http_server(
                settings,
                policies,
                sockets,
                inference=methods,
                quadrant=quadrant,
                compute_thread=compute_thread,
            )
        self._shutdown = Shutdown(
            settings,
            server=self._server,
            handlers=self._handlers,
            draining=draining,
            health=self._health,
            sockets=ServerSockets(self.port),
            http=self._http,
        )

    async def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Serve until a signal arrives; then drain and return. A second signal stops at once.

        `on_start` is called once the first version is loaded or has failed to load, or the registry
        has not responded for ten seconds.
        """
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self.request_stop)
        await self.serve(on_start)

    async def serve(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Serve until `request_stop` is called, without signal handlers; otherwise as `run`."""
        self._health.set_serving(serving=False)
        # Overflows in the network show in the answers. The tasks of the calls inherit this setting.
        with np.errstate(all="ignore"):
            await self._server.start()
            if self._http is not None:
                await self._http.start()
        polling = asyncio.create_task(self._poll_registry())
        polled = asyncio.create_task(self._polled.wait())
        stop_requested = asyncio.create_task(self._signals.get())
        # A registry that does not respond must delay neither the announcement nor the stop.
        await asyncio.wait((polled, stop_requested), return_when=asyncio.FIRST_COMPLETED)
        if not stop_requested.done():
            on_start()
        await stop_requested
        polled.cancel()
        await self._shutdown.run(self._signals)
        polling.cancel()
        self._handlers.close()
        self._backlog.close()

    def request_stop(self) -> None:
        """Stop as after a signal. Must be called on the server's event loop."""
        self._signals.put_nowait(1)

    async def _poll_registry(self) -> None:
        while True:
            await self._refresh()
            self._polled.set()
            await asyncio.sleep(self._settings.poll)

    async def _refresh(self) -> None:
        try:
            # On a separate thread, which calls cannot keep busy.
            refresh = run_in_daemon_thread("registry-poll", self._live.refresh)
            done, _ = await asyncio.wait((refresh,), timeout=_SECONDS_UNTIL_UNRESPONSIVE)
            if not done:
                self._live.report_unresponsive_registry(_SECONDS_UNTIL_UNRESPONSIVE)
                self._polled.set()
            await refresh
        except Exception:  # noqa: BLE001 - polling must continue after any error
            _log.exception("registry poll failed")
        self._health.set_serving(serving=self._live.current is not None)

    async def _refuse_unknown(self, context: Context) -> None:
        await self._handlers.refuse_unknown(context, self._services)

    def _bind(self, *, shared_port: bool) -> int:
        settings = self._settings
        if not shared_port:
            check_port_is_free(settings.host, settings.port)
        where = join_address(settings.host, settings.port)
        try:
            files = ServerTLSFiles.from_paths(
                settings.tls_cert, settings.tls_key, settings.tls_client_ca
            )
            if files is None:
                return self._server.add_insecure_port(where)
            return self._server.add_secure_port(where, files.make_credentials())
        except RuntimeError as error:
            raise CannotListen(
                f"{where} cannot be listened on.", kind=ErrorKind.SERVER_ADDRESS
            ) from error
