"""The Open Inference Protocol over a real socket: any model, by tensors, raw and typed."""

import json
import re
from pathlib import Path

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

from quadnet.registry import Registry
from service import packed, tensors
from service.stubs.inference.v2 import inference_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2
from tests import serving
from tests.exact import publish
from tests.inference import (
    DTYPES,
    FIELDS,
    SERVICE,
    InferenceStub,
    Input,
    Output,
    outputs,
    publish_network,
    raw,
    typed,
)
from tests.serving import ServerProcess, refused
from tests.test_service import details_of

MAX_ROWS = 30_000
DIGITS = [str(digit) for digit in range(10)]
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
NAN = float("nan")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Publish models of several shapes; return the registry, and each model's predictor."""
    registry = Registry(tmp_path_factory.mktemp("inference") / "registry")
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="candidate")
    return registry, {
        "digits": publish_network(registry, "digits", (64, 20, 10), DIGITS, "float32"),
        "irises": publish_network(registry, "irises", (4, 8, 3), ["setosa", "", "Ünicode"]),
        "binary": publish_network(registry, "binary", (3, 1), ["no", "yes"]),
    }


@pytest.fixture(scope="module")
def server(models):
    registry, _ = models
    with ServerProcess(registry.root, "--max-points", str(MAX_ROWS), "--poll", "0.05") as process:
        yield process


@pytest.fixture(scope="module")
def stub(server):
    return InferenceStub(server.channel)


def names(predictor, X):
    return [name.encode() for name in predictor.predict(X).tolist()]


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("ask", [raw, typed])
@pytest.mark.parametrize("model", ["digits", "irises", "binary"])
def test_any_model_answers_numbers_of_any_datatype(stub, models, model, ask, datatype):
    predictor = models[1][model]
    X = np.random.default_rng(0).uniform(0, 9, (50, predictor.n_features))
    X = X.astype(DTYPES[datatype])
    response = stub.ModelInfer(ask(X, datatype, model))
    assert (response.model_name, response.model_version, response.id) == (model, "1", "")
    answered = outputs(response)
    assert list(answered) == ["probabilities", "label"]
    expected = predictor.probabilities(X)
    assert answered["probabilities"].dtype == predictor.dtype
    np.testing.assert_array_equal(answered["probabilities"], expected)
    assert answered["label"].tolist() == names(predictor, X)
    assert bool(response.raw_output_contents) is (ask is raw)


@pytest.mark.parametrize("points", [0, 1, 100, 20_000])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("ask", [raw, typed])
def test_answers_are_those_of_classify_bit_for_bit(server, stub, points, datatype, ask):
    X = np.random.default_rng(points).normal(size=(points, 2)).astype(DTYPES[datatype])
    answered = outputs(stub.ModelInfer(ask(X, datatype)))
    classified = server.stub.Classify(
        quadrant_pb2.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)
    )
    np.testing.assert_array_equal(
        answered["probabilities"].astype(np.float32).ravel(),
        np.array(classified.all_certainties, np.float32),
    )
    quadrants = [quadrant_pb2.Quadrant.Name(q) for q in classified.quadrants]
    assert [f"QUADRANT_{label.decode()}" for label in answered["label"]] == quadrants


@pytest.mark.parametrize(
    "asked", [["label"], ["probabilities"], ["label", "probabilities"], ["probabilities", "label"]]
)
@pytest.mark.parametrize("ask", [raw, typed])
def test_outputs_come_as_asked_and_in_that_order(stub, asked, ask):
    request = ask([[0.5, 0.5], [-0.3, 0.8]], outputs=[Output(name=name) for name in asked])
    answered = outputs(stub.ModelInfer(request))
    assert list(answered) == asked
    shapes = {"label": (2,), "probabilities": (2, 4)}
    assert [array.shape for array in answered.values()] == [shapes[name] for name in asked]


@pytest.mark.parametrize("count", [1, 3, 10, 2**40])
@pytest.mark.parametrize("ask", [raw, typed])
def test_class_count_returns_so_many_classes_the_likeliest_first(stub, count, ask):
    X = np.random.default_rng(1).normal(size=(3000, 64))
    asked = Output(name="probabilities")
    asked.parameters["classification"].int64_param = count
    request = ask(X, "FP64", "digits", outputs=[Output(name="label"), asked])
    answered = outputs(stub.ModelInfer(request))
    P = outputs(stub.ModelInfer(ask(X, "FP64", "digits")))["probabilities"]
    expected = [
        [
            f"{row[column]:.6f}:{column}:{column}".encode()
            for column in sorted(range(10), key=lambda column: (-row[column], column))[:count]
        ]
        for row in P.tolist()
    ]
    assert answered["probabilities"].tolist() == expected
    assert [row[0].rpartition(b":")[2] for row in expected] == answered["label"].tolist()


