"""Describes the server, the models' tensors and the versions' states in messages of `inference`."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from quadnet import __version__
from quadnet.errors import InvalidInput, Violation, shorten
from quadnet.registry.version_files import Model
from service.inference_v2.column_inputs import takes_matrix
from service.inference_v2.matrix_input import INPUT
from service.inference_v2.outputs import OUTPUT_DATATYPES, list_outputs
from service.inference_v2.value_encodings import RAW
from service.stubs.inference.v2 import inference_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
"""Only supported extensions. Not `model_repository`: it promises that models can be unloaded."""

PLATFORM = "quadnet_safetensors"

READY, UNAVAILABLE = "READY", "UNAVAILABLE"

_MOST_ROWS = 2**31 - 1
"""Largest value of the field `max_batch_size`."""

_TYPES = {
    "BOOL": pb.TYPE_BOOL,
    "FP32": pb.TYPE_FP32,
    "FP64": pb.TYPE_FP64,
    "BYTES": pb.TYPE_STRING,
}

_DATATYPES_OF_COLUMNS = {"number": "FP64", "category": "BYTES", "date": "BYTES"}

_Tensor = pb.ModelMetadataResponse.TensorMetadata
_State = quadrant_pb2.VersionSummary.State


class _Described(NamedTuple):
    """A tensor's name, datatype, and the sizes of one row."""

    name: str
    datatype: str
    row_shape: tuple[int, ...]

    def to_metadata(self) -> pb.ModelMetadataResponse.TensorMetadata:
        return _Tensor(name=self.name, datatype=self.datatype, shape=[-1, *self.row_shape])


def describe_server() -> pb.ServerMetadataResponse:
    """Return the server's name, version and extensions."""
    return pb.ServerMetadataResponse(name="quadnet", version=__version__, extensions=EXTENSIONS)


def describe_model(
    model: Model, versions: Sequence[int], limits: Mapping[str, int]
) -> pb.ModelMetadataResponse:
    """Return the model's tensors, its versions, and properties of this version and the server."""
    return pb.ModelMetadataResponse(
        name=model.manifest.model,
        versions=list(map(str, versions)),
        platform=PLATFORM,
        inputs=[each.to_metadata() for each in _describe_inputs(model)],
        outputs=[each.to_metadata() for each in _describe_outputs(model)],
        properties=_properties(model, limits),
    )


def describe_config(model: Model, limits: Mapping[str, int]) -> pb.ModelConfigResponse:
    """Return the model's tensors and properties in the form of Triton's configurations."""
    return pb.ModelConfigResponse(
        config=pb.ModelConfig(
            name=model.manifest.model,
            platform=PLATFORM,
            backend="quadnet",
            version_policy=pb.ModelVersionPolicy(all=pb.ModelVersionPolicy.All()),
            max_batch_size=min(limits["max_rows"], _MOST_ROWS),
            input=[
                pb.ModelInput(name=name, data_type=_TYPES[datatype], dims=sizes)
                for name, datatype, sizes in _describe_inputs(model)
            ],
            output=[
                pb.ModelOutput(name=name, data_type=_TYPES[datatype], dims=sizes)
                for name, datatype, sizes in _describe_outputs(model)
            ],
            parameters={
                name: pb.ModelParameter(string_value=value)
                for name, value in _properties(model, limits).items()
            },
        )
    )


def _describe_inputs(model: Model) -> list[_Described]:
    """Return the named columns, and "x" if the version takes it."""
    encoder = model.encoder
    matrix = _Described(
        INPUT, OUTPUT_DATATYPES[model.predictor.dtype], (len(model.manifest.columns),)
    )
    if encoder is None:
        return [matrix]
    columns = [
        _Described(column.name, _DATATYPES_OF_COLUMNS[column.kind], ())
        for column in encoder.columns
    ]
    # The encoder computes in float64.
    return [*columns, *([matrix._replace(datatype="FP64")] if takes_matrix(encoder) else [])]


def _describe_outputs(model: Model) -> list[_Described]:
    outputs = (kind(model, RAW) for kind in list_outputs(model).values())
    return [_Described(each.name, each.datatype, each.row_shape) for each in outputs]


def _properties(model: Model, limits: Mapping[str, int]) -> dict[str, str]:
    """Return properties of the version and the limits of the server, as texts."""
    manifest, signature = model.manifest, model.manifest.signature
    properties: dict[str, object] = {"features": manifest.columns}
    if manifest.encoder is not None:
        properties["columns"] = {each.name: each.kind for each in manifest.encoder.columns}
    if signature.classes:
        properties["classes"] = signature.classes
    if manifest.architecture.quantiles:
        properties["quantiles"] = manifest.architecture.quantiles
    texts = {
        "version": str(manifest.version),
        "digest": model.digest,
        "task": manifest.task,
        **({} if signature.target is None else {"target": signature.target.name}),
    }
    return {
        **texts,
        **{name: json.dumps(value, ensure_ascii=False) for name, value in properties.items()},
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
