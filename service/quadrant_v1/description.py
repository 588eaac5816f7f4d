"""Describes a version, and the trace of one input through it, in messages of `quadrant.v1`."""

from collections.abc import Sequence

import numpy as np

from quadnet.nn.layer_trace import trace_layers
from quadnet.registry.metric_records import as_class_metrics
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray
from service.quadrant_v1.layer_messages import describe_layer_trace, describe_layers
from service.stubs.quadrant.v1 import quadrant_pb2 as pb


def describe_version(model: Model, aliases: Sequence[str]) -> pb.GetModelResponse:
    """Return the complete description of a version."""
    manifest, network = model.manifest, model.predictor.network
    metrics = as_class_metrics(manifest.metrics["test"])
    described = pb.GetModelResponse(
        model=make_model_version(model),
        aliases=aliases,
        features=[
            pb.Feature(name=f.name, min=f.min, max=f.max) for f in manifest.signature.features
        ],
        classes=manifest.signature.classes,
        layers=describe_layers(network),
        metrics={
            "accuracy": metrics.accuracy,
            "log_loss": metrics.log_loss,
            "calibration_error": metrics.calibration_error,
        },
        training=pb.TrainingSummary(
            epochs=manifest.training.epochs,
            loss=manifest.training.loss,
            rows=manifest.data.train.rows,
            seconds=manifest.training.seconds,
        ),
    )
    described.created.FromDatetime(manifest.created)
    return described


def explain_input(model: Model, x: FloatArray) -> pb.ExplainResponse:
    """Return the trace of x, of shape (1, n_features), through the version."""
    classes = model.manifest.signature.classes
    layers = list(trace_layers(model.predictor.network, x[0]))
    P = model.classifier.probabilities(x)[0]
    finite = bool(np.isfinite(P).all())
    return pb.ExplainResponse(
        model=make_model_version(model),
        layers=[describe_layer_trace(each) for each in layers],
        classes=classes,
        probabilities=(P if finite else np.full(len(P), 1 / len(P))).tolist(),
        label=classes[int(P.argmax())] if finite else "",
    )


def make_model_version(model: Model) -> pb.ModelVersion:
    """Return the name, number and digest of a version."""
    manifest = model.manifest
    return pb.ModelVersion(name=manifest.model, version=manifest.version, digest=model.digest)
