"""The verb that serves: the registry, the live models and the server, put together and run."""

import logging
import os

from quadnet.registry import Registry
from quadnet.settings import DEFAULT_HOST, DEFAULT_PORT
from service import address
from service.live import LiveModels
from service.server import Server
from service.settings import ServeSettings


def serve(settings: ServeSettings, *, hints: bool = False) -> int:
    """Serve until told to stop; `hints` prints what to type next."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    live = LiveModels(Registry(settings.registry), model=settings.model, alias=settings.alias)
    server = Server(live, settings)
    where = address.join(settings.host, server.port)

    def announce() -> None:
        if live.ready:
            manifest = live.get().manifest
            print(f"Serving {manifest.model} version {manifest.version} on {where}.")
        else:
            print(f"Listening on {where}, NOT_SERVING: {live.failure}")
        if hints:
            print(_hints(settings, server.port))
        print("Ctrl-C stops it.", flush=True)

    server.run(on_start=announce)
    print("Stopped.", flush=True)
    return 0


def _hints(settings: ServeSettings, port: int) -> str:
    # uv tells its children where it is: then it is also what the next command starts with.
    quadnet = "uv run quadnet" if os.environ.get("UV") else "quadnet"
    # Listening on every address is no address to call.
    host = DEFAULT_HOST if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    options = "" if host == DEFAULT_HOST else f" --host {host}"
    options += "" if port == DEFAULT_PORT else f" --port {port}"
    return (
        "In another terminal:\n"
        f"  {quadnet} classify 0.5 0.5 -0.3 0.8{options}\n"
        '  grpcurl -plaintext -d \'{"x": [0.5, -0.3], "y": [0.5, 0.8]}\' '
        f"{address.join(host, port)} quadrant.v1.QuadrantService/Classify"
    )
