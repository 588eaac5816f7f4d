"""The gRPC server: put together, started, and stopped without losing a call.

Calls run on one thread, an event loop: see ARCHITECTURE.md for why.
"""

import asyncio
from collections.abc import Callable, Sequence

import grpc
import grpc.aio
import numpy as np
import structlog

from service.inference_v2 import servicer
from service.inference_v2.servicer import InferenceServicer
from service.models.live_models import LiveModels
from service.models.registry_reads import run_in_daemon_thread
from service.net import address
from service.net.address import CannotListen
from service.net.connections import ServerSockets
from service.net.tls import ServerFiles
from service.quadrant_v1 import codec
from service.quadrant_v1.servicer import QuadrantServicer
from service.rpc.backlog import Backlog
from service.rpc.call import Context
from service.rpc.compute_thread import ComputeThread
from service.rpc.handlers import HandlerFactory
from service.rpc.policies.access_log import AccessLog
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import Admission
from service.rpc.policies.authentication import Authentication
from service.rpc.policies.deadline import Deadline
from service.rpc.policies.draining import Draining, stopping_error
from service.rpc.policies.measurement import Measurement
from service.rpc.policies.policy import CallPolicy
from service.server import health, reflection
from service.server.health import Health
from service.server.stop_signals import stop_signals
from service.server.transport import make_server
from service.settings import ServeSettings

SERVICES = (codec.SERVICE, servicer.SERVICE)

_LARGE = 2**31 - 1
_MIB = 2**20

_STREAMS = 128
"""The least limit of calls in progress on one connection. A client delays the others itself."""

_IDLE_SECONDS = 1.0
"""Once new calls are refused, calls that have waited so long for their caller are ended."""

_QUIET_SECONDS = 0.1
_MOST_SECONDS_TO_QUIET = 1.0
"""New calls are refused in words until none has come for a while; then the connections end."""

_SECONDS_BETWEEN_CLOSES = 0.02
_LAST_ANSWERS = 5.0
"""Seconds, within the grace, that clients have to read the last bytes sent to them."""
_SECONDS_TO_PART = 1.0
"""Seconds that clients have to close a connection that was closed for sending."""

_SECONDS_UNTIL_SILENT = 10.0
"""Seconds after which a registry that does not answer is reported as a failure."""

_log = structlog.get_logger(__name__)


def make_policies(settings: ServeSettings, draining: Draining) -> list[CallPolicy]:
    """Return the policies that the settings ask for, the outermost first.

    A server that stops says so, also when it is busy: `draining` comes before the limits.
    """
    chosen: list[CallPolicy] = [Accounting(AccessLog(), Measurement())]
    if settings.token_file is not None:
        chosen.append(Authentication(settings.token_file))
    return [*chosen, draining, Admission(settings.max_calls), Deadline()]


