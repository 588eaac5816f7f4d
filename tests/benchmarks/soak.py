"""Memory in ten minutes of load and new versions: python -m tests.benchmarks.soak.

Small, large and bad calls, calls that their callers cancel, deadlines of 1 ms, streams, versions by
number; twice a second a version is published and the alias moved to it. A bare grpcio server gets
the same cancelled calls and short deadlines: what it grows by is grpcio's own. Large calls take
some 20 MB each for a while, so the measure is the least resident memory within each half second.
The script fails if the server's grows by more than 20 MB from the second tenth of the versions to
the last.
"""

import argparse
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import numpy as np

from quadnet.registry import Registry
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.benchmarks.loading import peer_process
from tests.support.abandoned_calls import abandoning
from tests.support.exact_models import publish
from tests.support.load import Load
from tests.support.serving import ServerProcess, resident

MOST_MB = 20

ABANDONED_A_SECOND = 300  # of each server: a third cancelled, a third late, a third answered
ANSWER_BYTES = 1000  # of the bare server

SAMPLES, BETWEEN = 20, 0.025  # of the memory for each version, and seconds from one to the next


def request_of(n, **fields):
    X = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    return pb.ClassifyRequest(x=X[:, 0], y=X[:, 1], **fields)


def wander(server, stop):
    """Stream, and ask for versions by number, for what is not there, and what cannot be."""
    rng = np.random.default_rng(1)
    while not stop.is_set():
        version = int(rng.integers(1, 40))
        with suppress(grpc.RpcError):
            server.stub.Classify(pb.ClassifyRequest(model=pb.ModelRef(version=version)), timeout=10)
        with suppress(grpc.RpcError):
            server.stub.GetModel(pb.GetModelRequest(model=pb.ModelRef(alias="none")), timeout=10)
        with suppress(grpc.RpcError):
            list(server.stub.ClassifyStream(iter([request_of(100)] * 5), timeout=10))
        # On a busy machine a call may be late; that is no reason to make no more.
        with suppress(grpc.RpcError):
            server.stub.ListModels(pb.ListModelsRequest(name="quadrants"), timeout=10)
        with suppress(grpc.RpcError):
            server.stub.Explain(pb.ExplainRequest(features=[0.1, 0.2]), timeout=10)


def soak(seconds):
    """Yield, for each version: seconds since the start, calls, versions, the least memory in MB.

    The memory is a pair: the server's and the bare server's.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        registry = Registry(Path(folder) / "registry")
        publish(registry)
        server = running.enter_context(
            ServerProcess(registry.root, "--poll", "0.1", "--log-level", "error")
        )
        bare, port = running.enter_context(peer_process("asyncio", ANSWER_BYTES))
        n = int(seconds * ABANDONED_A_SECOND)
        abandoned = {
            name: running.enter_context(abandoning(address, n, ABANDONED_A_SECOND))
            for name, address in (("server", server.address), ("bare", f"127.0.0.1:{port}"))
        }
        loads = [
            running.enter_context(Load(server.address, request, in_flight=n, keep=False))
            for request, n in (
                (request_of(100), 8),
                (request_of(200_000, all_certainties=True), 1),
                (pb.ClassifyRequest(x=[1, 2], y=[1]), 1),
            )
        ]
        stop = threading.Event()
        wandering = threading.Thread(target=wander, args=(server, stop))
        running.callback(wandering.join, 60)
        running.callback(stop.set)
        wandering.start()
        started, published = time.monotonic(), 1
        while (passed := time.monotonic() - started) < seconds:
            published += 1
            publish(registry, scale=1.0 + published % 50)
            memory = []
            for _ in range(SAMPLES):
                stop.wait(BETWEEN)
                memory.append((server.resident(), resident(bare.pid)))
            calls = sum(load.ended for load in loads)
            yield passed, calls, published, tuple(map(min, zip(*memory, strict=True)))
        for name, process in abandoned.items():
            statuses, _ = process.communicate(timeout=max(60, seconds))
            print(f"Abandoned calls of the {name}: {statuses}", end="")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    samples, shown = [], -1
    print(f"Besides, {ABANDONED_A_SECOND} calls a second, two thirds cancelled or late.")
    for passed, calls, published, memory in soak(seconds):
        tenth = int(10 * passed / seconds)
        samples.append(memory)
        if tenth > shown:
            print(
                f"{passed:6.0f} s  {calls:9,} calls  {published:5,} versions  "
                f"bare {memory[1]:6.1f} MB, server {memory[0]:6.1f} MB",
                flush=True,
            )
            shown = tenth
    some = max(1, len(samples) // 10)
    before, after = (
        np.median(part, axis=0) for part in (samples[some : 2 * some], samples[-some:])
    )
    grown, grown_bare = after - before
    print(
        f"Grown from the second tenth to the last: server {before[0]:.1f} to {after[0]:.1f} MB, "
        f"bare server {before[1]:.1f} to {after[1]:.1f} MB"
    )
    print(f"{grown:+.1f} MB, and bare {grown_bare:+.1f} MB. The limit is {MOST_MB} MB.")
    # In its first minute the server still grows to its working size.
    sys.exit(bool(grown > MOST_MB and seconds >= 60))


if __name__ == "__main__":
    main()
