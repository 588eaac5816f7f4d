"""The server under load, beside what it can be measured against: python -m tests.benchmarks.serve.

Each figure is a ratio of two things measured in turn, several times; the medians are printed. Load
comes from h2load, a client in C, on the same machine; BLAS has one thread.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import grpc
import numpy as np
from threadpoolctl import threadpool_limits

from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.quadrants import NAMES
from quadnet.registry import Registry, alias_changes
from service.rpc.call import Call
from service.rpc.policies.draining import Draining
from service.server.server import make_policies
from service.settings import ServeSettings
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.telemetry.logs import configure_logging
from tests.benchmarks import infer, loading
from tests.benchmarks.overload import HealthChecks, Offer
from tests.support.environments import make_environment
from tests.support.exact_models import record
from tests.support.load import Load
from tests.support.raw_http2 import RawConnection, message
from tests.support.serving import QUADNET, ROOT, ServerProcess, quadnet


class Quiet:
    """As much of a call's context as policies look at."""

    def time_remaining(self):
        return 1.0

    def peer(self):
        return "ipv4:127.0.0.1:1"


def request_of(n):
    X = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    return X, pb.ClassifyRequest(x=X[:, 0], y=X[:, 1])


def answer_bytes(server, request):
    return len(server.stub.Classify(request).SerializeToString())


def in_turns(sides, *, repeat):
    """Measure each side in turn, several times; return the median of each, by name."""
    measured = {name: [] for name in sides}
    for _ in range(repeat):
        for name, measure in sides.items():
            measured[name].append(measure())
    return {name: statistics.median(values) for name, values in measured.items()}


