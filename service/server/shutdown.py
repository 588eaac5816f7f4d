"""Stops a server without losing a call.

gRPC alone ends with CANCELLED the calls that it has received and not yet passed to the server, and
clients do not retry those. So the server first refuses new calls with UNAVAILABLE until they stop
arriving, then closes the connections itself, and only then stops gRPC.
"""

import asyncio
from typing import TYPE_CHECKING

import grpc.aio
import structlog

from service.net.connections import ServerSockets
from service.rpc.handlers import HandlerFactory
from service.rpc.policies.draining import Draining, stopping_error
from service.server.health import HealthServicer
from service.settings import ServeSettings

if TYPE_CHECKING:
    from service.rest.http_server import HttpServer

_IDLE_SECONDS = 1.0
"""Calls that have waited this long for their caller are ended once new calls are refused."""

_QUIET_SECONDS = 0.1
_MAX_SECONDS_UNTIL_QUIET = 1.0
"""New calls are refused until a while passes without one; then the connections are closed."""

_SECONDS_BETWEEN_CLOSES = 0.02

_SECONDS_TO_HOLD_REFUSALS = 0.1
"""Time before the end of listening for which requests over HTTP wait for their refusal."""

_SECONDS_FOR_LAST_ANSWERS = 5.0
"""Time, within the grace period, for clients to read the last bytes sent to them."""

_SECONDS_FOR_CLIENTS_TO_CLOSE = 1.0
"""Time for clients to close a connection that the server has closed for sending."""

_log = structlog.get_logger(__name__)


class Shutdown:
    """Stops the parts of a server in order.

    Parameters
    ----------
    settings : ServeSettings
        Has the drain delay and the grace period.
    server : grpc.aio.Server
    handlers : HandlerFactory
    draining : Draining
    health : HealthServicer
    sockets : ServerSockets
    http : HttpServer or None
        The server of the REST methods, which is stopped in the same steps.
    """

    def __init__(
        self,
        settings: ServeSettings,
        *,
        server: grpc.aio.Server,
        handlers: HandlerFactory,
        draining: Draining,
        health: HealthServicer,
        sockets: ServerSockets,
        http: "HttpServer | None",
    ) -> None:
        self._settings = settings
        self._server = server
        self._handlers = handlers
        self._draining = draining
        self._health = health
        self._sockets = sockets
        self._http = http

    async def run(self, signals: "asyncio.Queue[int]") -> None:
        """Report NOT_SERVING, wait for the drain delay, refuse new calls, finish the others.

        A further signal ends all waiting.
        """
        settings = self._settings
        _log.info("stopping", drain_delay=settings.drain_delay, grace=settings.grace)
        self._health.set_stopping()
        another_signal = asyncio.create_task(signals.get())
        await asyncio.wait((another_signal,), timeout=settings.drain_delay)
        finishing = asyncio.create_task(self._finish_calls())
        await asyncio.wait((finishing, another_signal), return_when=asyncio.FIRST_COMPLETED)
        finishing.cancel()
        another_signal.cancel()
        await asyncio.gather(finishing, another_signal, return_exceptions=True)
        if self._draining.in_flight.n:
            _log.warning("calls cut off", calls=self._draining.in_flight.n)
        self._handlers.expect_closed_connections()
        if self._http is not None:
            await self._http.stop()
        # gRPC would end the remaining calls with CANCELLED, which clients do not retry.
        self._sockets.stop_listening()
        self._sockets.finish_sending(lose_unsent=True)
        await self._server.stop(None)

    async def _finish_calls(self) -> None:
        """Refuse new calls, wait for the others within the grace period, close the connections."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.grace
        self._handlers.end_idle_calls(_IDLE_SECONDS, stopping_error)
        if self._http is not None:
            self._http.drain(_IDLE_SECONDS, stopping_error)
        draining = asyncio.create_task(self._draining.drain())
        done, _ = await asyncio.wait((draining,), timeout=self._settings.grace)
        draining.cancel()
        if not done:
            return
        await self._draining.wait_until_quiet(
            _QUIET_SECONDS, at_most=min(_MAX_SECONDS_UNTIL_QUIET, max(end - loop.time(), 0))
        )
        # Health watches end only now, when no client can start another one.
        last = min(end, loop.time() + _SECONDS_FOR_LAST_ANSWERS)
        ending = asyncio.create_task(self._health.end_watches())
        await asyncio.wait((ending,), timeout=max(last - loop.time(), 0))
        ending.cancel()
        self._handlers.expect_closed_connections()
        self._sockets.stop_listening()
        closing = asyncio.create_task(self._close_http(last))
        try:
            await self._close_grpc(last)
            await closing
        finally:
            closing.cancel()

    async def _close_grpc(self, last: float) -> None:
        """Close the connections over gRPC once everything is sent, and wait for the clients."""
        loop = asyncio.get_running_loop()
        # Every answer has been passed to the kernel. Slow clients have some time to read.
        while self._sockets.finish_sending() and loop.time() < last:
            await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)
        # Once more for connections that were accepted in the meantime. Then clients close theirs.
        await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)
        self._sockets.finish_sending()
        last = loop.time() + _SECONDS_FOR_CLIENTS_TO_CLOSE
        while self._sockets.n_connections() and loop.time() < last:
            await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)

    async def _close_http(self, last: float) -> None:
        """Stop listening over HTTP, and close the connections once their answers are read.

        The kernel resets connections that are not accepted yet. So refusals are held back for a
        moment: a client that waits for one opens no connection.
        """
        if self._http is None:
            return
        loop = asyncio.get_running_loop()
        with self._http.refusals_held():
            await asyncio.sleep(_SECONDS_TO_HOLD_REFUSALS)
            await self._http.stop_listening()
        while self._http.close_idle() and loop.time() < last:
            await asyncio.sleep(_SECONDS_BETWEEN_CLOSES)
