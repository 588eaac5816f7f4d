"""The verbs `serve` and `up`, which run a server until a signal arrives."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

import structlog

from quadnet.cli.settings import DEFAULT_HOST, DEFAULT_PORT
from quadnet.extras import missing_extra, missing_packages, require_extras
from service.net import address
from service.net.address import WILDCARD_HOSTS, join_address
from service.net.tls import ServerTLSFiles
from service.playground.page_address import listen_for_page, page_url
from service.playground.page_process import PageProcess
from service.server.metrics_endpoint import expose_metrics
from service.server.stop_signals import stop_signals
from service.server.supervisor import Supervisor
from service.server.worker import serve_in_process
from service.settings import PageSettings, PlaygroundSettings, ServeSettings, UpSettings
from service.telemetry.logs import configure_logging

_log = structlog.get_logger(__name__)


Hints = Callable[[int], str]
"""Returns further lines of the announcement, given the server's port. It may take seconds."""


def serve_with_page(settings: UpSettings) -> int:
    """Serve until a signal arrives, with the page if its extra is installed, and print hints."""
    with ExitStack() as held:
        page, where = None, ""
        wanted = not settings.no_page and settings.tls_cert is None
        if wanted and not missing_packages("playground"):
            # Listens before anything is started, so that a taken port ends the command.
            listener = held.enter_context(listen_for_page(settings))
            page, where = PageProcess(listener), page_url(settings, listener)
            held.callback(page.stop)

        def hints(port: int) -> str:
            return f"{_page_line(settings, page, where, port)}{_hints(settings, port)}"

        return serve(settings, hints)


def serve(settings: ServeSettings, hints: Hints | None = None) -> int:
    """Serve until a signal arrives."""
    # Until the server or the supervisor installs its own handler, there is nothing to drain.
    for number in stop_signals():
        signal.signal(number, lambda *_: sys.exit(0))
    configure_logging(settings.log_level)
    # Before anything is started, so that what is missing or invalid is reported once.
    if settings.http_port is not None:
        require_extras("--http-port", "rest")
    files = _read_tls_files(settings)
    supervisor = Supervisor(settings) if settings.workers > 1 else None
    metrics_port = None
    if settings.metrics_port is not None:
        metrics_port = expose_metrics(settings.metrics_host, settings.metrics_port, supervisor)

    def announce(state: str, port: int) -> None:
        print(state)
        if metrics_port is not None:
            where = join_address(settings.metrics_host, metrics_port)
            print(f"Metrics for Prometheus on http://{where}/metrics.")
        if hints is not None:
            print(hints(port))
        print("Ctrl-C stops it.", flush=True)

    def started(state: str, port: int) -> None:
        # On a thread, because `hints` may wait and the event loop must not.
        threading.Thread(target=announce, args=(state, port), daemon=True).start()
        if files is None and not address.is_loopback(settings.host):
            _log.warning(
                "no TLS: others on the network can read and change all data",
                host=settings.host,
                advice="set --tls-cert and --tls-key, or listen on 127.0.0.1",
            )

    if supervisor is None:
        serve_in_process(settings, started)
    else:
        asyncio.run(supervisor.run(started))
    print("Stopped.", flush=True)
    return 0


def _read_tls_files(settings: ServeSettings) -> ServerTLSFiles | None:
    """Return the files of TLS once they are known to be valid; None for a server without TLS."""
    files = ServerTLSFiles.from_paths(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    if files is not None:
        files.read()
    return files


def _page_line(settings: UpSettings, page: PageProcess | None, where: str, port: int) -> str:
    """Start the page; return a line about it, or "" if the page is not wanted."""
    if page is not None:
        page_settings = PlaygroundSettings(
            host=_callable_host(settings),
            port=port,
            token_file=settings.token_file,
            log_level=settings.log_level,
            **settings.model_dump(include=set(PageSettings.model_fields)),
        )
        answers = page.start(page_settings)
        return f"The page: {where}\n" if answers else "The page did not start; see the log.\n"
    if settings.no_page:
        return ""
    if settings.tls_cert is not None:
        # The page would need to know which certificate authority to trust.
        return "The page, over TLS: quadnet playground --tls-ca FILE\n"
    return f"{missing_extra('The page', 'playground')}\n"


def _callable_host(settings: ServeSettings) -> str:
    # A client cannot call a wildcard address.
    return DEFAULT_HOST if settings.host in WILDCARD_HOSTS else settings.host


def _hints(settings: ServeSettings, port: int) -> str:
    # uv sets this variable for its child processes: then the next command uses uv as well.
    quadnet = "uv run quadnet" if os.environ.get("UV") else "quadnet"
    host = _callable_host(settings)
    options = "" if host == DEFAULT_HOST else f" --host {host}"
    options += "" if port == DEFAULT_PORT else f" --port {port}"
    return (
        "In another terminal:\n"
        f"  {quadnet} classify 0.5 0.5 -0.3 0.8{options}\n"
        '  grpcurl -plaintext -d \'{"x": [0.5, -0.3], "y": [0.5, 0.8]}\' '
        f"{join_address(host, port)} quadrant.v1.QuadrantService/Classify"
    )