def test_of_classes_that_are_as_likely_the_first_come_first(stub):
    response = stub.ModelInfer(raw([[0, 0]], outputs=classified(int64_param=3)))
    assert outputs(response)["probabilities"].tolist() == [
        [b"0.250000:0:I", b"0.250000:1:II", b"0.250000:2:III"]
    ]


@pytest.mark.parametrize("ask", [raw, typed])
def test_no_rows_are_answered_with_none(stub, ask):
    response = stub.ModelInfer(ask(np.empty((0, 64)), "FP32", "digits"))
    answered = outputs(response)
    assert {name: array.shape for name, array in answered.items()} == {
        "probabilities": (0, 10),
        "label": (0,),
    }
    assert len(response.raw_output_contents) == (2 if ask is raw else 0)


def test_no_classes_of_no_rows_are_none(stub):
    asked = Output(name="probabilities")
    asked.parameters["classification"].int64_param = 2
    answered = outputs(stub.ModelInfer(raw(np.empty((0, 2)), outputs=[asked])))
    assert answered["probabilities"].shape == (0, 2)


def test_the_id_comes_back(stub):
    assert stub.ModelInfer(raw([[1, 1]], id="Ünicode 7")).id == "Ünicode 7"


@pytest.mark.parametrize(
    ("model", "version", "answers"),
    [
        ("", "", ("quadrants", "1")),
        ("quadrants", "", ("quadrants", "1")),
        ("quadrants", "2", ("quadrants", "2")),
        ("quadrants", "champion", ("quadrants", "1")),
        ("quadrants", "candidate", ("quadrants", "2")),
        ("quadrants", "latest", ("quadrants", "2")),
        ("", "2", ("quadrants", "2")),
    ],
)
def test_a_version_is_a_number_an_alias_or_empty(stub, model, version, answers):
    response = stub.ModelInfer(raw([[1, 1]], model=model, model_version=version))
    assert (response.model_name, response.model_version) == answers
    assert stub.ModelReady(pb.ModelReadyRequest(name=model, version=version)).ready
    described = stub.ModelMetadata(pb.ModelMetadataRequest(name=model, version=version))
    assert (described.name, described.properties["version"]) == answers


@pytest.mark.parametrize(
    ("model", "version", "text"),
    [
        (
            "nothing",
            "",
            (
                "There is no model 'nothing' in the registry. "
                "It holds: binary, digits, irises, quadrants."
            ),
        ),
        (
            "quadrants",
            "9",
            "Model 'quadrants' has no version 9. Its versions, newest first: 2, 1.",
        ),
        (
            "quadrants",
            "-1",
            "Model 'quadrants' has no alias '-1'. Its aliases: candidate, champion.",
        ),
        (
            "quadrants",
            "9" * 5000,
            f"Model 'quadrants' has no alias '{'9' * 80}…'. Its aliases: candidate, champion.",
        ),
    ],
)
def test_an_unknown_model_or_version_is_not_found_by_any_method(stub, model, version, text):
    for call, request in (
        (stub.ModelInfer, raw([[1, 1]], model=model, model_version=version)),
        (stub.ModelReady, pb.ModelReadyRequest(name=model, version=version)),
        (stub.ModelMetadata, pb.ModelMetadataRequest(name=model, version=version)),
        (stub.ModelStatistics, pb.ModelStatisticsRequest(name=model, version=version)),
    ):
        error = refused(call, request)
        assert error.code() is NOT_FOUND
        if call is not stub.ModelStatistics or version:
            assert error.details() == text


X = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def changed(request, **fields):
    """Return the request with other fields of its first input, or of itself."""
    for name, value in fields.items():
        owner = request if hasattr(request, name) else request.inputs[0]
        if isinstance(value, list):
            del getattr(owner, name)[:]
            getattr(owner, name).extend(value)
        else:
            setattr(owner, name, value)
    return request


