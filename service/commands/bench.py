"""The verb `bench`, which measures the calls per second and the latency of a running server."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import grpc.aio
import numpy as np

from service.client import QuadrantClient
from service.client.channel import open_channel, read_authorization
from service.quadrant_v1 import codec
from service.settings import BenchSettings
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

_PERCENTILES = (50, 90, 99, 99.9)

_BUSY = 0.9
"""Above this share of a core, the client and not the server limits the result."""


@dataclass
class LoadResult:
    """The result of one client process.

    Attributes
    ----------
    milliseconds : list of float
        The latency of each answered call.
    statuses : Counter
        The number of calls by status.
    seconds : float
        The duration of the measurement.
    busy : float
        The share of a core that the process used.
    """

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    busy: float = 0.0


def bench(settings: BenchSettings) -> int:
    """Load the server, and print the result."""
    with QuadrantClient.from_settings(settings) as client:
        answers = client.classify(np.zeros((1, 2)), model=settings.model or "")
    if settings.processes == 1:
        loads = [_run_load_process(settings)]
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(settings.processes, mp_context=spawn) as pool:
            loads = list(pool.map(_run_load_process, [settings] * settings.processes))
    print(_format_results(settings, loads, f"{answers.model} version {answers.version}"))
    return 0 if any(load.milliseconds for load in loads) else 1


def _run_load_process(settings: BenchSettings) -> LoadResult:
    return asyncio.run(_run_load(settings))


async def _run_load(settings: BenchSettings) -> LoadResult:
    """Keep `settings.in_flight` calls in flight for `settings.seconds`, after the warm-up."""
    X = np.random.default_rng(0).uniform(-1, 1, (settings.points, 2))
    ref = pb.ModelRef(name=settings.model or "")
    request = codec.encode_points(ref, X, min_certainty=0.0, all_certainties=False)
    metadata = read_authorization(settings.token_file)
    load = LoadResult()
    channels = [
        open_channel(
            grpc.aio,
            settings.address,
            # Otherwise channels to one address share one connection.
            ("grpc.use_local_subchannel_pool", 1),
            tls_ca=settings.tls_ca,
            tls_client_cert=settings.tls_client_cert,
            tls_client_key=settings.tls_client_key,
        )
        for _ in range(settings.connections)
    ]
    started = time.perf_counter() + settings.warm_up
    until = started + settings.seconds

    async def call_repeatedly(channel: grpc.aio.Channel) -> None:
        classify: Callable[..., Awaitable[bytes]] = channel.unary_unary(
            f"/{codec.SERVICE}/Classify"
        )
        while (call_started := time.perf_counter()) < until:
            try:
                await classify(request, timeout=settings.timeout, metadata=metadata)
                status = "OK"
            except grpc.aio.AioRpcError as error:
                status = error.code().name
            ended = time.perf_counter()
            if call_started < started:
                continue
            load.statuses[status] += 1
            if status == "OK":
                load.milliseconds.append((ended - call_started) * 1e3)

    callers = [
        asyncio.create_task(call_repeatedly(channels[i % len(channels)]))
        for i in range(settings.in_flight)
    ]
    await asyncio.sleep(settings.warm_up)
    cpu = time.process_time()
    await asyncio.gather(*callers)
    load.seconds = time.perf_counter() - started
    load.busy = (time.process_time() - cpu) / load.seconds
    for channel in channels:
        await channel.close()
    return load


def _format_results(settings: BenchSettings, loads: list[LoadResult], target: str) -> str:
    milliseconds = np.array([each for load in loads for each in load.milliseconds])
    seconds = max(load.seconds for load in loads)
    calls = len(milliseconds) / seconds
    duration = f"{seconds:.1f} s after {settings.warm_up:g} s of warm-up"
    each = f"{settings.connections} connections and {settings.in_flight} calls in flight"
    lines = [
        f"{target}: {settings.points:,} points per call, {duration}.",
        f"Processes: {settings.processes}, each with {each}.",
        "",
        f"{'calls/s':>10} {'points/s':>12}"
        + "".join(f" {f'p{p} ms':>9}" for p in _PERCENTILES)
        + f" {'max ms':>9}",
    ]
    if len(milliseconds):
        latencies = [*np.percentile(milliseconds, _PERCENTILES), milliseconds.max()]
        lines.append(
            f"{calls:>10,.0f} {calls * settings.points:>12,.0f}"
            + "".join(f" {each:>9.2f}" for each in latencies)
        )
    lines.append("")
    for status, n in sorted(sum((load.statuses for load in loads), Counter()).items()):
        lines.append(f"{n:>10,} {status}")
    busiest = max(load.busy for load in loads)
    lines.append(f"{busiest:>10.0%} of a core used by the busiest client process.")
    if busiest > _BUSY:
        lines.append("The client limits the result, not the server: try more --processes.")
    return "\n".join(lines)
