"""The page's process: the sandboxes' gRPC server and the gateway on one event loop."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import grpc.aio
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from quadnet.cli.settings import DEFAULT_HOST
from service.client.channel import authorization, connect
from service.net import address
from service.net.address import join_address
from service.playground import page_process
from service.playground.gateway import Gateway, Target
from service.playground.host_check import SECURITY_HEADERS, allowed_hosts
from service.playground.sandbox_server import MAX_MESSAGE_BYTES, PlaygroundServer
from service.server.process_settings import receive_settings
from service.server.stop_signals import stop_signals
from service.settings import PlaygroundSettings
from service.telemetry import logs
from service.telemetry.logs import configure_logging

_log = structlog.get_logger(__name__)

_DIALLING = (
    # The page says within seconds that the server is gone, and asks again by itself.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to us: there is one way to stop. Calls `on_start` once it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets=sockets)
        self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Http(H11Protocol):
    """Adds the configured headers to the answer to a request that is not HTTP."""

    def send_400_response(self, msg: str) -> None:
        """Answer with status 400 and close the connection."""
        lines = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
            (b"content-length", str(len(msg)).encode()),
        ]
        head = b"".join(b"%s: %s\r\n" % line for line in lines)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + msg.encode())
        self.transport.close()


def run(settings: PlaygroundSettings, listener: socket.socket) -> int:
    """Show the page until SIGTERM or SIGINT."""
    configure_logging(settings.log_level)
    asyncio.run(_serve(settings, listener))
    print("Stopped.", flush=True)
    return 0


async def _serve(
    settings: PlaygroundSettings, listener: socket.socket, *, beside_server: bool = False
) -> None:
    playground = PlaygroundServer(max_runs=settings.max_runs, max_seconds=settings.run_seconds)
    served = connect(
        grpc.aio,
        settings.address,
        *_DIALLING,
        tls_ca=settings.tls_ca,
        tls_client_cert=settings.tls_client_cert,
        tls_client_key=settings.tls_client_key,
    )
    where = join_address(DEFAULT_HOST, playground.port)
    sandboxes = connect(grpc.aio, where, ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES))
    allowed = allowed_hosts(settings.page_host, listener.getsockname()[1], settings.allow_host)
    gateway = Gateway(
        Target(served, settings.address, authorization(settings.token_file)),
        Target(sandboxes, where),
        allowed,
    )
    config = uvicorn.Config(
        gateway.app,
        http=_Http,
        # Here, not in a middleware: what the HTTP server itself answers has them, too.
        headers=list(SECURITY_HEADERS.items()),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        ws="none",
    )

    def announce() -> None:
        if beside_server:
            # To the process that has started this one, which waits for it.
            print("The page answers.", flush=True)
            return
        print(f"The page: {page_process.url(settings, listener)}")
        print(f"It asks the server at {settings.address}, and trains sandboxes at {where}.")
        print("Ctrl-C stops it.", flush=True)

    server = _Uvicorn(config, announce)

    def stop() -> None:
        server.should_exit = True

    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop)
    if not address.is_loopback(settings.page_host):
        _log.warning(
            "the page has no TLS and asks for no password: others on the network can use it",
            host=settings.page_host,
            advice="leave it on 127.0.0.1, or put a proxy that does both in front of it",
        )
    async with served, sandboxes:
        await playground.start()
        with _told_by_standard_input(stop) if beside_server else nullcontext():
            try:
                await server.serve(sockets=[listener])
            finally:
                await playground.stop()


@contextmanager
def _told_by_standard_input(stop: Callable[[], None]) -> Iterator[None]:
    """Stop when standard input ends: whoever opened the page is then gone, or has closed it."""
    loop, end = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if not os.read(end, 1024):
            loop.remove_reader(end)
            stop()

    loop.add_reader(end, read)
    try:
        yield
    finally:
        loop.remove_reader(end)


def main() -> int:
    """Show the page beside a server: the first line of standard input holds the settings."""
    given = receive_settings()
    if given is None:
        return 0
    settings = PlaygroundSettings(**given["settings"])
    with logs.background_output(), socket.socket(fileno=given["socket"]) as listener:
        configure_logging(settings.log_level)
        asyncio.run(_serve(settings, listener, beside_server=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
