"""Clients that send or read slowly, wrongly or without end are bounded, and delay no others."""

import json
import re
import select
import socket
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quadnet.registry import Registry
from service.rest import connection as connection_module
from service.rest import http_runner, http_server
from service.rpc.policies.access_log import AccessLog
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import Admission
from service.rpc.policies.deadline import Deadline
from tests.support.exact_models import publish, publish_wide
from tests.support.http_client import HttpClient, raw_connection, read_answer, read_to_end, request
from tests.support.serving import ServerProcess, served_here, until

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
POINT = b'{"x": [1], "y": [1]}'


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("connections") / "registry")
    publish(registry)
    return registry


@pytest.fixture(scope="module")
def server(registry):
    options = ("--http-port", "0", "--max-message-bytes", "100000", "--max-calls", "4")
    with ServerProcess(registry.root, *options) as process:
        yield process


@pytest.fixture
def here(registry, monkeypatch):
    """A server in this process, which waits for its clients for a moment only."""
    monkeypatch.setattr(connection_module, "SECONDS_FOR_HEAD", 0.3)
    monkeypatch.setattr(connection_module, "SECONDS_TO_FLUSH", 0.3)
    monkeypatch.setattr(http_server, "SECONDS_IDLE", 0.3)
    policies = [Accounting(AccessLog()), Admission(4), Deadline()]
    with served_here(registry, policies, message_timeout=0.4, max_calls=4) as channel:
        yield channel


def is_answered(server):
    """Return whether another client is answered."""
    answer = request(server.url, "POST", "/v1/classify", {"x": [1], "y": [1]})
    return answer.status == 200 and answer.values["quadrants"] == ["QUADRANT_I"]


def test_headers_must_arrive_in_time_however_often_a_byte_of_them_does(here):
    with raw_connection(here.url) as slow, raw_connection(here.url) as silent:
        answered = None
        for byte in LIVE * 20:
            try:
                slow.sendall(bytes([byte]))
            except OSError:
                break
            slow.settimeout(0.05)
            try:
                answered = read_answer(slow)
            except TimeoutError:
                continue
            break
        assert answered.status == 408
        assert "headers did not arrive" in answered.values["error"]
        # Without a single byte there is nothing to answer.
        assert read_to_end(silent) == b""
    assert is_answered(here)


def test_an_idle_connection_is_closed(here):
    with raw_connection(here.url) as sock:
        sock.sendall(LIVE)
        assert read_answer(sock).status == 200
        assert read_to_end(sock) == b""


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 100\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\r\n",
        b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    ],
    ids=["length", "chunked", "continue"],
)
def test_a_body_must_arrive_in_time(here, body):
    with raw_connection(here.url) as sock:
        sock.sendall(POST + body)
        found = read_answer(sock)
        assert (found.status, found.values["reason"]) == (408, "MESSAGE_TIMEOUT")
        assert read_to_end(sock) == b""
    assert is_answered(here)


def _sends(sock, content, times):
    """Send the content so many times; return False if the connection ends before, or is full."""
    try:
        for _ in range(times):
            sock.sendall(content)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("path", [b"/v1/classify", b"/v3", b"/v2"])
def test_a_body_without_end_is_refused_and_the_connection_closed(server, path):
    head = b"POST " + path + b" HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
    with raw_connection(server.url) as sock:
        sock.sendall(head)
        # Until a reset, or a broken pipe.
        assert not _sends(sock, chunk, 100_000)
    assert is_answered(server)


def test_a_body_that_is_announced_too_large_is_refused_at_once(server):
    with raw_connection(server.url) as sock:
        sock.sendall(POST + b"Content-Length: 100000000000\r\nExpect: 100-continue\r\n\r\n")
        found = read_answer(sock)
        assert (found.status, found.values["reason"]) == (413, "TOO_LARGE")
        assert read_to_end(sock) == b""


def test_large_headers_are_refused(server):
    with raw_connection(server.url) as sock:
        sock.sendall(LIVE[:-2] + b"X-Bomb: " + b"x" * 60_000)
        found = read_answer(sock)
    assert found.status == 400
    assert "more than 16384 bytes" in found.values["error"]
    assert is_answered(server)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 TLS\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffffff\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(server, sent):
    with raw_connection(server.url) as sock:
        sock.sendall(sent)
        assert read_answer(sock).status in {400, 501}
        assert read_to_end(sock) == b""
    assert is_answered(server)


METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"get", b""])
PATHS = st.sampled_from(
    [
        b"/v2",
        b"/v1/classify",
        b"/v2/models/quadrants/infer",
        b"/v2/models/%00%ff/ready",
        b"*",
        b"//",
    ]
) | st.binary(max_size=20)
HEADERS = st.lists(
    st.sampled_from([
        b"Host: here", b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip", b"Content-Type: application/json", b"Connection: close",
        b"Expect: 100-continue", b"Upgrade: websocket", b"Connection: upgrade",
        b"X-Request-Timeout: 5", b"X-Request-Id: \xff", b"Inference-Header-Content-Length: 3",
    ]) | st.binary(max_size=20),
    max_size=6,
)  # fmt: skip