def with_contents(request, **contents):
    request.inputs[0].contents.MergeFrom(pb.InferTensorContents(**contents))
    return request


def with_parameter(tensor, name, **value):
    tensor.parameters[name].MergeFrom(pb.InferParameter(**value))
    return tensor


def classified(name="probabilities", **value):
    return [with_parameter(Output(name=name), "classification", **value)]


x = Input(name="x", datatype="FP64", shape=[3, 2])
BYTES_FIELD = "raw_input_contents"
DATATYPES_TEXT = "one of FP32, FP64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64"


@pytest.mark.parametrize(
    ("request_", "field", "text"),
    [
        (changed(raw(X), inputs=[]), "inputs", "expected one input 'x', got none"),
        (changed(raw(X), inputs=[x, x]), "inputs", "expected one input 'x', got 2 of this name"),
        (changed(raw(X), name="points"), "inputs[0].name", "expected 'x', got 'points'"),
        (
            changed(raw(X), inputs=[x, Input(name="y")]),
            "inputs[1].name",
            "expected 'x', got 'y'",
        ),
        *(
            (
                changed(raw(X), datatype=datatype),
                "inputs[0].datatype",
                f"input 'x': expected {DATATYPES_TEXT}; got '{datatype}'",
            )
            for datatype in ("BYTES", "BOOL", "FP16", "BF16", "fp32", "")
        ),
        *(
            (
                changed(raw(X), shape=shape),
                "inputs[0].shape",
                f"input 'x': expected [n, 2], rows of 2 features; got {shape}",
            )
            for shape in ([], [6], [2, 3], [3, 2, 1], [-1, 2], [3, -2], [2**62, 2**62], [-3, -2])
        ),
        *(
            (
                changed(raw(X), shape=[rows, 2]),
                "inputs[0].shape",
                (
                    f"input 'x': expected at most 30000 rows a call; got {rows}; "
                    "send them in several calls"
                ),
            )
            for rows in (MAX_ROWS + 1, 2**62, 2**63 - 1)
        ),
        (
            changed(raw(X), raw_input_contents=[b"1234567"]),
            f"{BYTES_FIELD}[0]",
            "input 'x': expected 48 bytes for FP64 of shape [3, 2]; got 7",
        ),
        (
            changed(raw(X), datatype="INT16"),
            f"{BYTES_FIELD}[0]",
            "input 'x': expected 12 bytes for INT16 of shape [3, 2]; got 48",
        ),
        (
            changed(raw(X), raw_input_contents=[b"", b""]),
            BYTES_FIELD,
            "input 'x': expected 1 of them, for 1 input; got 2",
        ),
        (
            with_contents(raw(X), fp64_contents=[1, 2, 3, 4, 5, 6]),
            "inputs[0].contents",
            "input 'x': expected none beside raw_input_contents; got both; send the numbers once",
        ),
        (
            with_contents(raw(X)),
            "inputs[0].contents",
            "input 'x': expected none beside raw_input_contents; got both; send the numbers once",
        ),
        (
            changed(raw(X), raw_input_contents=[]),
            "inputs[0].contents",
            "input 'x': expected 6 numbers in fp64_contents, for FP64 of shape [3, 2]; got none",
        ),
        (
            changed(typed(X), datatype="FP32"),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp32_contents, for FP32 of shape [3, 2]; "
                "got 6 in fp64_contents"
            ),
        ),
        (
            with_contents(typed(X), fp64_contents=[7]),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp64_contents, for FP64 of shape [3, 2]; "
                "got 7 in fp64_contents"
            ),
        ),
        (
            with_contents(typed(X), bytes_contents=[b"7"]),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp64_contents, for FP64 of shape [3, 2]; "
                "got 6 in fp64_contents and 1 in bytes_contents"
            ),
        ),
        (
            pb.ModelInferRequest(
                inputs=[
                    Input(
                        name="x",
                        datatype="INT8",
                        shape=[1, 2],
                        contents=pb.InferTensorContents(int_contents=[-128, 128]),
                    )
                ]
            ),
            "inputs[0].contents.int_contents[1]",
            "input 'x': expected INT8, from -128 to 127; got 128",
        ),
        (
            raw([[0, 1], [NAN, 1]]),
            "x[1][0]",
            "expected a finite number, got nan",
        ),
        (
            typed([[0, 1], [0, float("-inf")]], "FP32"),
            "x[1][1]",
            "expected a finite number, got -inf",
        ),
        (
            raw(X, outputs=[Output(name="logits")]),
            "outputs[0].name",
            "expected 'probabilities' or 'label', got 'logits'",
        ),
        (
            raw(X, outputs=[Output(name="label"), Output(name="label")]),
            "outputs[1].name",
            "expected each output once, got 'label' again",
        ),
        *(
            (
                raw(X, outputs=classified(**value)),
                "outputs[0].parameters[classification]",
                (
                    "output 'probabilities': expected a number of classes from 1 as int64_param, "
                    f"got {came}"
                ),
            )
            for value, came in (
                ({"int64_param": 0}, "int64_param '0'"),
                ({"int64_param": -1}, "int64_param '-1'"),
                ({"string_param": "3"}, "string_param '3'"),
                ({"uint64_param": 3}, "uint64_param '3'"),
                ({"bool_param": True}, "bool_param 'True'"),
                ({}, "no value"),
            )
        ),
        (
            raw(X, outputs=classified("label", int64_param=1)),
            "outputs[0].parameters[classification]",
            (
                "output 'label': expected no class_count, for it has one class a row; ask for "
                "'probabilities'"
            ),
        ),
        (
            raw(X, outputs=[with_parameter(Output(name="label"), "shared_memory_region")]),
            "outputs[0].parameters[shared_memory_region]",
            (
                "expected no such parameter, for this server shares no memory; send and receive "
                "the values in the messages"
            ),
        ),
        (
            pb.ModelInferRequest(
                inputs=[
                    with_parameter(
                        Input(name="x", datatype="FP32", shape=[3, 2]),
                        "shared_memory_region",
                        string_param="mine",
                    )
                ]
            ),
            "inputs[0].parameters[shared_memory_region]",
            (
                "expected no such parameter, for this server shares no memory; send and receive "
                "the values in the messages"
            ),
        ),
    ],
)
def test_a_bad_request_names_the_tensor_what_was_expected_and_what_came(
    stub, request_, field, text
):
    error = refused(stub.ModelInfer, request_)
    assert (error.code(), error.details()) == (INVALID, f"{field}: {text}")
    violations = details_of(error, error_details_pb2.BadRequest).field_violations
    assert [(v.field, v.description) for v in violations] == [(field, text)]


