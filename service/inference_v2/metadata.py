"""Describes the server, the models' tensors and the versions' states in messages of `inference`."""

import json
from collections.abc import Mapping, Sequence

from quadnet import __version__
from quadnet.errors import InvalidInput, Violation, shorten
from quadnet.registry.version_files import Model
from service.inference_v2.inputs import INPUT
from service.inference_v2.outputs import LABEL, OUTPUT_DATATYPES, PROBABILITIES
from service.stubs.inference.v2 import inference_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2

EXTENSIONS = ("classification", "model_configuration", "statistics")
"""Only supported extensions. Not `model_repository`: it promises that models can be unloaded."""

PLATFORM = "quadnet_safetensors"

READY, UNAVAILABLE = "READY", "UNAVAILABLE"

_MOST_ROWS = 2**31 - 1
"""Largest value of the field `max_batch_size`."""

_TYPES = {"FP32": pb.TYPE_FP32, "FP64": pb.TYPE_FP64}

_Tensor = pb.ModelMetadataResponse.TensorMetadata
_State = quadrant_pb2.VersionSummary.State


def describe_server() -> pb.ServerMetadataResponse:
    """Return the server's name, version and extensions."""
    return pb.ServerMetadataResponse(name="quadnet", version=__version__, extensions=EXTENSIONS)


def describe_model(
    model: Model, versions: Sequence[int], limits: Mapping[str, int]
) -> pb.ModelMetadataResponse:
    """Return the model's tensors, its versions, and properties of this version and the server."""
    manifest = model.manifest
    features, classes = manifest.signature.features, manifest.signature.classes
    datatype = OUTPUT_DATATYPES[model.predictor.dtype]
    return pb.ModelMetadataResponse(
        name=manifest.model,
        versions=list(map(str, versions)),
        platform=PLATFORM,
        inputs=[_Tensor(name=INPUT, datatype=datatype, shape=[-1, len(features)])],
        outputs=[
            _Tensor(name=PROBABILITIES, datatype=datatype, shape=[-1, len(classes)]),
            _Tensor(name=LABEL, datatype="BYTES", shape=[-1]),
        ],
        properties=_properties(model, limits),
    )


def describe_config(model: Model, limits: Mapping[str, int]) -> pb.ModelConfigResponse:
    """Return the model's tensors and properties in the form of Triton's configurations."""
    signature = model.manifest.signature
    data_type = _TYPES[OUTPUT_DATATYPES[model.predictor.dtype]]
    return pb.ModelConfigResponse(
        config=pb.ModelConfig(
            name=model.manifest.model,
            platform=PLATFORM,
            backend="quadnet",
            version_policy=pb.ModelVersionPolicy(all=pb.ModelVersionPolicy.All()),
            max_batch_size=min(limits["max_rows"], _MOST_ROWS),
            input=[pb.ModelInput(name=INPUT, data_type=data_type, dims=[len(signature.features)])],
            output=[
                pb.ModelOutput(
                    name=PROBABILITIES, data_type=data_type, dims=[len(signature.classes)]
                ),
                pb.ModelOutput(name=LABEL, data_type=pb.TYPE_STRING),
            ],
            parameters={
                name: pb.ModelParameter(string_value=value)
                for name, value in _properties(model, limits).items()
            },
        )
    )


def _properties(model: Model, limits: Mapping[str, int]) -> dict[str, str]:
    """Return properties of the version and the limits of the server, as texts."""
    manifest = model.manifest
    features = manifest.signature.feature_names
    return {
        "version": str(manifest.version),
        "digest": model.digest,
        "features": json.dumps(features, ensure_ascii=False),
        "classes": json.dumps(manifest.signature.classes, ensure_ascii=False),
        **{name: str(limit) for name, limit in limits.items()},
    }


def check_repository_name(name: str) -> None:
    """Raise InvalidInput if the request names a repository."""
    if name:
        raise InvalidInput(
            [
                Violation(
                    "repository_name",
                    "expected an empty name, because the server has one registry; got "
                    + shorten(name),
                )
            ]
        )


def describe_repository(
    catalogue: quadrant_pb2.ListModelsResponse, *, only_ready: bool
) -> pb.RepositoryIndexResponse:
    """Return the state of every version, or the versions that are ready."""
    entries = [
        _describe_index_entry(model.name, version)
        for model in catalogue.models
        for version in model.versions
    ]
    return pb.RepositoryIndexResponse(
        models=[entry for entry in entries if entry.state == READY or not only_ready]
    )


def _describe_index_entry(
    model: str, version: quadrant_pb2.VersionSummary
) -> pb.RepositoryIndexResponse.ModelIndex:
    reason = version.reason
    if version.state == _State.STATE_AVAILABLE:
        reason = "Not loaded yet: the first call for this version loads it."
    return pb.RepositoryIndexResponse.ModelIndex(
        name=model,
        version=str(version.version),
        state=READY if version.state == _State.STATE_LOADED else UNAVAILABLE,
        reason=reason,
    )
