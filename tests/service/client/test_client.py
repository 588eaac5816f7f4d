"""The client library: arrays in and out, retries, deadlines and errors."""

import math
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from quadnet.errors import (
    ConfigurationError,
    CorruptVersion,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    QuadnetError,
    Unreachable,
    Unsupported,
)
from quadnet.registry import Registry, alias_changes
from service.client import QuadrantClient
from service.client.errors import Refused
from tests.support.exact_models import exact_predictor, publish
from tests.support.serving import SERVICE, ServerProcess, long_call


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("client") / "registry")
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="candidate")
    publish(registry, "letters", classes=("a", "b", "c", "d"))
    publish(registry, "damaged")
    (registry.path("damaged", 1) / "weights.safetensors").unlink()
    with ServerProcess(registry.root, "--max-points", "1000") as process:
        yield process


@pytest.fixture
def client(server):
    with QuadrantClient(server.address) as client:
        yield client


def test_many_points_are_sent_in_several_calls_and_answered_in_order(client):
    X = np.random.default_rng(0).normal(size=(4321, 2))
    answers = client.classify(X, all_certainties=True, points_a_call=1000)
    exact = exact_predictor(3.0)
    assert answers.quadrants.tolist() == exact.predict(X).tolist()
    expected = exact.probabilities(X)
    np.testing.assert_array_equal(answers.all_certainties, expected.astype(np.float32))
    np.testing.assert_array_equal(answers.certainties, expected.max(axis=1).astype(np.float32))
    assert (answers.model, answers.version, len(answers.digest)) == ("quadrants", 1, 64)


def test_one_version_answers_all_calls_even_if_the_alias_moves_in_between(registry):
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="")
    X = np.random.default_rng(0).normal(size=(2000, 2))
    with (
        ServerProcess(registry.root, "--poll", "0.01") as server,
        QuadrantClient(server.address) as client,
    ):
        stop = threading.Event()

        def swap():
            version = 1
            while not stop.is_set():
                version = 3 - version
                alias_changes.set_aliases(registry, "quadrants", {"champion": version}, reason="")

        swapping = threading.Thread(target=swap)
        swapping.start()
        seen = set()
        try:
            for _ in range(100):
                answers = client.classify(X, points_a_call=50)
                seen.add(answers.version)
                scale = {1: 3.0, 2: 5.0}[answers.version]
                expected = exact_predictor(scale).probabilities(X).max(axis=1)
                np.testing.assert_array_equal(answers.certainties, expected.astype(np.float32))
                if len(seen) == 2:
                    break
        finally:
            stop.set()
            swapping.join()
    assert seen == {1, 2}


def test_an_error_in_a_later_call_names_the_row_among_all_points(client):
    X = np.zeros((2500, 2))
    X[2345, 1] = np.nan
    X[2400] = np.inf
    with pytest.raises(InvalidInput) as caught:
        client.classify(X, points_a_call=1000)
    assert [v.field for v in caught.value.violations] == ["y[2345]", "x[2400]", "y[2400]"]
    assert str(caught.value) == ("y[2345]: expected a finite number, got nan (and 2 more faults)")


def test_more_points_per_call_than_the_server_accepts_are_refused_with_advice(client):
    X = np.ones((1200, 2))
    message = "points_a_call: expected at most 1000, the server's limit, got 1200"
    with pytest.raises(InvalidInput, match=message) as caught:
        client.classify(X)
    assert caught.value.facts == {"max_points": 1000}
    assert len(client.classify(X, points_a_call=1000).quadrants) == 1200


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"model": "nobody"}, NotFound, "There is no model 'nobody' in the registry."),
        ({"version": 9}, NotFound, "Model 'quadrants' has no version 9."),
        ({"alias": "prod"}, NotFound, "Model 'quadrants' has no alias 'prod'."),
        ({"model": "letters"}, Unsupported, "not 2 features and the four quadrants"),
        ({"model": "damaged"}, CorruptVersion, "weights.safetensors: No such file"),
        ({"min_certainty": 2.0}, InvalidInput, "min_certainty: expected a number from 0 to 1"),
    ],
)
def test_the_client_raises_the_same_error_as_the_server(client, options, kind, text):
    with pytest.raises(kind) as caught:
        client.classify([[1, 1]], **options)
    assert type(caught.value) is kind
    assert text in str(caught.value)