def test_bytes_that_are_no_message_are_refused(server):
    for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        error = refused(server.channel.unary_unary(f"/{SERVICE}/{method.name}"), b"\xff")
        assert error.code() is INVALID
        assert f"expected a message inference.{method.name}Request" in error.details()


def most_memory(server):
    """Return the most that the server's process has held until now, in MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def test_a_large_message_of_many_parts_is_refused_before_it_takes_forty_times_the_memory(server):
    before = most_memory(server)
    error = refused(server.channel.unary_unary(f"/{SERVICE}/ModelInfer"), b"\x2a\x00" * 10_000_000)
    assert error.code() is INVALID
    assert error.details().startswith("request: expected at most 16 inputs, outputs, parameters")
    # Of 20 MB, which gRPC itself holds for a moment.
    assert most_memory(server) - before < 100


def test_parameters_that_others_send_are_ignored(stub):
    """What tritonclient can add to a request, for servers that queue and keep sequences."""
    request = raw([[0.5, 0.5]])
    request.parameters["sequence_id"].int64_param = 3
    request.parameters["sequence_start"].bool_param = True
    request.parameters["priority"].uint64_param = 1
    request.parameters["timeout"].int64_param = 1
    request.inputs[0].parameters["mine"].double_param = 1.5
    assert outputs(stub.ModelInfer(request))["label"].tolist() == [b"I"]
    for i in range(20):
        request.parameters[f"triton_{i}"].string_param = "x"
    assert outputs(stub.ModelInfer(request))["label"].tolist() == [b"I"]


def test_where_the_arithmetic_overflows_the_service_does_not_guess(stub):
    request = raw([[1e308, 1e308], [1, 1]])
    answered = outputs(stub.ModelInfer(request))
    assert answered["label"].tolist() == [b"", b"I"]
    assert answered["probabilities"][0].tolist() == [0.25] * 4
    # Finite as it came, and not in the model's float32.
    answered = outputs(stub.ModelInfer(raw(np.full((1, 64), 1e300), "FP64", "digits")))
    assert np.isfinite(answered["probabilities"]).all()


def test_the_server_and_a_model_describe_themselves(stub, server):
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    described = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (described.name, described.version) == ("quadnet", "0.1.0")
    assert list(described.extensions) == ["classification", "statistics"]

    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="digits"))
    assert (model.name, list(model.versions)) == ("digits", ["1"])
    assert model.platform == "quadnet_safetensors"
    assert [(t.name, t.datatype, list(t.shape)) for t in (*model.inputs, *model.outputs)] == [
        ("x", "FP32", [-1, 64]),
        ("probabilities", "FP32", [-1, 10]),
        ("label", "BYTES", [-1]),
    ]
    properties = dict(model.properties)
    assert json.loads(properties.pop("classes")) == DIGITS
    assert json.loads(properties.pop("features"))[:3] == ["x", "y", "z"]
    digest = server.stub.GetModel(
        quadrant_pb2.GetModelRequest(model=quadrant_pb2.ModelRef(name="digits"))
    ).model.digest
    assert properties == {
        "version": "1",
        "digest": digest,
        "max_rows": str(MAX_ROWS),
        "max_message_bytes": str(64 * 2**20),
        "max_calls": "64",
    }
    quadrants = stub.ModelMetadata(pb.ModelMetadataRequest(name="quadrants"))
    assert list(quadrants.versions) == ["1", "2"]
    assert quadrants.inputs[0].datatype == "FP64"


def test_the_published_limit_is_the_one_that_is_kept(stub):
    answered = outputs(stub.ModelInfer(raw(np.zeros((MAX_ROWS, 2)), "INT8")))
    assert answered["probabilities"].shape == (MAX_ROWS, 4)


def test_an_answer_larger_than_a_message_may_be_is_refused_with_what_to_do(models):
    registry, _ = models
    with ServerProcess(registry.root, "--max-message-bytes", "4096") as server:
        stub = InferenceStub(server.channel)
        request = raw(np.zeros((150, 2)), "INT8")
        error = refused(stub.ModelInfer, request)
        assert error.code() is INVALID
        assert error.details().startswith("outputs: expected an answer of at most 4096 bytes, got")
        request.outputs.add(name="label")
        assert len(outputs(stub.ModelInfer(request))["label"]) == 150
        _, _, log = server.stop()
        assert not [line for line in log if line.get("level") == "error"]


def test_statistics_count_calls_and_rows_of_each_version(models):
    registry, _ = models
    with ServerProcess(registry.root) as server:
        stub = InferenceStub(server.channel)
        # What is loaded is there, with zeros.
        (before,) = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
        assert (before.name, before.version, before.execution_count) == ("quadrants", "1", 0)

        for rows in (1, 20, 300):
            stub.ModelInfer(raw(np.zeros((rows, 2))))
        stub.ModelInfer(raw([[1, 1]], model_version="candidate"))
        refused(stub.ModelInfer, raw([[1, 1, 1]]))
        refused(stub.ModelInfer, raw([[NAN, 1]]))

        first, second = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
        assert [(s.name, s.version) for s in (first, second)] == [
            ("quadrants", "1"),
            ("quadrants", "2"),
        ]
        assert (first.inference_count, first.execution_count) == (321, 3)
        times = first.inference_stats
        assert (times.success.count, times.fail.count) == (3, 2)
        parts = (times.compute_input, times.compute_infer, times.compute_output)
        assert all(part.count == 3 and part.ns > 0 for part in parts)
        assert times.success.ns == sum(part.ns for part in parts)
        assert times.fail.ns > 0
        assert second.execution_count == 1
        assert first.last_inference <= second.last_inference < first.last_inference + 60_000

        (alone,) = stub.ModelStatistics(
            pb.ModelStatisticsRequest(name="quadrants", version="latest")
        ).model_stats
        assert alone == second
        # Known and never asked.
        (never,) = stub.ModelStatistics(
            pb.ModelStatisticsRequest(name="digits", version="1")
        ).model_stats
        assert (never.name, never.execution_count, never.last_inference) == ("digits", 0, 0)
        assert not stub.ModelStatistics(pb.ModelStatisticsRequest(name="digits")).model_stats
        assert refused(
            stub.ModelStatistics, pb.ModelStatisticsRequest(name="nothing")
        ).details() == (
            "There is no model 'nothing' in the registry. "
            "It holds: binary, digits, irises, quadrants."
        )


def damaged(registry, model, version):
    """Change a byte of a published version's weights."""
    path = registry.path(model, version) / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_the_index_says_which_versions_answer_and_why_others_do_not(tmp_path):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    publish(registry, alias="candidate")
    publish(registry, alias="new")
    damaged(registry, "quadrants", 2)
    with ServerProcess(registry.root) as server:
        stub = InferenceStub(server.channel)
        assert not stub.ModelReady(pb.ModelReadyRequest(name="quadrants", version="2")).ready
        error = refused(stub.ModelInfer, raw([[1, 1]], model_version="candidate"))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION

        found = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        assert [(m.name, m.version, m.state) for m in found] == [
            ("quadrants", "1", "READY"),
            ("quadrants", "2", "UNAVAILABLE"),
            ("quadrants", "3", "UNAVAILABLE"),
        ]
        assert found[0].reason == ""
        assert "weights.safetensors" in found[1].reason
        assert found[2].reason == ("It is not loaded: the first call that asks for it loads it.")
        ready = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        assert [m.version for m in ready] == ["1"]
        # Whoever waits for a version to be ready has asked for it.
        assert stub.ModelReady(pb.ModelReadyRequest(name="quadrants", version="3")).ready
        ready = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        assert [m.version for m in ready] == ["1", "3"]

        error = refused(stub.RepositoryIndex, pb.RepositoryIndexRequest(repository_name="s3"))
        assert (error.code(), error.details()) == (
            INVALID,
            "repository_name: expected none, for the server has one registry; got 's3'",
        )


