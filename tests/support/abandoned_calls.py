"""Calls whose callers do not wait for the reply.

    python -m tests.support.abandoned_calls ADDRESS METHOD CALLS RATE KIND...

KIND is "cancelled" (within about a millisecond), "late" (a deadline of 1 ms) or "answered". Several
kinds take turns. The output is JSON with the number of calls per status. The number of calls in
flight is bounded, and RATE is the maximum of calls per second.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import grpc.aio

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.load import CLASSIFY

KINDS = ("cancelled", "late", "answered")

IN_FLIGHT, CONNECTIONS = 64, 4


def message(path):
    """Return a message for the method: 100 points for Classify, otherwise an empty message."""
    if path != CLASSIFY:
        return b""
    return pb.ClassifyRequest(x=[0.5] * 100, y=[0.5] * 100).SerializeToString()


async def call(method, content, kind, seconds):
    """Make one call of this kind and return the name of its status."""
    made = method(content, timeout=0.001 if kind == "late" else 30)
    if kind == "cancelled":
        await asyncio.sleep(seconds)
        made.cancel()
    try:
        await made
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except asyncio.CancelledError:
        return "CANCELLED"
    return "OK"


async def run(address, path, calls, rate, kinds):
    content = message(path)
    channels = [
        grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CONNECTIONS)
    ]
    statuses, numbers, rng = Counter(), iter(range(calls)), random.Random(0)
    begun = time.monotonic()

    async def caller(channel):
        method = channel.unary_unary(path)
        for i in numbers:
            await asyncio.sleep(max(0.0, begun + i / rate - time.monotonic()))
            kind = kinds[i % len(kinds)]
            statuses[await call(method, content, kind, rng.uniform(0, 0.0012))] += 1

    await asyncio.gather(*(caller(channels[i % CONNECTIONS]) for i in range(IN_FLIGHT)))
    return statuses


@contextmanager
def abandoning(address, calls, rate, kinds=KINDS, *, method=CLASSIFY):
    """Make such calls from another process; yield the process, and stop it at the end."""
    arguments = [address, method, str(calls), str(rate), *kinds]
    command = [sys.executable, "-m", "tests.support.abandoned_calls", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


if __name__ == "__main__":
    address, path, calls, rate, *kinds = sys.argv[1:]
    # Do not close channels: older grpcio may wait forever for cancelled calls.
    print(json.dumps(asyncio.run(run(address, path, int(calls), float(rate), kinds))))
