"""Classify over a real socket: quadrants and errors; also health and reflection."""

import os
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quadnet.errors import InvalidInput
from quadnet.registry import Registry
from service.client import QuadrantClient
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import exact_predictor, publish
from tests.support.serving import ROOT, SERVICE, ServerProcess, details_of, refused

NUMBERS = {"I": 1, "II": 2, "III": 3, "IV": 4}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve an exact model, and others of which one has no quadrants."""
    registry = Registry(tmp_path_factory.mktemp("service") / "registry")
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="candidate")
    publish(registry, "letters", classes=("a", "b", "c", "d"))
    # The order of the outputs in the article's code.
    publish(registry, "reordered", scale=3.0, classes=("III", "IV", "II", "I"))
    with ServerProcess(registry.root, "--max-points", "2000", "--poll", "0.05") as process:
        yield process


def test_each_point_gets_its_quadrant_and_the_answer_names_the_version(server):
    X = np.random.default_rng(0).normal(size=(1000, 2))
    response = server.stub.Classify(pb.ClassifyRequest(x=X[:, 0], y=X[:, 1]))
    expected = [NUMBERS[name] for name in exact_predictor(3.0).predict(X)]
    assert list(response.quadrants) == expected
    np.testing.assert_array_equal(
        np.array(response.certainties, np.float32),
        exact_predictor(3.0).probabilities(X).max(axis=1).astype(np.float32),
    )
    assert not response.all_certainties
    assert (response.model.name, response.model.version) == ("quadrants", 1)
    assert len(response.model.digest) == 64


@pytest.mark.parametrize("model", ["quadrants", "reordered"])
def test_all_certainties_come_in_the_order_of_the_quadrants(server, model):
    request = pb.ClassifyRequest(
        model=pb.ModelRef(name=model), x=[0.5, -0.2], y=[0.25, -0.1], all_certainties=True
    )
    rows = np.reshape(server.stub.Classify(request).all_certainties, (2, 4))
    # Logits of the exact model: 3 (±x ± y), with the signs of I, II, III, IV.
    for row, (x, y) in zip(rows, [(0.5, 0.25), (-0.2, -0.1)], strict=True):
        logits = 3.0 * np.array([x + y, y - x, -x - y, x - y])
        np.testing.assert_allclose(row, np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)


def test_a_request_without_points_gets_an_empty_answer(server):
    response = server.stub.Classify(pb.ClassifyRequest(all_certainties=True))
    assert (len(response.quadrants), len(response.certainties)) == (0, 0)
    assert response.model.version == 1


def test_points_below_the_minimal_certainty_get_no_quadrant(server):
    request = pb.ClassifyRequest(x=[1.0, 0.01], y=[1.0, 0.01], min_certainty=0.9)
    response = server.stub.Classify(request)
    assert list(response.quadrants) == [pb.QUADRANT_I, pb.QUADRANT_UNSPECIFIED]
    assert response.certainties[1] < 0.9


def test_points_that_overflow_get_equal_certainties_and_no_quadrant(server):
    request = pb.ClassifyRequest(x=[1e308, 1.0], y=[1e308, 1.0], all_certainties=True)
    response = server.stub.Classify(request)
    assert list(response.quadrants) == [pb.QUADRANT_UNSPECIFIED, pb.QUADRANT_I]
    assert list(response.certainties[:1]) == [0.25]
    assert list(response.all_certainties[:4]) == [0.25] * 4


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        (pb.ModelRef(), 1),
        (pb.ModelRef(name="quadrants"), 1),
        (pb.ModelRef(version=2), 2),
        (pb.ModelRef(alias="candidate"), 2),
        (pb.ModelRef(name="quadrants", alias="champion"), 1),
    ],
)
def test_a_version_is_selected_by_number_or_alias(server, ref, version):
    response = server.stub.Classify(pb.ClassifyRequest(model=ref, x=[1], y=[1]))
    assert response.model.version == version


INVALID = grpc.StatusCode.INVALID_ARGUMENT
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("request_", "fields", "text"),
    [
        (pb.ClassifyRequest(x=[1, 2], y=[1]), ["y"], "y: expected as many values as x, 2, got 1"),
        (pb.ClassifyRequest(y=[1]), ["x"], "x: expected as many values as y, 1, got 0"),
        (
            pb.ClassifyRequest(x=[1, NAN, 3], y=[1, 2, -INF]),
            ["x[1]", "y[2]"],
            "x[1]: expected a finite number, got nan (and 1 more fault)",
        ),
        (
            pb.ClassifyRequest(x=[NAN] * 30, y=[0] * 30),
            [f"x[{i}]" for i in range(16)],
            "x[0]: expected a finite number, got nan (and 29 more faults)",
        ),
        (
            pb.ClassifyRequest(x=[0] * 2001, y=[0] * 2001),
            ["x"],
            "x: expected at most 2000 points per call, got 2001; send them in several calls",
        ),
        (
            pb.ClassifyRequest(min_certainty=1.5),
            ["min_certainty"],
            "min_certainty: expected a number from 0 to 1, got 1.5",
        ),
        (
            pb.ClassifyRequest(min_certainty=NAN),
            ["min_certainty"],
            "min_certainty: expected a number from 0 to 1, got nan",
        ),
    ],
)
def test_bad_input_names_the_field_what_was_expected_and_what_was_found(
    server, request_, fields, text
):
    error = refused(server.stub.Classify, request_)
    assert (error.code(), error.details()) == (INVALID, text)
    violations = details_of(error, error_details_pb2.BadRequest).field_violations
    assert [violation.field for violation in violations] == fields
    info = details_of(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("INVALID_INPUT", "quadnet")


@pytest.mark.parametrize(
    ("ref", "code", "text"),
    [
        (
            pb.ModelRef(name="digits"),
            grpc.StatusCode.NOT_FOUND,
            "There is no model 'digits' in the registry. It holds: letters, quadrants, reordered.",
        ),
        (
            pb.ModelRef(version=9),
            grpc.StatusCode.NOT_FOUND,
            "Model 'quadrants' has no version 9. Its versions, newest first: 2, 1.",
        ),
        (
            pb.ModelRef(version=-1),
            grpc.StatusCode.NOT_FOUND,
            "Model 'quadrants' has no version -1. Its versions, newest first: 2, 1.",
        ),
        (
            pb.ModelRef(alias="prod"),
            grpc.StatusCode.NOT_FOUND,
            "Model 'quadrants' has no alias 'prod'. Its aliases: candidate, champion.",
        ),
        (
            pb.ModelRef(name="../../etc/passwd"),
            grpc.StatusCode.NOT_FOUND,
            (
                "'../../etc/passwd' cannot be a model's name: expected a lower-case letter or "
                "digit and up to 63 more of those, '_' and '-'."
            ),
        ),
        (
            pb.ModelRef(name="x" * 20_000),
            grpc.StatusCode.NOT_FOUND,
            (
                f"'{'x' * 80}…' cannot be a model's name: expected a lower-case letter or digit "
                "and up to 63 more of those, '_' and '-'."
            ),
        ),
        (
            pb.ModelRef(name="letters"),
            grpc.StatusCode.FAILED_PRECONDITION,
            (
                "Model 'letters' has 2 features and the classes a, b, c, d, not 2 features and the "
                "four quadrants. Call it with inference.GRPCInferenceService/ModelInfer."
            ),
        ),
    ],
)
def test_an_unknown_or_unsuitable_model_is_refused_with_the_alternatives(server, ref, code, text):
    error = refused(server.stub.Classify, pb.ClassifyRequest(model=ref, x=[1], y=[1]))
    assert (error.code(), error.details()) == (code, text)


floats = st.floats(width=64, allow_nan=True, allow_infinity=True)


@given(
    x=st.lists(floats, max_size=6),
    y=st.lists(floats, max_size=6),
    name=st.sampled_from(["", "quadrants", "letters", "nothing", "Ünicode", "a/b"]),
    version=st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    min_certainty=st.floats(width=32),
    all_certainties=st.booleans(),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_request_gets_an_answer_or_a_status_of_the_table(
    server, x, y, name, version, min_certainty, all_certainties
):
    request = pb.ClassifyRequest(
        model=pb.ModelRef(name=name, version=version),
        x=x,
        y=y,
        min_certainty=min_certainty,
        all_certainties=all_certainties,
    )
    try:
        response = server.stub.Classify(request, timeout=10)
    except grpc.RpcError as error:
        assert error.code() in (
            INVALID,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.FAILED_PRECONDITION,
        )
        return
    assert len(response.quadrants) == len(response.certainties) == len(x) == len(y)
    assert np.isfinite(x + y).all()


def test_a_message_over_the_byte_limit_is_refused_by_grpc(server):
    huge = pb.ClassifyRequest(x=np.zeros(9_000_000))
    error = refused(server.stub.Classify, huge)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_is_the_standard_one(server):
    stub = health_pb2_grpc.HealthStub(server.channel)
    for name in ("", SERVICE):
        status = stub.Check(health_pb2.HealthCheckRequest(service=name)).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    error = refused(stub.Check, health_pb2.HealthCheckRequest(service="other"))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_health_watches_do_not_block_other_calls(server):
    stub = health_pb2_grpc.HealthStub(server.channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(20)]
    for watch in watches:
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    assert server.stub.Classify(pb.ClassifyRequest(), timeout=10).model.version == 1
    for watch in watches:
        watch.cancel()


def test_a_client_that_knows_only_reflection_can_call(server):
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert SERVICE in database.get_services()
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName(SERVICE).FindMethodByName("Classify")
    request_class = message_factory.GetMessageClass(method.input_type)
    response_class = message_factory.GetMessageClass(method.output_type)
    call = server.channel.unary_unary(
        f"/{SERVICE}/Classify",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    assert list(call(request_class(x=[-0.3], y=[0.8])).quadrants) == [2]


STUB_CLIENT = """
import sys
import grpc
from quadrant.v1 import quadrant_pb2, quadrant_pb2_grpc
assert "service" not in sys.modules
stub = quadrant_pb2_grpc.QuadrantServiceStub(grpc.insecure_channel(sys.argv[1]))
answer = stub.Classify(quadrant_pb2.ClassifyRequest(x=[0.5, -0.3], y=[0.5, 0.8]))
print([quadrant_pb2.Quadrant.Name(q) for q in answer.quadrants], round(answer.certainties[0], 3))
"""


def test_a_stub_generated_from_protos_alone_can_call(server, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}"]
        + [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python")]
        + ["quadrant/v1/quadrant.proto"],
        check=True,
        capture_output=True,
    )
    (tmp_path / "stub_client.py").write_text(STUB_CLIENT)
    # -P keeps this repository off the path; PYTHONPATH adds the script's folder.
    done = subprocess.run(
        [sys.executable, "-P", tmp_path / "stub_client.py", server.address],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "['QUADRANT_I', 'QUADRANT_II'] 0.907\n"


def test_the_client_refuses_arrays_of_wrong_shape(server):
    with QuadrantClient(server.address) as client:
        assert client.classify([[0.5, 0.5]]).quadrants.tolist() == ["I"]
        assert client.classify(np.empty((0, 2))).quadrants.tolist() == []
        for points in ([0.5, 0.5], [[1, 2, 3], [4, 5, 6]], [[[1, 2]]]):
            with pytest.raises(InvalidInput, match=r"points: expected the shape \(n_points, 2\)"):
                client.classify(points)


def test_concurrent_clients_get_the_answers_to_their_own_points(server):
    failures = []

    def classify(seed):
        X = np.random.default_rng(seed).normal(size=(50, 2))
        expected = [NUMBERS[name] for name in exact_predictor(3.0).predict(X)]
        for _ in range(30):
            response = server.stub.Classify(pb.ClassifyRequest(x=X[:, 0], y=X[:, 1]))
            if list(response.quadrants) != expected:
                failures.append(seed)

    threads = [threading.Thread(target=classify, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
