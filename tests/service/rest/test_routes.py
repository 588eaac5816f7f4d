"""Every REST method answers as its gRPC method does, and refuses with a sentence."""

import gzip
import json
import zlib

import numpy as np
import pytest

from quadnet.registry import Registry
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support import inference_client
from tests.support.exact_models import publish
from tests.support.http_client import HttpClient, raw_connection, read_answer, request
from tests.support.inference_client import InferenceStub
from tests.support.serving import ServerProcess

ROWS = np.random.default_rng(0).uniform(-1, 1, (100, 2))
NESTED = ROWS.tolist()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("rest") / "registry")
    publish(registry)
    publish(registry)
    publish(registry, "letters", classes=("a", "b", "c", "d"))
    options = ("--http-port", "0", "--max-message-bytes", "200000")
    with ServerProcess(registry.root, *options) as process:
        yield process


@pytest.fixture
def client(server):
    with HttpClient(server.url) as found:
        yield found


def infer_request(values=NESTED, **further):
    shape = [len(values), 2]
    return {
        "inputs": [{"name": "x", "datatype": "FP64", "shape": shape, "data": values}],
        **further,
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/quadrants/ready", {"name": "quadrants", "ready": True}),
        ("/v2/models/letters/versions/1/ready", {"name": "letters", "ready": True}),
    ],
)
def test_health_is_told_by_the_status_and_the_body(client, path, expected):
    answer = client.request("GET", path)
    assert (answer.status, answer.values) == (200, expected)


@pytest.mark.parametrize("version", ["", "1", "2", "champion"])
def test_metadata_are_those_of_grpc(client, server, version):
    path = "/v2/models/quadrants" + (f"/versions/{version}" if version else "")
    stub = InferenceStub(server.channel)
    expected = stub.ModelMetadata(
        inference_pb2.ModelMetadataRequest(name="quadrants", version=version)
    )
    found = client.request("GET", path).values
    assert found["versions"] == list(expected.versions)
    assert found["properties"] == dict(expected.properties)
    assert found["inputs"] == [
        {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}
        for each in expected.inputs
    ]
    config = client.request("GET", f"{path}/config").values
    assert config["name"] == "quadrants"
    assert config["input"][0]["data_type"] == "TYPE_FP64"


def test_the_server_and_the_repository_are_described(client):
    assert client.request("GET", "/v2").values["name"] == "quadnet"
    listed = client.request("GET", "/v2/repository/index").values
    assert [(each["name"], each["version"]) for each in listed] == [
        ("letters", "1"), ("quadrants", "1"), ("quadrants", "2")
    ]  # fmt: skip
    ready = client.request("POST", "/v2/repository/index", {"ready": True}).values
    assert all(each["state"] == "READY" for each in ready)
    assert len(ready) < len(listed) or ready == listed
    assert client.request("POST", "/v2/repository/index").values == listed


def test_inference_equals_grpc_to_the_last_bit_and_is_counted(client, server):
    answer = client.request("POST", "/v2/models/quadrants/versions/2/infer", infer_request(id="7"))
    assert answer.status == 200
    assert (answer.values["id"], answer.values["model_version"]) == ("7", "2")
    outputs = {each["name"]: each for each in answer.values["outputs"]}
    expected = InferenceStub(server.channel).ModelInfer(
        inference_client.raw(
            ROWS, model_version="2", outputs=[inference_client.Output(name="probabilities")]
        )
    )
    probabilities = np.asarray(outputs["probabilities"]["data"])
    assert probabilities.tobytes() == expected.raw_output_contents[0]
    (stats,) = client.request("GET", "/v2/models/quadrants/versions/2/stats").values["model_stats"]
    assert stats["inference_count"] == 200
    for path in ("/v2/models/stats", "/v2/models/quadrants/stats"):
        assert stats in client.request("GET", path).values["model_stats"]


