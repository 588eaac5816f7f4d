"""The HTTP server: its sockets, its connections, and how it stops."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from email.utils import formatdate
from typing import Any

import uvicorn

from quadnet.errors import QuadnetError
from service.net.tls import ServerTLSFiles
from service.net.tls_context import make_reloaded_context
from service.rest.connection import MAX_HEAD_BYTES, SECONDS_IDLE, Connections, RestConnection
from service.rest.http_runner import HttpRunner

_CONNECTIONS_PER_CALL = 8
_MIN_CONNECTIONS = 256

_SECONDS_FOR_HANDSHAKE = 10.0
_SECONDS_FOR_TLS_CLOSE = 2.0
_SECONDS_FOR_LATE = 0.1


class HttpServer:
    """Answers requests on sockets that are bound already.

    Parameters
    ----------
    runner : HttpRunner
    sockets : sequence of socket
    tls : ServerTLSFiles or None
    limit : int
        Maximum number of calls in progress; there may be eight times as many connections.
    """

    def __init__(
        self,
        runner: HttpRunner,
        sockets: Sequence[socket.socket],
        tls: ServerTLSFiles | None,
        *,
        limit: int,
    ) -> None:
        self._runner = runner
        self._sockets = sockets
        # Read here, so that invalid files end the start of the server.
        self._tls_options: dict[str, Any] = {}
        if tls is not None:
            self._tls_options = {
                "ssl": make_reloaded_context(tls, ("http/1.1",)),
                "ssl_handshake_timeout": _SECONDS_FOR_HANDSHAKE,
                "ssl_shutdown_timeout": _SECONDS_FOR_TLS_CLOSE,
            }
        self._connections = Connections(max(_MIN_CONNECTIONS, _CONNECTIONS_PER_CALL * limit))
        self._config = _make_config()
        self._servers: list[asyncio.Server] = []
        self._dating: asyncio.TimerHandle | None = None
        self._late: asyncio.Future[Any] | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        self._set_date()
        for each in self._sockets:
            server = await asyncio.get_running_loop().create_server(
                self._make_connection, sock=each, **self._tls_options
            )
            self._servers.append(server)

    def drain(self, seconds: float, error: Callable[[], QuadnetError]) -> None:
        """From now on close each connection with its next answer.

        A call that has waited for its body for this many seconds ends with this error.
        """
        self._runner.is_draining = True
        self._runner.end_idle_calls(seconds, error)

    @contextmanager
    def refusals_held(self) -> Iterator[None]:
        """Answer no refused request inside the `with` block."""
        self._runner.may_refuse.clear()
        try:
            yield
        finally:
            self._runner.may_refuse.set()

    def close_idle(self) -> int:
        """Close the connections without a request; return how many others are open."""
        for each in list(self._connections.idle):
            each.close_if_idle()
        return len(self._connections.state.connections)

    async def stop_listening(self) -> None:
        """Refuse new connections from now on; handle those that were waiting to be accepted."""
        waiting = [connection for each in self._sockets for connection in _accept_all(each)]
        for server in self._servers:
            server.close()
        for each in self._sockets:
            each.close()
        if not waiting:
            return
        loop = asyncio.get_running_loop()
        connecting = (
            loop.connect_accepted_socket(self._make_connection, each, **self._tls_options)
            for each in waiting
        )
        # A client may have gone, or may not complete its TLS handshake.
        self._late = asyncio.gather(*connecting, return_exceptions=True)
        await asyncio.wait((self._late,), timeout=_SECONDS_FOR_LATE)

    async def stop(self) -> None:
        """Close every connection at once, and wait until the last requests have ended."""
        self._runner.closes_connections = True
        await self.stop_listening()
        for each in list(self._connections.state.connections):
            assert isinstance(each, RestConnection)
            each.abort()
        tasks = list(self._connections.state.tasks)
        if tasks:
            await asyncio.wait(tasks)
        for running in (self._dating, self._late):
            if running is not None:
                running.cancel()
        self._runner.close()

    def _make_connection(self) -> RestConnection:
        return RestConnection(self._config, self._connections, self._runner.run)

    def _set_date(self) -> None:
        """Set the header Date of all answers, once a second."""
        self._connections.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._dating = asyncio.get_running_loop().call_later(1.0, self._set_date)


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """Accept the connections that wait at a socket."""
    found = []
    # BlockingIOError: no further one waits.
    with suppress(OSError):
        while True:
            found.append(listener.accept()[0])
    for each in found:
        each.setblocking(False)
    return found


def _make_config() -> uvicorn.Config:
    """Return uvicorn's settings for a connection."""
    config = uvicorn.Config(
        _unused_app,
        interface="asgi3",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=SECONDS_IDLE,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    config.load()
    return config


async def _unused_app(_scope: object, _receive: object, _send: object) -> None:
    """Stand in for the application, which each connection has itself."""