class Benchmark:
    def __init__(self, folder, *, seconds, repeat, mlserver):
        self.folder, self.seconds, self.repeat = folder, seconds, repeat
        self.mlserver = mlserver
        self.registry = folder / "models"
        done = quadnet("train", "quadrants", "--registry", self.registry)
        assert done.returncode == 0, done.stderr
        self.X, self.requests, self.files = {}, {}, {}
        for n in (100, 10_000):
            self.X[n], self.requests[n] = request_of(n)
            message = self.requests[n].SerializeToString()
            self.files[n] = loading.frame(folder / f"{n}.bin", message)

    def serve(self, *options):
        return ServerProcess(self.registry, *options)

    def load(self, port, n, **options):
        options = {"seconds": self.seconds, **options}
        return lambda: loading.calls_a_second(port, self.files[n], **options)

    def beside_bare_servers(self):
        with self.serve() as server:
            size = answer_bytes(server, self.requests[100])
            with loading.peer("threaded", size) as threaded, loading.peer("asyncio", size) as aio:
                rates = in_turns(
                    {
                        "quadnet": self.load(server.port, 100),
                        "threaded": self.load(threaded, 100),
                        "asyncio": self.load(aio, 100),
                    },
                    repeat=self.repeat,
                )
            memory = server.resident()
        mine = rates["quadnet"]
        for name in ("threaded", "asyncio"):
            row(
                f"calls/s, 100 points, beside a bare {name} grpcio server",
                f"{mine:,.0f} / {rates[name]:,.0f}",
                mine / rates[name],
            )
        fact("resident memory of the worker, after it", f"{memory:.0f} MB")

    def policies(self):
        with (
            self.serve() as server,
            loading.peer("unguarded", self.registry) as unguarded,
        ):
            rates = in_turns(
                {"all": self.load(server.port, 100), "none": self.load(unguarded, 100)},
                repeat=self.repeat,
            )
        row(
            "calls/s, 100 points, with all policies and with none",
            f"{rates['all']:,.0f} / {rates['none']:,.0f}",
            rates["all"] / rates["none"],
        )

    async def each_policy(self):
        """Time what each adds to a call, one after the other, with warm caches."""
        configure_logging("error")
        tokens = self.folder / "tokens"
        tokens.write_text("sesame\n")
        settings = ServeSettings(token_file=tokens)
        for policy in make_policies(settings, Draining()):
            begun = time.perf_counter()
            for _ in range(10_000):
                call = Call("Classify", Quiet(), {"authorization": "Bearer sesame"}, "an-id")
                policy.begin(call)
                policy.end(call)
            each = (time.perf_counter() - begun) / 10_000 * 1e6
            fact(
                f"{type(policy).__name__} alone, what it does later apart", f"{each:.1f} us a call"
            )

    def workers(self):
        options = {"connections": 16, "streams": 4}
        with self.serve() as one, self.serve("--workers", "2") as two:
            rates = in_turns(
                {
                    "1": self.load(one.port, 100, **options),
                    "2": self.load(two.port, 100, **options),
                },
                repeat=self.repeat,
            )
        row(
            "calls/s, 100 points, 2 workers and 1",
            f"{rates['2']:,.0f} / {rates['1']:,.0f}",
            rates["2"] / rates["1"],
        )

    def large_batches(self):
        n, X = 10_000, self.X[10_000]
        predictor = Registry(self.registry).load("quadrants", 1).predictor

        def in_process():
            ends, calls = time.perf_counter() + self.seconds, 0
            while time.perf_counter() < ends:
                predictor.probabilities(X)
                calls += 1
            return calls / self.seconds

        with self.serve() as server:
            rates = in_turns(
                {"served": self.load(server.port, n), "in process": in_process},
                repeat=self.repeat,
            )
        row(
            "points/s, 10,000 a call, and the frozen network in process",
            " / ".join(f"{rate * n / 1e6:.1f} M" for rate in rates.values()),
            rates["served"] / rates["in process"],
        )

    def other_protocol(self):
        method, message = infer.messages(100)["ModelInfer, raw FP32"]
        file = loading.frame(self.folder / "infer.bin", message.SerializeToString())
        with self.serve() as server:
            rates = in_turns(
                {
                    "infer": lambda: loading.calls_a_second(
                        server.port, file, method=method, seconds=self.seconds
                    ),
                    "classify": self.load(server.port, 100),
                },
                repeat=self.repeat,
            )
        row(
            "calls/s, 100 points, ModelInfer in raw FP32 and Classify",
            f"{rates['infer']:,.0f} / {rates['classify']:,.0f}",
            rates["infer"] / rates["classify"],
        )

    def rest(self):
        """JSON over HTTP/1.1 with keep-alive, next to gRPC, each with 32 requests in flight."""
        X = self.X[100].astype(np.float32)
        infer_body, classify_body = self.folder / "infer.json", self.folder / "classify.json"
        tensor = {"name": "x", "datatype": "FP32", "shape": X.shape, "data": X.ravel().tolist()}
        infer_body.write_text(json.dumps({"inputs": [tensor]}))
        columns = {"x": self.X[100][:, 0].tolist(), "y": self.X[100][:, 1].tolist()}
        classify_body.write_text(json.dumps(columns))
        method, message = infer.messages(100)["ModelInfer, raw FP32"]
        message_file = loading.frame(self.folder / "infer.bin", message.SerializeToString())
        path = "v2/models/quadrants/infer"
        with self.serve("--http-port", "0") as server, ExitStack() as opened:
            http_port = server.url.rpartition(":")[2]
            ours = server.process.pid
            body = partial(loading.requests_a_second, seconds=self.seconds)
            framed = partial(loading.calls_a_second, server.port, seconds=self.seconds)
            sides = {
                "infer": (ours, lambda: body(http_port, infer_body, path)),
                "infer gRPC": (ours, lambda: framed(message_file, method=method)),
                "classify": (ours, lambda: body(http_port, classify_body, "v1/classify")),
                "classify gRPC": (ours, lambda: framed(self.files[100])),
            }
            if self.mlserver is not None:
                folder = self.folder / "mlserver"
                folder.mkdir()
                answer = post_json(f"{server.url}/{path}", infer_body.read_bytes())
                pid, port = opened.enter_context(loading.mlserver(self.mlserver, folder, answer))
                sides["MLServer"] = pid, lambda: body(port, infer_body, path)
            processor = {name: [] for name in sides}

            def measure(name):
                pid, load = sides[name]
                before = infer.cpu_seconds(pid)
                rate = load()
                # The warm-up's calls take time, too.
                calls = rate * (self.seconds + 0.3)
                processor[name].append((infer.cpu_seconds(pid) - before) / calls * 1e6)
                return rate

            rates = in_turns({name: partial(measure, name) for name in sides}, repeat=self.repeat)
        mlserver = "ModelInfer in JSON, and MLServer with a model that computes nothing"
        for what, mine, other in (
            ("ModelInfer in JSON and in raw FP32 over gRPC", "infer", "infer gRPC"),
            ("Classify in JSON and over gRPC", "classify", "classify gRPC"),
            (mlserver, "infer", "MLServer"),
        ):
            if other not in rates:
                continue
            row(
                f"calls/s, 100 points, {what}",
                f"{rates[mine]:,.0f} / {rates[other]:,.0f}",
                rates[mine] / rates[other],
            )
            spent = [statistics.median(processor[name]) for name in (mine, other)]
            row(
                "the same in processor time of the server, us a call",
                " / ".join(f"{each:.0f}" for each in spent),
                spent[0] / spent[1],
            )

    def small_calls_beside_large_ones(self):
        point = pb.ClassifyRequest(x=[0.5], y=[0.5])
        points = []
        options = ("--points", "1000000", "--in-flight", "4", "--warm-up", "0", "--timeout", "60")
        with self.serve() as server:
            # In a process of its own: here it would hold up what is measured here.
            command = [*QUADNET, "bench", "--port", server.port, *options]
            seconds = 4 * self.seconds
            with (
                subprocess.Popen(
                    [*command, "--seconds", str(seconds)], stdout=subprocess.DEVNULL
                ) as load,
                HealthChecks(server.channel) as health,
            ):
                server.calls(5)
                while load.poll() is None:
                    begun = time.perf_counter()
                    server.stub.Classify(point)
                    points.append((time.perf_counter() - begun) * 1e3)
                    time.sleep(0.02)
        large = "while 4 calls of 1,000,000 points are in flight"
        fact(f"a call of 1 point, {large}", summary(points))
        fact(f"health, {large}", summary(health.milliseconds))

    def many_calls_at_once(self):
        """5,000 calls on 40 connections, and health on another one."""
        n_connections, calls = 40, 5_000
        body = message(self.requests[100].SerializeToString())
        with self.serve("--log-level", "error") as server, ExitStack() as opened:
            connections = [
                opened.enter_context(RawConnection(server.address)) for _ in range(n_connections)
            ]
            with HealthChecks(server.channel) as health:
                for _ in range(self.repeat):
                    begun = time.perf_counter()
                    streams = []
                    for i in range(calls):
                        each = connections[i % n_connections]
                        stream = each.begin()
                        each.send(stream, body)
                        streams.append((each, stream))
                    for each, stream in streams:
                        each.trailers(stream)
                    took = time.perf_counter() - begun
        fact(f"health while {calls:,} calls are in flight", summary(health.milliseconds))
        fact(f"to answer these {calls:,} calls", f"{took:.1f} s")

    def resets(self):
        """Calls of others, and memory, while one connection begins and resets 50,000 calls."""
        resets = [sys.executable, "-m", "tests.benchmarks.resets"]
        with self.serve("--log-level", "error") as server:
            # Long enough for answers on a busy machine, too.
            load = self.load(server.port, 100, seconds=max(self.seconds, 2.0))
            alone = statistics.median(load() for _ in range(self.repeat))
            before = server.resident()
            command = [*resets, server.port, "50000"]
            with subprocess.Popen(command, cwd=ROOT) as peer:
                beside = []
                while peer.poll() is None:
                    beside.append(load())
            grown = server.resident() - before
        row(
            "calls/s, 100 points, while a peer resets 50,000 streams, and without it",
            f"{statistics.median(beside):,.0f} / {alone:,.0f}",
            statistics.median(beside) / alone,
        )
        fact("memory more than before", f"{grown:.0f} MB")

    def overload(self):
        """With a network so large that answering, not refusing, is what takes the time."""
        n, limit = 1000, 8
        wide = Network.dense(
            [2, 512, 512, 4], activations=["relu", "relu"], loss="softmax_cross_entropy"
        )
        wide.parameters.flat[:] = np.random.default_rng(0).normal(size=wide.parameters.flat.size)
        registry = Registry(self.folder / "wide")
        predictor = Predictor(wide, NAMES)
        registry.publish("quadrants", predictor, record(predictor), np.zeros((1, 2)))
        alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="benchmark")
        _, request = request_of(n)
        with ServerProcess(registry.root, "--max-calls", str(limit)) as server:
            with Load(server.address, request, in_flight=limit) as load:
                load.wait_for(2 * limit)
                begun, already = time.perf_counter(), len(load.outcomes)
                load.wait_for(int(30 * self.seconds), beyond=already)
                peak = (len(load.outcomes) - already) / (time.perf_counter() - begun)
            assert not load.failed
            before = server.resident()
            with HealthChecks(server.channel) as health:
                offer = Offer(server.address, request.SerializeToString())
                offer.run(5 * peak, seconds=3 * self.seconds)
            grown = server.resident() - before
        row(
            f"calls answered while {offer.rate / peak:.1f} times as many as can be are offered, "
            f"and at the peak (2-512-512-4, {n:,} points)",
            f"{offer.answered_a_second:.0f} / {peak:.0f}",
            offer.answered_a_second / peak,
        )
        fact("refused meanwhile", f"{len(offer.refused):,}, {summary(offer.refused or [0])}")
        fact("health meanwhile", summary(health.milliseconds))
        fact("memory more than before", f"{grown:.0f} MB")


