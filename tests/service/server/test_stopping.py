"""Servers stop under load: accepted calls are answered, and clients' retries hide the rest."""

import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import numpy as np
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish, publish_wide
from tests.support.http_client import HttpClient, raw_connection, request
from tests.support.load import HttpLoad, Load
from tests.support.raw_http2 import RawConnection
from tests.support.serving import (
    ServerProcess,
    open_stream,
    refused,
    served_here,
    unread_stream,
    until,
)
from tests.support.transports import HTTP

HTTP_PORT = ("--http-port", "0")

SMALL = pb.ClassifyRequest(x=[0.5] * 20, y=[0.5] * 20)
POINTS = np.random.default_rng(0).uniform(-1, 1, (2, 200_000))
LARGE = pb.ClassifyRequest(x=POINTS[0], y=POINTS[1])


# The command, with a function that blocks before the server listens until a signal arrives. It
# blocks for at most a minute, so that no process is left if the signal does not end it.
HALTING = """
import time
from quadnet.cli import main as cli
from service.net import address
from service.telemetry import logs

def halt(*_):
    print("halted", flush=True)
    time.sleep(60)

{step} = halt
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    ("workers", "step"),
    [
        ("1", "logs.configure_logging"),
        ("1", "address.check_port_is_free"),
        ("2", "logs.configure_logging"),
    ],
)
def test_a_signal_before_the_server_listens_ends_it_silently(registry, workers, step, number):
    words = ["serve", "--registry", registry.root, "--port", "0", "--workers", workers]
    with subprocess.Popen(
        [sys.executable, "-c", HALTING.format(step=step), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "halted\n"
        process.send_signal(number)
        out, log = process.communicate(timeout=120)
    assert (process.returncode, out, log) == (0, "", "")


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    ("kind", "request_"),
    [(Load, SMALL), (Load, LARGE), (HttpLoad, SMALL)],
    ids=["small", "large", "http"],
)
def test_no_accepted_call_fails_when_the_server_stops(registry, workers, kind, request_):
    publish(registry)
    in_flight = 32 if kind is Load and request_ is SMALL else 8
    with (
        ServerProcess(registry.root, "--workers", str(workers), *HTTP_PORT) as server,
        kind(
            server.address if kind is Load else server.url,
            request_,
            in_flight=in_flight,
            connections=8,
        ) as load,
    ):
        load.wait_for(2 * in_flight)
        code, out, log = server.stop()
        # A call to a stopped server fails at once.
        load.wait_for(in_flight, beyond=len(load.outcomes))
    assert (code, out) == (0, "Stopped.\n")
    # Every call that the server had started has ended, and its caller has the answer. Others were
    # refused: by the server, or at the very end by gRPC.
    calls = [line["status"] for line in log if line["event"] == "call"]
    assert set(calls) <= {"OK", "UNAVAILABLE"}
    assert calls.count("OK") == len(load.outcomes) - len(load.failed)
    codes = Counter(each.code for each in load.failed)
    if kind is HttpLoad and workers > 1:
        # As in test_drain: the kernel may reset a connection that no worker has accepted.
        assert codes.pop(grpc.StatusCode.CANCELLED, 0) <= in_flight
    assert set(codes) <= {grpc.StatusCode.UNAVAILABLE}


@pytest.mark.parametrize("workers", [1, 4])
def test_clients_with_our_retries_see_no_failure_while_one_of_two_servers_stops(registry, workers):
    publish(registry)
    with (
        ServerProcess(registry.root, "--workers", str(workers)) as leaving,
        ServerProcess(registry.root) as staying,
    ):
        both = f"ipv4:{leaving.address},{staying.address}"
        with Load(both, SMALL, in_flight=32, connections=8, retries=True) as load:
            load.wait_for(500)
            code, _, log = leaving.stop()
            load.wait_for(500, beyond=len(load.outcomes))
    assert code == 0
    assert not load.failed
    assert sum(line["event"] == "call" for line in log) > 100


@pytest.mark.parametrize(("kind", "request_"), [(Load, LARGE), (HttpLoad, SMALL)])
def test_clients_with_retries_survive_a_restart_of_the_only_server(registry, kind, request_):
    publish(registry)
    with (
        ServerProcess(registry.root, *HTTP_PORT) as first,
        kind(
            first.address if kind is Load else first.url, request_, in_flight=8, retries=True
        ) as load,
    ):
        load.wait_for(16)
        assert first.stop()[0] == 0
        # In this process, so that it starts quickly however busy the machine is.
        http_port = int(first.url.rpartition(":")[2])
        with served_here(registry, (), port=int(first.port), http_port=http_port):
            load.wait_for(100, beyond=len(load.outcomes))
            load.stop()
    assert not load.failed


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_all_waiting(registry, workers):
    publish(registry)
    options = ("--workers", str(workers), "--drain-delay", "3600", "--grace", "3600")
    with (
        ServerProcess(registry.root, *options) as server,
        unread_stream(server) as stream,
    ):
        server.process.send_signal(signal.SIGTERM)
        server.logged("stopping", workers)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        with pytest.raises(grpc.RpcError) as cut:
            list(stream)
    assert cut.value.code() is grpc.StatusCode.UNAVAILABLE


def test_calls_that_outlast_the_grace_period_are_cut_off(registry):
    publish(registry)
    with ServerProcess(registry.root, "--grace", "0.2") as server:
        with unread_stream(server) as stream:
            code, _, _ = server.stop()
            with pytest.raises(grpc.RpcError) as cut:
                list(stream)
        assert server.logged("calls cut off")["calls"] == 1
    assert code == 0
    assert cut.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("signals", [1, 2])
def test_a_request_over_http_in_progress_at_the_end_is_cut_off(registry, signals):
    publish(registry)
    publish_wide(registry)
    grace = "0.2" if signals == 1 else "3600"
    body = {"x": [0.5] * 100_000, "y": [0.5] * 100_000, "model": {"name": "wide", "version": 1}}
    with (
        ServerProcess(registry.root, *HTTP_PORT, "--grace", grace, "--max-calls", "1") as server,
        ThreadPoolExecutor(1) as threads,
    ):
        assert request(server.url, "GET", "/v2/models/wide/versions/1/ready").status == 200
        headers = {"X-Request-Id": "cut"}
        running = threads.submit(request, server.url, "POST", "/v1/classify", body, headers)
        until(lambda: request(server.url, "GET", "/v2").status == 429)
        for n in range(signals):
            server.process.send_signal(signal.SIGTERM)
            server.logged("stopping" if n == 0 else "calls cut off")
        assert server.process.wait(60) == 0
        # RemoteDisconnected is one of these, too.
        assert isinstance(running.exception(), ConnectionResetError)
        assert server.logged("call", request_id="cut")["status"] == "UNAVAILABLE"


STOPPING = "The server is stopping. Call another server, or retry in a moment."


def test_while_a_call_finishes_new_ones_are_refused_with_the_reason(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, *HTTP_PORT) as server,
        unread_stream(server) as stream,
        HttpClient(server.url) as client,
    ):
        assert server.stub.Classify(SMALL, timeout=30).model.version == 1
        assert client.request("GET", "/v2/health/ready").status == 200
        server.process.send_signal(signal.SIGTERM)
        server.logged("stopping")
        until(lambda: request(server.url, "GET", "/v2").status == 503)
        # The connection that was open before the stop gets its answer, and is then closed.
        answer = client.request("POST", "/v1/classify", {})
        assert (answer.status, answer.values["error"]) == (503, STOPPING)
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
        ready = request(server.url, "GET", "/v2/health/ready")
        assert (ready.status, ready.values) == (503, {"ready": False})
        assert request(server.url, "GET", "/v2/health/live").status == 200
        error = refused(server.stub.Classify, SMALL)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert error.details() == STOPPING
        assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
        # The message in progress is answered, and the stream ends before the next one.
        assert len(next(stream).quadrants) == 500_000
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert (ended.value.code(), ended.value.details()) == (error.code(), STOPPING)
        assert server.process.wait(60) == 0


def test_calls_that_wait_for_their_callers_do_not_delay_the_stop(registry):
    publish(registry)
    options = ("--grace", "3600", "--max-calls", "64", *HTTP_PORT)
    with (
        ServerProcess(registry.root, *options) as server,
        HTTP.half_sent(server) as end,
        ExitStack() as opened,
        RawConnection(server.address) as unfinished,
    ):
        # All of them may wait: the limit is sixteen times --max-calls.
        streams = [opened.enter_context(open_stream(server)) for _ in range(100)]
        for _ in range(64):
            unfinished.begin_half()
        assert server.process.poll() is None
        code, _, log = server.stop()
        assert code == 0
        refusal = end()
        assert (refusal.http, refusal.message) == (503, STOPPING)
        for stream in streams:
            with pytest.raises(grpc.RpcError) as ended:
                next(stream)
            assert (ended.value.code(), ended.value.details()) == (
                grpc.StatusCode.UNAVAILABLE, STOPPING,
            )  # fmt: skip
    assert {line["status"] for line in log if line["event"] == "call"} == {"UNAVAILABLE"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_stops_the_server_too(registry, workers):
    publish(registry)
    with ServerProcess(registry.root, "--workers", workers) as server:
        assert server.stub.Classify(SMALL, timeout=30).model.version == 1
        code, out, _ = server.stop(signal.SIGHUP)
    assert (code, out) == (0, "Stopped.\n")


def test_a_server_started_with_nohup_ignores_sighup(registry):
    publish(registry)
    with ServerProcess(registry.root, before=("nohup",)) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.stub.Classify(SMALL, timeout=30).model.version == 1
        assert server.stop()[0] == 0


def test_refused_calls_do_not_delay_the_stop(registry):
    publish(registry)
    wrong = pb.ClassifyRequest(x=[1, 2], y=[1])
    with (
        ServerProcess(registry.root, "--grace", "3600") as server,
        Load(server.address, wrong, in_flight=16) as load,
    ):
        load.wait_for(200)
        assert server.stop()[0] == 0


def test_a_silent_connection_does_not_delay_the_stop(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--grace", "3600", *HTTP_PORT) as server,
        socket.create_connection(("127.0.0.1", int(server.port))),
        raw_connection(server.url),
        HttpClient(server.url) as idle,
    ):
        assert idle.request("GET", "/v2").status == 200
        # When this is answered, earlier connections have been accepted.
        assert server.stub.Classify(SMALL, timeout=10).model.version == 1
        server.process.send_signal(signal.SIGTERM)
        # gRPC itself would wait 20 seconds for the client's first bytes.
        assert server.process.wait(12) == 0