class Server:
    """A gRPC server over live models. Made, run and ended on one event loop.

    Parameters
    ----------
    live : LiveModels
    settings : ServeSettings
    policies : sequence of Policy
    draining : Draining
        The one among the policies that refuses calls while the server stops.
    transport : callable, default=make_server
        Makes gRPC's part of the server; takes what `make_server` takes.
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
        policies: Sequence[CallPolicy],
        draining: Draining,
        *,
        transport: Callable[..., grpc.aio.Server] = make_server,
        shared_port: bool = False,
    ) -> None:
        self._live = live
        self._settings = settings
        self._health = Health(("", *SERVICES))
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        # Set once the registry was looked at, or has not answered.
        self._looked = asyncio.Event()

        self._server = transport(
            _options(settings, shared_port=shared_port),
            self._refuse_unknown,
        )
        self._backlog = Backlog()
        self._draining = draining
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
        tensors = InferenceServicer(live, compute_thread, settings, lambda: self._health.serving)
        services = {
            codec.SERVICE: quadrant.make_handlers(factory),
            servicer.SERVICE: tensors.make_handlers(factory),
            health.NAME: self._health.make_handlers(factory),
        }
        if not settings.no_reflection:
            services |= reflection.services(factory, services)
        self._services = services
        for service, methods in services.items():
            self._server.add_registered_method_handlers(service, methods)
        self.port = self._bind(shared_port=shared_port)
        self._sockets = ServerSockets(self.port)

    async def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Serve until a signal comes; then drain and return. A second signal stops at once.

        `on_start` is called once the first version is loaded, or is known not to load, or the
        registry has not answered for ten seconds.
        """
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self.ask_to_stop)
        await self.serve(on_start)

    async def serve(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Do so until `ask_to_stop` is called; signals are the caller's."""
        self._health.report(serving=False)
        # What overflows on the way shows in the answer. The calls' tasks inherit this.
        with np.errstate(all="ignore"):
            await self._server.start()
        watching = asyncio.create_task(self._watch())
        looked = asyncio.create_task(self._looked.wait())
        asked_to_stop = asyncio.create_task(self._signals.get())
        # A registry that does not answer must hold up neither the announcement nor the stop.
        await asyncio.wait((looked, asked_to_stop), return_when=asyncio.FIRST_COMPLETED)
        if not asked_to_stop.done():
            on_start()
        await asked_to_stop
        looked.cancel()
        await self._stop()
        watching.cancel()
        self._handlers.close()
        self._backlog.close()

    def ask_to_stop(self) -> None:
        """Do what a signal does. Must be called on the server's event loop."""
        self._signals.put_nowait(1)

    async def _stop(self) -> None:
        """Say NOT_SERVING, wait for the drain delay, refuse new calls, finish the others.

        Another signal ends all waiting.
        """
        settings = self._settings
        _log.info("stopping", drain_delay=settings.drain_delay, grace=settings.grace)
        self._health.report_stopping()
        another = asyncio.create_task(self._signals.get())
        await asyncio.wait((another,), timeout=settings.drain_delay)
        finishing = asyncio.create_task(self._finish())
        await asyncio.wait((finishing, another), return_when=asyncio.FIRST_COMPLETED)
        finishing.cancel()
        another.cancel()
        await asyncio.gather(finishing, another, return_exceptions=True)
        if self._draining.in_flight.n:
            _log.warning("cut off", calls=self._draining.in_flight.n)
        self._handlers.expect_closed_connections()
        # gRPC would end what is left with CANCELLED, which clients do not try again.
        self._sockets.stop_listening()
        self._sockets.finish_sending(lose_unsent=True)
        await self._server.stop(None)

    async def _finish(self) -> None:
        """Refuse new calls, let the others end within the grace, then end the connections."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.grace
        self._handlers.end_idle_calls(_IDLE_SECONDS, stopping_error)
        draining = asyncio.create_task(self._draining.drain())
        done, _ = await asyncio.wait((draining,), timeout=self._settings.grace)
        draining.cancel()
        if not done:
            return
        await self._draining.wait_until_quiet(
            _QUIET_SECONDS, at_most=min(_MOST_SECONDS_TO_QUIET, max(end - loop.time(), 0))
        )
        # Only now, when no client can begin another watch.
        last = min(end, loop.time() + _LAST_ANSWERS)
        ending = asyncio.create_task(self._health.end_watches())
        await asyncio.wait((ending,), timeout=max(last - loop.time(), 0))
        ending.cancel()
        self._handlers.expect_closed_connections()
        self._sockets.stop_listening()
        # Every answer has been handed to the kernel. A client that reads slowly has some time.
        while self._sockets.finish_sending() and loop.time() < last:
            await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)
        # Once more, for connections that were accepted meanwhile; then clients close their side.
        await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)
        self._sockets.finish_sending()
        last = loop.time() + _SECONDS_TO_PART
        while self._sockets.n_connections() and loop.time() < last:
            await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)

    async def _watch(self) -> None:
        """Follow the registry."""
        while True:
            await self._refresh()
            self._looked.set()
            await asyncio.sleep(self._settings.poll)

    async def _refresh(self) -> None:
        try:
            # On a thread of its own, which no call can keep busy.
            refresh = run_in_daemon_thread("registry-poll", self._live.refresh)
            done, _ = await asyncio.wait((refresh,), timeout=_SECONDS_UNTIL_SILENT)
            if not done:
                self._live.report_unresponsive_registry(_SECONDS_UNTIL_SILENT)
                self._looked.set()
            await refresh
        except Exception:  # noqa: BLE001 - whatever it is, watching goes on
            _log.exception("the registry could not be looked at")
        self._health.report(serving=self._live.current is not None)

    async def _refuse_unknown(self, context: Context) -> None:
        await self._handlers.refuse_unknown(context, self._services)

    def _bind(self, *, shared_port: bool) -> int:
        settings = self._settings
        if not shared_port:
            address.check_free(settings.host, settings.port)
        where = address.join(settings.host, settings.port)
        try:
            files = ServerFiles.from_paths(
                settings.tls_cert, settings.tls_key, settings.tls_client_ca
            )
            if files is None:
                return self._server.add_insecure_port(where)
            return self._server.add_secure_port(where, files.credentials())
        except RuntimeError as error:
            raise CannotListen(
                f"{where} cannot be listened on. Choose another with --port or --host."
            ) from error


def _margin(limit: int) -> int:
    """Return by how many bytes a message may exceed the limit and still be refused in words."""
    return max(_MIB, min(limit, 4 * _MIB))


def _options(settings: ServeSettings, *, shared_port: bool) -> list[tuple[str, int]]:
    age = int(settings.connection_age * 1000)
    return [
        # The guard refuses what is above the limit, in words, and the log has the status. What is
        # far above it gRPC refuses, from the length that precedes it. The margin costs memory: so
        # much more each message may hold while it arrives.
        (
            "grpc.max_receive_message_length",
            min(_LARGE, settings.max_message_bytes + _margin(settings.max_message_bytes)),
        ),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # By default a second server on the same port starts, silently, and gets some of the
        # connections.
        ("grpc.so_reuseport", int(shared_port)),
        # Calls that wait inside gRPC are bounded by connection, and what a client resets frees a
        # place. Without it, 50,000 calls begun and reset on one connection take 700 MB and hold up
        # the others for seconds.
        ("grpc.max_concurrent_streams", max(_STREAMS, 2 * settings.max_calls)),
        ("grpc.enable_channelz", 1),
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
        # Clients' usual interval is 10 s, on idle connections too. Fewer than that, because a
        # client's clock may be a little ahead: three early pings would end its connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
