"""Describes a version, and the trace of one input through it, in messages of `quadrant.v1`."""

from collections.abc import Iterator, Sequence

import numpy as np

from quadnet.nn.layer_trace import LayerTrace, trace_layers
from quadnet.nn.network import Network
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.packed_arrays import encode_doubles

_WEIGHTS = pb.Layer.WEIGHTS_FIELD_NUMBER
_TERMS = pb.UnitTrace.TERMS_FIELD_NUMBER


def description_size(network: Network) -> int:
    """Return the bytes that the network's numbers take in a GetModelResponse."""
    return 8 * sum(W.size + b.size for W, b in _weights_and_biases(network))


def explanation_size(network: Network) -> int:
    """Return the bytes that the numbers of one trace take in an ExplainResponse."""
    # For each unit also the bias, the pre-activation and the activation, each with a tag.
    return sum(8 * W.size + 3 * 9 * b.size for W, b in _weights_and_biases(network))


def _weights_and_biases(network: Network) -> Iterator[tuple[FloatArray, FloatArray]]:
    parameters = network.parameters
    return zip(parameters.weights, parameters.biases, strict=True)


def describe_version(model: Model, aliases: Sequence[str]) -> pb.GetModelResponse:
    """Return the complete description of a version."""
    manifest, network = model.manifest, model.predictor.network
    described = pb.GetModelResponse(
        model=make_model_version(model),
        aliases=aliases,
        features=[
            pb.Feature(name=f.name, min=f.min, max=f.max) for f in manifest.signature.features
        ],
        classes=manifest.signature.classes,
        layers=describe_layers(network),
        metrics={
            "accuracy": manifest.metrics["test"].accuracy,
            "log_loss": manifest.metrics["test"].log_loss,
            "calibration_error": manifest.metrics["test"].calibration_error,
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
    P = model.predictor.probabilities(x)[0]
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


def describe_layers(network: Network) -> list[pb.Layer]:
    """Return the layers of a network, from the first hidden layer to the output layer."""
    names = (*network.activation_names, network.loss.link_name)
    return [
        _describe_layer(name, W, b)
        for name, (W, b) in zip(names, _weights_and_biases(network), strict=True)
    ]


def _describe_layer(activation: str, W: FloatArray, b: FloatArray) -> pb.Layer:
    inputs, units = W.shape
    described = pb.Layer(activation=activation, inputs=inputs, units=units, biases=b.tolist())
    described.MergeFromString(encode_doubles(_WEIGHTS, W))
    return described


def describe_layer_trace(traced: LayerTrace) -> pb.LayerTrace:
    """Return the trace of one layer, unit by unit."""
    described = pb.LayerTrace(activation=traced.activation)
    assert traced.terms is not None
    assert traced.biases is not None
    for terms, bias, z, a in zip(
        traced.terms.T,
        traced.biases.tolist(),
        traced.pre_activations.tolist(),
        traced.activations.tolist(),
        strict=True,
    ):
        unit = described.units.add(bias=bias, pre_activation=z, activation=a)
        unit.MergeFromString(encode_doubles(_TERMS, terms))
    return described