def test_with_nothing_to_serve_nothing_is_ready_and_the_server_is_live(tmp_path):
    with ServerProcess(tmp_path / "none", "--poll", "0.05") as server:
        stub = InferenceStub(server.channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        assert not stub.ModelReady(pb.ModelReadyRequest(name="quadrants")).ready
        error = refused(stub.ModelInfer, raw([[1, 1]]))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert not stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        assert not stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats

        publish(Registry(tmp_path / "none"))
        server.logged("live")
        health = health_pb2_grpc.HealthStub(server.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)
        while next(watch).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        watch.cancel()
        assert stub.ServerReady(pb.ServerReadyRequest()).ready


def test_a_server_told_to_stop_is_not_ready_and_still_answers(models):
    registry, _ = models
    with ServerProcess(registry.root, "--drain-delay", "60") as server:
        stub = InferenceStub(server.channel)
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        server.process.send_signal(serving.signal.SIGTERM)
        server.logged("stopping")
        health = health_pb2_grpc.HealthStub(server.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)
        while next(watch).status == health_pb2.HealthCheckResponse.SERVING:
            pass
        watch.cancel()
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        assert outputs(stub.ModelInfer(raw([[1, 1]])))["label"].tolist() == [b"I"]
        assert server.stop()[0] == 0


@pytest.mark.parametrize(
    "method",
    [
        "ModelConfig",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "ModelStreamInfer",
        "SystemSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "TraceSetting",
        "LogSettings",
    ],
)
def test_every_other_method_is_unimplemented(server, method):
    error = refused(server.channel.unary_unary(f"/{SERVICE}/{method}"), b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_shows_every_service_and_its_messages(server):
    database = ProtoReflectionDescriptorDatabase(server.channel)
    services = database.get_services()
    assert set(services) == {
        serving.SERVICE,
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    pool = descriptor_pool.DescriptorPool(database)
    for service in services:
        for method in pool.FindServiceByName(service).methods:
            assert method.input_type.full_name
            assert method.output_type.full_name
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelInfer")
    request, response = map(
        message_factory.GetMessageClass, (method.input_type, method.output_type)
    )
    call = server.channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    asked = request.FromString(typed([[-0.3, 0.8]]).SerializeToString())
    label = call(asked).outputs[1]
    assert (label.name, list(label.contents.bytes_contents)) == ("label", [b"II"])


def test_calls_are_logged_with_their_rows_and_version(server, stub):
    stub.ModelInfer(raw(np.zeros((17, 2)), model_version="candidate"))
    line = server.logged("call", method=f"{SERVICE}/ModelInfer", points=17)
    assert (line["status"], line["model"], line["version"]) == ("OK", "quadrants", 2)


dimension = st.one_of(st.integers(-2, 5), st.integers(-(2**63), 2**63 - 1))
shapes = st.one_of(
    st.tuples(st.integers(0, 5), st.just(2)), st.lists(dimension, max_size=4).map(tuple)
)


@given(
    shape=shapes,
    datatype=st.sampled_from([*DTYPES, "BYTES", "BOOL", "FP16", ""]),
    data=st.data(),
    parts=st.integers(0, 2),
    contents=st.booleans(),
    asked=st.lists(st.sampled_from(["probabilities", "label", "other"]), max_size=3),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tensor_gets_its_answer_or_is_refused(
    stub, shape, datatype, data, parts, contents, asked
):
    dtype = np.dtype(DTYPES.get(datatype, "u1"))
    fits = len(shape) == 2 and shape[1] == 2 and 0 <= shape[0] <= 5
    exact = 2 * shape[0] * dtype.itemsize if fits else 0
    length = data.draw(st.one_of(st.just(exact), st.integers(0, 100)))
    values = data.draw(st.binary(min_size=length, max_size=length))
    request = pb.ModelInferRequest(
        inputs=[Input(name="x", datatype=datatype, shape=shape)],
        outputs=[Output(name=name) for name in asked],
        raw_input_contents=[values] * parts,
    )
    if contents:
        n = data.draw(st.integers(0, 10))
        field = FIELDS.get(datatype, "bytes_contents")
        value = b"7" if field == "bytes_contents" else 7
        with_contents(request, **{field: [value] * n})
    n_sent = length / dtype.itemsize if parts else (n if contents else 0)
    good = (
        fits
        and datatype in DTYPES
        and (parts == 0 or (parts == 1 and not contents))
        and n_sent == 2 * shape[0]
        and (not parts or bool(np.isfinite(np.frombuffer(values, dtype)).all()))
        and len(asked) == len(set(asked))
        and "other" not in asked
    )
    try:
        response = stub.ModelInfer(request, timeout=10)
    except grpc.RpcError as error:
        assert error.code() is INVALID, error
        assert not good
        return
    assert good
    answered = outputs(response)
    assert list(answered) == (asked or ["probabilities", "label"])
    assert all(len(array) == shape[0] for array in answered.values())
    for row in answered.get("probabilities", []):
        assert np.isclose(row.sum(), 1)


@given(flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_get_an_answer_or_a_status_of_the_table(server, flips):
    content = bytearray(typed(X, id="7", model_version="1").SerializeToString())
    for place, value in flips:
        content[place % len(content)] = value
    call = server.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    try:
        outputs(pb.ModelInferResponse.FromString(call(bytes(content), timeout=10)))
    except grpc.RpcError as error:
        assert error.code() in (INVALID, NOT_FOUND), error


@given(
    before=st.text(max_size=8),
    rows=st.integers(0, 4),
    datatype=st.sampled_from(sorted(DTYPES)),
)
@settings(deadline=None)
def test_raw_numbers_are_used_where_they_lie_if_they_are_aligned(before, rows, datatype):
    values = np.arange(2 * rows).reshape(rows, 2).astype(DTYPES[datatype])
    content = raw(values, datatype, id=before).SerializeToString()
    request, parts = tensors.decode_request(content)
    assert request.id == before
    decoded = tensors.decode_input(request, parts, n_features=2, max_rows=10)
    np.testing.assert_array_equal(decoded, values)
    assert decoded.flags.aligned
    message = np.frombuffer(content, np.uint8)
    if rows:
        # It is the message's last field.
        start = message.ctypes.data + len(content) - values.nbytes
        in_place = start % values.itemsize == 0
        assert np.shares_memory(decoded, message) is in_place


@given(
    parts=st.lists(st.binary(max_size=300), max_size=4),
    id_=st.text(max_size=200),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
)
@settings(deadline=None)
def test_splitting_a_message_loses_nothing(parts, id_, shape):
    request = pb.ModelInferRequest(
        id=id_, inputs=[Input(name="x", shape=shape)], raw_input_contents=parts
    )
    content = request.SerializeToString()
    places, rest = packed.split(content, (7,))
    assert [content[start:end] for _, start, end in places] == parts
    request.ClearField("raw_input_contents")
    assert pb.ModelInferRequest.FromString(rest) == request
