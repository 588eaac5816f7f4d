"""The page's gateway, without a browser: what it forwards and what it refuses."""

import base64
import http.client
import json
import re
import socket
import urllib.request

import pytest
from google.rpc import error_details_pb2

from quadnet.registry import Registry
from service.client import QuadrantClient
from service.playground.sandbox_request import CHOICES
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc
from tests.service.playground.page_client import (
    PLAYGROUND,
    PageServerProcess,
    make_envelope,
    read_envelopes,
)
from tests.support.environments import installation
from tests.support.exact_models import publish
from tests.support.hidden_packages import hide_packages
from tests.support.serving import SERVICE, ServerProcess, quadnet, refused


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("page") / "registry")
    publish(registry)
    with ServerProcess(registry.root, "--max-points", "100") as server:
        yield server


@pytest.fixture(scope="module")
def page(served):
    with PageServerProcess(served.port, "--log-level", "info") as process:
        yield process


def run_request(**changes):
    return {
        "x": [0.5, -0.5, -0.5, 0.5],
        "y": [0.5, 0.5, -0.5, -0.5],
        "quadrants": [f"QUADRANT_{name}" for name in ("I", "II", "III", "IV")],
        "learningRate": 0.5,
        "batchSize": 1,
        "maxEpochs": 3,
        **changes,
    }


def test_classify_returns_the_answer_of_the_server(served, page):
    points = [[0.5, 0.5], [-0.3, 0.8], [-1e-3, -1.0]]
    status, answer = page.call(
        SERVICE,
        "Classify",
        {"x": [x for x, _ in points], "y": [y for _, y in points], "allCertainties": True},
    )
    assert status == 200
    with QuadrantClient(served.address) as client:
        own = client.classify(points, all_certainties=True)
    assert answer["quadrants"] == [f"QUADRANT_{name}" for name in own.quadrants]
    assert answer["allCertainties"] == pytest.approx(own.all_certainties.ravel().tolist())
    assert answer["model"] == {"name": "quadrants", "version": "1", "digest": own.digest}


def test_the_other_methods_are_forwarded(page):
    status, models = page.call(SERVICE, "ListModels", {})
    assert (status, models["models"][0]["aliases"]) == (200, {"champion": "1"})
    status, model = page.call(SERVICE, "GetModel", {"model": {"version": "1"}})
    assert (status, model["layers"][0]["units"]) == (200, "4")
    # Zeros and empty values are included: the page has no defaults.
    assert model["layers"][0]["biases"] == [0, 0, 0, 0]
    status, trace = page.call(SERVICE, "Explain", {"features": [0.5, -0.5]})
    assert (status, trace["label"]) == (200, "IV")


def test_a_request_id_is_forwarded_and_returned(served, page):
    _, headers, _ = page.post(f"{SERVICE}/Classify", {}, x_request_id="from-the-page")
    assert headers["x-request-id"] == "from-the-page"
    assert served.logged("call", request_id="from-the-page")["status"] == "OK"


def test_a_deadline_is_forwarded(page):
    status, _, body = page.post(f"{SERVICE}/Classify", {}, connect_timeout_ms="0")
    assert (status, json.loads(body)["code"]) == (504, "deadline_exceeded")
    status, _, body = page.post(f"{SERVICE}/Classify", {}, connect_timeout_ms="soon")
    assert status == 400
    assert "expected milliseconds" in json.loads(body)["message"]


def test_an_error_of_the_server_is_returned_with_its_text_and_details(page):
    status, error = page.call(SERVICE, "Classify", {"x": [1, "NaN"], "y": [1, 2]})
    assert (status, error["code"]) == (400, "invalid_argument")
    assert error["message"] == "x[1]: expected a finite number, got nan"
    found = {detail["type"]: detail["value"] for detail in error["details"]}
    packed = base64.b64decode(found["google.rpc.BadRequest"] + "==")
    (violation,) = error_details_pb2.BadRequest.FromString(packed).field_violations
    assert violation.field == "x[1]"
    status, error = page.call(SERVICE, "Classify", {"x": [1] * 101, "y": [1] * 101})
    assert (status, error["message"]) == (
        400,
        "x: expected at most 100 points per call, got 101; send them in several calls",
    )
    status, error = page.call(SERVICE, "GetModel", {"model": {"name": "nobody"}})
    assert (status, error["code"]) == (404, "not_found")


DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got invalid JSON"),
        (b"{", "got invalid JSON"),
        (b"\xff{}", "got invalid JSON"),
        (DEEP, "got invalid JSON"),
        (b"[]", "an object, got list"),
        (b'{"z": [1]}', 'no field named "z"'),
        (b'{"x": ["<script>"]}', "x"),
        (b'{"x": [1e999], "y": [0]}', "x"),
        (b'{"quadrants": ["QUADRANT_V"]}', "quadrants"),
        (b'{"minCertainty": [1]}', "minCertainty"),
        (b'{"x": 1}', "x"),
        (b'{"x": [1' + b"0" * 400 + b"]}", "x"),
        (b'{"x": [1' + b"0" * 5000 + b"]}", "got invalid JSON"),
        (b'{"\\ud800": 1}', "half of a surrogate pair"),
        (b'{"\xed\xa0\x80": 1}', "got invalid JSON"),
        (b'{"model": {"name": "\\ud800"}}', "half of a surrogate pair"),
        (b'{"model": {"name": "a\\u0000\\udbFF"}}', "half of a surrogate pair"),
        (b'{"model": {"version": "\\ud800"}}', "half of a surrogate pair"),
        (b'{"model": {"version": 1e400}}', "version"),
        (b'{"model": {"version": 1.5}}', "version"),
        (b'{"model": {"version": 9223372036854775808}}', "version"),
        (b'{"x": [null]}', "x"),
        (b'{"x": [[1]]}', "x"),
        (b'{"x": {"\\uDC00": 1}}', "half of a surrogate pair"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_invalid_json_is_refused_with_the_name_of_the_field(page, content, message):
    status, headers, body = page.post(f"{SERVICE}/Classify", content)
    error = json.loads(body)
    assert (status, error["code"]) == (400, "invalid_argument")
    assert message in error["message"]
    assert len(body) < 1000
    assert "Traceback" not in error["message"]
    assert headers["content-type"] == "application/json"


def test_frames_are_streamed_in_envelopes(page):
    status, headers, body = page.post(
        f"{PLAYGROUND}/Train", make_envelope(run_request()), content_type="application/connect+json"
    )
    assert (status, headers["content-type"]) == (200, "application/connect+json")
    *frames, end = read_envelopes(body)
    assert [(flags, frame["epoch"]) for flags, frame in frames] == [
        (0, "0"),
        (0, "1"),
        (0, "2"),
        (0, "3"),
    ]
    assert frames[-1][1]["stopReason"] == "All 3 epochs are done."
    codes = [frame["stopReasonCode"] for _, frame in frames]
    assert codes == ["STOP_REASON_UNSPECIFIED"] * 3 + ["STOP_REASON_MAX_EPOCHS"]
    assert end == (2, {})


def test_a_refused_stream_ends_with_the_error_of_the_server(page):
    _, _, body = page.post(
        f"{PLAYGROUND}/Train",
        make_envelope(run_request(learningRate=-1)),
        content_type="application/connect+json",
    )
    ((flags, end),) = read_envelopes(body)
    assert flags == 2
    assert end["error"]["code"] == "invalid_argument"
    assert end["error"]["message"] == "learning_rate: expected a number above 0, got -1"
    status, _, body = page.post(
        f"{PLAYGROUND}/Train", b"{}", content_type="application/connect+json"
    )
    assert status == 400
    assert "expected one envelope" in json.loads(body)["message"]


def test_a_run_ends_when_the_browser_closes_the_connection(page):
    request = make_envelope(run_request(maxEpochs=1_000_000))
    head = (
        f"POST /{PLAYGROUND}/Train HTTP/1.1\r\nHost: {page.host}\r\n"
        f"Content-Type: application/connect+json\r\nContent-Length: {len(request)}\r\n\r\n"
    )
    host, port = page.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode() + request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    page.logged("call", method=f"{PLAYGROUND}/Train", status="CANCELLED")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"host": "evil.example"}, 421, "permission_denied"),
        ({"host": "127.0.0.1:1"}, 421, "permission_denied"),
        ({"origin": "http://evil.example"}, 403, "permission_denied"),
        ({"origin": "null"}, 403, "permission_denied"),
        ({"content_type": "text/plain"}, 415, "invalid_argument"),
        ({"content_type": "application/connect+json"}, 415, "invalid_argument"),
        ({"method": "GET", "content": None}, 405, "unimplemented"),
        ({"method": "PUT"}, 405, "unimplemented"),
        ({"path": f"{SERVICE}/Delete"}, 404, None),
        ({"path": f"{SERVICE}/ClassifyStream", "method": "GET", "content": None}, 404, None),
        ({"path": "grpc.health.v1.Health/Check", "method": "GET", "content": None}, 404, None),
        ({"content": b" " * (4 * 2**20 + 1)}, 413, "resource_exhausted"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_foreign_and_invalid_requests_are_refused_with_their_status(page, headers, status, code):
    given = {"path": f"{SERVICE}/Classify", "content": b"{}", **headers}
    got, answered, body = page.post(given.pop("path"), given.pop("content"), **given)
    error = json.loads(body)
    assert (got, error["code"]) == (status, code or "unimplemented")
    assert "expected" in error["message"] or "does not accept" in error["message"] or code is None
    assert "default-src 'self'" in answered["content-security-policy"]
    assert "access-control-allow-origin" not in answered


def raw(page, request):
    """Send these bytes unchanged; return the status, the headers and the body."""
    host, port = page.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            return answer.status, answer.headers, answer.read()


def secured(headers):
    return (
        "default-src 'self'" in headers["content-security-policy"]
        and headers["x-content-type-options"] == "nosniff"
        and headers["cross-origin-opener-policy"] == "same-origin"
        and headers["referrer-policy"] == "no-referrer"
    )


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("GET / HTTP/1.1|Host: {host}|Origin: http://[", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: http://[::1", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: http://\u00e9\u00ff", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: ", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: {host}", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: ftp://{host}", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: http://{host}/", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: http://evil@{host}", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: http://{host}|Origin: http://evil.example", 403),
        ("GET / HTTP/1.1|Host: {host}|Origin: http://{host}", 200),
        ("GET / HTTP/1.1|Host: {host}|Origin: HTTP://{host}", 200),
        ("GET / HTTP/1.1|Host: [", 421),
        ("GET / HTTP/1.1|Host: http://[::1", 421),
        ("GET / HTTP/1.1|Host: \u00e9", 421),
        ("GET / HTTP/1.1|Host: ", 421),
        ("GET / HTTP/1.0", 421),
        ("GET [ HTTP/1.1|Host: {host}", 404),
        ("GET ://[ HTTP/1.1|Host: {host}", 404),
        ("GET http://[ HTTP/1.1|Host: {host}", 404),
        ("PUT [ HTTP/1.1|Host: {host}", 404),
        ("GET //[ HTTP/1.1|Host: {host}", 404),
        ("GET /[/ HTTP/1.1|Host: {host}", 404),
        ("GET /app.js/ HTTP/1.1|Host: {host}", 404),
        ("GET /?%ff[=& HTTP/1.1|Host: {host}", 200),
        ("GET /%ff%fe%00.js HTTP/1.1|Host: {host}", 404),
        (f"GET /{'x' * 5000}.js HTTP/1.1|Host: {{host}}", 404),
        ("OPTIONS / HTTP/1.1|Host: {host}", 405),
        ("GET /app.js HTTP/1.1|Host: {host}|Range: bytes=x", 400),
        ("GET /app.js HTTP/1.1|Host: {host}|Range: bytes=99999999-", 416),
        # Answers of the HTTP server itself.
        ("GET / HTTP/x|Host: {host}", 400),
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1|Host: {host}|Host: {host}", 400),
        ("GET / HTTP/1.1|Host: {host}|Content-Length: x", 400),
        ("G\u00e9T / HTTP/1.1|Host: {host}", 400),
    ],
    ids=lambda value: str(value)[:60],
)
def test_every_answer_to_a_hostile_request_head_has_the_security_headers(page, lines, status):
    request = lines.format(host=page.host).replace("|", "\r\n") + "\r\n\r\n"
    got, headers, body = raw(page, request.encode("latin-1"))
    assert got == status
    assert secured(headers)
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Connect-Timeout-Ms", "", 400),
        ("Connect-Timeout-Ms", "-1", 400),
        ("Connect-Timeout-Ms", "1e3", 400),
        ("Connect-Timeout-Ms", "\u00b2", 400),
        ("Connect-Timeout-Ms", "9" * 10, 200),
        ("Connect-Timeout-Ms", "9" * 11, 400),
        ("Content-Type", "", 415),
        ("Content-Type", "\u00e9", 415),
        ("Content-Type", ";" * 1000, 415),
        ("Content-Type", "Application/JSON; charset=\u00ff", 200),
        ("X-Request-Id", "\u00e9", 200),
        ("X-Request-Id", "x" * 10_000, 200),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_answer_to_a_hostile_header_of_a_call_has_the_security_headers(
    page, name, value, status
):
    headers = {
        "Host": page.host,
        "Content-Type": "application/json",
        "Content-Length": "2",
        name: value,
    }
    head = "".join(f"{key}: {text}\r\n" for key, text in headers.items())
    request = f"POST /{SERVICE}/Classify HTTP/1.1\r\n{head}\r\n{{}}"
    got, answered, body = raw(page, request.encode("latin-1"))
    assert got == status, body
    assert secured(answered)
    json.loads(body)


