"""One process that answers calls: alone, or as one of several workers under a supervisor."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, BinaryIO

from quadnet.cli.advice import explain_error
from quadnet.errors import QuadnetError
from quadnet.registry import Registry
from service.models.live_models import LiveModels
from service.net.address import join_address
from service.rpc.policies.draining import Draining
from service.server.process_settings import receive_settings
from service.server.server import Server, make_policies
from service.settings import ServeSettings
from service.telemetry import logs, metrics
from service.telemetry.logs import configure_logging

_new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
# Where uvloop is not available, asyncio's own loop answers a twentieth fewer calls per second.
with suppress(ImportError):
    import uvloop

    _new_event_loop = uvloop.new_event_loop

OnStart = Callable[[str, int], None]
"""Called with a sentence about what is served, and with the port."""


def serve_in_process(settings: ServeSettings, on_start: OnStart) -> None:
    """Serve in this process, on a port that is not shared, until a signal arrives."""
    _run(_serve(settings, on_start))


async def _serve(settings: ServeSettings, on_start: OnStart) -> None:
    server, live = _make_server(settings)
    await server.run(lambda: on_start(_describe_state(live, settings, server), server.port))


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(main)


async def _serve_for_supervisor(settings: ServeSettings, output: BinaryIO) -> None:
    """Serve on a shared port, report to the supervisor, and stop when the supervisor is gone."""
    server, live = _make_server(settings, shared_port=True)
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    messages, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, output)

    def send(message: dict[str, Any]) -> None:
        messages.write(json.dumps(message).encode() + b"\n")

    async def send_reports() -> None:
        # Without a port for metrics, a report is only the worker's heartbeat.
        counted = settings.metrics_port is not None
        while line := await requests.readline():
            send({"number": int(line), "metrics": metrics.make_report() if counted else []})
        # The end of standard input: the supervisor is gone.
        server.request_stop()

    # Reports are sent from now on, even while the first version is being loaded.
    reporting = asyncio.create_task(send_reports())
    await server.run(lambda: send({"state": _describe_state(live, settings, server)}))
    reporting.cancel()


def _make_server(
    settings: ServeSettings, *, shared_port: bool = False
) -> tuple[Server, LiveModels]:
    live = LiveModels(Registry(settings.registry), model=settings.model, alias=settings.alias)
    draining = Draining()
    server = Server(
        live, settings, make_policies(settings, draining), draining, shared_port=shared_port
    )
    return server, live


def _describe_state(live: LiveModels, settings: ServeSettings, server: Server) -> str:
    where = join_address(settings.host, server.port)
    if server.http_port is not None:
        scheme = "http" if settings.tls_cert is None else "https"
        where += f" and {scheme}://{join_address(settings.host, server.http_port)}"
    if live.current is None:
        return (
            f"Listening on {where}, NOT_SERVING: {live.failure} "
            f"Waiting for alias {live.default.alias!r} of model {live.default.model!r}, which "
            "the settings alias and model name. Calls that name another model are answered."
        )
    manifest = live.current.manifest
    return f"Serving {manifest.model} version {manifest.version} on {where}."


def main() -> int:
    """Run a worker, with settings from the first line of standard input; return the exit code."""
    given = receive_settings()
    if given is None:
        return 0
    # The pipe to the supervisor carries only reports, not the output of libraries.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    settings = ServeSettings(**given)
    with logs.background_output():
        configure_logging(settings.log_level)
        try:
            _run(_serve_for_supervisor(settings, output))
        except QuadnetError as error:
            print(f"quadnet serve: {explain_error(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
