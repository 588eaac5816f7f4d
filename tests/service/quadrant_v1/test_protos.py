"""The .proto files are the contract: the stubs match them, and every element has a comment."""

import re
import subprocess
import sys
import tomllib

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from service.playground import sandbox_request
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2
from tests.support.serving import ROOT

FILES = {
    "quadrant/v1/quadrant.proto": quadrant_pb2,
    "inference/v2/inference.proto": inference_pb2,
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return the descriptor of each file with comments, from the installed compiler."""
    path = tmp_path_factory.mktemp("protos") / "descriptors"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", *FILES]
        + [f"--descriptor_set_out={path}", "--include_source_info"],
        check=True,
        capture_output=True,
    )
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
    return {file.name: file for file in files}


def test_every_proto_file_is_tested_here():
    found = {str(path.relative_to(ROOT / "protos")) for path in ROOT.glob("protos/**/*.proto")}
    assert found == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_the_committed_stubs_match_the_file(compiled, name):
    committed = descriptor_pb2.FileDescriptorProto()
    FILES[name].DESCRIPTOR.CopyToProto(committed)
    expected = descriptor_pb2.FileDescriptorProto()
    expected.CopyFrom(compiled[name])
    expected.ClearField("source_code_info")
    for message in walk(expected.message_type):
        for field in message.field:
            field.ClearField("json_name")
    assert committed == expected, "run protos/compile.sh"


def walk(messages):
    for message in messages:
        yield message
        yield from walk(message.nested_type)


@pytest.mark.parametrize("name", FILES)
def test_everything_in_the_file_has_a_comment(compiled, name):
    file = compiled[name]
    commented = {
        tuple(location.path)
        for location in file.source_code_info.location
        if location.leading_comments.strip()
    }
    missing = [full for path, full in named(file) if path not in commented]
    assert missing == []


@pytest.mark.parametrize("field", sandbox_request.CHOICES)
def test_the_comment_of_a_sandboxs_setting_names_all_it_may_be(compiled, field):
    file = compiled["quadrant/v1/quadrant.proto"]
    comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
    (path,) = (path for path, name in named(file) if name == f"TrainRequest.{field}")
    listed = comments[path].partition(" Empty:")[0]
    assert re.findall(r'"(\w+)"', listed) == list(sandbox_request.CHOICES[field])


def named(file):
    """Yield (path in the descriptor, full name) of each element that needs a comment."""
    for i, service in enumerate(file.service):
        yield (6, i), service.name
        for j, method in enumerate(service.method):
            yield (6, i, 2, j), f"{service.name}.{method.name}"
    for i, enum in enumerate(file.enum_type):
        yield from named_in_enum((5, i), enum)
    for i, message in enumerate(file.message_type):
        yield from named_in_message((4, i), message)


def named_in_message(path, message):
    if message.options.map_entry:
        return
    yield path, message.name
    for i, field in enumerate(message.field):
        yield (*path, 2, i), f"{message.name}.{field.name}"
    for i, nested in enumerate(message.nested_type):
        yield from named_in_message((*path, 3, i), nested)
    for i, enum in enumerate(message.enum_type):
        yield from named_in_enum((*path, 4, i), enum)


def named_in_enum(path, enum):
    yield path, enum.name
    for i, value in enumerate(enum.value):
        yield (*path, 2, i), f"{enum.name}.{value.name}"


def as_numbers(version):
    return [int(part) for part in version.split(".")]


def test_the_stubs_run_on_the_oldest_supported_runtimes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    serve = project["optional-dependencies"]["serve"]
    floors = dict(each.split(">=") for each in serve if ">=" in each)
    stubs = ROOT / "service/stubs"
    grpc_version = re.search(
        r"GRPC_GENERATED_VERSION = '([\d.]+)'",
        (stubs / "quadrant/v1/quadrant_pb2_grpc.py").read_text(),
    )[1]
    assert as_numbers(grpc_version) <= as_numbers(floors["grpcio"])
    for name in FILES:
        text = (stubs / name.replace(".proto", "_pb2.py")).read_text()
        protobuf_version = re.search(r"Protobuf Python Version: ([\d.]+)", text)[1]
        assert protobuf_version == floors["protobuf"]


def test_quadrant_v1_is_the_published_contract():
    """These numbers are on the wire and must never change."""
    file = quadrant_pb2.DESCRIPTOR
    numbers = {
        name: {field.name: field.number for field in file.message_types_by_name[name].fields}
        for name in (
            "ModelRef",
            "ModelVersion",
            "ClassifyRequest",
            "ClassifyResponse",
            "Layer",
            "LayerArray",
            "LayerTrace",
            "UnitTrace",
            "TrainUpdate",
        )
    }
    assert numbers == {
        "ModelRef": {"name": 1, "version": 2, "alias": 3},
        "ModelVersion": {"name": 1, "version": 2, "digest": 3},
        "ClassifyRequest": {
            "model": 1,
            "x": 2,
            "y": 3,
            "all_certainties": 4,
            "min_certainty": 5,
        },
        "ClassifyResponse": {"model": 1, "quadrants": 2, "certainties": 3, "all_certainties": 4},
        "Layer": {
            "activation": 1,
            "inputs": 2,
            "units": 3,
            "weights": 4,
            "biases": 5,
            "kind": 6,
            "settings": 7,
            "input_shape": 8,
            "output_shape": 9,
            "arrays": 10,
        },
        "LayerArray": {"name": 1, "shape": 2, "values": 3},
        "LayerTrace": {
            "activation": 1,
            "units": 2,
            "kind": 3,
            "shape": 4,
            "pre_activations": 5,
            "activations": 6,
        },
        "UnitTrace": {"terms": 1, "bias": 2, "pre_activation": 3, "activation": 4},
        "TrainUpdate": {
            "epoch": 1,
            "loss": 2,
            "accuracy": 3,
            "state": 4,
            "decision_map": 5,
            "stop_reason": 6,
            "test_loss": 7,
            "test_accuracy": 8,
            "test_answers": 9,
            "stop_reason_code": 10,
        },
    }
    assert dict(quadrant_pb2.Quadrant.items()) == {
        "QUADRANT_UNSPECIFIED": 0,
        "QUADRANT_I": 1,
        "QUADRANT_II": 2,
        "QUADRANT_III": 3,
        "QUADRANT_IV": 4,
    }
    assert dict(quadrant_pb2.StopReason.items()) == {
        "STOP_REASON_UNSPECIFIED": 0,
        "STOP_REASON_MAX_EPOCHS": 1,
        "STOP_REASON_ACCURACY": 2,
        "STOP_REASON_TIME_LIMIT": 3,
        "STOP_REASON_DIVERGED": 4,
    }
    service = file.services_by_name["QuadrantService"]
    assert [method.name for method in service.methods] == [
        "Classify",
        "ClassifyStream",
        "ListModels",
        "GetModel",
        "Explain",
    ]


INFERENCE_V2 = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": 1},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": 1},
    "ModelReadyRequest": {"name": 1, "version": 2},
    "ModelReadyResponse": {"ready": 1},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": 1, "version": 2, "extensions": 3},
    "ModelMetadataRequest": {"name": 1, "version": 2},
    "ModelMetadataResponse": {
        "name": 1,
        "versions": 2,
        "platform": 3,
        "inputs": 4,
        "outputs": 5,
        # Not 6, where other implementations have maps of different types.
        "properties": 100,
    },
    "ModelConfigRequest": {"name": 1, "version": 2},
    "ModelConfigResponse": {"config": 1},
    "ModelConfig": {
        "name": 1,
        "platform": 2,
        "version_policy": 3,
        "max_batch_size": 4,
        "input": 5,
        "output": 6,
        "parameters": 14,
        "backend": 17,
    },
    "ModelInput": {"name": 1, "data_type": 2, "dims": 4},
    "ModelOutput": {"name": 1, "data_type": 2, "dims": 3},
    "ModelVersionPolicy": {"all": 2},
    "ModelVersionPolicy.All": {},
    "ModelParameter": {"string_value": 1},
    "ModelMetadataResponse.TensorMetadata": {"name": 1, "datatype": 2, "shape": 3},
    "ModelInferRequest": {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "inputs": 5,
        "outputs": 6,
        "raw_input_contents": 7,
    },
    "ModelInferRequest.InferInputTensor": {
        "name": 1,
        "datatype": 2,
        "shape": 3,
        "parameters": 4,
        "contents": 5,
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": 1, "parameters": 2},
    "ModelInferResponse": {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "outputs": 5,
        "raw_output_contents": 6,
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": 1,
        "datatype": 2,
        "shape": 3,
        "parameters": 4,
        "contents": 5,
    },
    "InferParameter": {
        "bool_param": 1,
        "int64_param": 2,
        "string_param": 3,
        "double_param": 4,
        "uint64_param": 5,
    },
    "InferTensorContents": {
        "bool_contents": 1,
        "int_contents": 2,
        "int64_contents": 3,
        "uint_contents": 4,
        "uint64_contents": 5,
        "fp32_contents": 6,
        "fp64_contents": 7,
        "bytes_contents": 8,
    },
    "ModelStatisticsRequest": {"name": 1, "version": 2},
    "ModelStatisticsResponse": {"model_stats": 1},
    "ModelStatistics": {
        "name": 1,
        "version": 2,
        "last_inference": 3,
        "inference_count": 4,
        "execution_count": 5,
        "inference_stats": 6,
        "batch_stats": 7,
    },
    "InferStatistics": {
        "success": 1,
        "fail": 2,
        "queue": 3,
        "compute_input": 4,
        "compute_infer": 5,
        "compute_output": 6,
        "cache_hit": 7,
        "cache_miss": 8,
    },
    "InferBatchStatistics": {
        "batch_size": 1,
        "compute_input": 2,
        "compute_infer": 3,
        "compute_output": 4,
    },
    "StatisticDuration": {"count": 1, "ns": 2},
    "RepositoryIndexRequest": {"repository_name": 1, "ready": 2},
    "RepositoryIndexResponse": {"models": 1},
    "RepositoryIndexResponse.ModelIndex": {"name": 1, "version": 2, "state": 3, "reason": 4},
}


def test_inference_v2_has_the_protocols_names_and_numbers():
    """Clients are compiled from other files, so the names and numbers must be the protocol's."""
    file = inference_pb2.DESCRIPTOR
    assert file.package == "inference"
    messages = {
        message.full_name.removeprefix("inference."): message
        for top in file.message_types_by_name.values()
        for message in (top, *top.nested_types)
        if not message.GetOptions().map_entry
    }
    assert {
        name: {field.name: field.number for field in message.fields}
        for name, message in messages.items()
    } == INFERENCE_V2
    assert dict(inference_pb2.DataType.items()) == {
        "TYPE_INVALID": 0,
        "TYPE_BOOL": 1,
        "TYPE_FP32": 11,
        "TYPE_FP64": 12,
        "TYPE_STRING": 13,
    }
    service = file.services_by_name["GRPCInferenceService"]
    assert {
        method.name: (method.input_type.name, method.output_type.name) for method in service.methods
    } == {
        name: (f"{name}Request", f"{name}Response")
        for name in (
            "ServerLive",
            "ServerReady",
            "ModelReady",
            "ServerMetadata",
            "ModelMetadata",
            "ModelConfig",
            "ModelInfer",
            "ModelStatistics",
            "RepositoryIndex",
        )
    }


def test_inference_v2_does_not_register_its_names_in_the_default_pool():
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
    assert inference_pb2.DESCRIPTOR.pool.FindMessageTypeByName("inference.ModelInferRequest")
