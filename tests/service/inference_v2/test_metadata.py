"""Metadata in the Open Inference Protocol: the server, its models, and their versions' states."""

import json

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from quadnet import __version__
from quadnet.registry import Registry
from service.stubs.inference.v2 import inference_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2
from tests.support.exact_models import publish
from tests.support.inference_client import DIGITS, MAX_ROWS, InferenceStub, raw
from tests.support.inference_in_process import InProcessInference
from tests.support.serving import ServerProcess, refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_the_server_and_a_model_describe_themselves(inference, inference_server):
    assert inference.ServerLive(pb.ServerLiveRequest()).live
    assert inference.ServerReady(pb.ServerReadyRequest()).ready
    described = inference.ServerMetadata(pb.ServerMetadataRequest())
    assert (described.name, described.version) == ("quadnet", __version__)
    assert list(described.extensions) == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "statistics",
    ]

    model = inference.ModelMetadata(pb.ModelMetadataRequest(name="digits"))
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
    digest = inference_server.stub.GetModel(
        quadrant_pb2.GetModelRequest(model=quadrant_pb2.ModelRef(name="digits"))
    ).model.digest
    assert properties == {
        "version": "1",
        "digest": digest,
        "task": "classification",
        "max_rows": str(MAX_ROWS),
        "max_message_bytes": str(64 * 2**20),
        "max_calls": "64",
    }
    config = inference.ModelConfig(pb.ModelConfigRequest(name="digits")).config
    assert {name: each.string_value for name, each in config.parameters.items()} == dict(
        model.properties
    )
    # Other implementations have maps of different types in field 6, so it stays empty.
    fields = UnknownFieldSet(Empty.FromString(model.SerializeToString()))
    assert {field.field_number for field in fields} == {1, 2, 3, 4, 5, 100}
    quadrants = inference.ModelMetadata(pb.ModelMetadataRequest(name="quadrants"))
    assert list(quadrants.versions) == ["1", "2"]
    assert quadrants.inputs[0].datatype == "FP64"


def test_a_models_configuration_is_its_metadata_in_tritons_form(inference):
    config = inference.ModelConfig(pb.ModelConfigRequest(name="digits", version="champion")).config
    assert (config.name, config.platform, config.backend) == (
        "digits",
        "quadnet_safetensors",
        "quadnet",
    )
    assert config.max_batch_size == MAX_ROWS
    assert config.version_policy.WhichOneof("policy_choice") == "all"
    assert [(t.name, t.data_type, list(t.dims)) for t in (*config.input, *config.output)] == [
        ("x", pb.TYPE_FP32, [64]),
        ("probabilities", pb.TYPE_FP32, [10]),
        ("label", pb.TYPE_STRING, []),
    ]
    config = inference.ModelConfig(pb.ModelConfigRequest()).config
    assert (config.name, config.input[0].data_type) == ("quadrants", pb.TYPE_FP64)
    error = refused(inference.ModelConfig, pb.ModelConfigRequest(name="digits", version="9"))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def damage_weights(registry, model, version):
    """Change a byte of a published version's weights."""
    path = registry.path(model, version) / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_the_index_lists_which_versions_are_ready_and_why_others_are_not(tmp_path):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    publish(registry, alias="candidate")
    publish(registry, alias="new")
    damage_weights(registry, "quadrants", 2)
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
        assert found[2].reason == "Not loaded yet: the first call for this version loads it."
        ready = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        assert [m.version for m in ready] == ["1"]
        # ModelReady loads the version.
        assert stub.ModelReady(pb.ModelReadyRequest(name="quadrants", version="3")).ready
        ready = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        assert [m.version for m in ready] == ["1", "3"]

        error = refused(stub.RepositoryIndex, pb.RepositoryIndexRequest(repository_name="s3"))
        assert (error.code(), error.details()) == (
            INVALID,
            (
                "repository_name: expected an empty name, because the server has one registry; "
                "got 's3'"
            ),
        )


def test_a_version_with_an_encoder_describes_its_columns(table_models):
    inference = InProcessInference(table_models[0], "classes")
    number = ("FP64", [-1])
    columns = {
        "age": number,
        "income": number,
        "city": ("BYTES", [-1]),
        "plan": ("BYTES", [-1]),
        "since": ("BYTES", [-1]),
    }
    outputs = {
        "classes": {"probabilities": ("FP64", [-1, 3]), "label": ("BYTES", [-1])},
        "labels": {"probabilities": ("FP64", [-1, 3]), "label": ("BOOL", [-1, 3])},
        "numbers": {"value": number},
        "quantiles": {"value": number, "quantiles": ("FP64", [-1, 3])},
        "body": {"probabilities": ("FP32", [-1, 3]), "label": ("BYTES", [-1])},
    }
    body = {"height": number, "weight": number, "x": ("FP64", [-1, 2])}
    tasks = {"labels": "multilabel", "numbers": "regression", "quantiles": "regression"}
    for name, expected in outputs.items():
        model = inference.call("model_metadata", name, "")
        inputs = body if name == "body" else columns
        assert {t.name: (t.datatype, list(t.shape)) for t in model.inputs} == inputs
        assert {t.name: (t.datatype, list(t.shape)) for t in model.outputs} == expected
        properties = model.properties
        kinds = json.loads(properties["columns"])
        assert list(kinds) == json.loads(properties["features"]) == [n for n in inputs if n != "x"]
        assert properties["task"] == tasks.get(name, "classification")
        classes = json.loads(properties["classes"]) if "classes" in properties else None
        assert classes == (["no", "yes", "Ünsure"] if "probabilities" in expected else None)
        assert properties.get("target") == ("price" if "value" in expected else None)
        config = inference.call("model_config", name, "").config
        types = {"FP32": pb.TYPE_FP32, "FP64": pb.TYPE_FP64, "BYTES": pb.TYPE_STRING}
        types["BOOL"] = pb.TYPE_BOOL
        for tensors, described in ((config.input, inputs), (config.output, expected)):
            assert {t.name: (t.data_type, list(t.dims)) for t in tensors} == {
                name: (types[datatype], sizes[1:]) for name, (datatype, sizes) in described.items()
            }
    assert kinds == {"height": "number", "weight": "number"}
    quantiles = inference.call("model_metadata", "quantiles", "").properties["quantiles"]
    assert json.loads(quantiles) == [0.1, 0.5, 0.9]