def test_a_version_is_selected_by_number_or_alias_and_uncertain_points_get_no_quadrant(client):
    assert client.classify([[1, 1]], version=2).version == 2
    assert client.classify([[1, 1]], alias="candidate").version == 2
    unsure = client.classify([[1, 1], [0.01, 0.01]], min_certainty=0.9)
    assert unsure.quadrants.tolist() == ["I", ""]
    assert unsure.all_certainties is None
    with pytest.raises(InvalidInput, match="a version or an alias, got 2 and 'candidate'"):
        client.classify([[1, 1]], version=2, alias="candidate")


def test_no_points_get_empty_arrays_and_the_version(client):
    empty = client.classify(np.empty((0, 2)), all_certainties=True)
    assert (empty.model, empty.version) == ("quadrants", 1)
    assert (empty.quadrants.shape, empty.certainties.shape) == ((0,), (0,))
    assert empty.all_certainties.shape == (0, 4)
    assert client.classify(np.empty((0, 2))).all_certainties is None


def test_models_are_listed_described_and_explained(client):
    listed = client.list_models()
    assert [model.name for model in listed.models] == ["damaged", "letters", "quadrants"]
    assert client.get_model(version=2).layers[0].weights[0] == 5.0
    assert client.get_model(alias="candidate").layers[0].weights[0] == 5.0
    assert client.explain([0.5, 0.5]).label == "I"
    assert client.explain([0.5, 0.5], alias="candidate").model.version == 2
    with pytest.raises(NotFound, match="has no alias 'prod'"):
        client.explain([0.5, 0.5], alias="prod")


def test_calls_to_an_overloaded_server_are_retried(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--max-calls", "1") as server,
        QuadrantClient(server.address) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        with long_call(server, registry):
            refusals = sum(line.get("status") == "RESOURCE_EXHAUSTED" for line in server.log())
            answers = pool.submit(client.classify, np.ones((50_000, 2)))
            server.logged("call", refusals + 1, status="RESOURCE_EXHAUSTED")
        assert set(answers.result(20).quadrants) == {"I"}


def test_retries_of_an_overloaded_server_back_off(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--max-calls", "1") as server,
        QuadrantClient(server.address) as client,
        long_call(server, registry),
    ):
        before = server.logged("call", status="RESOURCE_EXHAUSTED")["timestamp"]
        n_before = sum(line.get("status") == "RESOURCE_EXHAUSTED" for line in server.log())
        with pytest.raises(Overloaded, match="already answers 1 calls"):
            client.classify([[1, 1]])
        server.logged("call", n_before + 5, status="RESOURCE_EXHAUSTED")
        times = [
            datetime.fromisoformat(line["timestamp"])
            for line in server.log()
            if line.get("status") == "RESOURCE_EXHAUSTED" and line["timestamp"] > before
        ]
    pauses = [(after - before).total_seconds() for before, after in pairwise(times)]
    # The minimum of each pause, minus the delay of the log.
    assert len(pauses) == 4
    assert all(pause > 0.1 * 2**i - 0.05 for i, pause in enumerate(pauses))


def test_a_server_without_a_version_is_not_ready(tmp_path):
    with (
        ServerProcess(tmp_path / "nothing") as server,
        QuadrantClient(server.address) as client,
        pytest.raises(NotReady, match="No version is loaded yet"),
    ):
        client.classify([[1, 1]])


def test_every_call_has_a_deadline(server):
    with (
        QuadrantClient(server.address, timeout=1e-4) as client,
        pytest.raises(Unreachable, match=r"did not answer within 0\.0001 s"),
    ):
        client.classify(np.zeros((1000, 2)), points_a_call=1)


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, 86_401, "5"])
def test_an_invalid_timeout_is_refused(timeout):
    with pytest.raises(
        ConfigurationError, match="timeout: expected seconds, above 0 and up to 86400"
    ):
        QuadrantClient(timeout=timeout)


