"""What callers see behind a proxy."""

import time

import grpc
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish
from tests.support.proxies import haproxy
from tests.support.raw_http2 import RawConnection
from tests.support.serving import SERVICE, ServerProcess, long_call, open_stream

SIZES = (30_000, 200_000)
TOKEN = (("authorization", "Bearer sesame"),)


def statuses(address, *, metadata=()):
    """Return the statuses of calls of several sizes, each on a new connection."""
    found = set()
    for size in SIZES:
        request = pb.ClassifyRequest(x=[0.5] * size, y=[0.5] * size).SerializeToString()
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(f"/{SERVICE}/Classify").future(
                request, timeout=30, metadata=metadata
            )
            found.add(call.code().name)
    return found


@pytest.fixture
def tokens(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("sesame\n")
    return ("--token-file", str(file))


def test_callers_behind_haproxy_see_the_status_of_a_call_that_is_refused_before_it_is_read(
    registry, tmp_path, tokens
):
    publish(registry)
    with (
        ServerProcess(registry.root, *tokens) as server,
        haproxy(server.address, folder=tmp_path) as front,
    ):
        assert statuses(front) == {"UNAUTHENTICATED"}
        assert statuses(front, metadata=TOKEN) == {"OK"}
    with (
        ServerProcess(registry.root, "--max-calls", "1") as server,
        long_call(server, registry),
        haproxy(server.address, folder=tmp_path) as front,
    ):
        assert statuses(front) == {"RESOURCE_EXHAUSTED"}
    with (
        ServerProcess(registry.root) as server,
        open_stream(server),
        haproxy(server.address, folder=tmp_path) as front,
    ):
        server.process.terminate()
        server.logged("stopping")
        assert statuses(front) == {"UNAVAILABLE"}


def test_refused_calls_that_send_no_message_still_get_their_status(registry, tokens):
    publish(registry)
    with ServerProcess(registry.root, *tokens, "--max-calls", "1") as server:
        connections = [RawConnection(server.address) for _ in range(5)]
        started = time.monotonic()
        calls = [(connection, connection.begin_half()) for connection in connections]
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED.value[0]
        assert [each.status(stream) for each, stream in calls] == [unauthenticated] * 5
        # The server does not wait for their messages one after another, or without limit.
        assert time.monotonic() - started < 30
        for connection in connections:
            connection.__exit__()
        # They hold no slot, and leave only their lines in the log.
        request = pb.ClassifyRequest(x=[1], y=[1])
        assert server.stub.Classify(request, timeout=20, metadata=TOKEN).model.version == 1
        server.calls(6)
        assert {line["event"] for line in server.log()} == {"version live", "call"}
