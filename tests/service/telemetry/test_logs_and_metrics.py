"""The server's log lines, request ids and metrics."""

import gzip
import os
import random
import subprocess
import sys
import threading
from contextlib import suppress

import grpc
import numpy as np
import pytest

from quadnet.errors import TooLarge
from quadnet.registry import Registry
from service.client import QuadrantClient
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish
from tests.support.load import Load
from tests.support.raw_http2 import RawConnection, message
from tests.support.serving import SERVICE, ServerProcess, quadnet, refused, until

METHOD = f"{SERVICE}/Classify"
POINTS = pb.ClassifyRequest(x=[1, 2, 3], y=[1, 2, 3])

# Fields of a call's log line that differ from run to run.
VARYING = ("milliseconds", "waited_milliseconds", "peer", "timestamp")


def test_each_call_has_a_log_line_with_method_status_points_model_peer_and_id(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        server.stub.Classify(POINTS, metadata=(("x-request-id", "mine-1"),))
        refused(server.stub.Classify, pb.ClassifyRequest(x=[1]))
        list(server.stub.ClassifyStream(iter([POINTS, POINTS])))
        first, second, third = server.calls(3)
    assert first["milliseconds"] > 0
    assert first["peer"].startswith("ipv4:127.0.0.1:")
    rest = {k: v for k, v in first.items() if k not in VARYING}
    assert rest == {
        "event": "call",
        "level": "info",
        "method": METHOD,
        "status": "OK",
        "points": 3,
        "model": "quadrants",
        "version": 1,
        "request_id": "mine-1",
    }
    assert (second["status"], second["points"], second["version"]) == ("INVALID_ARGUMENT", 0, 0)
    assert third["method"].endswith("/ClassifyStream")
    assert third["points"] == 6


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1", True), ("x" * 128, True), ("x" * 129, False), ("", False), (None, False)],
)
def test_a_valid_request_id_is_kept_and_any_other_is_replaced(registry, given, kept):
    publish(registry)
    with ServerProcess(registry.root) as server:
        metadata = () if given is None else (("x-request-id", given),)
        _, call = server.stub.Classify.with_call(POINTS, metadata=metadata)
        returned = dict(call.trailing_metadata())["x-request-id"]
        assert (returned == given) is kept
        assert returned
        error = refused(server.stub.Classify, pb.ClassifyRequest(x=[1]), metadata=metadata)
        assert (dict(error.trailing_metadata())["x-request-id"] == given) is kept
        assert [line["request_id"] == given for line in server.calls(2)] == [kept] * 2


def test_metrics_count_calls_points_and_seconds_by_method_and_status(registry):
    publish(registry)
    with ServerProcess(registry.root, "--metrics-port", "0", "--max-calls", "1") as server:
        for _ in range(5):
            server.stub.Classify(POINTS)
        refused(server.stub.Classify, pb.ClassifyRequest(x=[1]))
        server.calls(6)
        metrics = server.scrape()
        assert metrics["quadnet_calls_total", METHOD, "OK"] == 5
        assert metrics["quadnet_calls_total", METHOD, "INVALID_ARGUMENT"] == 1
        assert metrics["quadnet_points_total", METHOD] == 15
        assert metrics["quadnet_call_seconds_count", METHOD] == 6
        assert 0 < metrics["quadnet_call_seconds_sum", METHOD] < 6
        buckets = [
            (float(key[1]), n)
            for key, n in metrics.items()
            if key[0] == "quadnet_call_seconds_bucket"
        ]
        assert min(buckets)[0] == 1e-4
        assert [n for _, n in sorted(buckets)] == sorted(n for _, n in buckets)
        assert max(buckets) == (float("inf"), 6)
        assert metrics["quadnet_calls_in_flight",] == 0
        assert metrics["quadnet_model_version", "champion", "quadrants"] == 1
        assert metrics["quadnet_model_load_seconds", "champion", "quadrants"] > 0
        assert metrics["quadnet_model_failing", "champion", "quadrants"] == 0


