"""The servers that ours is measured beside, each a process: python -m tests.benchmarks.peers KIND.

threaded and asyncio are grpcio's two servers with nothing in them: bytes in, other bytes of a
given number out. unguarded is ours without its policies. Each prints its port, and ends with its
standard input.
"""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio

from quadnet.registry import Registry
from service.models.live_models import LiveModels
from service.rpc.policies.draining import Draining
from service.server.server import Server
from service.settings import ServeSettings
from service.telemetry.logs import configure_logging

SERVICE = "quadrant.v1.QuadrantService"
OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


def handlers(respond):
    method = grpc.unary_unary_rpc_method_handler(respond)
    return (grpc.method_handlers_generic_handler(SERVICE, {"Classify": method}),)


def threaded(answer):
    server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(lambda request, context: answer))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


async def asynchronous(answer):
    async def respond(request, context):
        return answer

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(respond))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


async def unguarded(registry):
    configure_logging("error")
    live = LiveModels(Registry(Path(registry)), model="quadrants")
    draining = Draining()
    server = Server(live, ServeSettings(port=0), (draining,), draining)
    loop = asyncio.get_running_loop()

    def wait_for_the_end():
        sys.stdin.read()
        loop.call_soon_threadsafe(server.request_stop)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await server.serve(lambda: print(server.port, flush=True))


if __name__ == "__main__":
    kind, argument = sys.argv[1:]
    if kind == "threaded":
        threaded(bytes(int(argument)))
    elif kind == "asyncio":
        asyncio.run(asynchronous(bytes(int(argument))))
    else:
        asyncio.run(unguarded(argument))
