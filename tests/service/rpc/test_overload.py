"""Limits on calls that wait inside gRPC, for their message, or for their next message."""

from contextlib import ExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadnet.errors import Overloaded
from service.rpc.call import Call
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import LONGEST_WAIT, Admission
from service.rpc.policies.measurement import Measurement
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.telemetry import metrics
from tests.support.exact_models import publish
from tests.support.inference_client import InferenceStub
from tests.support.load import CLASSIFY
from tests.support.raw_http2 import RawConnection, message
from tests.support.serving import (
    ServerProcess,
    SlowPolicy,
    open_stream,
    refused,
    served_here,
    until,
)
from tests.support.transports import EVERY

POINT = pb.ClassifyRequest(x=[1], y=[1])
BATCH = message(pb.ClassifyRequest(x=[0.5] * 20, y=[0.5] * 20).SerializeToString())
DEFAULT_LIMIT = 64
HEALTH = "/grpc.health.v1.Health/Check"
EVERY_TRANSPORT = pytest.mark.parametrize("calls", EVERY, ids=lambda calls: calls.name)


@pytest.fixture
def server(registry):
    publish(registry)
    options = ("--http-port", "0", "--metrics-port", "0", "--log-level", "error")
    with ServerProcess(registry.root, *options) as process:
        yield process


def check_health(channel):
    health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    InferenceStub(channel).ServerReady(inference_pb2.ServerReadyRequest(), timeout=60)


def test_a_path_that_is_not_utf_8_ends_only_its_own_call(server):
    with RawConnection(server.address) as connection:
        stream = connection.begin(b"/\xff\xfe/x")
        assert connection.status(stream) == grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert server.stub.Classify(POINT, timeout=30).model.version == 1
    check_health(server.channel)


def test_idle_streams_hold_no_slot(server):
    with ExitStack() as opened:
        for _ in range(DEFAULT_LIMIT + 10):
            opened.enter_context(open_stream(server))
        for _ in range(5):
            assert server.stub.Classify(POINT, timeout=30).model.version == 1


@EVERY_TRANSPORT
def test_unfinished_messages_hold_no_slot(server, calls):
    with ExitStack() as opened:
        for _ in range(DEFAULT_LIMIT):
            opened.enter_context(calls.half_sent(server))
        for _ in range(5):
            assert calls.answered(server, x=[1], y=[1]).model.version == 1


@EVERY_TRANSPORT
def test_the_longest_waiting_call_makes_room_for_a_new_one(server, calls):
    with ExitStack() as opened:
        ends = [opened.enter_context(calls.half_sent(server)) for _ in range(2 * DEFAULT_LIMIT)]

        def makes_room():
            refusal = calls.outcome(server, x=[1], y=[1])
            if refusal is not None:
                # No call is evicted within its first second.
                assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "RetryInfo" in refusal.kinds
            return refusal is None

        until(makes_room, seconds=50)
        refusal = ends[0]()
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "made room for a new one" in refusal.message


def test_a_message_must_arrive_within_the_message_timeout(registry):
    publish(registry)
    options = ("--message-timeout", "0.5", "--log-level", "error")
    with (
        ServerProcess(registry.root, *options) as server,
        RawConnection(server.address) as connection,
    ):
        for begin in (connection.begin, connection.begin_half):
            trailers = connection.trailers(begin())
            assert trailers["grpc-status"] == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
            assert trailers["grpc-message"] == (
                "The request message did not arrive completely within 0.5 seconds. Send it faster, "
                "or in several smaller calls."
            )


@pytest.mark.parametrize(("max_calls", "streams"), [("64", 128), ("10", 128), ("100", 200)])
def test_calls_in_progress_are_limited_per_connection(registry, max_calls, streams):
    publish(registry)
    with (
        ServerProcess(registry.root, "--max-calls", max_calls) as server,
        RawConnection(server.address) as connection,
    ):
        assert connection.max_streams == streams


def test_calls_that_are_reset_at_once_cost_no_memory_and_delay_no_others(server):
    server.stub.Classify(POINT, timeout=30)
    before = server.resident()
    with RawConnection(server.address) as connection:
        for i in range(20_000):
            connection.begin_and_reset(BATCH)
            if i % 2000 == 0:
                check_health(server.channel)
                assert server.stub.Classify(POINT, timeout=30).model.version == 1
    check_health(server.channel)
    assert server.resident() - before < 40


