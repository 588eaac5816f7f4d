"""The verb that serves: settings in, a server that runs until it is told to stop, an exit code."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import structlog

from quadnet.settings import DEFAULT_HOST, DEFAULT_PORT
from service import address, beside, logs, metrics
from service.settings import PageSettings, PlaygroundSettings, ServeSettings, UpSettings
from service.stop_signals import stop_signals
from service.supervisor import Supervisor
from service.tls import ServerFiles
from service.worker import work

_log = structlog.get_logger(__name__)


Hints = Callable[[int], str]
"""Given the port, says what to type next."""


def serve_with_page(settings: UpSettings) -> int:
    """Serve until told to stop, say what to type next, and show the page if its extra is there."""
    with ExitStack() as shown:

        def hints(port: int) -> str:
            page = _page(settings, port)
            if page is not None:
                text = f"The page: {shown.enter_context(page)}\n"
            elif settings.tls_cert is not None and not settings.no_page:
                # It would have to be told whom to trust.
                text = "The page, over TLS: quadnet playground --tls-ca FILE\n"
            else:
                text = ""
            return text + _hints(settings, port)

        return serve(settings, hints)


def serve(settings: ServeSettings, hints: Hints | None = None) -> int:
    """Serve until told to stop."""
    # Until the server, or the supervisor, has its own way of stopping there is nothing to drain.
    for number in stop_signals():
        signal.signal(number, lambda *_: sys.exit(0))
    logs.configure(settings.log_level)
    files = ServerFiles.of(settings)
    if files is not None:
        # Before anything is started: what is wrong with the files is better said once.
        files.read()
    with ExitStack() as held:
        counts = None
        if settings.workers > 1:
            # Where the workers count what they do, so that it can be summed up.
            counts = held.enter_context(
                tempfile.TemporaryDirectory(prefix="quadnet-", ignore_cleanup_errors=True)
            )
        metrics_port = None
        if settings.metrics_port is not None:
            metrics_port = metrics.expose(
                settings.metrics_host, settings.metrics_port, directory=counts
            )

        def announce(state: str, port: int) -> None:
            print(state)
            if metrics_port is not None:
                where = address.join(settings.metrics_host, metrics_port)
                print(f"Metrics for Prometheus on http://{where}/metrics.")
            if hints is not None:
                print(hints(port))
            print("Ctrl-C stops it.", flush=True)
            if files is None and not address.is_loopback(settings.host):
                _log.warning(
                    "no TLS: others on the network can read and change what is sent",
                    host=settings.host,
                    advice="give --tls-cert and --tls-key, or listen on 127.0.0.1",
                )

        if counts is None:
            work(settings, announce)
        else:
            asyncio.run(Supervisor(settings, counts).run(announce))
    print("Stopped.", flush=True)
    return 0


def _page(settings: UpSettings, port: int) -> AbstractContextManager[str] | None:
    """Return the page, to be opened; None if it is not wanted, or cannot be shown."""
    if settings.no_page or settings.tls_cert is not None or not beside.is_installed():
        return None
    return beside.opened(
        PlaygroundSettings(
            host=_callable_host(settings),
            port=port,
            token_file=settings.token_file,
            log_level=settings.log_level,
            **settings.model_dump(include=set(PageSettings.model_fields)),
        )
    )


def _callable_host(settings: ServeSettings) -> str:
    # Listening on every address is no address to call.
    return DEFAULT_HOST if settings.host in address.EVERYWHERE else settings.host


def _hints(settings: ServeSettings, port: int) -> str:
    # uv tells its children where it is: then it is also what the next command starts with.
    quadnet = "uv run quadnet" if os.environ.get("UV") else "quadnet"
    host = _callable_host(settings)
    options = "" if host == DEFAULT_HOST else f" --host {host}"
    options += "" if port == DEFAULT_PORT else f" --port {port}"
    return (
        "In another terminal:\n"
        f"  {quadnet} classify 0.5 0.5 -0.3 0.8{options}\n"
        '  grpcurl -plaintext -d \'{"x": [0.5, -0.3], "y": [0.5, 0.8]}\' '
        f"{address.join(host, port)} quadrant.v1.QuadrantService/Classify"
    )