MEASURES = (
    "beside_bare_servers",
    "policies",
    "each_policy",
    "other_protocol",
    "rest",
    "workers",
    "large_batches",
    "small_calls_beside_large_ones",
    "many_calls_at_once",
    "resets",
    "overload",
)


def post_json(url, body):
    """Return the JSON that answers a request with this JSON."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def row(what, values, ratio):
    print(f"| {what} | {values} | {ratio:.2f} x |", flush=True)


def fact(what, value):
    print(f"| {what} | {value} | |", flush=True)


def summary(milliseconds):
    return f"median {statistics.median(milliseconds):.1f} ms, slowest {max(milliseconds):.0f} ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    listed = f"some of {', '.join(MEASURES)}"
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="MEASURE", help=listed)
    parser.add_argument(
        "--mlserver", action="store_true", help="also MLServer, in an environment that uv makes"
    )
    given = parser.parse_args()
    loading.require_h2load()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, grpcio {grpc.__version__}")
    print(f"NumPy {np.__version__}; medians of {given.repeat} runs of {given.seconds:g} s.\n")
    print("| measure | | ratio |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        mlserver = None
        if given.mlserver:
            mlserver = make_environment(Path(folder) / "environment", "mlserver")
        benchmark = Benchmark(
            Path(folder), seconds=given.seconds, repeat=given.repeat, mlserver=mlserver
        )
        for name in given.only or MEASURES:
            measured = getattr(benchmark, name)()
            if measured is not None:
                asyncio.run(measured)
    if mlserver is None:
        print("\nMLServer was not measured: --mlserver installs and measures it.")


if __name__ == "__main__":
    main()
