"""The verb that serves: the registry, the live models and the server, put together and run."""

import logging
import os

from quadnet.registry import Registry
from service.live import LiveModels
from service.server import Server
from service.settings import ServeSettings


def serve(settings: ServeSettings, *, hints: bool = False) -> int:
    """Serve until told to stop; `hints` prints what to type next."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    live = LiveModels(Registry(settings.registry), model=settings.model, alias=settings.alias)
    server = Server(live, settings)

    def announce() -> None:
        if live.ready:
            manifest = live.get().manifest
            print(f"Serving {manifest.model} version {manifest.version} on {server.address}.")
        else:
            print(f"Listening on {server.address}, NOT_SERVING: {live.failure}")
        if hints:
            print(_hints(server))
        print("Ctrl-C stops it.", flush=True)

    server.run(on_start=announce)
    print("Stopped.", flush=True)
    return 0


def _hints(server: Server) -> str:
    # uv tells its children where it is: then it is also what the next command starts with.
    quadnet = "uv run quadnet" if os.environ.get("UV") else "quadnet"
    port = f" --port {server.port}" if server.port != 50051 else ""
    return (
        "In another terminal:\n"
        f"  {quadnet} classify 0.5 0.5 -0.3 0.8{port}\n"
        '  grpcurl -plaintext -d \'{"x": [0.5, -0.3], "y": [0.5, 0.8]}\' '
        f"{server.address} quadrant.v1.QuadrantService/Classify"
    )
