"""Describes a version, and the trace of one input through it, in messages of `quadrant.v1`."""

from collections.abc import Mapping, Sequence

import numpy as np

from quadnet.nn.layer_trace import trace_layers
from quadnet.nn.predictor import RegressionPredictor, choose_labels, find_middle
from quadnet.registry.manifest import Feature
from quadnet.registry.metric_records import AnyMetrics
from quadnet.registry.version_files import Model
from quadnet.tables.column_encoders import (
    CategoryEncoder,
    ColumnEncoder,
    NumberEncoder,
)
from quadnet.tables.columns import Table
from quadnet.types import FloatArray
from service.quadrant_v1.layer_messages import describe_layer_trace, describe_layers
from service.stubs.quadrant.v1 import quadrant_pb2 as pb


def describe_version(model: Model, aliases: Sequence[str]) -> pb.GetModelResponse:
    """Return the complete description of a version."""
    manifest, network = model.manifest, model.predictor.network
    signature, encoder = manifest.signature, model.encoder
    described = pb.GetModelResponse(
        model=make_model_version(model),
        aliases=aliases,
        task=manifest.task,
        columns=[] if encoder is None else map(_describe_column, encoder.columns),
        features=map(_describe_feature, signature.features),
        classes=signature.classes,
        target=None if signature.target is None else _describe_feature(signature.target),
        quantiles=manifest.architecture.quantiles,
        layers=describe_layers(network),
        metrics=_list_metrics(manifest.metrics["test"]),
        training=pb.TrainingSummary(
            epochs=manifest.training.epochs,
            loss=manifest.training.loss,
            rows=manifest.data.train.rows,
            seconds=manifest.training.seconds,
        ),
    )
    described.created.FromDatetime(manifest.created)
    return described


def _describe_feature(feature: Feature) -> pb.Feature:
    return pb.Feature(name=feature.name, min=feature.min, max=feature.max)


def _describe_column(column: ColumnEncoder) -> pb.Column:
    described = pb.Column(name=column.name, kind=column.kind, features=len(column.output_names))
    described.may_be_missing = column.takes_gaps
    if isinstance(column, NumberEncoder):
        described.min, described.max, described.mean = column.low, column.high, column.fill
    elif isinstance(column, CategoryEncoder):
        described.categories.extend((*column.distinct_categories, *column.rare))
    return described


def _list_metrics(metrics: AnyMetrics) -> Mapping[str, float]:
    """Return the metrics of the whole part, without those of single classes and quantiles."""
    values = metrics.model_dump()
    return {name: value for name, value in values.items() if isinstance(value, float)}


def explain_input(model: Model, x: FloatArray, table: Table | None = None) -> pb.ExplainResponse:
    """Return the trace of x, of shape (1, n_features), through the version.

    Parameters
    ----------
    model : Model
    x : ndarray of shape (1, n_features)
        The inputs of the network.
    table : mapping of str to Column, optional
        The columns that x was made of.
    """
    predictor = model.predictor
    response = pb.ExplainResponse(
        model=make_model_version(model),
        layers=map(describe_layer_trace, trace_layers(predictor.network, x[0])),
        classes=model.manifest.signature.classes,
        features=x[0],
    )
    if table is not None:
        assert model.encoder is not None
        unknown = model.encoder.count_unknown(table)
        response.unknown_categories.extend(name for name, n in unknown.items() if n)
    if isinstance(predictor, RegressionPredictor):
        numbers = predictor.outputs(x)[0]
        response.value = numbers[find_middle(predictor.quantiles)]
        response.quantiles.extend(numbers if predictor.quantiles else ())
        return response
    P = predictor.probabilities(x)[0]
    names = model.manifest.signature.classes
    if not np.isfinite(P).all():
        response.probabilities.extend(np.full(len(P), 1 / len(P)))
        return response
    response.probabilities.extend(P)
    if model.manifest.task == "multilabel":
        applies = choose_labels(predictor.network.logits(x), predictor.classes, multilabel=True)[0]
        response.labels.extend(name for name, each in zip(names, applies, strict=True) if each)
    else:
        response.label = names[int(P.argmax())]
    return response


def make_model_version(model: Model) -> pb.ModelVersion:
    """Return the name, number and digest of a version."""
    manifest = model.manifest
    return pb.ModelVersion(name=manifest.model, version=manifest.version, digest=model.digest)