@pytest.mark.parametrize("timeout", [None, 5, np.float32(5)])
def test_a_timeout_may_be_any_positive_number_or_none(server, timeout):
    with QuadrantClient(server.address, timeout=timeout) as client:
        assert client.health() == "SERVING"


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unreachable, "No Quadnet server answers at"),
        (grpc.StatusCode.NOT_FOUND, Refused, "as told"),
        (grpc.StatusCode.INTERNAL, Refused, "as told"),
    ],
)
@pytest.mark.parametrize(
    "details",
    [status_pb2.Status(code=3, message="other").SerializeToString(), b"\xff"],
    ids=["of another error", "invalid"],
)
def test_details_that_do_not_match_the_error_do_not_hide_it(code, kind, text, details):
    def method(request, context):
        # The pushback prevents retries.
        context.set_trailing_metadata(
            (("grpc-status-details-bin", details), ("grpc-retry-pushback-ms", "-1"))
        )
        context.abort(code, "as told")

    with other_server("ListModels", method) as client, pytest.raises(kind, match=text) as got:
        client.list_models()
    assert kind is Unreachable or got.value.code is code


@contextmanager
def other_server(name, method):
    """Yield a client of a server with one method, which is not ours."""
    handlers = {name: grpc.unary_unary_rpc_method_handler(method)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with QuadrantClient(f"127.0.0.1:{port}") as client:
            yield client
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("metadata", [{"faults": "1"}, {}, {"faults": "?", "max_points": "?"}])
def test_a_server_that_does_not_send_its_limit_is_quoted(metadata):
    """A server of version 0.1 sends no max_points."""
    text = "expected at most 2 points per call, got 3; send them in several calls"
    details = []
    for message in (
        error_details_pb2.ErrorInfo(reason="INVALID_INPUT", domain="quadnet", metadata=metadata),
        error_details_pb2.BadRequest(field_violations=[{"field": "x", "description": text}]),
    ):
        details.append(any_pb2.Any())
        details[-1].Pack(message)
    status = status_pb2.Status(code=3, message=f"x: {text}", details=details)

    def method(request, context):
        context.abort_with_status(rpc_status.to_status(status))

    with other_server("Classify", method) as client, pytest.raises(InvalidInput) as caught:
        client.classify(np.zeros((3, 2)))
    assert (str(caught.value), caught.value.facts) == (f"x: {text}", {})


def test_an_error_without_its_violations_is_quoted():
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="INVALID_INPUT", domain="quadnet"))
    status = status_pb2.Status(code=3, message="Not like this.", details=[detail])

    def classify(request, context):
        context.abort_with_status(rpc_status.to_status(status))

    with (
        other_server("Classify", classify) as client,
        pytest.raises(Refused, match="Not like this"),
    ):
        client.classify([[1, 2]])


def test_a_closed_client_raises_unreachable_for_later_calls_and_calls_in_flight(server):
    with QuadrantClient(server.address) as client:
        assert client.health() == "SERVING"
    client.close()
    for call in (client.health, client.list_models, lambda: client.classify([[1, 1]])):
        with pytest.raises(Unreachable, match=r"This QuadrantClient is closed\. Create"):
            call()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        client = QuadrantClient(f"127.0.0.1:{silent.getsockname()[1]}")
        waiting = pool.submit(client.health)
        with silent.accept()[0] as connection:
            connection.recv(1)
            client.close()
            with pytest.raises(Unreachable, match="This QuadrantClient is closed"):
                waiting.result(5)


def test_a_server_on_this_machine_is_called_without_the_proxy_of_the_environment(
    server, monkeypatch
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    here = f"127.0.0.1:{server.port}"
    for address in (
        here,
        f"localhost:{server.port}",
        f"LOCALHOST:{server.port}",
        f"ipv4:{here}",
        f"ipv4:{here},127.0.0.2:{server.port}",
        f"dns:localhost:{server.port}",
        f"dns:///localhost:{server.port}",
    ):
        with QuadrantClient(address, timeout=5) as client:
            assert client.health() == "SERVING", address


@pytest.mark.parametrize(
    ("address", "uses_proxy"),
    [("dns:///nowhere.example:50051", 1), ("10.255.255.1:1", 1), ("ipv4:10.255.255.1:1", 1),
     ("ipv4:10.255.255.1:1,10.255.255.2:1", 0), ("[::1]:1", 0), ("ipv6:[::1]:1", 0),
     ("ipv6:%5B::1%5D:1,[::1]:2", 0), ("dns:///[::1]:1", 0)],
)  # fmt: skip
def test_the_proxy_is_used_for_a_single_server_elsewhere(monkeypatch, address, uses_proxy):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        proxy.setblocking(False)
        # The error depends on the network.
        with QuadrantClient(address, timeout=0.5) as client, pytest.raises(QuadnetError):
            client.health()
        try:
            proxy.accept()[0].close()
        except BlockingIOError:
            assert not uses_proxy
        else:
            assert uses_proxy


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([1, 2, 3], r"points: expected the shape \(n_points, 2\), got \(3,\)"),
        (
            [["a", "b"]],
            r"points: expected numbers, in the shape \(n_points, 2\); NumPy's error: could",
        ),
        (
            [[1, 2], [3]],
            r"points: expected numbers, in the shape \(n_points, 2\); NumPy's error: set",
        ),
        ([[1j, 2]], r"points: expected numbers, in the shape \(n_points, 2\), got complex128"),
        (
            np.zeros((1, 2), "M8[s]"),
            r"expected numbers, in the shape \(n_points, 2\), got datetime",
        ),
    ],
)
def test_invalid_points_are_refused_by_the_client(client, points, message):
    with pytest.raises(InvalidInput, match=message):
        client.classify(points)


