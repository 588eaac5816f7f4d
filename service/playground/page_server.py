"""The process of the page: the gRPC server of the sandboxes and the gateway on one event loop."""

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
from service.client.channel import open_channel, read_authorization
from service.net import address
from service.net.address import join_address
from service.playground.gateway import Gateway, GrpcTarget
from service.playground.host_check import SECURITY_HEADERS, allowed_hosts
from service.playground.page_address import page_url
from service.playground.sandbox_server import MAX_MESSAGE_BYTES, SandboxServer
from service.server.process_settings import receive_settings
from service.server.stop_signals import stop_signals
from service.settings import PlaygroundSettings
from service.telemetry import logs
from service.telemetry.logs import configure_logging

_log = structlog.get_logger(__name__)

_CHANNEL_OPTIONS = (
    # The page itself retries, and reports within seconds that the server is gone.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class _PageServer(uvicorn.Server):
    """Uvicorn without its signal handlers. Calls `on_start` once it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests."""
        await super().startup(sockets=sockets)
        self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


class _Http(H11Protocol):
    """Adds the configured headers to the response to a request that is not valid HTTP."""

    def send_400_response(self, msg: str) -> None:
        """Send status 400 and close the connection."""
        lines = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
            (b"content-length", str(len(msg)).encode()),
        ]
        head = b"".join(b"%s: %s\r\n" % line for line in lines)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + msg.encode())
        self.transport.close()


def run_page(settings: PlaygroundSettings, listener: socket.socket) -> int:
    """Serve the page until a signal arrives; return the exit code."""
    configure_logging(settings.log_level)
    asyncio.run(_serve_page(settings, listener))
    print("Stopped.", flush=True)
    return 0


async def _serve_page(
    settings: PlaygroundSettings, listener: socket.socket, *, started_by_server: bool = False
) -> None:
    sandbox_server = SandboxServer(max_runs=settings.max_runs, max_seconds=settings.run_seconds)
    served = open_channel(
        grpc.aio,
        settings.address,
        *_CHANNEL_OPTIONS,
        tls_ca=settings.tls_ca,
        tls_client_cert=settings.tls_client_cert,
        tls_client_key=settings.tls_client_key,
    )
    where = join_address(DEFAULT_HOST, sandbox_server.port)
    sandboxes = open_channel(
        grpc.aio, where, ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)
    )
    allowed = allowed_hosts(settings.page_host, listener.getsockname()[1], settings.allow_host)
    gateway = Gateway(
        GrpcTarget(served, settings.address, read_authorization(settings.token_file)),
        GrpcTarget(sandboxes, where),
        allowed,
    )
    config = uvicorn.Config(
        gateway.app,
        http=_Http,
        # Not in a middleware, so that responses of the HTTP server itself have them too.
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
        if started_by_server:
            # For the process that started this one and waits for a line.
            print("The page responds.", flush=True)
            return
        print(f"The page: {page_url(settings, listener)}")
        print(f"It calls the server at {settings.address}, and trains sandboxes at {where}.")
        print("Ctrl-C stops it.", flush=True)

    server = _PageServer(config, announce)

    def stop() -> None:
        server.should_exit = True

    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop)
    if not address.is_loopback(settings.page_host):
        _log.warning(
            "the page has no TLS and no password: others on the network can use it",
            host=settings.page_host,
            advice="keep it on 127.0.0.1, or put a proxy with TLS and a password in front of it",
        )
    async with served, sandboxes:
        await sandbox_server.start()
        with _stop_at_end_of_input(stop) if started_by_server else nullcontext():
            try:
                await server.serve(sockets=[listener])
            finally:
                await sandbox_server.stop()


@contextmanager
def _stop_at_end_of_input(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the end of standard input: the starting process has closed it, or is gone."""
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
    """Serve the page for a server, with settings from the first line of standard input."""
    given = receive_settings()
    if given is None:
        return 0
    settings = PlaygroundSettings(**given["settings"])
    with logs.background_output(), socket.socket(fileno=given["socket"]) as listener:
        configure_logging(settings.log_level)
        asyncio.run(_serve_page(settings, listener, started_by_server=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
