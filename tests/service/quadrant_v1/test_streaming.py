"""ClassifyStream: order, errors, and bounded memory for slow readers."""

import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import exact_predictor, publish
from tests.support.serving import ServerProcess


@pytest.fixture
def server(registry):
    publish(registry)
    with ServerProcess(registry.root) as process:
        yield process


def test_messages_are_answered_in_order(server):
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(n, 2)) for n in (5, 0, 20_000, 1, 300)]
    requests = (pb.ClassifyRequest(x=X[:, 0], y=X[:, 1]) for X in batches)
    answers = list(server.stub.ClassifyStream(requests, timeout=20))
    for X, answer in zip(batches, answers, strict=True):
        expected = exact_predictor().probabilities(X).max(axis=1, initial=0).astype(np.float32)
        np.testing.assert_array_equal(answer.certainties, expected)


def test_an_answer_comes_before_the_next_message_is_sent(server):
    answered = threading.Event()

    def messages():
        yield pb.ClassifyRequest(x=[1], y=[1])
        assert answered.wait(20)
        yield pb.ClassifyRequest(x=[-1], y=[1])

    stream = server.stub.ClassifyStream(messages(), timeout=30)
    assert list(next(stream).quadrants) == [pb.QUADRANT_I]
    answered.set()
    assert list(next(stream).quadrants) == [pb.QUADRANT_II]
    assert list(stream) == []


def test_the_first_bad_message_ends_the_stream_with_its_status(server):
    good, bad = pb.ClassifyRequest(x=[1], y=[1]), pb.ClassifyRequest(x=[1, 2], y=[1])
    stream = server.stub.ClassifyStream(iter([good, good, bad, good]), timeout=20)
    assert [len(next(stream).quadrants) for _ in range(2)] == [1, 1]
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "y: expected as many values as x, 2, got 1"


def test_a_slow_reader_costs_bounded_memory(server):
    n = 150
    X = np.zeros((100_000, 2)) + 0.5
    request = pb.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)
    sent = 0

    def messages():
        nonlocal sent
        for _ in range(n):
            sent += 1
            yield request

    health = health_pb2_grpc.HealthStub(server.channel)
    stream = server.stub.ClassifyStream(messages(), timeout=120)
    next(stream)
    before = server.resident()
    # No answer is read. Once the server accepts no more messages for many round trips, it waits.
    still, last = 0, 0
    while still < 300:
        health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        still, last = (still + 1, last) if sent == last else (0, sent)
    assert sent < n / 2
    # All answers together have 315 MB.
    assert server.resident() - before < 60
    assert sum(1 for _ in stream) == n - 1


def test_a_cancelled_stream_leaves_nothing_behind(server):
    ended = threading.Event()

    def messages():
        yield pb.ClassifyRequest(x=[1], y=[1])
        ended.wait(30)

    stream = server.stub.ClassifyStream(messages(), timeout=30)
    next(stream)
    stream.cancel()
    ended.set()
    (line,) = server.calls(1)
    assert line["status"] in ("CANCELLED", "OK")
    assert server.stop()[0] == 0
