"""One process that answers: alone, or one of several under a supervisor."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from quadnet.errors import QuadnetError
from quadnet.registry import Registry
from service import address, logs, metrics
from service.handover import received
from service.live import LiveModels
from service.policies.draining import Draining
from service.server import Server, policies
from service.settings import ServeSettings

OnStart = Callable[[str, int], None]
"""Told, in words, what is served, and the port that is listened on."""


def work(settings: ServeSettings, on_start: OnStart) -> None:
    """Serve in this process, which has the port to itself, until told to stop."""
    _run(_work(settings, on_start))


async def _work(settings: ServeSettings, on_start: OnStart) -> None:
    server, live = _assemble(settings)
    await server.run(lambda: on_start(_state(live, settings.host, server.port), server.port))


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def _work_for_supervisor(settings: ServeSettings) -> None:
    """Serve beside others on the port, and stop, too, when standard input ends."""
    server, live = _assemble(settings, shared_port=True)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)

    async def stop_when_orphaned() -> None:
        await reader.read()
        server.ask_to_stop()

    watching = asyncio.create_task(stop_when_orphaned())
    await server.run(lambda: print(_state(live, settings.host, server.port), flush=True))
    watching.cancel()


def _assemble(settings: ServeSettings, *, shared_port: bool = False) -> tuple[Server, LiveModels]:
    live = LiveModels(Registry(settings.registry), model=settings.model, alias=settings.alias)
    draining = Draining()
    server = Server(live, settings, policies(settings, draining), draining, shared_port=shared_port)
    return server, live


def _state(live: LiveModels, host: str, port: int) -> str:
    where = address.join(host, port)
    if live.current is None:
        return f"Listening on {where}, NOT_SERVING: {live.failure}"
    manifest = live.current.manifest
    return f"Serving {manifest.model} version {manifest.version} on {where}."


def main() -> int:
    """Be a worker: the first line of standard input holds the settings."""
    given = received()
    if given is None:
        return 0
    settings = ServeSettings(**given["settings"])
    with logs.background_output():
        logs.configure(settings.log_level)
        if given["replaces"]:
            metrics.WORKER_RESTARTS.inc()
        try:
            _run(_work_for_supervisor(settings))
        except QuadnetError as error:
            print(f"quadnet serve: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