UNPRINTABLE = type("Unprintable", (), {"__repr__": lambda self: 1 / 0})()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.classify([[1, 1]], model=3), "model: expected a text, got 3"),
        (lambda c: c.classify([[1, 1]], model=None), "model: expected a text, got None"),
        (lambda c: c.classify([[1, 1]], model="\ud800"), "model: expected a text, got '.ud800'"),
        (lambda c: c.classify([[1, 1]], alias=b"x"), "alias: expected a text, got b'x'"),
        (lambda c: c.classify([[1, 1]], alias=0), "alias: expected a text, got 0"),
        (lambda c: c.classify([[1, 1]], alias=b"x", version=1), "alias: expected a text, got b'x'"),
        (lambda c: c.classify([[1, 1]], version=True), "version: expected a whole number of 64"),
        (lambda c: c.classify([[1, 1]], version="x"), "version: expected a whole number of 64"),
        (lambda c: c.classify([[1, 1]], version=1.0), "version: expected a whole number of 64"),
        (lambda c: c.classify([[1, 1]], version=UNPRINTABLE), "version: expected a whole number"),
        (lambda c: c.classify([[1, 1]], points_a_call=True), "points_a_call: expected a whole"),
        (lambda c: c.classify([[1, 1]], points_a_call=1.5), "points_a_call: expected a whole"),
        (lambda c: c.classify([[1, 1]], min_certainty="high"),
         "min_certainty: expected a number from 0 to 1, got 'high'"),
        (lambda c: c.classify([[1, 1]], min_certainty=math.nan), "to 1, got nan"),
        (lambda c: c.classify([[1, 1]], min_certainty=None), "to 1, got None"),
        (lambda c: c.classify([[1, 1]], min_certainty=10**400), "to 1, got 1000"),
        (lambda c: c.classify([[1, 1]], min_certainty=True), "to 1, got True"),
        (lambda c: c.classify([[1, 1]], min_certainty=np.ones(2)), "to 1, got array"),
        (lambda c: c.classify([[1, 1]], all_certainties="no"),
         "all_certainties: expected True or False, got 'no'"),
        (lambda c: c.classify([[10**400, 1]]), "points: expected numbers, in the shape"),
        (lambda c: c.classify(None), r"points: expected the shape \(n_points, 2\), got \(\)"),
        (lambda c: c.classify(np.ma.array([[1, 1]], mask=[[0, 1]])), "points: .* a masked array"),
        (lambda c: c.explain(None), "features: expected a sequence of numbers, got None"),
        (lambda c: c.explain(0.5), "features: expected a sequence of numbers, got 0.5"),
        (lambda c: c.explain("12"), "features: expected a sequence of numbers, got '12'"),
        (lambda c: c.explain({1: 2}), "features: expected a text, got 1"),
        (
            lambda c: c.explain({"x": [2]}),
            r"features\['x'\]: expected a number, a text, a date or None, got \[2\]",
        ),
        (lambda c: c.explain({1, 2}), "features: expected a sequence of numbers, got {1, 2}"),
        (lambda c: c.explain(np.array(1)), r"features: expected a sequence of numbers, got array"),
        (lambda c: c.explain([1, 2], model=3), "model: expected a text, got 3"),
        (lambda c: c.get_model(3), "model: expected a text, got 3"),
        (lambda c: c.get_model(version="1"), "version: expected a whole number of 64 bits"),
        (lambda c: c.list_models(3), "model: expected a text, got 3"),
        (lambda c: c.list_models(None), "model: expected a text, got None"),
        (lambda c: c.health(3), "service: expected a text, got 3"),
        (lambda c: c.health("x" * 10_000 + "\udcff"), "service: expected a text, got 'xxxx"),
    ],
)  # fmt: skip
def test_an_error_names_the_argument_with_the_wrong_type(client, call, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        call(client)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": None}, "address: expected a text such as 'localhost:50051', got None"),
        ({"address": b"localhost:1"}, "address: expected a text such as 'localhost:50051', got b'"),
        ({"address": ""}, "address: expected .* in '': expected a host name or an IP address"),
        ({"address": "a..b:1"}, "address: .* in 'a..b:1': expected a host name or an IP address"),
        ({"address": "dns:///a..b:1"}, "address: .* with 1 to 63 letters between two dots"),
        ({"address": "a" * 300 + ":1"}, "address: .* with 1 to 63 letters between two dots"),
        ({"address": "\ud800:1"}, "address: .* expected a host name or an IP address"),
        ({"address": "http://localhost:1"}, "address: .* expected a host name or an IP address"),
        ({"timeout": "3"}, "timeout: expected seconds, .* got '3'"),
        ({"timeout": True}, "timeout: expected seconds, .* got True"),
        ({"timeout": 10**400}, "timeout: expected seconds, .* got 1000"),
        ({"tls_ca": 3}, "tls_ca: expected a path of a file, or None, got 3"),
        ({"tls_ca": ""}, "tls_ca: expected a path of a file, or None, got ''"),
        ({"tls_ca": "x\0"}, "tls_ca: expected a path of a file, or None, got"),
        ({"tls_ca": "ca", "tls_client_cert": b"x"}, "tls_client_cert: expected a path of a file"),
        ({"tls_ca": "ca", "tls_client_key": 3}, "tls_client_key: expected a path of a file"),
        ({"token_file": b"x"}, "token_file: expected a path of a file, or None, got b'x'"),
    ],
)
def test_an_error_names_the_setting_with_the_wrong_type(options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        QuadrantClient(**options)
    assert len(str(caught.value)) < 300


def test_numpy_scalars_and_any_sequences_are_accepted(client):
    answers = client.classify(
        [[1, 1]],
        version=np.int64(1),
        min_certainty=np.float32(0.5),
        all_certainties=np.True_,
        points_a_call=np.int32(1),
    )
    assert answers.all_certainties.shape == (1, 4)
    for features in ((1, 2), np.array([1, 2]), range(1, 3), (x for x in (1, 2)), ["1", "2"]):
        assert client.explain(features).label == "I"


@pytest.mark.parametrize("points", [[["0.5", ".5"]], [[Decimal("0.5"), 1]], [[True, 1]]])
def test_numbers_of_other_types_are_accepted_as_points(client, points):
    assert client.classify(points).quadrants.tolist() == ["I"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_a_call": 0}, "points_a_call: expected a whole number from 1, got 0"),
        ({"points_a_call": -1}, "points_a_call: expected a whole number from 1, got -1"),
        ({"points_a_call": 2.5}, "points_a_call: expected a whole number from 1, got 2.5"),
        ({"version": 2**64}, "version: expected a whole number of 64 bits, got 184467440737095516"),
        ({"version": "1"}, "version: expected a whole number of 64 bits, got '1'"),
    ],
)
def test_numbers_out_of_range_are_refused_by_the_client(client, options, message):
    with pytest.raises(InvalidInput, match=message):
        client.classify([[1, 1]], **options)


def test_invalid_features_are_refused_by_the_client(client):
    with pytest.raises(InvalidInput, match=r"features: expected the shape \(n_features,\), got"):
        client.explain([[1, 2]])
    with pytest.raises(InvalidInput, match="features: expected numbers, in the shape"):
        client.explain(["a", 1])
    with pytest.raises(InvalidInput, match="features: expected 2 values, of x, y; got 3"):
        client.explain(iter([1, 2, 3]))
