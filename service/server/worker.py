"""One process that answers: alone, or one of several under a supervisor."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, BinaryIO

from quadnet.errors import QuadnetError
from quadnet.registry import Registry
from service.models.live_models import LiveModels
from service.net import address
from service.rpc.policies.draining import Draining
from service.server.process_settings import received
from service.server.server import Server, make_policies
from service.settings import ServeSettings
from service.telemetry import logs, metrics
from service.telemetry.logs import configure_logging

_new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
# Where uvloop is not built, asyncio's own loop does the same, a twentieth fewer calls a second.
with suppress(ImportError):
    import uvloop

    _new_event_loop = uvloop.new_event_loop

OnStart = Callable[[str, int], None]
"""Told, in words, what is served, and the port that is listened on."""


def work(settings: ServeSettings, on_start: OnStart) -> None:
    """Serve in this process, which has the port to itself, until told to stop."""
    _run(_work(settings, on_start))


async def _work(settings: ServeSettings, on_start: OnStart) -> None:
    server, live = _assemble(settings)
    await server.run(lambda: on_start(_state(live, settings.host, server.port), server.port))


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(main)


async def _work_for_supervisor(settings: ServeSettings, output: BinaryIO) -> None:
    """Serve on a shared port; report to the supervisor, and stop when it is gone."""
    server, live = _assemble(settings, shared_port=True)
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    told, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, output)

    def tell(message: dict[str, Any]) -> None:
        told.write(json.dumps(message).encode() + b"\n")

    async def report() -> None:
        # Without a port for metrics, a report is the worker's heartbeat only.
        counted = settings.metrics_port is not None
        while line := await asked.readline():
            tell({"number": int(line), "metrics": metrics.make_report() if counted else []})
        # The end of standard input: the supervisor is gone.
        server.ask_to_stop()

    # From now on, also while the first version is loaded.
    reporting = asyncio.create_task(report())
    await server.run(lambda: tell({"state": _state(live, settings.host, server.port)}))
    reporting.cancel()


def _assemble(settings: ServeSettings, *, shared_port: bool = False) -> tuple[Server, LiveModels]:
    live = LiveModels(Registry(settings.registry), model=settings.model, alias=settings.alias)
    draining = Draining()
    server = Server(
        live, settings, make_policies(settings, draining), draining, shared_port=shared_port
    )
    return server, live


def _state(live: LiveModels, host: str, port: int) -> str:
    where = address.join(host, port)
    if live.current is None:
        return (
            f"Listening on {where}, NOT_SERVING: {live.failure} "
            f"Waiting for alias {live.default.alias!r} of model {live.default.model!r}."
        )
    manifest = live.current.manifest
    return f"Serving {manifest.model} version {manifest.version} on {where}."


def main() -> int:
    """Be a worker: the first line of standard input holds the settings."""
    given = received()
    if given is None:
        return 0
    # Only reports go through the pipe to the supervisor, not what a library may print.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    settings = ServeSettings(**given)
    with logs.background_output():
        configure_logging(settings.log_level)
        try:
            _run(_work_for_supervisor(settings, output))
        except QuadnetError as error:
            print(f"quadnet serve: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
