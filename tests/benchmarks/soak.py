"""What memory does in ten minutes of load and new versions: python -m tests.benchmarks.soak.

Small, large and bad calls, streams, versions asked for by number; twice a second a version is
published and the alias moved to it. Large calls come and go with some 20 MB each, so what counts is
the least of the resident memory within each half second: what stays when they are gone. The script
fails if that grows by more than 20 MB from the second tenth of the time to the last.
"""

import argparse
import statistics
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
from tests.exact import publish
from tests.loading import Load
from tests.serving import ServerProcess

MOST_MB = 20

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
        server.stub.ListModels(pb.ListModelsRequest(name="quadrants"), timeout=10)
        server.stub.Explain(pb.ExplainRequest(features=[0.1, 0.2]), timeout=10)


def soak(seconds):
    """Yield, for each version: seconds since the start, calls, versions, the least memory in MB."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        registry = Registry(Path(folder) / "registry")
        publish(registry)
        server = running.enter_context(
            ServerProcess(registry.root, "--poll", "0.1", "--log-level", "error")
        )
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
                memory.append(server.resident())
            yield passed, sum(load.ended for load in loads), published, min(memory)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    first, last, shown = [], [], -1
    for passed, calls, published, memory in soak(seconds):
        tenth = int(10 * passed / seconds)
        if tenth == 1:
            first.append(memory)
        if tenth == 9:
            last.append(memory)
        if tenth > shown:
            print(
                f"{passed:6.0f} s  {calls:9,} calls  {published:5,} versions  {memory:6.1f} MB",
                flush=True,
            )
            shown = tenth
    grown = statistics.median(last) - statistics.median(first)
    print(f"Grown by {grown:.1f} MB from the second tenth to the last; allowed are {MOST_MB} MB.")
    sys.exit(grown > MOST_MB)


if __name__ == "__main__":
    main()