GZIP = ("grpc-encoding", "gzip")
ENDS = {
    "answered": ([], message(POINTS.SerializeToString()), "OK", "OK"),
    "compressed": ([GZIP], message(gzip.compress(POINTS.SerializeToString()), flag=1), "OK", "OK"),
    "a byte over the limit": ([], message(bytes(4097)), "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
    "far over the limit": ([], message(bytes(65_000)), "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
    "compressed, over the limit": (
        [GZIP], message(gzip.compress(bytes(65_000)), flag=1),
        "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED",
    ),
    # A stream without messages is valid.
    "no message": ([], b"", "INVALID_ARGUMENT", "OK"),
    "half a message": ([], message(bytes(100))[:50], "INVALID_ARGUMENT", "OK"),
    "two messages": ([], 2 * message(POINTS.SerializeToString()), "OK", "OK"),
    "no protobuf": ([], message(b"\xff\xff"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
}  # fmt: skip
"""Headers, body, and the expected status of a unary call and of a stream."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a server that accepts requests of at most 4 KiB."""
    registry = Registry(tmp_path_factory.mktemp("small") / "registry")
    publish(registry)
    options = ("--metrics-port", "0", "--max-message-bytes", "4096")
    with ServerProcess(registry.root, *options) as server:
        yield server


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("method", ["Classify", "ClassifyStream", "Guess"])
def test_the_log_and_the_metrics_have_the_status_that_the_caller_saw(small, name, method):
    headers, body, of_unary, of_stream = ENDS[name]
    label, status = {
        "Classify": (f"{SERVICE}/Classify", of_unary),
        "ClassifyStream": (f"{SERVICE}/ClassifyStream", of_stream),
        "Guess": ("unknown", "UNIMPLEMENTED"),
    }[method]
    request_id = f"{method}-{list(ENDS).index(name)}"
    with RawConnection(small.address) as connection:
        before = small.scrape().get(("quadnet_calls_total", label, status), 0)
        stream = connection.begin(f"/{SERVICE}/{method}", ("x-request-id", request_id), *headers)
        connection.send(stream, body)
        assert connection.status(stream) == grpc.StatusCode[status].value[0]
    line = small.logged("call", request_id=request_id)
    assert (line["method"], line["status"]) == (label, status)
    assert small.scrape()["quadnet_calls_total", label, status] == before + 1


def test_calls_that_end_early_are_logged_with_the_status_that_the_caller_saw(small):
    with RawConnection(small.address) as connection:
        for request_id, end in (("reset", connection.reset), ("late", connection.status)):
            timeout = [("grpc-timeout", "50m")] if request_id == "late" else []
            stream = connection.begin(
                f"/{SERVICE}/Classify", ("x-request-id", request_id), *timeout
            )
            connection.send(stream, message(bytes(100))[:50], end=False)
            end(stream)
    assert small.logged("call", request_id="reset")["status"] == "CANCELLED"
    assert small.logged("call", request_id="late")["status"] == "DEADLINE_EXCEEDED"
    # A client that ends its call at its own deadline, shortly before the server's.
    for seconds in (0.2, 2.2):
        request_id = f"late by {seconds}"
        stream = small.stub.ClassifyStream(
            iter(threading.Event().wait, True),
            timeout=seconds,
            metadata=[("x-request-id", request_id)],
        )
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert small.logged("call", request_id=request_id)["status"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    "path",
    [
        f"/{SERVICE}/Guess",
        f"/{SERVICE}/",
        "/quadrant.v2.Quadrants/Classify",
        "/x" * 3000,
        "/\n\x7f",
    ],
)
def test_an_unknown_method_gets_an_error_text_and_one_common_metric_label(small, path):
    def labels():
        return {key[1] for key in small.scrape() if key[0] == "quadnet_calls_total"}

    before = labels() | {"unknown"}
    error = refused(small.channel.unary_unary(path), b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details().startswith(
        "The server has no such service or method. Its services: quadrant.v1.QuadrantService, "
    )
    assert len(error.details()) < 500
    small.logged(
        "call", method="unknown", request_id=dict(error.trailing_metadata())["x-request-id"]
    )
    assert labels() == before


def test_a_request_over_the_limit_gets_an_error_text_and_is_not_retried(small):
    def refusals():
        return small.scrape().get(("quadnet_calls_total", METHOD, "RESOURCE_EXHAUSTED"), 0)

    before = refusals()
    with QuadrantClient(small.address) as client, pytest.raises(TooLarge) as caught:
        client.classify(np.zeros((300, 2)))
    # Two columns of 300 doubles, each with a tag and a length, and an empty model reference.
    assert str(caught.value) == (
        f"The request has {2 + 2 * (3 + 300 * 8)} bytes; this server reads at most 4096. "
        "Send it in several calls."
    )
    until(lambda: refusals() == before + 1)


def test_cancelled_and_late_calls_log_only_call_lines(registry):
    publish(registry)
    rng = random.Random(1)
    with ServerProcess(registry.root) as server:
        for i in range(3000):
            request = pb.ClassifyRequest(x=[1] * (i % 2), y=[1])
            timeout = rng.uniform(0.0005, 0.01)
            calls = [server.stub.Classify.future(request, timeout=timeout) for _ in range(3)]
            if i % 4 == 0:
                for call in calls:
                    call.cancel()
            for call in calls:
                with suppress(grpc.RpcError, grpc.FutureCancelledError):
                    call.result()
        code, _, lines = server.stop()
    assert code == 0
    assert {line["event"] for line in lines} == {"version live", "call", "stopping"}
    assert len([line for line in lines if line["event"] == "call"]) > 1000


def test_calls_over_the_limit_are_counted_as_shed_and_do_not_reach_the_model(registry):
    publish(registry)
    large = pb.ClassifyRequest(x=[0.5] * 200_000, y=[0.5] * 200_000)
    options = ("--metrics-port", "0", "--max-calls", "2")
    with ServerProcess(registry.root, *options) as server:
        with Load(server.address, large, in_flight=10, connections=10, at_most=100) as load:
            load.wait_for_all(60)
        server.calls(100)
        metrics = server.scrape()
    assert {each.code for each in load.failed} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert metrics["quadnet_calls_shed_total",] == len(load.failed) > 10
    answered = 100 - len(load.failed)
    assert answered >= 2
    assert metrics["quadnet_points_total", METHOD] == answered * 200_000
    assert metrics["quadnet_calls_in_flight",] == 0


def test_calls_whose_deadline_has_passed_are_not_computed(registry):
    publish(registry)
    large = pb.ClassifyRequest(x=[0.5] * 500_000, y=[0.5] * 500_000)
    options = [("grpc.max_send_message_length", -1)]
    with (
        ServerProcess(registry.root) as server,
        grpc.insecure_channel(server.address, options) as channel,
    ):
        classify = channel.unary_unary(f"/{METHOD}")
        content = large.SerializeToString()
        calls = [classify.future(content, timeout=0.06) for _ in range(20)]
        late = [call for call in calls if call.exception() is not None]
        assert late
        # The server still answers.
        assert server.stub.Classify(POINTS, timeout=10).model.version == 1
        lines = [line for line in server.calls(1) if line["status"] != "OK"]
    assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert all(line["points"] == 0 for line in lines)
    # On a busy machine a request may arrive so late that its caller gives up well before the
    # server's own deadline.
    assert {line["status"] for line in lines} <= {"DEADLINE_EXCEEDED", "CANCELLED"}


def test_an_unread_log_does_not_stop_the_server(registry):
    publish(registry)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "quadnet", "serve", "--registry", registry.root, "--port", "0",
         "--metrics-port", "0"],
        stdout=subprocess.PIPE, stderr=writer, text=True,
    )  # fmt: skip
    try:
        address = process.stdout.readline().split()[-1].rstrip(".")
        # Far more lines than the pipe and the writer's queue hold.
        with Load(address, POINTS, in_flight=32, at_most=15_000) as load:
            load.wait_for_all(120)
        assert not load.failed
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.stdout.close()
        os.close(reader)
        os.close(writer)


def test_lines_below_the_log_level_are_not_logged(registry):
    publish(registry)
    with ServerProcess(registry.root, "--log-level", "error") as server:
        server.stub.Classify(POINTS)
        code, _, log = server.stop()
    assert (code, log) == (0, [])


def test_a_taken_metrics_port_is_an_error(registry):
    publish(registry)
    with ServerProcess(registry.root, "--metrics-port", "0") as server:
        (line,) = [line for line in server.announcement if "Prometheus" in line]
        port = line.rpartition(":")[2].split("/")[0]
        done = quadnet("serve", "--registry", registry.root, "--port", "0", "--metrics-port", port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on for metrics: Address already" in done.stderr


def test_the_bench_verb_prints_a_table_of_its_measurements(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        options = ("--seconds", "0.5", "--warm-up", "0.1", "--port", server.port)
        done = quadnet("bench", "--points", "10", "--processes", "2", *options)
        calls = len(server.calls(50))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("quadrants version 1: 10 points per call, ")
    head = next(i for i, line in enumerate(lines) if "calls/s" in line)
    values = [float(v.replace(",", "")) for v in lines[head + 1].split()]
    assert values[1] == pytest.approx(10 * values[0], abs=10)
    assert values[2:] == sorted(values[2:])
    (answered,) = [line for line in lines if line.endswith(" OK")]
    assert 0 < int(answered.split()[0].replace(",", "")) <= calls


def test_the_bench_verb_reports_an_unreachable_server():
    done = quadnet("bench", "--port", "1")
    assert done.returncode == 1
    assert "No Quadnet server answers at 127.0.0.1:1." in done.stderr
