"""What there is, in the words of `inference`: the server, models' tensors, versions' states."""

import json
from collections.abc import Mapping, Sequence

from quadnet import __version__
from quadnet.artifact import Model
from quadnet.errors import InvalidInput, Violation, shorten
from service.catalogue import catalogue
from service.live import LiveModels
from service.outputs import DATATYPES, LABEL, PROBABILITIES
from service.stubs.inference.v2 import inference_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2
from service.tensors import INPUT

EXTENSIONS = ("classification", "statistics")
"""Only what is true: the model repository's, for one, promises that models can be unloaded."""

READY, UNAVAILABLE = "READY", "UNAVAILABLE"

_Tensor = pb.ModelMetadataResponse.TensorMetadata
_State = quadrant_pb2.VersionSummary.State


def describe_server() -> pb.ServerMetadataResponse:
    """Return the server's name, version and extensions."""
    return pb.ServerMetadataResponse(name="quadnet", version=__version__, extensions=EXTENSIONS)


def describe_model(
    model: Model, versions: Sequence[int], limits: Mapping[str, int]
) -> pb.ModelMetadataResponse:
    """Return the model's tensors, its versions, and what is known of this one and the server."""
    manifest = model.manifest
    features = [feature.name for feature in manifest.signature.features]
    classes = manifest.signature.classes
    datatype = DATATYPES[model.predictor.dtype]
    return pb.ModelMetadataResponse(
        name=manifest.model,
        # With the one that answers, which the registry may no longer have.
        versions=[str(number) for number in sorted({*versions, manifest.version})],
        platform="quadnet_safetensors",
        inputs=[_Tensor(name=INPUT, datatype=datatype, shape=[-1, len(features)])],
        outputs=[
            _Tensor(name=PROBABILITIES, datatype=datatype, shape=[-1, len(classes)]),
            _Tensor(name=LABEL, datatype="BYTES", shape=[-1]),
        ],
        properties={
            "version": str(manifest.version),
            "digest": model.digest,
            "features": json.dumps(features, ensure_ascii=False),
            "classes": json.dumps(classes, ensure_ascii=False),
            **{name: str(limit) for name, limit in limits.items()},
        },
    )


def index(live: LiveModels, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
    """Return every version's state. Reads the registry, so not for the event loop."""
    if request.repository_name:
        raise InvalidInput(
            [
                Violation(
                    "repository_name",
                    "expected none, for the server has one registry; got "
                    + shorten(request.repository_name),
                )
            ]
        )
    entries = [
        _entry(model.name, version)
        for model in catalogue(live, "").models
        for version in model.versions
    ]
    return pb.RepositoryIndexResponse(
        models=[entry for entry in entries if entry.state == READY or not request.ready]
    )


def _entry(
    model: str, version: quadrant_pb2.VersionSummary
) -> pb.RepositoryIndexResponse.ModelIndex:
    reason = version.reason
    if version.state == _State.STATE_AVAILABLE:
        reason = "It is not loaded: the first call that asks for it loads it."
    return pb.RepositoryIndexResponse.ModelIndex(
        name=model,
        version=str(version.version),
        state=READY if version.state == _State.STATE_LOADED else UNAVAILABLE,
        reason=reason,
    )