@given(METHODS, PATHS, st.sampled_from([b"1.1", b"1.0", b"2"]), HEADERS, st.binary(max_size=40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_get_an_answer_or_the_end_and_never_a_fault(
    server, http_method, path, version, headers, body
):
    lines = [http_method + b" " + path + b" HTTP/" + version, *headers, b"", body]
    with raw_connection(server.url) as sock:
        # After the last request the server closes the connection, unless it has done so before.
        sock.sendall(b"\r\n".join(lines) + LIVE[:-2] + b"Connection: close\r\n\r\n")
        answers = re.findall(rb"HTTP/1\.1 (\d{3}) ", read_to_end(sock))
    assert b"500" not in answers
    assert {line["event"] for line in server.log()} <= {"call", "version live"}


def test_a_client_of_http_1_0_gets_its_answer_and_the_end(server):
    with raw_connection(server.url) as sock:
        sock.sendall(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        found = read_to_end(sock)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b'{"live":true}')


def test_a_body_longer_than_announced_is_not_taken_for_a_part_of_it(server):
    with raw_connection(server.url) as sock:
        sock.sendall(POST + b"Content-Length: 20\r\n\r\n" + POINT + b" and more\r\n\r\n")
        found = read_to_end(sock)
    assert found.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 400 Bad Request" in found


def test_pipelined_requests_are_answered_in_order(server):
    with raw_connection(server.url) as sock:
        classify = POST + b"Content-Length: 20\r\n\r\n" + POINT
        sock.sendall((LIVE + classify) * 50)
        reader = sock.makefile("rb")
        for _ in range(50):
            assert _next_body(reader) == {"live": True}
            assert _next_body(reader)["quadrants"] == ["QUADRANT_I"]


def _next_body(reader):
    length = 0
    while line := reader.readline().strip():
        if line.startswith(b"content-length"):
            length = int(line.split(b":")[1])
    return json.loads(reader.read(length))


def test_a_client_that_never_reads_is_closed_and_holds_no_slot(here):
    points = json.dumps({"x": [0.5] * 50_000, "y": [0.5] * 50_000, "allCertainties": True}).encode()
    head = POST + b"Content-Length: %d\r\n\r\n" % len(points)
    with ExitStack() as opened:
        socks = [
            opened.enter_context(raw_connection(here.url, receive_buffer=4096)) for _ in range(6)
        ]
        for sock in socks:
            sock.sendall(head + points)
        until(lambda: is_answered(here))
        for sock in socks:
            poll = select.poll()
            # Nothing is read: only the end of the connection is awaited.
            poll.register(sock, select.POLLRDHUP)
            assert poll.poll(20_000)


def test_pipelined_answers_that_are_not_read_take_bounded_memory(server):
    before = server.resident()
    with raw_connection(server.url, receive_buffer=4096) as sock:
        sock.settimeout(2)
        assert not _sends(sock, b"GET /v3 HTTP/1.1\r\nHost: here\r\n\r\n" * 1000, 1000)
        assert server.resident() - before < 30
    assert is_answered(server)


def test_a_half_closed_connection_counts_as_closed(server):
    with raw_connection(server.url) as sock:
        sock.sendall(POST + b"X-Request-Id: half\r\nContent-Length: 100\r\n\r\n{")
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == b""
    assert server.logged("call", request_id="half")["status"] == "CANCELLED"
    assert is_answered(server)


def test_a_client_that_leaves_ends_its_computation(registry, server):
    publish_wide(registry)
    body = {"x": [0.5] * 8000, "y": [0.5] * 8000, "model": {"name": "wide", "version": 1}}
    assert request(server.url, "GET", "/v2/models/wide/versions/1/ready").status == 200
    content = json.dumps(body).encode()
    with raw_connection(server.url) as sock:
        head = b"X-Request-Id: left\r\nContent-Length: %d\r\n\r\n" % len(content)
        sock.sendall(POST + head + content)
        # When this is answered, the server has read the request before.
        assert is_answered(server)
    assert server.logged("call", request_id="left")["status"] == "CANCELLED"


def test_a_client_that_leaves_after_a_large_body_ends_its_computation(registry):
    publish_wide(registry)
    body = {"x": [0.5] * 40_000, "y": [0.5] * 40_000, "model": {"name": "wide", "version": 1}}
    content = json.dumps(body).encode() + b" " * 3_000_000
    with ServerProcess(registry.root, "--http-port", "0") as server:
        assert request(server.url, "GET", "/v2/models/wide/versions/1/ready").status == 200
        for i in range(3):
            with raw_connection(server.url) as sock:
                head = b"X-Request-Id: left%d\r\nContent-Length: %d\r\n\r\n" % (i, len(content))
                sock.sendall(POST + head + content)
                assert is_answered(server)
        for i in range(3):
            assert server.logged("call", request_id=f"left{i}")["status"] == "CANCELLED"


def test_many_connections_make_room_for_new_ones(server):
    with ExitStack() as opened:
        idle = [opened.enter_context(raw_connection(server.url)) for _ in range(300)]
        # The one that has been idle for longest is closed.
        assert read_to_end(idle[0]) == b""
        assert is_answered(server)


def test_bodies_that_arrive_are_limited(server):
    with ExitStack() as opened:
        socks = [opened.enter_context(raw_connection(server.url)) for _ in range(9)]
        for sock in socks:
            sock.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        found = read_answer(socks[-1])
        assert (found.status, found.values["reason"]) == (429, "OVERLOADED")
        assert "already receives 8 messages" in found.values["error"]
        assert 0.1 <= found.values["retry_after"] <= 0.3
        assert found.headers["retry-after"] == "1"


def test_a_refused_request_leaves_its_connection_of_use(server):
    with HttpClient(server.url) as client:
        headers = {"Content-Type": "text/plain"}
        for n in (10, 60_000, 99_000):
            assert client.request("POST", "/v1/classify", bytes(n), headers).status == 415
        # Its body is longer than what is discarded without a limit, and yet it is answered.
        assert client.request("POST", "/v1/classify", bytes(3_000_000)).status == 413


def test_the_limits_are_those_that_the_documents_promise():
    assert connection_module.SECONDS_FOR_HEAD == 10
    assert connection_module.SECONDS_IDLE == 75
    assert http_runner.TIMEOUT == "x-request-timeout"
