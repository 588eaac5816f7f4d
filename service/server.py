"""The gRPC server: put together, started, and stopped without losing a call.

Calls run on one thread, an event loop: see ARCHITECTURE.md for why.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence

import grpc
import grpc.aio
import numpy as np
import structlog

from service import address, codec, health, inference, reflection
from service.address import CannotListen
from service.guard import Guard, Handler
from service.health import Health
from service.inference import InferenceServicer
from service.live import LiveModels
from service.policies.access_log import AccessLog
from service.policies.accounting import Accounting
from service.policies.admission import Admission
from service.policies.authentication import Authentication
from service.policies.deadline import Deadline
from service.policies.draining import Draining
from service.policies.measurement import Measurement
from service.policies.policy import Policy
from service.servicer import QuadrantServicer
from service.settings import ServeSettings
from service.slices import Slices
from service.tls import ServerFiles

SERVICES = (codec.SERVICE, inference.SERVICE)

STOPPING = (signal.SIGTERM, signal.SIGINT)

_LARGE = 2**31 - 1

_LAST_ANSWERS = 5.0
"""Seconds that the last answers have, within the grace, to reach whoever reads them slowly.

Without this bound gRPC would also wait, for 20 seconds, for who has connected and never spoken.
"""

_log = structlog.get_logger(__name__)


def policies(settings: ServeSettings) -> list[Policy]:
    """Return the policies that the settings ask for, the outermost first."""
    chosen: list[Policy] = [Accounting(AccessLog(), Measurement())]
    if settings.token_file is not None:
        chosen.append(Authentication(settings.token_file))
    return [*chosen, Admission(settings.max_calls), Deadline()]


class Server:
    """A gRPC server over live models. Made, run and ended on one event loop.

    Parameters
    ----------
    live : LiveModels
    settings : ServeSettings
    policies : sequence of Policy
    transport : callable, default=grpc.aio.server
        Makes the server; takes the options that `grpc.aio.server` takes.
    shared_port : bool, default=False
        Whether other processes may listen on the port, too.

    Attributes
    ----------
    port : int
        The port that is listened on, also where the settings asked for port 0.
    """

    def __init__(
        self,
        live: LiveModels,
        settings: ServeSettings,
        policies: Sequence[Policy],
        *,
        transport: Callable[..., grpc.aio.Server] = grpc.aio.server,
        shared_port: bool = False,
    ) -> None:
        self._live = live
        self._settings = settings
        self._health = Health(("", *SERVICES))
        self._signals: asyncio.Queue[int] = asyncio.Queue()

        self._draining = Draining()
        self._guard = guard = Guard((*policies, self._draining))
        slices = Slices()
        quadrant = QuadrantServicer(
            live,
            slices,
            max_points=settings.max_points,
            max_bytes=settings.max_message_bytes,
        )
        tensors = InferenceServicer(live, slices, settings, lambda: self._health.serving)
        services = {
            codec.SERVICE: quadrant.handlers(guard),
            inference.SERVICE: tensors.handlers(guard),
            health.NAME: self._health.handlers(),
        }
        if not settings.no_reflection:
            services[reflection.NAME] = reflection.handlers(guard, services)
        self._server = transport(options=_options(settings, shared_port=shared_port))
        self._server.add_generic_rpc_handlers((_Methods(services),))
        self.port = self._bind(shared_port=shared_port)

    async def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT; then drain and return. A second signal stops at once.

        `on_start` is called once the first version is loaded, or is known not to load.
        """
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self.ask_to_stop)
        await self.serve(on_start)

    async def serve(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Do so until `ask_to_stop` is called; signals are the caller's."""
        await self._health.report(serving=False)
        # What overflows on the way shows in the answer. The calls' tasks inherit this.
        with np.errstate(all="ignore"):
            await self._server.start()
        await self._refresh()
        watching = asyncio.create_task(self._watch())
        on_start()
        await self._signals.get()
        await self._stop()
        watching.cancel()
        self._guard.close()

    def ask_to_stop(self) -> None:
        """Do what a signal does. Must be called on the server's event loop."""
        self._signals.put_nowait(1)

    async def _stop(self) -> None:
        """Say NOT_SERVING, wait for the drain delay, turn new calls away, finish the others.

        Another signal ends all waiting.
        """
        settings = self._settings
        _log.info("stopping", drain_delay=settings.drain_delay, grace=settings.grace)
        await self._health.report_stopping()
        another = asyncio.create_task(self._signals.get())
        await asyncio.wait((another,), timeout=settings.drain_delay)
        draining = asyncio.create_task(self._draining.drain())
        await asyncio.wait(
            (draining, another),
            timeout=0 if another.done() else settings.grace,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not draining.done():
            _log.warning("cut off", calls=self._draining.in_flight)
        # Their answers still have to reach the connection; others have had their time.
        left = min(settings.grace, _LAST_ANSWERS) if draining.done() else 0
        stopping = asyncio.create_task(self._server.stop(left))
        # Only now, when nobody can begin to watch anew.
        self._health.end_watches()
        await asyncio.wait((stopping, another), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await self._server.stop(None)
        await stopping
        for task in (another, draining):
            task.cancel()

    async def _watch(self) -> None:
        """Follow the registry."""
        while True:
            await asyncio.sleep(self._settings.poll)
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._live.refresh)
        except Exception:  # noqa: BLE001 - whatever it is, watching goes on
            _log.exception("the registry could not be looked at")
        await self._health.report(serving=self._live.current is not None)

    def _bind(self, *, shared_port: bool) -> int:
        settings = self._settings
        if not shared_port:
            address.check_free(settings.host, settings.port)
        where = address.join(settings.host, settings.port)
        try:
            files = ServerFiles.of(settings)
            if files is None:
                return self._server.add_insecure_port(where)
            return self._server.add_secure_port(where, files.credentials())
        except RuntimeError as error:
            raise CannotListen(
                f"{where} cannot be listened on. Choose another with --port or --host."
            ) from error


class _Methods(grpc.GenericRpcHandler):
    """All methods in one table.

    Not registered one by one with the library, as generated code does it: for each call it would
    look at each method's own queue.
    """

    def __init__(self, services: Mapping[str, Mapping[str, Handler]]) -> None:
        self._handlers = {
            f"/{service}/{method}": handler
            for service, methods in services.items()
            for method, handler in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the method's handler, if there is such a method."""
        return self._handlers.get(handler_call_details.method)


def _options(settings: ServeSettings, *, shared_port: bool) -> list[tuple[str, int]]:
    age = int(settings.connection_age * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # By default a second server on the same port starts, silently, and gets some of the
        # connections.
        ("grpc.so_reuseport", int(shared_port)),
        # By default the core itself refuses calls beyond 1,000 that wait to be looked at, with
        # CANCELLED, which few clients try again. How many may be in flight is Admission's to say.
        ("grpc.server.max_pending_requests", _LARGE),
        ("grpc.server.max_pending_requests_hard_limit", _LARGE),
        ("grpc.server_max_unrequested_time_in_server", _LARGE),
        # Connections end in peace after a while, and begin anew with whoever has least to do.
        *([("grpc.max_connection_age_ms", age)] if age else []),
        # What is sent before anybody has looked at the call is kept in memory: let it be little. By
        # default it grows with the speed of the network, to whole messages.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 2**18),
        # A caller that is gone without a word is noticed; one that asks whether we are there may.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