def test_a_browser_that_leaves_in_the_middle_of_a_body_logs_no_error(page):
    head = f"POST /{SERVICE}/Classify HTTP/1.1\r\nHost: {page.host}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    host, port = page.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
    page.post(f"{SERVICE}/Classify", {}, x_request_id="after-the-disconnect")
    assert not [line for line in page.log() if line.get("level") in {"error", "critical"}]


@pytest.mark.parametrize(
    "path",
    [
        "..%2Fgateway.py",
        "%2e%2e/gateway.py",
        "gateway.py",
        ".",
        "static",
        "app.js%00",
        "x" * 5000,
    ],
)
def test_no_other_file_is_served(page, path):
    status, _, body = page.post(path[:5000], None, method="GET")
    assert status == 404
    assert b"import" not in body


def test_allow_host_adds_a_name_of_the_page(served):
    with PageServerProcess(served.port, "--allow-host", "page.example:80") as page:
        assert page.post(f"{SERVICE}/Classify", {}, host="page.example:80")[0] == 200
        origin = "http://page.example:80"
        assert page.post(f"{SERVICE}/Classify", {}, origin=origin)[0] == 200
        assert page.post(f"{SERVICE}/Classify", {}, host="page.example:81")[0] == 421


def test_the_form_offers_what_the_sandbox_accepts(page):
    for path in ("/", "/index.html"):
        _, _, body = page.post(path[1:], None, method="GET")
        for field, names in CHOICES.items():
            select = re.search(rf'<select id="{field}">(.*?)</select>', body.decode())[1]
            assert re.findall(r"<option>(\w+)</option>", select) == list(names)


