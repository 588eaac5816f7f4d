"""The methods of the Open Inference Protocol over a real socket, and the versions they select."""

from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from quadnet.registry import Registry
from service.stubs.inference.v2 import inference_pb2 as pb
from tests.support import serving
from tests.support.exact_models import publish
from tests.support.inference_client import (
    SERVICE,
    InferenceStub,
    outputs,
    raw,
    typed,
    with_contents,
)
from tests.support.serving import ServerProcess, long_call, refused

POINT = raw([[1, 1]])

NOT_FOUND = grpc.StatusCode.NOT_FOUND


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
def test_a_version_is_a_number_an_alias_or_empty(inference, model, version, answers):
    response = inference.ModelInfer(raw([[1, 1]], model=model, model_version=version))
    assert (response.model_name, response.model_version) == answers
    assert inference.ModelReady(pb.ModelReadyRequest(name=model, version=version)).ready
    described = inference.ModelMetadata(pb.ModelMetadataRequest(name=model, version=version))
    assert (described.name, described.properties["version"]) == answers
    if version:
        (counted,) = inference.ModelStatistics(
            pb.ModelStatisticsRequest(name=model, version=version)
        ).model_stats
        assert (counted.name, counted.version) == answers


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
            "",
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
def test_an_unknown_model_or_version_is_not_found_by_any_method(inference, model, version, text):
    for call, request in (
        (inference.ModelInfer, raw([[1, 1]], model=model, model_version=version)),
        (inference.ModelReady, pb.ModelReadyRequest(name=model, version=version)),
        (inference.ModelMetadata, pb.ModelMetadataRequest(name=model, version=version)),
        (inference.ModelStatistics, pb.ModelStatisticsRequest(name=model, version=version)),
    ):
        error = refused(call, request)
        assert error.code() is NOT_FOUND
        if call is not inference.ModelStatistics or version:
            assert error.details() == text


def test_loaded_versions_are_described_when_the_registry_is_gone(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        stub = InferenceStub(server.channel)
        asked = {"name": "quadrants", "version": "1"}
        assert stub.ModelReady(pb.ModelReadyRequest(**asked)).ready
        registry.root.rename(registry.root.with_name("gone"))
        for chosen in (asked, asked | {"version": "champion"}, asked | {"version": ""}):
            assert stub.ModelReady(pb.ModelReadyRequest(**chosen)).ready
            assert stub.ModelMetadata(pb.ModelMetadataRequest(**chosen)).versions == ["1"]
            (counted,) = stub.ModelStatistics(pb.ModelStatisticsRequest(**chosen)).model_stats
            assert (counted.name, counted.version) == ("quadrants", "1")


def test_the_request_id_is_returned(inference):
    assert inference.ModelInfer(raw([[1, 1]], id="Ünicode 7")).id == "Ünicode 7"


def test_parameters_for_other_servers_are_ignored(inference):
    """Parameters that tritonclient can add, for servers with queues and sequences."""
    request = raw([[0.5, 0.5]])
    request.parameters["sequence_id"].int64_param = 3
    request.parameters["sequence_start"].bool_param = True
    request.parameters["priority"].uint64_param = 1
    request.parameters["timeout"].int64_param = 1
    request.inputs[0].parameters["mine"].double_param = 1.5
    assert outputs(inference.ModelInfer(request))["label"].tolist() == [b"I"]
    for i in range(20):
        request.parameters[f"triton_{i}"].string_param = "x"
    assert outputs(inference.ModelInfer(request))["label"].tolist() == [b"I"]


def test_without_a_model_the_server_is_live_and_not_ready(tmp_path):
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
        server.logged("version live")
        health = health_pb2_grpc.HealthStub(server.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)
        while next(watch).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        watch.cancel()
        assert stub.ServerReady(pb.ServerReadyRequest()).ready


def test_a_stopping_server_is_not_ready_and_still_answers(inference_models):
    registry, _ = inference_models
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


def test_health_needs_no_token_and_is_answered_by_a_busy_server(registry, tmp_path):
    publish(registry)
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    options = ("--token-file", str(tokens), "--max-calls", "1")
    sesame = (("authorization", "Bearer sesame"),)
    with ServerProcess(registry.root, *options) as server, long_call(server, registry, sesame):
        stub = InferenceStub(server.channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        assert refused(stub.ModelInfer, POINT).code() is grpc.StatusCode.UNAUTHENTICATED
        busy = refused(stub.ModelInfer, POINT, metadata=sesame)
        assert busy.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "method",
    [
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "ModelStreamInfer",
        "SystemSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "TraceSetting",
        "LogSettings",
    ],
)
def test_every_other_method_is_unimplemented(inference_server, method):
    error = refused(inference_server.channel.unary_unary(f"/{SERVICE}/{method}"), b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


class ReflectionV1Database(ProtoReflectionDescriptorDatabase):
    """The same database from grpc.reflection.v1."""

    def __init__(self, channel):
        super().__init__(channel)
        self._stub = SimpleNamespace(
            ServerReflectionInfo=channel.stream_stream(
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
        )


@pytest.mark.parametrize("kind", [ProtoReflectionDescriptorDatabase, ReflectionV1Database])
def test_reflection_shows_every_service_and_its_messages(inference_server, kind):
    database = kind(inference_server.channel)
    services = database.get_services()
    assert set(services) == {
        serving.SERVICE,
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.reflection.v1.ServerReflection",
    }
    pool = descriptor_pool.DescriptorPool(database)
    for service in services:
        for method in pool.FindServiceByName(service).methods:
            assert method.input_type.full_name
            assert method.output_type.full_name
    (v1,) = pool.FindServiceByName("grpc.reflection.v1.ServerReflection").methods
    assert v1.input_type.full_name == "grpc.reflection.v1.ServerReflectionRequest"
    # The messages in error details are described, too.
    for name in ("Status", "ErrorInfo", "BadRequest", "RetryInfo"):
        assert pool.FindMessageTypeByName(f"google.rpc.{name}").fields
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelInfer")
    request, response = map(
        message_factory.GetMessageClass, (method.input_type, method.output_type)
    )
    call = inference_server.channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    asked = request.FromString(typed([[-0.3, 0.8]]).SerializeToString())
    label = call(asked).outputs[1]
    assert (label.name, list(label.contents.bytes_contents)) == ("label", [b"II"])


def test_calls_are_logged_with_their_rows_and_version(inference_server, inference):
    inference.ModelInfer(raw(np.zeros((17, 2)), model_version="candidate"))
    line = inference_server.logged("call", method=f"{SERVICE}/ModelInfer", points=17)
    assert (line["status"], line["model"], line["version"]) == ("OK", "quadrants", 2)


def test_empty_contents_count_as_absent(inference):
    request = with_contents(raw([[0.5, 0.5], [-0.3, 0.8]]))
    assert request.inputs[0].HasField("contents")
    assert outputs(inference.ModelInfer(request))["label"].tolist() == [b"I", b"II"]
    # So do parameters without a value.
    request.parameters["priority"].MergeFrom(pb.InferParameter())
    request.inputs[0].parameters["content_type"].MergeFrom(pb.InferParameter())
    request.outputs.add(name="label").parameters["content_type"].MergeFrom(pb.InferParameter())
    assert outputs(inference.ModelInfer(request))["label"].tolist() == [b"I", b"II"]