def test_health_is_answered_and_the_wait_is_measured_while_calls_wait_inside_grpc(registry):
    publish(registry)
    n = 120
    policies = [Accounting(Measurement()), SlowPolicy()]
    waited_before = total_wait_seconds()
    with (
        served_here(registry, policies) as channel,
        grpc.insecure_channel(channel.target) as another,
    ):
        check_health(another)
        classify = channel.unary_unary(CLASSIFY)
        calls = [classify.future(POINT.SerializeToString(), timeout=120) for _ in range(n)]
        calls[0].result()
        before = sum(call.done() for call in calls)
        check_health(another)
        # In the same queue as the other calls, health would be answered after all of them.
        assert sum(call.done() for call in calls) - before < n / 2
        for call in calls:
            call.result()
    # On average a call waits for half of the others.
    assert total_wait_seconds() - waited_before > n / 2 * n * SlowPolicy.SECONDS / 2


def total_wait_seconds():
    """Return the sum of the wait of all calls, from the metric."""
    samples = [sample for family in metrics.REGISTRY.collect() for sample in family.samples]
    return sum(each.value for each in samples if each.name == "quadnet_call_wait_seconds_sum")


def test_most_calls_that_have_waited_too_long_are_refused(registry):
    publish(registry)
    with served_here(registry, [SlowPolicy(), Admission(20)]) as channel:
        classify = channel.unary_unary(CLASSIFY)
        calls = [classify.future(POINT.SerializeToString(), timeout=120) for _ in range(120)]
        errors = [error for error in (call.exception() for call in calls) if error is not None]
    assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all("seconds in the server's queue" in error.details() for error in errors)
    assert 20 < len(errors) < 100


def test_every_fourth_call_that_has_waited_too_long_is_answered():
    admission, answered = Admission(DEFAULT_LIMIT), 0
    for _ in range(100):
        try:
            admission.begin(
                Call("Classify", None, {}, "an-id", waited=LONGEST_WAIT + 0.1, queued=65)
            )
        except Overloaded as error:
            assert "waited for 1.1 seconds" in str(error)
        else:
            answered += 1
    assert answered == 25
    # If few calls wait, the machine is slow, and refusals would make nothing faster.
    admission.begin(Call("Classify", None, {}, "an-id", waited=60.0, queued=64))


def test_calls_of_unknown_methods_do_not_count_as_waiting(server):
    for _ in range(2 * DEFAULT_LIMIT):
        error = refused(server.channel.unary_unary("/a/b"), b"")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    for _ in range(20):
        assert server.stub.Classify(POINT, timeout=30).model.version == 1
    until(lambda: server.scrape()["quadnet_calls_waiting",] == 0)


@pytest.mark.parametrize("method", [HEALTH, "/inference.GRPCInferenceService/ServerLive"])
def test_unfinished_health_messages_are_limited_in_time_and_number(server, method):
    with ExitStack() as opened:
        calls = []
        for _ in range(2):
            connection = opened.enter_context(RawConnection(server.address))
            for _ in range(100):
                stream = connection.begin(method)
                connection.send(stream, message(bytes(100))[:50], end=False)
                calls.append((connection, stream))
        check_health(server.channel)
        statuses = {connection.status(stream) for connection, stream in calls}
    assert statuses <= {
        grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    }  # fmt: skip


def test_a_health_watch_that_does_not_read_delays_no_other(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--grace", "3600", "--log-level", "error") as server,
        RawConnection(server.address, window=0) as connection,
    ):
        stream = connection.begin("/grpc.health.v1.Health/Watch")
        connection.send(stream, message(b""))
        check_health(server.channel)
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=60
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.process.wait(60) == 0


def test_metadata_that_are_not_utf_8_log_no_traceback(registry):
    publish(registry)
    with (
        ServerProcess(registry.root) as server,
        RawConnection(server.address) as connection,
    ):
        for method, content in ((CLASSIFY, POINT.SerializeToString()), (HEALTH, b"")):
            stream = connection.begin(method, (b"x-foo", b"\xff\xfe\x80"))
            connection.send(stream, message(content))
            assert connection.status(stream) == 0
        server.calls(1)
        assert {line["event"] for line in server.log()} == {"version live", "call"}