def test_the_files_have_their_content_types(page):
    for name, kind in (("", "text/html"), ("app.js", "text/javascript"), ("style.css", "text/css")):
        with urllib.request.urlopen(page.url + name, timeout=10) as answer:
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_unreachable_server_is_reported_at_once():
    with PageServerProcess(1) as page:
        status, error = page.call(SERVICE, "Classify", {})
        assert (status, error["code"]) == (503, "unavailable")
        assert error["message"] == "No Quadnet server answers at 127.0.0.1:1."
        # Sandboxes can still be trained.
        _, _, body = page.post(
            f"{PLAYGROUND}/Train",
            make_envelope(run_request()),
            content_type="application/connect+json",
        )
        assert read_envelopes(body)[-1] == (2, {})


def test_the_page_sends_the_token_that_the_server_requires(tmp_path):
    (tmp_path / "tokens").write_text("open-sesame\n")
    token = ("--token-file", str(tmp_path / "tokens"))
    registry = Registry(tmp_path / "registry")
    publish(registry)
    with ServerProcess(registry.root, *token) as server:
        with PageServerProcess(server.port) as page:
            status, error = page.call(SERVICE, "Classify", {})
            assert (status, error["code"]) == (401, "unauthenticated")
        with PageServerProcess(server.port, *token) as page:
            assert page.call(SERVICE, "Classify", {})[0] == 200


WARNING = "the page has no TLS and no password: others on the network can use it"


def test_a_public_address_of_the_page_is_warned_about(served):
    with PageServerProcess(served.port, "--page-host", "0.0.0.0") as page:
        assert page.logged(WARNING)["host"] == "0.0.0.0"
        # A public address does not allow other host names.
        assert page.post(f"{SERVICE}/Classify", {}, host="evil.example")[0] == 421
        assert page.post(f"{SERVICE}/Classify", {})[0] == 200


def test_the_server_itself_has_no_sandboxes(served):
    stub = quadrant_pb2_grpc.PlaygroundServiceStub(served.channel)
    error = refused(stub.Inspect, pb.InspectRequest())
    assert error.code().name == "UNIMPLEMENTED"


def test_the_page_stops_without_errors(served):
    with PageServerProcess(served.port) as page:
        code, printed, log = page.stop()
    assert (code, printed, log) == (0, "Stopped.\n", [])


def test_a_taken_port_is_an_error(page):
    done = quadnet("playground", "--page-port", page.host.split(":")[1])
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be listened on: Address already in use" in done.stderr


def test_up_starts_and_stops_the_page_with_the_server(tmp_path):
    options = ("--page-port", "0")
    with ServerProcess(tmp_path / "models", *options, verb="up") as server:
        (line,) = [line for line in server.announcement if line.startswith("The page: http://")]
        url = line.split()[-1]
        request = urllib.request.Request(
            f"{url}{SERVICE}/Classify", b"{}", {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert json.load(answer)["model"]["version"] == "1"
        assert server.stop()[0] == 0
    host, port = url.split("/")[2].split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_without_the_extra_up_serves_and_names_the_extra(tmp_path):
    env = hide_packages(tmp_path, "uvicorn")
    reason = f"needs packages that are not installed (uvicorn). {installation('playground')}"
    with ServerProcess(tmp_path / "models", verb="up", env=env) as server:
        assert [line for line in server.announcement if "page" in line] == [f"The page {reason}"]
        assert server.stop()[0] == 0
    with ServerProcess(tmp_path / "models", "--no-page", verb="up", env=env) as server:
        assert not [line for line in server.announcement if "page" in line]
    done = quadnet("playground", env=env)
    assert (done.returncode, done.stderr) == (1, f"quadnet playground {reason}\n")