def test_values_may_be_binary_in_both_directions(client):
    content = ROWS.astype("<f8").tobytes()
    given = {"name": "x", "datatype": "FP64", "shape": [100, 2]}
    given["parameters"] = {"binary_data_size": len(content)}
    described = json.dumps(
        {"inputs": [given], "parameters": {"binary_data_output": True},
         "outputs": [{"name": "probabilities"}]}
    ).encode()  # fmt: skip
    headers = {"Inference-Header-Content-Length": str(len(described))}
    answer = client.request("POST", "/v2/models/quadrants/infer", described + content, headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.body[:length])["outputs"][0]["parameters"] == {
        "binary_data_size": 100 * 4 * 8
    }
    probabilities = np.frombuffer(answer.body[length:], "<f8").reshape(100, 4)
    in_json = client.request("POST", "/v2/models/quadrants/infer", infer_request()).values
    assert np.array_equal(probabilities.ravel(), in_json["outputs"][0]["data"])


def test_curl_needs_no_header_for_its_body(client):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = json.dumps({"x": [0.5], "y": [0.5]}).encode()
    answer = client.request("POST", "/v1/classify", body, headers)
    assert (answer.status, answer.values["quadrants"]) == (200, ["QUADRANT_I"])


def test_classify_answers_as_over_grpc(client, server):
    body = {
        "x": ROWS[:, 0].tolist(),
        "y": ROWS[:, 1].tolist(),
        "model": {"name": "quadrants"},
    }
    found = client.request("POST", "/v1/classify", body).values
    expected = server.stub.Classify(pb.ClassifyRequest(x=ROWS[:, 0], y=ROWS[:, 1]))
    assert found["quadrants"] == [pb.Quadrant.Name(each) for each in expected.quadrants]
    assert found["certainties"] == list(expected.certainties)


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_bodies_are_read(client, encoding, compress):
    body = json.dumps(infer_request()).encode()
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    path = "/v2/models/quadrants/infer"
    answer = client.request("POST", path, compress(body), headers)
    assert answer.values["outputs"] == client.request("POST", path, body).values["outputs"]
    half = client.request("POST", path, compress(body)[:-9], headers)
    assert (half.status, half.values["reason"]) == (400, "INVALID_INPUT")
    for rest in (b"more", compress(b" ")):
        two = client.request("POST", path, compress(body) + rest, headers)
        assert f"compressed with {encoding}, got more after its end" in two.values["error"]
    wrong = client.request("POST", path, b"not compressed", headers)
    assert f"expected a body compressed with {encoding}" in wrong.values["error"]
    bomb = client.request("POST", path, compress(bytes(50_000_000)), headers)
    assert (bomb.status, bomb.values["reason"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    ("http_method", "path", "headers", "status", "reason", "text"),
    [
        ("GET", "/v3", {}, 404, "UNKNOWN_PATH", "/v2/models/{model}/infer"),
        ("GET", "/v2/", {}, 404, "UNKNOWN_PATH", "/v2/health/live"),
        ("DELETE", "/v2", {}, 405, "WRONG_HTTP_METHOD", "Expected the HTTP method GET"),
        ("OPTIONS", "/v1/classify", {}, 405, "WRONG_HTTP_METHOD", "HTTP method POST"),
        ("GET", "/v2/models/nobody", {}, 404, "NOT_FOUND", "nobody"),
        ("POST", "/v1/classify", {"Content-Type": "text/csv"}, 415, "UNSUPPORTED_CONTENT",
         "Expected a body of the type application/json, got 'text/csv'"),
        ("POST", "/v1/classify", {"Content-Encoding": "br"}, 415, "UNSUPPORTED_CONTENT",
         "Send the body without compression"),
        ("GET", "/v2", {"X-Request-Timeout": "soon"}, 400, "INVALID_INPUT",
         "x-request-timeout: expected a number of seconds, such as 2.5, got 'soon'"),
        ("GET", "/v2", {"X-Request-Timeout": "0"}, 504, "DEADLINE_PASSED", "deadline"),
        ("POST", "/v2/models/quadrants/infer", {"Inference-Header-Content-Length": "-1"}, 400,
         "INVALID_INPUT", "expected a number of bytes, got '-1'"),
        ("POST", "/v2/models/quadrants/infer", {}, 400, "INVALID_INPUT", "JSON"),
        ("POST", "/v1/classify", {}, 400, "INVALID_INPUT", "ClassifyRequest in JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_its_status_and_a_sentence(
    client, server, http_method, path, headers, status, reason, text
):
    named = {"X-Request-Id": "my-id", **headers}
    answer = client.request(http_method, path, b"" if http_method == "POST" else None, named)
    assert (answer.status, answer.values["reason"]) == (status, reason)
    assert text in answer.values["error"]
    assert answer.values["request_id"] == answer.headers["x-request-id"] == "my-id"
    if status == 405:
        assert answer.headers["allow"]
    # The connection is still of use.
    assert client.request("GET", "/v2/health/live").status == 200


def test_the_log_names_templates_and_never_the_path_of_the_caller(client, server):
    for path in ("/v2/models/letters/versions/1", "/etc/passwd"):
        client.request("GET", path, headers={"X-Request-Id": f"of {path}"})
    found = server.logged("call", method="unknown", request_id="of /etc/passwd")
    assert found["status"] == "NOT_FOUND"
    found = server.logged("call", request_id="of /v2/models/letters/versions/1")
    assert found["method"] == "GET /v2/models/{model}/versions/{version}"
    assert (found["model"], found["version"]) == ("letters", 1)


def test_a_request_id_that_is_not_short_and_printable_is_replaced(client):
    for given in ("x" * 200, "\xff", ""):
        found = client.request("GET", "/v2", headers={"X-Request-Id": given})
        assert len(found.headers["x-request-id"]) == 16


def test_a_head_request_has_the_headers_of_get(server, client):
    for path in ("/v2", "/v2/health/ready", "/v2/models/letters"):
        answer, whole = request(server.url, "HEAD", path), client.request("GET", path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len(whole.body))
    wrong = request(server.url, "HEAD", "/v1/classify")
    assert (wrong.status, wrong.body, wrong.headers["allow"]) == (405, b"", "POST")
    assert client.request("PUT", "/v2").headers["allow"] == "GET, HEAD"


def test_of_two_timeouts_neither_is_taken(server):
    with raw_connection(server.url) as sock:
        sock.sendall(b"GET /v2 HTTP/1.1\r\nHost: here\r\n")
        sock.sendall(b"X-Request-Timeout: 0\r\nX-Request-Timeout: 9\r\n\r\n")
        answer = read_answer(sock)
    assert (answer.status, "got '0, 9'" in answer.values["error"]) == (400, True)


def test_of_two_tokens_neither_is_taken(registry, tmp_path):
    publish(registry)
    tokens = tmp_path / "tokens"
    tokens.write_text("right\n")
    options = ("--http-port", "0", "--token-file", str(tokens))
    with ServerProcess(registry.root, *options) as server, raw_connection(server.url) as sock:
        for given, status in (
            (["right"], 200),
            (["wrong", "right"], 401),
            (["right", "wrong"], 401),
        ):
            lines = [f"Authorization: Bearer {token}\r\n" for token in given]
            sock.sendall(f"GET /v2 HTTP/1.1\r\nHost: here\r\n{''.join(lines)}\r\n".encode())
            assert read_answer(sock).status == status


def test_a_path_may_have_the_server_before_it(server, client):
    for path in (server.url, server.url.upper()):
        answer = client.request("GET", f"{path}/v2/models/letters/ready")
        assert (answer.status, answer.values) == (200, {"name": "letters", "ready": True})
    assert client.request("GET", "/v2/models/http://x/ready").status == 404
